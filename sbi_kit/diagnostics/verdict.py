"""The verdict of a calibration check: its numbers, a table and a sentence."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sbi_kit.arviz_bridge import InferenceData, calibration_data
from sbi_kit.contracts import Array, IntArray
from sbi_kit.diagnostics.bands import Band
from sbi_kit.diagnostics.ranks import ENOUGH, Coverage
from sbi_kit.diagnostics.recovery import Averaged, Recovery
from sbi_kit.diagnostics.regions import JointCheck
from sbi_kit.diagnostics.strata import Stratum
from sbi_kit.diagnostics.uniformity import Sensitivity, Uniformity
from sbi_kit.digits import json_number

_WIDTH = 100  # columns of the table
_LISTED = 3  # strata in the sentence


@dataclass(frozen=True, eq=False)
class Verdict:
    """What a calibration check found; `print` it for the table and a sentence.

    k = d + q columns are the parameters and after them the test quantities.

    Attributes:
        names: The k columns.
        quantities: Names of the q test quantities among them.
        ranks: Rank of each true value among the draws, shape (b, k).
        draws: Posterior draws per dataset.
        seed: Seed of the check.
        level: Probability that an exact posterior passes, at least.
        size: Probability that an exact posterior fails in one column.
        band: Band of the ECDF of the ranks, at its share of the level.
        coverage: Coverage of central intervals with its band, at its share of the level.
        tests: p-values of four tests of every column.
        highest_density: Coverage of joint highest-density regions.
        tarp: Coverage of balls around random points (TARP).
        strata: The columns once more, in parts of the datasets.
        recovery: Posterior summaries beside the truth.
        averaged: Posterior averaged over datasets beside the prior; spends none of the level.
        n: Number of observations of each dataset, shape (b,).
        log_q: log q(theta* | x), shape (b,).
        sensitivity: The smallest errors in one column that so many datasets show.
        units: Units of the columns by name, as far as the posterior says so.
    """

    names: tuple[str, ...]
    quantities: tuple[str, ...]
    ranks: IntArray
    draws: int
    seed: int
    level: float
    size: float
    band: Band
    coverage: Coverage
    tests: Uniformity
    highest_density: JointCheck
    tarp: JointCheck
    strata: tuple[Stratum, ...]
    recovery: Recovery
    averaged: Averaged
    n: IntArray
    log_q: Array
    sensitivity: Sensitivity
    units: Mapping[str, str] = field(default_factory=dict)

    @property
    def datasets(self) -> int:
        """Number of held-out simulations that were judged."""
        return len(self.ranks)

    @property
    def enough(self) -> bool:
        """Whether there are datasets enough (100) for a pass to mean something."""
        return self.datasets >= ENOUGH

    @property
    def joint(self) -> tuple[JointCheck, JointCheck]:
        """The two checks of all parameters together."""
        return self.highest_density, self.tarp

    @property
    def region_ranks(self) -> IntArray:
        """Rank of log q(theta* | x) among those of the first draws, shape (b,)."""
        return self.highest_density.ranks

    @property
    def tarp_ranks(self) -> IntArray:
        """Rank of the truth's distance to a reference among those of the first draws, (b,)."""
        return self.tarp.ranks

    @property
    def truth(self) -> Array:
        """True values, shape (b, k)."""
        return self.recovery.truth

    @property
    def mean(self) -> Array:
        """Posterior means, shape (b, k)."""
        return self.recovery.mean

    @property
    def median(self) -> Array:
        """Posterior medians, shape (b, k)."""
        return self.recovery.median

    @property
    def sd(self) -> Array:
        """Posterior standard deviations, shape (b, k)."""
        return self.recovery.sd

    @property
    def z_scores(self) -> Array:
        """(posterior mean − truth) / posterior sd, shape (b, k)."""
        return self.recovery.z_scores

    @property
    def r2(self) -> Array:
        """Share of the variance of the true values that posterior means explain, shape (k,)."""
        return self.recovery.r2

    @property
    def nrmse(self) -> Array:
        """RMSE of posterior means over the range of the true values, shape (k,)."""
        return self.recovery.nrmse

    @property
    def relative_sd(self) -> Array:
        """Mean posterior sd over the sd of the true values, shape (k,)."""
        return self.recovery.relative_sd

    @property
    def contraction(self) -> Array:
        """1 − mean posterior variance / prior variance, shape (k,)."""
        return self.recovery.contraction

    @property
    def log_score(self) -> float:
        """Mean of log q(theta* | x), in nats; the higher the sharper."""
        return float(self.log_q.mean()) if np.isfinite(self.log_q).all() else -math.inf

    @property
    def log_score_error(self) -> float:
        """Standard error of the log score."""
        if not np.isfinite(self.log_q).all():
            return math.nan
        return float(self.log_q.std(ddof=1) / math.sqrt(self.datasets))

    @property
    def p_ranks(self) -> Array:
        """p-value of the ECDF of the ranks, shape (k,)."""
        return self.tests.p_ranks

    @property
    def p_coverage(self) -> Array:
        """p-value of the coverage curve, shape (k,)."""
        return self.tests.p_coverage

    @property
    def p_values(self) -> Array:
        """p-value of each column, its four tests together (Bonferroni), shape (k,)."""
        return self.tests.p_values

    @property
    def passed_by_parameter(self) -> dict[str, bool]:
        """Whether each column passed its four tests on all datasets."""
        return dict(zip(self.names, (self.p_values > self.size).tolist(), strict=True))

    @property
    def passed(self) -> bool:
        """Whether all columns, joint checks and strata passed.

        With few datasets (`enough`) this says little.
        """
        return (
            all(self.passed_by_parameter.values())
            and all(check.passed for check in self.joint)
            and all(part.passed for part in self.strata)
        )

    @property
    def sentence(self) -> str:
        """The verdict in words."""
        seen = _in_words(self.sensitivity)
        size = f"{self.datasets} datasets"
        bands = f"{size}, joint {100 * self.level:g} % bands"
        if not self.passed:
            return f"Miscalibrated ({bands}): {'; '.join(self._reasons())}."
        if not self.enough:
            return f"Too few datasets for a verdict ({size}; use {ENOUGH} or more): {seen}."
        return f"No miscalibration found ({bands}): {seen}."

    def _reasons(self) -> Iterator[str]:
        """What failed; a column that fails on all datasets is not named again for its strata."""
        fails = self.p_values <= self.size
        for i in map(int, np.flatnonzero(fails)):
            yield _accusation(self.names[i], self.p_values[i], self.tests.fault(i))
        regions, balls = self.joint
        if not regions.passed:
            size = "small" if (regions.values - regions.levels).mean() < 0 else "large"
            yield f"joint highest-density regions (p = {regions.p_value:.2g}) are too {size}"
        if not balls.passed:
            yield f"joint regions (TARP, p = {balls.p_value:.2g}) hold the truth at wrong rates"
        news = [
            f"given {part.label}, {_accusation(self.names[i], part.p_values[i], part.faults[i])}"
            for part in self.strata
            for i in part.failed
            if not fails[i]
        ]
        yield from news[:_LISTED]
        if len(news) > _LISTED:
            yield f"and {len(news) - _LISTED} more of this kind"

    def to_dict(self) -> dict[str, Any]:
        """All numbers but those of single datasets as JSON values, None for what does not exist."""
        columns = {name: self._column(i) for i, name in enumerate(self.names)}
        d = len(self.names) - len(self.quantities)
        return {
            "passed": self.passed,
            "verdict": self.sentence,
            "datasets": self.datasets,
            "draws": self.draws,
            "seed": self.seed,
            "level": self.level,
            "parameters": {name: columns[name] for name in self.names[:d]},
            "quantities": {name: columns[name] for name in self.quantities},
            "coverage_levels": self.coverage.levels.tolist(),
            "joint": {
                check.name: {
                    "passed": check.passed,
                    "p_value": check.p_value,
                    "draws": check.draws,
                    "levels": check.levels.tolist(),
                    "coverage": check.values.tolist(),
                }
                for check in self.joint
            },
            "strata": [
                {
                    "label": part.label,
                    "datasets": len(part.rows),
                    "passed": part.passed,
                    "p_values": dict(zip(self.names, part.p_values.tolist(), strict=True)),
                    "smallest_seen": _sizes(part.sensitivity),
                }
                for part in self.strata
            ],
            "log_score": json_number(self.log_score),
            "log_score_error": json_number(self.log_score_error),
            "smallest_seen": _sizes(self.sensitivity),
        }

    def to_arviz(self) -> InferenceData:
        """The numbers of single datasets for ArviZ, as `arviz_bridge.calibration_data` lays out.

        Raises:
            BadValue: A column has the name of one of ArviZ's dims, or holds a slash.
        """
        return calibration_data(
            names=self.names,
            truth=self.truth,
            ranks=self.ranks,
            draws=self.draws,
            log_q=self.log_q,
            n=self.n,
            estimates={"mean": self.mean, "median": self.median, "sd": self.sd},
            attributes={
                "calibration": self.sentence,
                "level": f"{self.level:g}",
                "seed": str(self.seed),
            },
        )

    def _column(self, i: int) -> dict[str, Any]:
        """The entry of one parameter or test quantity in `to_dict`."""
        numbers: dict[str, NDArray[Any]] = {
            "p_value": self.p_values,
            "p_ranks": self.tests.p_ranks,
            "p_coverage": self.tests.p_coverage,
            "p_shift": self.tests.p_shift,
            "p_width": self.tests.p_width,
            "calibration_error": self.coverage.error,
            "r2": self.r2,
            "nrmse": self.nrmse,
            "median_error": self.recovery.median_error,
            "relative_sd": self.relative_sd,
            "contraction": self.contraction,
            "averaged_distance": self.averaged.distance,
            "averaged_p_value": self.averaged.p_values,
        }
        return {
            "passed": self.passed_by_parameter[self.names[i]],
            **{key: json_number(column[i]) for key, column in numbers.items()},
            "coverage": self.coverage.values[:, i].tolist(),
        }

    def __str__(self) -> str:
        lines = [*self._table(), *self._strata_lines()]
        score = f"log score {self.log_score:.3f} ± {self.log_score_error:.3f} nats"
        return "\n".join([*lines, score, self.sentence])

    def _table(self) -> list[str]:
        """A row for each column and joint check."""
        head = "p-value  inside band  cover 50 %  cover 90 %  cal. error      R²  contraction"
        names = [*self.names, *(check.name for check in self.joint)]
        width = min(max(map(len, ["parameter", *names])), _WIDTH - len(head) - 2)
        lines = [f"{'parameter':<{width}}  {head}"]
        inside, error = self.passed_by_parameter, self.coverage.error
        half, most = self.coverage.at(0.5), self.coverage.at(0.9)
        r2, contraction = self.r2, self.contraction
        for i, name in enumerate(self.names):
            covered = _covered(self.p_values[i], inside[name], half[i], most[i], error[i])
            row = f"{covered}  {r2[i]:>6.3f}  {contraction[i]:>11.3f}"
            lines.append(f"{_short(name, width):<{width}}  {row}")
        for check in self.joint:
            held = check.at(0.5), check.at(0.9)
            covered = _covered(check.p_value, check.passed, *held, check.error)
            lines.append(f"{check.name:<{width}}  {covered}  {'':>6}  {'':>11}")
        return lines

    def _strata_lines(self) -> Iterator[str]:
        """How many strata passed, and a line for each that did not."""
        if not self.strata:
            return
        failed = [part for part in self.strata if not part.passed]
        least = min(float(part.p_values.min()) for part in self.strata)
        passed = f"{len(self.strata) - len(failed)} of {len(self.strata)} strata passed"
        yield f"{passed}; smallest p-value {least:.2g}, {self.strata[0].size:.2g} would fail"
        for part in failed:
            faults = (
                f"{self.names[i]} {part.faults[i]} (p = {part.p_values[i]:.2g})"
                for i in part.failed
            )
            text = f"failed {part.label} ({len(part.rows)} datasets): {', '.join(faults)}"
            yield _short(text, _WIDTH)


def _covered(p_value: float, inside: bool, half: float, most: float, error: float) -> str:
    """The cells that parameters and joint checks share."""
    cells = f"{p_value:>7.2g}  {'yes' if inside else 'NO':>11}"
    return f"{cells}  {half:>10.3f}  {most:>10.3f}  {error:>10.3f}"


def _accusation(name: str, p_value: float, fault: str) -> str:
    named = f"{name} (p = {p_value:.2g})"
    if fault in ("too narrow", "too wide"):
        return f"intervals of {named} are {fault}"
    return f"draws of {named} lie {fault}"


def _in_words(seen: Sensitivity) -> str:
    errors = [f"a shift of {seen.shift:.2f} posterior sd"] if seen.shift < math.inf else []
    ratios = [f"{ratio:.2f}" for ratio in (seen.narrow, seen.wide) if 0 < ratio < math.inf]
    if ratios:
        errors.append(f"an sd {' or '.join(ratios)} times the right one")
    if not errors:
        return "so many show no error of any size with 80 % power"
    return f"so many show, with 80 % power, {' or '.join(errors)}, nothing smaller"


def _short(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _sizes(seen: Sensitivity) -> dict[str, float | None]:
    return {key: json_number(getattr(seen, key)) for key in ("shift", "narrow", "wide")}
