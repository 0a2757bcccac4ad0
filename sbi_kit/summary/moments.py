"""Means and second moments of observations, exact and at the cost of one small matrix product.

mean_i v_i v_iᵀ with v = (1, x): all there is to know of normal data, and in a series, where x_i are
a time point and the step that follows it, the sums of products that rates are estimated from.
Columns that are never negative, such as counts, are measured from zero, not from their middle, so
that a logarithm of their sums means something. Each moment is standardised by those of simulated
datasets, on a logarithmic scale where they differ by orders of magnitude and on a linear one
elsewhere. It is shown on one scale alone: of inputs that say nearly the same, a network has to
learn which of them to follow.

On request, relations stand beside them: the least-squares coefficients of every column given all
others and the variance that these leave, read off the inverse of the moments' matrix. Posteriors of
regressions depend on them directly, and an inverse is hard to learn.
"""

import torch
from torch import Tensor, nn

from sbi_kit.summary.ragged import mask_of
from sbi_kit.summary.soft import softened
from sbi_kit.summary.standardize import fit_views

_WIDEST = 31  # size of x: wider observations are projected, as moments grow with its square
_RELATED = 10  # size of x up to which relations are shown
_JITTER = 1e-9


class Moments(nn.Module):
    """Observations (b, n, inputs), not bounded, with sizes (b,) to moments (b, `size`).

    Args:
        inputs: Size of an observation.
        relations: Whether to show relations beside the moments, if observations are not too wide.
    """

    upper: Tensor
    shift: Tensor
    wide: Tensor
    origin: Tensor
    unit: Tensor
    center: Tensor
    scale: Tensor

    def __init__(self, inputs: int, *, relations: bool) -> None:
        super().__init__()
        kept = min(inputs, _WIDEST)
        self.project = nn.Linear(inputs, kept) if kept < inputs else nn.Identity()
        upper = torch.triu_indices(kept + 1, kept + 1, device="cpu")[:, 1:]  # without 1 · 1
        self.register_buffer("upper", upper, persistent=False)
        self.relations = relations and kept <= _RELATED
        self.size = upper.shape[1] + (kept * (kept + 1) if self.relations else 0)
        self.register_buffer("shift", torch.zeros(inputs))
        for name in ("wide", "origin", "center"):
            self.register_buffer(name, torch.zeros(self.size))
        for name in ("unit", "scale"):
            self.register_buffer(name, torch.ones(self.size))

    @torch.no_grad()
    def adapt(self, x: Tensor, n: Tensor, zero: Tensor) -> None:
        """Learn the scales from some datasets, in which zero (inputs,) stands for true zeros."""
        there = x[mask_of(x, n)]
        if not len(there):  # of a single time point no step is seen
            return
        lowest = there.amin(0)
        self.shift.copy_(torch.where((zero <= lowest + 1e-4) & zero.isfinite(), -zero, 0.0))
        for name, values in fit_views(self._raw(x, n).double().numpy()).items():
            self.get_buffer(name).copy_(torch.from_numpy(values))

    def forward(self, x: Tensor, n: Tensor) -> Tensor:
        raw = self._raw(x, n)
        logarithmic = torch.asinh((raw - self.origin) / self.unit)
        return softened((torch.where(self.wide > 0, logarithmic, raw) - self.center) / self.scale)

    def _raw(self, x: Tensor, n: Tensor) -> Tensor:
        there = mask_of(x, n)[..., None].to(x.dtype)  # (b, n, 1)
        v = torch.cat([there, there * self.project(x + self.shift)], dim=-1)
        moments = (v / n.clamp_min(1).to(x.dtype)[:, None, None]).mT @ v  # (b, kept + 1, kept + 1)
        upper = moments[:, self.upper[0], self.upper[1]]
        return torch.cat([upper, _relations(moments, n)], dim=-1) if self.relations else upper


def _relations(moments: Tensor, n: Tensor) -> Tensor:
    """Coefficients and residual variances of columns 1..k, (b, k (k + 1)), from (b, k + 1, k + 1).

    One more observation without any relation, of unit size, is counted in: it bounds the inverse
    where columns are collinear or more than observations.
    """
    identity = torch.eye(moments.shape[-1], dtype=torch.float64, device=moments.device)
    matrix = moments.double() + identity / n.clamp_min(1)[:, None, None]
    size = matrix.diagonal(dim1=-2, dim2=-1).sqrt()  # (b, k + 1)
    scaled = matrix / (size[:, :, None] * size[:, None])
    # Beside columns a million times as large, float64 loses the one observation.
    precision, _ = torch.linalg.inv_ex(scaled + _JITTER * identity)  # `inv` waits for a GPU's word
    variance = precision.diagonal(dim1=-2, dim2=-1).reciprocal()
    ratio = size[:, None] / size[:, :, None]
    coefficients = -precision * variance[:, None] * ratio  # of column j given i, at (i, j)
    # Of columns 1..k what is at (i, i) is left out: of each run of k + 1 numbers, the last.
    runs = coefficients[:, :, 1:].reshape(len(moments), -1, moments.shape[-1])
    others = runs[..., :-1].flatten(1)
    residual = (variance * size.square())[:, 1:]
    return torch.cat([others, residual], dim=-1).to(moments.dtype)
