"""The Lévy flight and the diffusion: noise, passages and options against known truths."""

import json
from dataclasses import fields

import numpy as np
import pytest
from scipy.special import gamma, zeta
from scipy.stats import beta, chisquare, kstest, levy_stable, norm, poisson

from sbi_kit.checks import BadType, BadValue
from sbi_kit.testing import check_simulator
from simulators.levy import DDM, Levy, _draw_stable, _sine, _stable
from tests.oracles.levy import loop, vectorised

FALSE_ALARM = 1e-4
NO_LIMIT = {"max_time": 100.0, "t_0": (0.0, 1.0)}
LONG_PI = np.longdouble("3.14159265358979323846264338327950288")


def draws(alpha, size, seed=0):
    out = np.empty(size)
    _draw_stable(alpha, np.random.default_rng(seed), np.empty(size), np.empty(size), out)
    return out


def transformed(alpha, u, v):
    u, v = (np.array(part, dtype=float) for part in np.broadcast_arrays(np.atleast_1d(u), v))
    out = np.empty_like(u)
    _stable(alpha, u, v, out)
    return out


def decisions(model, theta, n, seed=0):
    """Signed response times of one dataset, (n, columns)."""
    return model.simulate(np.array([theta], dtype=float), np.random.default_rng(seed), n)[0]


def expect_mean(values, truth, *, sds=4.0):
    """The truth is within Monte Carlo error of the mean."""
    error = np.std(values) / np.sqrt(np.size(values))
    assert abs(np.mean(values) - truth) < sds * error, (np.mean(values), truth, error)


def expect_same(one, other):
    """Two samples have one distribution: Kolmogorov-Smirnov, column by column."""
    for mine, theirs in zip(one.T, other.T, strict=True):
        assert kstest(mine, theirs).pvalue > FALSE_ALARM


@pytest.mark.parametrize(
    "model",
    [
        Levy(),
        Levy(n=(5, 9), dt=0.01, max_time=0.5, s_v=1.0, s_z=0.4, s_t=0.3, alpha=(0.5, 0.9)),
        DDM(),
        DDM(n=7, dt=0.01, max_time=1.0, noise_sd=0.1, v=(-0.4, 0.4), a=(0.05, 0.2), s_v=0.1),
    ],
    ids=["levy", "unusual levy", "ddm", "unusual ddm"],
)
def test_keeps_the_simulator_contract(model):
    check_simulator(model, datasets=20)


# The noise


def test_sine_is_the_sine():
    x = np.linspace(0, np.pi, 2_001)
    np.testing.assert_allclose([_sine(value) for value in x], np.sin(x), rtol=5e-16, atol=3e-16)
    small = np.logspace(-300, -1, 100)
    np.testing.assert_allclose([_sine(value) for value in small], np.sin(small), rtol=4e-16)


@pytest.mark.parametrize("alpha", [0.3, 0.9, 1.0, 1 + 1e-9, 1.1, 1.5, 1.9, 2 - 1e-9, 2.0])
def test_stable_numbers_are_the_formula_of_chambers_mallows_and_stuck(alpha):
    rng = np.random.default_rng(0)
    u, v = rng.random(5_000), rng.standard_exponential(5_000)
    angle = LONG_PI * (u.astype(np.longdouble) - 0.5)
    power = 1 / np.longdouble(alpha)
    want = np.sin(alpha * angle) / np.cos(angle) ** power
    want *= (np.cos((1 - np.longdouble(alpha)) * angle) / v) ** (power - 1)
    got = transformed(alpha, u, v)
    np.testing.assert_allclose(got, want.astype(float), rtol=2e-12, atol=1e-15)


@pytest.mark.parametrize("alpha", [0.8, 1.0, 1.1, 1.7, 1.999])
@pytest.mark.parametrize("distance", [2.0**-53, 2.0**-40, 1e-9])
def test_stable_numbers_keep_their_digits_in_the_far_tails(alpha, distance):
    # As e -> 0: |S| = (sin d / V) ^ (1 / alpha) V e ^ (-1 / alpha), to a relative error of e.
    share = np.round(distance * 2**53) / 2**53  # what a generator can return
    d = np.pi * (1 - alpha / 2)
    want = (np.sin(d) / (0.7 * np.pi * share)) ** (1 / alpha) * 0.7
    low, high = transformed(alpha, [share, 1 - share], 0.7)
    cotangent = 1 if alpha < 1.99 else 1 + alpha * np.pi * share / np.tan(d)
    np.testing.assert_allclose([-low, high], want * cotangent, rtol=1e-5)


def test_stable_numbers_at_the_ends_of_the_generators_are_finite():
    for alpha in (0.2, 1.0, 1.5, 2 - 1e-15, 2.0):
        out = transformed(
            alpha, [0.0, 0.5, 1 - 2.0**-53, 0.0, 0.3], [1e-19, 0.0, 45.0, 45.0, 1e-19]
        )
        assert np.isfinite(out).all()
    # The interval is open: u = 0 counts as half of the smallest step.
    assert transformed(1.0, 0.0, 1.0) == pytest.approx(-(2.0**54) / np.pi)
    assert transformed(1.0, 1 - 2.0**-53, 1.0) == pytest.approx(2.0**53 / np.pi)


def test_stable_numbers_pass_smoothly_through_alpha_1_and_2():
    rng = np.random.default_rng(1)
    u, v = rng.random(2_000), rng.standard_exponential(2_000)
    np.testing.assert_allclose(transformed(1.0, u, v), np.tan(np.pi * (u - 0.5)), rtol=1e-9)
    normal = 2 * np.sin(np.pi * (u - 0.5)) * np.sqrt(v)
    np.testing.assert_allclose(transformed(2.0, u, v), normal, rtol=1e-9, atol=1e-14)
    for alpha, step in [(1.0, 1e-9), (1.0, -1e-9), (2.0, -1e-9)]:
        at, near = transformed(alpha, u, v), transformed(alpha + step, u, v)
        np.testing.assert_allclose(near, at, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("alpha", [0.7, 1.0, 1 + 1e-9, 1.1, 1.5, 1.9, 2.0])
def test_stable_draws_have_the_characteristic_function(alpha):
    s = draws(alpha, 200_000, seed=2)
    for t in (0.05, 0.3, 1.0, 2.0, 4.0):
        expect_mean(np.cos(t * s), np.exp(-(t**alpha)), sds=4.5)
        expect_mean(np.sin(t * s), 0.0, sds=4.5)


def test_stable_draws_are_cauchy_normal_and_in_between_what_scipy_integrates():
    assert kstest(draws(1.0, 100_000), "cauchy").pvalue > FALSE_ALARM
    assert kstest(draws(2.0, 100_000), norm(scale=np.sqrt(2)).cdf).pvalue > FALSE_ALARM
    edges = np.array([-20.0, -3.0, -1.0, -0.2, 0.0, 0.5, 2.0, 8.0])
    for alpha in (1.2, 1.7):
        cells = np.diff([0.0, *levy_stable.cdf(edges, alpha, 0.0), 1.0])
        seen = np.bincount(np.searchsorted(edges, draws(alpha, 100_000)), minlength=9)
        assert chisquare(seen, 100_000 * cells).pvalue > FALSE_ALARM


def test_stable_draws_reach_the_tails_as_often_as_the_tail_law_says():
    alpha, size, chunks = 1.1, 1_000_000, 10
    tails = np.array([1e2, 1e3, 1e4, 1e5])
    seen = np.zeros(4, dtype=int)
    for seed in range(chunks):
        s = np.abs(draws(alpha, size, seed))
        seen += [(s > tail).sum() for tail in tails]
    # P(|S| > s) ~ 2 sin(pi alpha / 2) Gamma(alpha) / pi s^-alpha; the next is below 1 %.
    law = 2 * np.sin(np.pi * alpha / 2) * gamma(alpha) / np.pi * tails**-alpha
    second = np.sin(np.pi * alpha) * gamma(2 * alpha) / np.pi * tails ** (-2 * alpha)
    expected = size * chunks * (law - second)
    assert (poisson.cdf(seen, expected) > FALSE_ALARM).all()
    assert (poisson.sf(seen - 1, expected) > FALSE_ALARM).all()


# The passage


def beyond(dt, alpha):
    """How far out the bounds of the walk seem to stand, per unit of c (Spitzer's identity)."""
    # Riemann's zeta by its reflection; E max(S, 0) = Gamma(1 - 1/alpha) / pi.
    s = 1 - 1 / alpha
    reflected = 2**s * np.pi ** (s - 1) * np.sin(np.pi * s / 2) * gamma(1 - s) * zeta(1 - s)
    return -reflected * gamma(s) / np.pi * dt ** (1 / alpha)


def widened(z, a, h):
    """Start and distance of the bounds after each has moved out by h."""
    return (z * a + h) / (a + 2 * h), a + 2 * h


def passage_cdf(v, z, a, terms=500):
    """CDF of signed decision times, negative at the lower bound: Feller's series."""
    k = np.arange(1, terms)[:, None]
    rate = (v**2 + (k * np.pi / a) ** 2) / 2
    lower = 1 - DDM(**NO_LIMIT).probability_upper([[v, z, a, 0]])[0]

    def survivors(t, v, z):  # P(T > t, lower bound)
        weight = np.pi / a**2 * np.exp(-v * a * z) * k * np.sin(k * np.pi * z) / rate
        return (weight * np.exp(-rate * t)).sum(axis=0)

    def cdf(signed):
        t = np.abs(signed)
        return np.where(signed < 0, survivors(t, v, z), 1 - survivors(t, -v, 1 - z))

    assert survivors(np.array([1e-3]), v, z) == pytest.approx(lower, abs=1e-9)
    return cdf


def test_overshoot_of_a_normal_walk_is_the_constant_of_chernoff_and_siegmund():
    assert np.sqrt(0.5) * beyond(1.0, 2.0) == pytest.approx(0.5826, abs=5e-5)


@pytest.mark.parametrize(
    ("v", "z", "a", "s"),
    [(0, 0.5, 1, 1), (2, 0.3, 1.5, 1), (-1, 0.6, 1, 1), (0.5, 0.4, 2, 1), (0.2, 0.4, 0.1, 0.1)],
)
def test_choices_and_decision_times_of_the_diffusion_are_the_closed_forms(v, z, a, s):
    model = DDM(noise_sd=s, **NO_LIMIT)
    x = decisions(model, [v, z, a, 0], 40_000)
    shift = 0.5826 * s * np.sqrt(model.dt)
    theta = [[v, *widened(z, a, shift), 0]]
    expect_mean(x > 0, model.probability_upper(theta)[0])
    # What the shifted bounds leave out is the overshoot's variance, dt s^2 / 4, of v = 0.
    expect_mean(np.abs(x), model.mean_decision_time(theta)[0] + (model.dt / 4 if v == 0 else 0))


@pytest.mark.parametrize(("v", "z", "a"), [(0, 0.5, 1), (1.5, 0.3, 1.2), (-2, 0.35, 0.8)])
def test_decision_times_of_the_diffusion_have_the_distribution_of_feller(v, z, a):
    model = DDM(dt=2e-4, **NO_LIMIT)
    x = decisions(model, [v, z, a, 0], 12_000)
    law = passage_cdf(v, *widened(z, a, 0.5826 * np.sqrt(model.dt)))
    assert kstest(x[:, 0], law).pvalue > FALSE_ALARM


@pytest.mark.parametrize(
    ("alpha", "z", "dt"),
    [(0.5, 0.5, 1e-3), (1.2, 0.3, 1e-3), (1.2, 0.3, 2.5e-4), (1.5, 0.5, 2.5e-4), (1.8, 0.6, 1e-3)],
)
def test_stable_walk_without_drift_leaves_an_interval_as_getoor_and_rogozin_say(alpha, z, dt):
    model = Levy(dt=dt, alpha=(0.5, 2.0), noise_scale=0.6, **NO_LIMIT)
    x = decisions(model, [0, 0, z, 0.5, 0, alpha], 8_000)
    shift = 0.6 * beyond(dt, alpha) if alpha > 1 else 0.0
    z, a = widened(z, 0.5, shift)
    # Getoor (1961, Trans. AMS 101:75) and Rogozin (1972, Theory Probab. Appl. 17:332).
    mean = (a**2 * z * (1 - z)) ** (alpha / 2) / 0.6**alpha / gamma(1 + alpha)
    expect_mean(np.abs(x), mean)
    expect_mean(x > 0, beta(alpha / 2, alpha / 2).cdf(z))


@pytest.mark.parametrize("alpha", [1.2, 1.6])
def test_half_the_step_leaves_the_response_times_as_they_are(alpha):
    theta = [1.0, -0.5, 0.4, 2.0, 0.5, alpha]
    expect_same(
        decisions(Levy(dt=0.001), theta, 2_500, seed=1),
        decisions(Levy(dt=0.0005), theta, 2_500, seed=2),
    )


def test_a_trial_is_the_running_sum_of_its_normals():
    model = DDM(noise_sd=0.8, max_time=1.0)
    v, z, a, t_0 = 1.3, 0.4, 1.2, 0.35
    x = decisions(model, [v, z, a, t_0], 50, seed=3)[:, 0]
    steps = 0
    noise = np.random.default_rng(3).standard_normal(100_000)
    for rt in x:
        k = round((abs(rt) - t_0) / model.dt)
        path = a * z + np.cumsum(v * 0.001 + 0.8 * np.sqrt(0.001) * noise[steps : steps + k])
        assert ((path[:-1] > 0) & (path[:-1] < a)).all()
        assert k == 1_000 or not 0 < path[-1] < a
        assert (path[-1] > 0) == (rt > 0)
        steps += k


@pytest.mark.parametrize("alpha", [1.0, 1.3, 1.7, 2.0])
def test_mirrored_drifts_and_starts_mirror_the_choices(alpha):
    one = decisions(Levy(max_time=60.0), [1.0, -2.0, 0.3, 1.5, 0.4, alpha], 3_000, seed=4)
    other = decisions(Levy(max_time=60.0), [-1.0, 2.0, 0.7, 1.5, 0.4, alpha], 3_000, seed=5)
    expect_same(one, -other)


def test_a_levy_flight_with_alpha_2_is_the_diffusion():
    flight = decisions(Levy(), [1.0, 1.0, 0.4, 1.5, 0.3, 2.0], 500, seed=6)
    diffusion = decisions(DDM(), [1.0, 0.4, 1.5, 0.3], 1_000, seed=6)
    np.testing.assert_array_equal(flight.ravel(), diffusion.ravel())
    near = decisions(Levy(), [1.0, 1.0, 0.4, 1.5, 0.3, 2 - 1e-12], 4_000, seed=7)
    at = decisions(Levy(), [1.0, 1.0, 0.4, 1.5, 0.3, 2.0], 4_000, seed=8)
    expect_same(near, at)


def test_each_condition_has_its_own_drift_and_its_own_trials():
    x = decisions(Levy(), [3.0, -3.0, 0.5, 1.0, 0.3, 1.6], 20_000)
    assert (x > 0).mean(axis=0) == pytest.approx([0.93, 0.07], abs=0.03)
    assert abs(np.corrcoef(x.T)[0, 1]) < 4 / np.sqrt(20_000)
    assert abs(np.corrcoef(x[1:, 0], x[:-1, 0])[0, 1]) < 4 / np.sqrt(20_000)


def test_scaling_drift_bounds_and_noise_together_changes_nothing():
    flight = decisions(Levy(noise_scale=0.5), [1.0, -2.0, 0.4, 1.5, 0.3, 1.4], 200)
    scaled = decisions(Levy(noise_scale=2.0), [4.0, -8.0, 0.4, 6.0, 0.3, 1.4], 200)
    np.testing.assert_array_equal(flight, scaled)
    half = decisions(DDM(noise_sd=0.5), [1.0, 0.4, 1.5, 0.3], 200)
    np.testing.assert_array_equal(half, decisions(DDM(), [2.0, 0.4, 3.0, 0.3], 200))


@pytest.mark.parametrize("model", [Levy(), DDM()], ids=["levy", "ddm"])
def test_agrees_with_a_vectorised_and_a_plain_implementation(model):
    rng = np.random.default_rng(9)
    theta = model.prior.sample(4, rng)
    x, numpys = model.simulate(theta, rng, 800), vectorised(theta, rng, 800)
    assert numpys.shape == x.shape
    for mine, theirs in zip(x, numpys, strict=True):
        expect_same(mine, theirs)
    theta = np.median(theta, axis=0)
    expect_same(decisions(model, theta, 3_000), loop(theta, rng, 150))


# The options


@pytest.mark.parametrize("setting", ["s_v", "s_z", "s_t"])
@pytest.mark.parametrize("model", [Levy, DDM])
def test_variability_between_trials_is_a_mixture_of_trials_without(model, setting):
    rng, n = np.random.default_rng(10), 3_000
    theta = [1.0, -1.0, 0.4, 0.9, 0.5, 1.6] if model is Levy else [1.0, 0.4, 0.9, 0.5]
    rows = np.tile(theta, (n, 1))
    if setting == "s_v":
        width = 3.0
        rows[:, : len(theta) // 3] += width * rng.standard_normal((n, len(theta) // 3))
    else:
        width = {"s_z": 0.7, "s_t": 0.5}[setting]
        column = model().prior.names.index({"s_z": "z_r", "s_t": "t_0"}[setting])
        rows[:, column] += width * rng.uniform(-0.5, 0.5, n)
    mixture = model().simulate(rows, rng, 1)[:, 0]
    x = decisions(model(z_r=(0.36, 0.64), **{setting: width}), theta, n, seed=11)
    expect_same(x, mixture)
    base = decisions(model(), theta, n, seed=12)
    assert min(kstest(x[:, i], base[:, i]).pvalue for i in range(x.shape[1])) < 1e-6


def test_variability_agrees_with_the_vectorised_implementation():
    options = {"s_v": 1.5, "s_z": 0.5, "s_t": 0.4, "dt": 0.002, "max_time": 1.0}
    theta = np.array([[1.5, 0.4, 1.2, 0.5]])
    x = DDM(**options).simulate(theta, np.random.default_rng(13), 8_000)
    expect_same(x[0], vectorised(theta, np.random.default_rng(14), 8_000, **options)[0])


@pytest.mark.parametrize("model", [Levy, DDM])
def test_no_variability_is_the_base_model(model):
    theta = [1.0, -1.0, 0.4, 0.9, 0.5, 1.6] if model is Levy else [1.0, 0.4, 0.9, 0.5]
    np.testing.assert_array_equal(
        decisions(model(s_v=0, s_z=0, s_t=0), theta, 50), decisions(model(), theta, 50)
    )


@pytest.mark.parametrize("alpha", [1.5, 2.0])
def test_trials_cut_off_are_positive_and_last_the_limit(alpha):
    model = Levy(dt=0.01, max_time=0.05)
    x = decisions(model, [0, -6, 0.5, 1e6, 0.3, alpha], 50)
    np.testing.assert_allclose(x, 0.35, rtol=1e-12)
    cut = decisions(Levy(max_time=0.2), [0.5, -0.5, 0.5, 1.5, 0.3, alpha], 4_000)
    free = decisions(Levy(max_time=60.0), [0.5, -0.5, 0.5, 1.5, 0.3, alpha], 4_000)
    assert np.abs(cut).max() <= 0.5 + 1e-12
    late = np.abs(free) > 0.5 + 1e-9
    expect_same(cut, np.where(late, 0.5, free))


def test_response_times_count_whole_steps_from_the_non_decision_time():
    x = decisions(Levy(dt=0.01), [1, -1, 0.5, 1, 0.37, 1.4], 500)
    steps = (np.abs(x) - 0.37) / 0.01
    np.testing.assert_allclose(steps, steps.round(), atol=1e-9)
    assert steps.min() == pytest.approx(1)  # trials start inside, so they take a step
    far = decisions(DDM(), [1e9, 0.5, 1, 0], 3)
    np.testing.assert_allclose(far, 0.001)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 1.0000001, 2.0])
def test_extreme_parameters_end_and_are_finite(alpha):
    model = Levy(dt=0.01, max_time=0.5)
    theta = [
        (v, -v, z, a, t_0, alpha)
        for v in (0.0, 1e6, 1e300)
        for z in (1e-6, 0.5, 1 - 1e-6)
        for a in (1e-6, 3.0, 1e300)
        for t_0 in (0.0, 1e3)
    ]
    x = model.simulate(np.array(theta), np.random.default_rng(15), 20)
    assert np.isfinite(x).all()
    assert (np.abs(x) >= 0.01 * (1 - 1e-9)).all()


# The closed forms


def test_closed_forms_hold_their_digits_at_every_drift():
    model = DDM(noise_sd=0.9)
    v = np.array([0.3, 1.0, 20.0, 300.0])
    for z in (0.1, 0.5, 0.9):
        w = 2 * v / 0.81
        theta = np.column_stack([v, *np.broadcast_arrays(z, 1.5, 0.3, v)[:3]])
        upper = np.expm1(-w * z * 1.5) / np.expm1(-w * 1.5)
        np.testing.assert_allclose(model.probability_upper(theta), upper, rtol=1e-12)
        np.testing.assert_allclose(
            model.mean_decision_time(theta), 1.5 * (upper - z) / v, rtol=1e-12
        )
        mirrored = theta * [-1, 1, 1, 1] + [0, 1 - 2 * z, 0, 0]
        np.testing.assert_allclose(model.probability_upper(mirrored), 1 - upper, atol=1e-15)
        np.testing.assert_allclose(
            model.mean_decision_time(mirrored), model.mean_decision_time(theta), rtol=1e-9
        )
    assert model.probability_upper([[-100, 0.5, 1.5, 0]])[0] == pytest.approx(
        np.exp(-2 * 100 * 0.75 / 0.81), rel=1e-12
    )


@pytest.mark.parametrize("z", [0.2, 0.5, 0.7])
def test_closed_forms_are_smooth_where_the_drift_vanishes(z):
    model = DDM()
    v = np.array([-1e-3, -4e-4, -2.6e-4, -1e-5, -1e-300, 0, 1e-12, 2.4e-4, 2.6e-4, 1e-3])
    theta = np.column_stack([v, *np.broadcast_arrays(z, 2.0, 0.3, v)[:3]])
    k = 4 * v
    np.testing.assert_allclose(
        model.probability_upper(theta),
        z + k * z * (1 - z) / 2 + k**2 * z * (1 - z) * (1 - 2 * z) / 12,
        atol=1e-9,
    )
    time = model.mean_decision_time(theta)
    assert time[5] == pytest.approx(4 * z * (1 - z), rel=1e-15)
    slope = 8 * z * (1 - z) * (1 / 2 + k * (1 - 2 * z) / 12 - k**2 * z * (1 - z) / 24)
    np.testing.assert_allclose(time, slope, rtol=1e-9)


# Settings, data, doors


@pytest.mark.parametrize("model", [Levy(), DDM()], ids=["levy", "ddm"])
def test_the_same_seed_gives_the_same_data(model):
    theta = model.prior.sample(3, np.random.default_rng(16))
    one, again, other = (
        model.simulate(theta, np.random.default_rng(seed), 20) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, again)
    assert not np.isin(one, other).all()
    frozen = np.asfortranarray(theta)
    frozen.setflags(write=False)
    np.testing.assert_array_equal(model.simulate(frozen, np.random.default_rng(1), 20), one)


@pytest.mark.parametrize("model", [Levy, DDM])
def test_observed_is_fixed_readable_and_plausible_under_its_truth(model):
    one = model()
    columns = len(one.data.columns)
    assert one.observed.shape == (100, columns)
    np.testing.assert_array_equal(one.observed, model().observed)
    np.testing.assert_array_equal(one.observed_theta, model().observed_theta)
    assert np.isfinite(one.prior.log_prob(one.observed_theta))
    expect_same(one.observed, decisions(one, one.observed_theta, 5_000))
    assert model(n=7).observed.shape == (7, columns)


def test_priors_are_the_published_ones():
    low = {"v_1": 0, "v_2": -6, "z_r": 0.3, "a": 0.6, "t_0": 0.3, "alpha": 1}
    high = {"v_1": 6, "v_2": 0, "z_r": 0.7, "a": 3, "t_0": 1, "alpha": 2}
    draws = Levy().prior.sample(4_000, np.random.default_rng(17))
    assert Levy().prior.names == tuple(low)
    np.testing.assert_allclose(draws.min(axis=0), list(low.values()), atol=0.02)
    np.testing.assert_allclose(draws.max(axis=0), list(high.values()), atol=0.02)
    draws = DDM().prior.sample(4_000, np.random.default_rng(18))
    np.testing.assert_allclose(draws.min(axis=0), [-4, 0.3, 0.6, 0.3], atol=0.02)
    np.testing.assert_allclose(draws.max(axis=0), [4, 0.7, 3, 1], atol=0.02)


@pytest.mark.parametrize(
    "model",
    [
        Levy(n=(5, 9), dt=0.002, max_time=2, noise_scale=1, s_v=0.1, s_z=0.2, s_t=0.3),
        Levy(v_1=(1, 2), v_2=(3, 4), z_r=(0.4, 0.5), a=(1, 2), t_0=(0, 1), alpha=(1.5, 1.6)),
        DDM(n=5, dt=0.002, max_time=2, noise_sd=0.1, s_v=0.1, s_z=0.2, s_t=0.3, v=(1, 2)),
        DDM(z_r=(0.4, 0.5), a=(1, 2), t_0=(0, 1)),
    ],
)
def test_settings_come_back_from_json(model):
    settings = {field.name: getattr(model, field.name) for field in fields(model)}
    settings = json.loads(json.dumps(settings))
    assert type(model)(**settings) == model
    assert all(
        marginal.low == getattr(model, name)[0] and marginal.high == getattr(model, name)[1]
        for name, marginal in model.prior.marginals.items()
    )


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"n": 0}, BadValue, "n as an integer >= 1; got 0"),
        ({"dt": 0.0}, BadValue, "dt as a finite number > 0; got 0"),
        ({"dt": "1"}, BadType, "dt as a finite number > 0; got '1'"),
        ({"max_time": 1e-4}, BadValue, r"max_time as a finite number in \[0.001, 1e\+06\]"),
        ({"max_time": np.inf}, BadValue, "max_time as a finite number in .*; got inf"),
        ({"s_v": -1.0}, BadValue, "s_v as a finite number >= 0; got -1"),
        ({"s_t": -1.0}, BadValue, "s_t as a finite number >= 0; got -1"),
        ({"s_t": 0.7}, BadValue, "lowest t_0 as a finite number >= 0.35; got 0.3"),
        ({"s_z": 1.1}, BadValue, r"s_z as a finite number in \[0, 1\]; got 1.1"),
        ({"s_z": 0.7}, BadValue, r"lowest z_r as a finite number in \[0.35, 0.65\]; got 0.3"),
        ({"z_r": (0.0, 0.5)}, BadValue, r"lowest z_r .* in \[1e-06, 0.999999\]; got 0"),
        ({"z_r": (0.5, 1.0)}, BadValue, r"highest z_r .* in \(0.5, 0.999999\]; got 1"),
        ({"a": (0, 1)}, BadValue, "lowest a as a finite number >= 1e-06; got 0"),
        ({"a": (2, 1)}, BadValue, "highest a as a finite number > 2; got 1"),
        ({"a": 1.0}, BadType, r"a as \(lowest, highest\); got 1.0; pass two numbers"),
        ({"a": (1, 2, 3)}, BadType, r"a as \(lowest, highest\); got \(1, 2, 3\)"),
        ({"t_0": ("1", 2)}, BadType, "lowest t_0 as a finite number >= 0; got '1'"),
        ({"sv": 1.0}, TypeError, "unexpected keyword argument 'sv'"),
    ],
)
@pytest.mark.parametrize("model", [Levy, DDM])
def test_bad_settings_are_refused(model, settings, error, message):
    with pytest.raises(error, match=message):
        model(**settings)


@pytest.mark.parametrize(
    ("model", "settings", "message"),
    [
        (Levy, {"noise_scale": 0}, r"noise_scale as a finite number in \[1e-06, 1e\+06\]; got 0"),
        (Levy, {"alpha": (0.0, 2.0)}, r"lowest alpha as a finite number in \[0.2, 2\]; got 0"),
        (Levy, {"alpha": (1.0, 2.1)}, r"highest alpha as a finite number in \(1, 2\]; got 2.1"),
        (DDM, {"noise_sd": -1}, "noise_sd as a finite number in .* got -1"),
        (DDM, {"v": (1, 1)}, "highest v as a finite number > 1; got 1"),
    ],
)
def test_bad_settings_of_one_model_are_refused(model, settings, message):
    with pytest.raises(BadValue, match=message):
        model(**settings)


GOOD = {"v_1": 1.0, "v_2": -1.0, "z_r": 0.5, "a": 1.0, "t_0": 0.3, "alpha": 1.5}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"alpha": 2.0001}, r"alpha in \[0.2, 2\]; got 2.0001 in row 0"),
        ({"alpha": 0.0}, r"alpha in \[0.2, 2\]; got 0 in row 0"),
        ({"z_r": 0.0}, r"z_r in \[0.1, 0.9\]; got 0 in row 0"),
        ({"z_r": 0.95}, r"z_r in \[0.1, 0.9\]; got 0.95 in row 0"),
        ({"a": -1.0}, "a >= 1e-06; got -1 in row 0"),
        ({"t_0": 0.05}, "t_0 >= 0.1; got 0.05 in row 0"),
        ({"v_2": np.nan}, "got nan at row 0 of column 'v_2'"),
    ],
)
def test_bad_parameters_are_refused(change, message):
    theta = [list((GOOD | change).values())]
    with pytest.raises(BadValue, match=message):
        Levy(s_z=0.2, s_t=0.2).simulate(theta, np.random.default_rng(0), 5)


def test_other_bad_calls_are_refused():
    with pytest.raises(
        BadValue, match=r"theta of shape \(b, 4\); got \(1, 6\); .*\(v, z_r, a, t_0"
    ):
        DDM().simulate([list(GOOD.values())], np.random.default_rng(0), 5)
    with pytest.raises(BadValue, match="n as an integer >= 1; got 0"):
        DDM().simulate([[1, 0.5, 1, 0.3]], np.random.default_rng(0), 0)
    for model in (DDM(s_v=1.0), DDM(s_z=0.1)):
        for closed_form in (model.probability_upper, model.mean_decision_time):
            with pytest.raises(BadValue, match="s_v = s_z = 0 for a closed form; got s_v = "):
                closed_form([[1, 0.5, 1, 0.3]])
    with pytest.raises(BadValue, match="a >= 1e-06; got 0 in row 0"):
        DDM(s_t=0.2).mean_decision_time([[1, 0.5, 0, 0.3]])
