"""The leaky competing accumulator against closed forms, exact recursions and two oracles."""

import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.linalg import expm
from scipy.stats import binom, chisquare, ks_2samp, kstest, norm

from sbi_kit.checks import BadType, BadValue
from sbi_kit.testing import check_simulator
from simulators import lca
from simulators.lca import LCA
from tests.oracles.lca import loop, vectorised

MODEL = LCA()
ODD = LCA(
    accumulators=2,
    conditions=1,
    n=(20, 60),
    noise=0.5,
    dt=0.01,
    time_limit=1.5,
    clip=False,
    start=0.3,
)
LEVEL = 1e-5


def repeated(row, b):
    return np.tile(np.asarray(row, dtype=float), (b, 1))


def lanes(x, drift, leak, inhibition, dt, threshold=np.inf):
    """The arguments of `_advance` for trials (J, abreast) that are all in the state x."""
    x = np.array(x, dtype=float)
    rest = np.empty((8, x.shape[1]))
    rest[lca._KEEP], rest[lca._COUPLING] = 1 - (leak - inhibition) * dt, inhibition * dt
    rest[lca._TOTAL], rest[lca._THRESHOLD] = x.sum(axis=0), threshold
    gain = np.repeat(np.asarray(drift)[:, None] * dt, x.shape[1], axis=1)
    return x, gain, rest


@pytest.mark.parametrize("model", [MODEL, ODD], ids=["default", "unusual"])
def test_keeps_the_simulator_contract(model):
    check_simulator(model)


# One step.


@pytest.mark.parametrize("floor", [0.0, -np.inf])
def test_a_step_is_the_published_one_from_the_old_state(floor):
    rng = np.random.default_rng(5)
    old, drift = rng.gamma(1.0, 0.5, (4, 30)), rng.normal(0, 20, 4)
    x, gain, rest = lanes(old, drift, leak=2.0, inhibition=7.0, dt=0.02, threshold=0.6)
    z = rng.standard_normal(200)
    arrived = lca._advance(x, gain, rest, z, 10, 30, 0.3, floor)
    new = np.empty_like(old)
    for i in range(4):
        others = sum(old[j] for j in range(4) if j != i)
        new[i] = old[i] + (drift[i] - 2.0 * old[i] - 7.0 * others) * 0.02
        new[i] = np.maximum(new[i] + 0.3 * z[10 + 30 * i : 40 + 30 * i], floor)
    np.testing.assert_allclose(x, new, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(rest[lca._TOTAL], new.sum(axis=0), rtol=1e-12)
    assert arrived == (new.max(axis=0) >= 0.6).sum()
    assert 3 < arrived < 27
    assert (new == 0.0).any() == (floor == 0.0)


def test_states_without_clipping_have_the_moments_of_the_linear_equation():
    drift, leak, inhibition = np.array([2.0, 0.5, -1.0]), 1.5, 4.0
    dt, steps, abreast, s = 0.004, 100, 40_000, 0.8
    x, gain, rest = lanes(np.full((3, abreast), 0.2), drift, leak, inhibition, dt)
    for seed in range(steps):
        z = np.random.default_rng(seed).standard_normal(3 * abreast)
        assert lca._advance(x, gain, rest, z, 0, abreast, s * math.sqrt(dt), -np.inf) == 0
    # dx = (v - B x) dt + s dW, first as the scheme steps it, exactly.
    rate = (leak - inhibition) * np.eye(3) + inhibition
    mean, covariance = np.full(3, 0.2), np.zeros((3, 3))
    step = np.eye(3) - rate * dt
    for _ in range(steps):
        mean = step @ mean + drift * dt
        covariance = step @ covariance @ step.T + s**2 * dt * np.eye(3)
    sd = np.sqrt(np.diag(covariance))
    assert (np.abs(x.mean(axis=1) - mean) < 4.5 * sd / math.sqrt(abreast)).all()
    error = np.sqrt((np.outer(sd, sd) ** 2 + covariance**2) / abreast)
    assert (np.abs(np.cov(x) - covariance) < 4.5 * error).all()
    # And the scheme is within O(dt) of the solution of the equation itself.
    t = steps * dt
    decay = expm(-rate * t)
    np.testing.assert_allclose(
        mean,
        decay @ np.full(3, 0.2) + np.linalg.solve(rate, (np.eye(3) - decay) @ drift),
        rtol=0.03,
    )
    # The rate is symmetric, so the covariance integral is a function of it.
    limit = s**2 * np.linalg.solve(2 * rate, np.eye(3) - expm(-2 * rate * t))
    np.testing.assert_allclose(covariance, limit, rtol=0.06)


def test_difference_of_two_is_a_diffusion_where_leak_equals_inhibition():
    drift, dt, steps, abreast, s = [2.0, 0.5], 0.01, 50, 64_000, 0.7
    x, gain, rest = lanes(np.zeros((2, abreast)), drift, 3.0, 3.0, dt)
    for seed in range(steps):
        z = np.random.default_rng(100 + seed).standard_normal(2 * abreast)
        lca._advance(x, gain, rest, z, 0, abreast, s * math.sqrt(dt), -np.inf)
    t = steps * dt
    mean, sd = 1.5 * t, math.sqrt(2) * s * math.sqrt(t)
    assert kstest(x[0] - x[1], norm(mean, sd).cdf).pvalue > LEVEL


# The race.


def inverse_gaussian_survival(t, drift, threshold, s):
    """P(a Wiener process has not yet reached the threshold)."""
    root = s * np.sqrt(t)
    reached = norm.cdf((drift * t - threshold) / root)
    log_second = 2 * drift * threshold / s**2 + norm.logcdf(-(drift * t + threshold) / root)
    return 1 - reached - np.exp(log_second)


def test_single_runner_is_inverse_gaussian():
    # A rival that drifts away never wins.
    v, a, s, dt, b = 2.0, 1.2, 0.7, 0.001, 60_000
    model = LCA(accumulators=2, conditions=1, noise=s, dt=dt, clip=False, time_limit=10)
    x = model.simulate([[v, -50.0, a, 0.25, 0.0, 0.0]], np.random.default_rng(6), b)[0]
    assert (x[:, 1] == 1).all()
    t = x[:, 0] - 0.25
    # A discrete walk overshoots as if the threshold were higher (Siegmund 1985).
    a += 0.5826 * s * math.sqrt(dt)
    mean, variance = a / v, a * s**2 / v**3
    assert abs(t.mean() - mean) < 4.5 * math.sqrt(variance / b)
    spread = (t - t.mean()) ** 2
    assert abs(spread.mean() - variance) < 4.5 * spread.std() / math.sqrt(b)
    # Within a step's width, since t is a whole number of steps.
    assert kstest(t - dt / 2, lambda u: 1 - inverse_gaussian_survival(u, v, a, s)).pvalue > LEVEL


def test_race_of_independent_runners_has_the_closed_form():
    drift, a, s, dt, b = np.array([2.4, 1.5, 0.6]), 1.1, 1.0, 0.001, 60_000
    model = LCA(conditions=1, noise=s, dt=dt, clip=False)
    x = model.simulate([[*drift, a, 0.0, 0.0, 0.0]], np.random.default_rng(7), b)[0]
    edge = np.linspace(0, 5, 20_001)[1:]
    a += 0.5826 * s * math.sqrt(dt)
    alone = np.array([inverse_gaussian_survival(edge, v, a, s) for v in drift])
    survival = alone.prod(axis=0)
    # P(i wins by t) is the integral of its density times the others' survival.
    density = a / (s * np.sqrt(2 * np.pi * edge**3))
    wins = []
    for v, own in zip(drift, alone, strict=True):
        f = density * np.exp(-((a - v * edge) ** 2) / (2 * s**2 * edge)) * survival / own
        wins.append(np.cumsum(f) * (edge[1] - edge[0]))
    wins = np.array(wins)
    assert wins[:, -1].sum() + survival[-1] == pytest.approx(1, abs=1e-6)
    seen = [*x[:, 1:].sum(axis=0), (x[:, 1:].sum(axis=1) == 0).sum()]
    expected = b * np.array([*wins[:, -1], survival[-1]])
    assert chisquare(seen[:3], expected[:3] * sum(seen[:3]) / expected[:3].sum()).pvalue > LEVEL
    assert abs(seen[3] - expected[3]) < 4.5 * math.sqrt(expected[3]) + 1
    for i in range(3):
        t = x[x[:, 1 + i] == 1, 0] - dt / 2
        share = wins[i] / wins[i, -1]
        assert kstest(t, lambda u, share=share: np.interp(u, edge, share)).pvalue > LEVEL


STRONG = {
    "prior draw": (MODEL, [3.1, 0.4, 1.2, 0.9, 2.2, 1.7, 1.8, 0.3, 0.1, 0.2]),
    "strong inhibition": (LCA(dt=0.005), [3.0, 2.0, 1.0, 0.5, 0.2, 4.0, 1.2, 0.2, 2.0, 8.0]),
    "strong leak": (LCA(dt=0.005, time_limit=2), [3.0, 2, 1, 0.5, 0.2, 4, 1.2, 0.2, 6.0, 0.5]),
    "no floor": (LCA(dt=0.005, clip=False), [3.0, 2, 1, 0.5, 0.2, 4, 1.2, 0.2, 1.0, 4.0]),
    "unusual": (ODD, [1.5, 0.7, 0.8, 0.1, 0.5, 2.0]),
    "three conditions": (
        LCA(accumulators=4, conditions=3, dt=0.01, noise=0.6, start=0.2),
        [*np.linspace(0, 3, 12), 0.9, 0.3, 0.5, 2.0],
    ),
}


@pytest.mark.parametrize(("model", "theta"), STRONG.values(), ids=STRONG)
def test_agrees_with_the_vectorised_oracle(model, theta):
    names = ["accumulators", "conditions", "noise", "dt", "time_limit", "clip", "start"]
    settings = {name: getattr(model, name) for name in names}
    n = 6_000
    ours = model.simulate([theta], np.random.default_rng(8), n)[0]
    theirs = vectorised([theta], np.random.default_rng(9), n, **settings)[0]
    assert ours.shape == theirs.shape == (n, len(model.data.columns))
    columns = 1 + model.accumulators
    kinds = np.unique(np.vstack([ours, theirs])[:, 1:], axis=0)
    for kind in kinds:  # each choice, or none, in each condition
        rows = [(x[:, 1:] == kind).all(axis=1) for x in (ours, theirs)]
        k, both = rows[0].sum(), rows[0].sum() + rows[1].sum()
        assert binom.cdf(k, both, 0.5) > LEVEL / 2
        assert binom.sf(k - 1, both, 0.5) > LEVEL / 2
        if kind[: columns - 1].any() and min(rows[0].sum(), rows[1].sum()) > 50:
            assert ks_2samp(ours[rows[0], 0], theirs[rows[1], 0]).pvalue > LEVEL


def test_agrees_with_the_plain_loop():
    theta = [3.0, 2.0, 1.0, 0.5, 0.2, 4.0, 1.2, 0.2, 1.0, 3.0]
    model = LCA(dt=0.02, noise=0.8)
    ours = model.simulate([theta], np.random.default_rng(10), 20_000)[0]
    theirs = loop(theta, np.random.default_rng(11), 2_000, noise=0.8, dt=0.02)
    assert ks_2samp(ours[:, 0], theirs[:, 0]).pvalue > LEVEL
    for column in range(1, 5):
        k = [ours[:, column].sum(), theirs[:, column].sum()]
        p = sum(k) / 22_000
        error = math.sqrt(p * (1 - p) * (1 / 20_000 + 1 / 2_000))
        assert abs(k[0] / 20_000 - k[1] / 2_000) < 4.5 * error


def test_oracles_and_prior_predictive_agree_over_the_whole_prior():
    theta = MODEL.prior.sample(3_000, np.random.default_rng(12))
    ours = MODEL.simulate(theta, np.random.default_rng(13), 1)[:, 0]
    theirs = vectorised(theta, np.random.default_rng(14), 1)[:, 0]
    # Pairs share theta, hence a paired test.
    for column in range(5):
        gap = ours[:, column] - theirs[:, column]
        assert abs(gap.mean()) < 4.5 * gap.std() / math.sqrt(len(gap))


# Without noise to speak of, every trial is known.


def arrival(drift, threshold, leak, inhibition, dt, steps):
    x = np.zeros(len(drift))
    for step in range(1, steps + 1):
        others = x.sum() - x
        x = np.maximum(x + (drift - leak * x - inhibition * others) * dt, 0)
        if x.max() >= threshold:
            return step, int(x.argmax())
    return None


@pytest.mark.parametrize("b", [1, 3, 90])
def test_every_trial_runs_with_the_parameters_of_its_row_and_condition(b):
    rng = np.random.default_rng(15)
    model = LCA(conditions=3, noise=1e-9, dt=0.01, time_limit=1.0)
    theta = model.prior.sample(b, rng)
    theta[:, -2:] *= 10
    x = model.simulate(theta, rng, 11)
    silent = 0
    for row, trials in zip(theta, x, strict=True):
        for rt, *choices in trials:
            c = choices[3:].index(1)
            known = arrival(row[3 * c : 3 * c + 3], row[-4], row[-2], row[-1], 0.01, 100)
            if known is None:
                silent += 1
                assert [rt, *choices[:3]] == [1.0, 0, 0, 0]
            else:
                assert rt == pytest.approx(row[-3] + known[0] * 0.01)
                assert choices[:3] == [i == known[1] for i in range(3)]
    assert b < 90 or 0.1 < silent / (b * 11) < 0.9


def test_time_limit_counts_its_last_step_and_leaves_t_0_out():
    theta = [[1.0, 0.5, 1.0 - 1e-6, 0.4, 0.0, 0.0]]
    just, short = (
        LCA(accumulators=2, conditions=1, noise=1e-9, dt=0.1, time_limit=limit)
        for limit in (1.0, 0.99)
    )
    rng = np.random.default_rng(16)
    np.testing.assert_allclose(just.simulate(theta, rng, 4)[0], repeated([1.4, 1, 0], 4))
    np.testing.assert_allclose(short.simulate(theta, rng, 4)[0], repeated([0.99, 0, 0], 4))


def test_three_steps_of_a_tenth_are_three_tenths():
    model = LCA(accumulators=2, conditions=1, noise=1e-9, dt=0.1, time_limit=0.3)
    x = model.simulate([[10.0, 0, 2.9, 0.0, 0.0, 0.0]], np.random.default_rng(17), 1)
    np.testing.assert_allclose(x[0, 0], [0.3, 1, 0])


def test_start_is_a_share_of_the_threshold():
    model = LCA(accumulators=2, conditions=1, noise=1e-9, dt=0.01, start=0.6)
    x = model.simulate([[2.0, 1.0, 1.0, 0.1, 0.0, 0.0]], np.random.default_rng(18), 1)
    assert 0.1 + 0.2 - 1e-9 < x[0, 0, 0] < 0.1 + 0.21 + 1e-9


def test_extreme_parameters_end_and_stay_finite():
    rows = [
        [0, 0, 0, 0, 0, 0, 1e300, 0, 0, 0],
        [-1e300, -1e300, -1e300, 1e300, 1e300, 1e300, 1e300, 0, 1000, 1000],
        [-5, -5, -5, -1, -2, -3, 1, 1e10, -1000, 0],
        [-5, -5, -5, 3, 2, 3, 1, 0, -1000, 1000],
        [1, 2, 3, 1, 2, 3, 0, 0, 0, 0],
        [1, 2, 3, 1, 2, 3, 5e-324, 0, 1000, 1000],
    ]
    for clip in (True, False):
        x = LCA(clip=clip).simulate(rows, np.random.default_rng(19), 40)
        assert np.isfinite(x).all()
        assert (x[..., 1:4].sum(axis=-1) <= 1).all()
        assert (x[0, :, 0] == 5).all()
        np.testing.assert_allclose(x[4, :, 0], 0.001, atol=0.02)


def test_prior_draws_give_data_within_their_bounds():
    theta = MODEL.prior.sample(300, np.random.default_rng(20))
    x = MODEL.simulate(theta, np.random.default_rng(21), 20)
    answered = x[..., 1:4].sum(axis=-1)
    t = x[..., 0] - theta[:, [-3]]
    assert set(np.unique(x[..., 1:])) == {0.0, 1.0}
    assert (x[answered == 0, 0] == 5).all()
    assert (t[answered == 1] > 0.0009).all()
    assert (t[answered == 1] < 5.0001).all()
    np.testing.assert_allclose(t[answered == 1] % 0.001 % 0.001, 0.0005, atol=0.000501)
    assert answered.mean() > 0.99


# Trials and their conditions.


def test_options_are_exchangeable():
    theta = np.array([2.0, 1.2, 0.4, 1.2, 0.2, 0.5, 1.5])
    model = LCA(conditions=1, dt=0.005)
    order = [2, 0, 1]
    x = model.simulate([theta], np.random.default_rng(22), 20_000)[0]
    y = model.simulate([[*theta[order], *theta[3:]]], np.random.default_rng(23), 20_000)[0]
    assert ks_2samp(x[:, 0], y[:, 0]).pvalue > LEVEL
    for i, j in enumerate(order):
        p = (x[:, 1 + j].mean() + y[:, 1 + i].mean()) / 2
        error = math.sqrt(2 * p * (1 - p) / 20_000)
        assert abs(x[:, 1 + j].mean() - y[:, 1 + i].mean()) < 4.5 * error


def test_equal_options_are_chosen_equally_also_when_several_arrive_at_once():
    model = LCA(accumulators=5, conditions=1, dt=1.0, time_limit=9.0, noise=3.0)
    x = model.simulate([[1.0] * 5 + [0.5, 0, 0, 0]], np.random.default_rng(24), 40_000)[0]
    assert chisquare(x[:, 1:].sum(axis=0)).pvalue > LEVEL
    # All but one trial in ten thousand end at once, and of those that arrive the largest wins.
    x = model.simulate([[1.0, 9, 1, 1, 1, 0.5, 0, 0, 0]], np.random.default_rng(25), 40_000)[0]
    p = quad(lambda z: norm.pdf(z) * norm.cdf(z + 8 / 3) ** 4, -8, 8)[0]
    assert abs(x[:, 2].mean() - p) < 4.5 * math.sqrt(p * (1 - p) / 40_000) + 1e-4


@pytest.mark.parametrize("conditions", [2, 3])
def test_conditions_are_drawn_fairly_and_independently(conditions):
    model = LCA(conditions=conditions, dt=0.1)
    theta = model.prior.sample(100, np.random.default_rng(26))
    x = model.simulate(theta, np.random.default_rng(27), 300)
    if conditions == 2:
        label = x[..., -1]
    else:
        assert (x[..., -3:].sum(axis=-1) == 1).all()
        label = x[..., -3:].argmax(axis=-1)
    counts = [(label == c).sum() for c in range(conditions)]
    assert chisquare(counts).pvalue > LEVEL
    first = (label == 0).astype(float)
    p = 1 / conditions
    # A balanced design would have no variance between datasets.
    variance = 300 * p * (1 - p)
    assert abs(first.sum(axis=1).var() / variance - 1) < 4.5 * math.sqrt(2 / 99)
    assert abs(np.corrcoef(first.ravel()[1:], first.ravel()[:-1])[0, 1]) < 4.5 / math.sqrt(30_000)


def test_trials_of_a_dataset_are_independent():
    theta = [[2.0, 1.0, 0.5, 2.0, 1.0, 0.5, 1.0, 0.2, 0.2, 0.2]]
    x = LCA(dt=0.01).simulate(theta, np.random.default_rng(28), 40_000)[0]
    for lag in (1, 2, 63, 64, 65):
        assert abs(np.corrcoef(x[lag:, 0], x[:-lag, 0])[0, 1]) < 4.5 / math.sqrt(40_000)
    # Slow trials end late and would pile up at the end if the order were that of ending.
    halves = [half[:, 0] for half in np.split(x, 2)]
    assert ks_2samp(*halves).pvalue > LEVEL
    assert ks_2samp(x[:300, 0], x[-300:, 0]).pvalue > LEVEL


def test_same_seed_same_data_and_each_call_moves_the_generator():
    theta = MODEL.prior.sample(5, np.random.default_rng(29))
    rng = np.random.default_rng(30)
    first, second = (MODEL.simulate(theta, rng, 70) for _ in range(2))
    np.testing.assert_array_equal(first, MODEL.simulate(theta, np.random.default_rng(30), 70))
    assert (first != second).any()


@pytest.mark.parametrize(
    ("settings", "faster"),
    [
        ({"noise": 2.0}, True),
        ({"start": 0.5}, True),
        ({"clip": False}, False),
        ({"dt": 0.05}, False),
        ({"time_limit": 0.5}, True),
    ],
)
def test_each_option_moves_the_mean_response_time_as_it_should(settings, faster):
    theta = [[1.0, 0.5, 0.3] * 2 + [1.5, 0.2, 0.5, 0.0]]
    usual, other = (
        LCA(**({"dt": 0.005} | extra)).simulate(theta, np.random.default_rng(31), 4_000)[0, :, 0]
        for extra in ({}, settings)
    )
    error = math.sqrt((usual.var() + other.var()) / 4_000)
    assert (usual.mean() - other.mean()) * (1 if faster else -1) > 5 * error


# Settings.


def test_defaults_are_the_published_ones():
    assert MODEL.prior.names == (
        *(f"drift_{c}_{i}" for c in (1, 2) for i in (1, 2, 3)),
        *("threshold", "t_0", "leak", "inhibition"),
    )
    assert MODEL.data.columns == ("rt", "choice_1", "choice_2", "choice_3", "condition")
    assert MODEL.data.n_range == (200, 300)
    assert MODEL.data.nested
    draws = MODEL.prior.sample(40_000, np.random.default_rng(32))
    rng = np.random.default_rng(33)
    direct = [rng.gamma(2, 1 / 1.2, 40_000) for _ in range(6)]
    direct += [rng.gamma(10, 1 / 6, 40_000), rng.gamma(1.5, 1 / 5, 40_000)]
    direct += [rng.beta(1, 5, 40_000) for _ in range(2)]
    for column, drawn in zip(draws.T, direct, strict=True):
        assert ks_2samp(column, drawn).pvalue > LEVEL


def test_settings_are_stored_under_their_own_names_and_may_come_from_json():
    settings = {
        "accumulators": 4,
        "conditions": 3,
        "n": [5, 9],
        "noise": 0.1,
        "dt": 0.01,
        "time_limit": 2,
        "clip": False,
        "start": 0.1,
        "drift": [3, 2],
        "threshold": [5.0, 4.0],
        "t_0": [2.0, 8.0],
        "leak": [2.0, 2.0],
        "inhibition": [3.0, 1.0],
    }
    model = LCA(**settings)
    for name, value in settings.items():
        assert getattr(model, name) == (tuple(value) if isinstance(value, list) else value)
    assert model == LCA(**{k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()})
    assert hash(model) == hash(LCA(**settings))
    assert model.data.columns[5:] == ("condition_1", "condition_2", "condition_3")
    assert LCA(conditions=1).data.columns == ("rt", "choice_1", "choice_2", "choice_3")
    mean = model.prior.sample(20_000, np.random.default_rng(34)).mean(axis=0)
    np.testing.assert_allclose(mean, [1.5] * 12 + [1.25, 0.25, 0.5, 0.75], rtol=0.03)


@pytest.mark.parametrize("model", [MODEL, ODD], ids=["default", "unusual"])
def test_observed_is_fixed_and_plausible_under_its_truth(model):
    x, theta = model.observed, model.observed_theta
    assert x.shape == (model.data.n_range[0], len(model.data.columns))
    assert np.isfinite(model.prior.log_prob(theta))
    again = model.simulate(repeated(theta, 400), np.random.default_rng(35), len(x))
    for column in range(1 + model.accumulators):
        spread = again[..., column].mean(axis=1)
        assert abs(x[:, column].mean() - spread.mean()) <= 4 * spread.std()


def test_observed_never_changes():
    np.testing.assert_array_equal(MODEL.observed, LCA().observed)
    np.testing.assert_array_equal(MODEL.observed_theta, LCA().observed_theta)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"accumulators": 1}, BadValue, "accumulators as an integer >= 2; got 1"),
        ({"conditions": 0}, BadValue, "conditions as an integer >= 1; got 0"),
        ({"n": 0}, BadValue, "n as an integer >= 1; got 0"),
        ({"noise": 0}, BadValue, "noise as a finite number > 0; got 0"),
        ({"dt": -0.1}, BadValue, r"dt as a finite number in \(0, 1\]; got -0.1"),
        ({"time_limit": 0.0005}, BadValue, "time_limit as a finite number in .*; got 0.0005"),
        ({"time_limit": 1e7}, BadValue, "time_limit as a finite number in .*; got 1e[+]07"),
        ({"clip": 1}, BadType, "clip as True or False; got 1; pass one of them"),
        ({"start": 1.5}, BadValue, r"start as a finite number in \[0, 1\]; got 1.5"),
        ({"drift": 2.0}, BadType, "drift as two numbers > 0; got 2.0; pass the prior's two"),
        ({"leak": (1, 2, 3)}, BadType, r"leak as two numbers > 0; got \(1, 2, 3\)"),
        ({"t_0": (1.5, 0)}, BadValue, "the second of t_0 as a finite number > 0; got 0"),
        ({"threshold": ("a", 1)}, BadType, "the first of threshold as a finite number > 0"),
        ({"decay": 1.0}, TypeError, "unexpected keyword argument 'decay'"),
    ],
)
def test_bad_settings_are_refused(settings, error, message):
    with pytest.raises(error, match=message):
        LCA(**settings)


GOOD = [1.0] * 6 + [1.5, 0.3, 0.1, 0.1]


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (6, -0.1, "threshold >= 0; got -0.1 in row 0; simulate within that range"),
        (7, -0.1, "t_0 >= 0; got -0.1 in row 0"),
        (8, 1_001, r"leak in \[-1000, 1000\]; got 1001 in row 0"),
        (9, -0.1, r"inhibition in \[0, 1000\]; got -0.1 in row 0"),
        (0, np.nan, "theta without NaN or inf; got nan at row 0 of column 'drift_1_1'"),
    ],
)
def test_bad_parameters_are_refused(place, value, message):
    theta = [*GOOD[:place], value, *GOOD[place + 1 :]]
    with pytest.raises(BadValue, match=message):
        MODEL.simulate([theta], np.random.default_rng(0), 5)


def test_bad_shapes_are_refused():
    with pytest.raises(BadValue, match=r"theta of shape \(b, 10\); got \(1, 7\); pass one row"):
        MODEL.simulate(np.ones((1, 7)), np.random.default_rng(0), 5)
    with pytest.raises(BadValue, match="n as an integer >= 1; got 0"):
        MODEL.simulate([GOOD], np.random.default_rng(0), 0)
