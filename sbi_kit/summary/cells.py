"""GRU (Cho et al. 2014, arXiv:1406.1078) and LSTM (Hochreiter & Schmidhuber 1997), ragged.

    GRU    r, z = σ(·), c = tanh(A x + a + r (B h + b)), h' = c + z (h − c)
    LSTM   i, f, o = σ(·), g = tanh(·), c' = f c + i g, h' = o tanh c'

A cell reads a series forwards, or backwards from its own end: where a series has ended its state
is zero, so what stands in the padding is never read. In float32 on a CPU, values and gradients of a
whole series are written out by hand, because autograd's bookkeeping costs as much as the
arithmetic: what x says of all gates is one product for all steps, and so are the gradients of all
weights; a step is left with one product of the state and one compiled pass.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from sbi_kit.device import suits_kernels
from sbi_kit.summary import cell_kernels


class Cell(nn.Module):
    """Series x (steps, b, inputs) to states (steps, hidden, b), zero where a series has ended.

    Args:
        inputs: Size of one step.
        hidden: Size of the state.
        kind: "gru" or "lstm".
        backwards: Read each series from its end to its beginning.
    """

    def __init__(self, inputs: int, hidden: int, *, kind: str, backwards: bool) -> None:
        super().__init__()
        self.backwards = backwards
        self.kind = _KINDS[kind]
        gates, biases = self.kind.gates, self.kind.biases
        self.of_input = nn.Parameter(_uniform(gates * hidden, inputs, hidden=hidden))
        self.of_state = nn.Parameter(_uniform(gates * hidden, hidden, hidden=hidden))
        self.bias = nn.Parameter(_uniform(biases * hidden, 1, hidden=hidden))

    def forward(self, x: Tensor, alive: Tensor) -> Tensor:
        """The states; alive (steps, b), of x's type, is one until a series ends and then zero."""
        method = self.kind.compiled.apply if suits_kernels(x) else self.kind.in_torch
        states: Tensor = method(x, alive, self.of_input, self.of_state, self.bias, self.backwards)
        return states


def _uniform(rows: int, columns: int, *, hidden: int) -> Tensor:
    bound = 1 / math.sqrt(hidden)
    return torch.empty(rows, columns).uniform_(-bound, bound)


class _GRU(torch.autograd.Function):
    """Rows of x's weights are of c, r, z; the state's, of r, z, c; biases, of c, r, z and B h."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, alive: Tensor, wx: Tensor, wh: Tensor, bias: Tensor, backwards: bool
    ) -> Tensor:
        h = wh.shape[1]
        gates = torch.matmul(wx, x.mT).add_(bias[: 3 * h])  # (steps, 3 h, b)
        recurrent = torch.empty_like(gates)
        own_bias = torch.cat([torch.zeros_like(bias[: 2 * h]), bias[3 * h :]])
        states = _room(x, h)
        before = torch.zeros_like(states[0])
        arrays = (gates.numpy(), recurrent.numpy(), alive.numpy(), states.numpy())
        for t in _order(len(x), backwards):
            torch.addmm(own_bias, wh, before, out=recurrent[t])
            of_gates, of_recurrent, ended, state = (array[t] for array in arrays)
            cell_kernels.gru_step(of_gates, of_recurrent, before.numpy(), ended, state)
            before = states[t]
        ctx.save_for_backward(x, alive, wx, wh, gates, recurrent, states)
        ctx.backwards = backwards
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, alive, wx, wh, gates, recurrent, states = ctx.saved_tensors
        of_gates, of_recurrent = torch.empty_like(gates), torch.empty_like(recurrent)
        of_state = torch.zeros_like(states[0])
        none = torch.zeros_like(of_state)
        arrays = [part.numpy() for part in (gates, recurrent, alive, of_gates, of_recurrent)]
        for t, earlier in _history(len(x), ctx.backwards):
            of_state += grad[t]
            before = none if earlier is None else states[earlier]
            own, kept, ended, *written = (array[t] for array in arrays)
            cell_kernels.gru_step_back(own, kept, before.numpy(), ended, of_state.numpy(), *written)
            of_state.addmm_(wh.T, of_recurrent[t])
        h = wh.shape[1]
        of_bias = torch.cat([of_gates.sum((0, 2)), of_recurrent[:, 2 * h :].sum((0, 2))])
        return (
            torch.matmul(of_gates.mT, wx),
            None,
            torch.bmm(of_gates, x).sum(0),
            _of_weights(of_recurrent, states, ctx.backwards),
            of_bias[:, None],
            None,
        )


def _gru_in_torch(
    x: Tensor, alive: Tensor, wx: Tensor, wh: Tensor, bias: Tensor, backwards: bool
) -> Tensor:
    h = wh.shape[1]
    before, states = x.new_zeros(h, x.shape[1]), {}
    for t in _order(len(x), backwards):
        of_c, of_r, of_z = (wx @ x[t].T + bias[: 3 * h]).chunk(3)
        by_r, by_z, by_c = (wh @ before).chunk(3)
        r, z = torch.sigmoid(of_r + by_r), torch.sigmoid(of_z + by_z)
        c = torch.tanh(of_c + r * (by_c + bias[3 * h :]))
        before = states[t] = (c + z * (before - c)) * alive[t]
    return torch.stack([states[t] for t in range(len(x))])


class _LSTM(torch.autograd.Function):
    """Rows of all weights and biases are of i, f, o, g."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, alive: Tensor, wx: Tensor, wh: Tensor, bias: Tensor, backwards: bool
    ) -> Tensor:
        h = wh.shape[1]
        gates = torch.matmul(wx, x.mT).add_(bias)  # (steps, 4 h, b)
        states, memories = _room(x, h), _room(x, h)
        before = memory = torch.zeros_like(states[0])
        arrays = (gates.numpy(), alive.numpy(), memories.numpy(), states.numpy())
        for t in _order(len(x), backwards):
            gates[t].addmm_(wh, before)
            of_gates, ended, new, state = (array[t] for array in arrays)
            cell_kernels.lstm_step(of_gates, memory.numpy(), ended, new, state)
            before, memory = states[t], memories[t]
        ctx.save_for_backward(x, alive, wx, wh, gates, states, memories)
        ctx.backwards = backwards
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, alive, wx, wh, gates, states, memories = ctx.saved_tensors
        of_gates = torch.empty_like(gates)
        of_state, of_memory = torch.zeros_like(states[0]), torch.zeros_like(states[0])
        none = torch.zeros_like(of_state)
        arrays = [part.numpy() for part in (gates, alive, memories, of_gates)]
        for t, earlier in _history(len(x), ctx.backwards):
            of_state += grad[t]
            before = none if earlier is None else memories[earlier]
            own, ended, memory, written = (array[t] for array in arrays)
            of_both = of_state.numpy(), of_memory.numpy()
            cell_kernels.lstm_step_back(own, before.numpy(), ended, memory, *of_both, written)
            torch.mm(wh.T, of_gates[t], out=of_state)
        return (
            torch.matmul(of_gates.mT, wx),
            None,
            torch.bmm(of_gates, x).sum(0),
            _of_weights(of_gates, states, ctx.backwards),
            of_gates.sum((0, 2))[:, None],
            None,
        )


def _lstm_in_torch(
    x: Tensor, alive: Tensor, wx: Tensor, wh: Tensor, bias: Tensor, backwards: bool
) -> Tensor:
    before = memory = x.new_zeros(wh.shape[1], x.shape[1])
    states = {}
    for t in _order(len(x), backwards):
        i, f, o, g = (wx @ x[t].T + wh @ before + bias).chunk(4)
        memory = torch.sigmoid(f) * memory + torch.sigmoid(i) * torch.tanh(g)
        memory = memory * alive[t]
        before = states[t] = torch.sigmoid(o) * torch.tanh(memory)
    return torch.stack([states[t] for t in range(len(x))])


class _Kind(NamedTuple):
    compiled: Any  # a function of autograd
    in_torch: Callable[..., Tensor]
    gates: int  # how many gates have weights,
    biases: int  # and how many biases there are


_KINDS = {
    "gru": _Kind(_GRU, _gru_in_torch, 3, 4),
    "lstm": _Kind(_LSTM, _lstm_in_torch, 4, 4),
}


def _room(x: Tensor, rows: int) -> Tensor:
    """Space for that many rows at each step of x (steps, b, inputs)."""
    return x.new_empty(x.shape[0], rows, x.shape[1])


def _order(steps: int, backwards: bool) -> range:
    """The steps as a cell reads them."""
    return range(steps)[::-1] if backwards else range(steps)


def _history(steps: int, backwards: bool) -> list[tuple[int, int | None]]:
    """Each step and the one that was read before it, if any, the last that was read first."""
    order = list(_order(steps, backwards))
    return list(zip(order, [None, *order[:-1]], strict=True))[::-1]


def _of_weights(of_gates: Tensor, states: Tensor, backwards: bool) -> Tensor:
    """The gradient for the state's weights, from that for what they make of the states before."""
    if backwards:
        return torch.bmm(of_gates[:-1], states[1:].mT).sum(0)
    return torch.bmm(of_gates[1:], states[:-1].mT).sum(0)
