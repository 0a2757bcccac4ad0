"""Is a posterior calibrated? A verdict from held-out simulations.

The ranks of the true parameters (`sbi_kit.diagnostics.ranks`) give each parameter two curves, the
ECDF of the ranks and the coverage of central intervals; it passes if both are inside their
simultaneous bands. The 2 d tests share 1 − level equally (Bonferroni), so an exact posterior of d
parameters passes as a whole with probability `level` or a little more, however they depend
(measured for a level of 95 % and one parameter: 95.5 %).

A pass proves nothing that so many datasets could not have shown, so the verdict says how large a
shift or a wrong width would have been seen. Recovery (R², NRMSE) and the log score, the mean of
log q(theta* | x), tell how sharp the posterior is, by which calibrated posteriors are compared.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from sbi_kit.checks import BadType, BadValue, expect_array, expect_integer, expect_number
from sbi_kit.contracts import Array, IntArray, Posterior
from sbi_kit.data import Datasets
from sbi_kit.diagnostics.bands import Band
from sbi_kit.diagnostics.ranks import ENOUGH, HeldOut, break_ties, compare, held_out_draws
from sbi_kit.diagnostics.ranks import Coverage as Coverage
from sbi_kit.diagnostics.ranks import Sensitivity as Sensitivity
from sbi_kit.diagnostics.ranks import coverage as coverage
from sbi_kit.diagnostics.ranks import ecdf_band as ecdf_band
from sbi_kit.diagnostics.ranks import rank_ecdf as rank_ecdf
from sbi_kit.diagnostics.ranks import sbc_ranks as sbc_ranks
from sbi_kit.diagnostics.ranks import sensitivity as sensitivity


@dataclass(frozen=True, eq=False)
class Verdict:
    """What a calibration check found; `print` it for the table and a sentence.

    Attributes:
        names: The d parameters.
        ranks: Rank of each true parameter among the draws, shape (b, d).
        draws: Posterior draws per dataset.
        seed: Seed of the check.
        level: Probability that an exact posterior passes for all parameters together.
        band: Band of the ECDF of the ranks, at its share of the level.
        coverage: Coverage of central intervals with its band, at its share of the level.
        p_ranks: p-value of the ECDF of the ranks, shape (d,); uniform for an exact posterior.
        p_coverage: p-value of the coverage curve, shape (d,).
        r2: Share of the variance of the true values that posterior means explain, shape (d,).
        nrmse: RMSE of posterior means over the range of the true values, shape (d,).
        relative_sd: Mean posterior sd over the sd of the true values, shape (d,).
        log_score: Mean of log q(theta* | x), in nats; the higher the sharper.
        log_score_error: Its standard error.
        sensitivity: The smallest errors that so many datasets show.
    """

    names: tuple[str, ...]
    ranks: IntArray
    draws: int
    seed: int
    level: float
    band: Band
    coverage: Coverage
    p_ranks: Array
    p_coverage: Array
    r2: Array
    nrmse: Array
    relative_sd: Array
    log_score: float
    log_score_error: float
    sensitivity: Sensitivity

    @property
    def datasets(self) -> int:
        """Number of held-out simulations that were judged."""
        return len(self.ranks)

    @property
    def enough(self) -> bool:
        """Whether there are datasets enough (100) for a pass to mean something."""
        return self.datasets >= ENOUGH

    @property
    def p_values(self) -> Array:
        """p-value of each parameter, both curves together (Bonferroni), shape (d,)."""
        return np.asarray(np.minimum(1.0, 2 * np.minimum(self.p_ranks, self.p_coverage)))

    @property
    def passed_by_parameter(self) -> dict[str, bool]:
        """Whether both curves of each parameter are inside their bands."""
        inside = self.band.holds(rank_ecdf(self.ranks, self.draws))
        inside &= self.coverage.band.holds(self.coverage.values)
        return dict(zip(self.names, inside.tolist(), strict=True))

    @property
    def passed(self) -> bool:
        """Whether all parameters passed; with few datasets (`enough`) this says little."""
        return all(self.passed_by_parameter.values())

    @property
    def sentence(self) -> str:
        """The verdict in words."""
        seen = _in_words(self.sensitivity)
        passed = self.passed_by_parameter
        failed = [self._reason(i) for i, name in enumerate(self.names) if not passed[name]]
        size = f"{self.datasets} datasets"
        bands = f"{size}, joint {100 * self.level:g} % bands"
        if failed:
            return f"Miscalibrated ({bands}): {'; '.join(failed)}."
        if not self.enough:
            return f"Too few datasets for a verdict ({size}; use {ENOUGH} or more): {seen}."
        return f"No miscalibration found ({bands}): {seen}."

    def _reason(self, i: int) -> str:
        name = f"{self.names[i]} (p = {self.p_values[i]:.2g})"
        if self.p_coverage[i] < self.p_ranks[i]:
            excess = (self.coverage.values[:, i] - self.coverage.levels).mean()
            return f"intervals of {name} are too {'wide' if excess > 0 else 'narrow'}"
        low = self.ranks[:, i].mean() < self.draws / 2
        return f"draws of {name} lie too {'high' if low else 'low'}"

    def to_dict(self) -> dict[str, Any]:
        """All numbers but the ranks as JSON values, None for those that do not exist."""
        ok = self.passed_by_parameter
        columns = {
            "p_value": self.p_values,
            "p_ranks": self.p_ranks,
            "p_coverage": self.p_coverage,
            "calibration_error": self.coverage.error,
            "r2": self.r2,
            "nrmse": self.nrmse,
            "relative_sd": self.relative_sd,
        }
        parameters = {
            name: {
                "passed": ok[name],
                **{key: _json(column[i]) for key, column in columns.items()},
                "coverage": self.coverage.values[:, i].tolist(),
            }
            for i, name in enumerate(self.names)
        }
        seen = self.sensitivity
        return {
            "passed": self.passed,
            "verdict": self.sentence,
            "datasets": self.datasets,
            "draws": self.draws,
            "seed": self.seed,
            "level": self.level,
            "parameters": parameters,
            "coverage_levels": self.coverage.levels.tolist(),
            "log_score": _json(self.log_score),
            "log_score_error": _json(self.log_score_error),
            "smallest_seen": {
                key: _json(getattr(seen, key)) for key in ("shift", "narrow", "wide")
            },
        }

    def __str__(self) -> str:
        width = max(9, *(len(name) for name in self.names))
        head = "p-value  inside band  cover 50 %  cover 90 %  cal. error     R²"
        half, most = self.coverage.at(0.5), self.coverage.at(0.9)
        lines = [f"{'parameter':<{width}}  {head}"]
        for i, (name, ok) in enumerate(self.passed_by_parameter.items()):
            lines.append(
                f"{name:<{width}}  {self.p_values[i]:>7.2g}  {'yes' if ok else 'NO':>11}"
                f"  {half[i]:>10.3f}  {most[i]:>10.3f}  {self.coverage.error[i]:>10.3f}"
                f"  {self.r2[i]:>5.3f}"
            )
        score = f"log score {self.log_score:.3f} ± {self.log_score_error:.3f} nats"
        return "\n".join([*lines, score, self.sentence])


def calibrate(
    posterior: Posterior, bank: HeldOut, *, draws: int, seed: int, level: float = 0.95
) -> Verdict:
    """Judge a posterior by held-out simulations: ranks, coverage, recovery, log score.

    Args:
        posterior: Any posterior.
        bank: b usable held-out simulations it was not trained on; 500 are a good number.
        draws: Draws per dataset, at least 2; those of `sbc_ranks` with the same seed.
        seed: Seed of the draws.
        level: Probability that an exact posterior passes for all its parameters.

    Raises:
        BadValue: As for `sbc_ranks`, or the posterior returns a log density that is NaN.
        BadType: draws or seed is no integer, or the posterior or the bank is no such thing.
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
    truth, mean, sd, log_q, parts = [], [], [], [], []
    for theta, x, drawn in held_out_draws(posterior, bank, draws, seed):
        parts.append(compare(theta, drawn))
        truth.append(theta)
        mean.append(drawn.mean(axis=1))
        sd.append(drawn.std(axis=1))
        log_q.append(_log_density(posterior, theta, x))
    ranks = break_ties(parts, seed)
    b, d = ranks.shape
    each = 1 - (1 - level) / d  # a parameter's share of the level
    half = 1 - (1 - each) / 2  # a curve's share of that
    band, covered = ecdf_band(b, draws, level=half), coverage(ranks, draws, level=half)
    score, error = _mean_and_error(np.concatenate(log_q))
    r2, nrmse, relative_sd = _recovery(*(np.concatenate(part) for part in (truth, mean, sd)))
    return Verdict(
        names=tuple(bank.prior.names),
        ranks=ranks,
        draws=draws,
        seed=seed,
        level=level,
        band=band,
        coverage=covered,
        p_ranks=band.p_values(rank_ecdf(ranks, draws)),
        p_coverage=covered.band.p_values(covered.values),
        r2=r2,
        nrmse=nrmse,
        relative_sd=relative_sd,
        log_score=score,
        log_score_error=error,
        sensitivity=sensitivity(b, draws, level=each),
    )


def _log_density(posterior: Posterior, theta: Array, x: Datasets) -> Array:
    """log q(theta | x) of theta (b, d), shape (b,)."""
    fix = "correct the posterior's log_prob method"
    values = expect_array("log densities", posterior.log_prob(theta, x), (len(theta),), do=fix)
    bad = np.flatnonzero(np.isnan(values) | (values == np.inf))
    if len(bad):
        raise BadValue("log densities below inf", f"{values[bad[0]]} at dataset {bad[0]}", fix)
    return values


def _recovery(truth: Array, mean: Array, sd: Array) -> tuple[Array, Array, Array]:
    """R² and NRMSE of posterior means and relative posterior sd, NaN where theta is constant."""
    squared = ((mean - truth) ** 2).mean(axis=0)
    spread = truth.std(axis=0)
    return (
        1 - _over(squared, spread**2),
        _over(np.sqrt(squared), np.ptp(truth, axis=0)),
        _over(sd.mean(axis=0), spread),
    )


def _over(top: Array, bottom: Array) -> Array:
    return np.divide(top, bottom, out=np.full_like(top, np.nan), where=bottom > 0)


def _mean_and_error(values: Array) -> tuple[float, float]:
    if not np.isfinite(values).all():
        return -math.inf, math.nan
    return float(values.mean()), float(values.std(ddof=1) / math.sqrt(len(values)))


def _in_words(seen: Sensitivity) -> str:
    errors = [f"a shift of {seen.shift:.2f} posterior sd"] if seen.shift < math.inf else []
    ratios = [f"{ratio:.2f}" for ratio in (seen.narrow, seen.wide) if 0 < ratio < math.inf]
    if ratios:
        errors.append(f"an sd {' or '.join(ratios)} times the right one")
    if not errors:
        return "so many show no error of any size with 80 % power"
    return f"so many show, with 80 % power, {' or '.join(errors)}, nothing smaller"


def _json(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
