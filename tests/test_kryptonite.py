"""The kryptonite generator against the structure it claims and the accuracies this allows."""

from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from sbi_kit.checks import BadType, BadValue
from sbi_kit.registry import load_generator
from sbi_kit.simulator import describe
from sbi_kit.testing import check_generator
from simulators.kryptonite import Kryptonite

# Noise so small that rounding is right in every row of these tests.
CLEAR = {"laplace_scale": 0.01, "gaussian_sd": 0.05}
KINDS = ("uniform", "laplace", "gaussian")


def generate(model, rows, seed=0):
    return model.generate(rows, np.random.default_rng(seed))


def columns_of(model, *kinds):
    return [x for x, role in zip(model.features, model.roles, strict=True) if role in kinds]


def bits_of(model, frame, *kinds):
    return (frame[columns_of(model, *kinds)].to_numpy() > 0.5).astype(int)


def flips_of(model, frame):
    parity = bits_of(model, frame, "laplace", "gaussian").sum(axis=1) % 2
    return parity != frame["label"].to_numpy()


@pytest.mark.parametrize(
    "model",
    [Kryptonite(), Kryptonite(n=3, flip_scale=0.8, columns_seed=5)],
    ids=["default", "three bits"],
)
def test_keeps_the_generator_contract(model):
    check_generator(model)


@pytest.mark.parametrize(
    ("n", "accuracy"),
    [
        (9, 0.9583),
        (12, 0.9639),
        (15, 0.9677),
        (18, 0.9705),
        (24, 0.9745),
        (30, 0.9772),
        (45, 0.9814),
    ],
)
def test_best_accuracy_of_the_published_sizes(n, accuracy):
    model = Kryptonite(n=n)
    assert round(model.best_accuracy, 4) == accuracy
    assert model.best_accuracy == 1 - 1 / (8 * np.sqrt(n))
    # Of the parity bits, at most n / 3 * 2.3e-5 are misread.
    assert 0 < model.best_accuracy - model.best_guess_accuracy < n / 3 * 2.4e-5
    assert model.default_rows == 2_000 * n
    assert len(model.features) == n


def test_frame_holds_features_and_a_fair_label():
    model = Kryptonite(n=6)
    frame = generate(model, 40_000)
    assert list(frame.columns) == ["x_1", "x_2", "x_3", "x_4", "x_5", "x_6", "label"]
    assert frame.dtypes.map(str).tolist() == ["float64"] * 6 + ["int64"]
    assert set(frame["label"]) == {0, 1}
    assert abs(frame["label"].mean() - 0.5) < 4 * 0.5 / np.sqrt(40_000)


@pytest.mark.parametrize(
    "model",
    [
        Kryptonite(n=9),
        Kryptonite(n=45),
        Kryptonite(n=9, laplace_scale=0.2, gaussian_sd=0.3, flip_scale=1.0),
        Kryptonite(n=15, gaussian_sd=0.3, flip_scale=0.0),
    ],
    ids=["9", "45", "wide noise", "wide normal noise"],
)
def test_rounding_is_right_as_often_as_promised(model):
    rows = 100_000
    frame = generate(model, rows, seed=1)
    right = (model.best_guess(frame) == frame["label"]).mean()
    expected = model.best_guess_accuracy
    assert abs(right - expected) < 4 * np.sqrt(expected * (1 - expected) / rows)


def test_best_guess_is_the_most_probable_label():
    model = Kryptonite(n=9, laplace_scale=0.2, gaussian_sd=0.4, uniform_width=0.7)
    frame = generate(model, 5_000, seed=2)
    signs = np.ones(len(frame))
    for kind, noise in (("laplace", stats.laplace(0, 0.2)), ("gaussian", stats.norm(0, 0.4))):
        x = frame[columns_of(model, kind)].to_numpy()
        zero, one = noise.pdf(x), noise.pdf(x - 1)
        signs *= ((zero - one) / (zero + one)).prod(axis=1)  # E (-1)^parity given the features
    np.testing.assert_array_equal(model.best_guess(frame), (signs < 0).astype(int))


@pytest.mark.parametrize(
    ("settings", "law"),
    [
        ({}, (stats.uniform(-0.025, 0.05), stats.laplace(0, 0.05), stats.norm(0, 0.1))),
        (
            {"uniform_width": 0.3, **CLEAR},
            (stats.uniform(-0.3, 0.6), stats.laplace(0, 0.01), stats.norm(0, 0.05)),
        ),
    ],
)
def test_noise_of_each_role(settings, law):
    model = Kryptonite(n=9, **settings)
    frame = generate(model, 20_000, seed=3)
    assert [model.roles.count(kind) for kind in KINDS] == [3, 3, 3]
    for kind, noise in zip(KINDS, law, strict=True):
        residual = frame[columns_of(model, kind)].to_numpy() - bits_of(model, frame, kind)
        assert stats.kstest(residual.ravel(), noise.cdf).pvalue > 1e-5
        bound = 5 * np.sqrt(stats.moment(residual.ravel(), 4) / residual.size)
        assert abs((residual**2).mean() - noise.var()) < bound
        assert np.abs(np.corrcoef(residual.T)[np.triu_indices(3, 1)]).max() < 5 / np.sqrt(20_000)


def test_bits_are_fair_and_independent():
    model = Kryptonite(n=9)
    bits = bits_of(model, generate(model, 51_200, seed=4), *KINDS)
    patterns = np.bincount(bits @ (1 << np.arange(9)), minlength=512)
    assert stats.chisquare(patterns).pvalue > 1e-5


def test_no_proper_subset_of_the_parity_bits_tells_the_label():
    model = Kryptonite(n=9)
    frame = generate(model, 40_000, seed=5)
    told = bits_of(model, frame, "laplace", "gaussian")
    spare = bits_of(model, frame, "uniform")
    label = frame["label"].to_numpy()

    def p_value(bits):
        cells = np.zeros((1 << bits.shape[1], 2))
        np.add.at(cells, (bits @ (1 << np.arange(bits.shape[1])), label), 1)
        return stats.chi2_contingency(cells).pvalue

    subsets = [list(s) for size in range(1, 6) for s in combinations(range(6), size)]
    values = [p_value(told[:, subset]) for subset in subsets]
    assert min(values) > 1e-5 / len(subsets)
    assert p_value(spare) > 1e-5
    assert p_value(np.hstack([told[:, 1:], spare])) > 1e-5
    assert p_value(told) < 1e-300


@pytest.mark.parametrize(("n", "scale"), [(9, 0.25), (12, 1.5)])
def test_flips_follow_the_bits_under_uniform_noise(n, scale):
    model = Kryptonite(n=n, flip_scale=scale, **CLEAR)
    frame = generate(model, 100_000, seed=6)
    flips = flips_of(model, frame)
    ones = bits_of(model, frame, "uniform").sum(axis=1)
    for count in range(n // 3 + 1):
        found = flips[ones == count]
        rate = scale / np.sqrt(n) * count / (n / 3)
        assert abs(found.mean() - rate) <= 4 * np.sqrt(rate * (1 - rate) / len(found))
    rate = scale / (2 * np.sqrt(n))
    assert abs(flips.mean() - rate) < 4 * np.sqrt(rate * (1 - rate) / len(flips))


def test_without_flips_the_label_is_the_parity():
    model = Kryptonite(n=12, flip_scale=0, **CLEAR)
    assert not flips_of(model, generate(model, 5_000)).any()
    assert model.best_accuracy == 1.0


def test_the_order_of_columns_is_that_of_its_seed_and_of_no_rng():
    model = Kryptonite(n=15)
    assert model.roles == Kryptonite(n=15).roles
    others = {Kryptonite(n=15, columns_seed=seed).roles for seed in range(20)}
    assert len(others) > 10
    assert model.roles in others
    # Roles do not move with the rows: the uniform columns are tight in any frame.
    for seed in range(3):
        frame = generate(model, 2_000, seed)
        residual = np.abs(frame[list(model.features)] - frame[list(model.features)].round()).max()
        assert [x for x in model.features if residual[x] < 0.0251] == columns_of(model, "uniform")


def test_settings_come_back_from_json():
    model = Kryptonite(n=12, uniform_width=0.1, flip_scale=0.5, columns_seed=3)
    known = describe(model)
    assert known["name"] == "kryptonite"
    assert load_generator(known["name"], known["settings"]) == model


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"n": 10}, BadValue, "n as a multiple of 3; got 10; choose 9 or 12"),
        ({"n": 0}, BadValue, "n as an integer >= 3; got 0"),
        ({"n": 9.0}, BadType, "n as an integer >= 3; got 9.0"),
        (
            {"uniform_width": 0},
            BadValue,
            r"uniform_width as a finite number in \(0, 1e\+06\]; got 0",
        ),
        ({"laplace_scale": -1}, BadValue, "laplace_scale as a finite number in .* got -1"),
        ({"gaussian_sd": "a"}, BadType, "gaussian_sd as a finite number in .* got 'a'"),
        ({"flip_scale": 1.6}, BadValue, r"flip_scale as a finite number in \[0, 1.5\]; got 1.6"),
        ({"columns_seed": -1}, BadValue, "columns_seed as an integer >= 0; got -1"),
        ({"bits": 9}, TypeError, "unexpected keyword argument 'bits'"),
    ],
)
def test_bad_settings_are_refused(settings, error, message):
    with pytest.raises(error, match=message):
        Kryptonite(**settings)


@pytest.mark.parametrize(("rows", "error"), [(0, BadValue), (-1, BadValue), (1.5, BadType)])
def test_bad_rows_are_refused(rows, error):
    with pytest.raises(error, match=f"rows as an integer >= 1; got {rows}"):
        generate(Kryptonite(), rows)


def test_best_guess_needs_the_features():
    model = Kryptonite(n=3)
    told = columns_of(model, "laplace")[0]
    frame = generate(model, 10).drop(columns=[*columns_of(model, "uniform"), "label"])
    assert set(model.best_guess(frame)) == {0, 1}
    with pytest.raises(BadValue, match=f"a frame with the features; got none of {told}; add them"):
        model.best_guess(frame.drop(columns=told))
