"""Posterior predictive checks: do the data look like what their posterior simulates?

Data x_rep are replicated from posterior draws with the size and the context of the observed x, and
every discrepancy T, a number that is computed from one dataset, is compared with its replicates
(Rubin 1984; Gelman, Meng and Stern 1996). With r of k replicates below T(x), ties counted half,

    p = 2 min(u, 1 − u),   u = (r + 1/2) / (k + 1).

A replicate and the data are not exchangeable, since the posterior has seen the data: where the
model is right, u is concentrated about 1/2 rather than uniform (Meng 1994; Robins, van der Vaart
and Ventura 2000). So the check is conservative: small p-values mean misfit, large ones prove
nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sbi_kit.checks import expect_array, expect_integer
from sbi_kit.contracts import Array, IntArray, Posterior, Simulator
from sbi_kit.data import AnyLayout, Datasets, read, unusable
from sbi_kit.digits import json_number
from sbi_kit.discrepancies import (
    Discrepancy,
    applied,
    counts_in,
    defaults,
    expect_functions,
)
from sbi_kit.registry import expect_simulator
from sbi_kit.simulation import replicate_each

_ONE_IN = 20  # checks of data that fit, at most, in which any p-value is called small
_QUANTILES = (0.025, 0.5, 0.975)
_NOTE = (
    "Posterior predictive p-values see the data twice and are conservative: small ones mean "
    "misfit, large ones prove nothing."
)


@dataclass(frozen=True, eq=False)
class PredictiveCheck:
    """How observed data compare with their replicates; `print` it for the table and a sentence.

    Attributes:
        names: The m discrepancies.
        observed: Their values for the b observed datasets, shape (b, m); NaN where undefined.
        replicated: Their values for k replicates of each, shape (b, k, m); NaN where undefined.
        p_values: Two-sided, against the replicates for which the discrepancy is defined, shape
            (b, m); NaN where it is undefined for the data or for all replicates.
    """

    names: tuple[str, ...]
    observed: Array
    replicated: Array
    p_values: Array

    @property
    def replicates(self) -> int:
        """Number of replicates of each dataset."""
        return int(self.replicated.shape[1])

    @property
    def undefined(self) -> IntArray:
        """Replicates of each dataset for which a discrepancy is undefined, shape (b, m)."""
        return np.asarray(np.isnan(self.replicated).sum(axis=1), dtype=np.int64)

    @property
    def unlike(self) -> NDArray[np.bool_]:
        """Where data are unlike their replicates, at a joint level of 5 % (Bonferroni), (b, m)."""
        return np.asarray(self.p_values * self._tests * _ONE_IN < 1)

    @property
    def enough(self) -> bool:
        """Whether there are replicates enough for data that fit to mean something."""
        return 0 < self._tests * _ONE_IN <= self.replicates

    @property
    def _tests(self) -> int:
        return int(np.isfinite(self.p_values).sum())

    @property
    def sentence(self) -> str:
        """The finding in words."""
        tests, found = self._tests, np.argwhere(self.unlike)
        if len(found):
            worst = found[np.argsort(self.p_values[self.unlike], kind="stable")]
            listed = "; ".join(self._finding(int(i), int(j)) for i, j in worst[:3])
            more = f"; and {len(worst) - 3} more" if len(worst) > 3 else ""
            return f"The data are unlike what their posterior simulates: {listed}{more}."
        size = f"{tests} p-values, {self.replicates} replicates"
        if not tests:
            return "Nothing could be compared: no discrepancy is defined for data and replicates."
        size += f", the smallest p = {np.nanmin(self.p_values):.2g}"
        if not self.enough:
            return f"Too few replicates for a verdict ({size}; use {_ONE_IN * tests} or more)."
        return f"No misfit found ({size})."

    def _finding(self, i: int, j: int) -> str:
        which = f" of dataset {i}" if len(self.observed) > 1 else ""
        low, _, high = self._quantiles(i, j)
        return (
            f"{self.names[j]}{which} is {self.observed[i, j]:.3g}, replicates {low:.3g} to "
            f"{high:.3g} (p = {self.p_values[i, j]:.2g})"
        )

    def to_dict(self) -> dict[str, Any]:
        """The numbers without the replicates as JSON values, None for those that do not exist."""
        entries = [
            {
                name: {
                    "observed": json_number(self.observed[i, j]),
                    "replicated": [json_number(q) for q in self._quantiles(i, j)],
                    "p_value": json_number(self.p_values[i, j]),
                    "undefined": int(self.undefined[i, j]),
                }
                for j, name in enumerate(self.names)
            }
            for i in range(len(self.observed))
        ]
        return {
            "verdict": self.sentence,
            "note": _NOTE,
            "replicates": self.replicates,
            "quantiles": list(_QUANTILES),
            "datasets": entries,
        }

    def _quantiles(self, i: int, j: int) -> Array:
        """Quantiles of the replicates for which a discrepancy is defined, shape (3,)."""
        known = self.replicated[i, :, j]
        known = known[~np.isnan(known)]
        return np.quantile(known, _QUANTILES) if len(known) else np.full(3, np.nan)

    def __str__(self) -> str:
        several = len(self.observed) > 1
        width = max(11, *(len(name) for name in self.names))
        lead = "dataset  " if several else ""
        lines = [
            f"{'discrepancy':<{width}}  {lead}  observed      2.5 %       50 %     97.5 %  p-value"
        ]
        for j, name in enumerate(self.names):
            # Of several datasets, the one whose p-value is smallest.
            i = int(np.argmin(np.nan_to_num(self.p_values[:, j], nan=np.inf)))
            numbers = (self.observed[i, j], *self._quantiles(i, j))
            shown = "  ".join(f"{_show(value):>9}" for value in numbers)
            p = self.p_values[i, j]
            mark = " *" if self.unlike[i, j] else ""
            place = f"{i:>7}  " if several else ""
            lines.append(
                f"{name:<{width}}  {place} {shown}  {'-' if np.isnan(p) else f'{p:.2g}':>7}{mark}"
            )
        partly = int((self.undefined.max(axis=0) > 0).sum())
        holes = [f"{partly} discrepancies are undefined for some replicates."] if partly else []
        return "\n".join([*lines, *holes, self.sentence, _NOTE])


def predictive_check(
    posterior: Posterior,
    x: Any,
    *,
    model: Simulator,
    draws: int,
    seed: int,
    discrepancies: Mapping[str, Discrepancy] | None = None,
    context: Mapping[str, ArrayLike] | None = None,
) -> PredictiveCheck:
    """Replicate observed data from posterior draws and compare.

    Args:
        posterior: Any posterior.
        x: One dataset or several, in any form that `sbi_kit.data.read` accepts.
        model: The simulator, whose layout says what the data look like.
        draws: Posterior draws, each of which replicates every dataset once. The replicates are
            those of `NeuralPosterior.infer` with the same seed and so many draws and predictive.
        seed: Seed of the draws and the replicates.
        discrepancies: As for `compare`.
        context: What is known of the datasets besides, by name; data are replicated with the same.

    Raises:
        BadValue, BadType: The data do not fit the layout, or draws or seed are out of range.
    """
    layout = cast(AnyLayout, expect_simulator(model, "model").data)
    observed = read(x, layout, context)
    theta = posterior.sample(observed, draws=expect_integer("draws", draws, low=1), seed=seed)
    replicated = replicate_each(model, theta, observed, seed=seed, purpose="posterior predictive")
    return compare(observed, replicated, layout, discrepancies=discrepancies)


def compare(
    observed: Datasets,
    replicated: ArrayLike,
    layout: AnyLayout,
    *,
    discrepancies: Mapping[str, Discrepancy] | None = None,
) -> PredictiveCheck:
    """Compare observed data with replicates of them.

    Args:
        observed: The b datasets.
        replicated: k replicates of each, shape (b, k, n, columns), n that of `observed.values`;
            what lies beyond a dataset's own n is ignored. All discrepancies of a replicate that is
            infinite anywhere, or NaN where nothing may be missing, are undefined.
        layout: What one dataset looks like.
        discrepancies: Functions of one dataset, (n, columns) to a number, NaN where undefined,
            by name. None takes for each column mean, sd, quantiles, extremes, the share of zeros
            if it holds counts and of missing values if there may be any; in a `Series` also its
            autocorrelation at lag 1 and where it peaks; in a `Vector` the value itself; in a
            `Matrix` all cells as one column, and the sd of the means of rows and of columns.

    Raises:
        BadValue: The shapes do not fit, there is no replicate or no discrepancy, or a discrepancy
            gives something other than one number.
        BadType: A discrepancy is no function.
    """
    b, n, columns = observed.values.shape
    do = "pass k replicates of each observed dataset"
    data = expect_array("replicated", replicated, (b, "k", n, columns), do=do)
    expect_integer("number of replicates", data.shape[1], low=1)
    counts = counts_in(observed, data)
    functions = None if discrepancies is None else expect_functions(discrepancies)
    names, tables = [], []
    for i, size in enumerate(observed.n.tolist()):
        # The data go first among their replicates, so that what is equal is computed alike.
        x = np.concatenate([observed.values[i, None, :size], data[i, :, :size]])
        named = defaults(x, layout, counts) if functions is None else applied(functions, x)
        names, table = list(named), np.stack(list(named.values()), axis=-1)  # (1 + k, m)
        table[1:][unusable(x[1:], layout).any(axis=(1, 2))] = np.nan
        tables.append(np.where(np.isfinite(table), table, np.nan))
    values = np.stack(tables)
    seen, simulated = values[:, 0], values[:, 1:]
    return PredictiveCheck(tuple(names), seen, simulated, _p_values(seen, simulated))


def _p_values(observed: Array, replicated: Array) -> Array:
    """Two-sided p-values of observed (b, m) among replicated (b, k, m), shape (b, m)."""
    known = (~np.isnan(replicated)).sum(axis=1)
    below = (replicated < observed[:, None]).sum(axis=1)
    tied = (replicated == observed[:, None]).sum(axis=1)
    u = (below + 0.5 * tied + 0.5) / (known + 1)
    return np.where(np.isnan(observed) | (known == 0), np.nan, 2 * np.minimum(u, 1 - u))


def _show(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.4g}"
