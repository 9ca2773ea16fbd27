"""ONNX's shape inference of a model that onnx-ir holds.

onnx-ir's own pass reads a whole second model out of every answer, and takes time that grows with the square of the
constants. Here a model is written once for any number of runs, and equal types of an answer are read once.
"""

from collections.abc import Mapping
from typing import Any

import onnx
import onnx_ir as ir

from bsc.frontend.attributes import bodies, write_node
from bsc.frontend.constants import bytes_of, is_constant, tensor_sizes

SMALL_CONSTANT = 1000
"""Bytes up to which inference sees what a constant holds; of larger ones it sees the type alone."""


class Inference:
    """A model as ONNX reads it.

    Args:
        model: functions inlined; nodes and constants must stay as they are. What is known now of types and shapes of
            results goes into every run.
    """

    def __init__(self, model: ir.Model) -> None:
        self._inputs = model.graph.inputs
        self._values = _values(model.graph)
        self._holders = [(number, node) for number, node in enumerate(model.graph) if bodies(node)]
        self._proto = onnx.ModelProto(ir_version=model.ir_version)
        for domain, version in model.opset_imports.items():
            self._proto.opset_import.add(domain=domain, version=version)
        graph = self._proto.graph
        for value in model.graph.initializers.values():
            _add_constant(graph, value)
        self._constants = len(graph.input)
        for node in model.graph:
            write_node(node, graph.node.add())
            for value in node.outputs:
                if value.type is not None and not value.is_graph_output():
                    _add_value(graph.value_info, value)
        for value in model.graph.outputs:
            _add_value(graph.output, value)

    def run(self) -> None:
        """Give results the types and shapes that follow from those that the model's inputs have now.

        Raises whatever onnx raises; everything then stays as it is.
        """
        inputs = self._proto.graph.input
        del inputs[self._constants :]
        for value in self._inputs:
            _add_value(inputs, value)
        found, read = onnx.shape_inference.infer_shapes(self._proto, data_prop=True).graph, _Types()
        _take_over(self._values, found, read)
        for number, node in self._holders:
            _take_over_in_bodies(node, found.node[number], read)


def _add_constant(graph: onnx.GraphProto, value: ir.Value) -> None:
    """Add a constant as an input, and as one with values if it is small."""
    if not is_constant(value) or value.const_value is None:
        return
    tensor = value.const_value
    info = graph.input.add(name=value.name)
    info.type.tensor_type.elem_type = int(tensor.dtype)
    sizes = info.type.tensor_type.shape
    sizes.SetInParent()  # of a scalar too
    for size in tensor_sizes(tensor):
        sizes.dim.add(dim_value=size)
    if bytes_of(tensor) <= SMALL_CONSTANT:
        small = graph.initializer.add()
        ir.serde.serialize_tensor_into(small, tensor)
        small.name = info.name


def _add_value(values: Any, value: ir.Value) -> None:
    """Add what is known of a value to a repeated field."""
    if type(value.type) is ir.TensorType:
        _set_type(values.add(name=value.name).type, value.type.dtype, value.shape)
    else:
        ir.serde.serialize_value_into(values.add(), value)


def _set_type(proto: onnx.TypeProto, dtype: ir.DataType, shape: ir.ShapeProtocol | None) -> None:
    proto.tensor_type.elem_type = int(dtype)
    if shape is not None:
        sizes = proto.tensor_type.shape
        sizes.SetInParent()  # of a scalar too
        for size in shape:
            if isinstance(size, int):
                sizes.dim.add(dim_value=size)
            else:
                sizes.dim.add(dim_param=size.value)


class _Types(dict[bytes, tuple[ir.DataType | None, ir.Shape | None]]):
    """Element types and shapes by their bytes, None where unknown: thousands of values have one of a few types."""

    def of(self, proto: onnx.TypeProto) -> tuple[ir.DataType | None, ir.Shape | None]:
        """Those of a type; a shape cannot be changed, as many values share it."""
        key = proto.SerializeToString()
        if key not in self:
            self[key] = _read(proto)
        return self[key]


def _read(proto: onnx.TypeProto) -> tuple[ir.DataType | None, ir.Shape | None]:
    try:
        kind, shape = ir.serde.deserialize_type_proto_for_type(proto), ir.serde.deserialize_type_proto_for_shape(proto)
    except Exception:  # onnx-ir does not read maps
        return None, None
    if shape is not None:
        shape.freeze()
    return None if kind is None else kind.dtype, shape


def _values(graph: ir.Graph) -> dict[str, ir.Value]:
    """What inputs and operators of a graph make, by name."""
    made = (value for node in graph for value in node.outputs)
    return {value.name: value for values in (graph.inputs, made) for value in values if value.name}


def _take_over(values: Mapping[str, ir.Value], found: onnx.GraphProto, read: _Types) -> None:
    """Give values what was found of them."""
    for infos in (found.input, found.value_info, found.output):
        for info in infos:
            value = values.get(info.name)
            if value is None:
                continue
            dtype, shape = read.of(info.type)
            if dtype is not None and value.dtype is not dtype:
                value.dtype = dtype
            if shape is not None and (value.shape is None or value.shape != shape):
                value.shape = shape


def _take_over_in_bodies(node: ir.Node, found: onnx.NodeProto, read: _Types) -> None:
    graphs = (graph for attr in found.attribute for graph in ((attr.g,) if attr.HasField("g") else attr.graphs))
    for body, proto in zip(bodies(node), graphs, strict=True):
        _take_over(_values(body), proto, read)
        for inner, inner_proto in zip(body, proto.node, strict=True):
            _take_over_in_bodies(inner, inner_proto, read)
