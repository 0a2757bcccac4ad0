import hashlib
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

import sbi_kit as sk
from sbi_kit.checks import BadType, BadValue
from sbi_kit.posterior_file import (
    CHECKPOINT,
    DOCUMENT,
    WEIGHTS,
    read_posterior,
    write_posterior,
)
from sbi_kit.summary import SUMMARIES

X = np.array([[0.3, -1.0], [1.0, 2.0]])
PRIORS = {
    "normal": sk.Prior(a=sk.Normal(0, 1), b=sk.LogNormal(0, 0.5)),
    "bounded": sk.Prior(a=sk.Uniform(0.01, 2), b=sk.Uniform(-1, "a")),
    "joint": sk.Prior(sk.MultivariateNormal(("a", "b"), (0, 1), [[1, 0.5], [0.5, 2]])),
}


def trained(prior, data=None, summary=None, simulate=None):
    model = sk.Simulator(
        name="two",
        prior=prior,
        data=data or sk.Vector(columns=("x", "y")),
        simulate=simulate or (lambda theta, rng: theta + 0.5 * rng.standard_normal(theta.shape)),
    )
    bank = sk.simulate(model, 1_000, seed=1)
    return sk.fit(bank, seed=2, summary=summary, width=8, hidden=8, blocks=2, steps=25, members=1)


@pytest.fixture(scope="module")
def posterior():
    return trained(PRIORS["normal"])


@pytest.fixture
def saved(posterior, tmp_path):
    posterior.save(tmp_path / "run")
    return tmp_path / "run"


def contents(folder):
    return {entry.name: entry.read_bytes() for entry in folder.iterdir()}


def refused(folder, text):
    """Loading is refused in one sentence, and touches nothing."""
    before = contents(folder) if folder.is_dir() else None
    with pytest.raises(BadValue, match=text) as caught:
        sk.load(folder)
    sentence = str(caught.value)
    assert sentence.startswith("Expected ")
    assert "\n" not in sentence
    assert (contents(folder) if folder.is_dir() else None) == before


def digest_of(document):
    rest = {key: value for key, value in document.items() if key != "digest"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def rewrite(folder, change, weights=None):
    """Change the document, and forge the digests that should have told."""
    document = json.loads((folder / DOCUMENT).read_text())
    change(document)
    if weights is not None:
        (folder / WEIGHTS).write_bytes(weights)
        document["weights"] = hashlib.sha256(weights).hexdigest()
    document["digest"] = digest_of(document)
    (folder / DOCUMENT).write_text(json.dumps(document))


# Save, load


@pytest.mark.parametrize("prior", PRIORS)
def test_what_is_loaded_draws_the_same(prior, tmp_path):
    posterior = trained(PRIORS[prior])
    posterior.save(tmp_path / "run")
    same = sk.load(tmp_path / "run")
    draws = posterior.sample(X, draws=30, seed=3)
    assert same.sample(X, draws=30, seed=3).tobytes() == draws.tobytes()
    assert same.log_prob(draws, X).tobytes() == posterior.log_prob(draws, X).tobytes()
    assert same.prior == posterior.prior
    for part in ("data", "simulator", "architecture", "history"):
        assert getattr(same, part) == getattr(posterior, part)
    assert same.model is None
    p, q = (one.familiarity.p_value(np.linspace(0, 9, 50)) for one in (same, posterior))
    assert np.array_equal(p, q)


@pytest.mark.parametrize("summary", sorted(set(SUMMARIES) - {"identity", "two_way"}))
def test_every_summary_is_restored(summary, tmp_path):
    posterior = trained(
        PRIORS["normal"],
        sk.Series(columns=("x", "y"), n=(2, 5)),
        summary,
        lambda theta, rng, n: theta[:, None] + rng.standard_normal((len(theta), n, 2)),
    )
    posterior.save(tmp_path / "run")
    x = [X, 0.5 * X[:2]]
    one, two = (p.sample(x, draws=9, seed=3) for p in (posterior, sk.load(tmp_path / "run")))
    assert one.tobytes() == two.tobytes()


def test_saving_twice_writes_the_same_bytes(posterior, tmp_path):
    posterior.save(tmp_path / "one")
    posterior.save(str(tmp_path / "two"))
    sk.load(tmp_path / "one").save(tmp_path / "three")
    assert contents(tmp_path / "one") == contents(tmp_path / "two") == contents(tmp_path / "three")
    assert set(contents(tmp_path / "one")) == {DOCUMENT, WEIGHTS}


def test_the_document_says_what_it_is(saved):
    document = json.loads((saved / DOCUMENT).read_text())
    assert document["format"] == "sbi_kit.posterior"
    assert document["version"] == 4
    assert document["simulator"]["name"] == "two"
    assert document["data"]["columns"] == ["x", "y"]
    assert {"torch", "sbi_kit", "numpy"} <= set(document["versions"])
    assert document["training"]["simulations"] == 1_000
    assert document["training"]["validation_rows"] == 100


# Edited, truncated, of another make


@pytest.mark.parametrize(
    "edit",
    [
        lambda text: text.replace('"simulations": 1000', '"simulations": 1001'),
        lambda text: text.replace("LogNormal", "Normal").replace("log_normal", "normal"),
        lambda text: text.replace('"width": 8', '"width": 9'),
        lambda text: text.replace('"y"', '"z"'),
    ],
)
def test_a_document_edited_by_hand_is_refused(saved, edit):
    text = (saved / DOCUMENT).read_text()
    assert edit(text) != text
    (saved / DOCUMENT).write_text(edit(text))
    refused(saved, r"posterior\.json as sbi_kit wrote it; got contents that do not fit its digest")


def test_another_spacing_is_no_edit(saved):
    document = json.loads((saved / DOCUMENT).read_text())
    (saved / DOCUMENT).write_text(json.dumps(document, sort_keys=True))
    assert sk.load(saved).prior == PRIORS["normal"]


@pytest.mark.parametrize("place", [0, 9, 200, -1, -1_000])
def test_one_changed_byte_in_the_weights_is_refused(saved, place):
    content = bytearray((saved / WEIGHTS).read_bytes())
    content[place] ^= 1
    (saved / WEIGHTS).write_bytes(bytes(content))
    refused(saved, r"weights\.safetensors as sbi_kit wrote it; got contents that do not fit their")


@pytest.mark.parametrize("name", [DOCUMENT, WEIGHTS])
@pytest.mark.parametrize("keep", [0, 1, 100, -20, -2])
def test_truncated_files_are_refused(saved, name, keep):
    content = (saved / name).read_bytes()
    (saved / name).write_bytes(content[:keep])
    refused(saved, f"{name} as sbi_kit wrote it; got .*; it was edited or damaged, so restore it")


@pytest.mark.parametrize("text", ["[]", "3", '{"format": "other"}', "{}", "null"])
def test_another_document_is_refused(saved, text):
    (saved / DOCUMENT).write_text(text)
    refused(saved, r"posterior\.json to describe a posterior of sbi_kit; got something else")


@pytest.mark.parametrize(
    "text", [b"\xff\xfe\x00", b"[" * 100_000, b"{", b'{"a": 1' + b"0" * 6_000 + b"}"]
)
def test_what_is_no_json_is_refused(saved, text):
    (saved / DOCUMENT).write_bytes(text)
    refused(saved, r"posterior\.json as sbi_kit wrote it; got no whole JSON|something else")


@pytest.mark.parametrize("version", [0, 3, "4", None])
def test_another_version_is_refused_with_advice(saved, version):
    rewrite(saved, lambda document: document.update(version=version))
    refused(saved, f"in version 4 of the format; got version {version!r}; open it with the release")


class Bomb:
    """What runs code when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("forged", [False, True])
@pytest.mark.parametrize("dump", [pickle.dumps, lambda bomb: torch_bytes(bomb)])
def test_a_pickle_in_disguise_is_never_run(saved, tmp_path, dump, forged):
    payload = dump(Bomb(tmp_path / "hit"))
    if forged:
        rewrite(saved, lambda document: None, payload)
    else:
        (saved / WEIGHTS).write_bytes(payload)
    refused(saved, r"weights\.safetensors as sbi_kit wrote it; got .*edited or damaged")
    (saved / DOCUMENT).write_bytes(payload)
    refused(saved, r"posterior\.json as sbi_kit wrote it; got no whole JSON")
    assert not (tmp_path / "hit").exists()


def torch_bytes(thing):
    import io

    buffer = io.BytesIO()
    torch.save(thing, buffer)
    return buffer.getvalue()


def test_the_bomb_would_go_off(tmp_path):
    pickle.loads(pickle.dumps(Bomb(tmp_path / "hit")))
    assert (tmp_path / "hit").exists()


@pytest.mark.parametrize("name", [DOCUMENT, WEIGHTS])
def test_a_missing_file_is_named(saved, name):
    (saved / name).unlink()
    refused(
        saved, f"a posterior in .*run; got no {name}; pass the directory that fit or save wrote"
    )


def test_what_is_no_directory_is_refused(saved, tmp_path):
    refused(tmp_path / "nothing", "got no posterior.json")
    refused(saved / DOCUMENT, "got no posterior.json")
    assert not (tmp_path / "nothing").exists()


# Forged: the digests fit, the contents do not


def change_architecture(**sizes):
    return lambda document: document["architecture"].update(sizes)


@pytest.mark.parametrize(
    "change",
    [
        change_architecture(width=1_000_000),
        change_architecture(hidden=1_000_000),
        change_architecture(width=10**30),
        change_architecture(trunk=500),
        change_architecture(trunk=1_000_000),
        change_architecture(blocks=1_000_000_000),
        change_architecture(parameters=1_000_000),
        change_architecture(parameters=1),
        change_architecture(inputs=1_000_000),
        change_architecture(width=-1),
        change_architecture(width=8.5),
        change_architecture(width="8"),
        change_architecture(summary="deepset"),
        change_architecture(summary="deep_set"),
        change_architecture(summary="__import__('os')"),
        change_architecture(more=1),
        lambda document: document.update(architecture=[1, 2]),
        lambda document: document.pop("architecture"),
        lambda document: document.pop("prior"),
        lambda document: document.update(prior="x"),
        lambda document: document.pop("data"),
        lambda document: document["data"].update(kind="matrix"),
        lambda document: document["data"].update(columns=[]),
        lambda document: document.update(data=None),
        lambda document: document.pop("training"),
        lambda document: document.pop("simulator"),
    ],
)
def test_absurd_contents_are_refused_before_anything_is_built(saved, change):
    rewrite(saved, change)
    refused(saved, "whose parts fit each other; got .*it was edited or damaged, so restore it")


def test_weights_of_another_posterior_are_refused(saved):
    tensors = safetensors.torch.load((saved / WEIGHTS).read_bytes())
    missing = dict(tensors)
    missing.pop("network.summary.mix.bias")
    reshaped = tensors | {"network.summary.mix.bias": torch.zeros(9)}
    unscaled = {k: v for k, v in tensors.items() if k != "standardizer.scale"}
    more = tensors | {"network.more": torch.zeros(2)}
    for forged in (missing, reshaped, unscaled, more, {}):
        rewrite(saved, lambda document: None, safetensors.torch.save(forged))
        refused(saved, "whose parts fit each other")


# Where to write


def test_a_posterior_is_overwritten_only_when_asked(posterior, saved):
    before = contents(saved)
    with pytest.raises(
        BadValue, match=r"a directory without a posterior; got .*run, which holds one"
    ):
        posterior.save(saved)
    assert contents(saved) == before
    (saved / WEIGHTS).write_bytes(b"old")
    posterior.save(saved, overwrite=True)
    assert contents(saved) == before


@pytest.mark.parametrize("overwrite", [False, True])
def test_other_peoples_files_are_left_alone(posterior, tmp_path, overwrite):
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "thesis.tex").write_text("draft")
    with pytest.raises(
        BadValue, match=r"an empty or new directory.* with thesis\.tex in it; choose"
    ):
        posterior.save(folder, overwrite=overwrite)
    assert contents(folder) == {"thesis.tex": b"draft"}


def test_a_file_is_no_directory(posterior, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(BadValue, match=r"a directory for the posterior; got the file"):
        posterior.save(tmp_path / "file", overwrite=True)
    assert (tmp_path / "file").read_text() == "mine"


def test_what_an_interrupted_fit_left_may_stay(posterior, tmp_path):
    folder = tmp_path / "run"
    (folder / ".bank").mkdir(parents=True)
    for name in (CHECKPOINT, WEIGHTS, ".weights.tmp"):
        (folder / name).write_text("left")
    posterior.save(folder)
    assert sk.load(folder).prior == posterior.prior
    assert (folder / CHECKPOINT).read_text() == "left"


def test_folders_are_made_and_empty_ones_used(posterior, tmp_path):
    (tmp_path / "empty").mkdir()
    posterior.save(tmp_path / "empty")
    posterior.save(tmp_path / "a" / "b")
    assert contents(tmp_path / "empty") == contents(tmp_path / "a" / "b")


def test_nothing_is_written_of_what_no_file_can_hold(posterior, tmp_path):
    for document in ({"loss": float("nan")}, {"loss": object()}):
        with pytest.raises((TypeError, ValueError)):
            write_posterior(tmp_path / "run", document, {"a": torch.zeros(2)}, overwrite=False)
    assert not (tmp_path / "run").exists()


def test_a_prior_of_ones_own_cannot_be_saved(posterior, tmp_path):
    from dataclasses import replace

    class Own:
        names = ("a", "b")

    with pytest.raises(
        BadType, match=r"a prior made with sbi_kit\.Prior, which a file can hold; got Own"
    ):
        replace(posterior, prior=Own()).save(tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_documents_and_tensors_come_back(tmp_path):
    tensors = {"a": torch.randn(3, 4).T, "b": torch.arange(5)}
    write_posterior(tmp_path / "run", {"note": "größer"}, tensors, overwrite=False)
    document, found = read_posterior(tmp_path / "run")
    assert document["note"] == "größer"
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())


def test_a_kill_between_the_files_leaves_no_false_posterior(posterior, saved, monkeypatch):
    from sbi_kit import posterior_file

    original = posterior_file.publish

    def killed(folder, temporary, name):
        if name == DOCUMENT:
            raise KeyboardInterrupt
        original(folder, temporary, name)

    monkeypatch.setattr(posterior_file, "publish", killed)
    other = trained(PRIORS["joint"])
    with pytest.raises(KeyboardInterrupt):
        other.save(saved, overwrite=True)
    refused(saved, "do not fit their digest")
    fresh = saved.parent / "fresh"
    with pytest.raises(KeyboardInterrupt):
        other.save(fresh)
    refused(fresh, "got no posterior.json")
    monkeypatch.undo()
    other.save(fresh)
    assert sk.load(fresh).prior == other.prior


def test_a_kill_while_the_files_are_written_leaves_the_old_posterior(posterior, saved, monkeypatch):
    from sbi_kit import posterior_file

    original = posterior_file.write

    def killed(folder, name, content):
        if name == DOCUMENT:
            raise KeyboardInterrupt
        return original(folder, name, content)

    monkeypatch.setattr(posterior_file, "write", killed)
    with pytest.raises(KeyboardInterrupt):
        trained(PRIORS["joint"]).save(saved, overwrite=True)
    assert sk.load(saved).prior == posterior.prior
