"""Estimators of labelled data, with scikit-learn's conventions, and files to keep them in.

Each is imported when it is first asked for: those without a network do without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sbi_kit.supervised.model_file import load_model as load_model
    from sbi_kit.supervised.model_file import save_model as save_model
    from sbi_kit.supervised.multitask import MultiTask as MultiTask
    from sbi_kit.supervised.network import MultiTaskNetwork as MultiTaskNetwork
    from sbi_kit.supervised.parity import ParitySolver as ParitySolver
    from sbi_kit.supervised.wide_deep import FullyConnected as FullyConnected
    from sbi_kit.supervised.wide_deep import WideDeep as WideDeep

_ROOM_OF = {
    "MultiTask": "multitask",
    "MultiTaskNetwork": "network",
    "WideDeep": "wide_deep",
    "FullyConnected": "wide_deep",
    "ParitySolver": "parity",
    "save_model": "model_file",
    "load_model": "model_file",
}

__all__ = list(_ROOM_OF)


def __getattr__(name: str) -> Any:
    if name not in _ROOM_OF:
        raise AttributeError(f"module 'sbi_kit.supervised' has no attribute {name!r}")
    return getattr(import_module(f"sbi_kit.supervised.{_ROOM_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
