"""Means and second moments of observations, exact and at the cost of one small matrix product.

mean_i v_i v_iᵀ with v = (1, x): all there is to know of normal data, and in a series, where x_i are
a time point and the step that follows it, the sums of products that rates are estimated from.
Columns that are never negative, such as counts, are measured from zero, not from their middle, so
that a logarithm of their sums means something. Moments differ in size by orders of magnitude,
between each other and between datasets; so each is shown twice, on a linear and on a logarithmic
scale, standardised by moments of simulated datasets.
"""

import torch
from torch import Tensor, nn

from sbi_kit.summary.ragged import mask_of
from sbi_kit.summary.standardize import LINEAR, fit_both_views

_WIDEST = 31  # size of x: wider observations are projected, as moments grow with its square
_SCALES = ("center", "scale", "origin", "unit", "log_center", "log_scale")


class Moments(nn.Module):
    """Observations (b, n, inputs) with sizes (b,) to views of their moments (b, `size`).

    Args:
        inputs: Size of an observation.
    """

    upper: Tensor
    center: Tensor
    scale: Tensor
    origin: Tensor
    unit: Tensor
    log_center: Tensor
    log_scale: Tensor
    shift: Tensor

    def __init__(self, inputs: int) -> None:
        super().__init__()
        kept = min(inputs, _WIDEST)
        self.project = nn.Linear(inputs, kept) if kept < inputs else nn.Identity()
        upper = torch.triu_indices(kept + 1, kept + 1, device="cpu")[:, 1:]  # without 1 · 1
        self.register_buffer("upper", upper, persistent=False)
        self.size = 2 * upper.shape[1]
        self.register_buffer("shift", torch.zeros(inputs))
        for name in _SCALES:
            start = torch.zeros if name in ("center", "origin", "log_center") else torch.ones
            self.register_buffer(name, start(upper.shape[1]))

    @torch.no_grad()
    def adapt(self, x: Tensor, n: Tensor, zero: Tensor) -> None:
        """Learn the scales from some datasets, in which zero (inputs,) stands for true zeros."""
        there = x[mask_of(x, n)]
        if not len(there):  # of a single time point no step is seen
            return
        lowest = there.amin(0)
        self.shift.copy_(torch.where((zero <= lowest + 1e-4) & zero.isfinite(), -zero, 0.0))
        for name, values in fit_both_views(self._raw(x, n).double().numpy()).items():
            self.get_buffer(name).copy_(torch.from_numpy(values))

    def forward(self, x: Tensor, n: Tensor) -> Tensor:
        raw = self._raw(x, n)
        linear = (raw - self.center) / self.scale
        logarithmic = (torch.asinh((raw - self.origin) / self.unit) - self.log_center) / (
            self.log_scale
        )
        views = torch.cat([linear, logarithmic], dim=-1)
        beyond = (views.abs() - LINEAR).clamp_min(0.0)
        return views.clamp(-LINEAR, LINEAR) + views.sign() * torch.log1p(beyond)

    def _raw(self, x: Tensor, n: Tensor) -> Tensor:
        there = mask_of(x, n)[..., None].to(x.dtype)  # (b, n, 1)
        v = torch.cat([there, there * self.project(x + self.shift)], dim=-1)
        moments = (v / n.clamp_min(1).to(x.dtype)[:, None, None]).mT @ v  # (b, kept + 1, kept + 1)
        return moments[:, self.upper[0], self.upper[1]]
