"""Is a posterior calibrated? A verdict from held-out simulations.

The ranks of true values among posterior draws (`ranks`) are uniform for an exact posterior. They
are tested

- for each column, that is, parameter or test quantity (`quantities`), by four tests (`uniformity`);
- for all parameters together, in highest-density and in TARP regions (`regions`);
- for each column again in strata of the datasets (`strata`), by size, by known context and by
  the place of each parameter in the posterior.

The whole verdict keeps its level: 1 − level is shared out, 70 % to the columns, 15 % to the two
joint checks, 15 % to the strata (if there are none the columns have it), and within each group
equally (Bonferroni). So an exact posterior passes as a whole with at least the probability
`level`, however its parts depend.

A pass proves nothing that so many datasets could not have shown, so the verdict says how large a
shift or a wrong width would have been seen. Recovery (`recovery`) and the log score, the mean of
log q(theta* | x), tell how sharp the posterior is, by which calibrated posteriors are compared.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sbi_kit.checks import BadType, BadValue, expect_array, expect_integer, expect_number
from sbi_kit.context import names_of
from sbi_kit.contracts import Array, IntArray, Layout, Posterior
from sbi_kit.data import Datasets
from sbi_kit.diagnostics.quantities import Quantities, expect_quantities, with_quantities
from sbi_kit.diagnostics.quantities import Quantity as Quantity
from sbi_kit.diagnostics.ranks import ENOUGH, HeldOut, break_ties, compare, held_out_draws
from sbi_kit.diagnostics.ranks import Coverage as Coverage
from sbi_kit.diagnostics.ranks import coverage as coverage
from sbi_kit.diagnostics.ranks import ecdf_band as ecdf_band
from sbi_kit.diagnostics.ranks import rank_ecdf as rank_ecdf
from sbi_kit.diagnostics.ranks import sbc_ranks as sbc_ranks
from sbi_kit.diagnostics.recovery import AVERAGED_DRAWS, Recovery, averaged_posterior
from sbi_kit.diagnostics.regions import MOST_DRAWS, PriorScale, highest_density, tarp
from sbi_kit.diagnostics.strata import judge_strata, strata_of
from sbi_kit.diagnostics.uniformity import CURVE, uniformity
from sbi_kit.diagnostics.uniformity import Sensitivity as Sensitivity
from sbi_kit.diagnostics.uniformity import sensitivity as sensitivity
from sbi_kit.diagnostics.verdict import Verdict as Verdict
from sbi_kit.seeds import numpy_stream

_COLUMNS, _JOINT, _STRATA = 0.7, 0.15, 0.15  # shares of 1 − level
_REGIONS = 3  # parts of the datasets along each parameter, if there are datasets enough


def calibrate(
    posterior: Posterior,
    bank: HeldOut,
    *,
    draws: int,
    seed: int,
    level: float = 0.95,
    quantities: Quantities | None = None,
    regions: int | None = None,
) -> Verdict:
    """Judge a posterior by held-out simulations: ranks, coverage, strata, recovery, log score.

    Joint checks look at the first 200 draws of each dataset, whose log densities are evaluated.

    Args:
        posterior: Any posterior.
        bank: b usable held-out simulations it was not trained on; 500 are a good number.
        draws: Draws per dataset, at least 2; those of `sbc_ranks` with the same seed.
        seed: Seed of the draws, the broken ties and the reference points.
        level: Probability that an exact posterior passes the whole verdict, at least. Of 1 − level,
            70 % is spent on parameters and quantities, 15 % on joint checks, 15 % on strata.
        quantities: Test quantities under their names, judged like parameters: functions of theta
            (m, d) returning (m,), such as `{"R0": lambda theta: theta[:, 0] / theta[:, 1]}`, or a
            `Quantity`, which sees the data too.
        regions: Parts of the datasets by size, by context and by the place of each parameter; 1
            stands for none. By default 3, or fewer if each would have fewer than 100 datasets.

    Raises:
        BadValue: As for `sbc_ranks`; or the posterior returns a log density that is NaN or inf, a
            quantity NaN, another shape or the name of a parameter; or there are more regions than
            pairs of datasets.
        BadType: draws, seed or regions is no integer, the posterior or the bank is no such thing,
            or quantities are no mapping of functions.
    """
    if not isinstance(posterior, Posterior):
        advice = "pass what fit or load returned, or any object with these three"
        got = type(posterior).__name__
        raise BadType("a posterior with prior, sample and log_prob", got, advice)
    if not isinstance(bank, HeldOut):
        advice = "pass what simulate or Bank.open returned"
        raise BadType("a bank of simulations", type(bank).__name__, advice)
    draws = expect_integer("draws", draws, low=2)
    level = expect_number("level", level, low=0.5, high=0.9999)
    parameters = tuple(bank.prior.names)
    quantities = expect_quantities(quantities, parameters)
    regions = _expect_regions(regions, len(bank.usable))
    scale = PriorScale(bank.prior, numpy_stream(seed, "calibration references"))
    seen = _joined(
        [
            _look(posterior, theta, x, drawn, quantities, scale)
            for theta, x, drawn in held_out_draws(posterior, bank, draws, seed)
        ]
    )
    ranks = break_ties(seen.below, seen.equal, seed)
    b, k = ranks.shape
    along = (*_known(bank, seen.context.shape[1]), *parameters)
    parts = strata_of(seen.n, seen.context, seen.places, along, regions)
    size = (1 - level) * (_COLUMNS if parts else _COLUMNS + _STRATA) / k
    joint, few = (1 - level) * _JOINT / 2, min(draws, MOST_DRAWS)
    dense, near = (
        break_ties(below, equal, seed, i)
        for i, (below, equal) in enumerate(
            [(seen.sparser, seen.as_dense), (seen.nearer, seen.as_near)]
        )
    )
    return Verdict(
        names=(*parameters, *quantities),
        quantities=tuple(quantities),
        ranks=ranks,
        draws=draws,
        seed=seed,
        level=level,
        size=size,
        band=ecdf_band(b, draws, level=1 - CURVE * size),
        coverage=coverage(ranks, draws, level=1 - CURVE * size),
        tests=uniformity(ranks, draws),
        highest_density=highest_density(dense, few, size=joint),
        tarp=tarp(near, few, size=joint),
        strata=judge_strata(parts, ranks, draws, size=(1 - level) * _STRATA),
        recovery=Recovery(seen.truth, seen.mean, seen.median, seen.sd),
        averaged=averaged_posterior(seen.truth, seen.some, seed=seed),
        n=seen.n,
        log_q=seen.log_q,
        sensitivity=sensitivity(b, draws, level=1 - size),
        units=getattr(posterior, "units", {}),
    )


@dataclass(frozen=True, eq=False)
class _Seen:
    """What is kept of the draws of some datasets."""

    truth: Array  # (b, k)
    mean: Array  # (b, k)
    median: Array  # (b, k)
    sd: Array  # (b, k)
    places: Array  # (b, d) mean over draws and truth
    some: Array  # (b, s, k) a few draws
    n: IntArray  # (b,)
    context: Array  # (b, c)
    log_q: Array  # (b,)
    below: IntArray  # (b, k) draws below the truth
    equal: IntArray  # (b, k)
    sparser: IntArray  # (b,) draws less dense than the truth
    as_dense: IntArray  # (b,)
    nearer: IntArray  # (b,) draws nearer to the reference point
    as_near: IntArray  # (b,)


def _look(
    posterior: Posterior,
    theta: Array,
    x: Datasets,
    drawn: Array,
    quantities: Quantities,
    scale: PriorScale,
) -> _Seen:
    few = drawn[:, :MOST_DRAWS]
    log_q = _log_densities(posterior, np.concatenate([theta[:, None], few], axis=1), x)
    sparser, as_dense = _compare_one(log_q[:, 0], log_q[:, 1:])
    nearer, as_near = _compare_one(*scale.distances(theta, few))
    places = (theta + drawn.sum(axis=1)) / (1 + drawn.shape[1])
    truth, drawn = with_quantities(theta, drawn, x, quantities)
    below, equal = compare(truth, drawn)
    with np.errstate(invalid="ignore"):  # infinite quantities have no moments
        mean, sd, median = drawn.mean(axis=1), drawn.std(axis=1, ddof=1), np.median(drawn, axis=1)
    return _Seen(
        truth=truth,
        mean=mean,
        median=median,
        sd=sd,
        places=places,
        some=drawn[:, :AVERAGED_DRAWS].copy(),
        n=x.n,
        context=x.context,
        log_q=log_q[:, 0],
        below=below,
        equal=equal,
        sparser=sparser,
        as_dense=as_dense,
        nearer=nearer,
        as_near=as_near,
    )


def _joined(parts: Sequence[_Seen]) -> _Seen:
    joined: dict[str, NDArray[Any]] = {
        field.name: np.concatenate([getattr(part, field.name) for part in parts])
        for field in fields(_Seen)
    }
    return _Seen(**joined)


def _compare_one(truth: Array, drawn: Array) -> tuple[IntArray, IntArray]:
    """How many of drawn (b, s) lie below truth (b,) and how many equal it, shapes (b,)."""
    below, equal = compare(truth[:, None], drawn[:, :, None])
    return below[:, 0], equal[:, 0]


def _log_densities(posterior: Posterior, theta: Array, x: Datasets) -> Array:
    """log q(theta | x) of theta (b, s, d), shape (b, s); in one call, so that equals are equal."""
    fix = "correct the posterior's log_prob method"
    values = expect_array("log densities", posterior.log_prob(theta, x), theta.shape[:2], do=fix)
    bad = np.argwhere(np.isnan(values) | (values == np.inf))
    if len(bad):
        row, column = bad[0]
        raise BadValue("log densities below inf", f"{values[row, column]} at dataset {row}", fix)
    return values


def _known(bank: HeldOut, c: int) -> tuple[str, ...]:
    """Names of c known quantities, numbers where the bank has no layout that names them."""
    layout = getattr(bank, "data", None)
    names = names_of(layout) if isinstance(layout, Layout) else ()
    return names if len(names) == c else tuple(f"context {j + 1}" for j in range(c))


def _expect_regions(regions: int | None, b: int) -> int:
    if regions is None:
        return max(1, min(_REGIONS, b // ENOUGH))
    return expect_integer("regions", regions, low=1, high=max(1, b // 2))
