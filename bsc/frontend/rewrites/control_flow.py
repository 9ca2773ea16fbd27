"""If, Loop and Scan that hold products with weights: written out where it is known which branch runs, or how often.

The runs of a body read the same constants, so that they share crossbars.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from bsc.errors import ModelError
from bsc.frontend.attributes import integer, integers
from bsc.frontend.builder import Builder
from bsc.frontend.constants import is_constant, known_shape, tensor_of
from bsc.frontend.folding import PRODUCTS
from bsc.frontend.rewrites.recurrent_node import MAX_STEPS
from bsc.frontend.shapes import BATCH_AXES
from bsc.frontend.trip_count import trip_count

DEPENDS = "which of its branches runs depends on input"
"""How the reason begins that --set may take away."""

MAX_RUNS = 1 << 24
"""Of a Loop that nothing stops earlier: ten seconds of onnxruntime with the shortest of bodies."""


def branch(b: Builder) -> Sequence[ir.Value] | str | None:
    """If whose condition is a constant."""
    bodies = [_body(b.node, name) for name in ("then_branch", "else_branch")]
    condition = b.node.inputs[0]
    if not is_constant(condition):
        count = sum(map(_products, bodies))
        if not count:
            return None
        inputs = _inputs_of(condition)
        if len(inputs) == 1 and math.prod(known_shape(inputs[0]) or ()) == 1 and not inputs[0].meta.get(BATCH_AXES):
            return f"{DEPENDS} '{inputs[0].name}'; {_held(count)}"
        return f"which of its branches runs is known at run time only; {_held(count)}"
    return _run(b, bodies[0 if tensor_of(condition).numpy().all() else 1], [])


def _inputs_of(value: ir.Value | None) -> list[ir.Value]:
    """The model's inputs that a value is made of."""
    waiting, seen = [value], {id(value)}
    inputs: list[ir.Value] = []
    while waiting:
        current = waiting.pop()
        if current is None:
            continue
        if current.is_graph_input() and not current.is_initializer():
            inputs.append(current)
        source = current.producer()
        for each in source.inputs if source is not None else ():
            if id(each) not in seen:
                seen.add(id(each))
                waiting.append(each)
    return inputs


def loop(b: Builder) -> Sequence[ir.Value] | str | None:
    """Loop whose number of runs follows from constants. States that it never changes are read from outside."""
    count, condition, *rest = b.node.inputs
    states: Sequence[ir.Value | None] = rest
    body = _body(b.node, "body")
    _free_states(body.inputs[2:], body.outputs[1:], states)
    go_on, again = body.outputs[0], body.inputs[1]
    endless = go_on is again or _always(go_on) or (_identity(go_on) is again)
    known = is_constant(count) and (condition is None or _always(condition)) and endless
    runs = int(tensor_of(count).numpy().ravel()[0]) if known else 0
    if runs > MAX_RUNS:
        raise ModelError(
            "BSC312",
            f"operator '{b.node.name}' (Loop) would run without end",
            seen=f"{runs} runs, and nothing in it stops it earlier",
            fix=f"export the model with a Loop of at most {MAX_RUNS} runs, or one that stops by its condition",
        )
    if not _products(body):
        return None
    if not known and (counted := trip_count(b.node, b.constants, b.opset, MAX_STEPS + 1)) is not None:
        known, runs = True, counted
    if not known:
        return f"how often it runs is known at run time only; {_held(_products(body))}"
    if not _fits(b, body, runs) or len(body.outputs) - 1 < len(states):
        return f"it runs {runs} times, more than can be written out; {_held(_products(body))}"
    more = b.constant(True, np.bool_, "more")
    pieces: list[Sequence[Any]] = []
    for run in range(runs):
        results = _run(b, body, [b.constant(run, np.int64, "run"), more, *states])
        states = results[1 : 1 + len(states)]
        pieces.append(results[1 + len(states) :])
    return [*states, *(_stacked(b, parts, 0) for parts in zip(*pieces, strict=True))]


def scan(b: Builder) -> Sequence[ir.Value] | str | None:
    """Scan along axes of known size."""
    body = _body(b.node, "body")
    count = integer(b.node, "num_scan_inputs", 0)
    states, scanned = list(b.node.inputs[:-count]), b.node.inputs[-count:]
    _free_states(body.inputs, body.outputs, states)
    if not _products(body):
        return None
    axes = integers(b.node, "scan_input_axes", (0,) * count)
    lengths = set()
    for value, axis in zip(scanned, axes, strict=True):
        shape = known_shape(value)
        along_batch = value is not None and shape is not None and axis % len(shape) in value.meta.get(BATCH_AXES, ())
        lengths.add(None if shape is None or along_batch else shape[axis])
    (length, *others) = lengths
    if others or length is None:
        return f"how often it runs is known at run time only; {_held(_products(body))}"
    if not _fits(b, body, length):
        return f"it runs {length} times, more than can be written out; {_held(_products(body))}"
    stacked = len(body.outputs) - len(states)
    backwards_in = integers(b.node, "scan_input_directions", (0,) * count)
    backwards_out = integers(b.node, "scan_output_directions", (0,) * stacked)
    axes_out = integers(b.node, "scan_output_axes", (0,) * stacked)
    pieces: list[Sequence[Any]] = []
    for run in range(length):
        parts = [
            b.op(
                "Gather", value, b.constant(length - 1 - run if back else run, np.int64, "run"), label="part", axis=axis
            )
            for value, axis, back in zip(scanned, axes, backwards_in, strict=True)
        ]
        results = _run(b, body, [*states, *parts])
        states = list(results[: len(states)])
        pieces.append(results[len(states) :])
    outputs = [
        _stacked(b, parts[::-1] if back else parts, axis)
        for parts, axis, back in zip(zip(*pieces, strict=True), axes_out, backwards_out, strict=True)
    ]
    return [*states, *outputs]


def _free_states(inner: Sequence[ir.Value], results: Sequence[ir.Value], outer: Sequence[ir.Value | None]) -> None:
    """Let a body read what is around it where a state stays as it begins: weights that exporters pass along."""
    for begins, ends, value in zip(inner, results, outer, strict=False):
        if value is not None and (ends is begins or _identity(ends) is begins):
            for use in list(begins.uses()):
                use.node.replace_input_with(use.idx, value)


def _body(node: ir.Node, name: str) -> ir.Graph:
    """A sub-graph. Raises `LookupError` where there is none."""
    return node.attributes[name].as_graph()


def _fits(b: Builder, body: ir.Graph, runs: int) -> bool:
    return 1 <= runs <= MAX_STEPS and b.has_room(runs * sum(1 for _ in body.all_nodes()))


def _products(body: ir.Graph) -> int:
    """Operators in a body, and in bodies within it, that multiply with constants."""
    return sum(node.op_type in PRODUCTS and any(map(is_constant, node.inputs)) for node in body.all_nodes())


def _held(count: int) -> str:
    return f"it holds {count} product{'s' if count > 1 else ''} with weights"


def _always(value: ir.Value) -> bool:
    """Whether the value is known to be true."""
    return is_constant(value) and bool(tensor_of(value).numpy().all())


def _identity(value: ir.Value) -> ir.Value | None:
    """What an Identity makes the value of."""
    node = value.producer()
    return node.inputs[0] if node is not None and node.op_type == "Identity" else None


def _run(b: Builder, body: ir.Graph, values: Sequence[Any]) -> list[ir.Value]:
    """The operators of a body once more, reading `values`; its outputs."""
    copy = body.clone(allow_outer_scope_values=True)
    given = {id(inner): value for inner, value in zip(copy.inputs, values, strict=True)}
    nodes, outputs = list(copy), [given.get(id(value), value) for value in copy.outputs]
    copy.outputs.clear()
    for inner, value in zip(copy.inputs, values, strict=True):
        inner.replace_all_uses_with(value)
    copy.remove(nodes)
    b.take(nodes)
    return outputs


def _stacked(b: Builder, parts: Sequence[ir.Value], axis: int) -> Any:
    """What the runs made, side by side along a new axis."""
    return b.op("Concat", *(b.unsqueeze(part, axis, "piece") for part in parts), label="stacked", axis=axis)
