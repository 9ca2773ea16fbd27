"""What is known of the tensors inside an If, Loop or Scan, and how often its bodies run."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

BODIES = ("If", "Loop", "Scan")
SMALL_CONSTANT = 1 << 10
"""Bytes up to which a constant may decide about a shape."""

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known of a tensor.

    Attributes:
        shape: its sizes, None if one of them is unknown.
        kind: number of its element type in ONNX, 0 if unknown.
        values: of a constant, else None.
    """

    shape: Shape | None
    kind: int = 0
    values: NDArray[Any] | None = None


def runs_of(node: onnx.NodeProto, outer: Mapping[str, Known]) -> int | None:
    """How often the bodies of a node run at most; 1 for an If, of which one branch runs; None if it is unknown."""
    if node.op_type == "If":
        return 1
    if node.op_type == "Loop":
        count = outer.get(node.input[0]) if node.input else None
        return None if count is None or count.values is None else max(int(count.values.ravel()[0]), 0)
    scanned = _integer(node, "num_scan_inputs")
    known = outer.get(node.input[len(node.input) - scanned]) if 0 < scanned <= len(node.input) else None
    axes = _integers(node, "scan_input_axes") or [0]
    if known is None or known.shape is None or not -len(known.shape) <= axes[0] < len(known.shape):
        return None
    return known.shape[axes[0]]


def inside(
    node: onnx.NodeProto, body: onnx.GraphProto, outer: Mapping[str, Known], opsets: Mapping[str, int]
) -> dict[str, Known]:
    """Every tensor that a body can read, its own and those around it.

    Args:
        node: that has the body.
        body: of an If, Loop or Scan. A state of a loop is taken to keep the shape that it begins with.
        outer: what is known around the node.
        opsets: of the model.
    """
    known = dict(outer)
    known |= {tensor.name: _constant(tensor) for tensor in body.initializer}
    for value, begins in zip(body.input, _begins(node, body, outer), strict=False):
        known[value.name] = Known(shape=begins.shape, kind=begins.kind or value.type.tensor_type.elem_type)
    graph = onnx.GraphProto(name="body")
    graph.node.extend(body.node)
    for name, each in known.items():
        if each.values is not None and each.values.nbytes <= SMALL_CONSTANT:
            graph.initializer.append(numpy_helper.from_array(each.values, name))
        elif each.kind:
            graph.input.append(helper.make_tensor_value_info(name, each.kind, each.shape))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid(*each) for each in opsets.items()])
    with contextlib.suppress(Exception):  # nobody has checked the body: what is not told stays unknown
        for value in onnx.shape_inference.infer_shapes(model, data_prop=True).graph.value_info:
            sizes = value.type.tensor_type.shape.dim
            whole = value.type.tensor_type.HasField("shape") and all(size.HasField("dim_value") for size in sizes)
            shape = tuple(size.dim_value for size in sizes) if whole else None
            known[value.name] = Known(shape=shape, kind=value.type.tensor_type.elem_type)
    return known


def _begins(node: onnx.NodeProto, body: onnx.GraphProto, outer: Mapping[str, Known]) -> list[Known]:
    """What the inputs of a body are in its first run."""
    read = [outer.get(name, Known(shape=None)) for name in node.input]
    if node.op_type == "Loop":
        return [Known(shape=()), Known(shape=()), *read[2:]]
    if node.op_type == "If":
        return []
    scanned = _integer(node, "num_scan_inputs")
    axes = _integers(node, "scan_input_axes") or [0] * scanned
    states = len(body.input) - scanned
    parts = []
    for each, axis in zip(read[states : states + scanned], axes, strict=False):
        shape = None if each.shape is None else list(each.shape)
        if shape is not None and -len(shape) <= axis < len(shape):
            shape.pop(axis)
        parts.append(Known(shape=None if shape is None else tuple(shape), kind=each.kind))
    return [*read[:states], *parts]


def _constant(tensor: onnx.TensorProto) -> Known:
    try:
        values = numpy_helper.to_array(tensor)
    except Exception:  # external, or broken: its sizes are known all the same
        return Known(shape=tuple(tensor.dims), kind=tensor.data_type)
    return Known(shape=values.shape, kind=tensor.data_type, values=values)


def _integer(node: onnx.NodeProto, name: str) -> int:
    return next((attr.i for attr in node.attribute if attr.name == name), 0)


def _integers(node: onnx.NodeProto, name: str) -> list[int]:
    return next((list(attr.ints) for attr in node.attribute if attr.name == name), [])
