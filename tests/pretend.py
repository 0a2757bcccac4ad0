"""A stand-in for a GPU on a machine without one, to see what a program asks of it.

Tensors on torch's device "meta" have shapes and no numbers. Taken for those of a GPU, they show
whether an operation mixes devices and whether the program waits: whatever needs a number of theirs
fails, except a plain copy to the CPU, which is counted and gives ones.
"""

from collections import Counter

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

GPU = torch.device("meta")
WAITS = {"_linalg_check_errors", "_local_scalar_dense", "equal", "is_nonzero", "nonzero"}


class Pretended(TorchDispatchMode):
    """Counts what is asked of the GPU while it is entered.

    Attributes:
        counts: "operations" on the GPU; tensors "read" from it by the CPU; those "sent" to it
            without waiting, and those that were "waited" for.
    """

    def __init__(self):
        super().__init__()
        self.counts = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs, name = kwargs or {}, func.overloadpacket.__name__
        with self:  # what is made of other operations arrives whole if gradients are off for good
            parts = func.decompose(*args, **kwargs)
        if parts is not NotImplemented:
            return parts
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        there = [tensor for tensor in tensors if tensor.device == GPU]
        if name in ("_to_copy", "copy_"):
            target = args[0] if name == "copy_" else torch.empty(0, device=kwargs.get("device"))
            source = args[1] if name == "copy_" else args[0]
            if name == "_to_copy" and kwargs.get("device") is None:
                target = source
            if source.device == GPU != target.device:
                self.counts["read"] += 1
                made = torch.ones(source.shape, dtype=kwargs.get("dtype") or source.dtype)
                return target.copy_(made) if name == "copy_" else made
            if target.device == GPU != source.device:
                patient = kwargs.get("non_blocking") or args[2:] == (True,)
                self.counts["sent" if patient else "waited"] += 1
                return func(*args, **kwargs)
        if there:
            # A single number of the CPU goes along with the operation.
            assert all(t.device == GPU or not t.dim() for t in tensors), f"{name} mixes devices"
            assert name not in WAITS, f"{name} waits for the GPU"
            self.counts["operations"] += 1
        return func(*args, **kwargs)
