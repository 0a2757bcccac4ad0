"""How the posterior was made, and all it takes to make the page again."""

import platform
from dataclasses import asdict
from importlib.metadata import version

from sbi_kit import plots
from sbi_kit.chapters.found import Found
from sbi_kit.chapters.words import picture_of, write_plain
from sbi_kit.page import Facts, Section

_PACKAGES = "sbi_kit numpy scipy torch nflows arviz matplotlib"


def training(found: Found) -> Section:
    """How the network learned."""
    history = found.posterior.history
    picture = picture_of(
        lambda dark: plots.training(history, dark=dark),
        "Training and validation loss over the steps of training",
        "The loss on simulations that are only validated with should end flat. If it still falls, "
        "more steps would help; if it rises while the other falls, more simulations would.",
    )
    facts = {
        name.replace("_", " "): write_plain(value)
        for name, value in history.items()
        if value is not None and not isinstance(value, (list, dict))
    }
    return Section("training", "Training", [picture, Facts(facts)])


def settings(found: Found) -> Section:
    """All it takes to make this page again."""
    judged = found.verdict
    sizes = asdict(found.posterior.architecture)
    facts = {
        "draws of each observed dataset": f"{found.draws.shape[1]:,}",
        "seed of this page": str(found.seed),
        **({} if judged is None else {"seed of the calibration check": str(judged.seed)}),
        "network": ", ".join(f"{name} {write_plain(value)}" for name, value in sizes.items()),
        "networks": str(found.posterior.members),
        "Python": platform.python_version(),
        **{name: version(name) for name in _PACKAGES.split()},
    }
    return Section("settings", "Settings, seeds and versions", [Facts(facts)])
