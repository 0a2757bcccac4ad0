"""What each estimator has learned, taken apart into JSON values and arrays, and put together again.

Facts are what a reader may want to see (levels, units, classes, the shape of a network), arrays all
else, in full precision. An estimator that was put together predicts what the first one did, bit by
bit. Networks are built anew and their weights read into them; torch is imported for those alone.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sbi_kit.checks import BadType
from sbi_kit.contracts import Array
from sbi_kit.supervised.columns import Columns
from sbi_kit.supervised.lesson import TargetScale
from sbi_kit.supervised.proximal import Head

_CLASSES = "biufUO"  # kinds of numpy's whose values JSON holds; objects are looked at one by one
_NETWORK = "network."


@dataclass(frozen=True, eq=False)
class Parts:
    """What an estimator has learned.

    Attributes:
        facts: JSON values by name; tuples become lists on the way through a file.
        arrays: Arrays by name.
    """

    facts: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)

    def __or__(self, other: "Parts") -> "Parts":
        return Parts(self.facts | other.facts, self.arrays | other.arrays)


_Apart: TypeAlias = Callable[[Any], Parts]
_Together: TypeAlias = Callable[[Any, Parts], None]


def take_apart(model: Any) -> Parts:
    """What a fitted estimator of one of the names in `METHODS` has learned.

    Raises:
        BadType: Its classes are neither numbers nor text.
    """
    apart, _ = METHODS[type(model).__name__]
    return apart(model)


def put_together(model: Any, parts: Parts) -> None:
    """Give a new estimator what `take_apart` found; whatever does not fit raises something."""
    _, together = METHODS[type(model).__name__]
    together(model, parts)


def _linear_apart(model: Any) -> Parts:
    heads = [model.regression_, model.classification_, *model.quantile_heads_]
    arrays = {
        "heads": np.stack([np.append(head.weights, head.intercept) for head in heads]),
        "importances": np.ascontiguousarray(model.importances_.to_numpy()),
    }
    facts = {"importances": list(model.importances_.index)}
    return _columns_apart(model) | _target_apart(model) | Parts(facts, arrays)


def _linear_together(model: Any, parts: Parts) -> None:
    _columns_together(model, parts)
    _target_together(model, parts)
    rows = parts.arrays["heads"]
    if rows.shape != (2 + len(model.quantiles), len(model.columns_.names) + 1):
        raise ValueError("heads of another shape")
    heads = [Head(row[:-1], float(row[-1])) for row in rows]
    model.regression_, model.classification_, *quantiles = heads
    model.quantile_heads_ = tuple(quantiles)
    model.importances_ = pd.DataFrame(
        parts.arrays["importances"],
        index=parts.facts["importances"],
        columns=["regression", "classification", "both"],
    )


def _trunk_apart(model: Any) -> Parts:
    return _columns_apart(model) | _target_apart(model) | _network_apart(model)


def _trunk_together(model: Any, parts: Parts) -> None:
    from sbi_kit.supervised.network import SharedTrunk

    _columns_together(model, parts)
    _target_together(model, parts)
    _network_together(model, SharedTrunk, parts)


def _two_class_apart(model: Any) -> Parts:
    return _columns_apart(model) | _classes_apart(model) | _network_apart(model)


def _two_class_together(model: Any, parts: Parts) -> None:
    from sbi_kit.supervised.wide_deep import WideDeepNetwork

    _columns_together(model, parts)
    _classes_together(model, parts)
    _network_together(model, WideDeepNetwork, parts)


def _parity_apart(model: Any) -> Parts:
    facts = {
        "shapes": model.shapes_,
        "constant": model.constant_,
        "method": model.method_,
        "flip_rate": model.flip_rate_,
    }
    arrays = {"parity": model.parity_, "trust": model.trust_}
    return _classes_apart(model) | Parts(facts, arrays)


def _parity_together(model: Any, parts: Parts) -> None:
    _classes_together(model, parts)
    model.shapes_ = tuple(parts.facts["shapes"])
    model.constant_, model.method_ = parts.facts["constant"], parts.facts["method"]
    model.flip_rate_ = parts.facts["flip_rate"]
    model.parity_, model.trust_ = parts.arrays["parity"], parts.arrays["trust"]
    if not len(model.shapes_) == len(model.parity_) == len(model.trust_):
        raise ValueError("as many shapes as bits")


METHODS: Mapping[str, tuple[_Apart, _Together]] = {
    "MultiTask": (_linear_apart, _linear_together),
    "MultiTaskNetwork": (_trunk_apart, _trunk_together),
    "WideDeep": (_two_class_apart, _two_class_together),
    "FullyConnected": (_two_class_apart, _two_class_together),
    "ParitySolver": (_parity_apart, _parity_together),
}


def _columns_apart(model: Any) -> Parts:
    columns: Columns = model.columns_
    facts = {"medians": dict(columns.medians), "levels": dict(columns.levels)}
    arrays = {"kept": columns.kept, "mean": columns.mean, "scale": columns.scale}
    return Parts(facts, arrays)


def _columns_together(model: Any, parts: Parts) -> None:
    levels = {name: tuple(each) for name, each in parts.facts["levels"].items()}
    kept, mean, scale = (parts.arrays[name] for name in ("kept", "mean", "scale"))
    model.columns_ = Columns(parts.facts["medians"], levels, kept, mean, scale)
    if not len(model.columns_.names) == len(mean) == len(scale):
        raise ValueError("as many scales as columns")


def _target_apart(model: Any) -> Parts:
    scale: TargetScale = model.scale_
    target = {"mean": scale.mean, "sd": scale.sd, "threshold": model.threshold_}
    return Parts({"target": target})


def _target_together(model: Any, parts: Parts) -> None:
    target = parts.facts["target"]
    model.scale_ = TargetScale(target["mean"], target["sd"])
    model.threshold_ = target["threshold"]


def _classes_apart(model: Any) -> Parts:
    classes: NDArray[Any] = model.classes_
    values = classes.tolist()
    if classes.dtype.kind not in _CLASSES or not all(
        isinstance(value, (str, int, float)) for value in values
    ):
        got = f"{values[0]!r} and {values[1]!r}"
        raise BadType("classes that a file can hold, numbers or text", got, "rename them and fit")
    return Parts({"classes": {"kind": classes.dtype.str, "values": values}})


def _classes_together(model: Any, parts: Parts) -> None:
    kind, values = np.dtype(parts.facts["classes"]["kind"]), parts.facts["classes"]["values"]
    if kind.kind not in _CLASSES or len(values) != 2:
        raise ValueError("two classes")
    model.classes_ = np.array(values, dtype=kind)


def _network_apart(model: Any) -> Parts:
    network = model.network_
    arrays = {f"{_NETWORK}{name}": part.numpy() for name, part in network.state_dict().items()}
    arrays["evaluations"] = np.array(model.evaluations_, dtype=np.float64).reshape(-1, 3)
    return Parts({"network": network.settings}, arrays)


def _network_together(model: Any, kind: Callable[..., Any], parts: Parts) -> None:
    import torch

    # What the weights begin with is drawn, and the global generator left as it was.
    with torch.random.fork_rng(devices=()):
        network = kind(**parts.facts["network"]).double()
    network.load_state_dict(
        {
            name.removeprefix(_NETWORK): torch.tensor(array)
            for name, array in parts.arrays.items()
            if name.startswith(_NETWORK)
        }
    )
    if network.settings["inputs"] != len(model.columns_.names):
        raise ValueError("as many inputs as columns")
    model.network_ = network.eval()
    evaluations: Array = parts.arrays["evaluations"]
    model.evaluations_ = tuple((int(step), *losses) for step, *losses in evaluations.tolist())
