"""Shapes behind operators that no inference knows: onnxruntime runs them once, on zeros and empty texts.

That is right for operators of ai.onnx.ml and for TfIdfVectorizer, whose results have sizes that follow from the
attributes and the sizes of what they read, never from values. What texts are cut into in front of a TfIdfVectorizer
does depend on values, so that it runs with all that is before it, and only its own result is believed.
"""

import contextlib
import math
from collections.abc import Sequence

import numpy as np
import onnx
import onnx_ir as ir

from bsc.execution.session import quiet_session
from bsc.frontend.constants import is_constant, known_shape, serialised

DOMAIN = "ai.onnx.ml"
MAX_VALUES = 1 << 20
"""Of one input: zeros are made for all of it."""


def learn_shapes(model: ir.Model) -> bool:
    """Give shapes and types to what the operators make whose inputs are all known; whether there were any."""
    learnt = False
    for node in model.graph:
        counts_words = node.op_type == "TfIdfVectorizer" and node.domain in ("", "ai.onnx")
        if not counts_words and node.domain != DOMAIN:
            continue
        if any(value.name and known_shape(value) is None for value in node.outputs):
            with contextlib.suppress(Exception):  # its result is not a tensor, or it cannot be run
                learnt |= _learn(model, _before(node) if counts_words else [node], node)
    return learnt


def _before(node: ir.Node) -> list[ir.Node]:
    """A node, behind all that it needs."""
    found: dict[int, ir.Node] = {}
    waiting = [node]
    while waiting:
        each = waiting.pop()
        if id(each) not in found:
            found[id(each)] = each
            sources = [value.producer() for value in each.inputs if value is not None and not is_constant(value)]
            waiting += [source for source in sources if source is not None]
    assert node.graph is not None
    return [each for each in node.graph if id(each) in found]


def _learn(model: ir.Model, nodes: Sequence[ir.Node], node: ir.Node) -> bool:
    made = {id(value) for each in nodes for value in each.outputs}
    read = {id(value): value for each in nodes for value in each.inputs if value is not None and id(value) not in made}
    feeds, graph = {}, onnx.GraphProto(name="shapes")
    for value in read.values():
        if is_constant(value):
            graph.initializer.append(serialised(value))
            continue
        shape = known_shape(value)
        if shape is None or value.dtype is None or math.prod(shape) > MAX_VALUES:
            return False
        text = value.dtype == ir.DataType.STRING
        feeds[value.name or ""] = np.full(shape, "", object) if text else np.zeros(shape, value.dtype.numpy())
        graph.input.append(onnx.helper.make_tensor_value_info(value.name or "", int(value.dtype), shape))
    graph.node.extend(ir.serde.serialize_node(each) for each in nodes)
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
