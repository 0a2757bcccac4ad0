"""What a report is about: everything that was found, and the title that follows from it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeAlias

from sbi_kit import contracts
from sbi_kit.checks import show_names
from sbi_kit.contracts import Array
from sbi_kit.data import Datasets
from sbi_kit.diagnostics.predictive import PredictiveCheck
from sbi_kit.diagnostics.verdict import Verdict
from sbi_kit.importance import Correction
from sbi_kit.loading import SavedPosterior
from sbi_kit.page import Section

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False, kw_only=True)
class Found:
    """All that a report is about.

    Attributes:
        posterior: The posterior.
        model: Its simulator, if there is one.
        observed: The b observed datasets.
        table: Mean, sd and interval, a row for each parameter (and dataset).
        draws: Posterior draws, shape (b, s, d).
        prior: Draws of the prior, shape (p, d).
        scores: Misspecification scores, shape (b,).
        p_values: Their p-values, shape (b,).
        together: Discrepancy of several datasets together from simulations, and its p-value.
        correction: The draws weighted by the likelihood, where the model has one.
        verdict: The verdict of held-out simulations, if there were any.
        check: The predictive check, if there was one.
        replicated: Replicates of the data, shape (b, k, n, columns).
        reason: Why there is no model or no check; empty if there are.
        remarks: Warnings of the inference.
        seed: Seed of draws and replicates.
    """

    posterior: SavedPosterior
    model: contracts.Simulator | None
    observed: Datasets
    table: "pd.DataFrame"
    draws: Array
    prior: Array
    scores: Array
    p_values: Array
    together: tuple[float, float] | None
    correction: Correction | None
    verdict: Verdict | None
    check: PredictiveCheck | None
    replicated: Array | None
    reason: str
    remarks: Sequence[str]
    seed: int

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters."""
        return self.posterior.prior.names

    @property
    def several(self) -> bool:
        """Whether there are several observed datasets."""
        return len(self.observed) > 1


Chapter: TypeAlias = Callable[[Found], Section]


def title_of(found: Found) -> tuple[str, str]:
    """Title and subtitle of the page."""
    b = len(found.observed)
    what = "one observed dataset" if b == 1 else f"{b:,} observed datasets"
    made = datetime.now(UTC).date().isoformat()
    title = f"Posterior of {found.posterior.simulator['name']} given {what}"
    return (
        title,
        f"{show_names(found.names)}: what the data say, and how far to trust it. Made {made}.",
    )
