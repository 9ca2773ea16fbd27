"""LSTM, GRU and RNN written out step by step.

The input weights are one product with the inputs of all steps, V = steps x batch vectors. The recurrent weights are
driven once a step; the steps read one constant, so that they share its crossbars. Gates stay digital. Without an
initial state the first step has no recurrent product, as its result is zero.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from bsc.frontend.attributes import integer, real, reals, text, texts
from bsc.frontend.builder import Builder
from bsc.frontend.constants import is_constant, known_shape, sizes_of, tensor_of
from bsc.frontend.rewrites.activations import activate, is_covered

MAX_STEPS = 256
"""Every step is an operator of its own in the plan; longer sequences stay digital."""

State = tuple[Any, ...]
"""Hidden state (1, B, H), for an LSTM the cell state too; None where it is zero."""


@dataclass(frozen=True, kw_only=True)
class _Direction:
    """One direction of a recurrent operator.

    Attributes:
        b: builds it.
        number: 0, or 1 for the second of two.
        hidden: H, size of the state.
        functions: names and parameters of the activations, in ONNX's order.
        recurrent: R as (H, gates * H), cut as `cuts` says.
        recurrent_bias: of the same columns, each None without bias.
        peepholes: P of the input, output and forget gates, (H,) each, None without.
        clip: bound of what the activations read, or 0.
    """

    b: Builder
    number: int
    hidden: int
    functions: Sequence[tuple[str, tuple[float, ...]]]
    recurrent: Sequence[ir.Value]
    recurrent_bias: Sequence[ir.Value | None]
    peepholes: Sequence[ir.Value | None]
    clip: float

    def label(self, name: str) -> str:
        """The name within its direction."""
        return f"reverse-{name}" if self.number else name

    def drive(self, state: Any, part: int = 0) -> Any:
        """State times a part of the recurrent weights, plus bias."""
        product = None if state is None else self.b.op("MatMul", state, self.recurrent[part], label=self.label("R"))
        return self.total(product, self.recurrent_bias[part])

    def total(self, *terms: Any) -> Any:
        """Sum of what is not zero."""
        present = [term for term in terms if term is not None]
        result = present[0] if present else None
        for term in present[1:]:
            result = self.b.op("Add", result, term, label=self.label("sum"))
        return result

    def times(self, left: Any, right: Any) -> Any:
        """Product; None if one of the two is zero."""
        return None if left is None or right is None else self.b.op("Mul", left, right, label=self.label("product"))

    def gate(self, x: Any, function: int) -> Any:
        """Clip and activate."""
        if self.clip:
            x = activate(self.b, x, "Clip", (-self.clip, self.clip), self.label("clipped"))
        name, parameters = self.functions[function]
        return activate(self.b, x, name, parameters, self.label(name.lower()))

    def complement(self, x: Any) -> Any:
        """1 - x."""
        return self.b.op("Sub", self.b.constant(1.0, np.float32, "one"), x, label=self.label("complement"))


Step = Callable[[_Direction, Any, State], State]


def rnn(b: Builder) -> Sequence[ir.Value] | str:
    """H = f(X W + H R + b)."""

    def step(d: _Direction, x: Any, state: State) -> State:
        return (d.gate(d.total(x, d.drive(state[0])), 0),)

    return _recurrent(b, step, gates=1, defaults=("Tanh",))


def gru(b: Builder) -> Sequence[ir.Value] | str:
    """H = (1 - z) * g(...) + z * H; the reset gate acts before or behind the recurrent product."""
    behind = bool(integer(b.node, "linear_before_reset", 0))

    def step(d: _Direction, x: Any, state: State) -> State:
        (h,) = state
        size = d.hidden
        if behind:
            driven = d.drive(h)
            x_gates, x_new = b.split(x, [2 * size, size], -1, d.label("inputs"))
            gates, new = (None, None) if driven is None else b.split(driven, [2 * size, size], -1, d.label("driven"))
            z, r = b.split(d.gate(d.total(x_gates, gates), 0), [size, size], -1, d.label("gates"))
            candidate = d.gate(d.total(x_new, d.times(r, new)), 1)
        else:
            x_gates, x_new = b.split(x, [2 * size, size], -1, d.label("inputs"))
            z, r = b.split(d.gate(d.total(x_gates, d.drive(h, 0)), 0), [size, size], -1, d.label("gates"))
            candidate = d.gate(d.total(x_new, d.drive(d.times(r, h), 1)), 1)
        return (d.total(d.times(d.complement(z), candidate), d.times(z, h)),)

    return _recurrent(b, step, gates=3, defaults=("Sigmoid", "Tanh"), cuts=((0, 3),) if behind else ((0, 2), (2, 3)))


def lstm(b: Builder) -> Sequence[ir.Value] | str:
    """C = f * C + i * g(...), H = o * h(C), with peepholes and coupled gates."""
    coupled = bool(integer(b.node, "input_forget", 0))

    def step(d: _Direction, x: Any, state: State) -> State:
        h, c = state
        i, o, f, new = b.split(d.total(x, d.drive(h)), [d.hidden] * 4, -1, d.label("gates"))
        p_i, p_o, p_f = d.peepholes
        i = d.gate(d.total(i, d.times(p_i, c)), 0)
        f = d.complement(i) if coupled else d.gate(d.total(f, d.times(p_f, c)), 0)
        cell = d.total(d.times(f, c), d.times(i, d.gate(new, 1)))
        o = d.gate(d.total(o, d.times(p_o, cell)), 0)
        name, parameters = d.functions[2]
        return (d.times(o, activate(b, cell, name, parameters, d.label("output"))), cell)

    return _recurrent(b, step, gates=4, defaults=("Sigmoid", "Tanh", "Tanh"))


def _recurrent(
    b: Builder,
    step: Step,
    *,
    gates: int,
    defaults: tuple[str, ...],
    cuts: tuple[tuple[int, int], ...] = ((0, 1),),
) -> Sequence[ir.Value] | str:
    """Write out an operator.

    Args:
        b: builds it.
        step: one step of it.
        gates: matrices that lie side by side in its weights.
        defaults: its activations.
        cuts: gates [first, last) of each part of the recurrent weights; of all by default.
    """
    x, w, r, bias, lengths, *rest = (*b.node.inputs, *(None,) * 5)[:8]
    states, peepholes = (rest[:2], rest[2]) if gates == 4 else (rest[:1], None)
    problem = _problem(b, (w, r), (bias, peepholes))
    if problem:
        return problem
    rows_last = bool(integer(b.node, "layout", 0))
    shape = known_shape(x)
    assert shape is not None
    steps = shape[1 if rows_last else 0]
    if lengths is not None and is_constant(lengths) and (tensor_of(lengths).numpy() >= steps).all():
        lengths = None
    count, hidden = sizes_of(w)[0], sizes_of(r)[-1]
    functions = _functions(b, defaults * count)
    if functions is None or not all(is_covered(*function) for function in functions):
        return f"its activations are {', '.join(texts(b.node, 'activations'))}"
    if cuts == ((0, 1),):
        cuts = ((0, gates),)
    if rows_last:
        x = b.transpose(x, [1, 0, 2], "steps")
        states = [value and b.transpose(value, [1, 0, 2], "state") for value in states]
    masks = None if lengths is None else _masks(b, lengths, steps)
    outputs: list[Any] = []
    finals: list[State] = []
    for number in range(count):
        d = _Direction(
            b=b,
            number=number,
            hidden=hidden,
            functions=functions[number * len(defaults) :][: len(defaults)],
            recurrent=[_columns(b, r, number, first * hidden, last * hidden, "R") for first, last in cuts],
            recurrent_bias=[
                _bias(b, bias, number, (gates + first) * hidden, (gates + last) * hidden) for first, last in cuts
            ],
            peepholes=[_bias(b, peepholes, number, gate * hidden, (gate + 1) * hidden) for gate in range(3)],
            clip=real(b.node, "clip", 0.0),
        )
        weight = _columns(b, w, number, 0, gates * hidden, "W")
        driven = b.op("MatMul", x, weight, label=d.label("W"))
        if bias is not None:
            added = _bias(b, bias, number, 0, gates * hidden)
            driven = b.op("Add", driven, added, label=d.label("biased"))
        pieces = b.split(driven, [1] * steps, 0, d.label("steps")) if steps > 1 else [driven]
        backwards = number == 1 or text(b.node, "direction", "forward") == "reverse"
        state: State = tuple(
            None if value is None else (value if count == 1 else b.slice(value, number, number + 1, 0, "state"))
            for value in states
        )
        hiddens: list[Any] = [None] * steps
        for at in reversed(range(steps)) if backwards else range(steps):
            after = step(d, pieces[at], state)
            hiddens[at] = after[0]
            if masks is not None:
                kept = [_zero(b, new) if old is None else old for old, new in zip(state, after, strict=True)]
                hiddens[at] = b.op("Where", masks[at], after[0], _zero(b, after[0]), label=d.label("masked"))
                after = tuple(
                    b.op("Where", masks[at], new, old, label=d.label("kept"))
                    for old, new in zip(kept, after, strict=True)
                )
            state = after
        whole = b.op("Concat", *hiddens, label=d.label("outputs"), axis=0)
        outputs.append(b.unsqueeze(whole, 1, d.label("direction")))
        finals.append(state)
    results = [outputs[0] if count == 1 else b.op("Concat", *outputs, label="directions", axis=1)]
    for values in zip(*finals, strict=True):
        results.append(values[0] if count == 1 else b.op("Concat", *values, label="final", axis=0))
    if rows_last:
        results = [b.transpose(results[0], [2, 0, 1, 3], "output")] + [
            b.transpose(value, [1, 0, 2], "final-state") for value in results[1:]
        ]
    return results[: len(b.node.outputs)]


def _problem(b: Builder, weights: Sequence[ir.Value | None], constants: Sequence[ir.Value | None]) -> str:
    """Why the operator cannot be written out, else ""."""
    if not all(map(is_constant, weights)) or not all(value is None or is_constant(value) for value in constants):
        return "its weights are computed at run time"
    shape = known_shape(b.node.inputs[0])
    if shape is None or len(shape) != 3:
        return "the length of its sequence is unknown"
    steps = shape[integer(b.node, "layout", 0)]
    if not 1 <= steps <= MAX_STEPS:
        return f"its sequence has {steps} steps, more than {MAX_STEPS}"
    direction = text(b.node, "direction", "forward")
    (count, columns, size), (_, rows, hidden) = map(sizes_of, weights)
    fits = count == (2 if direction == "bidirectional" else 1) and rows == columns and size == shape[2]
    return "" if fits and hidden and columns % hidden == 0 else "its shapes do not fit together"


def _functions(b: Builder, defaults: tuple[str, ...]) -> list[tuple[str, tuple[float, ...]]] | None:
    """Names and parameters of the activations; a list of parameters belongs to those functions that take any."""
    names = texts(b.node, "activations") or defaults
    if len(names) != len(defaults):
        return None
    alphas, betas = list(reals(b.node, "activation_alpha")), list(reals(b.node, "activation_beta"))
    takes_alpha = {"affine", "elu", "hardsigmoid", "leakyrelu", "scaledtanh", "thresholdedrelu"}
    takes_beta = {"affine", "hardsigmoid", "scaledtanh"}
    functions: list[tuple[str, tuple[float, ...]]] = []
    for name in names:
        lower = name.lower()
        parameters = [alphas.pop(0)] if lower in takes_alpha and alphas else []
        if lower in takes_beta and parameters and betas:
            parameters.append(betas.pop(0))
        functions.append((name, tuple(parameters)))
    return functions


def _columns(b: Builder, weight: Any, number: int, first: int, last: int, label: str) -> ir.Value:
    """Gates of one direction, (D, gates * H, K) to (K, columns)."""
    return b.rearranged(weight, lambda array: array[number, first:last].T, label)


def _bias(b: Builder, bias: ir.Value | None, number: int, first: int, last: int) -> ir.Value | None:
    """A part of the row of one direction; the recurrent biases lie behind those of the input."""
    return None if bias is None else b.rearranged(bias, lambda array: array[number, first:last], "bias")


def _masks(b: Builder, lengths: Any, steps: int) -> list[Any]:
    """For each step, which sequences reach it, bool (B, 1)."""
    column = b.unsqueeze(b.op("Cast", lengths, label="lengths", to=ir.DataType.INT64), 1, "lengths")
    return [b.op("Less", b.constant(at, np.int64, "step"), column, label="reached") for at in range(steps)]


def _zero(b: Builder, like: Any) -> Any:
    """Zeros of the shape of a value."""
    return b.op("Mul", like, b.constant(0.0, np.float32, "zero"), label="zeros")
