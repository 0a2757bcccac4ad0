"""The verdict beside the posterior: believed as long as both are as they were written."""

import json
import warnings
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import SimpleNamespace

import numpy as np
import pytest

import sbi_kit as sk
from sbi_kit import certificate
from sbi_kit.certificate import UNCHECKED, Certificate, certify, write_certificate
from sbi_kit.checks import BadValue
from sbi_kit.posterior_file import CERTIFICATE, DOCUMENT, WEIGHTS
from sbi_kit.sealed import digest_of

X = np.array([[0.3, -1.0]])


@dataclass(frozen=True)
class Found:
    """A verdict with just what a certificate asks for."""

    names: tuple[str, ...] = ("a", "b")
    datasets: int = 500
    draws: int = 300
    seed: int = 4
    level: float = 0.95
    enough: bool = True
    sentence: str = "No miscalibration found (500 datasets, joint 95 % bands): shifts of .2 show."
    failed: tuple[str, ...] = ()
    strata: tuple[SimpleNamespace, ...] = ()

    @property
    def passed_by_parameter(self):
        return {name: name not in self.failed for name in self.names}

    @property
    def passed(self):
        return not self.failed


def simulated(theta, rng):
    return theta + 0.5 * rng.standard_normal(theta.shape)


def trained(seed, b="b"):
    model = sk.Simulator(
        name="two",
        prior=sk.Prior(a=sk.Normal(0, 1), **{b: sk.LogNormal(0, 0.5)}),
        data=sk.Vector(columns=("x", "y")),
        simulate=simulated,
    )
    return sk.fit(
        sk.simulate(model, 1_000, seed=1), seed=seed, width=8, hidden=8, steps=5, members=1
    )


@pytest.fixture(scope="module")
def posterior():
    return trained(2)


@pytest.fixture
def folder(posterior, tmp_path):
    posterior.save(tmp_path / "run")
    return tmp_path / "run"


def contents(folder):
    return {entry.name: entry.read_bytes() for entry in folder.iterdir()}


def told(folder):
    """The posterior that is loaded without a certificate, and the one warning why."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loaded = sk.load(folder)
    (warning,) = caught
    assert warning.filename == __file__
    assert loaded.certificate is None
    assert str(loaded).endswith(f"\n{UNCHECKED}")
    sentence = str(warning.message)
    assert sentence.startswith("Expected ")
    assert sentence.endswith(f"; run sbi-kit check {folder} to judge the posterior again.")
    return sentence


# What it says


def test_a_verdict_is_kept_and_shown(folder):
    before = contents(folder)
    part = SimpleNamespace(label="n 5..20", passed=np.bool_(False))
    days = [datetime.now(UTC).date().isoformat()]
    made = certify(folder, Found(strata=(part,)))
    days.append(datetime.now(UTC).date().isoformat())
    loaded = sk.load(str(folder))
    assert loaded.certificate == made
    assert {k: v for k, v in contents(folder).items() if k != CERTIFICATE} == before
    assert made.date in days
    assert made.posterior == json.loads(before[DOCUMENT])["digest"]
    assert made == Certificate(
        passed=True,
        enough=True,
        sentence=Found().sentence,
        parameters={"a": True, "b": True},
        strata={"n 5..20": False},
        datasets=500,
        draws=300,
        seed=4,
        level=0.95,
        date=made.date,
        sbi_kit=made.sbi_kit,
        posterior=made.posterior,
    )
    assert made.sbi_kit == json.loads(before[DOCUMENT])["versions"]["sbi_kit"]
    assert str(loaded) == (
        f"Posterior of a, b, given data of two\nChecked {made.date}: No miscalibration found (500 "
        "datasets, joint 95 % bands): shifts of .2 show."
    )
    marks = loaded.infer(X, draws=5, seed=1, predictive=0)["posterior"].attrs
    assert marks["calibration"] == str(made)


def test_a_failure_is_loud(folder):
    made = certify(folder, Found(failed=("b",), sentence="Miscalibrated (500 datasets): b is off."))
    assert made.parameters == {"a": True, "b": False}
    assert str(made) == f"Checked {made.date}: MISCALIBRATED (500 datasets): b is off."
    assert str(sk.load(folder)).endswith(str(made))


def test_a_real_verdict_is_kept(posterior, folder):
    verdict = sk.calibrate(posterior, sk.simulate(posterior.model, 100, seed=9), draws=50, seed=5)
    made = certify(folder, verdict)
    loaded = sk.load(folder).certificate
    assert loaded == made
    assert (loaded.passed, loaded.sentence) == (verdict.passed, verdict.sentence)
    assert (loaded.datasets, loaded.draws, loaded.seed, loaded.level) == (100, 50, 5, 0.95)
    assert loaded.parameters == verdict.passed_by_parameter


def test_what_was_never_checked_says_so(posterior, folder):
    loaded = sk.load(folder)
    assert loaded.certificate is None
    for one in (posterior, loaded):
        assert str(one) == (
            "Posterior of a, b, given data of two\n"
            "Never checked: run sbi-kit check DIR, or sk.calibrate and sk.certify."
        )


def test_the_last_verdict_counts(folder):
    certify(folder, Found(seed=1))
    certify(folder, Found(seed=2))
    assert sk.load(folder).certificate.seed == 2
    assert sorted(contents(folder)) == [CERTIFICATE, DOCUMENT, WEIGHTS]


# What is not believed


def test_the_certificate_of_other_weights_is_not_believed(folder, tmp_path):
    trained(3).save(tmp_path / "other")
    certify(tmp_path / "other", Found())
    (folder / CERTIFICATE).write_bytes((tmp_path / "other" / CERTIFICATE).read_bytes())
    assert "of the weights beside it; got one of other weights" in told(folder)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"passed": false', '"passed": true'),
        ('"datasets": 500', '"datasets": 5000'),
        ('"a": true', '"a": false'),
        ("is off", "is on"),
        ('"draws": 300,', ""),
    ],
)
def test_an_edited_certificate_is_not_believed(folder, old, new):
    certify(folder, Found(failed=("b",), sentence="Miscalibrated: b is off."))
    text = (folder / CERTIFICATE).read_text()
    assert old in text
    (folder / CERTIFICATE).write_text(text.replace(old, new))
    assert "as sbi_kit wrote it; got contents that do not fit its digest" in told(folder)


DAMAGED = (b"", b"[" * 100_000, b"\xff\xfe")
OTHER = (b"[]", b"3", b"{}", b"null")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        *((damaged, "as sbi_kit wrote it; got no whole JSON") for damaged in DAMAGED),
        *((other, "to describe a certificate of sbi_kit; got something else") for other in OTHER),
    ],
)
def test_a_damaged_certificate_does_not_cost_the_posterior(posterior, folder, content, expected):
    (folder / CERTIFICATE).write_bytes(content)
    assert f"certificate.json {expected}" in told(folder)
    with pytest.warns(UserWarning, match=expected):
        draws = sk.load(folder).sample(X, draws=5, seed=1)
    np.testing.assert_array_equal(draws, posterior.sample(X, draws=5, seed=1))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"version": 2}, "in version 1 of the format; got version 2"),
        ({"format": "other"}, "to describe a certificate of sbi_kit; got something else"),
        ({"sbi_kit": None}, "as sbi_kit wrote it; got other entries"),
    ],
)
def test_another_format_is_not_guessed_at(folder, change, expected):
    certify(folder, Found())
    document = json.loads((folder / CERTIFICATE).read_text()) | change
    if change == {"sbi_kit": None}:
        del document["sbi_kit"]
    document["digest"] = digest_of(document)
    (folder / CERTIFICATE).write_text(json.dumps(document))
    assert f"certificate.json {expected}" in told(folder)


# Where it goes


def test_overwriting_a_posterior_removes_its_certificate(folder):
    certify(folder, Found())
    trained(3).save(folder, overwrite=True)
    assert sorted(contents(folder)) == [DOCUMENT, WEIGHTS]
    assert sk.load(folder).certificate is None


def test_a_copy_takes_its_certificate_along(folder, tmp_path):
    made = certify(folder, Found())
    loaded = sk.load(folder)
    loaded.save(tmp_path / "copy")
    loaded.save(folder, overwrite=True)
    assert contents(tmp_path / "copy") == contents(folder)
    assert sk.load(tmp_path / "copy").certificate == made
    replace(loaded, history=loaded.history | {"note": "changed"}).save(tmp_path / "changed")
    assert sorted(contents(tmp_path / "changed")) == [DOCUMENT, WEIGHTS]


def test_a_directory_with_nothing_but_a_certificate_is_free(posterior, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / CERTIFICATE).write_text("left by a kill")
    posterior.save(tmp_path / "run")
    assert sk.load(tmp_path / "run").certificate is None


def test_a_kill_leaves_the_old_certificate_or_the_new(folder, monkeypatch):
    made = certify(folder, Found(seed=1))

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("sbi_kit.files.publish", killed)
    with pytest.raises(KeyboardInterrupt):
        certify(folder, Found(seed=2))
    monkeypatch.undo()
    assert sk.load(folder).certificate == made


def test_verdicts_on_something_else_are_refused(folder, tmp_path):
    for names in (("b", "a"), ("a",), ("a", "c")):
        with pytest.raises(
            BadValue, match=rf"Expected a verdict on a, b; got one on {', '.join(names)}; judge"
        ):
            certify(folder, Found(names=names))
    assert sorted(contents(folder)) == [DOCUMENT, WEIGHTS]
    assert certify(folder, Found(names=("a", "b", "ratio"))).parameters["ratio"]
    with pytest.raises(BadValue, match=r"a posterior in .*none; got no posterior\.json; pass the"):
        certify(tmp_path / "none", Found())


def test_the_date_is_that_of_greenwich(folder, monkeypatch):
    class Clock:
        @staticmethod
        def now(zone):
            assert zone is UTC
            return datetime(2026, 11, 21, 23, 59, tzinfo=UTC)

    monkeypatch.setattr(certificate, "datetime", Clock)
    made = certify(folder, Found())
    assert made.date == "2026-11-21"
    write_certificate(folder, replace(made, date="2026-11-22"))
    assert str(sk.load(folder)).splitlines()[1].startswith("Checked 2026-11-22: No miscalibr")
