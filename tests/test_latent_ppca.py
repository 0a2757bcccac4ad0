import itertools

import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.decomposition import PCA as PeerPCA  # noqa: N811

from sbi_kit.checks import BadType, BadValue, UnknownName
from sbi_kit.latent import PPCA, PPCAClassifier, compare_components
from sbi_kit.latent.factors import Factors, closed_form
from sbi_kit.latent.ppca_em import em_complete, em_missing
from sbi_kit.latent.spectrum import spectrum

pytestmark = pytest.mark.filterwarnings("ignore:Columns that vary")

IRIS, DIGITS = load_iris().data, load_digits().data
WEIGHTS = np.array([[2.0, 0], [1, 1], [0, -1], [-1, 0.5], [0.5, 0.5], [1, 0]])
MEAN, NOISE = np.arange(6.0), 0.25


def standardised(x):
    return (x - x.mean(axis=0)) / x.std(axis=0)


def known(rows=500, seed=0):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(rows, 2))
    return z, z @ WEIGHTS.T + MEAN + np.sqrt(NOISE) * rng.normal(size=(rows, 6))


def holes(x, share, seed=0):
    """Missing at random; rows of which nothing is left are left out."""
    missing = np.random.RandomState(seed).rand(*x.shape) < share
    kept = ~missing.all(axis=1)
    return np.where(missing, np.nan, x)[kept], x[kept], missing[kept]


def truth():
    """A PPCA with known parameters."""
    model = PPCA(components=2)
    model.mean_, model.weights_, model.noise_ = MEAN, WEIGHTS, NOISE
    return model


COVARIANCE = WEIGHTS @ WEIGHTS.T + NOISE * np.eye(6)


@pytest.mark.parametrize(
    ("x", "components", "wanted"),
    [
        (DIGITS, 2, -177.43997),
        (DIGITS, 10, -159.99373),
        (DIGITS, 20, -150.16838),
        (DIGITS, 40, -136.83317),
        (IRIS, 1, -3.13780),
        (IRIS, 2, -2.69975),
        (IRIS, 3, -2.53276),
        (standardised(load_wine().data), 1, -17.00447),
        (standardised(load_wine().data), 2, -16.15526),
        (standardised(load_wine().data), 5, -15.21265),
        (standardised(load_wine().data), 10, -14.68800),
        (standardised(load_breast_cancer().data), 1, -35.87494),
        (standardised(load_breast_cancer().data), 2, -31.68486),
        (standardised(load_breast_cancer().data), 5, -24.62506),
        (standardised(load_breast_cancer().data), 10, -18.18503),
    ],
)
def test_maximum_likelihood_as_reference(x, components, wanted):
    model = PPCA(components=components).fit(x)
    assert model.score(x) == pytest.approx(wanted, abs=6e-6)
    assert model.log_likelihoods_.tolist() == [pytest.approx(len(x) * model.score(x), rel=1e-12)]
    # Its covariance is 1 / (N − 1), so its likelihood is a little below the maximum.
    peer = PeerPCA(components, svd_solver="full").fit(x).score(x)
    assert 0 < model.score(x) - peer < 1e-2


@pytest.mark.parametrize(
    ("components", "noise"), [(2, 13.853948), (10, 5.824351), (20, 2.886195), (40, 0.590590)]
)
def test_noise_as_reference(components, noise):
    assert PPCA(components=components).fit(DIGITS).noise_ == pytest.approx(noise, abs=6e-7)


def test_log_prob_and_posterior_are_those_of_the_joint_gaussian():
    _, x = known(20)
    model = truth()
    wanted = multivariate_normal(MEAN, COVARIANCE).logpdf(x)
    np.testing.assert_allclose(model.log_prob(x), wanted, rtol=1e-12)
    means, covariances = model.posterior(x)
    gain = WEIGHTS.T @ np.linalg.inv(COVARIANCE)
    np.testing.assert_allclose(means, (x - MEAN) @ gain.T, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(
        covariances, np.broadcast_to(np.eye(2) - gain @ WEIGHTS, (20, 2, 2)), atol=1e-12
    )
    np.testing.assert_array_equal(model.encode(x), means)
    assert model.score(x) == pytest.approx(wanted.mean(), rel=1e-12)


def test_missing_entries_are_integrated_out():
    _, x = known(63)
    patterns = np.array(list(itertools.product([False, True], repeat=6)))[:-1]
    x[patterns] = np.nan
    model = truth()
    log_probs, (means, covariances), (values, sds) = (
        model.log_prob(x),
        model.posterior(x),
        (model.impute(x)),
    )
    for i, missing in enumerate(patterns):
        o, m = np.flatnonzero(~missing), np.flatnonzero(missing)
        inverse, residual = np.linalg.inv(COVARIANCE[np.ix_(o, o)]), x[i, o] - MEAN[o]
        marginal = multivariate_normal(MEAN[o], COVARIANCE[np.ix_(o, o)])
        assert log_probs[i] == pytest.approx(marginal.logpdf(x[i, o]), rel=1e-10)
        gain = WEIGHTS[o].T @ inverse
        np.testing.assert_allclose(means[i], gain @ residual, atol=1e-10)
        np.testing.assert_allclose(covariances[i], np.eye(2) - gain @ WEIGHTS[o], atol=1e-10)
        slope = COVARIANCE[np.ix_(m, o)] @ inverse
        np.testing.assert_allclose(values[i, m], MEAN[m] + slope @ residual, atol=1e-10)
        left = COVARIANCE[np.ix_(m, m)] - slope @ COVARIANCE[np.ix_(o, m)]
        np.testing.assert_allclose(sds[i, m], np.sqrt(np.diag(left)), atol=1e-10)
        np.testing.assert_array_equal(values[i, o], x[i, o])
        assert not sds[i, o].any()


def test_blocks_of_rows_make_no_difference(monkeypatch):
    x, _, _ = holes(known(50)[1], 0.3)
    model = truth()
    whole = model.log_prob(x), model.impute(x)[0]
    monkeypatch.setattr("sbi_kit.latent.factors._BLOCK", 30)
    np.testing.assert_allclose(model.log_prob(x), whole[0], rtol=1e-12)
    np.testing.assert_allclose(model.impute(x)[0], whole[1], rtol=1e-12)


def test_samples_have_the_mean_and_covariance():
    drawn = truth().sample(100_000, seed=1)
    np.testing.assert_allclose(drawn.mean(axis=0), MEAN, atol=0.03)
    np.testing.assert_allclose(np.cov(drawn, rowvar=False), COVARIANCE, atol=0.07)


def test_the_generating_parameters_are_recovered():
    z, x = known(50_000)
    model = PPCA(components=2).fit(x)
    assert model.noise_ == pytest.approx(NOISE, rel=0.01)
    np.testing.assert_allclose(model.weights_ @ model.weights_.T, WEIGHTS @ WEIGHTS.T, atol=0.08)
    # Codes are known up to a rotation, the errors of which have the posterior's covariance.
    means, covariances = model.posterior(x)
    turn, _, _, _ = np.linalg.lstsq(means, z, rcond=None)
    errors = z - means @ turn
    np.testing.assert_allclose(
        np.cov(errors, rowvar=False), turn.T @ covariances[0] @ turn, atol=0.01
    )


def test_weights_are_orthogonal_and_fall_in_length():
    for solver in ("closed_form", "em"):
        weights = PPCA(components=3, solver=solver).fit(IRIS).weights_
        squares = weights.T @ weights
        assert (np.diff(np.diag(squares)) < 0).all()
        np.testing.assert_allclose(squares, np.diag(np.diag(squares)), atol=1e-12)
        assert (weights[np.abs(weights).argmax(axis=0), range(3)] > 0).all()


@pytest.mark.parametrize(("x", "components"), [(IRIS, 2), (DIGITS, 10)])
def test_em_reaches_the_closed_form(x, components):
    best = PPCA(components=components, solver="closed_form").fit(x)
    model = PPCA(components=components, solver="em", tolerance=1e-12).fit(x)
    assert model.log_likelihoods_[-1] == pytest.approx(best.log_likelihoods_[0], rel=1e-9)
    assert model.noise_ == pytest.approx(best.noise_, rel=1e-6)
    np.testing.assert_allclose(model.weights_, best.weights_, atol=1e-4)


def rough(x, components, seed=0, noise=1.0):
    """Factors that no data were asked for."""
    weights = np.random.default_rng(seed).normal(size=(x.shape[1], components))
    return Factors(np.zeros(x.shape[1]), weights, noise)


def rises(history):
    steps = np.diff(history)
    assert len(steps) > 5
    assert (steps >= -1e-11 * abs(history[-1])).all()
    assert history[-1] - history[0] > 1e-3 * abs(history[-1])


@pytest.mark.parametrize("seed", range(3))
def test_the_likelihood_never_falls_from_anywhere(seed):
    x = DIGITS[:300, 2:6]
    best = closed_form(spectrum(x), 2)
    start = rough(x, 2, seed=seed, noise=10.0**seed)
    factors, history = em_complete(x, start, iterations=2_000, tolerance=1e-12)
    rises(history)
    assert factors.noise == pytest.approx(best.noise, rel=1e-6)
    covariance = factors.weights @ factors.weights.T
    np.testing.assert_allclose(covariance, best.weights @ best.weights.T, rtol=1e-4, atol=1e-4)
    missing, _, _ = holes(x, 0.3, seed)
    rises(em_missing(missing, start, iterations=500, tolerance=1e-9)[1])


def test_em_with_and_without_missing_entries_is_one():
    start = rough(IRIS, 2)
    one, rose = em_complete(IRIS, start, iterations=1_000, tolerance=1e-12)
    two, also = em_missing(IRIS, start, iterations=1_000, tolerance=1e-12)
    assert rose[-1] == pytest.approx(also[-1], rel=1e-10)
    np.testing.assert_allclose(one.weights @ one.weights.T, two.weights @ two.weights.T, rtol=1e-4)
    np.testing.assert_allclose(one.mean, two.mean, atol=1e-6)


@pytest.mark.filterwarnings("ignore:Convergence within")
def test_each_iteration_is_the_same_with_no_entry_missing():
    start = rough(IRIS, 3)
    start = Factors(IRIS.mean(axis=0), start.weights, start.noise)
    for iterations in (1, 2, 3):
        one, _ = em_complete(IRIS, start, iterations=iterations, tolerance=0.0)
        two, _ = em_missing(IRIS, start, iterations=iterations, tolerance=0.0)
        assert one.noise == pytest.approx(two.noise, rel=1e-10)
        np.testing.assert_allclose(one.weights, two.weights, atol=1e-10)


def test_each_log_likelihood_is_that_of_the_factors_it_belongs_to():
    for rows in (DIGITS, holes(DIGITS, 0.1)[0]):
        with pytest.warns(UserWarning, match="Convergence within 2 iterations expected; got"):
            model = PPCA(components=20, solver="em", iterations=2, tolerance=1e-12).fit(rows)
        assert len(model.log_likelihoods_) == 2
        assert model.log_likelihoods_[-1] == pytest.approx(model.log_prob(rows).sum(), rel=1e-12)


def test_missing_values_stay_at_a_maximum():
    """The gradient of the observed likelihood, by finite differences, is zero."""
    x, _, _ = holes(IRIS, 0.2)
    model = PPCA(components=2, tolerance=1e-13).fit(x)
    best = model.log_prob(x).sum()
    weights, mean, noise = model.weights_, model.mean_, model.noise_
    for i in range(20):
        rng = np.random.default_rng(i)
        model.weights_ = weights + 1e-3 * rng.normal(size=weights.shape)
        model.mean_ = mean + 1e-3 * rng.normal(size=mean.shape)
        model.noise_ = noise * (1 + 1e-3 * rng.normal())
        assert model.log_prob(x).sum() < best


@pytest.mark.parametrize(
    ("share", "log_likelihood", "noise", "error", "by_means"),
    [(0.1, -394.978, 0.05288, 0.2876, 1.107), (0.3, -347.209, 0.05748, 0.385, 1.046)],
)
def test_iris_with_missing_values_as_reference(share, log_likelihood, noise, error, by_means):
    missing, complete, gone = holes(IRIS, share)
    model = PPCA(components=2, tolerance=1e-10).fit(missing)
    assert model.log_likelihoods_[-1] == pytest.approx(log_likelihood, abs=6e-4)
    assert model.noise_ == pytest.approx(noise, abs=6e-6)
    values, _ = model.impute(missing)
    assert rmse(values, complete, gone) == pytest.approx(error, abs=2e-4)
    means = np.broadcast_to(np.nanmean(missing, axis=0), complete.shape)
    assert rmse(means, complete, gone) == pytest.approx(by_means, abs=6e-4)


@pytest.mark.parametrize(
    ("share", "log_likelihood", "error", "by_means"),
    [
        (0.1, 27164.5, 0.1786, 0.271),
        (0.3, 19641.3, 0.1889, 0.270),
        (0.5, 13011.0, 0.2048, 0.270),
    ],
)
def test_digits_with_missing_values_as_reference(share, log_likelihood, error, by_means):
    missing, complete, gone = holes(DIGITS / 16, share)
    model = PPCA(components=10, iterations=60).fit(missing)
    # The reference, after 60 iterations of plain EM, has not quite converged at one half.
    assert -0.1 < model.log_likelihoods_[-1] - log_likelihood < 3
    assert (np.diff(model.log_likelihoods_) > 0).all()
    values, _ = model.impute(missing)
    assert rmse(values, complete, gone) == pytest.approx(error, abs=3e-4)
    means = np.broadcast_to(np.nanmean(missing, axis=0), complete.shape)
    assert rmse(means, complete, gone) == pytest.approx(by_means, abs=6e-4)


def rmse(values, complete, gone):
    return np.sqrt(np.mean((values - complete)[gone] ** 2))


def test_imputed_values_are_as_uncertain_as_they_say():
    missing, complete, gone = holes(known(4_000)[1], 0.3)
    values, sds = PPCA(components=2).fit(missing).impute(missing)
    errors = (complete - values)[gone] / sds[gone]
    assert np.std(errors) == pytest.approx(1, abs=0.02)
    assert np.mean(np.abs(errors) < 1.645) == pytest.approx(0.9, abs=0.01)


def test_a_far_mean_costs_no_digits():
    _, x = known()
    for rows in (x, holes(x, 0.2)[0]):
        near = PPCA(components=2, solver="em").fit(rows)
        far = PPCA(components=2, solver="em").fit(rows + 1e6)
        assert far.noise_ == pytest.approx(near.noise_, rel=1e-5)
        assert far.score(rows + 1e6) == pytest.approx(near.score(rows), rel=1e-5)


def test_a_constant_column_of_a_table_with_missing_values():
    missing, _, _ = holes(known()[1], 0.2)
    with pytest.warns(UserWarning, match="got constant '6', which"):
        model = PPCA(components=2).fit(np.column_stack([missing, np.full(len(missing), 7.0)]))
    np.testing.assert_allclose(model.weights_[6], 0, atol=1e-6)
    assert model.mean_[6] == pytest.approx(7)


def test_no_covariance_of_all_columns_is_formed():
    """100,000 columns would take 80 GB."""
    rng = np.random.default_rng(0)
    loadings = rng.normal(size=100_000)
    z = rng.normal(size=30)
    x = np.outer(z, loadings) + 0.1 * rng.normal(size=(30, 100_000))
    model = PPCA(components=1, solver="em").fit(x)
    assert abs(np.corrcoef(model.encode(x)[:, 0], z)[0, 1]) > 0.9999
    # Mean and weights take the freedom of a row each.
    assert model.noise_ == pytest.approx(0.01 * 28 / 30, rel=0.01)
    assert np.isfinite(model.score(x))


def test_order_by_held_out_likelihood():
    _, x = known(400)
    order = compare_components(x, range(1, 6), seed=1)
    assert order.components == (1, 2, 3, 4, 5)
    assert order.smallest == 2
    assert order.errors[order.components.index(order.best)] == 0
    assert order.scores[0] < order.scores[1] - 10 * order.errors[0]
    # Held-out rows: the training rows' likelihood would go on rising.
    assert order.scores[4] < order.scores[1]
    missing = compare_components(holes(x, 0.1)[0], (1, 2, 3), folds=3, seed=1)
    assert missing.smallest == 2
    assert missing.scores[1] > order.scores[1]


def test_the_smallest_number_within_an_error_is_preferred():
    _, x = known(60)
    order = compare_components(x, (1, 3, 2), folds=60, seed=0)
    assert order.scores.max() == order.scores[order.components.index(order.best)]
    near = order.scores.max() - order.scores <= order.errors
    assert order.smallest == min(np.array(order.components)[near])


def test_held_out_scores_are_those_of_models_fitted_without_them():
    _, x = known(40)
    order = compare_components(x, (2,), folds=40, seed=3)
    alone = [
        PPCA(components=2).fit(np.delete(x, i, axis=0)).score(x[i : i + 1]) for i in range(len(x))
    ]
    assert order.scores[0] == pytest.approx(np.mean(alone), rel=1e-10)


def test_classes_by_their_densities():
    labels = load_digits().target
    order = np.random.RandomState(0).permutation(len(DIGITS))
    training, test = order[:1437], order[1437:]
    model = PPCAClassifier(components=10).fit(DIGITS[training], labels[training])
    assert np.mean(model.predict(DIGITS[test]) == labels[test]) >= 0.97
    shares = model.predict_proba(DIGITS[test])
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    np.testing.assert_array_equal(
        model.classes_[shares.argmax(axis=1)], model.predict(DIGITS[test])
    )
    fewer, _, _ = holes(DIGITS[test], 0.3)
    assert np.mean(model.predict(fewer) == labels[test]) > 0.93


def test_class_probabilities_follow_from_bayes_rule():
    many, few = known(300, seed=1)[1], known(100, seed=2)[1] + 1
    x = np.concatenate([many, few])
    model = PPCAClassifier(components=2).fit(x, np.repeat(["many", "few"], [300, 100]))
    assert model.classes_.tolist() == ["few", "many"]
    log_odds = [PPCA(components=2).fit(part).log_prob(x) for part in (few, many)]
    wanted = 1 / (1 + 3 * np.exp(log_odds[1] - log_odds[0]))
    np.testing.assert_allclose(model.predict_proba(x)[:, 0], wanted, atol=1e-12)
    np.testing.assert_array_equal(model.predict(x) == "few", wanted > 0.5)


EMPTY_ROW, EMPTY_COLUMN = IRIS.copy(), IRIS.copy()
EMPTY_ROW[7] = EMPTY_COLUMN[:, 2] = np.nan
FLAWED = IRIS.copy()
FLAWED[3, 1] = np.nan
HIDDEN = np.zeros(IRIS.shape, dtype=bool)
HIDDEN[load_iris().target == 1, 3] = True
FEW = np.random.default_rng(0).normal(size=(9, 3))
FEW[1:, 0] = np.nan
LOW = np.random.default_rng(0).normal(size=(50, 2)) @ np.ones((2, 4))


def classifier(y, x=IRIS, components=2):
    return PPCAClassifier(components=components).fit(x, y)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: PPCA(components=2).fit(EMPTY_ROW), BadValue, "every row of x; got none in row 7"),
        (lambda: PPCA(components=2).fit(EMPTY_COLUMN), BadValue, "column of x; got none in col.*2"),
        (lambda: truth().log_prob([[np.nan] * 6]), BadValue, "every row of x; got none in row 0"),
        (
            lambda: PPCA(components=2, solver="closed_form").fit(FLAWED),
            BadValue,
            "nan at row 3 of column '1'",
        ),
        (lambda: PPCA(components=2, solver="svd").fit(IRIS), UnknownName, "auto, closed_form, em"),
        (lambda: PPCA(components=2, iterations=0).fit(IRIS), BadValue, "iterations"),
        (lambda: PPCA(components=2, tolerance=-1).fit(IRIS), BadValue, "tolerance"),
        (lambda: PPCA(components=1, solver="em").fit(LOW), BadValue, "no noise left beside 1 comp"),
        (lambda: PPCA(components=2).encode(IRIS), BadValue, "a fitted PPCA; got one that was not"),
        (lambda: PPCA(components=2).impute(IRIS), BadValue, "a fitted PPCA"),
        (lambda: PPCA(components=2).posterior(IRIS), BadValue, "a fitted PPCA"),
        (lambda: PPCA(components=2).sample(2, seed=0), BadValue, "a fitted PPCA"),
        (lambda: PPCA(components=2).decode([[0, 0]]), BadValue, "a fitted PPCA"),
        (lambda: PPCA(components=2).encoder(), BadValue, "a fitted PPCA"),
        (lambda: compare_components(IRIS, [], seed=0), BadValue, "to compare; got none"),
        (lambda: compare_components(IRIS, [4], seed=0), BadValue, r"in \[1, 3\]; got 4"),
        (lambda: compare_components(IRIS, [2], folds=1, seed=0), BadValue, "folds"),
        (lambda: classifier(np.zeros(149)), BadValue, r"shape \(150,\); got \(149,\)"),
        (lambda: classifier(np.zeros(150)), BadValue, r"two classes at least; got 0\.0"),
        (lambda: classifier([*np.ones(149), np.nan]), BadValue, "got nan in row 149"),
        (lambda: classifier([None] * 150), BadType, "numbers or text; got an array of object"),
        (lambda: classifier([*["a"] * 147, *["b"] * 3]), BadValue, "got rank 2 in class 'b'"),
        (
            lambda: classifier(load_iris().target == 1, np.where(HIDDEN, np.nan, IRIS)),
            BadValue,
            "every column of x; got none in column '3' in class True",
        ),
        (
            lambda: compare_components(FEW, [1], folds=3, seed=0),
            BadValue,
            "every column of x; got none in column '0'",
        ),
        (lambda: PPCAClassifier(components=2).predict(IRIS), BadValue, "a fitted PPCAClassifier"),
    ],
)
def test_refusals(call, error, message):
    with pytest.raises(error, match=message):
        call()
