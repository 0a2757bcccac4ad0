"""The posterior of one or several networks: their flows in equal shares, a cache's worth at a time.

Members of an ensemble see the same simulations from other starts, and err differently where these
say little. Their mixture

    q(u | x) = (1 / K) sum_k q_k(u | x)

is as wide as their disagreement asks (Lakshminarayanan et al. 2017, arXiv:1612.01474; Hermans et
al. 2022, arXiv:2110.06581), and its mean log density is never below the mean of the members'.
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sbi_kit.contracts import Array, IntArray
from sbi_kit.device import at_a_time, device_of, send
from sbi_kit.network import Network
from sbi_kit.sampler import Sampler, sampler
from sbi_kit.seeds import numpy_stream

_CHUNK = 8_192  # draws per pass through a flow, whose activations then stay in cache


@torch.inference_mode()
def contexts(networks: Sequence[Network], summaries: Tensor) -> list[Tensor]:
    """What each flow is conditioned on.

    Args:
        networks: The K members.
        summaries: Their features side by side, shape (b, K * width).

    Returns:
        One (b, width) each.
    """
    parts = summaries.chunk(len(networks), dim=-1)
    return [network.trunk(part) for network, part in zip(networks, parts, strict=True)]


def draw(
    networks: Sequence[Network], features: Sequence[Tensor], draws: int, seed: int
) -> Iterator[tuple[tuple[slice, slice], NDArray[np.float32]]]:
    """Draws of u from the mixture, those of all datasets by and by.

    Any first draws of a dataset are as fair a sample as all of them: each K draws in a row come
    from all K members, in random order.

    Args:
        networks: The K members.
        features: What their flows are conditioned on, (b, width) each.
        draws: Draws per dataset.
        seed: Seed of the draws.

    Yields:
        A place among all (b, draws), and what stands there, shape (rows, columns, d).
    """
    rng, d, device = numpy_stream(seed, "posterior"), networks[0].flow.d, device_of(networks[0])
    samplers = [sampler(network.flow) for network in networks]
    whose = _members(len(networks), draws, seed)
    for rows, part in _pieces(len(features[0]), draws, at_a_time(_CHUNK, device)):
        projected = _project(networks, features, rows)
        for columns in part:
            shape = rows.stop - rows.start, columns.stop - columns.start, d
            noise = send(torch.from_numpy(rng.standard_normal(shape, dtype=np.float32)), device)
            yield (rows, columns), _draw(samplers, projected, noise, whose[columns]).cpu().numpy()


def log_density(networks: Sequence[Network], features: Sequence[Tensor], u: Array) -> Array:
    """log q of points u (b, draws, d), shape (b, draws); features are as in `draw`."""
    log_q, device = np.empty(u.shape[:2]), device_of(networks[0])
    for rows, part in _pieces(len(u), u.shape[1], at_a_time(_CHUNK, device)):
        projected = _project(networks, features, rows)
        for columns in part:
            points = send(torch.from_numpy(u[rows, columns].astype(np.float32)), device)
            with torch.inference_mode():
                each = [
                    network.flow.log_prob_of_draws(points, context)
                    for network, context in zip(networks, projected, strict=True)
                ]
                log_q[rows, columns] = log_mean(each).cpu().double().numpy()
    return log_q


def log_mean(log_densities: Sequence[Tensor]) -> Tensor:
    """Logarithm of the mean of densities of one shape, given their logarithms."""
    if len(log_densities) == 1:
        return log_densities[0]
    return torch.stack(list(log_densities)).logsumexp(0) - math.log(len(log_densities))


@torch.inference_mode()
def _draw(
    samplers: Sequence[Sampler], projected: Sequence[Tensor], noise: Tensor, whose: IntArray
) -> Tensor:
    """Draws (rows, columns, d), each column by the member whose it is."""
    if len(samplers) == 1:
        return samplers[0](noise, projected[0])
    u = torch.empty_like(noise)
    for k, member in enumerate(samplers):
        mine = send(torch.from_numpy(np.flatnonzero(whose == k)), noise.device)
        if len(mine):
            u[:, mine] = member(noise[:, mine], projected[k])
    return u


@torch.inference_mode()
def _project(networks: Sequence[Network], features: Sequence[Tensor], rows: slice) -> list[Tensor]:
    """What the steps of each flow need of some datasets, for any number of draws."""
    return [
        network.flow.context(part[rows]) for network, part in zip(networks, features, strict=True)
    ]


def _members(k: int, draws: int, seed: int) -> IntArray:
    """Which of k members makes each of the draws, whatever the dataset; shape (draws,)."""
    rng = numpy_stream(seed, "posterior members")
    order: IntArray = np.argsort(rng.random((-(-draws // k), k)), axis=1).ravel()[:draws]
    return order


def _pieces(b: int, draws: int, size: int) -> Iterator[tuple[slice, list[slice]]]:
    """Some datasets at a time, and their draws at a time, so that a piece has `size` rows."""
    datasets = max(1, size // max(1, draws))
    columns = [slice(start, min(start + size, draws)) for start in range(0, draws, size)]
    for row in range(0, b, datasets):
        yield slice(row, min(row + datasets, b)), columns
