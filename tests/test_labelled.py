"""`sbi-kit fit` with labelled data: scores beside baselines, files, and what is refused."""

import re

import numpy as np
import pandas as pd
import pytest

from sbi_kit import cli, labelled, labelled_rows, study_folder
from sbi_kit.checks import BadType, BadValue, UnknownName
from sbi_kit.supervised.model_file import load_model
from sbi_kit.supervised.network import MultiTaskNetwork
from simulators.housing import Housing

ROWS = 800


@pytest.fixture(scope="module", autouse=True)
def quick():
    """Networks of few steps: how good they are is tested elsewhere."""
    before = MultiTaskNetwork.__init__.__kwdefaults__
    MultiTaskNetwork.__init__.__kwdefaults__ = {**before, "steps": 60, "width": 8}
    yield
    MultiTaskNetwork.__init__.__kwdefaults__ = before


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What the command leaves for generated rows."""
    out = tmp_path_factory.mktemp("runs") / "housing"
    assert run("fit", "housing", "--rows", str(ROWS), "--folds", "2", "--out", str(out)) == 0
    return out


def run(*arguments):
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    return ended.value.code


def prices(rows=200, seed=0):
    return Housing().generate(rows, np.random.default_rng(seed))


def test_everything_is_written(folder):
    names = {path.name for path in folder.iterdir()}
    tables = {"scores.csv", "choices.csv", "importances.csv"}
    assert names == {
        "model",
        "network",
        "report.md",
        *tables,
        "path.png",
        "importances.png",
        "calibration.png",
    }
    scores = pd.read_csv(folder / "scores.csv", index_col="name")
    columns = ["best possible", "joint", "each alone", "network", "networks alone", "baseline"]
    assert scores.columns.tolist() == columns
    assert scores.loc["AUC", "best possible"] == pytest.approx(Housing().best_auc)
    assert scores.loc["AUC", "baseline"] == 0.5
    assert abs(scores.loc["R2", "baseline"]) < 0.05
    assert scores.loc["R2", "joint"] > 0.4
    for name in ("pinball 0.1", "pinball 0.5", "pinball 0.9", "RMSE"):
        assert scores.loc[name, "best possible"] < scores.loc[name, "joint"]
        assert scores.loc[name, "joint"] < 0.8 * scores.loc[name, "baseline"]


def test_scores_are_of_rows_that_were_not_learned_from(folder):
    frame = Housing().generate(ROWS, np.random.default_rng(0))
    rows = labelled_rows.generated(labelled.TASK, "housing", Housing(), ROWS, seed=0)
    assert len(rows.y) == 640
    assert set(rows.x.index).isdisjoint(rows.x_test.index)
    assert sorted([*rows.y, *rows.y_test]) == sorted(frame["SalePrice"])
    assert "SalePrice" not in rows.x
    model = load_model(folder / "model")
    network = load_model(folder / "network")
    assert model.threshold_ == pytest.approx(np.quantile(rows.y, 0.8))
    scores = pd.read_csv(folder / "scores.csv", index_col="name")["joint"]
    assert model.evaluate(rows.x_test, rows.y_test) == pytest.approx(scores.to_dict())
    of_network = pd.read_csv(folder / "scores.csv", index_col="name")["network"]
    assert network.evaluate(rows.x_test, rows.y_test) == pytest.approx(of_network.to_dict())
    choices = pd.read_csv(folder / "choices.csv")
    assert choices["loss"].is_monotonic_increasing
    assert model.lam == pytest.approx(choices["lam"][0])


def test_page_says_what_limits_the_task_with_numbers(folder):
    page = (folder / "report.md").read_text()
    for sentence in (
        "**Noise sets a ceiling.** The features explain a share 0.80",
        f"no model has an AUC above {Housing().best_auc:.3f}",
        "**Separate linear heads share nothing.**",
        "**What a target unrelated to the features looks like.**",
        "Those of H_r and H_c are both infinite: condition numbers do not add",
        "![calibration](calibration.png)\n\nTest rows in ten groups by the joint model's",
    ):
        assert sentence in page


@pytest.mark.slow
def test_same_command_same_scores(folder, tmp_path):
    again = tmp_path / "again"
    assert run("fit", "housing", "--rows", str(ROWS), "--folds", "2", "--out", str(again)) == 0
    for name in ("scores.csv", "path.png", "report.md", "model/model.json"):
        assert (again / name).read_bytes() == (folder / name).read_bytes()


def test_any_file_with_any_target(tmp_path, capsys):
    file, out = tmp_path / "houses.csv", tmp_path / "out"
    prices().rename(columns={"SalePrice": "Price"}).to_csv(file, index=False)
    arguments = ("fit", "housing", "--observed", str(file), "--folds", "0", "--out", str(out))
    assert run(*arguments) == 2
    assert "the name of a column to predict" in capsys.readouterr().err
    assert run(*arguments, "--target", "Price") == 0
    shown = capsys.readouterr().out
    assert "best possible" not in shown
    assert "by default" in shown
    page, scores = (
        (out / "report.md").read_text(),
        pd.read_csv(out / "scores.csv", index_col="name"),
    )
    best = scores.drop(columns="baseline").max(axis=1)
    assert "The ceiling is not known here" in page
    assert f"reaches R2 {best['R2']:.3f}, the best AUC is {best['AUC']:.3f}, and" in page
    told = (
        r"does, (.*): ranked by the predicted target, rows have an AUC of (\S+), ranked .* (\S+)\."
    )
    words, by_target, by_class = re.search(told, page).groups()
    assert (words == "which shows here") == (float(by_target) > float(by_class))
    assert not (out / "choices.csv").exists()
    assert run(*arguments, "--target", "Price") == 2
    assert "a directory without a model" in capsys.readouterr().err
    assert run(*arguments, "--target", "Price", "--overwrite") == 0


def test_shuffled_targets_cannot_be_predicted():
    rows = labelled_rows.generated(labelled.TASK, "housing", Housing(), 1_000, seed=3)
    findings = labelled.study(rows, share=0.2, folds=0, seed=3)
    for reached in findings.shuffled:
        assert abs(reached["AUC"] - 0.5) < 0.1
        assert reached["R2"] < 0.02
    assert findings.shuffled[1]["R2"] < findings.shuffled[0]["R2"] < 0
    assert findings.apart < 1e-8
    assert findings.by_target > 0.8
    assert findings.hessian.lower <= findings.hessian.joint <= findings.hessian.upper


# A file like that of Ames: 81 columns, numbered rows, NA for what a house has not and for gaps

AMES = (
    "Id MSSubClass MSZoning LotFrontage LotArea Street Alley LotShape LandContour Utilities "
    "LotConfig LandSlope Neighborhood Condition1 Condition2 BldgType HouseStyle OverallQual "
    "OverallCond YearBuilt YearRemodAdd RoofStyle RoofMatl Exterior1st Exterior2nd MasVnrType "
    "MasVnrArea ExterQual ExterCond Foundation BsmtQual BsmtCond BsmtExposure BsmtFinType1 "
    "BsmtFinSF1 BsmtFinType2 BsmtFinSF2 BsmtUnfSF TotalBsmtSF Heating HeatingQC CentralAir "
    "Electrical 1stFlrSF 2ndFlrSF LowQualFinSF GrLivArea BsmtFullBath BsmtHalfBath FullBath "
    "HalfBath BedroomAbvGr KitchenAbvGr KitchenQual TotRmsAbvGrd Functional Fireplaces "
    "FireplaceQu GarageType GarageYrBlt GarageFinish GarageCars GarageArea GarageQual GarageCond "
    "PavedDrive WoodDeckSF OpenPorchSF EnclosedPorch 3SsnPorch ScreenPorch PoolArea PoolQC Fence "
    "MiscFeature MiscVal MoSold YrSold SaleType SaleCondition SalePrice"
)


def ames(rows):
    """Made-up houses as that file would write them; no house of Ames is among them."""
    rng = np.random.default_rng(5)
    frame = Housing(missing_share=0.0).generate(rows, rng).drop(columns="City")
    frame.insert(0, "Id", np.arange(1, rows + 1))
    for name in frame.columns:
        if frame[name].dtype == float:
            frame[name] = frame[name].round().astype("Int64")
        else:
            frame[name] = frame[name].astype(object).where(frame[name].astype(str) != "Absent")
    frame["LotFrontage"] = frame["LotFrontage"].mask(rng.random(rows) < 0.18)
    frame["MasVnrArea"] = frame["MasVnrArea"].mask(rng.random(rows) < 0.02)
    frame["GarageYrBlt"] = frame["GarageYrBlt"].mask(frame["GarageType"].isna())
    return frame


def test_the_file_of_ames_is_learned_from(tmp_path, capsys):
    file, out = tmp_path / "train.csv", tmp_path / "ames"
    ames(400).to_csv(file, index=False, na_rep="NA")
    assert file.read_text().splitlines()[0].split(",") == AMES.split()
    arguments = ("--observed", str(file), "--target", "SalePrice", "--folds", "2")
    assert run("fit", "housing", *arguments, "--out", str(out)) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "columns that number the rows of train.csv (Id); they are left out." in said
    assert "Left out, as they only number the rows: Id." in (out / "report.md").read_text()
    importances = pd.read_csv(out / "importances.csv", index_col="name")
    known = set(importances.index)
    assert known <= set(AMES.split()) - {"Id", "SalePrice"}
    assert len(known) > 65  # all but those that are the same in nearly all houses
    assert {"Alley", "MasVnrArea", "1stFlrSF", "3SsnPorch", "Fence"} <= known
    scores = pd.read_csv(out / "scores.csv", index_col="name")
    assert scores.loc["R2", "joint"] > 0.4
    assert scores.loc["AUC", "joint"] > 0.8
    assert abs(scores.loc["R2", "baseline"]) < 0.1
    features = pd.read_csv(file).drop(columns=["Id", "SalePrice"])
    for name in ("model", "network"):
        model = load_model(out / name)
        assert "Alley=(missing)" in model.columns_.names
        assert np.isfinite(model.predict(features)).all()


NUMBERED = {
    "from one": (lambda n: np.arange(1, n + 1), True),
    "from afar": (lambda n: np.arange(n) + 1_461, True),
    "some taken out": (lambda n: np.delete(np.arange(n + 40), np.arange(3, 83, 2)), True),
    "years": (lambda n: np.arange(n) // 2, False),
    "shuffled": (lambda n: np.random.default_rng(0).permutation(n), False),
    "far apart": (lambda n: np.arange(n) * 7, False),
    "no whole numbers": (lambda n: np.arange(n) + 0.5, False),
}


@pytest.mark.parametrize("what", NUMBERED)
def test_columns_that_number_rows_are_told_from_others(what, tmp_path):
    values, numbered = NUMBERED[what]
    file = tmp_path / "houses.csv"
    prices().assign(number=values(200)).to_csv(file, index=False)

    def read():
        return labelled_rows.read(labelled.TASK, str(file), None, Housing(), seed=0)

    if numbered:
        with pytest.warns(
            UserWarning, match=r"number the rows of houses\.csv \(number\); they are"
        ):
            rows = read()
    else:
        rows = read()
    assert ("number" in rows.x) is not numbered
    assert rows.left_out == (("number",) if numbered else ())


REFUSED = {
    "text": (lambda f: f.assign(SalePrice="dear"), BadType, "a target of numbers; got .*SalePrice"),
    "missing": (
        lambda f: f.assign(SalePrice=f["SalePrice"].mask(f.index == 4)),
        BadValue,
        "a target without NaN or inf; got nan in row 4",
    ),
    "few": (lambda f: f[:20], BadValue, "at least 50 rows .*; got 20 in houses.csv"),
    "two values": (
        lambda f: f.assign(SalePrice=(f.index % 2).astype(float)),
        BadValue,
        "a target of many values; got two values of 'SalePrice'",
    ),
    "absent": (
        lambda f: f.rename(columns={"SalePrice": "Saleprice"}),
        UnknownName,
        "a column to predict .*did you mean 'Saleprice'",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_files_are_refused_in_one_sentence(what, tmp_path):
    change, kind, sentence = REFUSED[what]
    file = tmp_path / "houses.csv"
    change(prices()).to_csv(file, index=False)
    with pytest.raises(kind, match=sentence):
        labelled_rows.read(labelled.TASK, str(file), None, Housing(), seed=0)


def test_files_that_are_none_are_refused(tmp_path):
    with pytest.raises(BadValue, match="a CSV file of features and a target"):
        labelled_rows.read(labelled.TASK, str(tmp_path / "none.csv"), None, Housing(), seed=0)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("housing", "--simulations", "9"), "--simulations is not for housing, which generates"),
        (("ricker", "--rows", "9"), "--rows is not for ricker, which generates no labelled data"),
        (("housing", "--rows", "9", "--observed", "f.csv"), "--rows and --observed exclude each"),
        (("housing", "--target", "SalePrice"), "--target needs --observed"),
        (("housing", "--rows", "9"), "at least 50 rows"),
        (("kryptonite", "--rows", "9"), "at least 50 rows"),
    ],
)
def test_options_are_refused_in_one_sentence(arguments, sentence, tmp_path, capsys):
    assert run("fit", *arguments, "--out", str(tmp_path / "out")) == 2
    assert sentence in " ".join(capsys.readouterr().err.split())


def test_directories_are_not_written_over(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(BadValue, match=r"an empty or new directory .*notes\.txt"):
        study_folder.expect_free(tmp_path, overwrite=True)
    with pytest.raises(BadValue, match="a directory for the model; got the file"):
        study_folder.expect_free(tmp_path / "notes.txt", overwrite=True)
