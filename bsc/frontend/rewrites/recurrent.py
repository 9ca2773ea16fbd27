"""LSTM, GRU and RNN written out step by step.

The input weights are one product with the inputs of all steps, V = steps x batch vectors. The recurrent weights are
driven once a step; the steps read one constant, so that they share its crossbars. Gates stay digital. Without an
initial state the first step has no recurrent product, as its result is zero.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from bsc.frontend.attributes import integer, real, text
from bsc.frontend.builder import Builder
from bsc.frontend.constants import is_constant
from bsc.frontend.rewrites.activations import activate
from bsc.frontend.rewrites.integers import dynamic_product
from bsc.frontend.rewrites.literals import dequantized
from bsc.frontend.rewrites.recurrent_node import Operator, read_operator

State = tuple[Any, ...]
"""Hidden state (1, B, H), for an LSTM the cell state too; None where it is zero."""


class _Direction:
    """One direction of an operator.

    Args:
        b: builds it.
        op: the operator.
        number: 0, or 1 for the second of two.
        cuts: gates [first, last) of each part of the recurrent weights.

    Attributes:
        hidden: H.
        peepholes: of the input, output and forget gates, (H,) each; None without.
    """

    def __init__(self, b: Builder, op: Operator, number: int, cuts: Sequence[tuple[int, int]]) -> None:
        self.hidden = op.hidden
        self._b, self._op, self._number = b, op, number
        self.peepholes = [self._row(op.peepholes, gate, gate + 1) for gate in range(3)]
        self._recurrent = [
            (self._matrix(op.recurrent, first, last, "R"), self._row(op.bias, op.gates + first, op.gates + last))
            for first, last in cuts
        ]
        functions = len(op.functions) // op.directions
        self._functions = op.functions[number * functions : (number + 1) * functions]
        self._clip = real(b.node, "clip", 0.0)

    def label(self, name: str) -> str:
        """The name within its direction."""
        return f"reverse-{name}" if self._number else name

    def inputs(self) -> Sequence[Any]:
        """The product of each step's input, (1, B, G * H)."""
        op = self._op
        driven = self.total(self._matrix(op.weights, 0, op.gates, "W")(op.x), self._row(op.bias, 0, op.gates))
        return self._b.split(driven, [1] * op.steps, 0, self.label("steps"))

    def initial(self) -> State:
        """The state before the first step."""
        at = self._number
        return tuple(
            value if value is None or self._op.directions == 1 else self._b.slice(value, at, at + 1, 0, "state")
            for value in self._op.states
        )

    def drive(self, state: Any, part: int = 0) -> Any:
        """State times a part of the recurrent weights, plus bias."""
        product, bias = self._recurrent[part]
        return self.total(None if state is None else product(state), bias)

    def _matrix(self, weight: ir.Value, first: int, last: int, label: str) -> Callable[[Any], Any]:
        """Multiplies with some gates of this direction."""
        at, size = self._number, self.hidden
        columns = self._b.rearranged(weight, lambda array: array[at, first * size : last * size].T, label)
        return self._op.product(self._b, columns, self.label(label))

    def _row(self, row: ir.Value | None, first: int, last: int) -> ir.Value | None:
        at, size = self._number, self.hidden
        if row is None:
            return None
        return self._b.rearranged(row, lambda array: array[at, first * size : last * size], "bias")

    def split(self, value: Any, sizes: Sequence[int], label: str) -> Sequence[Any]:
        """Gates that lie side by side."""
        return self._b.split(value, [size * self.hidden for size in sizes], -1, self.label(label))

    def total(self, *terms: Any) -> Any:
        """Sum of what is not zero."""
        present = [term for term in terms if term is not None]
        result = present[0] if present else None
        for term in present[1:]:
            result = self._b.op("Add", result, term, label=self.label("sum"))
        return result

    def times(self, left: Any, right: Any) -> Any:
        """Product; None if one of the two is zero."""
        return None if left is None or right is None else self._b.op("Mul", left, right, label=self.label("product"))

    def gate(self, x: Any, function: int) -> Any:
        """Clip and activate."""
        clipped = activate(self._b, x, "Clip", (-self._clip, self._clip), self.label("clipped")) if self._clip else x
        return self.activate(clipped, function)

    def activate(self, x: Any, function: int) -> Any:
        """One of the operator's functions."""
        name, parameters = self._functions[function]
        return activate(self._b, x, name, parameters, self.label(name.lower()))

    def complement(self, x: Any) -> Any:
        """1 - x."""
        return self._b.op("Sub", self._b.constant(1.0, np.float32, "one"), x, label=self.label("complement"))

    def masked(self, mask: Any, old: State, new: State) -> tuple[Any, State]:
        """The output of a step, zero where the sequence has ended, and its state, which then stays as it was."""
        zeros = [self._b.op("Mul", value, self._b.constant(0.0, np.float32, "zero"), label="zeros") for value in new]
        kept = [zero if value is None else value for value, zero in zip(old, zeros, strict=True)]
        output = self._b.op("Where", mask, new[0], zeros[0], label=self.label("masked"))
        return output, tuple(
            self._b.op("Where", mask, after, before, label=self.label("kept"))
            for before, after in zip(kept, new, strict=True)
        )


Step = Callable[[_Direction, Any, State], State]
LSTM_FUNCTIONS = ("Sigmoid", "Tanh", "Tanh")


def rnn(b: Builder) -> Sequence[ir.Value] | str:
    """RNN of known length: H = f(X W + H R + b)."""

    def step(d: _Direction, x: Any, state: State) -> State:
        return (d.gate(d.total(x, d.drive(state[0])), 0),)

    op = read_operator(b, 1, ("Tanh",))
    return op if isinstance(op, str) else _written_out(b, op, step, ((0, 1),))


def gru(b: Builder) -> Sequence[ir.Value] | str:
    """GRU of known length: H = (1 - z) * g(...) + z * H.

    The reset gate acts behind the recurrent product or before it.
    """

    def behind(d: _Direction, x: Any, state: State) -> State:
        (h,), driven = state, d.drive(state[0])
        x_gates, x_new = d.split(x, (2, 1), "inputs")
        gates, new = (None, None) if driven is None else d.split(driven, (2, 1), "driven")
        z, r = d.split(d.gate(d.total(x_gates, gates), 0), (1, 1), "gates")
        return (mixed(d, z, d.gate(d.total(x_new, d.times(r, new)), 1), h),)

    def before(d: _Direction, x: Any, state: State) -> State:
        (h,) = state
        x_gates, x_new = d.split(x, (2, 1), "inputs")
        z, r = d.split(d.gate(d.total(x_gates, d.drive(h, 0)), 0), (1, 1), "gates")
        return (mixed(d, z, d.gate(d.total(x_new, d.drive(d.times(r, h), 1)), 1), h),)

    def mixed(d: _Direction, z: Any, new: Any, old: Any) -> Any:
        return d.total(d.times(d.complement(z), new), d.times(z, old))

    op = read_operator(b, 3, ("Sigmoid", "Tanh"))
    if isinstance(op, str):
        return op
    if integer(b.node, "linear_before_reset", 0):
        return _written_out(b, op, behind, ((0, 3),))
    return _written_out(b, op, before, ((0, 2), (2, 3)))


def lstm(b: Builder) -> Sequence[ir.Value] | str:
    """LSTM of known length: C = f * C + i * g(...), H = o * h(C), with peepholes and coupled gates."""
    op = read_operator(b, 4, LSTM_FUNCTIONS)
    return op if isinstance(op, str) else _lstm(b, op)


def _lstm(b: Builder, op: Operator) -> Sequence[ir.Value]:
    coupled = bool(integer(b.node, "input_forget", 0))

    def step(d: _Direction, x: Any, state: State) -> State:
        h, c = state
        i, o, f, new = d.split(d.total(x, d.drive(h)), (1, 1, 1, 1), "gates")
        p_i, p_o, p_f = d.peepholes
        i = d.gate(d.total(i, d.times(p_i, c)), 0)
        f = d.complement(i) if coupled else d.gate(d.total(f, d.times(p_f, c)), 0)
        cell = d.total(d.times(f, c), d.times(i, d.gate(new, 1)))
        o = d.gate(d.total(o, d.times(p_o, cell)), 0)
        return (d.times(o, d.activate(cell, 2)), cell)

    return _written_out(b, op, step, ((0, 4),))


def dynamic_lstm(b: Builder) -> Sequence[ir.Value] | str:
    """com.microsoft DynamicQuantizeLSTM: an LSTM of integer weights that quantises what drives them."""
    inputs = (*b.node.inputs, *(None,) * 4)[:12]
    weights, formats = inputs[1:3], inputs[8:12]
    if not all(map(is_constant, weights)) or not all(value is None or is_constant(value) for value in formats):
        return "its weights are computed at run time"
    turned = []
    for value, scale, zero in zip(weights, formats[::2], formats[1::2], strict=True):
        # A scale for each direction, or for each column of each.
        spread = [None if part is None else b.rearranged(part, _over_rows, "format") for part in (scale, zero)]
        coded = dequantized(b, value, *spread, axis=-1, label="weight")
        turned.append(b.rearranged(coded, lambda array: array.transpose(0, 2, 1)))
    op = read_operator(b, 4, LSTM_FUNCTIONS, turned)
    return op if isinstance(op, str) else _lstm(b, replace(op, product=dynamic_product))


def _over_rows(array: NDArray[Any]) -> NDArray[Any]:
    """(D,) or (D, columns) to (D, 1, columns or 1)."""
    return array if array.size == 1 else array.reshape(len(array), 1, -1)


def _written_out(b: Builder, op: Operator, step: Step, cuts: tuple[tuple[int, int], ...]) -> Sequence[ir.Value]:
    """The outputs: hidden states of all steps (T, D, B, H), and last states (D, B, H); or with the batch first."""
    masks = None if op.lengths is None else _masks(b, op.lengths, op.steps)
    outputs: list[Any] = []
    finals: list[State] = []
    for number in range(op.directions):
        d = _Direction(b, op, number, cuts)
        pieces, state = d.inputs(), d.initial()
        backwards = number == 1 or text(b.node, "direction", "forward") == "reverse"
        hiddens: list[Any] = [None] * op.steps
        for at in reversed(range(op.steps)) if backwards else range(op.steps):
            after = step(d, pieces[at], state)
            hiddens[at], state = (after[0], after) if masks is None else d.masked(masks[at], state, after)
        whole = b.op("Concat", *hiddens, label=d.label("outputs"), axis=0)
        outputs.append(b.unsqueeze(whole, 1, d.label("direction")))
        finals.append(state)

    def together(values: Sequence[Any], axis: int) -> Any:
        return values[0] if len(values) == 1 else b.op("Concat", *values, label="directions", axis=axis)

    results = [together(outputs, 1), *(together(values, 0) for values in zip(*finals, strict=True))]
    if integer(b.node, "layout", 0):
        orders = ([2, 0, 1, 3], [1, 0, 2], [1, 0, 2])
        results = [b.transpose(value, order, "output") for value, order in zip(results, orders, strict=False)]
    return results[: len(b.node.outputs)]


def _masks(b: Builder, lengths: Any, steps: int) -> list[Any]:
    """For each step, which sequences reach it, bool (B, 1)."""
    column = b.unsqueeze(b.op("Cast", lengths, label="lengths", to=ir.DataType.INT64), 1, "lengths")
    return [b.op("Less", b.constant(at, np.int64, "step"), column, label="reached") for at in range(steps)]
