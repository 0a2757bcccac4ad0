"""Lévy flights and diffusions between two bounds: models of fast choices between two options.

Evidence starts at x = a z, moves until it leaves (0, a), and the bound it passes is the choice:

    x(t + dt) = x(t) + v dt + dt^(1/alpha) c S,   S alpha-stable, E e^(iuS) = e^(-|u|^alpha);

the response time is t + t_0, positive at the upper bound and where the time limit ends a trial,
negative at the lower bound. With alpha < 2 the evidence jumps (Voss, Lerche, Mertens & Voss 2019,
doi:10.3758/s13423-018-1560-4); with alpha = 2 and c = 1/sqrt(2) its increments are N(v dt, dt), the
diffusion model (Ratcliff 1978, Psychological Review 85:59). Between trials the drift may vary as
N(v, s_v^2), the start z as U(z_r - s_z/2, z_r + s_z/2) and the non-decision time as
U(t_0 - s_t/2, t_0 + s_t/2).

S is drawn by the formula of Chambers, Mallows & Stuck (1976, JASA 71:340), with U uniform on
(-pi/2, pi/2) and V ~ Exp(1). In terms of e = pi/2 - |U|, the distance to the interval's end,

    |S| = sin(d + alpha e) W (W sin e)^(-1/alpha),   d = (2 - alpha) pi/2,
                                                     W = V / sin(d + (alpha - 1) e).

No cosine is small by cancellation here, so the far tails keep their digits (the largest |S| belongs
to e = pi 2^-54), and alpha = 1 (cot e, Cauchy) and alpha = 2 (2 cos e sqrt(V), N(0, 2)) are not
exceptions but values that the formula passes through.

Not identifiable: multiplying v, a and c by one number changes nothing, hence c is a setting. Steps
notice a passage late: for alpha = 2 and noise of standard deviation s, as if each bound stood
0.5826 s sqrt(dt) further out (Siegmund 1985, Sequential Analysis, ch. 10).
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numba import njit

from sbi_kit.checks import (
    BadValue,
    expect_bounds,
    expect_integer,
    expect_number,
    expect_rng,
    expect_theta,
)
from sbi_kit.contracts import Array
from sbi_kit.data import Exchangeable
from sbi_kit.prior import Prior, Uniform
from sbi_kit.seeds import numpy_stream

_BLOCK = 256  # stable draws made together, small enough for the first-level cache
_PI = math.pi
_SQRT_HALF = math.sqrt(0.5)
_LEAST = 1e-6  # of a and z_r: the start is then strictly between the bounds also in floats
_LEAST_ALPHA = 0.2  # no stable number overflows
_MOST_STEPS = 1e9

# Taylor's series of the sine; the first term left out is below 3e-16 at pi/2.
_S3, _S5, _S7, _S9, _S11, _S13, _S15, _S17, _S19 = (
    float((-1) ** (k // 2) / math.factorial(k)) for k in range(3, 20, 2)
)


@njit(cache=True, nogil=True, error_model="numpy")
def _sine(x: float) -> float:
    """sin x on [0, pi], without the branches that keep a library's sine out of vector units."""
    x = min(x, _PI - x)
    y = x * x
    high = _S11 + y * (_S13 + y * (_S15 + y * (_S17 + y * _S19)))
    return x + x * y * (_S3 + y * (_S5 + y * (_S7 + y * (_S9 + y * high))))


@njit(cache=True, nogil=True, error_model="numpy")
def _stable(alpha: float, u: Array, v: Array, out: Array) -> None:
    """Turn u ~ U[0, 1) and v ~ Exp(1) into symmetric stable `out`; u and v are overwritten."""
    d = 0.5 * _PI * (2.0 - alpha)
    for i in range(len(out)):
        # U = pi (u - 1/2); 1 - u is exact. The bounds stand in for u = 0 and v = 0 and no other.
        e = _PI * max(min(u[i], 1.0 - u[i]), 2.0**-54)
        w = max(v[i], 1e-20) / _sine(d + (alpha - 1.0) * e)
        u[i] = math.copysign(_sine(d + alpha * e) * w, u[i] - 0.5)
        v[i] = w * _sine(e)
    power = -1.0 / alpha
    for i in range(len(out)):
        out[i] = u[i] * math.exp(power * math.log(v[i]))


@njit(cache=True, nogil=True, error_model="numpy")
def _draw_stable(alpha: float, rng: np.random.Generator, u: Array, v: Array, out: Array) -> None:
    """Fill `out` with independent symmetric stable numbers; u and v are room to work in."""
    for i in range(len(out)):
        u[i] = rng.random()
        v[i] = rng.standard_exponential()
    _stable(alpha, u, v, out)


@njit(cache=True, nogil=True, error_model="numpy")
def _respond(
    theta: Array,
    noise_scale: float,
    s_v: float,
    s_z: float,
    s_t: float,
    dt: float,
    steps: int,
    rng: np.random.Generator,
    out: Array,
) -> None:
    """Fill `out` (b, n, columns); a row of theta holds the drifts, then z_r, a, t_0, alpha."""
    b, n, columns = out.shape
    u, v, stable = np.empty(_BLOCK), np.empty(_BLOCK), np.empty(_BLOCK)
    for i in range(b):
        a, alpha = theta[i, columns + 1], theta[i, columns + 3]
        scale = noise_scale * dt ** (1.0 / alpha)
        normal_scale = noise_scale * math.sqrt(2.0 * dt)
        used = _BLOCK
        for j in range(n):
            for column in range(columns):
                drift, z, t = theta[i, column], theta[i, columns], theta[i, columns + 2]
                if s_v > 0:
                    drift += s_v * rng.standard_normal()
                if s_z > 0:
                    z += s_z * (rng.random() - 0.5)
                if s_t > 0:
                    t += s_t * (rng.random() - 0.5)
                x, move, k = a * z, drift * dt, 0
                if alpha == 2.0:
                    while 0.0 < x < a and k < steps:
                        x += move + normal_scale * rng.standard_normal()
                        k += 1
                else:
                    while 0.0 < x < a and k < steps:
                        if used == _BLOCK:
                            _draw_stable(alpha, rng, u, v, stable)
                            used = 0
                        x += move + scale * stable[used]
                        used += 1
                        k += 1
                t += k * dt
                out[i, j, column] = t if x > 0.0 else -t


@dataclass(frozen=True, kw_only=True)
class Levy:
    """A Lévy flight between two bounds, in two conditions that differ in drift.

    Parameters: `v_1`, `v_2`, drift in either condition [evidence/s]; `z_r`, start as a share of the
    way from the lower to the upper bound; `a`, distance of the bounds [evidence]; `t_0`,
    non-decision time [s]; `alpha`, stability of the noise, 0.2 to 2, without unit. The columns
    `rt_1` and `rt_2` are the signed response times of the two conditions [s].

    Args:
        n: Trials of a condition, fixed or (fewest, most), at least 1.
        dt: Length of a step [s], above 0.
        max_time: Decision time at which a trial is cut off [s], `dt` to 1e9 `dt`; its response is
            positive.
        noise_scale: Scale c of the stable noise [evidence/s^(1/alpha)], 1e-6 to 1e6.
        s_v: Standard deviation of the drift between trials [evidence/s], at least 0.
        s_z: Width of the uniform distribution of the start around z_r, in units of z_r, 0 to 1;
            every z_r is at least s_z / 2 away from 0 and from 1, so that trials start inside.
        s_t: Width of the uniform distribution of the non-decision time around t_0 [s], at least 0;
            every t_0 is at least s_t / 2, so that no time is negative.
        v_1: Lowest and highest v_1 of its uniform prior; the same for the other parameters.
        v_2: See `v_1`.
        z_r: See `v_1`.
        a: See `v_1`.
        t_0: See `v_1`.
        alpha: See `v_1`.

    Raises:
        BadValue: An argument is outside its range.
        BadType: It is not a number, or a prior's range not two of them.

    >>> theta = [[2.0, -2.0, 0.5, 1.0, 0.3, 1.5]]
    >>> x = Levy().simulate(theta, np.random.default_rng(0), 20_000)
    >>> (x[0] > 0).mean(axis=0).round(2), np.abs(x).min().round(3)
    (array([0.92, 0.08]), np.float64(0.301))
    """

    n: int | tuple[int, int] = (100, 1_000)
    dt: float = 0.001
    max_time: float = 5.0
    noise_scale: float = _SQRT_HALF
    s_v: float = 0.0
    s_z: float = 0.0
    s_t: float = 0.0
    v_1: tuple[float, float] = (0.0, 6.0)
    v_2: tuple[float, float] = (-6.0, 0.0)
    z_r: tuple[float, float] = (0.3, 0.7)
    a: tuple[float, float] = (0.6, 3.0)
    t_0: tuple[float, float] = (0.3, 1.0)
    alpha: tuple[float, float] = (1.0, 2.0)

    def __post_init__(self) -> None:
        expect_number("noise_scale", self.noise_scale, low=_LEAST, high=1 / _LEAST)
        _settle(self, ("v_1", "v_2", "z_r", "a", "t_0", "alpha"))

    @property
    def units(self) -> dict[str, str]:
        """Units of what has one."""
        drifts = dict.fromkeys(("v_1", "v_2"), "evidence/s")
        return drifts | {"a": "evidence", "t_0": "s", "rt_1": "s", "rt_2": "s"}

    @cached_property
    def prior(self) -> Prior:
        """Independent uniform parameters."""
        return Prior(
            v_1=Uniform(*self.v_1),
            v_2=Uniform(*self.v_2),
            z_r=Uniform(*self.z_r),
            a=Uniform(*self.a),
            t_0=Uniform(*self.t_0),
            alpha=Uniform(*self.alpha),
        )

    @cached_property
    def data(self) -> Exchangeable:
        """A set of pairs of trials, one of each condition; which two share a row means nothing."""
        return Exchangeable(columns=("rt_1", "rt_2"), n=self.n)

    def simulate(self, theta: Array, rng: np.random.Generator, n: int) -> Array:
        """Simulate n trials of each condition.

        Args:
            theta: v_1, v_2, z_r, a, t_0, alpha, shape (b, 6).
            rng: Source of all randomness.
            n: Trials of each condition.

        Returns:
            Signed response times [s], shape (b, n, 2).

        Raises:
            BadValue: `theta` has another shape, or is NaN, infinite or out of range; or n < 1.
        """
        return _simulate(self, theta, rng, n, noise_scale=self.noise_scale)

    @cached_property
    def observed_theta(self) -> Array:
        """The parameters behind `observed`, shape (6,): a fixed draw of the prior."""
        parameters: Array = self.prior.sample(1, numpy_stream(0, "levy: parameters"))[0]
        return parameters

    @cached_property
    def observed(self) -> Array:
        """One simulated, not measured, dataset of the fewest trials, shape (n, 2).

        It never changes; `observed_theta` is the truth behind it.
        """
        rng = numpy_stream(0, "levy: trials")
        trials: Array = self.simulate(self.observed_theta[None], rng, self.data.n_range[0])[0]
        return trials


@dataclass(frozen=True, kw_only=True)
class DDM:
    """The diffusion model of two-choice decisions, one condition.

    Parameters: `v`, drift [evidence/s]; `z_r`, start as a share of the way from the lower to the
    upper bound; `a`, distance of the bounds [evidence]; `t_0`, non-decision time [s]. The one
    column `rt` is the signed response time [s].

    Args:
        n: Trials, fixed or (fewest, most), at least 1.
        dt: Length of a step [s], above 0.
        max_time: Decision time at which a trial is cut off [s], `dt` to 1e9 `dt`; its response is
            positive.
        noise_sd: Standard deviation of the noise [evidence/s^(1/2)], 1e-6 to 1e6.
        s_v: Standard deviation of the drift between trials [evidence/s], at least 0.
        s_z: Width of the uniform distribution of the start around z_r, in units of z_r, 0 to 1;
            every z_r is at least s_z / 2 away from 0 and from 1, so that trials start inside.
        s_t: Width of the uniform distribution of the non-decision time around t_0 [s], at least 0;
            every t_0 is at least s_t / 2, so that no time is negative.
        v: Lowest and highest v of its uniform prior; the same for the other parameters.
        z_r: See `v`.
        a: See `v`.
        t_0: See `v`.

    Raises:
        BadValue: An argument is outside its range.
        BadType: It is not a number, or a prior's range not two of them.

    >>> model = DDM(dt=1e-4)
    >>> theta = [[1.0, 0.4, 1.2, 0.3]]
    >>> x = model.simulate(theta, np.random.default_rng(0), 20_000)
    >>> model.probability_upper(theta).round(2), (x > 0).mean().round(2)
    (array([0.68]), np.float64(0.68))
    >>> model.mean_decision_time(theta).round(2), (np.abs(x).mean() - 0.3).round(2)
    (array([0.33]), np.float64(0.34))
    """

    n: int | tuple[int, int] = (100, 1_000)
    dt: float = 0.001
    max_time: float = 5.0
    noise_sd: float = 1.0
    s_v: float = 0.0
    s_z: float = 0.0
    s_t: float = 0.0
    v: tuple[float, float] = (-4.0, 4.0)
    z_r: tuple[float, float] = (0.3, 0.7)
    a: tuple[float, float] = (0.6, 3.0)
    t_0: tuple[float, float] = (0.3, 1.0)

    def __post_init__(self) -> None:
        expect_number("noise_sd", self.noise_sd, low=_LEAST, high=1 / _LEAST)
        _settle(self, ("v", "z_r", "a", "t_0"))

    @property
    def units(self) -> dict[str, str]:
        """Units of what has one."""
        return {"v": "evidence/s", "a": "evidence", "t_0": "s", "rt": "s"}

    @cached_property
    def prior(self) -> Prior:
        """Independent uniform parameters."""
        return Prior(
            v=Uniform(*self.v),
            z_r=Uniform(*self.z_r),
            a=Uniform(*self.a),
            t_0=Uniform(*self.t_0),
        )

    @cached_property
    def data(self) -> Exchangeable:
        """A set of trials."""
        return Exchangeable(columns=("rt",), n=self.n)

    def simulate(self, theta: Array, rng: np.random.Generator, n: int) -> Array:
        """Simulate n trials.

        Args:
            theta: v, z_r, a, t_0, shape (b, 4).
            rng: Source of all randomness.
            n: Trials.

        Returns:
            Signed response times [s], shape (b, n, 1).

        Raises:
            BadValue: `theta` has another shape, or is NaN, infinite or out of range; or n < 1.
        """
        # A normal variable is stable with alpha = 2 and variance 2 c^2.
        return _simulate(self, theta, rng, n, noise_scale=self.noise_sd * _SQRT_HALF)

    def probability_upper(self, theta: Array) -> Array:
        """Probability of the upper bound, (1 - e^(-2vza/s^2)) / (1 - e^(-2va/s^2)), s = noise_sd.

        This is the limit dt -> 0 without a time limit (Cox & Miller 1965, ch. 5).

        Args:
            theta: v, z_r, a, t_0 (not used), shape (b, 4).

        Returns:
            Probabilities, shape (b,).

        Raises:
            BadValue: As `simulate`; or s_v or s_z is not 0.
        """
        v, z, a = self._expect_plain(theta)
        k = 2.0 * a * np.abs(v) / self.noise_sd**2
        safe = np.where(k > 0, k, 1.0)
        # With v < 0 numerator and denominator are divided by e^(k z) and e^k, which overflow.
        ratio = np.expm1(-safe * z) / np.expm1(-safe) * np.where(v < 0, np.exp(-k * (1 - z)), 1.0)
        return np.where(k > 0, ratio, z)

    def mean_decision_time(self, theta: Array) -> Array:
        """Mean decision time a (P - z) / v [s], P the probability of the upper bound.

        This is the limit dt -> 0 without a time limit; response times have mean t_0 more.

        Args:
            theta: v, z_r, a, t_0 (not used), shape (b, 4).

        Returns:
            Times [s], shape (b,).

        Raises:
            BadValue: As `simulate`; or s_v or s_z is not 0.
        """
        v, z, a = self._expect_plain(theta)
        unit = 2.0 * a**2 / self.noise_sd**2
        k = 2.0 * a * v / self.noise_sd**2
        small = np.abs(k) < 1e-3
        gap = self.probability_upper(theta) - z
        # P - z cancels as k -> 0; its Taylor series about k = 0, divided by k.
        series = z * (1 - z) * (1 / 2 + k * (1 - 2 * z) / 12 - k**2 * z * (1 - z) / 24)
        return unit * np.where(small, series, gap / np.where(small, 1.0, k))

    def _expect_plain(self, theta: Array) -> tuple[Array, Array, Array]:
        """v, z_r and a, each (b,), where the closed forms hold."""
        if self.s_v > 0 or self.s_z > 0:
            got = f"s_v = {self.s_v:g}, s_z = {self.s_z:g}"
            raise BadValue("s_v = s_z = 0 for a closed form", got, "average over trials instead")
        columns = expect_theta(theta, self.prior.names, ranges=_ranges(self)).T
        return columns[0], columns[1], columns[2]

    @cached_property
    def observed_theta(self) -> Array:
        """The parameters behind `observed`, shape (4,): a fixed draw of the prior."""
        parameters: Array = self.prior.sample(1, numpy_stream(0, "ddm: parameters"))[0]
        return parameters

    @cached_property
    def observed(self) -> Array:
        """One simulated, not measured, dataset of the fewest trials, shape (n, 1).

        It never changes; `observed_theta` is the truth behind it.
        """
        rng = numpy_stream(0, "ddm: trials")
        trials: Array = self.simulate(self.observed_theta[None], rng, self.data.n_range[0])[0]
        return trials


def _settle(model: Levy | DDM, names: tuple[str, ...]) -> None:
    """Check what both models have in common, and make tuples of the priors' ranges and of n."""
    for name in ("s_v", "s_t"):
        expect_number(name, getattr(model, name), low=0)
    expect_number("s_z", model.s_z, low=0, high=1)
    dt = expect_number("dt", model.dt, low=0, open_low=True)
    expect_number("max_time", model.max_time, low=dt, high=_MOST_STEPS * dt)
    ranges = _ranges(model)
    for name in names:
        low, high = ranges.get(name, (-np.inf, np.inf))
        bounds = expect_bounds(name, getattr(model, name), low=low, high=high)
        object.__setattr__(model, name, bounds)
    object.__setattr__(model, "n", model.data.n)


def _ranges(model: Levy | DDM) -> dict[str, tuple[float, float]]:
    """The lowest and highest parameters that can be simulated, for prior and theta alike."""
    edge = max(model.s_z / 2, _LEAST)
    ranges = {"z_r": (edge, 1 - edge), "a": (_LEAST, np.inf), "t_0": (model.s_t / 2, np.inf)}
    return ranges | {"alpha": (_LEAST_ALPHA, 2.0)} if isinstance(model, Levy) else ranges


def _simulate(
    model: Levy | DDM, theta: Array, rng: np.random.Generator, n: int, *, noise_scale: float
) -> Array:
    given = expect_theta(theta, model.prior.names, ranges=_ranges(model))
    columns = len(model.data.columns)
    rows = np.full((len(given), columns + 4), 2.0)  # alpha = 2 where it is no parameter
    rows[:, : given.shape[1]] = given
    out = np.empty((len(given), expect_integer("n", n, low=1), columns))
    _respond(
        rows,
        float(noise_scale),  # an integer setting would compile the kernel anew
        float(model.s_v),
        float(model.s_z),
        float(model.s_t),
        float(model.dt),
        # A limit of 0.3 is three steps of 0.1, though 0.3 / 0.1 is below 3.
        math.floor(model.max_time / model.dt * (1 + 1e-12)),
        expect_rng(rng),
        out,
    )
    return out
