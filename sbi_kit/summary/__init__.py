"""Networks that turn a dataset of any size into features of fixed size.

Every summary maps x (b, n, inputs), padded, and the true sizes n (b,) to features (b, width), and
keeps two laws: what stands in the padding changes nothing, and a dataset's features do not depend
on its neighbours in the batch.
"""

from collections.abc import Callable

from torch import nn

from sbi_kit.data import AnyLayout, Exchangeable, Vector
from sbi_kit.summary.deep_set import DeepSet
from sbi_kit.summary.identity import Identity
from sbi_kit.summary.recurrent import CELLS, Recurrent

_SHORT = 64  # numbers of a fixed-size series that are better seen at once than one by one


def _recurrent(cell: str) -> Callable[..., nn.Module]:
    return lambda inputs, width, hidden, longest: Recurrent(
        inputs, width, cell=cell, hidden=hidden, longest=longest
    )


SUMMARIES: dict[str, Callable[..., nn.Module]] = {
    "identity": lambda inputs, width, hidden, longest: Identity(inputs, width),  # noqa: ARG005
    "deep_set": lambda inputs, width, hidden, longest: DeepSet(  # noqa: ARG005
        inputs, width, hidden=hidden
    ),
    **{cell: _recurrent(cell) for cell in CELLS},
}


def default_summary(layout: AnyLayout) -> str:
    """The summary that suits a layout."""
    if isinstance(layout, Exchangeable):
        return "deep_set"
    if isinstance(layout, Vector):
        return "identity"
    low, high = layout.n_range
    return "identity" if low == high and high * len(layout.columns) <= _SHORT else "gru"
