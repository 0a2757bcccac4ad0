"""GRU (Cho et al. 2014, arXiv:1406.1078) and LSTM (Hochreiter & Schmidhuber 1997), ragged.

    GRU    r, z = σ(·), c = tanh(A x + a + r (B h + b)), h' = c + z (h − c)
    LSTM   i, f, o = σ(·), g = tanh(·), c' = f c + i g, h' = o tanh c'

A cell reads a series forwards, or backwards from its own end: where a series has ended its state
is zero, so what stands in the padding is never read. Values and gradients of a whole series are
written out by hand, because autograd's bookkeeping costs as much as the arithmetic; the last axis
is the batch, so that each gate is one block of memory.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

_tanh_backward = torch.ops.aten.tanh_backward.grad_input
_sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input


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
        self.function, gates, biases = _KINDS[kind]
        self.of_input = nn.Parameter(_uniform(gates * hidden, inputs, hidden=hidden))
        self.of_state = nn.Parameter(_uniform(gates * hidden, hidden, hidden=hidden))
        self.bias = nn.Parameter(_uniform(biases * hidden, 1, hidden=hidden))

    def forward(self, x: Tensor, alive: Tensor) -> Tensor:
        """The states; alive (steps, b), of x's type, is one until a series ends and then zero."""
        states: Tensor = self.function.apply(
            x, alive, self.of_input, self.of_state, self.bias, self.backwards
        )
        return states


def _uniform(rows: int, columns: int, *, hidden: int) -> Tensor:
    bound = 1 / math.sqrt(hidden)
    return torch.empty(rows, columns).uniform_(-bound, bound)


class _GRU(torch.autograd.Function):
    """Gates of a step: c, r, z and the candidate's recurrent part B h + b; each (hidden, b).

    Weights of x are those of c, r, z; of the state, those of r, z, c; biases are of all four.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, alive: Tensor, wx: Tensor, wh: Tensor, bias: Tensor, backwards: bool
    ) -> Tensor:
        h = wh.shape[1]
        gates, states = _room(x, 4 * h), _room(x, h)
        before = torch.zeros_like(states[0])
        for t in _order(x, backwards):
            candidate, reset, update, recurrent = gates[t].chunk(4)
            torch.addmm(bias[: 3 * h], wx, x[t].T, out=gates[t, : 3 * h])
            gates[t, h : 3 * h].addmm_(wh[: 2 * h], before).sigmoid_()
            torch.addmm(bias[3 * h :], wh[2 * h :], before, out=recurrent)
            candidate.addcmul_(reset, recurrent).tanh_()
            before = torch.lerp(candidate, before, update, out=states[t]).mul_(alive[t])
        ctx.save_for_backward(x, alive, wx, wh, gates, states)
        ctx.backwards = backwards
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, alive, wx, wh, gates, states = ctx.saved_tensors
        h = wh.shape[1]
        of_x, of_wx, of_wh = (torch.empty_like(x), torch.zeros_like(wx), torch.zeros_like(wh))
        of_gates, of_bias = torch.empty_like(gates[0]), torch.zeros_like(gates[0])
        of_candidate, of_reset, of_update, of_recurrent = of_gates.chunk(4)
        through_x, through_state = of_gates[: 3 * h], of_gates[h:]
        of_state, kept, rest = (torch.zeros_like(states[0]) for _ in range(3))
        for t, before in _history(states, ctx.backwards):
            candidate, reset, update, recurrent = gates[t].chunk(4)
            of_state.add_(grad[t]).mul_(alive[t])
            torch.mul(of_state, update, out=kept)
            torch.sub(of_state, kept, out=rest)
            _tanh_backward(rest, candidate, grad_input=of_candidate)
            torch.mul(of_candidate, recurrent, out=of_reset)
            torch.sub(before, candidate, out=of_update).mul_(of_state)
            both = of_gates[h : 3 * h]
            _sigmoid_backward(both, gates[t, h : 3 * h], grad_input=both)
            torch.mul(of_candidate, reset, out=of_recurrent)
            of_bias.add_(of_gates)
            of_wx.addmm_(through_x, x[t])
            of_wh.addmm_(through_state, before.T)
            torch.mm(through_x.T, wx, out=of_x[t])
            torch.addmm(kept, wh.T, through_state, out=of_state)
        return of_x, None, of_wx, of_wh, of_bias.sum(1, keepdim=True), None


class _LSTM(torch.autograd.Function):
    """Gates of a step: i, f, o, g; each (hidden, b). Weights and biases are in that order."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, alive: Tensor, wx: Tensor, wh: Tensor, bias: Tensor, backwards: bool
    ) -> Tensor:
        h = wh.shape[1]
        gates, states, memories = _room(x, 4 * h), _room(x, h), _room(x, h)
        before = memory = torch.zeros_like(states[0])
        for t in _order(x, backwards):
            torch.addmm(bias, wx, x[t].T, out=gates[t]).addmm_(wh, before)
            gates[t, : 3 * h].sigmoid_()
            gates[t, 3 * h :].tanh_()
            enter, keep, leave, new = gates[t].chunk(4)
            memory = torch.mul(keep, memory, out=memories[t]).addcmul_(enter, new).mul_(alive[t])
            before = torch.tanh(memory, out=states[t]).mul_(leave)
        ctx.save_for_backward(x, alive, wx, wh, gates, states, memories)
        ctx.backwards = backwards
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, alive, wx, wh, gates, states, memories = ctx.saved_tensors
        h = wh.shape[1]
        of_x, of_wx, of_wh = (torch.empty_like(x), torch.zeros_like(wx), torch.zeros_like(wh))
        of_gates, of_bias = torch.empty_like(gates[0]), torch.zeros_like(gates[0])
        of_enter, of_keep, of_leave, of_new = of_gates.chunk(4)
        of_state, of_memory = torch.zeros_like(states[0]), torch.zeros_like(states[0])
        squashed, through = torch.empty_like(of_state), torch.empty_like(of_state)
        times = zip(_history(states, ctx.backwards), _history(memories, ctx.backwards), strict=True)
        for (t, before), (_, memory) in times:
            enter, keep, leave, new = gates[t].chunk(4)
            of_state.add_(grad[t])
            torch.tanh(memories[t], out=squashed)
            torch.mul(of_state, squashed, out=of_leave)
            _tanh_backward(of_state.mul_(leave), squashed, grad_input=through)
            of_memory.add_(through).mul_(alive[t])
            torch.mul(of_memory, new, out=of_enter)
            torch.mul(of_memory, memory, out=of_keep)
            _sigmoid_backward(of_gates[: 3 * h], gates[t, : 3 * h], grad_input=of_gates[: 3 * h])
            _tanh_backward(torch.mul(of_memory, enter, out=of_new), new, grad_input=of_new)
            of_bias.add_(of_gates)
            of_wx.addmm_(of_gates, x[t])
            of_wh.addmm_(of_gates, before.T)
            torch.mm(of_gates.T, wx, out=of_x[t])
            torch.mm(wh.T, of_gates, out=of_state)
            of_memory.mul_(keep)
        return of_x, None, of_wx, of_wh, of_bias.sum(1, keepdim=True), None


# The function, and how many gates have weights and how many have biases.
_KINDS: dict[str, tuple[type[torch.autograd.Function], int, int]] = {
    "gru": (_GRU, 3, 4),
    "lstm": (_LSTM, 4, 4),
}


def _room(x: Tensor, rows: int) -> Tensor:
    """Space for that many rows at each step of x (steps, b, inputs)."""
    return x.new_empty(x.shape[0], rows, x.shape[1])


def _order(x: Tensor, backwards: bool) -> list[int]:
    """The steps of x (steps, ...) as a cell reads them."""
    steps = list(range(len(x)))
    return steps[::-1] if backwards else steps


def _history(values: Tensor, backwards: bool) -> list[tuple[int, Tensor]]:
    """Each step and the values before it, the last that was read first."""
    order = _order(values, backwards)
    before = [torch.zeros_like(values[0]), *(values[t] for t in order[:-1])]
    return list(zip(order, before, strict=True))[::-1]
