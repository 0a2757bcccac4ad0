"""Networks that turn a dataset of any size into features of fixed size.

Every summary maps x (b, n, inputs), padded, and the true sizes n (b,) to features (b, width), and
keeps two laws: what stands in the padding changes nothing, and a dataset's features do not depend
on its neighbours in the batch.
"""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from sbi_kit.data import AnyLayout, Exchangeable, Matrix, Series, Vector
from sbi_kit.summary.convolution import Convolution
from sbi_kit.summary.deep_set import DeepSet
from sbi_kit.summary.identity import Identity
from sbi_kit.summary.recurrent import Recurrent
from sbi_kit.summary.set_transformer import SetTransformer
from sbi_kit.summary.twice import Twice
from sbi_kit.summary.two_way import TwoWay


@runtime_checkable
class Adaptive(Protocol):
    """A summary with scales that are learned from data before it is trained."""

    def adapt(self, x: Tensor, n: Tensor, zero: Tensor) -> None:
        """Learn them from datasets like those of a forward pass; zero (inputs,) is zero there."""


_SHORT = 32  # numbers of a fixed-size series that are better seen at once than one by one


def _recurrent(cell: str, *, both_ways: bool) -> Callable[..., nn.Module]:
    return lambda inputs, width, hidden, longest, columns: Recurrent(  # noqa: ARG005
        inputs, width, cell=cell, hidden=hidden, longest=longest, both_ways=both_ways
    )


def _twice(name: str, *, ordered: bool) -> Callable[..., nn.Module]:
    def build(inputs: int, width: int, hidden: int, longest: int, columns: int) -> nn.Module:
        first = SUMMARIES[name](inputs, width, hidden, longest, columns)
        return Twice(first, inputs, width, hidden=hidden, ordered=ordered)

    return build


# Each is built from the sizes of an `Architecture`: inputs, width, hidden, longest, columns.
SUMMARIES: dict[str, Callable[[int, int, int, int, int], nn.Module]] = {
    "identity": lambda inputs, width, hidden, longest, columns: Identity(  # noqa: ARG005
        inputs, width
    ),
    "deep_set": lambda inputs, width, hidden, longest, columns: DeepSet(  # noqa: ARG005
        inputs, width, hidden=hidden
    ),
    "set_transformer": lambda inputs, width, hidden, longest, columns: SetTransformer(  # noqa: ARG005
        inputs, width, hidden=hidden
    ),
    "two_way": lambda inputs, width, hidden, longest, columns: TwoWay(  # noqa: ARG005
        inputs, width, hidden=hidden, columns=columns
    ),
    "convolution": lambda inputs, width, hidden, longest, columns: Convolution(  # noqa: ARG005
        inputs, width, hidden=hidden, longest=longest
    ),
    "gru": _recurrent("gru", both_ways=False),
    "gru_both_ways": _recurrent("gru", both_ways=True),
    "lstm": _recurrent("lstm", both_ways=False),
    "deep_set_twice": _twice("deep_set", ordered=False),
    "gru_twice": _twice("gru", ordered=True),
}

# What some make no sense without: columns alike, or an order.
NEEDED: dict[str, type] = {
    "two_way": Matrix,
    **dict.fromkeys(("convolution", "gru", "gru_both_ways", "gru_twice", "lstm"), Series),
}
SHORTENED = ("convolution", "gru", "gru_both_ways", "lstm")  # see windows of a series alone


def default_summary(layout: AnyLayout) -> str:
    """The summary that suits a layout."""
    if isinstance(layout, Vector):
        return "identity"
    if isinstance(layout, Exchangeable):
        return "deep_set_twice"
    if isinstance(layout, Matrix):
        return "two_way" if layout.columns_exchangeable else "deep_set_twice"
    low, high = layout.n_range
    return "identity" if low == high and high * len(layout.columns) <= _SHORT else "gru_twice"
