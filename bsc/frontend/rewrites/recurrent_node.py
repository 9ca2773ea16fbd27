"""What an LSTM, GRU or RNN says of itself, and whether it can be written out step by step."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir

from bsc.frontend.attributes import integer, reals, text, texts
from bsc.frontend.builder import Builder
from bsc.frontend.constants import is_constant, known_shape, sizes_of, tensor_of
from bsc.frontend.rewrites.activations import is_covered
from bsc.frontend.shapes import BATCH_AXES

RECURRENT = frozenset({"DynamicQuantizeLSTM", "GRU", "LSTM", "RNN"})
NODES_PER_STEP = 40
MAX_STEPS = 256
"""Every step is an operator of its own in the plan; longer sequences stay digital."""

Product = Callable[[Builder, ir.Value, str], Callable[[Any], Any]]
"""From constant weights (K, N) and a label to a function that multiplies activations (..., K) with them."""


def plain_product(b: Builder, weight: ir.Value, label: str) -> Callable[[Any], Any]:
    """A product of floats."""
    return lambda x: b.op("MatMul", x, weight, label=label)


@dataclass(frozen=True, kw_only=True)
class Operator:
    """What a recurrent operator says of itself; D directions, G gates, T steps.

    Attributes:
        x: inputs (T, B, I).
        weights: W (D, G * H, I).
        recurrent: R (D, G * H, H).
        bias: (D, 2 * G * H): of the input product, then of the recurrent one; or None.
        peepholes: of the input, output and forget gates (D, 3 * H), or None.
        lengths: steps of each sequence (B,), or None if all have T.
        states: initial hidden state (D, B, H), for an LSTM the cell state too; None where it is zero.
        gates: G.
        steps: T.
        directions: D.
        hidden: H.
        functions: names and parameters of the activations of all directions.
        product: multiplies an activation with constant weights.
    """

    x: Any
    weights: ir.Value
    recurrent: ir.Value
    bias: ir.Value | None
    peepholes: ir.Value | None
    lengths: Any
    states: Sequence[Any]
    gates: int
    steps: int
    directions: int
    hidden: int
    functions: Sequence[tuple[str, tuple[float, ...]]]
    product: Product


def read_operator(b: Builder, gates: int, defaults: tuple[str, ...], turned: Sequence[ir.Value] = ()) -> Operator | str:
    """Read a node, or why it cannot be written out.

    Args:
        b: has the node.
        gates: G.
        defaults: activations of one direction.
        turned: W and R in place of the node's.
    """
    x, *given, bias, lengths = (*b.node.inputs, *(None,) * 5)[:5]
    rest = (*b.node.inputs, *(None,) * 5)[5:8]
    weights, recurrent = turned or given
    states, peepholes = (rest[:2], rest[2]) if gates == 4 else (rest[:1], None)
    batch_first = bool(integer(b.node, "layout", 0))
    if not b.has_room(2 * MAX_STEPS * NODES_PER_STEP):
        return "the model has too many operators already to write out its steps"
    problem = _problem(x, int(batch_first), (weights, recurrent, bias, peepholes))
    if problem:
        return problem
    assert weights is not None
    assert recurrent is not None
    directions, *_, hidden = sizes_of(recurrent)
    steps, size = (known_shape(x) or ())[int(batch_first)], (known_shape(x) or ())[-1]
    wanted = 2 if text(b.node, "direction", "forward") == "bidirectional" else 1
    functions = _functions(b, defaults * directions)
    fits = (directions, gates * hidden, size), (directions, gates * hidden, hidden)
    if directions != wanted or (sizes_of(weights), sizes_of(recurrent)) != fits or not hidden:
        return "its shapes do not fit together"
    if functions is None or not all(is_covered(*function) for function in functions):
        return f"its activations are {', '.join(texts(b.node, 'activations'))}"
    if lengths is not None and is_constant(lengths) and (tensor_of(lengths).numpy() >= steps).all():
        lengths = None
    if batch_first:
        x, *turned_states = (value and b.transpose(value, [1, 0, 2], "steps") for value in (x, *states))
        states = tuple(turned_states)
    return Operator(
        x=x,
        weights=weights,
        recurrent=recurrent,
        bias=bias,
        peepholes=peepholes,
        lengths=lengths,
        states=states,
        gates=gates,
        steps=steps,
        directions=directions,
        hidden=hidden,
        functions=functions,
        product=plain_product,
    )


def _problem(x: ir.Value | None, time_axis: int, constants: Sequence[ir.Value | None]) -> str:
    """Why a node cannot be written out whatever its sizes are, else ""."""
    shape = known_shape(x)
    if not all(value is None or is_constant(value) for value in constants) or None in constants[:2]:
        return "its weights are computed at run time"
    if x is None or shape is None or len(shape) != 3:
        return "the length of its sequence is known at run time only"
    if time_axis in x.meta.get(BATCH_AXES, ()):
        return "its sequence runs along the free batch of an input: give its length with --input-shape"
    steps = shape[time_axis]
    return "" if 1 <= steps <= MAX_STEPS else f"its sequence has {steps} steps, more than {MAX_STEPS}"


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
