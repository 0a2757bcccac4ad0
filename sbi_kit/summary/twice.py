"""Two readings: what each observation says, in the light of what all of them said.

    s(x) = f + step(mean_i φ(x_i, f)),   f = first(x)

What an observation says of the parameters, its score, depends on the parameters: how a count must
be read, on the rate at which counts are detected. A mean of functions of single observations cannot
follow that, however many functions there are. But an estimate of moderate precision, moved by the
mean of the scores at that estimate, is as good as the best (Le Cam's one-step estimator; van der
Vaart 1998, Asymptotic Statistics, section 5.7). Here the first summary is the estimate, φ the score
and `step` what the information's inverse would be there, all learned together. At first the step is
none. In a series, φ sees each time point between its neighbours.
"""

import torch
from torch import Tensor, nn

from sbi_kit.summary.bends import bends
from sbi_kit.summary.gated import Gated, GatedBlock, bounded, gated
from sbi_kit.summary.ragged import at_once, mask_of, mean_over
from sbi_kit.summary.windows import runs


class Twice(nn.Module):
    """Observations (b, n, inputs) with sizes (b,) to features (b, width).

    Args:
        first: The summary of the first reading, to features (b, width).
        inputs: Size of an observation.
        width: Size of the features.
        hidden: Width of what φ gives; inside, it is half as wide.
        ordered: Whether observations have neighbours.
    """

    def __init__(
        self, first: nn.Module, inputs: int, width: int, *, hidden: int, ordered: bool
    ) -> None:
        super().__init__()
        narrow = max(1, hidden // 2)
        self.first, self.ordered = first, ordered
        self.seen = bends(3 * (inputs + 1) if ordered else inputs, narrow)
        self.known = nn.Linear(width, 2 * narrow, bias=False)
        self.score = nn.Sequential(GatedBlock(narrow), Gated(narrow, hidden))
        self.step = nn.Linear(hidden, width)
        nn.init.zeros_(self.step.weight)
        nn.init.zeros_(self.step.bias)

    def forward(self, x: Tensor, n: Tensor) -> Tensor:
        features = self.first(x, n)
        known = self.known(bounded(features))[:, None]  # (b, 1, 2 narrow)
        size = at_once(x)
        parts = zip(x.split(size), n.split(size), known.split(size), strict=True)
        mean = torch.cat([self._mean_score(*part) for part in parts])
        stepped: Tensor = features + self.step(mean)
        return stepped

    def adapt(self, x: Tensor, n: Tensor, zero: Tensor) -> None:
        """Let the first summary learn what is usual."""
        self.first.adapt(x, n, zero)  # type: ignore[operator]

    def _mean_score(self, x: Tensor, n: Tensor, known: Tensor) -> Tensor:
        if self.ordered:
            x = runs(x, n, around=1, stride=1)
        else:
            x = x.masked_fill(~mask_of(x, n)[..., None], 0.0)
        return mean_over(self.score(gated(self.seen.linear(x) + known)), n)
