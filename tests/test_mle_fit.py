"""Maximum likelihood of any model: the influenza figures, laws, and what has no maximum."""

import math

import numpy as np
import pytest
import torch
from scipy.special import expit

import sbi_kit as sk
from sbi_kit.checks import BadType, BadValue, UnknownName
from sbi_kit.differences import finite_differences
from sbi_kit.mle import Estimate, Logistic, fit
from simulators.influenza import Influenza

MODEL = Influenza()


def outbreak(theta):
    return MODEL.log_likelihood(theta, MODEL.observed)


def peaks(theta):  # a low one at -3 and a high one at 3
    return np.logaddexp(-((theta[:, 0] + 3) ** 2), 1 - (theta[:, 0] - 3) ** 2)


def counts(rate, shape=1.0):  # of 3 events in 2 units of time, or as many times more
    return shape * (3 * np.log(rate) - 2 * rate)


@pytest.fixture(scope="module")
def influenza():
    return fit(outbreak, [2.0, 0.4, 0.2], prior=MODEL.prior)


def test_influenza_has_the_published_maximum(influenza):
    beta, gamma, phi_inv = influenza.values
    assert beta == pytest.approx(1.7266, abs=1e-4)
    assert gamma == pytest.approx(0.5410, abs=1e-4)
    assert 1 / phi_inv == pytest.approx(11.97, abs=0.01)
    assert influenza.log_likelihood == pytest.approx(-60.835, abs=1e-3)
    assert influenza.names == ("beta", "gamma", "phi_inv")
    assert influenza.converged
    assert influenza.gradients == "differences"


def test_influenza_has_the_errors_of_its_curvature_in_natural_units(influenza):
    def score(theta):
        return finite_differences(lambda x: outbreak(x[None])[0], theta, step=1e-5)

    assert np.abs(score(influenza.values) * influenza.standard_errors).max() < 1e-4
    information = -finite_differences(score, influenza.values, step=1e-3 * influenza.values)
    errors = np.sqrt(np.diag(np.linalg.inv(information)))
    np.testing.assert_allclose(influenza.standard_errors, errors, rtol=1e-3)


def test_influenza_does_not_depend_on_the_start_nor_on_the_prior(influenza):
    for other in (
        fit(outbreak, [1.0, 0.2, 1.0], prior=MODEL.prior, starts=3, seed=5),
        fit(outbreak, [2.0, 0.4, 0.2], names=("beta", "gamma", "phi_inv")),
    ):
        off = np.abs(other.values - influenza.values) / influenza.standard_errors
        assert off.max() < 1e-4
        np.testing.assert_allclose(other.covariance, influenza.covariance, rtol=1e-3)


def test_draws_of_an_estimate_can_stand_beside_those_of_a_posterior(influenza):
    draws = influenza.sample(20_000, seed=1)
    assert draws.shape == (20_000, 3)
    assert np.isfinite(MODEL.prior.log_prob(draws)).all()
    np.testing.assert_allclose(np.median(draws, axis=0), influenza.values, rtol=0.02)
    np.testing.assert_allclose(draws[:, :2].std(axis=0), influenza.standard_errors[:2], rtol=0.03)
    whitened = MODEL.prior.whiten(draws)
    slope = np.linalg.inv(
        finite_differences(MODEL.prior.unwhiten, MODEL.prior.whiten(influenza.values))
    )
    expected = slope @ influenza.covariance @ slope.T
    np.testing.assert_allclose(np.cov(whitened.T), expected, rtol=0.05, atol=2e-3)
    np.testing.assert_array_equal(draws, influenza.sample(20_000, seed=1))
    assert (draws != influenza.sample(20_000, seed=2)).all()


def test_draws_without_a_prior_have_the_covariance():
    covariance = np.array([[4.0, 1.9, 1.0], [1.9, 1.0, 0.3], [1.0, 0.3, 2.0]])
    estimate = Estimate(
        names=("a", "b", "c"),
        values=np.array([1.0, 2.0, 3.0]),
        covariance=covariance,
        log_likelihood=-1.0,
        converged=True,
        gradients="differences",
    )
    draws = estimate.sample(100_000, seed=3)
    np.testing.assert_allclose(draws.mean(axis=0), estimate.values, atol=0.03)
    np.testing.assert_allclose(np.cov(draws.T), covariance, rtol=0.03, atol=0.02)
    for draws, error in ((0, BadValue), (1.5, BadType)):
        with pytest.raises(error, match="draws as an integer >= 1"):
            estimate.sample(draws, seed=1)


def regression():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 2))
    return x, (rng.random(80) < expit(x @ [1.0, -0.5] + 0.3)).astype(float)


def test_autograd_and_differences_find_what_newtons_method_does():
    x, y = regression()
    design = np.column_stack([np.ones(len(x)), x])

    def in_numpy(theta):
        return -np.logaddexp(0, np.where(y > 0, -1, 1) * (theta @ design.T)).sum(axis=1)

    def in_torch(theta):
        linear = theta @ torch.from_numpy(design).T
        return -torch.nn.functional.binary_cross_entropy_with_logits(
            linear, torch.from_numpy(y).expand_as(linear), reduction="none"
        ).sum(1)

    exact = Logistic().fit(x, y).estimate_
    prior = sk.Prior(a=sk.Normal(0, 3), b=sk.TruncatedNormal(0, 5, low=-9), c=sk.Uniform(-4, 4))
    for function, gradients in ((in_numpy, "differences"), (in_torch, "autograd")):
        for bounds in (None, prior):
            found = fit(function, [0.1, 0.0, 0.0], prior=bounds)
            assert found.gradients == gradients
            np.testing.assert_allclose(found.values, exact.values, rtol=1e-6)
            np.testing.assert_allclose(found.covariance, exact.covariance, rtol=1e-4)
            assert found.log_likelihood == pytest.approx(exact.log_likelihood, rel=1e-12)
    forced = fit(lambda theta: -((theta[:, 0] - 2) ** 2), [1.0], gradients="differences")
    assert forced.gradients == "differences"
    assert forced.values[0] == pytest.approx(2)


@pytest.mark.parametrize("unit", [1e-9, 1.0, 1e9])
@pytest.mark.parametrize("shape", [1.0, 1e6])
def test_units_and_amount_of_data_do_not_matter(unit, shape):
    def log_likelihood(theta):
        return counts(theta[:, 0] / unit, shape) - shape * (theta[:, 1] * unit - 2) ** 2

    found = fit(log_likelihood, [unit, 1 / unit])
    np.testing.assert_allclose(found.values, [1.5 * unit, 2 / unit], rtol=1e-6)
    errors = [math.sqrt(1.5**2 / 3 / shape) * unit, math.sqrt(0.5 / shape) / unit]
    np.testing.assert_allclose(found.standard_errors, errors, rtol=1e-4)


def test_more_starts_find_the_higher_peak():
    low = fit(peaks, [-2.5])
    assert low.values[0] == pytest.approx(-3, abs=1e-3)
    one, two = (fit(peaks, [-2.5], starts=8, seed=seed) for seed in (1, 1))
    assert one.values[0] == pytest.approx(3, abs=1e-3)
    assert one.log_likelihood == pytest.approx(1, abs=1e-9)
    assert low.log_likelihood == pytest.approx(0, abs=1e-9)
    np.testing.assert_array_equal(one.values, two.values)
    with_prior = fit(peaks, [-2.5], prior=sk.Prior(place=sk.Normal(0, 3)), starts=8, seed=1)
    assert with_prior.values[0] == pytest.approx(3, abs=1e-3)


def test_only_parameters_of_the_support_are_tried():
    prior = sk.Prior(beta=sk.Uniform(0, 1), gamma=sk.Uniform(0, "beta"))
    tried = []

    def log_likelihood(theta):
        tried.append(theta.copy())
        return -((theta[:, 0] - 0.5) ** 2 + (theta[:, 1] - 0.45) ** 2) / 0.01

    found = fit(log_likelihood, [0.9, 0.1], prior=prior, starts=3, seed=1)
    np.testing.assert_allclose(found.values, [0.5, 0.45], rtol=1e-6)
    np.testing.assert_allclose(found.covariance, np.eye(2) * 0.005, rtol=1e-3, atol=1e-6)
    rows = np.concatenate(tried)
    assert ((rows[:, 0] > 0) & (rows[:, 0] < 1) & (rows[:, 1] > 0)).all()
    assert (rows[:, 1] < rows[:, 0]).all()
    draws = found.sample(1_000, seed=1)
    assert (draws[:, 1] < draws[:, 0]).all()


def test_impossible_parameters_are_stepped_around():
    def in_torch(theta):
        return 3 * torch.log(theta[:, 0]) - 2 * theta[:, 0]

    for function in (lambda theta: counts(theta[:, 0]), in_torch):
        found = fit(function, [30.0])
        assert found.values[0] == pytest.approx(1.5)
        assert found.names == ("theta_1",)


def test_a_start_from_which_nothing_can_be_followed_is_left_out():
    def log_likelihood(theta):
        if (theta < -1).any():
            raise BadValue("theta above -1", "less", "raise it")
        return -((theta[:, 0] - 2) ** 2)

    assert fit(log_likelihood, [1.0], starts=20, seed=1).values[0] == pytest.approx(2)


CHANCE = sk.Prior(chance=sk.Uniform(0, 1))


@pytest.mark.parametrize(
    ("log_likelihood", "settings", "message"),
    [
        (
            lambda t: -(t[:, 0] ** 2) + 0 * t[:, 1],
            {},
            "no peak along 'b': it is flat or rises to a",
        ),
        (lambda t: -((t[:, 0] + t[:, 1]) ** 2), {}, "no peak along 'a' and 'b'"),
        (lambda t: -(t[:, 0] ** 2) + t[:, 1] ** 2, {}, "no peak along 'b'"),
        (
            lambda t: -(t[:, 0] ** 2) + np.log1p(t[:, 1] ** 2),
            {},
            "the search stopped 1 standard errors from the maximum; raise iterations or start",
        ),
        (
            lambda t: 20 * np.log(t[:, 0]),
            {"prior": CHANCE, "start": [0.5], "names": None},
            "no peak along 'chance': it is flat or rises to a bound; fix what the data do not",
        ),
    ],
)
def test_what_has_no_maximum_is_said_not_to_have_converged(log_likelihood, settings, message):
    given = {"start": [1.0, 1.0], "names": ("a", "b")} | settings
    with pytest.warns(UserWarning, match=rf"Maximum likelihood did not converge: .*{message}"):
        found = fit(log_likelihood, **given)
    assert not found.converged
    assert np.isnan(found.covariance).all()
    assert "NOT converged" in str(found)
    with pytest.raises(BadValue, match="got one that did not converge; fit again from another"):
        found.sample(10, seed=1)


def test_an_estimate_is_a_table(influenza):
    assert str(influenza).splitlines() == [
        "log-likelihood -60.83501369, converged, derivatives by differences",
        "name         value  standard error",
        "beta       1.72664          0.0416",
        "gamma     0.541046          0.0373",
        "phi_inv  0.0835146          0.0458",
    ]


def edge(theta):
    return np.where(theta[:, 0] > 1, -theta[:, 0], -np.inf)


@pytest.mark.parametrize(
    ("log_likelihood", "start", "settings", "error", "message"),
    [
        (peaks, [np.nan], {}, BadValue, "got nan at column 'theta_1'; start from finite numbers"),
        (peaks, [[1.0]], {}, BadValue, r"start of shape \(d,\); got \(1, 1\); pass one number per"),
        (peaks, ["a"], {}, BadType, r"start of shape \(d,\) holding numbers"),
        (peaks, [1.0], {"names": ("a", "b")}, BadValue, r"start of shape \(2,\); got \(1,\)"),
        (peaks, [1.0], {"names": ("a",), "prior": CHANCE}, BadValue, "got both; leave out names"),
        (peaks, [1.0, 2.0], {"names": ("a", "a")}, BadValue, "distinct names; got a twice"),
        (peaks, [2.0], {"prior": CHANCE}, BadValue, r"chance in \[0, 1\] by .*; got 2.0"),
        (peaks, [1.0], {"starts": 0}, BadValue, "starts as an integer >= 1; got 0"),
        (peaks, [1.0], {"iterations": 0}, BadValue, "iterations as an integer >= 1; got 0"),
        (peaks, [1.0], {"seed": -1}, BadValue, "seed as an integer >= 0; got -1"),
        (peaks, [1.0], {"gradients": "autogard"}, UnknownName, "did you mean 'autograd'"),
        (peaks, [1.0], {"gradients": "autograd"}, BadType, "written in torch, .*; use torch's"),
        (
            lambda t: t[:, 0].detach(),
            [1.0],
            {"gradients": "autograd"},
            BadType,
            "without gradients",
        ),
        (lambda t: t.sum(), [1.0], {}, BadValue, r"log_likelihood of shape \(1,\); got \(\)"),
        (lambda t: ["?"] * len(t), [1.0], {}, BadType, "holding numbers; got list; return one"),
        (
            edge,
            [0.5],
            {"names": ("a",)},
            BadValue,
            "finite log_likelihood at the start; got none at",
        ),
        (
            edge,
            [1.001],
            {"names": ("a",)},
            BadValue,
            "finite around every point .* got none at a = ",
        ),
    ],
)
def test_what_cannot_be_maximised_is_refused(log_likelihood, start, settings, error, message):
    with pytest.raises(error, match=message):
        fit(log_likelihood, start, **settings)
