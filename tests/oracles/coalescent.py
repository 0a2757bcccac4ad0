"""Oracles of the coalescent simulators: from the chromosomes back in time, mutations as they come.

Both go epoch by epoch, adding to all chromosomes below a lineage at once; no tree is ever built.
`vectorised` and `loop` have the layout of `Coalescent`, those ending in `_sites` that of
`CoalescentSites`. A missing second column of theta is a growth of 0.
"""

import math

import numpy as np
from scipy.stats import gamma


def _growths(theta):
    return theta[:, 1] if theta.shape[1] > 1 else np.zeros(len(theta))


def _epochs(growth, rng, n):
    """Yield, while k = n..2 lineages are left, their time and who descends from which, (t, n)."""
    block = np.tile(np.arange(n), (len(growth), 1))
    now = np.zeros(len(growth))
    steady = growth == 0
    rate = np.where(steady, 1.0, growth)
    for k in range(n, 1, -1):
        hazard = rng.exponential(size=len(growth)) / math.comb(k, 2)
        # The cumulative rate of a pair from now to then is (e^(g then) - e^(g now)) / g.
        then = np.where(steady, now + hazard, np.log(np.exp(rate * now) + rate * hazard) / rate)
        yield k, then - now, block
        pairs = rng.random((len(growth), k)).argsort(axis=1)[:, :2]
        low, high = pairs.min(axis=1)[:, None], pairs.max(axis=1)[:, None]
        block = np.where(block == high, low, block)
        block = block - (block > high)
        now = then
    assert (block == 0).all()


def vectorised(theta, rng, n, loci=8):
    """Allele lengths above the shortest, (b, n, loci), for all datasets and loci at once."""
    theta = np.asarray(theta, dtype=float)
    mean = np.repeat(theta[:, 0] / 4, loci)[:, None]
    lengths = np.zeros((len(theta) * loci, n), dtype=np.int64)
    for k, time, block in _epochs(np.repeat(_growths(theta), loci), rng, n):
        ups, downs = rng.poisson(np.broadcast_to(mean * time[:, None], (2, len(time), k)))
        lengths += np.take_along_axis(ups - downs, block, axis=1)
    lengths -= lengths.min(axis=1, keepdims=True)
    return lengths.reshape(len(theta), loci, n).swapaxes(1, 2).astype(float)


def vectorised_sites(theta, rng, n, sites=360, rate_shape=0.1):
    """Segregating sites and lineages, (b, 2); a site of its own for each mutation if None."""
    theta = np.asarray(theta, dtype=float)
    b = len(theta)
    owners, carriers = [], []
    for k, time, block in _epochs(_growths(theta), rng, n):
        counts = rng.poisson(theta[:, :1] / 2 * time[:, None], (b, k))
        tree, lineage = np.divmod(np.repeat(np.arange(b * k), counts.ravel()), k)
        owners.append(tree)
        carriers.append(block[tree] == lineage[:, None])
    owner, carrier = np.concatenate(owners), np.concatenate(carriers)
    if sites is None:
        variable = np.bincount(owner, minlength=b)
        site = np.arange(len(owner))
        width = len(owner)
    else:
        site = rng.choice(sites, size=len(owner), p=shares(sites, rate_shape))
        width = sites
    # One row per position hit in a dataset: the parity of its mutations in each chromosome.
    hit, row = np.unique(owner * width + site, return_inverse=True)
    state = np.zeros((len(hit), n), dtype=np.int64)
    np.add.at(state, row, carrier)
    state %= 2
    dataset = hit // max(width, 1)
    if sites is not None:
        differs = state.min(axis=1) != state.max(axis=1)
        variable = np.bincount(dataset[differs], minlength=b)
    # Sequences are alike if the random keys of their derived states have the same sum.
    key = np.zeros((b, n), dtype=np.uint64)
    keys = rng.integers(2**64, size=(len(hit), 1), dtype=np.uint64)
    np.add.at(key, dataset, keys * state.astype(np.uint64))
    key.sort(axis=1)
    return np.stack([variable, 1 + (np.diff(key, axis=1) > 0).sum(axis=1)], axis=1).astype(float)


def shares(sites, rate_shape):
    """The share of mutations that each position gets, (sites,)."""
    if rate_shape is None:
        return np.full(sites, 1 / sites)
    rates = gamma(rate_shape).ppf((np.arange(sites) + 0.5) / sites)
    return rates / rates.sum()


def _history(theta_row, rng, n):
    """Yield one mutation after another: the chromosomes that inherit it."""
    theta, growth = theta_row[0], theta_row[1] if len(theta_row) > 1 else 0.0
    lineages = [[chromosome] for chromosome in range(n)]
    now = 0.0
    while len(lineages) > 1:
        wait = rng.exponential() / math.comb(len(lineages), 2)
        then = now + wait
        if growth:
            then = math.log(math.exp(growth * now) + growth * wait) / growth
        for lineage in lineages:
            for _ in range(rng.poisson(theta / 2 * (then - now))):
                yield lineage
        first, second = rng.choice(len(lineages), size=2, replace=False)
        merged = lineages[first] + lineages[second]
        lineages = [x for i, x in enumerate(lineages) if i not in (first, second)] + [merged]
        now = then


def loop(theta_row, rng, n, loci=8):
    """Allele lengths above the shortest of one dataset, (n, loci)."""
    table = np.empty((n, loci))
    for locus in range(loci):
        lengths = [0] * n
        for lineage in _history(theta_row, rng, n):
            step = int(rng.choice([-1, 1]))
            for chromosome in lineage:
                lengths[chromosome] += step
        table[:, locus] = [length - min(lengths) for length in lengths]
    return table


def loop_sites(theta_row, rng, n, sites=360, rate_shape=0.1):
    """Segregating sites and lineages of one dataset, (2,)."""
    sequences = [set() for _ in range(n)]  # of the positions in the derived state
    p = None if sites is None else shares(sites, rate_shape)
    for number, lineage in enumerate(_history(theta_row, rng, n)):
        site = number if sites is None else int(rng.choice(sites, p=p))
        for chromosome in lineage:
            sequences[chromosome] ^= {site}
    variable = set.union(*sequences) - set.intersection(*sequences)
    return np.array([len(variable), len({frozenset(sequence) for sequence in sequences})], float)
