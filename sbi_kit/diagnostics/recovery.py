"""What posteriors tell of the true values: errors of means and medians, contraction, z-scores.

These say how sharp a posterior is, not whether it is right; between posteriors that are, the
sharper is the better one. k columns are the parameters and after them the test quantities.
"""

from dataclasses import dataclass

import numpy as np

from sbi_kit.contracts import Array, IntArray
from sbi_kit.seeds import numpy_stream

AVERAGED_DRAWS = 50  # draws per dataset that are pooled
_PERMUTATIONS = 999
_infinite = np.errstate(invalid="ignore")  # infinite quantities have no moments: NaN


@dataclass(frozen=True, eq=False)
class Recovery:
    """Posterior summaries beside the truth; what is not defined is NaN.

    Attributes:
        truth: True values, shape (b, k).
        mean: Posterior means, shape (b, k).
        median: Posterior medians, shape (b, k).
        sd: Posterior standard deviations, shape (b, k).
    """

    truth: Array
    mean: Array
    median: Array
    sd: Array

    @property
    @_infinite
    def r2(self) -> Array:
        """Share of the variance of the true values that posterior means explain, shape (k,)."""
        return 1 - _over(self._mean_square, self.truth.var(axis=0))

    @property
    @_infinite
    def nrmse(self) -> Array:
        """RMSE of posterior means over the range of the true values, shape (k,)."""
        return _over(np.sqrt(self._mean_square), np.ptp(self.truth, axis=0))

    @property
    @_infinite
    def median_error(self) -> Array:
        """Median distance of posterior medians from the truth, in the column's units, (k,)."""
        return np.asarray(np.median(np.abs(self.median - self.truth), axis=0))

    @property
    @_infinite
    def relative_sd(self) -> Array:
        """Mean posterior sd over the sd of the true values, shape (k,)."""
        return _over(self.sd.mean(axis=0), self.truth.std(axis=0, ddof=1))

    @property
    @_infinite
    def contraction(self) -> Array:
        """1 − mean posterior variance / variance of the true values, shape (k,).

        0 where the data say nothing, 1 where they say all; negative where the posterior is wider
        than the prior.
        """
        return 1 - _over((self.sd**2).mean(axis=0), self.truth.var(axis=0, ddof=1))

    @property
    @_infinite
    def z_scores(self) -> Array:
        """(posterior mean − truth) / posterior sd, shape (b, k)."""
        return _over(self.mean - self.truth, self.sd)

    @property
    def _mean_square(self) -> Array:
        return np.asarray(((self.mean - self.truth) ** 2).mean(axis=0))


@dataclass(frozen=True, eq=False)
class Averaged:
    """The posterior averaged over datasets beside the prior; if all is exact they are the same.

    Attributes:
        prior: Distribution function of the true values, at the 1..99 % points of true values and
            draws together, shape (K, k).
        posterior: That of the draws of all datasets at the same points, shape (K, k).
        p_values: p-value of their largest difference in its standard errors, shape (k,).
    """

    prior: Array
    posterior: Array
    p_values: Array

    @property
    def distance(self) -> Array:
        """Largest `|posterior − prior|`, shape (k,)."""
        return np.asarray(np.abs(self.posterior - self.prior).max(axis=0))


def averaged_posterior(truth: Array, drawn: Array, *, seed: int) -> Averaged:
    """Compare pooled draws (b, s, k) with true values (b, k).

    Given its data, the truth of a dataset is exchangeable with its draws. So the p-value is the
    place of the difference among those of 999 random choices of one value per dataset in place of
    the truth: exact, however the datasets differ.
    """
    both = np.concatenate([truth[:, None], drawn], axis=1)  # (b, 1 + s, k)
    levels = np.arange(1, 100) / 100
    flat = both.reshape(-1, both.shape[2])
    edges = np.quantile(flat, levels, axis=0, method="inverted_cdf")  # (K, k)
    columns = (
        np.searchsorted(*pair) for pair in zip(edges.T, np.moveaxis(both, 2, 0), strict=True)
    )
    cells = np.stack(list(columns), axis=-1)  # how many points are below
    prior, posterior = _heights(cells[:, :1]), _heights(cells[:, 1:])
    pooled = (prior + drawn.shape[1] * posterior) / both.shape[1]
    spread = np.sqrt(np.maximum(pooled * (1 - pooled), 1e-9))  # tails count as much as the middle

    def far(heights: Array) -> Array:
        return np.asarray((np.abs(heights - pooled) / spread).max(axis=0))

    rng, rows = numpy_stream(seed, "averaged posterior"), np.arange(len(cells))[:, None]
    seen = far(prior) * (1 - 1e-9)  # equal choices must tie
    as_far = np.ones(both.shape[2])
    for _ in range(_PERMUTATIONS):
        picks = rng.integers(0, both.shape[1], size=rows.shape)
        as_far += far(_heights(cells[rows, picks])) >= seen
    return Averaged(prior, posterior, as_far / (_PERMUTATIONS + 1))


def _heights(cells: IntArray) -> Array:
    """Share of cells (b, s, k) that are at most 0..98, shape (99, k)."""
    k = cells.shape[2]
    counts = np.bincount((cells + 100 * np.arange(k)).ravel(), minlength=100 * k)
    heights = np.cumsum(counts.reshape(k, 100)[:, :-1], axis=1)
    return np.asarray(heights.T / (cells.shape[0] * cells.shape[1]))


def _over(top: Array, bottom: Array) -> Array:
    return np.divide(top, bottom, out=np.full_like(top, np.nan), where=bottom > 0)
