"""What each check came to, as a status and a sentence."""

from collections.abc import Iterator

import numpy as np

from sbi_kit.certificate import UNCHECKED
from sbi_kit.chapters.found import Found
from sbi_kit.page import Status

_UNLIKE, _DOUBTFUL = 0.01, 0.05  # p-values, times the number of datasets


def calibration_finding(found: Found) -> tuple[str, Status, str]:
    """What held-out simulations, or the certificate of them, came to."""
    title, kept = "Calibration", found.verdict or found.posterior.certificate
    if kept is None:
        return title, "none", certified(found)
    status: Status = "fault" if not kept.passed else "fine" if kept.enough else "doubt"
    return title, status, kept.sentence if found.verdict else str(kept)


def predictive_finding(found: Found) -> tuple[str, Status, str]:
    """Whether replicates of the data look like the data."""
    title, check = "Fit of the model", found.check
    if check is None:
        return title, "none", found.reason
    status: Status = "fault" if check.unlike.any() else "fine" if check.enough else "doubt"
    return title, status, check.sentence


def familiarity_finding(found: Found) -> tuple[str, Status, str]:
    """Whether the data look like what was simulated."""
    worst, b = int(np.argmin(found.p_values)), len(found.p_values)
    p, usual = float(found.p_values[worst]), found.posterior.familiarity.usual
    status: Status = "fault" if p * b < _UNLIKE else "doubt" if p * b < _DOUBTFUL else "fine"
    like = {
        "fault": "are unlike everything that was simulated",
        "doubt": "are unlike most of what was simulated",
    }.get(status, "look like what was simulated")
    which = f"Dataset {worst}, the strangest of {b:,}, has" if b > 1 else "They have"
    return (
        "Familiarity of the data",
        status,
        f"The data {like}. {which} the misspecification score {found.scores[worst]:.3g}, and 95 % "
        f"of simulations lie below {usual:.3g} (p = {p:.2g}).",
    )


def correction_finding(found: Found) -> Iterator[tuple[str, Status, str]]:
    """Whether the likelihood, where there is one, agrees with the posterior."""
    if found.correction is not None:
        status: Status = "fine" if found.correction.reliable.all() else "doubt"
        yield "Agreement with the likelihood", status, found.correction.sentence


def certified(found: Found) -> str:
    """The certificate in words, also where there is none."""
    return str(found.posterior.certificate or UNCHECKED)
