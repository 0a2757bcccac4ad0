"""EM for PPCA beside scikit-learn's randomised PCA: python -m tests.benchmarks.ppca

20,000 rows of 1,000 columns, 10 components, both to their own default precision, in one process on
one thread (set OMP_NUM_THREADS=1). CPU seconds are the smallest of three fits, taken in turn. Two
tables: ten factors of sd 2 to .5 times standard normal loadings, with noise of sd 1; and a spectrum
without a gap, variance k^-1 along the k-th axis. Beside the times stands how far the mean
log-likelihood of a row lies below the maximum, which the closed form gives, under the PPCA of each
one's subspace.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn import decomposition

from sbi_kit.contracts import Array
from sbi_kit.latent import PPCA

ROWS, COLUMNS, COMPONENTS, REPEATS = 20_000, 1_000, 10, 3


def factors(rng: np.random.Generator) -> Array:
    """Ten factors in noise."""
    loadings = rng.normal(size=(COMPONENTS, COLUMNS)) * np.linspace(2, 0.5, COMPONENTS)[:, None]
    return rng.normal(size=(ROWS, COMPONENTS)) @ loadings + rng.normal(size=(ROWS, COLUMNS))


def power_law(rng: np.random.Generator) -> Array:
    """Variances that fall slowly, along random axes."""
    axes = np.linalg.qr(rng.normal(size=(COLUMNS, COLUMNS)))[0]
    return rng.normal(size=(ROWS, COLUMNS)) / np.sqrt(np.arange(1, COLUMNS + 1)) @ axes


def likelihood(axes: Array, covariance: Array) -> float:
    """Mean log-likelihood of a row under the best PPCA whose weights span the axes' columns."""
    basis = np.linalg.qr(axes)[0]
    variances = np.linalg.eigvalsh(basis.T @ covariance @ basis)
    rest = COLUMNS - COMPONENTS
    noise = (np.trace(covariance) - variances.sum()) / rest
    volume = np.log(variances).sum() + rest * np.log(noise)
    return float(-0.5 * (COLUMNS * np.log(2 * np.pi) + volume + COLUMNS))


def timed(fit: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of a fit, and what it returns."""
    start = time.process_time()
    fitted = fit()
    return time.process_time() - start, fitted


def compare(name: str, x: Array) -> None:
    """Fit both and print the figures."""
    covariance = np.cov(x, rowvar=False, bias=True)
    best = likelihood(np.linalg.eigh(covariance)[1][:, -COMPONENTS:], covariance)
    ours, peers = [], []
    for seed in range(REPEATS):
        model = PPCA(components=COMPONENTS, solver="em", seed=seed)
        ours.append(timed(lambda model=model: model.fit(x)))
        peer = decomposition.PCA(COMPONENTS, svd_solver="randomized", random_state=seed)
        peers.append(timed(lambda peer=peer: peer.fit(x)))
    (time_ours, em), (time_peer, pca) = (min(each, key=lambda it: it[0]) for each in (ours, peers))
    below_ours = best - likelihood(em.weights_, covariance)
    below_peer = best - likelihood(pca.components_.T, covariance)
    print(
        f"{name}: EM {time_ours:.2f} s, {len(em.log_likelihoods_)} iterations, {below_ours:.1e} "
        f"nats below the maximum; randomised PCA {time_peer:.2f} s, {below_peer:.1e} nats; "
        f"ratio of times {time_ours / time_peer:.2f}"
    )


def main() -> None:
    """Both tables."""
    for name, make in (("factors in noise", factors), ("power law", power_law)):
        compare(name, make(np.random.default_rng(0)))


if __name__ == "__main__":
    main()
