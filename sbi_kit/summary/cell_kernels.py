"""One step of a recurrent cell and its gradient, compiled, each in one pass over memory.

The matrix products of a step are torch's; here is what lies between them, for all units and series
at once. Arrays of a step are (rows, b): the last axis is the batch, so that each gate is one block
of memory. Formulas and names are those of `cells`; all is float32.
"""

from typing import Any

import numpy as np

from sbi_kit.spline_kernels import Floats, compiled, sigmoid

_1, _2 = np.float32(1), np.float32(2)


@compiled
def _tanh(x: Any) -> Any:
    return _2 * sigmoid(_2 * x) - _1


@compiled
def gru_step(
    gates: Floats, recurrent: Floats, before: Floats, alive: Floats, state: Floats
) -> None:
    """Write a step's state, and its gates over what they are made of.

    Args:
        gates: What x says of c, r and z, (3 h, b); then these.
        recurrent: What the state before says of r, z and c, (3 h, b); the last is kept.
        before: The state before, (h, b).
        alive: One, or zero where the series has ended, (b,).
        state: Written, (h, b).
    """
    h, b = state.shape
    for i in range(h):
        for j in range(b):
            r = sigmoid(gates[h + i, j] + recurrent[i, j])
            z = sigmoid(gates[2 * h + i, j] + recurrent[h + i, j])
            c = _tanh(gates[i, j] + r * recurrent[2 * h + i, j])
            gates[i, j], gates[h + i, j], gates[2 * h + i, j] = c, r, z
            state[i, j] = (c + z * (before[i, j] - c)) * alive[j]


@compiled
def gru_step_back(
    gates: Floats,
    recurrent: Floats,
    before: Floats,
    alive: Floats,
    of_state: Floats,
    of_gates: Floats,
    of_recurrent: Floats,
) -> None:
    """Write gradients for both arguments of the gates, and over of_state that past the gates.

    Args:
        gates: c, r and z, (3 h, b).
        recurrent: Its last third is the candidate's recurrent part, (3 h, b).
        before: The state before, (h, b).
        alive: One, or zero where the series has ended, (b,).
        of_state: For the state, (h, b); then what reaches the state before beside the gates.
        of_gates: Written, for what x says of c, r and z, (3 h, b).
        of_recurrent: Written, for what the state before says of r, z and c, (3 h, b).
    """
    h, b = before.shape
    for i in range(h):
        for j in range(b):
            c, r, z = gates[i, j], gates[h + i, j], gates[2 * h + i, j]
            of_h = of_state[i, j] * alive[j]
            of_c = of_h * (_1 - z) * (_1 - c * c)
            of_r = of_c * recurrent[2 * h + i, j] * r * (_1 - r)
            of_z = of_h * (before[i, j] - c) * z * (_1 - z)
            of_gates[i, j], of_gates[h + i, j], of_gates[2 * h + i, j] = of_c, of_r, of_z
            of_recurrent[i, j], of_recurrent[h + i, j] = of_r, of_z
            of_recurrent[2 * h + i, j] = of_c * r
            of_state[i, j] = of_h * z


@compiled
def lstm_step(gates: Floats, before: Floats, alive: Floats, memory: Floats, state: Floats) -> None:
    """Write a step's memory and state, and its gates over what they are made of.

    Args:
        gates: What x and the state before say of i, f, o and g, (4 h, b); then these.
        before: The memory before, (h, b).
        alive: One, or zero where the series has ended, (b,).
        memory: Written, (h, b).
        state: Written, (h, b).
    """
    h, b = state.shape
    for k in range(h):
        for j in range(b):
            i, f = sigmoid(gates[k, j]), sigmoid(gates[h + k, j])
            o, g = sigmoid(gates[2 * h + k, j]), _tanh(gates[3 * h + k, j])
            gates[k, j], gates[h + k, j] = i, f
            gates[2 * h + k, j], gates[3 * h + k, j] = o, g
            c = (f * before[k, j] + i * g) * alive[j]
            memory[k, j] = c
            state[k, j] = o * _tanh(c)


@compiled
def lstm_step_back(
    gates: Floats,
    before: Floats,
    alive: Floats,
    memory: Floats,
    of_state: Floats,
    of_memory: Floats,
    of_gates: Floats,
) -> None:
    """Write the gradient for what gates are made of, and over of_memory that for the one before.

    Args:
        gates: i, f, o and g, (4 h, b).
        before: The memory before, (h, b).
        alive: One, or zero where the series has ended, (b,).
        memory: That of the step, (h, b).
        of_state: For the state, (h, b).
        of_memory: For the memory, from later steps, (h, b); then for the one before.
        of_gates: Written, (4 h, b).
    """
    h, b = before.shape
    for k in range(h):
        for j in range(b):
            i, f, o, g = gates[k, j], gates[h + k, j], gates[2 * h + k, j], gates[3 * h + k, j]
            squashed = _tanh(memory[k, j])
            of_c = of_memory[k, j] + of_state[k, j] * o * (_1 - squashed * squashed)
            of_c *= alive[j]
            of_gates[k, j] = of_c * g * i * (_1 - i)
            of_gates[h + k, j] = of_c * before[k, j] * f * (_1 - f)
            of_gates[2 * h + k, j] = of_state[k, j] * squashed * o * (_1 - o)
            of_gates[3 * h + k, j] = of_c * i * (_1 - g * g)
            of_memory[k, j] = of_c * f
