"""sbi's NPE with the defaults of `train`, which stops when its validation has not improved.

The prior is given, its bounds with it; log densities are those of the network itself, not
renormalised within the bounds. Sets pass through its PermutationInvariantEmbedding, series through
its CausalCNNEmbedding, which needs one length: that of the longest, padded in front, with a second
channel that says where counts are. Sets are not z-scored (each place has scales of order one, and
scores by place would tell places apart), series as a whole ("structured", as its documentation
says for time series).
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from sbi.inference import NPE
from sbi.neural_nets import posterior_nn
from sbi.neural_nets.embedding_nets import (
    CausalCNNEmbedding,
    FCEmbedding,
    PermutationInvariantEmbedding,
)
from sbi.utils import BoxUniform
from torch import Tensor

import sbi_kit as sk
from tests.benchmarks.peers.clock import Course, Trained
from tests.benchmarks.peers.tasks import FIT_SEED, Task, as_table

_LATENT = 20  # FCEmbedding's own default
_LONGEST_SAMPLING = 120  # seconds after which rejection outside of the prior is given up


class _Silent:
    """A tracker that keeps nothing; the default one writes files to the working directory."""

    log_dir = None

    def log_metric(self, name: str, value: float, step: int | None = None) -> None: ...
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None: ...
    def log_params(self, params: dict[str, Any]) -> None: ...
    def add_figure(self, name: str, figure: Any, step: int | None = None) -> None: ...
    def flush(self) -> None: ...


class _WatchedNPE(NPE):
    """NPE that calls `watch` with its network after each epoch, and stops when its time is up."""

    watch: Callable[[torch.nn.Module], None]
    course: Course

    def _converged(self, epoch: int, stop_after_epochs: int) -> bool:
        if super()._converged(epoch, stop_after_epochs):
            return True
        if self.course.late():
            self._neural_net.load_state_dict(self._best_model_state_dict)
            self.course.cut_off = True
        return self.course.cut_off

    def _summarize_epoch(self, *arguments: Any) -> None:
        super()._summarize_epoch(*arguments)
        self.watch(self._neural_net)


class _ChannelsFirst(torch.nn.Module):
    """Series (b, T, channels) as the convolutions take them."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x.transpose(1, 2).contiguous())


def train(
    task: Task,
    bank: Any,
    held_out: Any,
    epochs: int | None,
    *,
    flow: str,
    cpu_seconds: float = math.inf,
) -> Trained:
    """Train NPE with "maf" or "nsf", for about that time at most."""
    torch.manual_seed(FIT_SEED)
    theta, x = _tensors(task, *bank.take(slice(None)))
    judged = _tensors(task, *held_out.take(slice(None)))
    course = Course(cpu_seconds)
    estimator, settings = _estimator(flow, task, x)
    prior = _prior(task)
    npe = _WatchedNPE(
        prior=prior, density_estimator=estimator, show_progress_bars=False, tracker=_Silent()
    )

    npe.course = course
    npe.watch = lambda net: course.judge(lambda: -float(_log_prob(net, *judged).mean()))
    npe.append_simulations(theta, x)
    limit = {} if epochs is None else {"max_num_epochs": epochs}
    network = npe.train(**limit)
    posterior = npe.build_posterior(network)
    seconds = course.clock.seconds()

    def log_prob(theta: np.ndarray, x: Any) -> np.ndarray:
        return _log_prob(network, *_tensors(task, theta, x)).numpy()

    def sample(x: Any, draws: int) -> np.ndarray:
        found = posterior.sample_batched(
            (draws,),
            x=torch.from_numpy(as_table(task, x)),
            show_progress_bars=False,
            max_sampling_time=_LONGEST_SAMPLING,
        )
        return found.transpose(0, 1).numpy()

    settings += ", " + course.trained_for(len(course.curve))
    return Trained(log_prob, sample, course.curve, seconds, settings)


def _tensors(task: Task, theta: np.ndarray, x: Any) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(theta.astype(np.float32)), torch.from_numpy(as_table(task, x))


@torch.no_grad()
def _log_prob(network: Any, theta: Tensor, x: Tensor) -> Tensor:
    """Log densities (b,), a few thousand rows at a time."""
    network.eval()
    pairs = zip(theta.split(5_000), x.split(5_000), strict=True)
    parts = [network.log_prob(rows[None], condition=data)[0] for rows, data in pairs]
    return torch.cat(parts).double()


def _prior(task: Task) -> torch.distributions.Distribution:
    if task.bounds is not None:
        low, high = (torch.from_numpy(bound.astype(np.float32)) for bound in task.bounds)
        return BoxUniform(low, high)
    d = len(task.model.prior.names)
    return torch.distributions.MultivariateNormal(torch.zeros(d), torch.eye(d))


def _estimator(flow: str, task: Task, x: Tensor) -> tuple[Any, str]:
    """The builder of the density estimator, and its settings in words."""
    if isinstance(task.model.data, sk.Vector):
        return flow, "no embedding"
    if isinstance(task.model.data, sk.Exchangeable):
        trial_net = FCEmbedding(input_dim=x.shape[-1], output_dim=_LATENT)
        embedding = PermutationInvariantEmbedding(trial_net, trial_net_output_dim=_LATENT)
        settings = "PermutationInvariantEmbedding"
        return posterior_nn(flow, embedding_net=embedding, z_score_x="none"), settings
    embedding = _ChannelsFirst(CausalCNNEmbedding((x.shape[1],), in_channels=x.shape[2]))
    return posterior_nn(flow, embedding_net=embedding, z_score_x="structured"), "CausalCNNEmbedding"
