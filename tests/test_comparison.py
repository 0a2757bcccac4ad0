"""Methods side by side: each is what it is alone, and ArviZ shows them in one figure."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

import sbi_kit as sk
from sbi_kit.arviz_bridge import load_arviz, read_netcdf, write_netcdf
from sbi_kit.checks import BadType, BadValue

NOISE, N = 0.5, 20


class Location:
    """x_i ~ N(theta, NOISE²): the posterior is normal, and so is the likelihood."""

    name = "location"
    prior = sk.Prior(theta=sk.Normal(0, 1))
    data = sk.Exchangeable(columns=("x",), n=N)
    units = {"theta": "kg"}  # noqa: RUF012

    def simulate(self, theta, rng, n):
        return theta[:, None] + NOISE * rng.normal(size=(len(theta), n, 1))

    def log_likelihood(self, theta, x):
        away = x.values[0, :, 0] - theta
        return -np.square(away).sum(axis=1) / (2 * NOISE**2)


MODEL = Location()
X = MODEL.simulate(np.array([[0.7]]), np.random.default_rng(0), N)[0]


@pytest.fixture(scope="module")
def bank():
    return sk.simulate(MODEL, 4_000, seed=1)


@pytest.fixture(scope="module")
def posterior(bank):
    return sk.fit(bank, seed=2, steps=400, width=8, hidden=16)


@pytest.fixture(scope="module")
def idata(posterior, bank):
    return sk.compare_methods(
        posterior, bank, X, draws=2_000, seed=3, quantile=0.05, others={"again": posterior}
    )


def test_each_method_says_what_it_says_alone(idata, posterior, bank):
    theta = idata["posterior"]["theta"]
    assert theta.dims == ("chain", "draw", "approach")
    assert theta.attrs["units"] == "kg"
    methods = theta["approach"].values.tolist()
    assert methods == ["amortized", "ABC", "maximum likelihood", "again"]
    amortized, abc, likelihood, again = theta.values[0].T
    np.testing.assert_array_equal(amortized, posterior.sample(X, draws=2_000, seed=3)[0, :, 0])
    np.testing.assert_array_equal(amortized, again)
    alone = sk.fit_abc(bank, quantile=0.05)
    np.testing.assert_array_equal(abc, alone.sample(X, draws=2_000, seed=3)[0, :, 0])
    marks = idata["posterior"].attrs
    assert float(marks["effective_sample_size_of_ABC"]) == pytest.approx(
        alone.accept(X)[0].effective, rel=1e-5
    )
    error = 4 * NOISE / np.sqrt(N * 2_000)
    assert likelihood.mean() == pytest.approx(X.mean(), abs=error)
    assert likelihood.std() == pytest.approx(NOISE / np.sqrt(N), rel=0.08)
    best = MODEL.log_likelihood(np.array([[X.mean()]]), sk.Datasets(X[None], np.array([N])))
    assert float(marks["maximum_log_likelihood"]) == pytest.approx(best[0], rel=1e-8)


def test_an_abc_posterior_of_ones_own_is_compared_and_kept(posterior, bank):
    abc = sk.fit_abc(bank, quantile=0.02, adjust=False)
    found = sk.compare_methods(posterior, abc, X, draws=300, seed=3)
    draws = found["posterior"]["theta"].sel(approach="ABC").values[0]
    np.testing.assert_array_equal(draws, abc.sample(X, draws=300, seed=3)[0, :, 0])
    with pytest.raises(BadValue, match=r"no quantile for an ABC posterior.*got 0\.1; choose it in"):
        sk.compare_methods(posterior, abc, X, draws=5, seed=1, quantile=0.1)


def test_all_agree_with_the_exact_posterior(idata):
    precision = 1 + N / NOISE**2
    mean, sd = X.mean() * N / NOISE**2 / precision, precision**-0.5
    for draws in idata["posterior"]["theta"].values[0].T[:3]:
        assert draws.mean() == pytest.approx(mean, abs=0.4 * sd)
        assert draws.std() == pytest.approx(sd, rel=0.35)


@pytest.mark.filterwarnings("ignore")  # ArviZ's own: deprecations, and R-hat of one chain
def test_arviz_shows_them_in_one_figure(idata, tmp_path):
    arviz = load_arviz()
    write_netcdf(idata, tmp_path / "c.nc")
    for one in (idata, read_netcdf(tmp_path / "c.nc")):
        arviz.plot_forest(one)
        table = arviz.summary(one, kind="stats")
        assert "theta[maximum likelihood]" in list(table.index)
    plt.close("all")


def test_without_a_likelihood_two_are_compared(bank):
    def simulate(theta, rng, n):
        return MODEL.simulate(theta, rng, n)

    bare = sk.Simulator(name="bare", prior=MODEL.prior, data=MODEL.data, simulate=simulate)
    bank = sk.simulate(bare, 1_000, seed=1)
    posterior = sk.fit(bank, seed=2, steps=5, width=8, hidden=8, members=1)
    found = sk.compare_methods(posterior, bank, X, draws=20, seed=3)
    assert found["posterior"]["approach"].values.tolist() == ["amortized", "ABC"]


def test_what_is_not_to_be_compared_is_refused(posterior, bank):
    with pytest.raises(BadValue, match="one dataset; got 2; compare one at a time"):
        sk.compare_methods(posterior, bank, np.stack([X, X]), draws=5, seed=1)
    with pytest.raises(BadType, match="an amortized posterior; got int; pass what fit or load"):
        sk.compare_methods(3, bank, X, draws=5, seed=1)
    with pytest.raises(BadType, match="a bank of simulations; got int; pass what simulate"):
        sk.compare_methods(posterior, 3, X, draws=5, seed=1)
    other = sk.simulate(sk.load_simulator("ricker", {"n": 20}), 30, seed=1)
    with pytest.raises(BadValue, match=r"a bank of .location., as the post.*one of .ricker."):
        sk.compare_methods(posterior, other, X, draws=5, seed=1)
    with pytest.raises(BadValue, match="draws as an integer >= 1; got 0"):
        sk.compare_methods(posterior, bank, X, draws=0, seed=1)
