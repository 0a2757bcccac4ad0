"""The clauses of a prior: names, draws, density and the map to a standard normal agree."""

from itertools import combinations

import numpy as np
from scipy.special import ndtri

from sbi_kit.checks import BadValue, expect_finite
from sbi_kit.contracts import Array, Prior
from sbi_kit.seeds import numpy_stream
from sbi_kit.testing.forms import expect_result, show
from sbi_kit.testing.randomness import FALSE_ALARM

_PRIOR_DRAWS = 2_000


def check_prior(prior: Prior, seed: int) -> None:
    """Names, draws, density and whitened map of the prior."""
    names = prior.names
    fine = isinstance(names, tuple) and all(isinstance(name, str) and name for name in names)
    if not fine or not names or len(set(names)) < len(names):
        wanted = "prior.names as a tuple of distinct names"
        raise BadValue(wanted, repr(names), "name each parameter once")
    d = len(names)
    theta = prior.sample(_PRIOR_DRAWS, numpy_stream(seed, "check: prior"))
    expect_result("prior.sample(b, rng)", theta, (_PRIOR_DRAWS, d))
    expect_finite("the prior's draws", theta, names, do="repair prior.sample")
    again = prior.sample(_PRIOR_DRAWS, numpy_stream(seed, "check: prior"))
    if not np.array_equal(theta, again):
        raise BadValue("the same draws from the same rng", "other draws", "use only the rng passed")
    log_prob = prior.log_prob(theta)
    expect_result("prior.log_prob(theta)", log_prob, (_PRIOR_DRAWS,))
    _expect_support(prior, theta, log_prob, "its own draws")
    u = prior.whiten(theta)
    expect_result("prior.whiten(theta)", u, (_PRIOR_DRAWS, d))
    expect_finite("whitened draws of the prior", u, names, do="repair prior.whiten")
    back = prior.unwhiten(u)
    expect_result("prior.unwhiten(u)", back, (_PRIOR_DRAWS, d))
    error = np.abs(back - theta) / (np.abs(theta) + theta.std(axis=0) + np.finfo(float).tiny)
    if not (error <= 1e-6).all():
        worst = names[int(error.max(axis=0).argmax())]
        got = f"{error.max():.1e} for {worst}"
        do = "make whiten and unwhiten inverses of each other"
        raise BadValue("unwhiten(whiten(theta)) within 1e-6 of theta", got, do)
    corners = np.array([*np.diag(np.full(d, 6.0)), *np.diag(np.full(d, -6.0))])
    ends = prior.unwhiten(corners)
    _expect_support(prior, ends, prior.log_prob(ends), "unwhitened points at u = +-6")
    _check_standard_normal(u, names)
    _check_density(prior, u[:20])


def _expect_support(prior: Prior, theta: Array, log_prob: Array, what: str) -> None:
    if not np.isfinite(log_prob).all():
        row = int(np.argmin(np.isfinite(log_prob)))
        got = f"{log_prob[row]} at {show(prior.names, theta[row])}"
        do = "make the density, the draws and the map agree on the support"
        raise BadValue(f"a finite prior.log_prob at {what}", got, do)


def _check_standard_normal(u: Array, names: tuple[str, ...]) -> None:
    """Each whitened parameter is N(0, 1) and no two are correlated, by Bonferroni's bound."""
    from scipy.stats import kstest  # most of a second, so not before it is needed

    tests = len(names) * (len(names) + 1) / 2
    do = "make whiten the map from this prior to N(0, I)"
    for name, column in zip(names, u.T, strict=True):
        p = float(kstest(column, "norm").pvalue)
        if p < FALSE_ALARM / tests:
            moments = f"mean {column.mean():.3g} and sd {column.std():.3g} for {name} (p = {p:.0e})"
            raise BadValue("whitened draws of the prior that are N(0, 1)", moments, do)
    # Fisher's transformed correlation is close to N(0, 1 / (draws - 3)).
    bound = np.tanh(-ndtri(FALSE_ALARM / tests / 2) / np.sqrt(len(u) - 3))
    for (i, first), (j, second) in combinations(enumerate(names), 2):
        r = float(np.corrcoef(u[:, i], u[:, j])[0, 1])
        if abs(r) > bound:
            got = f"correlation {r:.2f} of {first} and {second}"
            raise BadValue("whitened draws of the prior that are uncorrelated", got, do)


def _check_density(prior: Prior, u: Array) -> None:
    """log p(theta) = log N(u) - log |det dtheta/du|, by central differences."""
    b, d = u.shape
    step = 1e-4
    shift = step * np.eye(d)[:, None]  # (d, 1, d)
    upper, lower = prior.unwhiten(u + shift), prior.unwhiten(u - shift)
    expect_result("prior.unwhiten(u) with two leading axes", upper, (d, b, d))
    log_det = np.linalg.slogdet((upper - lower).swapaxes(0, 1) / (2 * step))[1]
    implied = -0.5 * (u**2 + np.log(2 * np.pi)).sum(axis=1) - log_det
    theta = prior.unwhiten(u)
    gap = prior.log_prob(theta) - implied
    worst = int(np.argmax(np.abs(gap)))
    if not abs(gap[worst]) < 1e-3 * d:
        got = f"{gap[worst]:+.3g} at {show(prior.names, theta[worst])}"
        do = "normalise log_prob, or make unwhiten map N(0, I) to this prior"
        raise BadValue("prior.log_prob equal to the density that unwhiten implies", got, do)
