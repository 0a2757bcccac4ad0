"""The housing generator against its own population: R^2, best AUC, missing values, coherence."""

from io import StringIO

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from sbi_kit.checks import BadType, BadValue
from sbi_kit.registry import load_generator
from sbi_kit.simulator import describe
from sbi_kit.testing import check_generator
from simulators.housing import Housing

AMES = """
MSSubClass MSZoning LotFrontage LotArea Street Alley LotShape LandContour Utilities LotConfig
LandSlope Neighborhood Condition1 Condition2 BldgType HouseStyle OverallQual OverallCond YearBuilt
YearRemodAdd RoofStyle RoofMatl Exterior1st Exterior2nd MasVnrType MasVnrArea ExterQual ExterCond
Foundation BsmtQual BsmtCond BsmtExposure BsmtFinType1 BsmtFinSF1 BsmtFinType2 BsmtFinSF2 BsmtUnfSF
TotalBsmtSF Heating HeatingQC CentralAir Electrical 1stFlrSF 2ndFlrSF LowQualFinSF GrLivArea
BsmtFullBath BsmtHalfBath FullBath HalfBath BedroomAbvGr KitchenAbvGr KitchenQual TotRmsAbvGrd
Functional Fireplaces FireplaceQu GarageType GarageYrBlt GarageFinish GarageCars GarageArea
GarageQual GarageCond PavedDrive WoodDeckSF OpenPorchSF EnclosedPorch 3SsnPorch ScreenPorch
PoolArea PoolQC Fence MiscFeature MiscVal MoSold YrSold SaleType SaleCondition
"""
ROWS = 200_000
# R^2 and the AUC of a normal index for the top fifth.
BEST_AUC = {
    0.01: 0.5494, 0.1: 0.6565, 0.3: 0.7722, 0.5: 0.8527, 0.7: 0.9183, 0.8: 0.9475, 0.9: 0.9746,
    0.95: 0.9875,
}  # fmt: skip


def generate(model, rows, seed=0):
    return model.generate(rows, np.random.default_rng(seed))


def area_under_curve(score, positive):
    """Share of pairs that are ranked rightly, and its standard error (Hanley & McNeil 1982)."""
    one, zero = int(positive.sum()), int((~positive).sum())
    ranks = stats.rankdata(score)
    auc = (ranks[positive].sum() - one * (one + 1) / 2) / (one * zero)
    first, second = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    spread = (one - 1) * (first - auc**2) + (zero - 1) * (second - auc**2)
    return auc, np.sqrt((auc * (1 - auc) + spread) / (one * zero))


def design(frame, names):
    """Numbers and indicators of categories with an intercept, in floats."""
    table = pd.get_dummies(frame[list(names)], drop_first=True, dtype=float)
    return np.column_stack([np.ones(len(table)), table.to_numpy()])


@pytest.fixture(scope="module")
def model():
    return Housing(missing_share=0.0)


@pytest.fixture(scope="module")
def frame(model):
    """Many houses, complete."""
    return generate(model, ROWS)


@pytest.fixture(scope="module")
def index(model, frame):
    return model.index(frame)


@pytest.mark.parametrize(
    "model",
    [Housing(), Housing(r_squared=0.0, missing_share=0.6, cities=("a", "b"), coefficients_seed=9)],
    ids=["default", "unusual"],
)
def test_keeps_the_generator_contract(model):
    check_generator(model)


def test_features_are_those_of_ames_and_a_city(model, frame):
    names = AMES.split()
    assert len(names) == 79
    assert model.features == (*names, "City")
    assert list(frame.columns) == [*names, "City", "SalePrice"]
    kinds = frame.dtypes.map(str).value_counts().to_dict()
    assert kinds == {"float64": 37, "category": 44}
    assert frame["ExterQual"].cat.categories.tolist() == ["Fa", "TA", "Gd", "Ex"]
    assert frame["ExterQual"].cat.ordered
    assert not frame["Neighborhood"].cat.ordered
    assert len(frame["Neighborhood"].cat.categories) == 25


def test_four_cities_are_equally_frequent_and_others_can_be_named(frame):
    counts = frame["City"].value_counts()
    assert set(counts.index) == {"Ames", "Ankeny", "Boone", "Marshalltown"}
    assert stats.chisquare(counts).pvalue > 1e-5
    other = generate(Housing(cities=("Oslo", "Bergen"), missing_share=0), 1_000)
    assert set(other["City"]) == {"Oslo", "Bergen"}


# The price and its index


def test_index_is_standardised_and_close_to_normal(index):
    kurtosis = stats.kurtosis(index)
    assert abs(index.mean()) < 4 / np.sqrt(ROWS)
    assert abs(index.var() - 1) < 4 * np.sqrt((2 + kurtosis) / ROWS)
    assert abs(stats.skew(index)) < 0.03
    assert abs(kurtosis) < 0.06
    assert stats.kstest(index, "norm").statistic < 0.008


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_index_is_so_for_other_coefficients(seed):
    model = Housing(missing_share=0.0, coefficients_seed=seed)
    index = model.index(generate(model, 40_000, seed))
    assert abs(index.mean()) < 4 / np.sqrt(40_000)
    assert abs(index.var() - 1) < 4 * np.sqrt(2 / 40_000)
    assert abs(stats.skew(index)) < 0.1 + 4 * np.sqrt(6 / 40_000)


@pytest.mark.parametrize("r_squared", [0.0, 0.1, 0.5, 0.95])
def test_r_squared_is_that_of_the_population(r_squared):
    rows = 50_000
    model = Housing(r_squared=r_squared, missing_share=0.0)
    frame = generate(model, rows, seed=3)
    r = np.corrcoef(model.index(frame), frame["SalePrice"])[0, 1]
    # Fisher's transform is close to normal with variance 1 / (n - 3).
    assert abs(np.arctanh(r) - np.arctanh(np.sqrt(r_squared))) < 4 / np.sqrt(rows - 3)
    price = frame["SalePrice"]
    assert abs(price.mean() - 200_000) < 4 * 30_000 / np.sqrt(rows)
    assert abs(price.std() / 30_000 - 1) < 4 / np.sqrt(2 * rows)
    assert price.min() > 0
    noise = (price - 200_000) / 30_000 - np.sqrt(r_squared) * model.index(frame)
    assert stats.kstest(noise, stats.norm(0, np.sqrt(1 - r_squared)).cdf).pvalue > 1e-5


def test_price_is_linear_in_the_weighted_features():
    model = Housing(r_squared=1.0, missing_share=0.0, price_mean=100.0, price_sd=2.0)
    frame = generate(model, 3_000)
    price = frame["SalePrice"].to_numpy()
    np.testing.assert_allclose(price, 100 + 2 * model.index(frame), rtol=1e-12)
    columns = design(frame, model.coefficients)
    fitted = columns @ np.linalg.lstsq(columns, price)[0]
    np.testing.assert_allclose(fitted, price, atol=1e-8)
    assert model.best_auc == 1.0


def test_coefficients_are_standard_deviations_in_the_index(model, frame, index):
    coefficients = model.coefficients
    assert len(coefficients) == 39
    assert sum(value**2 for value in coefficients.values()) == pytest.approx(1)
    for name in ("OverallQual", "1stFlrSF", "YearBuilt", "BsmtFinSF1", "KitchenAbvGr", "YrSold"):
        x = stats.zscore(frame[name].to_numpy())
        # Other features are independent of this one, so a simple regression finds it.
        assert abs((x * index).mean() - coefficients[name]) < 5 / np.sqrt(ROWS)
    for name in ("Neighborhood", "City", "MSZoning"):
        means = pd.Series(index).groupby(frame[name].to_numpy()).transform("mean")
        assert abs(means.std() - coefficients[name]) < 0.01
    assert coefficients["YrSold"] < 0 < coefficients["OverallQual"]
    other = Housing(coefficients_seed=1).coefficients
    assert set(other) == set(coefficients)
    assert all(other[name] != value for name, value in coefficients.items())


def test_effects_of_categories_are_drawn_anew_with_each_seed(frame):
    part = frame[:5_000]
    orders = set()
    for seed in range(6):
        index = pd.Series(Housing(coefficients_seed=seed).index(part))
        means = index.groupby(part["City"].astype(str).to_numpy()).mean()
        orders.add(tuple(means.sort_values().index))
    assert len(orders) > 2


def test_weighted_features_are_independent(model, frame):
    codes = [
        frame[name].cat.codes if frame[name].dtype == "category" else frame[name]
        for name in model.coefficients
    ]
    r = np.corrcoef(np.array(codes))
    assert np.abs(r[np.triu_indices(len(r), 1)]).max() < 5.5 / np.sqrt(ROWS)


def test_other_features_tell_nothing_beyond_the_index(model, frame, index):
    noise = stats.zscore(frame["SalePrice"] - 30_000 * np.sqrt(0.8) * index)
    rest = [name for name in model.features if name not in model.coefficients]
    columns = design(frame[:20_000], rest)
    fitted = columns @ np.linalg.lstsq(columns, noise[:20_000])[0]
    k = np.linalg.matrix_rank(columns) - 1
    explained, left = fitted.var() / k, (noise[:20_000] - fitted).var() / (20_000 - k - 1)
    assert 1e-5 < stats.f.sf(explained / left, k, 20_000 - k - 1) < 1 - 1e-5


def test_at_r_squared_zero_no_feature_tells_the_price():
    model = Housing(r_squared=0.0, missing_share=0.0)
    frame = generate(model, 10_000, seed=4)
    columns, price = design(frame, model.coefficients), frame["SalePrice"].to_numpy()
    fitted = columns @ np.linalg.lstsq(columns, price)[0]
    k = columns.shape[1] - 1
    ratio = fitted.var() / (price - fitted).var() * (10_000 - k - 1) / k
    assert 1e-5 < stats.f.sf(ratio, k, 10_000 - k - 1) < 1 - 1e-5
    assert model.best_auc == pytest.approx(0.5, abs=1e-9)


# Premium houses


@pytest.mark.parametrize(("r_squared", "auc"), BEST_AUC.items())
def test_best_auc_is_that_of_a_normal_index(r_squared, auc):
    assert round(Housing(r_squared=r_squared).best_auc, 4) == auc
    # P(J < I, a premium house with index I, another with index J), a trivariate normal orthant.
    for share in (0.2, 0.05):
        z, c = stats.norm.isf(share), np.sqrt(r_squared / 2)
        covariance = [[1, 0, c], [0, 1, c], [c, c, 1]]
        pairs = stats.multivariate_normal(np.zeros(3), covariance).cdf([-z, z, 0])
        best = Housing(r_squared=r_squared, premium_share=share).best_auc
        assert best == pytest.approx(pairs / (share * (1 - share)), abs=2e-4)


@pytest.mark.parametrize("r_squared", BEST_AUC)
def test_the_index_reaches_the_best_auc(index, r_squared):
    noise = np.random.default_rng(5).standard_normal(ROWS)
    price = np.sqrt(r_squared) * index + np.sqrt(1 - r_squared) * noise
    model = Housing(r_squared=r_squared)
    premium = model.premium(price, model.premium_threshold(price))
    auc, error = area_under_curve(index, premium == 1)
    assert abs(auc - model.best_auc) < 4 * error + 0.001  # what the skewness adds


def test_the_threshold_of_premium_is_the_callers(model, frame, index):
    prices = frame["SalePrice"]
    threshold = model.premium_threshold(prices[:10_000])
    premium = model.premium(prices, threshold)
    assert premium.dtype == np.int64
    assert premium[:10_000].sum() == 2_000
    np.testing.assert_array_equal(premium, (prices > threshold).astype(int))
    assert 0.18 < premium[10_000:].mean() < 0.22
    auc, error = area_under_curve(index, premium == 1)
    assert abs(auc - BEST_AUC[0.8]) < 4 * error + 0.001
    half = Housing(premium_share=0.5)
    assert half.premium(prices, half.premium_threshold(prices)).mean() == 0.5


# Missing values


@pytest.mark.parametrize("share", [0.05, 0.4])
def test_missing_values_are_as_many_as_asked_and_completely_at_random(share):
    rows = 20_000
    whole = generate(Housing(missing_share=0.0), rows, seed=6)
    frame = generate(Housing(missing_share=share), rows, seed=6)
    assert frame["SalePrice"].equals(whole["SalePrice"])
    features = list(Housing().features)
    missing = frame[features].isna().to_numpy()
    counts = missing.sum(axis=0)
    assert stats.binom(rows, share).sf(counts).min() > 1e-6
    assert stats.binom(rows, share).cdf(counts).min() > 1e-6
    per_row = np.bincount(missing.sum(axis=1), minlength=81)
    expected = stats.binom(80, share).pmf(np.arange(81)) * rows
    common = expected > 20
    expected = expected[common] * per_row[common].sum() / expected[common].sum()
    assert stats.chisquare(per_row[common], expected).pvalue > 1e-5
    values = [
        whole[name].cat.codes if whole[name].dtype == "category" else whole[name]
        for name in [*features, "SalePrice"]
    ]
    r = np.corrcoef(missing.T, np.array(values))[:80]
    r[np.arange(80), np.arange(80)] = 0
    assert np.abs(r).max() < 5.5 / np.sqrt(rows)
    # What is there is what would be there without missing values.
    assert frame[features].equals(whole[features].mask(missing))


def test_all_features_may_be_missing():
    frame = generate(Housing(missing_share=1.0), 50)
    assert frame.drop(columns="SalePrice").isna().all(axis=None)
    assert frame["SalePrice"].notna().all()
    assert frame.dtypes.equals(generate(Housing(missing_share=0.0), 50).dtypes)


# What a house is


def test_houses_are_coherent(frame):
    total = frame["BsmtFinSF1"] + frame["BsmtFinSF2"] + frame["BsmtUnfSF"]
    np.testing.assert_array_equal(frame["TotalBsmtSF"], total)
    living = frame["1stFlrSF"] + frame["2ndFlrSF"] + frame["LowQualFinSF"]
    np.testing.assert_array_equal(frame["GrLivArea"], living)
    assert (frame["YearRemodAdd"] >= frame["YearBuilt"]).all()
    assert (frame["GarageYrBlt"] >= frame["YearBuilt"]).all()
    assert (frame["YrSold"] >= frame["YearBuilt"]).all()
    numbers = frame.select_dtypes("number")
    assert (numbers >= 0).all(axis=None)
    assert (numbers.drop(columns="SalePrice") % 1 == 0).all(axis=None)
    for owner, parts in {
        "GarageCars": ("GarageType", "GarageFinish", "GarageQual", "GarageCond"),
        "TotalBsmtSF": ("BsmtQual", "BsmtCond", "BsmtExposure", "BsmtFinType1", "BsmtFinType2"),
        "Fireplaces": ("FireplaceQu",),
        "PoolArea": ("PoolQC",),
        "MasVnrArea": ("MasVnrType",),
        "MiscVal": ("MiscFeature",),
    }.items():
        none = frame[owner] == 0
        assert none.any()
        for part in parts:
            assert ((frame[part] == "Absent") == none).all()
    assert ((frame["GarageArea"] == 0) == (frame["GarageCars"] == 0)).all()
    assert ((frame["HouseStyle"] == "1Story") == (frame["2ndFlrSF"] == 0)).all()
    assert ((frame["MSSubClass"] == 20) == (frame["2ndFlrSF"] == 0)).all()
    unfinished = frame["BsmtFinType1"].isin(["Unf", "Absent"])
    assert (unfinished == (frame["BsmtFinSF1"] == 0)).all()


def test_features_go_together_as_in_houses(frame):
    quality = frame["ExterQual"].cat.codes
    assert stats.spearmanr(quality, frame["OverallQual"]).statistic > 0.6
    assert np.corrcoef(frame["GarageArea"], frame["GarageCars"])[0, 1] > 0.75
    assert (frame["Exterior1st"].astype(str) == frame["Exterior2nd"].astype(str)).mean() > 0.7


@pytest.mark.parametrize(
    ("name", "shares"),
    [
        ("CentralAir", {"N": 0.07, "Y": 0.93}),
        ("GarageCars", {0: 0.05, 1: 0.27, 2: 0.54, 3: 0.13, 4: 0.01}),
        ("KitchenQual", {"Fa": 0.03, "TA": 0.5, "Gd": 0.4, "Ex": 0.07}),
    ],
)
def test_levels_have_the_shares_they_should(frame, name, shares):
    counts = frame[name].value_counts()
    found = [counts[level] for level in shares]
    assert stats.chisquare(found, [share * ROWS for share in shares.values()]).pvalue > 1e-5


def test_whole_numbers_have_the_moments_they_should(frame):
    for name, mean, sd in (("LotFrontage", 70, 20), ("1stFlrSF", 1_150, 330)):
        column = frame[name]
        assert abs(column.mean() - mean) < 4 * sd / np.sqrt(ROWS) + 0.002 * sd
        assert abs(column.std() / sd - 1) < 0.015
    assert abs((frame["2ndFlrSF"] == 0).mean() - 0.57) < 4 * np.sqrt(0.57 * 0.43 / ROWS)


# Files and refusals


def test_a_csv_file_keeps_everything():
    model = Housing(missing_share=0.0)
    frame = generate(model, 3_000, seed=7)
    back = pd.read_csv(StringIO(frame.to_csv(index=False)))
    assert not back.isna().any(axis=None)
    np.testing.assert_allclose(model.index(back), model.index(frame), rtol=1e-12)
    np.testing.assert_array_equal(back["SalePrice"], frame["SalePrice"])
    holes = generate(Housing(missing_share=0.2), 500)
    back = pd.read_csv(StringIO(holes.to_csv(index=False)))
    np.testing.assert_array_equal(back.isna(), holes.isna())


def test_index_needs_known_and_complete_features(model):
    frame = generate(model, 10)
    frame.loc[3, "LotArea"] = np.nan
    with pytest.raises(BadValue, match="without missing values; got 1 missing in 'LotArea'; gener"):
        model.index(frame)
    with pytest.raises(BadValue, match="frame with the features; got none of LotArea, City; add"):
        model.index(frame.drop(columns=["LotArea", "City", "MiscVal"]))
    frame["LotArea"], frame["City"] = 9_000, "Paris"
    with pytest.raises(BadValue, match="City among Ames, Ankeny, Boone, Marshalltown; got 'Paris'"):
        model.index(frame)


def test_settings_come_back_from_json():
    model = Housing(r_squared=0.3, cities=["a", "b", "c"], premium_share=0.1, price_sd=1_000)
    assert model.cities == ("a", "b", "c")
    known = describe(model)
    assert known["name"] == "housing"
    assert load_generator(known["name"], known["settings"]) == model


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"r_squared": 1.1}, BadValue, r"r_squared as a finite number in \[0, 1\]; got 1.1"),
        ({"r_squared": "x"}, BadType, "r_squared as a finite number"),
        ({"missing_share": -0.1}, BadValue, r"missing_share as a finite number in \[0, 1\]"),
        ({"premium_share": 0}, BadValue, r"premium_share as a finite number in \(0, 0.5\]; got 0"),
        ({"price_mean": 0}, BadValue, "price_mean as a finite number > 0; got 0"),
        ({"price_sd": 40_000}, BadValue, r"price_sd as a finite number in \(0, 33333.3\]; got 4"),
        ({"coefficients_seed": 0.5}, BadType, "coefficients_seed as an integer >= 0; got 0.5"),
        ({"cities": ("Ames",)}, BadType, r"at least 2 distinct names; got \('Ames',\)"),
        ({"cities": ("Ames", "Ames")}, BadType, "name each city once"),
        ({"cities": "Ames"}, BadType, "cities as a tuple of at least 2 distinct names; got 'Ames'"),
        ({"seed": 1}, TypeError, "unexpected keyword argument 'seed'"),
    ],
)
def test_bad_settings_are_refused(settings, error, message):
    with pytest.raises(error, match=message):
        Housing(**settings)


def test_bad_rows_are_refused():
    with pytest.raises(BadValue, match="rows as an integer >= 1; got 0"):
        generate(Housing(), 0)


@pytest.mark.parametrize("r_squared", [0.0, 0.5, 0.9, 1.0])
def test_best_scores_are_those_of_whoever_knows_the_index(r_squared):
    model = Housing(r_squared=r_squared, missing_share=0.0)
    houses = generate(model, ROWS, seed=5)
    price, best = houses["SalePrice"].to_numpy(), model.best_scores
    mean = 200_000 + 30_000 * np.sqrt(r_squared) * model.index(houses)
    sd = 30_000 * np.sqrt(1 - r_squared)
    premium = price > 200_000 + 30_000 * stats.norm.ppf(0.8)
    called = mean > 200_000 + 30_000 * stats.norm.ppf(0.8)
    right = (premium & called).sum()
    found = {
        "R2": 1 - np.mean((price - mean) ** 2) / price.var(),
        "accuracy": np.mean(premium == called),
        "precision": right / max(1, called.sum()),
        "recall": right / premium.sum(),
        "F1": 2 * right / (called.sum() + premium.sum()),
        "AUC": area_under_curve(mean + 1e-9 * np.arange(ROWS) % 7, premium)[0],
    }
    for name, value in found.items():
        assert best[name] == pytest.approx(value, abs=0.015), name
    assert best["RMSE"] == pytest.approx(sd)
    for level in (0.1, 0.5, 0.9):
        left = price - (mean + sd * stats.norm.ppf(level))
        loss = np.maximum(level * left, (level - 1) * left).mean()
        assert best[f"pinball {level:g}"] == pytest.approx(loss, rel=0.02, abs=1e-6)
