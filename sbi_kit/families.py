"""The univariate families a prior is made of, each as a bijection with the standard normal.

A family with distribution function F whitens its parameter by u = Φ⁻¹(F(θ)) and has the inverse
θ = F⁻¹(Φ(u)). Near 1 a float cannot hold F, so below the median F itself is used and above it the
survival function 1 − F: both tails keep all their digits. The maps are elementwise functions
of θ (or u) and the family's arguments, which broadcast, so that an argument may be one number or,
where it names an earlier parameter, an array with one value per row.

Arguments are those of the textbooks (rates, not scales; the mean and sd of the logarithm).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, ClassVar, NamedTuple, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import special

from sbi_kit.checks import BadValue, expect_number
from sbi_kit.contracts import Array

Argument: TypeAlias = float | str
BoolArray: TypeAlias = NDArray[np.bool_]
Floats: TypeAlias = NDArray[np.floating[Any]]
Values: TypeAlias = Mapping[str, Any]  # arguments resolved to numbers or to one number per row

# Where |u| stops. A bounded θ with less mass than Φ(−9) = 1e-19 beyond it is on its bound but for
# rounding, and must be no outlier in training; past Φ(−20) = 3e-89 scipy's inverses turn to NaN.
_EDGE = 9.0
_LIMIT = 20.0
_LEAST_MASS = 1e-12
_ROOT_2 = math.sqrt(2)
_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


class Rule(NamedTuple):
    """What a family asks of some of its arguments, and the function that says where it holds."""

    text: str
    on: tuple[str, ...]
    holds: Callable[..., Any]


def _positive(argument: str) -> Rule:
    return Rule(f"{argument} > 0", (argument,), lambda value: value > 0)


def _apart(low: Any, high: Any) -> Any:
    """Whether there is a float between low and high, and their distance is no overflow."""
    unbounded = np.isinf(low) | np.isinf(high)
    return (np.nextafter(low, high) < high) & (unbounded | np.isfinite(np.subtract(high, low)))


def _holds_mass(mean: Any, sd: Any, low: Any, high: Any) -> Any:
    return _log_mass(*_standard(mean, sd, low, high)) > math.log(_LEAST_MASS)


_ORDERED = Rule("low < high", ("low", "high"), _apart)
_HOLDS_MASS = Rule(
    f"{_LEAST_MASS:g} of the normal's mass between low and high",
    ("mean", "sd", "low", "high"),
    _holds_mass,
)


def _check(family: "Family") -> None:
    """Store numbers as floats and hold the rules on them; names are the prior's to resolve."""
    title = type(family).__name__
    for field in fields(family):
        value = getattr(family, field.name)
        unset = isinstance(value, float) and value == field.default
        if not isinstance(value, str) and not unset:
            number = expect_number(f"{field.name} of {title}", value)
            object.__setattr__(family, field.name, number)
    numbers = {k: np.float64(v) for k, v in arguments(family).items() if not isinstance(v, str)}
    broken = broken_rule(family, numbers)
    if broken:
        raise BadValue(f"{title} with {broken[0]}", repr(family), "change its arguments")


def _show(family: "Family") -> str:
    shown = [
        show_value(value) if field.default is MISSING else f"{field.name}={show_value(value)}"
        for field, value in zip(fields(family), arguments(family).values(), strict=True)
        if value != field.default
    ]
    return f"{type(family).__name__}({', '.join(shown)})"


@dataclass(frozen=True)
class Uniform:
    """Uniform on (low, high).

    >>> Uniform(0, "beta")
    Uniform(0, 'beta')
    """

    low: Argument
    high: Argument
    rules: ClassVar[tuple[Rule, ...]] = (_ORDERED,)
    bounds: ClassVar[tuple[Argument, Argument]] = ("low", "high")
    __repr__ = _show

    def __post_init__(self) -> None:
        _check(self)

    @staticmethod
    def log_prob(theta: Array, low: Array, high: Array) -> Array:
        return np.zeros_like(theta) - np.log(high - low)

    @staticmethod
    def whiten(theta: Array, low: Array, high: Array) -> Array:
        width = high - low
        return _score((theta - low) / width, (high - theta) / width, limit=_EDGE)

    @staticmethod
    def unwhiten(u: Array, low: Array, high: Array) -> Array:
        step = _tail(u, limit=_EDGE) * (high - low)
        return np.where(u < 0, low + step, high - step)


@dataclass(frozen=True)
class LogUniform:
    """Log-uniform (reciprocal) on (low, high): log θ is uniform.

    >>> round(float(LogUniform.unwhiten(0.0, 10, 1_000)), 9)  # the median
    100.0
    """

    low: Argument
    high: Argument
    rules: ClassVar[tuple[Rule, ...]] = (_positive("low"), _ORDERED)
    bounds: ClassVar[tuple[Argument, Argument]] = ("low", "high")
    __repr__ = _show

    def __post_init__(self) -> None:
        _check(self)

    @staticmethod
    def log_prob(theta: Array, low: Array, high: Array) -> Array:
        return -np.log(theta) - np.log(_log_ratio(high, low))

    @staticmethod
    def whiten(theta: Array, low: Array, high: Array) -> Array:
        width = _log_ratio(high, low)
        return _score(_log_ratio(theta, low) / width, _log_ratio(high, theta) / width, limit=_EDGE)

    @staticmethod
    def unwhiten(u: Array, low: Array, high: Array) -> Array:
        step = _tail(u, limit=_EDGE) * _log_ratio(high, low)
        return np.where(u < 0, low * np.exp(step), high * np.exp(-step))


@dataclass(frozen=True)
class Normal:
    """Normal with the given mean and standard deviation.

    >>> float(Normal.unwhiten(-1.0, 5.0, 2.0))
    3.0
    """

    mean: Argument
    sd: Argument
    rules: ClassVar[tuple[Rule, ...]] = (_positive("sd"),)
    bounds: ClassVar[tuple[Argument, Argument]] = (-np.inf, np.inf)
    __repr__ = _show

    def __post_init__(self) -> None:
        _check(self)

    @staticmethod
    def log_prob(theta: Array, mean: Array, sd: Array) -> Array:
        return _log_normal((theta - mean) / sd) - np.log(sd)

    @staticmethod
    def whiten(theta: Array, mean: Array, sd: Array) -> Array:
        return (theta - mean) / sd

    @staticmethod
    def unwhiten(u: Array, mean: Array, sd: Array) -> Array:
        return mean + sd * u


@dataclass(frozen=True)
class LogNormal:
    """Log-normal on (0, inf); `mean` and `sd` are those of log θ.

    >>> float(LogNormal.unwhiten(0.0, 0.0, 2.0))  # the median is exp(mean)
    1.0
    """

    mean: Argument
    sd: Argument
    rules: ClassVar[tuple[Rule, ...]] = (_positive("sd"),)
    bounds: ClassVar[tuple[Argument, Argument]] = (0.0, np.inf)
    __repr__ = _show

    def __post_init__(self) -> None:
        _check(self)

    @staticmethod
    def log_prob(theta: Array, mean: Array, sd: Array) -> Array:
        log_theta = np.log(theta)
        return _log_normal((log_theta - mean) / sd) - np.log(sd) - log_theta

    @staticmethod
    def whiten(theta: Array, mean: Array, sd: Array) -> Array:
        return (np.log(theta) - mean) / sd

    @staticmethod
    def unwhiten(u: Array, mean: Array, sd: Array) -> Array:
        return np.exp(mean + sd * u)


@dataclass(frozen=True)
class HalfNormal:
    """The absolute value of a normal with mean 0 and standard deviation `sd`, on (0, inf).

    >>> round(float(HalfNormal.unwhiten(0.0, 1.0)), 4)  # the median
    0.6745
    """

    sd: Argument
    rules: ClassVar[tuple[Rule, ...]] = (_positive("sd"),)
    bounds: ClassVar[tuple[Argument, Argument]] = (0.0, np.inf)
    __repr__ = _show

    def __post_init__(self) -> None:
        _check(self)

    @staticmethod
    def log_prob(theta: Array, sd: Array) -> Array:
        return math.log(2) + _log_normal(theta / sd) - np.log(sd)

    @staticmethod
    def whiten(theta: Array, sd: Array) -> Array:
        z = theta / (_ROOT_2 * sd)
        return _score(special.erf(z), special.erfc(z))

    @staticmethod
    def unwhiten(u: Array, sd: Array) -> Array:
        tail = _tail(u)
        return _ROOT_2 * sd * np.where(u < 0, special.erfinv(tail), special.erfcinv(tail))


@dataclass(frozen=True)
class TruncatedNormal:
    """Normal with mean and sd (before truncation), cut to (low, high).

    >>> TruncatedNormal(0, 1, low=0)
    TruncatedNormal(0, 1, low=0)
    """

    mean: Argument
    sd: Argument
    low: Argument = -np.inf
    high: Argument = np.inf
    rules: ClassVar[tuple[Rule, ...]] = (_positive("sd"), _ORDERED, _HOLDS_MASS)
    bounds: ClassVar[tuple[Argument, Argument]] = ("low", "high")
    __repr__ = _show

    def __post_init__(self) -> None:
        _check(self)

    @staticmethod
    def log_prob(theta: Array, mean: Array, sd: Array, low: Array, high: Array) -> Array:
        mass = _log_mass(*_standard(mean, sd, low, high))
        return _log_normal((theta - mean) / sd) - np.log(sd) - mass

    @staticmethod
    def whiten(theta: Array, mean: Array, sd: Array, low: Array, high: Array) -> Array:
        mass = _log_mass(*_standard(mean, sd, low, high))
        below = _log_mass(*_standard(mean, sd, low, theta)) - mass
        above = _log_mass(*_standard(mean, sd, theta, high)) - mass
        u: Array = np.clip(special.ndtri_exp(np.minimum(below, above)), -_LIMIT, _LIMIT)
        return np.where(below < above, u, -u)

    @staticmethod
    def unwhiten(u: Array, mean: Array, sd: Array, low: Array, high: Array) -> Array:
        a, b, width = _standard(mean, sd, low, high)
        # Mirrored above the median, so that mass is always counted from a left edge.
        left, edge, sign = u < 0, np.where(u < 0, a, -b), np.where(u < 0, 1.0, -1.0)
        target = special.log_ndtr(-np.minimum(np.abs(u), _LIMIT)) + _log_mass(a, b, width)
        z = _normal_quantile(edge, target)
        step = _refine(z - edge, edge, target)
        from_edge = np.where(left, low, high) + sign * sd * step
        return np.where(np.isfinite(edge), from_edge, mean + sign * sd * z)


@dataclass(frozen=True)
class Gamma:
    """Gamma on (0, inf) with mean shape / rate.

    >>> round(float(Gamma.log_prob(1.0, 1.0, 2.0)), 4)  # log 2 - 2
    -1.3069
    """

    shape: Argument
    rate: Argument
    rules: ClassVar[tuple[Rule, ...]] = (_positive("shape"), _positive("rate"))
    bounds: ClassVar[tuple[Argument, Argument]] = (0.0, np.inf)
    __repr__ = _show

    def __post_init__(self) -> None:
        _check(self)

    @staticmethod
    def log_prob(theta: Array, shape: Array, rate: Array) -> Array:
        scaled = rate * theta
        return shape * np.log(scaled) - np.log(theta) - scaled - special.gammaln(shape)

    @staticmethod
    def whiten(theta: Array, shape: Array, rate: Array) -> Array:
        scaled = rate * theta
        return _score(special.gammainc(shape, scaled), special.gammaincc(shape, scaled))

    @staticmethod
    def unwhiten(u: Array, shape: Array, rate: Array) -> Array:
        return _inverse(special.gammaincinv, special.gammainccinv, u, shape) / rate


@dataclass(frozen=True)
class Beta:
    """Beta on (0, 1) with mean a / (a + b).

    >>> round(float(Beta.unwhiten(0.0, 3.0, 3.0)), 12)  # the median
    0.5
    """

    a: Argument
    b: Argument
    rules: ClassVar[tuple[Rule, ...]] = (_positive("a"), _positive("b"))
    bounds: ClassVar[tuple[Argument, Argument]] = (0.0, 1.0)
    __repr__ = _show

    def __post_init__(self) -> None:
        _check(self)

    @staticmethod
    def log_prob(theta: Array, a: Array, b: Array) -> Array:
        return (a - 1) * np.log(theta) + (b - 1) * np.log1p(-theta) - special.betaln(a, b)

    @staticmethod
    def whiten(theta: Array, a: Array, b: Array) -> Array:
        return _score(special.betainc(a, b, theta), special.betaincc(a, b, theta))

    @staticmethod
    def unwhiten(u: Array, a: Array, b: Array) -> Array:
        return _inverse(special.betaincinv, special.betainccinv, u, a, b)


@dataclass(frozen=True)
class Exponential:
    """Exponential on (0, inf) with mean 1 / rate.

    >>> round(float(Exponential.unwhiten(0.0, 1.0)), 4)  # the median is log 2
    0.6931
    """

    rate: Argument
    rules: ClassVar[tuple[Rule, ...]] = (_positive("rate"),)
    bounds: ClassVar[tuple[Argument, Argument]] = (0.0, np.inf)
    __repr__ = _show

    def __post_init__(self) -> None:
        _check(self)

    @staticmethod
    def log_prob(theta: Array, rate: Array) -> Array:
        return np.log(rate) - rate * theta

    @staticmethod
    def whiten(theta: Array, rate: Array) -> Array:
        # The logarithm of 1 − F is −rate θ, exact in both tails.
        return np.clip(-special.ndtri_exp(-rate * theta), -_LIMIT, _LIMIT)

    @staticmethod
    def unwhiten(u: Array, rate: Array) -> Array:
        return -special.log_ndtr(-np.clip(u, -_LIMIT, _LIMIT)) / rate


Family: TypeAlias = (
    Uniform
    | LogUniform
    | Normal
    | LogNormal
    | HalfNormal
    | TruncatedNormal
    | Gamma
    | Beta
    | Exponential
)
FAMILIES: dict[str, type[Family]] = {family.__name__: family for family in get_args(Family)}


def arguments(family: Family) -> dict[str, Argument]:
    """The arguments of a family by name, in order.

    >>> arguments(Gamma(2, "rate"))
    {'shape': 2.0, 'rate': 'rate'}
    """
    return {field.name: getattr(family, field.name) for field in fields(family)}


def broken_rule(family: Family, values: Values) -> tuple[str, tuple[int, ...]] | None:
    """The first rule that the values break, and the first row that breaks it.

    Rules on arguments that have no value yet are left out.
    """
    for rule in family.rules:
        if set(rule.on) <= set(values):
            broken = np.argwhere(~_kept(rule, values))
            if len(broken):
                return rule.text, tuple(int(i) for i in broken[0])
    return None


def obeys(family: Family, values: Values) -> BoolArray:
    """True where the values keep all the family's rules."""
    kept = np.array(True)
    for rule in family.rules:
        kept = kept & _kept(rule, values)
    return kept


def support(family: Family, values: Values) -> tuple[Any, Any]:
    """The bounds of the family's open support, numbers or one per row.

    >>> support(Uniform(0, "beta"), {"low": 0.0, "high": 0.3})
    (0.0, 0.3)
    """
    low, high = (values[x] if isinstance(x, str) else x for x in family.bounds)
    return low, high


def inside(theta: Array, low: Any, high: Any) -> Array:
    """Move theta off the bounds of its open support (low, high), by a few floats.

    A few rather than one, so that a later parameter bounded by this one finds room; and to a
    normal float from a bound at 0, so that 1 / theta is finite.

    >>> bool(inside(np.array(0.0), 0.0, 1.0) > 0)
    True
    """
    numbers = np.finfo(np.float64)
    low, high = np.maximum(low, numbers.min), np.minimum(high, numbers.max)
    lowest = low + np.maximum(4 * np.spacing(np.abs(low)), numbers.tiny)
    highest = high - np.maximum(4 * np.spacing(np.abs(high)), numbers.tiny)
    crowded = lowest >= highest
    lowest = np.where(crowded, np.nextafter(low, high), lowest)
    highest = np.where(crowded, np.nextafter(high, low), highest)
    return np.clip(theta, lowest, highest)


def show_value(value: Any) -> str:
    """A number, name or nested tuple of them as a person would write it.

    >>> show_value((1.0, 0.25, "beta"))
    "(1, 0.25, 'beta')"
    """
    if isinstance(value, tuple):
        return f"({', '.join(map(show_value, value))}{',' if len(value) == 1 else ''})"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return repr(value)


@np.errstate(all="ignore")  # NaN compares as false, which is what is asked
def _kept(rule: Rule, values: Values) -> BoolArray:
    return np.asarray(rule.holds(*(values[name] for name in rule.on)), dtype=bool)


def _tail(u: Array, *, limit: float = _LIMIT) -> Array:
    """The mass beyond u on its own side of the median, Φ(−|u|)."""
    return special.ndtr(-np.minimum(np.abs(u), limit))


def _score(below: Floats, above: Floats, *, limit: float = _LIMIT) -> Array:
    """u from the mass below and above, by whichever is small and so exact."""
    u = np.clip(special.ndtri(np.minimum(below, above)), -limit, limit)
    return np.where(below < above, u, -u)


def _inverse(below: np.ufunc, above: np.ufunc, u: Array, *given: Array) -> Array:
    """Quantile by the inverse of F below the median and of 1 − F above it, each where needed."""
    u, *args = np.broadcast_arrays(u, *given)
    theta = np.empty(u.shape)
    # By index: the ufuncs' own `where=` corrupts memory up to scipy 1.17 (scipy/scipy#25127).
    for inverse, side in ((below, u < 0), (above, u >= 0)):
        theta[side] = inverse(*(arg[side] for arg in args), _tail(u[side]))
    return theta


def _log_ratio(a: Array, b: Array) -> Array:
    """log(a / b), exact where a is close to b."""
    return np.where(a < 2 * b, np.log1p((a - b) / b), np.log(a) - np.log(b))


def _log_normal(z: Array) -> Array:
    return -0.5 * z**2 - _HALF_LOG_2PI


def _standard(mean: Any, sd: Any, low: Any, high: Any) -> tuple[Any, Any, Any]:
    """(low, high, high − low) in units of sd about the mean; the width apart for its digits."""
    return (low - mean) / sd, (high - mean) / sd, (high - low) / sd


@np.errstate(all="ignore")  # each branch is infinite or NaN where the other one is taken
def _log_mass(a: Any, b: Any, width: Any) -> Array:
    """log of the standard normal's mass between a and b = a + width."""
    flip = a + b > 0  # by symmetry, to the tail where Φ keeps its digits
    a, b = np.where(flip, -b, a), np.where(flip, -a, b)
    log_b = special.log_ndtr(b)
    far = log_b + np.log1p(-np.exp(special.log_ndtr(a) - log_b))
    middle = a + width / 2
    near = _log_normal(middle) + np.log(width) + np.log1p((middle**2 - 1) * width**2 / 24)
    series = width * (1 + np.abs(middle)) < 2e-3  # where its next term is below 1e-14
    log_mass: Array = np.where(series, near, far)
    return log_mass


@np.errstate(all="ignore")
def _normal_quantile(edge: Array, log_mass: Array) -> Array:
    """z with exp(log_mass) of the standard normal between edge and z."""
    left = special.ndtri_exp(np.logaddexp(special.log_ndtr(edge), log_mass))
    beyond = special.log_ndtr(-edge)
    right = -special.ndtri_exp(beyond + np.log1p(-np.exp(log_mass - beyond)))
    return np.where(edge > 0, right, left)


@np.errstate(all="ignore")
def _refine(step: Array, edge: Array, log_mass: Array) -> Array:
    """The step from edge that holds exp(log_mass), by Newton's rule on the logarithms of both.

    Close to the edge z − edge has few digits; there the first guess is mass over density.
    """
    linear = np.exp(log_mass - _log_normal(edge))
    step = np.where(linear * (1 + np.abs(edge)) < 1e-2, linear, step)
    for _ in range(2):
        slope = step * np.exp(_log_normal(edge + step) - log_mass)
        step = step * np.exp((log_mass - _log_mass(edge, edge + step, step)) / slope)
    return step
