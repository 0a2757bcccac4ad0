"""`sbi-kit fit` with two classes: scores beside baselines, files, and what is refused."""

from functools import partial

import numpy as np
import pandas as pd
import pytest

from sbi_kit import classified, cli, labelled_rows
from sbi_kit.checks import BadValue, UnknownName
from sbi_kit.registry import load_generator
from sbi_kit.supervised import FullyConnected, WideDeep, load_model
from simulators.housing import Housing
from simulators.kryptonite import Kryptonite


def run(*arguments):
    with pytest.raises(SystemExit) as end:
        cli.main(arguments)
    return end.value.code or 0


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "kryptonite"
    patch = pytest.MonkeyPatch()
    # Small networks: what they need for two bits.
    patch.setattr(classified, "_RATES", (1e-2,))
    patch.setattr(classified, "WideDeep", partial(WideDeep, wide=16, deep=(32, 16), steps=300))
    patch.setattr(classified, "FullyConnected", partial(FullyConnected, steps=100))
    assert run("fit", "kryptonite", "--set", "n=3", "--rows", "400", "--out", str(out)) == 0
    patch.undo()
    return out


def test_which_generators_it_concerns():
    assert classified.concerns(Kryptonite())
    assert not classified.concerns(Housing())


def test_tables_figures_and_page_are_written(fitted):
    assert {path.name for path in fitted.iterdir()} == {
        *("network", "scores.csv", "rates.csv", "rates.png", "calibration.png", "report.md")
    }
    scores = pd.read_csv(fitted / "scores.csv", index_col="model")
    best = Kryptonite(n=3).best_guess_accuracy
    assert scores.loc["best possible", "accuracy"] == pytest.approx(best)
    assert scores.loc["wide & deep", "accuracy"] > best - 4 * np.sqrt(0.07 * 0.93 / 120)
    assert scores.loc["parity solver", "accuracy"] > best - 4 * np.sqrt(0.07 * 0.93 / 120)
    assert abs(scores.loc["logistic regression", "accuracy"] - 0.5) < 0.2
    assert scores.loc["majority", "AUC"] == 0.5
    assert pd.read_csv(fitted / "rates.csv")["rate"].tolist() == [1e-2]
    rows = labelled_rows.generated(classified.TASK, "kryptonite", Kryptonite(n=3), 400, seed=0)
    reached = load_model(fitted / "network").score(rows.x_test, rows.y_test)
    assert reached == pytest.approx(scores.loc["wide & deep", "accuracy"])
    text = (fitted / "report.md").read_text()
    assert "The class is a parity.** It is that of 2 bits of 3" in text
    assert f"a share {best:.4f} of the rows" in text
    assert "| rate | validation loss | accuracy |" in text
    assert "Seconds are those of the training." in text
    assert "with its standard error, by which nothing is chosen." in text
    assert "nan" not in text
    by_heart = load_model(fitted / "network").score(rows.x, rows.y)
    told, solved, majority = (
        scores.loc[name, "accuracy"] for name in ("wide & deep", "parity solver", "majority")
    )
    assert (
        f"{by_heart:.3f} of the labels it learned from and {told:.3f} of the others, where the "
        f"parity tells {solved:.3f} and the majority {majority:.3f}."
    ) in text
    assert f"where a coin tells 0.5 ± {0.5 / np.sqrt(120):.3f}" in text


def test_a_directory_in_use_is_refused(fitted, capsys):
    assert run("fit", "kryptonite", "--rows", "60", "--out", str(fitted)) == 2
    assert "a directory without a model" in capsys.readouterr().err
    assert run("fit", "kryptonite", "--rows", "60", "--folds", "3", "--out", "new") == 2
    assert "--folds is not for kryptonite, whose rows are of two" in capsys.readouterr().err


def test_the_scored_rows_are_seen_by_nothing_else():
    rows = labelled_rows.generated(
        classified.TASK, "kryptonite", load_generator("kryptonite", {}), 1_000, seed=0
    )
    assert (len(rows.x), len(rows.x_test)) == (700, 300)
    assert not set(rows.x.index) & set(rows.x_test.index)
    assert rows.best == {"accuracy": Kryptonite().best_guess_accuracy}


def test_a_file_of_other_classes(tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"size": rng.standard_normal(200), "kind": rng.choice(["a", "b"], 200)})
    file = tmp_path / "table.csv"
    frame.to_csv(file, index=False)
    rows = labelled_rows.read(classified.TASK, str(file), "kind", Kryptonite(), seed=0)
    assert rows.best == {}
    assert set(rows.y) == {0.0, 1.0}
    assert list(rows.x.columns) == ["size"]
    with pytest.raises(UnknownName, match="column to predict"):
        labelled_rows.read(classified.TASK, str(file), None, Kryptonite(), seed=0)
    with pytest.raises(BadValue, match="a CSV file of features and a class"):
        labelled_rows.read(classified.TASK, str(tmp_path / "none.csv"), None, Kryptonite(), seed=0)
    with pytest.raises(BadValue, match="two classes; got Unknown label type: continuous"):
        labelled_rows.read(classified.TASK, str(file), "size", Kryptonite(), seed=0)
