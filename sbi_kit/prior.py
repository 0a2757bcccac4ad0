"""Named parameters and the map that makes their prior a standard normal.

Every parameter passes through its prior's distribution function, given the parameters before it
(Rosenblatt 1952), and the normal quantile:

    u_i = Φ⁻¹(F_i(θ_i | θ_1, …, θ_{i−1})),   so that under the prior u ~ N(0, I).

A flow q that learns the posterior of u instead of θ starts at the prior, pays nothing for a
parameter the data say nothing about, needs no standardisation, and cannot leave the support: every
finite u is a valid θ, also where one bound is another parameter. Since |du/dθ| = p(θ) / N(u; 0, I),
its density in natural units is

    log q(θ) = log q(u) + log p(θ) − log N(u; 0, I).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from sbi_kit.checks import (
    BadType,
    BadValue,
    UnknownName,
    expect_array,
    expect_finite,
    expect_integer,
    expect_name,
    nearest,
)
from sbi_kit.contracts import Array
from sbi_kit.families import (
    FAMILIES,
    Beta,
    Exponential,
    Family,
    Gamma,
    HalfNormal,
    LogNormal,
    LogUniform,
    Normal,
    TruncatedNormal,
    Uniform,
    arguments,
    broken_rule,
    inside,
    obeys,
    show_value,
    support,
)
from sbi_kit.seeds import numpy_stream

__all__ = [
    "Beta",
    "Exponential",
    "Family",
    "Gamma",
    "HalfNormal",
    "LogNormal",
    "LogUniform",
    "MultivariateNormal",
    "Normal",
    "Prior",
    "TruncatedNormal",
    "Uniform",
    "prior_from_dict",
    "prior_to_dict",
]


@dataclass(frozen=True)
class MultivariateNormal:
    """Several parameters with a joint normal distribution.

    Args:
        names: Names of the k parameters.
        mean: Their means, shape (k,).
        covariance: Shape (k, k), symmetric and positive definite.

    Raises:
        BadValue: A shape is wrong, a number is not finite, a name comes twice, or the covariance is
            not symmetric positive definite.
        BadType: The names are no strings.

    >>> MultivariateNormal(names=("a", "b"), mean=(0, 0), covariance=[[1, 0.5], [0.5, 1]])
    MultivariateNormal(names=('a', 'b'), mean=(0, 0), covariance=((1, 0.5), (0.5, 1)))
    """

    names: Sequence[str]
    mean: ArrayLike
    covariance: ArrayLike

    def __post_init__(self) -> None:
        names = _expect_names(self.names)
        k = len(names)
        mean = expect_array("mean", self.mean, (k,), do="pass one number per name")
        shape = "pass one row and one column per name"
        covariance = expect_array("covariance", self.covariance, (k, k), do=shape)
        expect_finite("mean", mean, names, do="pass finite numbers")
        expect_finite("covariance", covariance, names, do="pass finite numbers")
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "mean", tuple(mean.tolist()))
        object.__setattr__(self, "covariance", tuple(map(tuple, covariance.tolist())))
        scale = np.sqrt(np.abs(np.outer(np.diag(covariance), np.diag(covariance))))
        wanted = "a symmetric positive definite covariance"
        if np.any(np.abs(covariance - covariance.T) > 1e-9 * scale):
            raise BadValue(wanted, show_value(self.covariance), "make it equal to its transpose")
        try:
            fine = bool(np.all(np.diag(self._factor) ** 2 > 1e-12 * np.diag(covariance)))
        except np.linalg.LinAlgError:
            fine = False
        if not fine:
            advice = "keep every variance positive and every correlation below 1"
            raise BadValue(wanted, show_value(self.covariance), advice)

    def __repr__(self) -> str:
        parts = (f"{f.name}={show_value(getattr(self, f.name))}" for f in fields(self))
        return f"MultivariateNormal({', '.join(parts)})"

    @cached_property
    def _factor(self) -> Array:
        return np.linalg.cholesky(np.asarray(self.covariance, dtype=np.float64))

    def log_prob(self, theta: Array) -> Array:
        """Log density of theta (..., k), shape (...)."""
        constant = np.log(np.diag(self._factor)).sum() + 0.5 * len(self.names) * np.log(2 * np.pi)
        log_prob: Array = -0.5 * np.square(self.whiten(theta)).sum(axis=-1) - constant
        return log_prob

    def whiten(self, theta: Array) -> Array:
        """Map theta (..., k) to u (..., k); the factor is triangular, so u_i needs no later θ."""
        flat = (theta - np.asarray(self.mean)).reshape(-1, len(self.names))
        return np.linalg.solve(self._factor, flat.T).T.reshape(theta.shape)

    def unwhiten(self, u: Array) -> Array:
        """The inverse of `whiten`."""
        theta: Array = np.asarray(self.mean) + u @ self._factor.T
        return theta


Block: TypeAlias = MultivariateNormal | Family


class Prior:
    """A proper prior over named parameters, written as one distribution per parameter.

    An argument of a family is a number or the name of an earlier parameter. Joint blocks come
    first in the order of the parameters, then the marginals as written.

    Args:
        *joint: Blocks of parameters with a joint distribution; they carry their own names.
        **marginals: One family per parameter, under the parameter's name.

    Raises:
        BadValue: There is no parameter, a name comes twice, or an argument that depends on earlier
            parameters breaks its family's rule (such as low < high) in some draw.
        BadType: A marginal is not one of the families.
        UnknownName: An argument names no earlier parameter.

    >>> prior = Prior(beta=Uniform(0.01, 1), gamma=Uniform(0, "beta"))
    >>> prior.unwhiten([[0.0, 0.0]])
    array([[0.505 , 0.2525]])
    >>> prior
    Prior(beta=Uniform(0.01, 1), gamma=Uniform(0, 'beta'))
    """

    # `self` is positional-only, so that a parameter may have any name.
    def __init__(self, /, *joint: MultivariateNormal, **marginals: Family) -> None:
        for block in joint:
            if not isinstance(block, MultivariateNormal):
                advice = "give a single parameter its name, as in Prior(rate=Uniform(0, 1))"
                raise BadType("a MultivariateNormal as an unnamed block", repr(block), advice)
        for name, family in marginals.items():
            if not isinstance(family, tuple(FAMILIES.values())):
                advice = "use a family, as in Uniform(0, 1)"
                raise BadType(f"one of {', '.join(FAMILIES)} for {name!r}", repr(family), advice)
        names = [name for block in joint for name in block.names] + list(marginals)
        if not names:
            raise BadValue("a prior of one or more parameters", "none", "name at least one")
        self._names = _expect_names(names)
        self._joint = joint
        self._marginals = marginals
        if self._expect_earlier_names():
            # Rows at ±5 find what breaks once in millions of draws, the others what breaks often.
            d = len(self.names)
            draws = numpy_stream(0, "prior").standard_normal((512, d))
            self.unwhiten(np.concatenate([draws, 5 * np.eye(d), -5 * np.eye(d)]))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the d parameters, in the order of theta's last axis."""
        return self._names

    @property
    def joint(self) -> tuple[MultivariateNormal, ...]:
        """The joint blocks."""
        return self._joint

    @property
    def marginals(self) -> dict[str, Family]:
        """The families of the parameters outside the joint blocks, by name."""
        return dict(self._marginals)

    def __repr__(self) -> str:
        named = [f"{name}={family!r}" for name, family in self._marginals.items()]
        return f"Prior({', '.join([*map(repr, self._joint), *named])})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Prior):
            return NotImplemented
        mine, theirs = self._marginals.items(), other._marginals.items()
        return self._joint == other._joint and list(mine) == list(theirs)

    def sample(self, b: int, rng: np.random.Generator) -> Array:
        """Draw b parameter vectors, shape (b, d).

        Raises:
            BadType: b is no integer, or rng no numpy generator.
            BadValue: b < 1.
        """
        b = expect_integer("b", b, low=1)
        if not isinstance(rng, np.random.Generator):
            raise BadType("rng as a numpy Generator", repr(rng), "pass numpy.random.default_rng(1)")
        return self.unwhiten(rng.standard_normal((b, len(self.names))))

    @np.errstate(all="ignore")  # rows outside the support are computed and thrown away
    def log_prob(self, theta: ArrayLike) -> Array:
        """Log density of theta (..., d), shape (...); -inf outside the support.

        A value on a bound counts as the float next to it, as in `whiten`.

        Raises:
            BadValue: The shape is wrong or a value is NaN; the message names row and parameter.
        """
        theta = self._expect_rows("theta", theta)
        self._expect_no_nan(theta)
        total = np.zeros(theta.shape[:-1])
        valid = np.isfinite(theta).all(axis=-1)
        for block, place in self._blocks():
            column = theta[..., place]
            if isinstance(block, MultivariateNormal):
                total += block.log_prob(column)
                continue
            values = self._values(block, theta)
            low, high = support(block, values)
            valid &= obeys(block, values) & (low <= column) & (column <= high)
            total += block.log_prob(inside(column, low, high), **values)
        return np.where(valid, total, -np.inf)

    @np.errstate(divide="ignore", over="ignore", under="ignore")
    def whiten(self, theta: ArrayLike) -> Array:
        """Map theta (..., d) to u (..., d), which is N(0, I) under the prior.

        A value on a bound counts as the float next to it, so that u is finite.

        Raises:
            BadValue: The shape is wrong, or a value is NaN or outside the support.
        """
        theta = self.expect_inside(theta)
        u = np.empty_like(theta)
        for block, place in self._blocks():
            column = theta[..., place]
            if isinstance(block, MultivariateNormal):
                u[..., place] = block.whiten(column)
            else:
                values = self._values(block, theta)
                column = inside(column, *support(block, values))
                u[..., place] = block.whiten(column, **values)
        return u

    @np.errstate(divide="ignore", over="ignore", under="ignore")  # overflow is brought back inside
    def unwhiten(self, u: ArrayLike) -> Array:
        """Map u (..., d) to theta (..., d), the inverse of `whiten`.

        Every finite u lands strictly inside the support.

        Raises:
            BadValue: The shape is wrong, u is not finite, or some u is so extreme that one
                parameter is no valid argument for another (a normal one used as an sd, say).
        """
        u = self._expect_rows("u", u)
        expect_finite("u", u, self.names, do="pass finite numbers")
        theta = np.empty_like(u)
        for block, place in self._blocks():
            column = u[..., place]
            if isinstance(block, MultivariateNormal):
                theta[..., place] = block.unwhiten(column)
            else:
                values = self._expect_rules(block, place, theta)
                drawn = block.unwhiten(column, **values)
                theta[..., place] = inside(drawn, *support(block, values))
        return theta

    def expect_inside(self, theta: ArrayLike) -> Array:
        """Return theta (..., d) as an array if all of it is within the prior's bounds.

        Raises:
            BadValue: It is not; the message names parameter, value, row and bounds.

        >>> Prior(p=Beta(1, 2)).expect_inside([3.0])
        Traceback (most recent call last):
        sbi_kit.checks.BadValue: Expected p in [0, 1] by p=Beta(1, 2); got 3.0; keep to the bounds.
        """
        theta = self._expect_rows("theta", theta)
        self._expect_no_nan(theta)
        for block, place in self._blocks():
            column = theta[..., place]
            if isinstance(block, MultivariateNormal):
                expect_finite("theta", column, block.names, do="pass finite numbers")
                continue
            low, high = support(block, self._expect_rules(block, place, theta))
            outside = np.argwhere(~((low <= column) & (column <= high) & np.isfinite(column)))
            if len(outside):
                row = tuple(int(i) for i in outside[0])
                bounds = [
                    show_value(float(np.broadcast_to(x, column.shape)[row])) for x in (low, high)
                ]
                name = self.names[place]
                raise BadValue(
                    f"{name} in [{', '.join(bounds)}] by {name}={block!r}",
                    f"{column[row]}{_show_row(row)}",
                    "keep to the bounds",
                )
        return theta

    def _blocks(self) -> Iterator[tuple[Block, Any]]:
        """Every block with its place on theta's last axis: a slice if joint, else an index."""
        place = 0
        for block in self._joint:
            yield block, slice(place, place + len(block.names))
            place += len(block.names)
        for family in self._marginals.values():
            yield family, place
            place += 1

    def _values(self, family: Family, theta: Array) -> dict[str, Any]:
        """The family's arguments as numbers, those that are names looked up in theta."""
        return {
            argument: theta[..., self.names.index(v)] if isinstance(v, str) else np.float64(v)
            for argument, v in arguments(family).items()
        }

    def _expect_rules(self, family: Family, place: int, theta: Array) -> dict[str, Any]:
        values = self._values(family, theta)
        parents = [value for value in arguments(family).values() if isinstance(value, str)]
        broken = broken_rule(family, values) if parents else None
        if broken:
            rule, row = broken
            drawn = (f"{name} = {theta[(*row, self.names.index(name))]:g}" for name in parents)
            raise BadValue(
                f"{rule} in {self.names[place]}={family!r}",
                f"{' and '.join(dict.fromkeys(drawn))}",
                f"bound {' and '.join(map(repr, dict.fromkeys(parents)))} so that it always holds",
            )
        return values

    def _expect_earlier_names(self) -> bool:
        """Whether any argument names another parameter; it must be an earlier one."""
        found = False
        for place, (name, family) in enumerate(self._marginals.items(), -len(self._marginals)):
            earlier = self.names[:place]
            for argument, value in arguments(family).items():
                if not isinstance(value, str):
                    continue
                if value in self.names and value not in earlier:
                    wanted = f"{argument} of {name!r} to name a parameter before it"
                    advice = f"write {value!r} before {name!r}"
                    itself = "a prior does not condition on itself"
                    raise UnknownName(wanted, repr(value), itself if value == name else advice)
                expect_name(f"parameter before {name!r} as its {argument}", value, earlier)
                found = True
        return found

    def _expect_rows(self, name: str, value: ArrayLike) -> Array:
        ndim = np.ndim(value) if isinstance(value, np.ndarray) else np.asarray(value, object).ndim
        shape: list[int | str] = [*["..."] * (ndim - 1), len(self.names)]
        advice = f"the last axis holds the parameters {', '.join(self.names)}"
        return expect_array(name, value, shape, do=advice)

    def _expect_no_nan(self, theta: Array) -> None:
        if np.isnan(theta).any():
            known = np.where(np.isnan(theta), theta, 0.0)
            expect_finite("theta", known, self.names, do="remove or impute it")


def prior_to_dict(prior: Prior) -> dict[str, Any]:
    """A prior as JSON values; `prior_from_dict` is the inverse.

    >>> prior_to_dict(Prior(sd=TruncatedNormal(0, 1, low=0)))["marginals"]
    [{'name': 'sd', 'family': 'TruncatedNormal', 'mean': 0.0, 'sd': 1.0, 'low': 0.0}]
    """
    joint = [
        {
            "family": "MultivariateNormal",
            "names": list(block.names),
            "mean": np.asarray(block.mean).tolist(),
            "covariance": np.asarray(block.covariance).tolist(),
        }
        for block in prior.joint
    ]
    # Arguments at their default are left out: it may be infinite, which JSON does not know.
    marginals = [
        {"name": name, "family": type(family).__name__}
        | {f.name: v for f in fields(family) if (v := getattr(family, f.name)) != f.default}
        for name, family in prior.marginals.items()
    ]
    return {"joint": joint, "marginals": marginals}


def prior_from_dict(entry: Mapping[str, Any]) -> Prior:
    """The prior that `prior_to_dict` wrote; nothing in it is evaluated.

    Raises:
        UnknownName: A family is unknown.
        BadValue: An argument is unknown, missing or invalid.
        BadType: An argument has the wrong type.

    >>> prior_from_dict({"marginals": [{"name": "p", "family": "Beta", "a": 1, "b": 2}]})
    Prior(p=Beta(1, 2))
    """
    _expect_keys("a prior", entry, {"joint", "marginals"}, {"joint"})
    joint = [
        _build({"MultivariateNormal": MultivariateNormal}, block)
        for block in _expect_list("joint", entry.get("joint", []))
    ]
    marginals = []
    for block in _expect_list("marginals", entry["marginals"]):
        if not isinstance(block, Mapping) or not isinstance(block.get("name"), str):
            raise BadType("a marginal with a name", repr(block), "give each its name and family")
        rest = {key: value for key, value in block.items() if key != "name"}
        marginals.append((block["name"], _build(FAMILIES, rest)))
    if marginals:
        _expect_names([name for name, _ in marginals])
    return Prior(*joint, **dict(marginals))


def _build(classes: Mapping[str, Any], entry: Any) -> Any:
    """The family that an entry describes; only the classes given can be built."""
    if not isinstance(entry, Mapping):
        raise BadType("a family with its arguments", repr(entry), "write each as an object")
    title = expect_name("family", entry.get("family"), classes)
    known = {f.name for f in fields(classes[title])}
    optional = {f.name for f in fields(classes[title]) if f.default is not MISSING}
    given = {key: value for key, value in entry.items() if key != "family"}
    _expect_keys(title, given, known, optional)
    return classes[title](**given)


def _expect_keys(title: str, entry: Any, known: set[str], optional: set[str]) -> None:
    if not isinstance(entry, Mapping):
        raise BadType(f"{title} as an object", repr(entry), "write it as one")
    listed = ", ".join(sorted(known))
    unknown = sorted(str(key) for key in entry if key not in known)
    missing = sorted(known - optional - set(entry))
    if unknown:
        close = nearest(unknown[0], sorted(known))
        advice = f"did you mean {close!r}?" if close else "remove it"
        raise BadValue(f"{title} with {listed}", f"unknown {', '.join(unknown)}", advice)
    if missing:
        raise BadValue(f"{title} with {listed}", f"no {', '.join(missing)}", "add what is missing")


def _expect_list(title: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise BadType(f"{title} as a list", repr(value), "list one object per block")
    return value


def _expect_names(names: Iterable[object]) -> tuple[str, ...]:
    listed = () if isinstance(names, str) else tuple(names)
    if not listed or not all(isinstance(name, str) and name for name in listed):
        raise BadType("names as non-empty strings", repr(names), "pass a tuple of names")
    twice = sorted({str(name) for name in listed if listed.count(name) > 1})
    if twice:
        raise BadValue("distinct parameter names", f"{', '.join(twice)} twice", "rename one")
    return tuple(str(name) for name in listed)


def _show_row(row: tuple[int, ...]) -> str:
    return f" at row {row[0] if len(row) == 1 else row}" if row else ""
