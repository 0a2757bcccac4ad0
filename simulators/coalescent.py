"""The neutral coalescent: genetic variation of a sample from a population of unknown size.

Back in time, each pair of lineages meets at rate 1, so that k of them wait

    T_k ~ Exp(k (k - 1) / 2),   E[T_k] = 2 / (k (k - 1)),

and a random pair becomes one (Kingman 1982, Stoch. Proc. Appl. 13:235). Mutations fall on each
lineage at rate theta / 2. The unit of time is 2 N_e generations and theta = 4 N_e mu where genes
come in pairs; for mitochondria, which mothers alone pass on, it is N_f generations and
theta = 2 N_f mu, with N_f females. Under exponential growth the population was smaller by
exp(-g t) at time t back, so pairs meet at rate exp(g t) (Slatkin & Hudson 1991, Genetics 129:555);
theta and the unit of time are those of the present, and g = 2 N_e (or N_f) times the growth per
generation. Of the two models of mutation, the stepwise one adds or takes one repeat of a
microsatellite with equal chance (Ohta & Kimura 1973, Genet. Res. 22:201),

    E[V] = theta / 2,   E[homozygosity] = 1 / sqrt(1 + 2 theta),

for the variance V of repeats; and infinitely many sites give each mutation a position of its own
(Watterson 1975, Theor. Popul. Biol. 7:256; Ewens 1972, Theor. Popul. Biol. 3:87),

    E[S] = theta a,   Var S = theta a + theta^2 b,   E[K] = sum_i theta / (theta + i),

for S segregating sites and K lineages among n chromosomes; a and b are the sums of 1 / i and of
1 / i^2 over i = 1..n - 1, E[K] sums over i = 0..n - 1, and both E[.] are those without growth.

Not identifiable: N_e and mu, of which only the product matters; the ancestor's state; and growth
next to theta where few loci are at hand. One segment is one tree: however many chromosomes, theta
stays uncertain.
"""

import csv
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files

import numpy as np
from numba import njit
from numpy.typing import ArrayLike
from scipy.special import gammaincinv

from sbi_kit.checks import (
    BadValue,
    expect_array,
    expect_bounds,
    expect_finite,
    expect_flag,
    expect_integer,
    expect_number,
    expect_rng,
    expect_theta,
    show_shape,
)
from sbi_kit.contracts import Array, IntArray
from sbi_kit.data import Matrix, Vector
from sbi_kit.prior import LogUniform, Prior, Uniform
from sbi_kit.seeds import numpy_stream

_LARGEST = 1e6  # of theta and growth: a tree has some theta log n mutations, drawn one by one
_LEAST_SHAPE = 0.01  # nearly all mutations on one position; below, rates vanish in float64


@dataclass(frozen=True, kw_only=True)
class Coalescent:
    """Unlinked microsatellites of chromosomes sampled from one population.

    Parameters: `theta` = 4 N_e mu, without unit, N_e diploid individuals and mu mutations per
    locus and generation, within 0..1e6; and where `growth` is above 0, `growth`, the exponential
    rate at which the population grew, per 2 N_e generations, within 0..1e6. Rows are chromosomes,
    columns are loci. Each entry is an allele's length in repeats above the shortest allele of the
    sample at that locus: the ancestor's length is unknown to whoever genotypes, so it is not in
    the data. For the same reason part of a sample is not distributed as a smaller sample.

    Args:
        chromosomes: Chromosomes of a sample, fixed or (fewest, most), at least 2.
        loci: Number of unlinked loci, at least 1.
        theta: Lowest and highest theta of the prior, within 0..1e6.
        log_uniform: Whether the prior is uniform in log theta rather than theta; then theta > 0.
        growth: Highest growth of its uniform prior, within 0..1e6; the lowest is 0. At 0 the
            population is constant and growth no parameter.

    Raises:
        BadValue: An argument is outside its range.
        BadType: It is of another type.

    >>> model = Coalescent()
    >>> x = model.simulate(np.full((20_000, 1), 5.0), np.random.default_rng(0), 20)
    >>> x.shape, x.var(axis=1, ddof=1).mean().round(1)  # theta / 2
    ((20000, 20, 8), np.float64(2.5))
    """

    chromosomes: int | tuple[int, int] = 20
    loci: int = 8
    theta: tuple[float, float] = (0.1, 20.0)
    log_uniform: bool = False
    growth: float = 0.0

    def __post_init__(self) -> None:
        expect_integer("loci", self.loci, low=1)
        object.__setattr__(self, "chromosomes", self.data.n)
        expect_integer("chromosomes", self.data.n_range[0], low=2)
        object.__setattr__(self, "theta", expect_bounds("theta", self.theta, low=0, high=_LARGEST))
        _ = self.prior

    @cached_property
    def prior(self) -> Prior:
        """Independent priors of theta and, if asked for, growth."""
        return _prior(self.theta, self.log_uniform, self.growth)

    @cached_property
    def data(self) -> Matrix:
        """A table of allele lengths, chromosomes by loci; neither has an order."""
        columns = tuple(f"locus_{i}" for i in range(1, self.loci + 1))
        return Matrix(columns=columns, n=self.chromosomes, columns_exchangeable=True, nested=False)

    def simulate(self, theta: Array, rng: np.random.Generator, n: int) -> Array:
        """Simulate samples of n chromosomes.

        Args:
            theta: theta and, if it is a parameter, growth, shape (b, 1 or 2).
            rng: Source of all randomness.
            n: Chromosomes of each sample.

        Returns:
            Repeats above the shortest allele of the sample, shape (b, n, loci).

        Raises:
            BadValue: `theta` has another shape, is NaN or outside 0..1e6; or n < 2.
        """
        rates, growths = _parameters(theta, self.prior)
        x = np.empty((len(rates), expect_integer("n", n, low=2), self.loci))
        _microsatellites(expect_rng(rng), rates, growths, x)
        return x

    @cached_property
    def observed_theta(self) -> Array:
        """The parameters behind `observed`, shape (1,) or (2,): a fixed draw of the prior."""
        parameters: Array = self.prior.sample(1, numpy_stream(0, "coalescent: parameters"))[0]
        return parameters

    @cached_property
    def observed(self) -> Array:
        """One simulated, not measured, sample of the fewest chromosomes, shape (n, loci).

        It never changes; `observed_theta` is the truth behind it.
        """
        rng = numpy_stream(0, "coalescent: sample")
        sample: Array = self.simulate(self.observed_theta[None], rng, self.data.n_range[0])[0]
        return sample

    @staticmethod
    def summaries(x: ArrayLike) -> Array:
        """Three classical summaries of samples of n chromosomes (Beaumont et al. 2002).

        Approximate Bayesian computation of theta compares these: the log of the variance of
        repeats, the heterozygosity (the share of pairs of chromosomes that differ) and the number
        of distinct alleles, each a mean over loci (Beaumont, Zhang & Balding 2002,
        doi:10.1093/genetics/162.4.2025).

        Args:
            x: Allele lengths, shape (..., n, loci), n >= 2, of any origin.

        Returns:
            Log variance, heterozygosity, alleles; shape (..., 3). Where no locus varies, the
            variance is set to half the least that a sample can have otherwise.

        Raises:
            BadType, BadValue: The shape is another, or an entry is no finite number.

        >>> Coalescent.summaries([[0.0, 0.0], [0.0, 2.0], [1.0, 4.0]]).round(3)
        array([0.773, 0.833, 2.5  ])
        """
        do = "pass the chromosomes of a sample as rows"
        try:
            before = np.shape(x)[:-2]
        except ValueError:  # ragged, which the next line refuses
            before = ()
        lengths = expect_array("alleles", x, [*before, "n", "loci"], do=do)
        columns = [f"locus_{i}" for i in range(1, lengths.shape[-1] + 1)]
        expect_finite("alleles", lengths, columns, do=do)
        if lengths.ndim < 2 or lengths.shape[-2] < 2 or lengths.shape[-1] < 1:
            wanted, got = "alleles of shape (..., n >= 2, loci >= 1)", show_shape(lengths.shape)
            raise BadValue(wanted, got, do)
        lengths = np.sort(lengths, axis=-2)
        n, loci = lengths.shape[-2:]
        variance = lengths.var(axis=-2, ddof=1).mean(axis=-1)
        rank = np.arange(n)[:, None]
        first = np.ones(lengths.shape, dtype=bool)  # of those alike, which now stand together
        first[..., 1:, :] = lengths[..., 1:, :] != lengths[..., :-1, :]
        alike_before = rank - np.maximum.accumulate(np.where(first, rank, 0), axis=-2)
        alike = alike_before.sum(axis=-2) / (n * (n - 1) / 2)
        return np.stack(
            [
                np.log(np.maximum(variance, 0.5 / (n * loci))),
                1 - alike.mean(axis=-1),
                first.sum(axis=-2).mean(axis=-1),
            ],
            axis=-1,
        )


@dataclass(frozen=True, kw_only=True)
class CoalescentSites:
    """Variable positions and lineages of one DNA segment that never recombines.

    Parameters: `theta`, 4 N_e mu, or 2 N_f mu for mitochondria, without unit, with mu mutations
    per segment and generation, within 0..1e6; and where `growth` is above 0, `growth`, the
    exponential rate at which the population grew, per unit of time, within 0..1e6. The columns are
    two counts: `segregating_sites`, positions at which the sample varies, and `lineages`, distinct
    sequences.

    Mutations fall on a given number of positions, each of which flips between two states, as
    transitions do, so that they can recur. Positions mutate at unequal rates: the quantiles of a
    gamma distribution, its mean 1, at the ranks 1/2, 3/2, ... of all positions.

    The default 63 chromosomes and 360 positions are those of `observed`, which infinitely many
    sites cannot produce: 26 sites that mutated once make at most 27 lineages, and there are 28.
    Recurrence at 360 positions alike hardly ever reaches them either, since it spreads over more
    than 26; a few positions must have mutated often. That the control region's do is known
    (Tamura & Nei 1993, Mol. Biol. Evol. 10:512). The default `rate_shape` is not an estimate: it
    makes the observed pair no rarity, with one dataset in twelve less probable at theta = 15.

    Args:
        chromosomes: Chromosomes of the sample, at least 2.
        sites: Positions of the segment, within 1..1e6; None for infinitely many.
        rate_shape: Shape of the gamma distribution of rates, within 0.01..1e6, small if they differ
            much; None for equal rates. It has no effect on infinitely many sites.
        theta: Lowest and highest theta of the prior, within 0..1e6.
        log_uniform: Whether the prior is uniform in log theta rather than theta; then theta > 0.
        growth: Highest growth of its uniform prior, within 0..1e6; the lowest is 0. At 0 the
            population is constant and growth no parameter.

    Raises:
        BadValue: An argument is outside its range.
        BadType: It is of another type.

    >>> model = CoalescentSites(chromosomes=20, sites=None)
    >>> x = model.simulate(np.full((50_000, 1), 5.0), np.random.default_rng(0))
    >>> x.mean(axis=0).round(1)  # 5 (1 + 1/2 + ... + 1/19), 5/5 + 5/6 + ... + 5/24
    array([17.7,  8.5])
    >>> CoalescentSites().observed
    array([26., 28.])
    """

    chromosomes: int = 63
    sites: int | None = 360
    rate_shape: float | None = 0.1
    theta: tuple[float, float] = (0.1, 20.0)
    log_uniform: bool = False
    growth: float = 0.0

    def __post_init__(self) -> None:
        expect_integer("chromosomes", self.chromosomes, low=2)
        if self.sites is not None:
            expect_integer("sites", self.sites, low=1, high=1_000_000)
        if self.rate_shape is not None:
            expect_number("rate_shape", self.rate_shape, low=_LEAST_SHAPE, high=_LARGEST)
        object.__setattr__(self, "theta", expect_bounds("theta", self.theta, low=0, high=_LARGEST))
        _ = self.prior

    @cached_property
    def prior(self) -> Prior:
        """Independent priors of theta and, if asked for, growth."""
        return _prior(self.theta, self.log_uniform, self.growth)

    @cached_property
    def data(self) -> Vector:
        """Two counts."""
        return Vector(columns=("segregating_sites", "lineages"))

    @cached_property
    def site_shares(self) -> Array:
        """Share of all mutations that fall on each position, shape (sites,); empty if infinite."""
        sites = self.sites or 0
        if self.rate_shape is None or sites == 0:
            return np.full(sites, 1 / max(sites, 1))
        ranks = (np.arange(sites) + 0.5) / sites
        rates = gammaincinv(float(self.rate_shape), ranks)
        shares: Array = rates / rates.sum()
        return shares

    def simulate(self, theta: Array, rng: np.random.Generator) -> Array:
        """Simulate the counts of one segment in each of b samples.

        Args:
            theta: theta and, if it is a parameter, growth, shape (b, 1 or 2).
            rng: Source of all randomness.

        Returns:
            Segregating sites and lineages, shape (b, 2).

        Raises:
            BadValue: `theta` has another shape, is NaN or outside 0..1e6.
        """
        rates, growths = _parameters(theta, self.prior)
        expect_rng(rng)
        x = np.empty((len(rates), 2))
        if self.sites is None:
            _infinite_sites(rng, rates, growths, self.chromosomes, x)
        else:
            # The last sum is 1 only to rounding, and no position lies beyond it.
            _finite_sites(
                rng, rates, growths, self.chromosomes, np.cumsum(self.site_shares)[:-1], x
            )
        return x

    @cached_property
    def observed(self) -> Array | None:
        """Mitochondria of 63 Nuu-Chah-Nulth: 26 variable positions, 28 lineages; shape (2,).

        From Ward, Frazier, Dew-Jager & Pääbo (1991), Proc. Natl. Acad. Sci. USA 88:8720-8724;
        `simulators/data/nuu_chah_nulth_1991.md` has the details. None unless `chromosomes` are 63
        and `sites` 360.
        """
        table = files("simulators").joinpath("data", "nuu_chah_nulth_1991.csv").read_text("utf-8")
        row = next(csv.DictReader(table.splitlines()))
        if (self.chromosomes, self.sites) != (int(row["chromosomes"]), int(row["sites"])):
            return None
        return np.array([float(row[name]) for name in self.data.columns])


def _prior(bounds: tuple[float, float], log_uniform: bool, growth: float) -> Prior:
    theta = LogUniform(*bounds) if expect_flag("log_uniform", log_uniform) else Uniform(*bounds)
    if expect_number("growth", growth, low=0, high=_LARGEST) == 0:
        return Prior(theta=theta)
    return Prior(theta=theta, growth=Uniform(0.0, growth))


def _parameters(theta: Array, prior: Prior) -> tuple[Array, Array]:
    """Theta and growth, 0 where it is no parameter, each (b,) and contiguous."""
    array = expect_theta(theta, prior.names, ranges=dict.fromkeys(prior.names, (0.0, _LARGEST)))
    growths = array[:, 1].copy() if array.shape[1] > 1 else np.zeros(len(array))
    return array[:, 0].copy(), growths


# A tree of n chromosomes has nodes 0..2 n - 2: first the chromosomes, then the ancestors from the
# youngest to the oldest. Going through the nodes downwards, a parent comes before its children.
# Along all branches, taken in that order, mutations are one Poisson process: what is left of the
# wait for the next at the end of a branch carries over to the following.


@njit(cache=True, nogil=True)
def _tree(rng: np.random.Generator, growth: float, parent: IntArray, age: Array) -> None:
    """Draw a tree: each node's parent and age, both (2 n - 1,); the oldest has no parent."""
    n = (parent.size + 1) // 2
    lineages = np.arange(n)
    age[:n] = 0.0
    size = 1.0  # of the population, now 1
    for node in range(n, 2 * n - 1):
        k = 2 * n - node
        wait = size * rng.standard_exponential() / (0.5 * k * (k - 1))
        grown = growth * wait
        if grown > 1e-12:  # below, log(1 + grown) / growth is the wait itself
            wait = np.log1p(grown) / growth
            size /= 1.0 + grown
        age[node] = age[node - 1] + wait
        first = int(k * rng.random())
        parent[lineages[first]] = node
        lineages[first] = lineages[k - 1]
        second = int((k - 1) * rng.random())
        parent[lineages[second]] = node
        lineages[second] = node


@njit(cache=True, nogil=True)
def _microsatellites(rng: np.random.Generator, theta: Array, growth: Array, x: Array) -> None:
    """Fill x (b, n, loci) with repeats above the shortest allele of each locus."""
    b, n, loci = x.shape
    parent = np.empty(2 * n - 1, np.int64)
    age = np.empty(2 * n - 1)
    repeats = np.zeros(2 * n - 1)
    for row in range(b):
        for locus in range(loci):
            _tree(rng, growth[row], parent, age)
            wait = rng.standard_exponential()
            for node in range(2 * n - 3, -1, -1):
                length = 0.5 * theta[row] * (age[parent[node]] - age[node])
                change = 0.0
                while wait < length:
                    length -= wait
                    change += 1.0 if rng.random() < 0.5 else -1.0
                    wait = rng.standard_exponential()
                wait -= length
                repeats[node] = repeats[parent[node]] + change
            shortest = repeats[:n].min()
            for chromosome in range(n):
                x[row, chromosome, locus] = repeats[chromosome] - shortest


@njit(cache=True, nogil=True)
def _infinite_sites(
    rng: np.random.Generator, theta: Array, growth: Array, n: int, x: Array
) -> None:
    """Fill x (b, 2) with mutations, each a segregating site, and distinct sequences.

    A sequence is named after the node below the latest mutation that made it.
    """
    parent = np.empty(2 * n - 1, np.int64)
    age = np.empty(2 * n - 1)
    name = np.empty(2 * n - 1, np.int64)
    for row in range(theta.size):
        _tree(rng, growth[row], parent, age)
        seen = np.zeros(2 * n - 1, np.bool_)
        name[2 * n - 2] = 2 * n - 2
        mutations, lineages = 0, 0
        wait = rng.standard_exponential()
        for node in range(2 * n - 3, -1, -1):
            length = 0.5 * theta[row] * (age[parent[node]] - age[node])
            name[node] = name[parent[node]]
            while wait < length:
                length -= wait
                mutations += 1
                name[node] = node
                wait = rng.standard_exponential()
            wait -= length
            if node < n and not seen[name[node]]:
                seen[name[node]] = True
                lineages += 1
        x[row, 0] = mutations
        x[row, 1] = lineages


@njit(cache=True, nogil=True)
def _finite_sites(
    rng: np.random.Generator, theta: Array, growth: Array, n: int, edges: Array, x: Array
) -> None:
    """Fill x (b, 2) with variable positions and distinct sequences.

    Position i mutates where a uniform number lies between edges i - 1 and i. A sequence is a row
    of bits, 64 to a word.
    """
    words = edges.size // 64 + 1
    parent = np.empty(2 * n - 1, np.int64)
    age = np.empty(2 * n - 1)
    sequence = np.zeros((2 * n - 1, words), np.int64)
    for row in range(theta.size):
        _tree(rng, growth[row], parent, age)
        wait = rng.standard_exponential()
        for node in range(2 * n - 3, -1, -1):
            length = 0.5 * theta[row] * (age[parent[node]] - age[node])
            sequence[node] = sequence[parent[node]]
            while wait < length:
                length -= wait
                site = np.searchsorted(edges, rng.random(), side="right")
                sequence[node, site // 64] ^= 1 << (site % 64)
                wait = rng.standard_exponential()
            wait -= length
        x[row, 0] = _count_variable(sequence[:n])
        x[row, 1] = _count_distinct(sequence[:n])


@njit(cache=True, nogil=True)
def _count_variable(sequences: IntArray) -> int:
    """Positions at which rows of bits (n, words) are not all alike."""
    count = 0
    for word in range(sequences.shape[1]):
        differ = 0
        for row in range(1, sequences.shape[0]):
            differ |= sequences[row, word] ^ sequences[0, word]
        while differ != 0:
            differ &= differ - 1  # clears the lowest bit that is set
            count += 1
    return count


@njit(cache=True, nogil=True)
def _count_distinct(sequences: IntArray) -> int:
    """Distinct rows of bits (n, words)."""
    n, words = sequences.shape
    firsts = np.empty(n, np.int64)
    count = 0
    for row in range(n):
        known = False
        for earlier in firsts[:count]:
            word = 0
            while word < words and sequences[row, word] == sequences[earlier, word]:
                word += 1
            if word == words:
                known = True
                break
        if not known:
            firsts[count] = row
            count += 1
    return count
