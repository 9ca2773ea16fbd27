"""What keeps a small file from becoming a large graph: limits of functions and of the constants that are folded."""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from bsc.errors import ModelError
from bsc.frontend.model_file import nodes

MAX_UNFOLDED = 20_000_000
"""Operators of each local function times the square of its calls, all added up: what naming their copies costs."""

MAX_EDGES = 1 << 26
"""Square of the tensors that an operator reads and writes, added up over all: what taking them out again costs."""

MAX_FOLDED_VALUES = 1 << 18
"""Of a result that is folded, unless the operator only rearranges what it is given."""

# Operators whose work and result are in proportion to what they read, spread over each other.
# fmt: off
FOLDED_OPS = frozenset({
    "Abs", "Add", "And", "Cast", "CastLike", "Ceil", "Clip", "Concat", "Cos", "Div", "Equal", "Erf", "Exp", "Flatten",
    "Floor", "GatherElements", "Greater", "GreaterOrEqual", "Identity", "Less", "LessOrEqual",
    "Log", "Max", "Mean", "Min", "Mod", "Mul", "Neg", "Not", "Or", "Pow", "Reciprocal", "ReduceMax",
    "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "Relu", "Reshape", "Round", "ScatterElements", "ScatterND",
    "Shape", "Sigmoid", "Sign", "Sin", "Size", "Slice", "Sqrt", "Squeeze", "Sub", "Sum", "Tanh", "Transpose", "Trilu",
    "Unsqueeze", "Where", "Xor",
})
# fmt: on

# Operators whose result may be any number of times as large as what they read: how many values it has at most.
GROWING_OPS: Mapping[str, Callable[[list[NDArray[Any]]], float]] = {
    "ConstantOfShape": lambda read: math.prod(read[0].tolist()),
    "Expand": lambda read: read[0].size * math.prod(read[1].tolist()),
    "Gather": lambda read: read[0].size * read[1].size,
    "GatherND": lambda read: read[0].size * read[1].size,
    "MatMul": lambda read: read[0].size * read[1].size / read[0].shape[-1] ** 2,
    "Range": lambda read: abs(float(read[1]) - float(read[0])) / abs(float(read[2])),
    "Tile": lambda read: read[0].size * math.prod(read[1].tolist()),
}

MAKE_LISTS = frozenset({"ConstantOfShape", "Expand", "Range", "Tile"})
"""Operators that make a tensor of one axis, of any length, out of constants of a few bytes."""

HIDDEN = "bsc.hidden"
"""A domain of which shape inference knows nothing."""


def check_functions(model: ir.Model) -> None:
    """Refuse functions that call each other in a circle, or that unfold to more operators than anyone exports.

    So are functions of the standard domain with the name of an operator: which is meant, ONNX leaves to the runtime.

    Raises:
        ModelError: BSC301 for a circle, BSC304 for a name, BSC312 for the size.
    """
    calls = _all_calls(model)
    for domain, name, _ in calls:
        if domain == "" and onnx.defs.has(name, model.opset_imports.get("", onnx.defs.onnx_opset_version())):
            raise ModelError(
                "BSC304",
                f"function '{name}' has the name of a standard operator",
                seen="a function in the standard domain",
                fix="put the function into a domain of its own",
            )
    unfolded = sum(count**2 * len(list(model.functions[key].all_nodes())) for key, count in calls.items())
    if unfolded > MAX_UNFOLDED:
        raise ModelError(
            "BSC312",
            "the model's functions unfold to too many operators",
            seen=f"{max(calls.values())} calls of one function",
            fix="export the model without functions, or with fewer calls of each",
        )


def drop_uncalled_functions(model: ir.Model) -> None:
    """Drop what nothing calls: the inliner would unfold calls in there, which `check_functions` does not count."""
    calls = _all_calls(model)
    for key in [key for key in model.functions if not calls[key]]:
        del model.functions[key]


def check_edges(model: ir.Model) -> None:
    """Refuse operators with more inputs and outputs than anyone exports. Raises `ModelError` BSC312."""
    edges = [len(node.inputs) + len(node.outputs) for node in nodes(model)]
    if sum(count**2 for count in edges) > MAX_EDGES:
        raise ModelError(
            "BSC312",
            "the model's operators read and write too many tensors",
            seen=f"one of {max(edges)} inputs and outputs",
            fix="export the model with operators of fewer inputs",
        )


def may_fold(node: ir.Node) -> bool | None:
    """Whether to fold an operator on constants: False, or None to leave it to the optimiser's own limits."""
    if node.domain not in ("", "ai.onnx") or node.op_type not in FOLDED_OPS | GROWING_OPS.keys() or is_narrow(node):
        return False
    constants = [value.const_value for value in node.inputs if value is not None and value.const_value is not None]
    try:
        if node.op_type in GROWING_OPS:
            values = GROWING_OPS[node.op_type]([constant.numpy() for constant in constants])
        else:
            values = math.prod(np.broadcast_shapes(*(tuple(constant.shape.numpy()) for constant in constants)))
    except (TypeError, ValueError, LookupError, ArithmeticError):  # they are not spread over each other
        values = sum(constant.size for constant in constants)
    return None if values <= MAX_FOLDED_VALUES else False


def is_long_list(op_type: str, read: Sequence[NDArray[Any] | None]) -> bool:
    """Whether an operator makes a list of so many numbers that ONNX's shape inference must not see it.

    Sizes can follow from lists, so that inference keeps a symbol for each number of one, here and behind it.

    Args:
        op_type: of the standard domain.
        read: values of its inputs, None for those that are no constants.
    """
    constants = [values for values in read if values is not None]
    if op_type not in MAKE_LISTS or not constants or len(constants) < len(read):
        return False
    if op_type != "Range" and constants[-1].size != 1:
        return False
    try:
        return GROWING_OPS[op_type](constants) > MAX_FOLDED_VALUES
    except (TypeError, ValueError, LookupError, ArithmeticError):  # it makes nothing
        return False


def is_narrow(node: ir.Node) -> bool:
    """Whether a node reads constants of a type that NumPy lacks, or casts to one: onnxruntime rounds in its own way."""
    target = node.attributes.get("to")
    kinds = {value.const_value.dtype for value in node.inputs if value is not None and value.const_value is not None}
    kinds |= {ir.DataType(target.as_int())} if node.op_type == "Cast" and target is not None else set()
    return any(kind.bitwidth < 8 or kind.name.startswith(("BFLOAT", "FLOAT8")) for kind in kinds if kind.bitwidth)


def _all_calls(model: ir.Model) -> Counter[ir.OperatorIdentifier]:
    """How often each function is called once all are unfolded. Raises `ModelError` BSC301 for a circle."""
    order = _callees_first(model)
    calls: Counter[ir.OperatorIdentifier] = Counter(_calls(model, model.graph))
    for key in reversed(order):
        for callee, count in Counter(_calls(model, model.functions[key])).items():
            calls[callee] += calls[key] * count
    return calls


def _calls(model: ir.Model, body: ir.Graph | ir.Function) -> list[ir.OperatorIdentifier]:
    """The functions that a body calls, once for each call."""
    return [key for node in body.all_nodes() if (key := node.op_identifier()) in model.functions]


def _callees_first(model: ir.Model) -> list[ir.OperatorIdentifier]:
    """The functions, each behind those that it calls."""
    order: dict[ir.OperatorIdentifier, None] = {}
    for root in model.functions:
        path: dict[ir.OperatorIdentifier, None] = {}
        waiting = [root]
        while waiting:
            key = waiting[-1]
            callees = [callee for callee in _calls(model, model.functions[key]) if callee not in order]
            if key in order or not callees:
                order[key] = None
                path.pop(key, None)
                waiting.pop()
            elif key in path and (circle := [callee for callee in callees if callee in path]):
                raise ModelError(
                    "BSC301",
                    "the model's functions call each other in a circle",
                    seen=" and ".join(sorted({":".join(filter(None, each)) for each in (key, *circle)})),
                    fix="export the model again; ONNX functions must not be recursive",
                )
            else:
                path[key] = None
                waiting += callees
    return list(order)
