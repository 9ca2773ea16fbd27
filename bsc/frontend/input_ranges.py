"""Values that integer inputs can take, as far as the operators that read them say: row numbers, classes, lengths."""

import math
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import onnx_ir as ir

from bsc.frontend.attributes import integer
from bsc.frontend.constants import is_constant, known_shape, sizes_of, tensor_of
from bsc.ir.input_values import Values

Rule = Callable[[ir.Node], Values | None]
"""What an operator says of the values of one of its inputs."""

CARRIED = frozenset({
    "Cast", "Concat", "Expand", "Flatten", "Identity", "Reshape", "Slice", "Split", "Squeeze", "Tile", "Transpose",
    "Unsqueeze",
})  # fmt: skip
"""Operators that hand values on as they are."""
SEVERAL = 2
"""Numbers that an input may be compared with for another reason than to count classes."""


def input_ranges(model: ir.Model) -> dict[str, Values]:
    """Lowest and highest value by input name; inputs of which nothing is known, and those of floats, are left out."""
    ranges = {}
    for value in model.graph.inputs:
        if value.dtype is not None and value.dtype.is_integer():
            found = list(_ranges(value, RULES)) or list(_ranges(value, COUNTED))
            shape = known_shape(value)
            if not found and shape is not None and math.prod(shape) == 1:  # larger ones are compared to make masks
                found = list(_ranges(value, COMPARED))[:1]
            low = max((each[0] for each in found), default=None)
            high = min((each[1] for each in found), default=None)
            if low is not None and high is not None and low <= high:
                ranges[value.name or ""] = (low, high)
    return ranges


def _ranges(value: ir.Value, rules: Mapping[tuple[str, int], Rule]) -> Iterator[Values]:
    """What every operator says that reads the input, or what others make of it without changing its values."""
    waiting: list[tuple[ir.Value, int]] = [(value, 0)]  # and what has been added to it
    seen: set[tuple[int, int]] = set()
    while waiting:
        current, added = waiting.pop()
        for node, position in current.uses():
            if (id(node), position) in seen:
                continue
            seen.add((id(node), position))
            rule = rules.get((node.op_type, position))
            said = rule(node) if rule is not None else None
            if said is not None:
                yield said[0] - added, said[1] - added
            elif node.op_type in CARRIED and (position == 0 or node.op_type == "Concat"):
                waiting += [(output, added) for output in node.outputs]
            elif node.op_type in ("Gather", "GatherElements", "GatherND") and position == 0:
                waiting.append((node.outputs[0], added))
            elif node.op_type in ("Add", "Sub") and (offset := _offset(node, position)) is not None:
                waiting.append((node.outputs[0], added + offset))


def _offset(node: ir.Node, position: int) -> int | None:
    """What an operator adds to an input, if that is one number."""
    other = node.inputs[1 - position] if len(node.inputs) == 2 else None
    if not is_constant(other) or int(np.prod(sizes_of(other))) != 1 or (node.op_type == "Sub" and position):
        return None
    number = int(tensor_of(other).numpy().item())
    return -number if node.op_type == "Sub" else number


def _rows(node: ir.Node, axis: int) -> Values | None:
    sizes = known_shape(node.inputs[0]) if node.inputs[0] is not None else None
    if not sizes or not -len(sizes) <= axis < len(sizes) or sizes[axis] < 1:
        return None
    return 0, sizes[axis] - 1


def _gathered(node: ir.Node) -> Values | None:
    return _rows(node, integer(node, "axis", 0))


def _smallest_axis(node: ir.Node) -> Values | None:
    """GatherND and ScatterND: the last axis of the indices says how many axes are counted, and each is long enough."""
    data, indices = known_shape(node.inputs[0]), known_shape(node.inputs[1])
    if not data or not indices:
        return None
    first = integer(node, "batch_dims", 0) if node.op_type == "GatherND" else 0
    counted = data[first : first + indices[-1]]
    return (0, min(counted) - 1) if counted and min(counted) > 0 else None


def _classes(node: ir.Node) -> Values | None:
    depth = node.inputs[1]
    return (0, int(tensor_of(depth).numpy().ravel()[0]) - 1) if is_constant(depth) else None


def _steps(node: ir.Node) -> Values | None:
    """Lengths of sequences: at least one step."""
    sizes = known_shape(node.inputs[0])
    return (1, sizes[1 if integer(node, "layout", 0) else 0]) if sizes else None


def _table(position: int) -> Rule:
    """Row numbers of the table that is this input."""

    def rows(node: ir.Node) -> Values | None:
        sizes = known_shape(node.inputs[position])
        return (0, sizes[0] - 1) if sizes else None

    return rows


def _counted(node: ir.Node) -> Values | None:
    """Classes, where a one-hot code is made by comparing with all of them."""
    for value in node.inputs:
        if is_constant(value) and int(np.prod(sizes_of(value))) > SEVERAL:
            numbers = tensor_of(value).numpy()
            return int(numbers.min()), int(numbers.max())
    return None


def _compared(node: ir.Node) -> Values | None:
    """A number that the model asks for, as a sample rate."""
    for value in node.inputs:
        if is_constant(value) and int(np.prod(sizes_of(value))) == 1:
            number = int(tensor_of(value).numpy().item())
            return number, number
    return None


RULES: Mapping[tuple[str, int], Rule] = {
    ("Gather", 1): _gathered,
    ("GatherElements", 1): _gathered,
    ("GatherND", 1): _smallest_axis,
    ("ScatterElements", 1): _gathered,
    ("ScatterND", 1): _smallest_axis,
    ("OneHot", 0): _classes,
    ("GRU", 4): _steps,
    ("LSTM", 4): _steps,
    ("RNN", 4): _steps,
    ("EmbedLayerNormalization", 0): _table(2),
    ("EmbedLayerNormalization", 1): _table(4),
}
"""By operator and position of the input."""

COUNTED: Mapping[tuple[str, int], Rule] = dict.fromkeys((("Equal", 0), ("Equal", 1)), _counted)
"""Likewise, where `RULES` say nothing."""

COMPARED: Mapping[tuple[str, int], Rule] = dict.fromkeys((("Equal", 0), ("Equal", 1)), _compared)
"""Likewise, where those say nothing."""
