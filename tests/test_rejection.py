"""Rejection ABC against exact posteriors and plain oracles, and the contract of all posteriors."""

import math
import re

import numpy as np
import pytest

import sbi_kit as sk
from sbi_kit import acceptance, rejection
from sbi_kit.arviz_bridge import read_netcdf, write_netcdf
from sbi_kit.certificate import certify
from sbi_kit.checks import BadType, BadValue, UnknownName
from sbi_kit.rejection import RejectionABC

NOISE = 0.5


def location(**changes):
    """theta ~ N(0, I), x ~ N(theta, NOISE²): the posterior is N(.8 x, .2 I)."""
    parts = {
        "name": "location",
        "prior": sk.Prior(a=sk.Normal(0, 1), b=sk.Normal(0, 1)),
        "data": sk.Vector(columns=("x", "y")),
        "simulate": lambda theta, rng: theta + NOISE * rng.normal(size=theta.shape),
        "units": {"a": "kg"},
        **changes,
    }
    return sk.Simulator(**parts)


EXACT_SD = math.sqrt(0.2)
OBSERVED = np.array([[0.5, -1.0], [1.0, 0.3]])


@pytest.fixture(scope="module")
def bank():
    return sk.simulate(location(), 20_000, seed=1)


@pytest.fixture(scope="module")
def posterior(bank):
    return sk.fit_abc(bank, quantile=0.02)


# Against the exact posterior


def kl_of(posterior, x):
    """Divergence of the normals with the moments of the draws from the exact posterior."""
    draws = posterior.sample(x, draws=4_000, seed=3)
    mean, var = draws.mean(axis=1) - 0.8 * x, draws.var(axis=1) / 0.2
    return float(0.5 * (var - 1 - np.log(var) + mean**2 / 0.2).sum(axis=1).mean())


def test_a_shrinking_tolerance_converges_to_the_exact_posterior(bank):
    plain = {"adjust": False, "semi_automatic": False}
    errors = [kl_of(sk.fit_abc(bank, tolerance=t, **plain), OBSERVED) for t in (2.0, 0.9, 0.25)]
    assert errors[0] > 5 * errors[1] > 10 * errors[2]
    assert errors[2] < 0.02


def test_regression_makes_a_wide_tolerance_do(bank):
    plain, corrected = (
        kl_of(sk.fit_abc(bank, quantile=0.2, adjust=adjust), OBSERVED) for adjust in (False, True)
    )
    assert plain > 0.1
    assert corrected < 0.02


def test_it_passes_the_judges_and_is_certified(bank, posterior, tmp_path):
    held_out = sk.simulate(location(), 300, seed=5)
    verdict = sk.calibrate(posterior, held_out, draws=200, seed=6)
    assert verdict.passed
    assert verdict.units == {"a": "kg"}
    too_narrow = sk.fit_abc(bank, quantile=0.3, adjust=False)
    assert not sk.calibrate(too_narrow, held_out, draws=200, seed=6).passed
    posterior.save(tmp_path / "p")
    certify(tmp_path / "p", verdict)
    assert sk.load(tmp_path / "p").certificate.passed
    assert "No miscalibration found" in str(sk.load(tmp_path / "p"))


def test_draws_and_densities_belong_to_each_other(posterior):
    draws = posterior.sample(OBSERVED, draws=20_000, seed=3)
    grid = np.linspace(-3, 4, 141)
    mesh = np.stack(np.meshgrid(grid, grid, indexing="ij"), axis=-1).reshape(1, -1, 2)
    density = np.exp(posterior.log_prob(mesh, OBSERVED[:1])).reshape(141, 141) * (0.05) ** 2
    assert density.sum() == pytest.approx(1, abs=2e-3)
    for axis in (0, 1):
        cumulative = np.cumsum(density.sum(axis=1 - axis))
        empirical = (draws[0, :, axis][:, None] <= grid + 0.025).mean(axis=0)
        assert np.abs(cumulative - empirical).max() < 0.015


def test_log_prob_takes_one_vector_or_many_and_knows_the_support(bank):
    model = location(
        prior=sk.Prior(a=sk.Uniform(0, 1), b=sk.LogNormal(0, 1)), name="bounded", units={}
    )
    posterior = sk.fit_abc(sk.simulate(model, 4_000, seed=1), quantile=0.1)
    theta = np.array([[0.5, 1.0], [-0.1, 1.0]])
    single = posterior.log_prob(theta, OBSERVED)
    assert single[1] == -np.inf
    many = posterior.log_prob(np.repeat(theta[:, None], 3, axis=1), OBSERVED)
    np.testing.assert_allclose(many, np.repeat(single[:, None], 3, axis=1))
    x = np.array([[1.4, 0.1]])  # the regression line leaves the support
    draws = posterior.sample(x, draws=2_000, seed=1)[0]
    assert ((draws[:, 0] > 0) & (draws[:, 0] < 1) & (draws[:, 1] > 0)).all()
    assert draws[:, 0].mean() > 0.6


# What is accepted


def test_accepted_are_the_nearest_and_weigh_as_epanechnikov_says(bank):
    posterior = sk.fit_abc(bank, quantile=0.005, semi_automatic=False)
    theta, x = bank.take(np.arange(len(bank)))
    values = x.values[:, 0]
    scale = np.subtract(*np.quantile(values, [0.75, 0.25], axis=0)) / 1.349
    distance = np.sqrt((((values - OBSERVED[1]) / scale) ** 2).sum(1))
    order = np.argsort(distance)[:100]
    one = posterior.accept(OBSERVED)[1]
    np.testing.assert_array_equal(one.rows, order)
    np.testing.assert_allclose(one.distance, distance[order])
    np.testing.assert_allclose(one.theta, theta[order])
    assert one.tolerance == pytest.approx(distance[order[-1]])
    kernel = 1 - (distance[order] / one.tolerance) ** 2
    np.testing.assert_allclose(one.weights, kernel / kernel.sum(), atol=1e-12)
    assert one.effective == pytest.approx(kernel.sum() ** 2 / (kernel**2).sum())
    design = np.column_stack([np.ones(100), (values[order] - OBSERVED[1]) / scale])
    root = np.sqrt(kernel)[:, None]
    slopes = np.linalg.lstsq(root * design, root * theta[order], rcond=None)[0][1:]
    np.testing.assert_allclose(one.adjusted, theta[order] - design[:, 1:] @ slopes, atol=1e-6)


def test_without_regression_all_weigh_the_same(bank):
    one = sk.fit_abc(bank, tolerance=0.3, adjust=False).accept(OBSERVED[0])[0]
    assert one.distance.max() <= one.tolerance == 0.3
    np.testing.assert_array_equal(one.adjusted, one.theta)
    assert one.effective == pytest.approx(len(one.rows))


@pytest.mark.parametrize(
    ("name", "oracle"),
    [
        ("cityblock", lambda z, o: np.abs(z - o).sum(1)),
        ("chebyshev", lambda z, o: np.abs(z - o).max(1)),
        (
            "mahalanobis",
            lambda z, o: np.sqrt(
                np.einsum("ni,ij,nj->n", z - o, np.linalg.inv(np.cov(z.T)), z - o)
            ),
        ),
    ],
)
def test_distances_are_what_they_are_called(bank, monkeypatch, name, oracle):
    monkeypatch.setattr(acceptance, "_BLOCK", len(bank))  # one dataset at a time
    named = sk.fit_abc(bank, quantile=0.01, distance=name).accept(OBSERVED)
    given = sk.fit_abc(bank, quantile=0.01, distance=oracle).accept(OBSERVED)
    for one, other in zip(named, given, strict=True):
        np.testing.assert_array_equal(one.rows, other.rows)
        np.testing.assert_allclose(one.distance, other.distance)


def test_neighbours_do_not_matter_and_seeds_do(posterior):
    together = posterior.sample(OBSERVED, draws=50, seed=3)
    np.testing.assert_array_equal(together, posterior.sample(OBSERVED, draws=50, seed=3))
    alone = posterior.sample(OBSERVED[:1], draws=50, seed=3)
    np.testing.assert_allclose(together[0], alone[0], rtol=1e-9)
    assert not np.array_equal(together, posterior.sample(OBSERVED, draws=50, seed=4))


# Summaries


class Sets:
    """Sets of any size whose mean and log sd are the parameters, seen with a known gain."""

    name = "sets"
    prior = sk.Prior(mu=sk.Normal(0, 1), log_sd=sk.Normal(0, 0.3))
    data = sk.Exchangeable(columns=("x",), n=(5, 40), context=sk.Prior(gain=sk.Uniform(1, 2)))

    def simulate(self, theta, rng, n, context):
        noise = np.exp(theta[:, 1:, None]) * rng.normal(size=(len(theta), n, 1))
        return context[:, :, None] * (theta[:, :1, None] + noise)


def sets_of(n, gain, seed):
    rng = np.random.default_rng(seed)
    return gain * (0.5 + rng.normal(size=(n, 1)))


def test_size_and_context_of_the_data_count():
    posterior = sk.fit_abc(sk.simulate(Sets(), 20_000, seed=1), quantile=0.02)
    assert posterior.z.shape[1] == 4
    assert posterior.history["context"]["gain"][0] < 1.01
    for n, gain in ((6, 1.2), (35, 1.8)):
        x = [sets_of(n, gain, seed) for seed in range(20)]
        draws = posterior.sample(x, draws=400, seed=2, context={"gain": gain})[..., 0]
        means = np.array([table.mean() / gain for table in x])
        spread = 1 / math.sqrt(1 + n)
        assert draws.std(axis=1).mean() == pytest.approx(spread, rel=0.3)
        assert np.abs(draws.mean(axis=1) - means * n / (1 + n)).mean() < 0.6 * spread
    with (
        pytest.warns(UserWarning, match="is unlike everything simulated"),
        pytest.warns(UserWarning, match="gain = 3, and the posterior was trained on 1"),
    ):
        posterior.sample(sets_of(9, 3.0, 1), draws=5, seed=1, context={"gain": 3.0})


def test_a_function_gets_datasets_of_one_size_with_their_context():
    seen = []

    def summaries(x, context):
        seen.append((x.shape, sorted(context), context["gain"].shape))
        return np.stack([x.mean((1, 2)) / context["gain"], np.log(x.std((1, 2)))], axis=1)

    bank = sk.simulate(Sets(), 2_000, seed=1)
    posterior = sk.fit_abc(bank, summaries=summaries, quantile=0.05)
    assert all(shape[2] == 1 and names == ["gain"] for shape, names, _ in seen)
    assert sum(shape[0] for shape, *_ in seen) == 2_000
    assert {shape[1] for shape, *_ in seen} == set(bank.n.tolist())
    draws = posterior.sample(sets_of(30, 1.5, 0), draws=300, seed=1, context={"gain": 1.5})
    assert abs(draws[0, :, 0].mean() - sets_of(30, 1.5, 0).mean() / 1.5) < 0.3


@pytest.mark.parametrize("learned", ["estimate", "summarise"])
def test_learned_numbers_are_summaries_too(learned):
    model = location(data=sk.Exchangeable(columns=("x", "y"), n=10), simulate=many, units={})
    bank = sk.simulate(model, 6_000, seed=1)
    neural = sk.fit(bank, seed=2, steps=300, width=8, hidden=16)
    posterior = sk.fit_abc(bank, summaries=getattr(neural, learned), quantile=0.05)
    x = many(np.array([[0.5, -0.5]]), np.random.default_rng(3), 10)
    draws = posterior.sample(x, draws=2_000, seed=1)[0]
    exact = x[0].mean(0) * 10 / (10 + NOISE**2)
    np.testing.assert_allclose(draws.mean(0), exact, atol=0.08)
    np.testing.assert_allclose(draws.std(0), NOISE / math.sqrt(10 + NOISE**2), rtol=0.3)


def test_estimates_are_posterior_means(bank):
    neural = sk.fit(bank, seed=2, steps=60, width=8, hidden=8)
    draws = neural.sample(OBSERVED, draws=200, seed=0)  # the prior is a standard normal
    np.testing.assert_allclose(neural.estimate(OBSERVED), draws.mean(axis=1), atol=1e-6)


def test_the_projection_is_not_learned_by_heart():
    """1,500 simulations, 300 summaries that say nothing beside two that say all."""

    def summaries(x):
        noise = np.sin(1e4 * x @ np.random.default_rng(1).normal(size=(2, 300)))
        return np.column_stack([x, noise])

    bank = sk.simulate(location(), 1_500, seed=1)
    posterior = sk.fit_abc(bank, summaries=summaries, quantile=0.2)
    assert kl_of(posterior, OBSERVED) < 0.25


def many(theta, rng, n):
    return theta[:, None] + NOISE * rng.normal(size=(len(theta), n, 2))


def test_missing_and_constant_summaries_are_no_obstacle():
    def summaries(x):
        odd = np.where(x[:, 0] > 0, np.nan, 1.0)
        return np.column_stack([x, odd, np.full(len(x), np.nan), np.ones(len(x))])

    bank = sk.simulate(location(), 4_000, seed=1)
    draws = sk.fit_abc(bank, summaries=summaries).sample(OBSERVED, draws=500, seed=1)
    np.testing.assert_allclose(draws.mean(1), 0.8 * OBSERVED, atol=0.2)


# Files and ArviZ


def test_saved_and_loaded_it_gives_the_same_draws(posterior, tmp_path):
    posterior.save(tmp_path / "p")
    again = sk.load(tmp_path / "p")
    assert isinstance(again, RejectionABC)
    for call in (
        lambda p: p.sample(OBSERVED, draws=50, seed=3),
        lambda p: p.log_prob(OBSERVED, OBSERVED),
    ):
        np.testing.assert_array_equal(call(posterior), call(again))
    assert str(again).startswith("ABC posterior of a, b, given data of location")


def test_the_simulators_own_summaries_are_found_again(tmp_path, monkeypatch):
    model = sk.load_simulator("coalescent")
    sk.simulate(model, 1_000, seed=1, path=tmp_path / "b")
    posterior = sk.fit_abc(sk.Bank.open(tmp_path / "b"), quantile=0.1)
    assert posterior.history["summaries"] == "simulator"
    posterior.save(tmp_path / "p")
    again = sk.load(tmp_path / "p")
    draws = [one.sample(model.observed, draws=30, seed=1) for one in (posterior, again)]
    np.testing.assert_array_equal(*draws)

    def gone(*_):
        raise UnknownName("a simulator", "'coalescent'", "install it")

    monkeypatch.setattr(rejection, "rebuild", gone)
    with pytest.raises(BadValue, match="'coalescent', whose summaries this posterior compares"):
        sk.load(tmp_path / "p").sample(model.observed, draws=30, seed=1)


@pytest.mark.parametrize("change", ["table", "familiarity", "distance"])
def test_a_damaged_directory_is_refused(posterior, tmp_path, monkeypatch, change):
    read = sk.load.__globals__["read_posterior"]

    def damaged(folder):
        document, tensors = read(folder)
        if change == "table":
            tensors["table.z"] = tensors["table.z"][:-1]
        elif change == "familiarity":
            tensors["familiarity.center"] = tensors["familiarity.center"][:1]
        else:
            document["acceptance"]["distance"] = "near"
        return document, tensors

    posterior.save(tmp_path / "p")
    monkeypatch.setattr("sbi_kit.loading.read_posterior", damaged)
    with pytest.raises(BadValue, match="whose parts fit each other"):
        sk.load(tmp_path / "p")


def test_infer_gathers_everything_for_arviz(posterior, tmp_path):
    idata = posterior.infer(OBSERVED, draws=200, seed=3, predictive=20)
    draws = posterior.sample(OBSERVED, draws=200, seed=3)
    np.testing.assert_array_equal(idata["posterior"]["a"].values[0].T, draws[..., 0])
    assert idata["posterior"]["a"].attrs["units"] == "kg"
    stats_ = idata["sample_stats"]
    accepted = posterior.accept(OBSERVED)
    np.testing.assert_allclose(stats_["tolerance"], [one.tolerance for one in accepted])
    np.testing.assert_allclose(stats_["effective_sample_size"], [one.effective for one in accepted])
    assert idata["posterior_predictive"]["x"].sizes["draw"] == 20
    write_netcdf(idata, tmp_path / "i.nc")
    again = read_netcdf(tmp_path / "i.nc")
    np.testing.assert_array_equal(again["posterior"]["a"], idata["posterior"]["a"])


def test_strange_data_are_warned_of(posterior):
    with pytest.warns(UserWarning, match="Dataset 1 is unlike everything simulated") as caught:
        posterior.sample(np.array([[0.0, 0.0], [60.0, 0.0]]), draws=5, seed=1)
    assert caught[0].filename == __file__


def test_there_is_a_report_of_it(posterior, tmp_path, monkeypatch):
    monkeypatch.setattr("sbi_kit.plots.to_webp", lambda figure, dpi: b"")
    sk.report(posterior, OBSERVED[:1], tmp_path / "r.html", verdict=None, draws=100, seed=1)
    text = (tmp_path / "r.html").read_text()
    assert "No network was trained" in text
    assert re.search(r"the nearest 2\s% of 20,000", text)
    assert "local-linear regression" in text


# Refusals


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"quantile": 0.1, "tolerance": 1}, BadValue, "a quantile or a tolerance; got both; leave"),
        ({"quantile": 5e-4}, BadValue, "20 of 20,000 simulations or more; got 0.0005, which acc"),
        ({"quantile": 2}, BadValue, "quantile"),
        ({"tolerance": -1}, BadValue, "tolerance"),
        ({"distance": "euclid"}, UnknownName, "mahalanobis.*did you mean 'euclidean'"),
        ({"distance": 3}, BadType, "a distance; got int; choose of euclidean"),
        ({"summaries": "mean"}, BadType, "summaries as a function; got str; pass a function of"),
        (
            {"summaries": lambda x: x[:3]},
            BadValue,
            r"summaries of shape \(20000, p\); got \(3, 2\); return",
        ),
        ({"summaries": lambda x: np.ones((len(x), 2))}, BadValue, "summaries that vary; got the s"),
        ({"adjust": 1}, BadType, "adjust"),
        ({"semi_automatic": "yes"}, BadType, "semi_automatic"),
    ],
)
def test_bad_settings_are_refused(bank, settings, error, message):
    with pytest.raises(error, match=message):
        sk.fit_abc(bank, **settings)


def test_other_refusals(bank, posterior, tmp_path):
    with pytest.raises(BadType, match="a bank of simulations; got list; pass what simulate"):
        sk.fit_abc([1, 2])
    with pytest.raises(BadValue, match=r"within the tolerance 0\.001; got 0 for dataset 0; raise"):
        sk.fit_abc(bank, tolerance=1e-3, adjust=False).sample([[1.0, 1.0]], draws=5, seed=1)
    custom = sk.fit_abc(bank, summaries=lambda x: x)
    with pytest.raises(BadValue, match="summaries with a name, which a file can hold; got a fun"):
        custom.save(tmp_path / "c")
    measured = sk.fit_abc(bank, distance=lambda z, o: np.abs(z - o).sum(1))
    with pytest.raises(BadValue, match="a distance with a name, which a file can hold; got a f"):
        measured.save(tmp_path / "c")
    short = sk.fit_abc(bank, distance=lambda z, o: np.ones(3))
    with pytest.raises(BadValue, match="return one for each row of z"):
        short.sample(OBSERVED, draws=5, seed=1)
    with pytest.raises(BadValue, match="draws as an integer >= 1; got 0"):
        posterior.sample(OBSERVED, draws=0, seed=1)
    assert not list(tmp_path.iterdir())


def test_summaries_of_another_number_are_refused(bank):
    lengths = iter([2, 3])
    posterior = sk.fit_abc(bank, summaries=lambda x: np.repeat(x[:, :1], next(lengths), axis=1))
    with pytest.raises(BadValue, match="2 summaries, as of the simulations; got 3; return as many"):
        posterior.sample(OBSERVED, draws=5, seed=1)


# Genetics


def test_hand_made_summaries_of_the_coalescent_reach_the_published_recovery():
    model = sk.load_simulator("coalescent")
    posterior = sk.fit_abc(
        sk.simulate(model, 5_600, seed=1), quantile=300 / 5_600, semi_automatic=False
    )
    fresh = sk.simulate(model, 400, seed=9)
    theta, x = fresh.take(np.arange(400))
    draws = posterior.sample(x, draws=300, seed=3)[..., 0]
    truth = np.log(theta[:, 0])
    r2 = 1 - np.mean((truth - np.log(draws).mean(1)) ** 2) / truth.var()
    assert r2 > 0.931
    low, high = np.quantile(draws, [0.05, 0.95], axis=1)
    covered = ((theta[:, 0] > low) & (theta[:, 0] < high)).mean()
    assert covered == pytest.approx(0.9, abs=4 * math.sqrt(0.09 / 400))
