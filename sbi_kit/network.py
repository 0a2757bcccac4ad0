"""Summary network and flow as one module, learned jointly: q(u | x) = flow(u | trunk(s(x, n))).

The summary s turns a dataset into features; the trunk, a few residual gated layers, turns these
into what the flow is conditioned on. What is known of a dataset besides its observations is a part
of every observation; where the summary takes its inputs for alike (those of a matrix), it is added
to the features instead.
"""

from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from sbi_kit.checks import BadValue, expect_integer, expect_name
from sbi_kit.flow import BENDS, ConditionalFlow
from sbi_kit.summary import SUMMARIES, Adaptive
from sbi_kit.summary.gated import GatedBlock

_WIDEST, _DEEPEST = 1_000_000, 500


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """Every size of a network; it can be rebuilt from these numbers alone.

    Attributes:
        summary: Name of the summary network.
        inputs: Size of an observation after standardisation.
        parameters: Number d of parameters.
        longest: Largest number of observations to expect.
        columns: Columns of a matrix, each of which has as many of the inputs; else 1.
        context: The last inputs, which are the same in all observations of a dataset and join its
            features after the summary; 0 where the summary sees all inputs.
        coupling: How a coupling bends one half of the parameters, "affine" or "spline".
        width: Size of the features.
        hidden: Width of the summary's inner network and of each coupling's.
        trunk: Residual layers between summary and flow.
        blocks: Coupling blocks of the flow.
    """

    summary: str
    inputs: int
    parameters: int
    longest: int
    columns: int = 1
    context: int = 0
    coupling: str = "spline"
    width: int = 128
    hidden: int = 64
    trunk: int = 3
    blocks: int = 3

    def __post_init__(self) -> None:
        expect_name("summary network", self.summary, SUMMARIES)
        expect_name("coupling", self.coupling, BENDS)
        for name, value in asdict(self).items():
            if name not in ("summary", "coupling"):
                most = _DEEPEST if name in ("trunk", "blocks") else _WIDEST
                expect_integer(name, value, low=0 if name == "context" else 1, high=most)
        if self.summarised < 1 or self.summarised % self.columns:
            wanted = f"inputs as a multiple of the {self.columns} columns"
            raise BadValue(wanted, str(self.summarised), "give each column as many")

    @property
    def summarised(self) -> int:
        """Size of what the summary network sees of an observation."""
        return self.inputs - self.context


class Network(nn.Module):
    """The joint module; its sizes are its architecture's."""

    def __init__(self, sizes: Architecture) -> None:
        super().__init__()
        self.summary = SUMMARIES[sizes.summary](
            sizes.summarised, sizes.width, sizes.hidden, sizes.longest, sizes.columns
        )
        self.summarised = sizes.summarised
        self.context = nn.Linear(sizes.context, sizes.width) if sizes.context else None
        self.trunk = nn.Sequential(*(GatedBlock(sizes.width) for _ in range(sizes.trunk)))
        self.flow = ConditionalFlow(
            sizes.parameters,
            sizes.width,
            coupling=sizes.coupling,
            blocks=sizes.blocks,
            hidden=sizes.hidden,
        )

    def forward(self, u: Tensor, x: Tensor, n: Tensor) -> Tensor:
        """log q(u | x) of u (b, d) and x (b, n, inputs) with sizes n (b,), shape (b,)."""
        return self.flow.log_prob(u, self.trunk(self.features(x, n)))

    def adapt(self, x: Tensor, n: Tensor, zero: Tensor) -> None:
        """Let the summary learn, before it is trained, what is usual; zero (inputs,) is zero."""
        if isinstance(self.summary, Adaptive):
            self.summary.adapt(x[..., : self.summarised], n, zero[: self.summarised])

    def features(self, x: Tensor, n: Tensor) -> Tensor:
        """Features of datasets x (b, n, inputs) with sizes n (b,), shape (b, width)."""
        features: Tensor = self.summary(x[..., : self.summarised], n)
        if self.context is None:
            return features
        known: Tensor = self.context(x[:, 0, self.summarised :])
        return features + known


def build_network(sizes: Architecture, seed: int) -> Network:
    """A new network in float32; torch's global generator and default type are left as they were."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Network(sizes).float()


def shapes_of(sizes: Architecture) -> dict[str, torch.Size]:
    """The shape of each weight of a network, found without making room for them."""
    with torch.device("meta"):
        return {name: tensor.shape for name, tensor in Network(sizes).state_dict().items()}
