"""Shapes behind operators of ai.onnx.ml, which no inference knows: onnxruntime runs them once, on zeros.

Their results have sizes that follow from the attributes and the sizes of what they read, never from values.
"""

import contextlib
import math

import numpy as np
import onnx
import onnx_ir as ir

from bsc.execution.session import quiet_session
from bsc.frontend.constants import known_shape

DOMAIN = "ai.onnx.ml"
MAX_VALUES = 1 << 20
"""Of one input: zeros are made for all of it."""


def learn_shapes(model: ir.Model) -> bool:
    """Give shapes and types to what the operators make whose inputs are all known; whether there were any."""
    learnt = False
    for node in model.graph:
        unknown = [value for value in node.outputs if value.name and known_shape(value) is None]
        if node.domain == DOMAIN and unknown:
            with contextlib.suppress(Exception):  # its result is no tensor, or it cannot be run
                learnt |= _learn(model, node)
    return learnt


def _learn(model: ir.Model, node: ir.Node) -> bool:
    feeds, graph = {}, onnx.GraphProto(name="shapes")
    for value in node.inputs:
        shape = known_shape(value)
        if value is None or shape is None or value.dtype is None or math.prod(shape) > MAX_VALUES:
            return False
        text = value.dtype == ir.DataType.STRING
        feeds[value.name or ""] = np.full(shape, "", object) if text else np.zeros(shape, value.dtype.numpy())
        graph.input.append(onnx.helper.make_tensor_value_info(value.name or "", int(value.dtype), shape))
    graph.node.append(ir.serde.serialize_node(node))
    named = [value for value in node.outputs if value.name]
    graph.output.extend(onnx.ValueInfoProto(name=value.name) for value in named)
    opsets = [onnx.helper.make_opsetid(domain, version) for domain, version in model.opset_imports.items()]
    proto = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=10)
    results = quiet_session(proto.SerializeToString(), as_written=True).run([value.name for value in named], feeds)
    learnt = False
    for value, result in zip(named, results, strict=True):
        if isinstance(result, np.ndarray) and known_shape(value) is None:
            value.shape, learnt = ir.Shape(result.shape), True
            value.dtype = ir.DataType.STRING if result.dtype == object else ir.DataType.from_numpy(result.dtype)
    return learnt
