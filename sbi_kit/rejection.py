"""Approximate Bayesian computation: keep the simulations that look like the data.

Of N simulations those stand for a dataset whose summaries are nearest to its own (Pritchard et al.
1999, doi:10.1093/oxfordjournals.molbev.a026091; `sbi_kit.acceptance`, `sbi_kit.reduction`), after a
regression of the whitened parameters u on the summaries; as u has no bounds, corrected parameters
stay inside the prior's support. The posterior is the kernel density of these particles in u
(`sbi_kit.kernel_density`), so that draws and densities belong to each other and every judge of
posteriors can judge it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from os import PathLike
from typing import Any, final

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from sbi_kit import contracts
from sbi_kit.acceptance import Acceptance, DistanceFunction, quantile_for
from sbi_kit.arviz_bridge import InferenceData
from sbi_kit.bank import Bank, usable_rows
from sbi_kit.certificate import UNCHECKED, Certificate
from sbi_kit.checks import (
    BadInput,
    BadType,
    BadValue,
    expect_array,
    expect_flag,
    expect_integer,
    show_names,
)
from sbi_kit.contracts import Array, IntArray
from sbi_kit.data import AnyLayout, Datasets, layout_from_dict, read
from sbi_kit.familiarity import Familiarity, fit_familiarity
from sbi_kit.kernel_density import KernelDensity, fit_kernel_density
from sbi_kit.observing import density_of, infer_observed, screen
from sbi_kit.prior import Prior, prior_from_dict
from sbi_kit.reduction import Reduction, SummaryFunction, fit_reduction
from sbi_kit.registry import PluginError
from sbi_kit.saving import save_posterior
from sbi_kit.sealed import RESTORE
from sbi_kit.seeds import numpy_stream
from sbi_kit.simulator import find_model, rebuild

METHOD = "abc"
_TOGETHER = 2_000_000  # observations in memory at a time
_HELD_OUT = 1_000  # simulations that tell what is familiar


@dataclass(frozen=True, eq=False)
class Accepted:
    """The simulations that stand for one dataset.

    Attributes:
        rows: Which of the usable simulations, nearest first, shape (m,).
        distance: Their distances from the data, shape (m,).
        weights: Their weights, of sum 1, shape (m,).
        theta: Their parameters, shape (m, d).
        adjusted: The parameters after regression, if there was one, else the same, shape (m, d).
        tolerance: Distance up to which they were accepted.
    """

    rows: IntArray
    distance: Array
    weights: Array
    theta: Array
    adjusted: Array
    tolerance: float

    @property
    def effective(self) -> float:
        """Effective sample size, 1 / sum of squared weights."""
        return 1 / float(np.square(self.weights).sum())


@final
@dataclass(frozen=True, eq=False, kw_only=True)
class RejectionABC:
    """A posterior by rejection; `fit_abc` makes one, `load` reads one back.

    Attributes:
        prior: The prior that the parameters were drawn from.
        data: The layout of one dataset.
        simulator: Name and settings of the simulator.
        reduction: From datasets to the numbers that are compared.
        u: Whitened parameters of the N simulations, shape (N, d).
        z: What is compared of them, shape (N, k).
        acceptance: Which of them stand for a dataset.
        familiarity: What new data are compared with.
        history: What it was made of.
        model: The simulator itself, if this process had it.
        certificate: What a calibration check found when its directory was certified; None if there
            was no check, or the posterior was not loaded.
    """

    prior: contracts.Prior
    data: AnyLayout
    simulator: dict[str, Any]
    reduction: Reduction
    u: Array
    z: Array
    acceptance: Acceptance
    familiarity: Familiarity
    history: dict[str, Any]
    model: contracts.Simulator | None = None
    certificate: Certificate | None = None

    def __str__(self) -> str:
        what = (
            f"ABC posterior of {show_names(self.prior.names)}, given data of "
            f"{self.simulator['name']}"
        )
        return f"{what}\n{self.certificate or UNCHECKED}"

    @property
    def units(self) -> dict[str, str]:
        """Units of parameters, columns and context by name, as far as its simulator says so."""
        return dict(self.simulator.get("units", {}))

    @property
    def made_of(self) -> dict[str, str]:
        """What it is made of, in words, for a report."""
        how = self.acceptance
        near = f"the nearest {100 * (how.quantile or 0):.3g} % of {len(self.u):,}"
        if how.tolerance is not None:
            near = f"all of {len(self.u):,} within {how.tolerance:.6g}"
        return {
            "accepted simulations": near,
            "distance": how.distance if isinstance(how.distance, str) else "a function",
            "correction": "local-linear regression" if how.adjusted else "none",
        }

    def sample(
        self,
        x: Any,
        *,
        draws: int,
        seed: int,
        context: Mapping[str, ArrayLike] | None = None,
    ) -> Array:
        """Draw from the posterior of every dataset.

        Args:
            x: One dataset or several, in any form that `sbi_kit.data.read` accepts.
            draws: Draws per dataset; more than `Accepted.effective` hold no more information.
            seed: Seed of the draws.
            context: What is known of the datasets besides, as for `NeuralPosterior.sample`.

        Returns:
            Parameters in the prior's units, shape (b, draws, d).

        Raises:
            BadValue, BadType: The data do not fit the layout, draws or seed are out of range, or
                fewer than 20 simulations are within the tolerance.
            UnknownName: The layout declares no such context.

        Warns:
            UserWarning: A dataset is of a size or context, or unlike all, that were simulated.
        """
        size = expect_integer("draws", draws, low=1)
        numbers = self._numbers(x, context)
        theta = np.empty((len(numbers), size, len(self.prior.names)))
        for row, density in enumerate(self._densities(numbers)):
            theta[row] = self.prior.unwhiten(
                density.sample(size, numpy_stream(seed, "abc draws", row))
            )
        return theta

    def log_prob(
        self, theta: ArrayLike, x: Any, *, context: Mapping[str, ArrayLike] | None = None
    ) -> Array:
        """Log density of parameters under the posterior of each dataset.

        Args:
            theta: Parameters in the prior's units, shape (b, d) or (b, draws, d).
            x: The b datasets.
            context: As for `sample`.

        Returns:
            Log densities, shape (b,) or (b, draws); -inf outside the prior's support.

        Raises:
            BadValue, BadType: As for `sample`, or theta has another shape or holds NaN.
        """
        numbers = self._numbers(x, context)

        def log_q(u: Array) -> Array:
            pairs = zip(self._densities(numbers), u, strict=True)
            return np.stack([density.log_density(points) for density, points in pairs])

        return density_of(self.prior, theta, len(numbers), log_q)

    def accept(
        self, x: Any, *, context: Mapping[str, ArrayLike] | None = None
    ) -> tuple[Accepted, ...]:
        """The simulations that are accepted for each dataset.

        Args:
            x: One dataset or several, in any form that `sample` accepts.
            context: As for `sample`.

        Raises:
            BadValue, BadType: As for `sample`.
        """
        return tuple(self._accepted(self._numbers(x, context)))

    def infer(
        self,
        x: Any,
        *,
        draws: int,
        seed: int,
        predictive: int = 500,
        model: contracts.Simulator | None = None,
        context: Mapping[str, ArrayLike] | None = None,
    ) -> InferenceData:
        """Infer the parameters behind observed data, as ArviZ data.

        Arguments, groups, errors and warnings are those of `NeuralPosterior.infer`; sample_stats
        also has the `tolerance` and the `effective_sample_size` of each dataset.
        """
        observed = read(x, self.data, context)
        numbers = self.reduction(observed)
        if not isinstance(x, Datasets):
            screen(self, observed, numbers, stacklevel=2)
        accepted = list(self._accepted(numbers))
        return infer_observed(
            self,
            observed,
            numbers,
            draws=draws,
            predictive=predictive,
            seed=seed,
            model=model,
            scores={
                "tolerance": np.array([one.tolerance for one in accepted]),
                "effective_sample_size": np.array([one.effective for one in accepted]),
            },
        )

    def save(self, path: str | PathLike[str], *, overwrite: bool = False) -> None:
        """Write the posterior to a directory that `load` reads, its certificate with it.

        Raises:
            BadValue: The directory holds something already and `overwrite` is false; or summaries
                or distance are functions, which a file cannot hold.
            BadType: The prior is not one of `sbi_kit.Prior`, and cannot be written.
        """
        for what, kept in (
            ("summaries", self.history["summaries"] != "custom"),
            ("a distance", isinstance(self.acceptance.distance, str)),
        ):
            if not kept:
                raise BadValue(
                    f"{what} with a name, which a file can hold",
                    "a function",
                    "define `summaries` on the simulator, and choose a distance by name",
                )
        save_posterior(
            self,
            path,
            method=METHOD,
            document={"acceptance": asdict(self.acceptance)},
            weights={},
            arrays={
                "table": {"u": self.u, "z": self.z},
                "reduction": self.reduction.arrays(),
                "familiarity": self.familiarity.arrays(),
            },
            packages=("sbi_kit", "numpy", "scipy"),
            overwrite=overwrite,
        )

    def _numbers(self, x: Any, context: Mapping[str, ArrayLike] | None) -> Array:
        """What is compared of datasets, shape (b, k); the door for all data."""
        observed = read(x, self.data, context)
        numbers = self.reduction(observed)
        if not isinstance(x, Datasets):  # those come from a bank or were screened before
            screen(self, observed, numbers, stacklevel=3)
        return numbers

    def _densities(self, numbers: Array) -> Iterator[KernelDensity]:
        """The posterior of u of each dataset."""
        for one in self.acceptance(numbers, self.u, self.z):
            yield fit_kernel_density(one.corrected, one.weights)

    def _accepted(self, numbers: Array) -> Iterator[Accepted]:
        """What is accepted for each row of numbers (b, k)."""
        for one in self.acceptance(numbers, self.u, self.z):
            yield Accepted(
                rows=one.rows,
                distance=one.distance,
                weights=one.weights,
                theta=self.prior.unwhiten(one.u),
                adjusted=self.prior.unwhiten(one.corrected),
                tolerance=one.tolerance,
            )


def fit_abc(
    bank: Bank,
    *,
    summaries: SummaryFunction | None = None,
    semi_automatic: bool = True,
    quantile: float | None = None,
    tolerance: float | None = None,
    distance: str | DistanceFunction = "euclidean",
    adjust: bool = True,
    bad_share: float = 0.2,
) -> RejectionABC:
    """Make a posterior by rejection from a bank of simulations.

    Args:
        bank: The simulations; their summaries stay in memory.
        summaries: Maps datasets of one size, shape (r, n, columns), or (r, columns) of a `Vector`,
            to summaries (r, p), such as the method `estimate` of a neural posterior; where the
            layout declares a context, it is passed as `context=`, a mapping. None takes the
            simulator's own method `summaries`, or else the standard ones: moments and quantiles
            of every column, correlations, and of a series its autocorrelation and peak.
        semi_automatic: Whether to project summaries to one estimate per parameter first.
        quantile: Share of the simulations to accept; .01 if no tolerance is given.
        tolerance: Largest distance to accept, in units of residuals, or, without projection, of
            the summaries' spread.
        distance: "euclidean", "cityblock", "chebyshev", "mahalanobis", or a function of what is
            compared of the simulations (N, k) and of the data (k,) that returns distances (N,).
        adjust: Whether to correct accepted parameters by local-linear regression.
        bad_share: Share of unusable simulations from which on it refuses.

    Returns:
        The posterior.

    Raises:
        BadType: bank is no bank, or a flag is no flag.
        BadValue: An argument is out of range, quantile and tolerance are both given, fewer than 20
            simulations would be accepted, or summaries return other than one row per dataset.
        UnknownName: There is no such distance.

    >>> import sbi_kit as sk
    >>> from sbi_kit.data import Vector
    >>> model = sk.Simulator(
    ...     name="scale",
    ...     prior=sk.Prior(weight=sk.Normal(0, 1)),
    ...     data=Vector(columns=("reading",)),
    ...     simulate=lambda theta, rng: theta + 0.5 * rng.normal(size=theta.shape),
    ... )
    >>> posterior = sk.fit_abc(sk.simulate(model, 20_000, seed=1), quantile=0.02)
    >>> draws = posterior.sample([1.0], draws=2_000, seed=2)  # the exact one is N(.8, .447²)
    >>> bool(abs(draws.mean() - 0.8) < 0.05), bool(abs(draws.std() - 0.447) < 0.05)
    (True, True)
    """
    if not isinstance(bank, Bank):
        advice = "pass what simulate or Bank.open returned"
        raise BadType("a bank of simulations", type(bank).__name__, advice)
    if summaries is not None and not callable(summaries):
        advice = "pass a function of datasets of one size (r, n, columns)"
        raise BadType("summaries as a function", type(summaries).__name__, advice)
    rows = usable_rows(bank, bad_share=bad_share)
    acceptance = Acceptance(
        quantile=quantile_for(quantile, tolerance, len(rows)),
        tolerance=tolerance,
        distance=distance,
        adjusted=adjust,
    )
    u = bank.prior.whiten(bank.theta[rows])
    model, _ = find_model(bank)
    own = getattr(model, "summaries", None)
    reduction, z = fit_reduction(
        bank.chunks(rows, observations=_TOGETHER),
        u,
        bank.data,
        own if summaries is None else summaries,
        semi_automatic=expect_flag("semi_automatic", semi_automatic),
    )
    kind = "custom" if summaries is not None else "standard" if own is None else "simulator"
    held_out = min(_HELD_OUT, len(rows) // 5)
    return RejectionABC(
        prior=bank.prior,
        data=bank.data,
        simulator=bank.simulator,
        reduction=reduction,
        u=u,
        z=z,
        acceptance=acceptance,
        familiarity=fit_familiarity(z[held_out:], z[:held_out]),
        history={
            "simulations": len(bank),
            "bank_seed": bank.seed,
            "summaries": kind,
            "semi_automatic": bool(semi_automatic),
            "context": bank.context_range(rows),
        },
        model=model,
    )


def from_file(document: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> RejectionABC:
    """The posterior whose document and tensors `save` wrote; those of another raise somehow."""
    prior, data = prior_from_dict(document["prior"]), layout_from_dict(document["data"])
    parts: dict[str, dict[str, Any]] = {}
    for name, tensor in tensors.items():
        part, _, key = name.partition(".")
        parts.setdefault(part, {})[key] = tensor.numpy()
    function, model = None, None
    if document["training"]["summaries"] == "simulator":
        function, model = _own_summaries(document["simulator"], prior)
    u = expect_array("u", parts["table"]["u"], ("N", len(prior.names)), do=RESTORE)
    z = expect_array("z", parts["table"]["z"], (len(u), "k"), do=RESTORE)
    familiarity = Familiarity(**parts["familiarity"])
    if len(familiarity.center) != z.shape[1]:
        raise BadValue(f"a reference of {z.shape[1]} numbers", "another", RESTORE)
    return RejectionABC(
        prior=prior,
        data=data,
        simulator=document["simulator"],
        reduction=Reduction(data=data, function=function, **parts["reduction"]),
        u=u,
        z=z,
        acceptance=Acceptance(**document["acceptance"]),
        familiarity=familiarity,
        history=document["training"],
        model=model,
    )


def _own_summaries(
    known: Mapping[str, Any], prior: Prior
) -> tuple[SummaryFunction, contracts.Simulator | None]:
    """The summaries of the simulator of that name, which must be installed when they are used."""
    try:
        model: Any = rebuild(known, prior)
    except (BadInput, PluginError) as error:
        reason = str(error)

        def refuse(_: Array, context: object = None) -> Array:  # noqa: ARG001
            raise BadValue(
                f"the simulator {known['name']!r}, whose summaries this posterior compares",
                f"none that serves ({reason})",
                "install the distribution it came from",
            )

        return refuse, None
    return model.summaries, model
