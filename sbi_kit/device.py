"""Where networks are trained and asked: on the CPU, or on a GPU by CUDA.

Everything is computed where the network is, and what it needs is sent there. A GPU works off what
it was told to do while the program goes on and tells it more; whoever asks it for a number waits
until all of that is done. So data are sent without waiting, and a training looks at its losses only
where it has to (`sbi_kit.train`). What else a GPU wants otherwise is here.
"""

import copy
import re
from typing import TypeVar

import torch
from torch import Tensor, nn

from sbi_kit.checks import BadType, BadValue

AnyModule = TypeVar("AnyModule", bound=nn.Module)

CPU = torch.device("cpu")
_MORE = 32  # how much more a GPU takes at a time than a core's cache holds


def expect_device(name: object) -> torch.device:
    """The device of a name, "cpu", "cuda" or "cuda:1", if torch has it.

    Raises:
        BadType: The name is no text.
        BadValue: It is another, or there is no such GPU.

    >>> expect_device("cpu")
    device(type='cpu')
    """
    wanted = "device as 'cpu', 'cuda' or 'cuda:' and a number"
    if not isinstance(name, str):
        raise BadType(wanted, repr(name), "pass one of these names")
    if name == "cpu":
        return CPU
    if not re.fullmatch(r"cuda(:\d+)?", name):
        raise BadValue(wanted, repr(name), "pass one of these names")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not count:
        got = f"torch {torch.__version__}, which has none"
        raise BadValue(f"a GPU for device={name!r}", got, "leave device out to use the CPU")
    number = int(name.partition(":")[2] or torch.cuda.current_device())
    if number >= count:
        got = f"{count} GPU{'s' if count > 1 else ''}, numbered from 0"
        raise BadValue(f"a GPU for device={name!r}", got, "choose one that is there")
    return torch.device("cuda", number)


def device_of(module: nn.Module) -> torch.device:
    """Where a module's parameters are."""
    return next(module.parameters()).device


def moved(module: AnyModule, device: torch.device) -> AnyModule:
    """A copy of a module on a device; the module itself where it is there."""
    return module if device_of(module) == device else copy.deepcopy(module).to(device)


def lags(device: torch.device) -> bool:
    """Whether it works behind the program, so that to read a number from it is to wait."""
    return device.type != "cpu"


def suits_kernels(x: Tensor) -> bool:
    """Whether compiled kernels can work on it: numbers in float32 in the CPU's memory."""
    return x.device.type == "cpu" and x.dtype == torch.float32


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor of the CPU on a device, without waiting; on the CPU, the tensor itself."""
    if device.type == "cuda":  # it fetches by itself what is in memory of this kind
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def at_a_time(size: int, device: torch.device) -> int:
    """How much to compute at a time where `size` of it stay in the cache of a CPU's core."""
    return _MORE * size if lags(device) else size
