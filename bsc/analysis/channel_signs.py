"""Signs of the channels of a tensor, and how digital operators carry them on.

What is known of a result's channels follows from those of the inputs as long as an operator does not mix channels. Of
the results of operators that are not in the tables below nothing is known.
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bsc.ir.graph import DigitalOp, Graph

Flags = NDArray[np.bool_]

# One input, element by element or within each channel; signs that are known of the input hold of the result too.
POINTWISE = frozenset({"Clip", "Dropout", "Identity", "Relu"})
POOLING = frozenset({"AveragePool", "GlobalAveragePool", "GlobalMaxPool", "MaxPool"})
RESHAPING = frozenset({"Flatten", "Reshape", "Squeeze", "Unsqueeze"})


@dataclass(frozen=True, eq=False)
class Signs:
    """Signs of the channels of one tensor.

    Attributes:
        axis: where its channels lie.
        low: channels that are never negative, (C,).
        high: channels that are never positive, (C,).
    """

    axis: int
    low: Flags
    high: Flags

    @property
    def zero(self) -> Flags:
        """Channels that are always zero, (C,)."""
        return self.low & self.high


@dataclass(frozen=True, eq=False)
class Link:
    """How the channels of an input become those of a result: `source[c]` is the input's channel, -1 for another's."""

    tensor: str
    source: NDArray[np.intp]


Carried = tuple[Signs, list[Link]]


def carry(graph: Graph, op: DigitalOp, known: Sequence[Signs | None]) -> Carried | None:
    """Signs of the only result of a digital operator, and how its channels map to those of its inputs.

    Args:
        graph: the graph.
        op: the operator.
        known: signs of each of its inputs.

    Returns:
        None when the operator mixes channels or is not known.
    """
    if op.domain or any(op.outputs[1:]):
        return None
    if op.op_type in COMBINING:
        return COMBINING[op.op_type](graph, op, known)
    keeps = op.op_type in POINTWISE | POOLING | RESHAPING | {"Pad", "Transpose"}
    return _through(graph, op, known[0]) if keeps and known[0] is not None else None


def _through(graph: Graph, op: DigitalOp, signs: Signs) -> Carried | None:
    placed = _placed(graph, op, signs)
    if placed is None:
        return None
    axis, repeats = placed
    low, high = signs.low, signs.high
    if op.op_type == "Relu" and not low.all():
        low = np.ones_like(low)
    if op.op_type == "Clip":  # to `least` first, then to `most`
        least, most = (_bound(graph, op, position) for position in (1, 2))
        low, high = (low | (least >= 0)) & (most >= 0), (high & (least <= 0)) | (most <= 0)
    if repeats == 1:
        return Signs(axis, low, high), [Link(op.inputs[0], _in_order(len(low)))]
    source = np.repeat(_in_order(len(low)), repeats)
    return Signs(axis, low[source], high[source]), [Link(op.inputs[0], source)]


@functools.cache
def _in_order(channels: int) -> NDArray[np.intp]:
    """The channels of an operator that leaves them as they are; shared by very many of them."""
    source = np.arange(channels)
    source.flags.writeable = False
    return source


def _placed(graph: Graph, op: DigitalOp, signs: Signs) -> tuple[int, int] | None:
    """Where the channels lie in the result, and how many entries each has there; None where they are mixed."""
    if op.op_type in RESHAPING:
        return _reshaped(graph, op, signs.axis, len(signs.low))
    if op.op_type == "Transpose":
        order = op.attributes.get("perm")
        return (order.index(signs.axis), 1) if isinstance(order, tuple) and signs.axis in order else None
    apart = (
        (op.op_type not in POOLING or signs.axis == 1)
        and (op.op_type != "Pad" or _pads_with_zeros_beside(graph, op, signs.axis))
        and (op.op_type != "Dropout" or not any(op.inputs[2:]))  # it may be training
    )
    return (signs.axis, 1) if apart else None


def _bound(graph: Graph, op: DigitalOp, position: int) -> float:
    """A limit of a Clip; NaN when it is not a constant number."""
    name = op.inputs[position] if len(op.inputs) > position else ""
    if not name:
        return -math.inf if position == 1 else math.inf
    return _number(graph, name)


def _number(graph: Graph, name: str) -> float:
    """A constant of one value; NaN for anything else."""
    return float(graph.constant(name).item()) if graph.has_array(name) and graph.constant(name).size == 1 else math.nan


def _pads_with_zeros_beside(graph: Graph, op: DigitalOp, axis: int) -> bool:
    """Whether a Pad leaves the channels themselves as many, and adds nothing but zeros or copies to each."""
    names = (*op.inputs, "", "", "")[:4]
    if names[3] or not graph.has_array(names[1]):
        return False
    pads = graph.constant(names[1]).ravel()
    fill = 0.0 if not names[2] else _number(graph, names[2])
    fits = len(pads) % 2 == 0 and axis < len(pads) // 2
    return fill == 0 and fits and not pads[axis] and not pads[len(pads) // 2 + axis]


def _reshaped(graph: Graph, op: DigitalOp, axis: int, channels: int) -> tuple[int, int] | None:
    """`_placed` of an operator that keeps the order of the values."""
    before, after = _shape(graph, op.inputs[0]), _shape(graph, op.outputs[0])
    if before is None or after is None or len(after) <= axis or before[:axis] != after[:axis]:
        return None
    if op.op_type == "Reshape" and graph.info.dynamic_batch:  # the first axis must stay the batch for any batch
        shape = graph.constant(op.inputs[1]).ravel() if graph.has_array(op.inputs[1]) else np.ones(1)
        if axis == 0 or shape[0] not in (0, -1):
            return None
    inside = math.prod(after[axis + 1 :])
    each = math.prod(before[axis + 1 :])
    if not inside or each % inside or after[axis] != channels * (each // inside):
        return None
    return axis, each // inside


def _shape(graph: Graph, name: str) -> tuple[int, ...] | None:
    """Of a tensor or of a constant; None where it is not known."""
    if name in graph.tensors:
        return graph.tensors[name].shape
    return graph.constant(name).shape if graph.has_array(name) else None


def _concat(graph: Graph, op: DigitalOp, known: Sequence[Signs | None]) -> Carried | None:
    axes = {signs.axis for signs in known if signs is not None}
    shapes = [_shape(graph, name) for name in op.inputs]
    along = op.attributes.get("axis")
    if len(axes) != 1 or not isinstance(along, int) or any(shape is None for shape in shapes):
        return None
    (axis,) = axes
    if len({len(shape or ()) for shape in shapes}) != 1 or along % len(shapes[0] or ()) != axis:
        return None
    sizes = [shape[axis] for shape in shapes if shape is not None]
    parts = [_unknown(axis, size) if signs is None else signs for signs, size in zip(known, sizes, strict=True)]
    first = np.cumsum([0, *sizes])
    links = []
    for name, start, size in zip(op.inputs, first, sizes, strict=False):
        source = np.full(first[-1], -1, np.intp)
        source[start : start + size] = np.arange(size)
        links.append(Link(name, source))
    low, high = np.concatenate([part.low for part in parts]), np.concatenate([part.high for part in parts])
    return Signs(axis, low, high), links


def _add(graph: Graph, op: DigitalOp, known: Sequence[Signs | None]) -> Carried | None:
    """A sum of two tensors of one shape."""
    shapes = [_shape(graph, name) for name in op.inputs]
    first, second = known
    if first is None or second is None or first.axis != second.axis or shapes[0] is None or shapes[0] != shapes[1]:
        return None
    all_channels = np.arange(len(first.low))
    signs = Signs(first.axis, first.low & second.low, first.high & second.high)
    return signs, [Link(name, all_channels) for name in op.inputs]


# Several inputs.
COMBINING: Mapping[str, Callable[[Graph, DigitalOp, Sequence[Signs | None]], Carried | None]] = {
    "Add": _add,
    "Concat": _concat,
}


def _unknown(axis: int, size: int) -> Signs:
    return Signs(axis, np.zeros(size, np.bool_), np.zeros(size, np.bool_))
