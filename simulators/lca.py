"""The leaky competing accumulator: evidence for several options races to a threshold.

Accumulator i of J gathers evidence with drift v_i, leaks, is inhibited by the others and cannot be
negative (Usher & McClelland 2001, Psychological Review 108:550). In steps of dt, all from the old
state,

    x_i <- max(0, x_i + (v_i - leak x_i - inhibition sum_{j != i} x_j) dt + s sqrt(dt) e_i),

e_i ~ N(0, 1). The first x_i >= threshold, at step k, gives choice i and rt = t_0 + k dt. If several
get there in the same step the largest wins. The noise s is fixed, because it sets the unit of x.

Nearly unidentifiable: leak and inhibition (Miletic et al. 2017, Journal of Mathematical Psychology
76:25). At the default priors and sizes an amortized posterior recovers the drifts and t_0 with R^2
of about .9 and the threshold with .8, but leak and inhibition with less than .1: a good posterior
of these two stays close to their prior, and calibrated.

Almost all time goes into normal random numbers, those of `simulators.normals`. Trials advance 64
abreast, so that vector instructions share the rest.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numba import njit

from sbi_kit.checks import (
    BadType,
    expect_flag,
    expect_integer,
    expect_number,
    expect_rng,
    expect_theta,
)
from sbi_kit.contracts import Array, IntArray
from sbi_kit.data import Exchangeable
from sbi_kit.prior import Beta, Gamma, Prior
from sbi_kit.seeds import numpy_stream
from simulators.normals import Words, fill_normals, start_streams

_ABREAST = 64
_NO_RESPONSE = -1
_MOST_STEPS = 1e9


@dataclass(frozen=True, kw_only=True)
class LCA:
    """Choices and response times of J racing accumulators in one or more conditions.

    Parameters: `drift_c_i`, the drift of option i in condition c [1/s], any number (`drift_i` if
    there is one condition); `threshold`, at least 0; `t_0`, the time of all that is not decision
    [s], at least 0; `leak` [1/s], from -1/dt (self-excitation beyond the leak) to 1/dt;
    `inhibition` [1/s], from 0 to 1/dt. Evidence is without unit.

    Columns: `rt` [s]; `choice_1`..`choice_J`, 1 for the option chosen and else 0; and the
    condition: none if there is one, `condition` with 0 for the first and 1 for the second if there
    are two, `condition_1`..`condition_K`, of which one is 1, if there are more. Without a response
    within `time_limit`, `rt` is that limit, without t_0, and all choices are 0.

    The condition of each trial is drawn fairly and independently, so part of a dataset is
    distributed as a smaller dataset, and training meets balanced and unbalanced designs alike.

    Args:
        accumulators: Number J of options, at least 2.
        conditions: Number K of conditions that differ in their drifts, at least 1.
        n: Trials of a dataset over all conditions, fixed or (fewest, most), at least 1.
        noise: Standard deviation s of the noise in one second, above 0.
        dt: Length of a step [s], above 0, at most 1.
        time_limit: Longest decision [s], from dt to 1e9 dt; whole steps of it count.
        clip: Whether evidence stays at or above 0.
        start: Where all accumulators start, as a share of the threshold, from 0 to 1.
        drift: Shape and rate of the gamma prior of each drift, each above 0, as in the next two.
        threshold: Those of the threshold.
        t_0: Those of t_0.
        leak: The two exponents of the beta prior of the leak, each above 0.
        inhibition: Those of the inhibition.

    Raises:
        BadValue: An argument is outside its range.
        BadType: It is of another kind.

    >>> model = LCA(conditions=1, n=1_000)
    >>> model.prior.names
    ('drift_1', 'drift_2', 'drift_3', 'threshold', 't_0', 'leak', 'inhibition')
    >>> theta = np.array([[3.0, 1.0, 1.0, 1.5, 0.3, 0.2, 0.2]])
    >>> x = model.simulate(theta, np.random.default_rng(0), 1_000)
    >>> x[0].mean(axis=0).round(1)  # rt [s] and the share of each choice
    array([0.7, 0.7, 0.1, 0.1])
    """

    accumulators: int = 3
    conditions: int = 2
    n: int | tuple[int, int] = (200, 300)
    noise: float = 1.0
    dt: float = 0.001
    time_limit: float = 5.0
    clip: bool = True
    start: float = 0.0
    drift: tuple[float, float] = (2.0, 1.2)
    threshold: tuple[float, float] = (10.0, 6.0)
    t_0: tuple[float, float] = (1.5, 5.0)
    leak: tuple[float, float] = (1.0, 5.0)
    inhibition: tuple[float, float] = (1.0, 5.0)

    def __post_init__(self) -> None:
        expect_integer("accumulators", self.accumulators, low=2)
        expect_integer("conditions", self.conditions, low=1)
        expect_number("noise", self.noise, low=0, open_low=True)
        dt = expect_number("dt", self.dt, low=0, high=1, open_low=True)
        expect_number("time_limit", self.time_limit, low=dt, high=_MOST_STEPS * dt)
        expect_flag("clip", self.clip)
        expect_number("start", self.start, low=0, high=1)
        for name in ("drift", "threshold", "t_0", "leak", "inhibition"):
            object.__setattr__(self, name, _expect_pair(name, getattr(self, name)))
        object.__setattr__(self, "n", self.data.n)

    @property
    def units(self) -> dict[str, str]:
        """Units of what has one."""
        rates = [name for name in self.prior.names if name not in ("threshold", "t_0")]
        return {**dict.fromkeys(rates, "1/s"), "t_0": "s", "rt": "s"}

    @cached_property
    def prior(self) -> Prior:
        """Independent gamma and beta priors."""
        drifts = [f"drift_{i}" for i in range(1, self.accumulators + 1)]
        if self.conditions > 1:
            drifts = [
                f"drift_{c}_{i}"
                for c in range(1, self.conditions + 1)
                for i in range(1, self.accumulators + 1)
            ]
        return Prior(
            **{name: Gamma(*self.drift) for name in drifts},
            threshold=Gamma(*self.threshold),
            t_0=Gamma(*self.t_0),
            leak=Beta(*self.leak),
            inhibition=Beta(*self.inhibition),
        )

    @cached_property
    def data(self) -> Exchangeable:
        """A set of trials (rt, one-hot choice, condition)."""
        choices = [f"choice_{i}" for i in range(1, self.accumulators + 1)]
        conditions = [f"condition_{c}" for c in range(1, self.conditions + 1)]
        if self.conditions <= 2:
            conditions = ["condition"][: self.conditions - 1]
        return Exchangeable(columns=("rt", *choices, *conditions), n=self.n)

    def simulate(self, theta: Array, rng: np.random.Generator, n: int) -> Array:
        """Simulate datasets of n trials.

        Args:
            theta: Drifts by condition and option, threshold, t_0, leak, inhibition, shape (b, d).
            rng: Source of all randomness.
            n: Trials of each dataset.

        Returns:
            Response time, choice and condition of each trial, shape (b, n, columns).

        Raises:
            BadValue: `theta` has another shape, holds NaN or infinity or is outside the ranges
                given above; or n < 1.
        """
        most = 1 / self.dt
        ranges = {"threshold": (0.0, np.inf), "t_0": (0.0, np.inf)}
        ranges |= {"leak": (-most, most), "inhibition": (0.0, most)}
        rows = expect_theta(theta, self.prior.names, ranges=ranges)
        b, trials = len(rows), expect_integer("n", n, low=1)
        drift = rows[:, :-4].reshape(b, self.conditions, self.accumulators)
        condition = expect_rng(rng).integers(self.conditions, size=(b, trials))
        streams = start_streams(rng)
        duration = np.empty((b, trials), dtype=np.int64)
        choice = np.empty((b, trials), dtype=np.int64)
        _race(
            np.ascontiguousarray(drift),
            np.ascontiguousarray(rows[:, [-4, -2, -1]]),
            condition,
            float(self.start),
            0.0 if self.clip else -np.inf,
            float(self.noise) * math.sqrt(self.dt),
            float(self.dt),
            # A limit of 0.3 is three steps of 0.1, though 0.3 / 0.1 is below 3.
            math.floor(self.time_limit / self.dt * (1 + 1e-12)),
            streams,
            rng,
            duration,
            choice,
        )
        x = np.empty((b, trials, len(self.data.columns)))
        response = rows[:, -3, None] + duration * self.dt  # t_0 and the decision
        x[..., 0] = np.where(choice == _NO_RESPONSE, self.time_limit, response)
        for i in range(self.accumulators):
            x[..., 1 + i] = choice == i
        if self.conditions == 2:
            x[..., -1] = condition
        elif self.conditions > 2:
            x[..., -self.conditions :] = condition[..., None] == np.arange(self.conditions)
        return x

    @cached_property
    def observed_theta(self) -> Array:
        """The parameters behind `observed`, shape (d,): a fixed draw of the prior."""
        parameters: Array = self.prior.sample(1, numpy_stream(0, "lca: parameters"))[0]
        return parameters

    @cached_property
    def observed(self) -> Array:
        """One simulated, not measured, dataset of the fewest trials, shape (n, columns).

        It never changes; `observed_theta` is the truth behind it.
        """
        rng = numpy_stream(0, "lca: trials")
        trials: Array = self.simulate(self.observed_theta[None], rng, self.data.n_range[0])[0]
        return trials


def _expect_pair(name: str, value: object) -> tuple[float, float]:
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise BadType(f"{name} as two numbers > 0", repr(value), "pass the prior's two arguments")
    first = expect_number(f"the first of {name}", value[0], low=0, open_low=True)
    return first, expect_number(f"the second of {name}", value[1], low=0, open_low=True)


# Rows of `lanes` after 2 J rows of evidence and its gain.
_KEEP, _COUPLING, _TOTAL, _PUSH, _PEAK, _THRESHOLD, _SINCE, _TRIAL = range(8)


@njit(cache=True, nogil=True)
def _race(
    drift: Array,
    others: Array,
    condition: IntArray,
    start: float,
    floor: float,
    sd: float,
    dt: float,
    steps: int,
    streams: Words,
    rng: np.random.Generator,
    duration: IntArray,
    choice: IntArray,
) -> None:
    """Fill `duration` (b, n), in steps, and `choice` (b, n), 0..J - 1 or -1 without a response.

    `drift` is (b, K, J), `others` threshold, leak and inhibition (b, 3), `condition` (b, n).
    """
    n, options = condition.shape[1], drift.shape[2]
    abreast = min(_ABREAST, condition.size)
    lanes = np.empty((2 * options + 8, abreast))  # a column is a trial under way
    x, gain, rest = lanes[:options], lanes[options : 2 * options], lanes[2 * options :]
    threshold, peak, since = rest[_THRESHOLD], rest[_PEAK], rest[_SINCE]
    for lane in range(abreast):
        _enter(lanes, lane, lane, 0, drift, others, condition, start, dt)
    # Normals for a few steps at a time, which then stay in the nearest cache.
    width = streams.shape[1]
    words = np.empty((-(-4 * options * abreast // width), width), dtype=np.uint64)
    z = np.empty(words.size)
    used, entered, step, deadline = z.size, abreast, 0, steps
    while abreast > 0:
        if used + options * abreast > z.size:
            fill_normals(z, words, streams, rng)
            used = 0
        arrived = _advance(x, gain, rest, z, used, abreast, sd, floor)
        used += options * abreast
        step += 1
        if arrived == 0 and step < deadline:
            continue
        lane = 0
        while lane < abreast:
            if peak[lane] < threshold[lane] and step - since[lane] < steps:
                lane += 1
                continue
            row, place = divmod(int(rest[_TRIAL, lane]), n)
            duration[row, place] = step - int(since[lane])
            choice[row, place] = _NO_RESPONSE
            if peak[lane] >= threshold[lane]:
                choice[row, place] = np.argmax(x[:, lane])
            if entered < condition.size:
                _enter(lanes, lane, entered, step, drift, others, condition, start, dt)
                entered += 1
                lane += 1
            else:  # close the gap, and look at the trial that moved here next
                abreast -= 1
                lanes[:, lane] = lanes[:, abreast]
        deadline = step + steps
        for lane in range(abreast):
            deadline = min(deadline, int(since[lane]) + steps)


@njit(cache=True, nogil=True)
def _enter(
    lanes: Array,
    lane: int,
    trial: int,
    step: int,
    drift: Array,
    others: Array,
    condition: IntArray,
    start: float,
    dt: float,
) -> None:
    """Put a trial at its start into a lane."""
    options = drift.shape[2]
    row, place = divmod(trial, condition.shape[1])
    threshold, leak, inhibition = others[row]
    for i in range(options):
        lanes[i, lane] = start * threshold
        lanes[options + i, lane] = drift[row, condition[row, place], i] * dt
    rest = lanes[2 * options :]
    # The sum over the others is the sum over all less x_i, which goes to the factor of x_i.
    rest[_KEEP, lane] = 1 - (leak - inhibition) * dt
    rest[_COUPLING, lane] = inhibition * dt
    rest[_TOTAL, lane] = options * start * threshold
    rest[_THRESHOLD, lane] = threshold
    rest[_SINCE, lane] = step
    rest[_TRIAL, lane] = trial


@njit(cache=True, nogil=True)
def _advance(
    x: Array, gain: Array, rest: Array, z: Array, used: int, abreast: int, sd: float, floor: float
) -> int:
    """One step of all trials with the normals from z[used] on; how many reached the threshold."""
    keep, coupling, total, push = rest[_KEEP], rest[_COUPLING], rest[_TOTAL], rest[_PUSH]
    peak, threshold = rest[_PEAK], rest[_THRESHOLD]
    for lane in range(abreast):
        push[lane] = coupling[lane] * total[lane]
        total[lane] = 0.0
        peak[lane] = -np.inf
    for i in range(x.shape[0]):
        for lane in range(abreast):
            moved = keep[lane] * x[i, lane] + (gain[i, lane] + sd * z[used + lane]) - push[lane]
            peak[lane] = moved if moved > peak[lane] else peak[lane]
            moved = moved if moved > floor else floor
            x[i, lane] = moved
            total[lane] += moved
        used += abreast
    arrived = 0
    for lane in range(abreast):
        arrived += peak[lane] >= threshold[lane]
    return arrived
