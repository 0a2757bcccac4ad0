"""Estimators in files: the same predictions bit by bit, and nothing else is taken for one."""

import hashlib
import json
import pickle
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import Ridge

from sbi_kit.checks import BadType, BadValue
from sbi_kit.sealed import digest_of
from sbi_kit.supervised import (
    FullyConnected,
    MultiTask,
    MultiTaskNetwork,
    ParitySolver,
    WideDeep,
    load_model,
    save_model,
)
from simulators.kryptonite import Kryptonite

ROWS = 200
SHORT = {"steps": 60, "batch_size": 32, "seed": 4}


def table():
    """Numbers and categories, both with gaps, and a number to predict."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"area": rng.normal(100, 20, ROWS), "city": rng.choice(list("ab"), ROWS)})
    y = frame["area"] + 30 * (frame["city"] == "b") + rng.normal(0, 9, ROWS)
    frame.loc[::7, "area"] = np.nan
    frame.loc[::11, "city"] = None
    return frame, y.to_numpy()


def codes():
    frame = Kryptonite(n=3).generate(ROWS, np.random.default_rng(1))
    return frame.drop(columns="label"), np.where(frame["label"], "odd", "even")


def sides():
    frame, y = table()
    return frame, np.where(y > 110, "dear", "cheap")


CASES = {
    "linear": (MultiTask(lam=0.01, rho=0.8, quantiles=[0.1, 0.9]), table),
    "trunk": (MultiTaskNetwork(width=8, dropout=0.1, **SHORT), table),
    "trunk without quantiles": (MultiTaskNetwork(width=8, quantiles=(), **SHORT), table),
    "wide & deep": (WideDeep(wide=4, deep=[8, np.int64(4)], dropout=0.1, **SHORT), sides),
    "fully connected": (FullyConnected(deep=(8,), **SHORT), sides),
    "parity": (ParitySolver(seed=2), codes),
}


@pytest.fixture(scope="module")
def fitted():
    found = {}
    for name, (model, data) in CASES.items():
        x, y = data()
        found[name] = model.fit(x, y), x, y
    return found


def told(model, x):
    """All that it predicts."""
    acts = ("predict", "predict_proba", "predict_quantiles")
    return [getattr(model, act)(x) for act in acts if hasattr(model, act)]


@pytest.mark.parametrize("name", CASES)
def test_predictions_after_loading_are_the_same_bit_by_bit(name, fitted, tmp_path):
    model, x, y = fitted[name]
    save_model(model, tmp_path / "model")
    state = torch.get_rng_state()
    same = load_model(str(tmp_path / "model"))
    assert (torch.get_rng_state() == state).all()
    assert type(same) is type(model)
    for one, other in zip(told(same, x), told(model, x), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    assert same.score(x, y) == model.score(x, y)
    assert set(vars(same)) == set(vars(model))
    with pytest.raises(ValueError, match="feature names"):
        same.predict(x.iloc[:, :1])
    again = same.fit(x, y)  # settings are complete
    np.testing.assert_array_equal(again.predict(x), model.predict(x))


def test_what_else_was_learned_comes_back(fitted, tmp_path):
    for number, (model, _, _) in enumerate(fitted.values()):
        save_model(model, tmp_path / str(number))
        same = load_model(tmp_path / str(number))
        settings = {k: tuple(v) if isinstance(v, list) else v for k, v in vars(model).items()}
        for name in model.get_params():
            assert getattr(same, name) == settings[name]
            assert not isinstance(getattr(same, name), float) or isinstance(settings[name], float)
        for name in {"evaluations_", "threshold_", "shapes_", "method_"} & set(vars(model)):
            assert getattr(same, name) == getattr(model, name)
        if isinstance(model, MultiTask):
            pd.testing.assert_frame_equal(same.importances_, model.importances_)
            same.importances_.loc["area", "both"] = 0.0  # its own, not the file's


def test_predictions_in_a_fresh_process_are_the_same(fitted, tmp_path):
    names = ("trunk", "wide & deep", "linear")
    fitted["trunk"][1].to_csv(tmp_path / "x.csv", index=False)
    for number, name in enumerate(names):
        save_model(fitted[name][0], tmp_path / str(number))
    code = """
import numpy as np, pandas as pd
from sbi_kit.supervised import load_model
x = pd.read_csv("x.csv")
np.save("p.npy", [load_model(folder).predict_proba(x) for folder in "012"])
"""
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    x = pd.read_csv(tmp_path / "x.csv")
    wanted = [fitted[name][0].predict_proba(x) for name in names]
    np.testing.assert_array_equal(np.load(tmp_path / "p.npy"), wanted)


def test_the_linear_model_is_read_without_torch(fitted, tmp_path):
    save_model(fitted["linear"][0], tmp_path / "model")
    code = """
import sys
from sbi_kit.supervised import load_model
load_model("model")
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)


@pytest.mark.parametrize(
    "names", [(0, 1), (False, True), (-1.0, 2.0), ("no", "yes"), ("nein", "j\u00e4")], ids=str
)
@pytest.mark.parametrize("kind", [None, object])
def test_classes_of_any_name_keep_their_kind(names, kind, tmp_path):
    x, y = codes()
    labels = np.array(names, dtype=kind)[(y == "odd").astype(int)]
    model = ParitySolver().fit(x, labels)
    save_model(model, tmp_path)
    told = load_model(tmp_path).predict(x)
    assert told.dtype == model.predict(x).dtype
    assert (told == model.predict(x)).all()
    assert type(told[0]) is type(model.predict(x)[0])


# What is refused


@pytest.fixture
def folder(fitted, tmp_path):
    save_model(fitted["wide & deep"][0], tmp_path / "model")
    return tmp_path / "model"


def edit(folder, change, *, arrays=None, honest=False):
    """Change the document; `honest` makes its digests fit."""
    path = folder / "model.json"
    document = json.loads(path.read_text())
    change(document)
    if arrays is not None:
        (folder / "weights.safetensors").write_bytes(arrays)
    if honest:
        document["weights"] = hashlib.sha256(
            (folder / "weights.safetensors").read_bytes()
        ).hexdigest()
        document["digest"] = digest_of(document)
    path.write_text(json.dumps(document))


def unchanged(document):
    pass


CHANGES = {
    "format": (
        lambda d: d.update(format="other"),
        "to describe an estimator of sbi_kit; got someth",
    ),
    "newer": (
        lambda d: d.update(version=2),
        r"model\.json in version 1 of the format; got version 2",
    ),
    "edited": (
        lambda d: d["settings"].update(seed=5),
        r"model\.json as sbi_kit wrote it; got contents that do not fit its digest; it was edited",
    ),
    "digest": (lambda d: d.pop("digest"), "contents that do not fit its digest"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_edited_documents_are_refused(what, folder):
    change, sentence = CHANGES[what]
    edit(folder, change)
    with pytest.raises(BadValue, match=sentence):
        load_model(folder)


MISFITS = {
    "method": lambda d: d.update(method="os.system"),
    "another method": lambda d: d.update(method="MultiTask"),
    "no settings": lambda d: d.update(settings=None),
    "foreign setting": lambda d: d["settings"].update(shell="rm"),
    "larger network": lambda d: d["learned"]["network"].update(wide=5),
    "network of another input": lambda d: d["learned"]["network"].update(inputs=2),
    "no network": lambda d: d["learned"].pop("network"),
    "levels": lambda d: d["learned"].update(levels={}),
    "three classes": lambda d: d["learned"]["classes"].update(values=["a", "b", "c"]),
    "class of another kind": lambda d: d["learned"]["classes"].update(kind="<M8[s]"),
}


@pytest.mark.parametrize("what", MISFITS)
def test_parts_that_do_not_fit_each_other_are_refused(what, folder):
    edit(folder, MISFITS[what], honest=True)
    with pytest.raises(BadValue, match=r"model as sbi_kit wrote it; got .*; it was edited or dam"):
        load_model(folder)


def test_torn_and_foreign_weights_are_refused(folder):
    weights = (folder / "weights.safetensors").read_bytes()
    for content in (weights[:-1], weights[:20], b"", weights[:-1] + b"\0"):
        (folder / "weights.safetensors").write_bytes(content)
        with pytest.raises(
            BadValue, match=r"weights\.safetensors as sbi_kit wrote it; got content"
        ):
            load_model(folder)
    edit(folder, unchanged, arrays=pickle.dumps({"network": 1}), honest=True)
    with pytest.raises(BadValue, match="as sbi_kit wrote it; got SafetensorError"):
        load_model(folder)


def test_torn_and_absent_documents_are_refused(folder, tmp_path):
    text = (folder / "model.json").read_text()
    for content in (text[:-40], "{", "[]", pickle.dumps(1)):
        kind = content if isinstance(content, bytes) else content.encode()
        (folder / "model.json").write_bytes(kind)
        with pytest.raises(BadValue, match=r"no whole JSON|to describe an estimator"):
            load_model(folder)
    (folder / "weights.safetensors").unlink()
    for path in (folder, tmp_path / "nothing", folder / "model.json"):
        with pytest.raises(
            BadValue, match=r"a model in .*; got none; pass the directory that save"
        ):
            load_model(path)


def test_what_cannot_be_saved_is_refused(folder, fitted, tmp_path):
    model = fitted["wide & deep"][0]
    with pytest.raises(BadValue, match=r"a directory without a model; got .*, which holds one"):
        save_model(model, folder)
    save_model(fitted["linear"][0], folder, overwrite=True)
    assert isinstance(load_model(folder), MultiTask)
    (tmp_path / "file").touch()
    with pytest.raises(BadValue, match="a directory for the model; got the file"):
        save_model(model, tmp_path / "file")
    for fresh in (WideDeep(), MultiTask(), ParitySolver()):
        with pytest.raises(
            BadType, match=r"a fitted .*; got one that was not fitted; fit it first"
        ):
            save_model(fresh, tmp_path / "fresh")
    with pytest.raises(BadType, match=r"one of MultiTask, .*ParitySolver; got Ridge"):
        save_model(Ridge(), tmp_path / "fresh")
    with pytest.raises(BadType, match=r"one of MultiTask, .*; got WideDeep"):
        save_model(type("WideDeep", (), {})(), tmp_path / "fresh")
    x, y = codes()
    dates = np.array(["2001", "2002"], dtype="datetime64[Y]")[(y == "odd").astype(int)]
    with pytest.raises(BadType, match="classes that a file can hold, numbers or text"):
        save_model(ParitySolver().fit(x, dates), tmp_path / "fresh")
    odd = WideDeep().set_params(seed=3 + 0j)
    vars(odd).update({k: v for k, v in vars(model).items() if k.endswith("_")})
    with pytest.raises(BadType, match="settings that a file can hold"):
        save_model(odd, tmp_path / "fresh")
    assert not (tmp_path / "fresh").exists()
