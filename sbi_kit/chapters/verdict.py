"""The first chapter, whether any check found a fault, and the last, the certificate."""

from typing import Any

from sbi_kit.chapters.findings import (
    calibration_finding,
    certified,
    correction_finding,
    familiarity_finding,
    predictive_finding,
)
from sbi_kit.chapters.found import Found
from sbi_kit.chapters.words import in_a_row
from sbi_kit.checks import show_names
from sbi_kit.page import Facts, Findings, Notes, Part, Prose, Section


def verdict(found: Found) -> Section:
    """Whether any check found a fault, in words."""
    findings = [
        calibration_finding(found),
        predictive_finding(found),
        familiarity_finding(found),
        *correction_finding(found),
    ]
    faults = [title.lower() for title, status, _ in findings if status == "fault"]
    fine = sum(status == "fine" for _, status, _ in findings)
    if faults:
        found_in = in_a_row(faults)
        text = f"Do not trust this posterior before reading on: a fault was found in {found_in}."
    elif fine == len(findings):
        text = "No check found a fault. A check can only find what it has the power to see."
    else:
        text = f"No fault was found, but only {fine} of {len(findings)} checks came to a finding."
    parts: list[Part] = [Prose(text), Findings(findings)]
    if found.remarks:
        parts += [Prose("The inference came with warnings:"), Notes(found.remarks)]
    return Section("verdict", "Verdict", parts)


def certificate(found: Found) -> Section:
    """The verdict that is kept beside the posterior."""
    kept, title = found.posterior.certificate, "Certificate"
    if kept is None:
        return Section("certificate", title, [Prose(certified(found))])
    facts = {
        "finding": str(kept),
        "passed": _each(kept.parameters, True),
        "failed": _each(kept.parameters, False),
        "strata": f"{sum(kept.strata.values())} of {len(kept.strata)} passed",
        "datasets": f"{kept.datasets:,}",
        "draws of each": f"{kept.draws:,}",
        "seed": str(kept.seed),
        "probability that an exact posterior passes": f"{kept.level:g}",
        "checked on": kept.date,
        "by sbi_kit": kept.sbi_kit,
        "digest of the posterior": kept.posterior,
    }
    text = "The last verdict that was kept in the posterior's directory, shown whenever it is used."
    return Section("certificate", title, [Prose(text), Facts(facts)])


def _each(passed: Any, which: bool) -> str:
    return show_names([name for name, value in passed.items() if value == which]) or "none"
