"""How the posterior was made, and all it takes to make the page again."""

import platform
from importlib.metadata import version

from sbi_kit import plots
from sbi_kit.chapters.found import Found
from sbi_kit.chapters.words import picture_of, write_plain
from sbi_kit.neural import NeuralPosterior
from sbi_kit.page import Facts, Prose, Section

_PACKAGES = "sbi_kit numpy scipy torch nflows arviz matplotlib"


def training(found: Found) -> Section:
    """How the posterior was made: how its network learned, if it has one."""
    history = found.posterior.history
    facts = {
        name.replace("_", " "): write_plain(value)
        for name, value in history.items()
        if value is not None and not isinstance(value, (list, dict))
    }
    if not isinstance(found.posterior, NeuralPosterior):
        text = "No network was trained: simulations like the data stand for their posterior."
        return Section("training", "Training", [Prose(text), Facts(facts)])
    picture = picture_of(
        lambda dark: plots.training(history, dark=dark),
        "Training and validation loss over the steps of training",
        "The loss on simulations that are only validated with should end flat. If it still falls, "
        "more steps would help; if it rises while the other falls, more simulations would.",
    )
    return Section("training", "Training", [picture, Facts(facts)])


def settings(found: Found) -> Section:
    """All it takes to make this page again."""
    judged = found.verdict
    facts = {
        "draws of each observed dataset": f"{found.draws.shape[1]:,}",
        "seed of this page": str(found.seed),
        **({} if judged is None else {"seed of the calibration check": str(judged.seed)}),
        **found.posterior.made_of,
        "Python": platform.python_version(),
        **{name: version(name) for name in _PACKAGES.split()},
    }
    return Section("settings", "Settings, seeds and versions", [Facts(facts)])
