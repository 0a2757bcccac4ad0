"""How a flow is drawn from: by compiled kernels where these suit it, else by torch.

The kernels take all weights of a flow in a few arrays. A sampler holds these, so it is made once
for any number of chunks. Its draws are those of `ConditionalFlow.draw`, up to rounding, and the
same on any number of threads, torch's.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from sbi_kit.draw_kernels import Halves, Lines, draw, filled, halves
from sbi_kit.flow import BENDS, ConditionalFlow, Conditioner, Coupling, TriangularAffine
from sbi_kit.spline import LIMITS
from sbi_kit.spline_kernels import LANES

Sampler: TypeAlias = Callable[[Tensor, Tensor], Tensor]


def sampler(flow: ConditionalFlow) -> Sampler:
    """What makes draws of u, (b, s, d), from noise ~ N(0, I) of that shape and the flow's context.

    Its weights are those that the flow has now.
    """
    triangular, *couplings = flow.steps.steps
    weight = flow.projection.weight
    if weight.device.type != "cpu" or weight.dtype != torch.float32:
        return flow.draw
    splines = [
        step for step in couplings if isinstance(step, Coupling) and step.bend is BENDS["spline"]
    ]
    if not isinstance(triangular, TriangularAffine) or not splines or splines != couplings:
        return flow.draw
    order = np.stack([step.permutation.numpy() for step in splines])
    of_first = _weights([step.of_first for step in splines])
    of_second = _weights([step.of_second for step in splines])

    threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(threads)

    def compiled(noise: Tensor, context: Tensor) -> Tensor:
        own, known = context[:, 0].split([triangular.context_size, sum(flow.steps.sizes[1:])], -1)
        mean, log_scale, lower = triangular.parts(own)
        known = known.unflatten(-1, (len(splines), 2, -1))
        lines = Lines(
            filled(known.contiguous().numpy(), -1),
            (-log_scale).exp().numpy(),
            lower.numpy(),
            mean.contiguous().numpy(),
        )
        z, u = noise.numpy(), np.empty(noise.shape, dtype=np.float32)

        def fill(part: tuple[slice, slice]) -> None:
            some = Lines(*(array[part[0]] for array in lines))
            given = np.ascontiguousarray(z[part])
            u[part] = draw(given, some, order, of_first, of_second, LIMITS)

        parts = list(_shares(len(noise), noise.shape[1], threads))
        run = map if len(parts) == 1 else pool.map
        list(run(fill, parts))
        return torch.from_numpy(u)

    return compiled


def _shares(b: int, draws: int, threads: int) -> Iterator[tuple[slice, slice]]:
    """Equal parts of b datasets or, where these are few, of the draws of each."""
    size = -(-b // threads)
    if b >= threads:
        yield from ((slice(i, i + size), slice(None)) for i in range(0, b, size))
        return
    size = -(-draws // (threads * LANES)) * LANES  # full lanes
    yield from ((slice(None), slice(i, i + size)) for i in range(0, draws, size))


def _weights(conditioners: Sequence[Conditioner]) -> Halves:
    """The weights of what bends one half in all couplings."""
    outer = [network.outer for network in conditioners]
    shape = conditioners[0].shape
    return halves(
        [network.inner.weight.detach().numpy() for network in conditioners],
        [layer.weight.detach().unflatten(0, shape).numpy() for layer in outer],
        [layer.bias.detach().unflatten(0, shape).numpy() for layer in outer],
    )
