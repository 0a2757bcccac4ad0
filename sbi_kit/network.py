"""Summary network and flow as one module, learned jointly: q(u | x) = flow(u | trunk(s(x, n))).

The summary s turns a dataset into features; the trunk, a few residual gated layers, turns these
into what the flow is conditioned on.
"""

from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from sbi_kit.checks import BadValue, expect_integer, expect_name
from sbi_kit.flow import BENDS, ConditionalFlow
from sbi_kit.summary import SUMMARIES
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
        columns: Columns of a matrix, each of which has inputs / columns of the inputs; else 1.
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
                expect_integer(name, value, low=1, high=most)
        if self.inputs % self.columns:
            wanted = f"inputs as a multiple of the {self.columns} columns"
            raise BadValue(wanted, str(self.inputs), "give each column as many")


class Network(nn.Module):
    """The joint module; its sizes are its architecture's."""

    def __init__(self, sizes: Architecture) -> None:
        super().__init__()
        self.summary = SUMMARIES[sizes.summary](
            sizes.inputs, sizes.width, sizes.hidden, sizes.longest, sizes.columns
        )
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
        return self.flow.log_prob(u, self.trunk(self.summary(x, n)))


def build_network(sizes: Architecture, seed: int) -> Network:
    """A new network in float32; torch's global generator and default type are left as they were."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Network(sizes).float()


def shapes_of(sizes: Architecture) -> dict[str, torch.Size]:
    """The shape of each weight of a network, found without making room for them."""
    with torch.device("meta"):
        return {name: tensor.shape for name, tensor in Network(sizes).state_dict().items()}
