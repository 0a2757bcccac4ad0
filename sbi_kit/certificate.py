"""What a calibration check found, kept beside the posterior that it judged.

`certificate.json` lies in the posterior's directory as a file of its own, so that a check leaves
the posterior's bytes alone. It names the document it belongs to by digest, which covers the weights
too, and carries a digest of itself (`sbi_kit.sealed`): the certificate of other weights, or an
edited one, is not believed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from importlib.metadata import version
from os import PathLike
from pathlib import Path
from typing import Any, Protocol

from sbi_kit.checks import BadValue, show_names
from sbi_kit.files import write_whole
from sbi_kit.posterior_file import CERTIFICATE, read_posterior
from sbi_kit.prior import prior_from_dict
from sbi_kit.sealed import Form, changed, seal, unseal

FORM = Form("a certificate", CERTIFICATE, "sbi_kit.certificate", 1)
UNCHECKED = "Never checked: run sbi-kit check DIR, or sk.calibrate and sk.certify."


class Part(Protocol):
    """What a certificate asks of the verdict on some of the datasets."""

    @property
    def label(self) -> str: ...

    @property
    def passed(self) -> bool: ...


class Judgement(Protocol):
    """What a certificate asks of a verdict; `sbi_kit.calibrate` gives one."""

    @property
    def names(self) -> tuple[str, ...]: ...

    @property
    def datasets(self) -> int: ...

    @property
    def draws(self) -> int: ...

    @property
    def seed(self) -> int: ...

    @property
    def level(self) -> float: ...

    @property
    def enough(self) -> bool: ...

    @property
    def passed(self) -> bool: ...

    @property
    def passed_by_parameter(self) -> dict[str, bool]: ...

    @property
    def strata(self) -> Sequence[Part]: ...

    @property
    def sentence(self) -> str: ...


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """The verdict of a calibration check; `str` of it is one line.

    Attributes:
        passed: Whether no miscalibration was found.
        enough: Whether there were datasets enough for a pass to mean something.
        sentence: The verdict in words.
        parameters: Whether each parameter, and each other judged quantity, passed.
        strata: Whether each part of the simulations, by size or region, passed.
        datasets: Held-out simulations that were judged.
        draws: Posterior draws for each of them.
        seed: Seed of the check.
        level: Probability that an exact posterior passes.
        date: Day of the check, UTC, as 2026-11-21.
        sbi_kit: Version of the package that checked.
        posterior: Digest of the document of the posterior it is of.
    """

    passed: bool
    enough: bool
    sentence: str
    parameters: Mapping[str, bool]
    strata: Mapping[str, bool]
    datasets: int
    draws: int
    seed: int
    level: float
    date: str
    sbi_kit: str
    posterior: str

    def __str__(self) -> str:
        finding, space, rest = self.sentence.partition(" ")
        loud = finding if self.passed else finding.upper()
        return f"Checked {self.date}: {loud}{space}{rest}"


def certify(folder: str | PathLike[str], verdict: Judgement) -> Certificate:
    """Keep a verdict beside the posterior that it judged, in place of an earlier one.

    Args:
        folder: The posterior's directory; that it is the very posterior judged is up to the caller.
        verdict: What `sbi_kit.calibrate` found.

    Raises:
        BadValue: There is no posterior, or a damaged one, or one of other parameters.
        OSError: The directory cannot be written to.
    """
    document, _ = read_posterior(Path(folder))
    names = prior_from_dict(document["prior"]).names
    if verdict.names[: len(names)] != names:
        wanted, got = f"a verdict on {show_names(names)}", f"one on {show_names(verdict.names)}"
        raise BadValue(wanted, got, f"judge the posterior in {folder}")
    certificate = Certificate(
        passed=verdict.passed,
        enough=verdict.enough,
        sentence=verdict.sentence,
        parameters=verdict.passed_by_parameter,
        strata={part.label: bool(part.passed) for part in verdict.strata},
        datasets=verdict.datasets,
        draws=verdict.draws,
        seed=verdict.seed,
        level=verdict.level,
        date=datetime.now(UTC).date().isoformat(),
        sbi_kit=version("sbi_kit"),
        posterior=document["digest"],
    )
    write_certificate(Path(folder), certificate)
    return certificate


def write_certificate(folder: Path, certificate: Certificate) -> None:
    """Write a certificate; the file appears whole or not at all."""
    text, _ = seal(FORM, asdict(certificate))
    write_whole(folder / CERTIFICATE, text)


def read_certificate(folder: Path, posterior: str) -> Certificate | None:
    """The certificate of the posterior whose document has a digest; None if it was never checked.

    Raises:
        BadValue: There is one, but edited, damaged, of another format, or of another posterior.
    """
    path = folder / CERTIFICATE
    advice = f"run sbi-kit check {folder} to judge the posterior again"
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return None
    document = unseal(FORM, path, text, do=advice)
    names = {field.name for field in fields(Certificate)}
    content: dict[str, Any] = {name: document[name] for name in names & document.keys()}
    if set(content) != names:
        raise changed(path, "other entries", do=advice)
    if content["posterior"] != posterior:
        raise BadValue(f"{path} of the weights beside it", "one of other weights", advice)
    return Certificate(**content)
