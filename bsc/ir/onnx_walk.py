"""Walks through everything an ONNX model holds, bodies of control flow and functions included."""

from collections.abc import Iterator

import onnx


def tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Tensors wherever a model holds them: initialisers and attributes, in bodies and functions too."""
    for part in _graphs_and_nodes(model):
        if isinstance(part, onnx.GraphProto):
            yield from part.initializer
            yield from (each for sparse in part.sparse_initializer for each in (sparse.values, sparse.indices))
            continue
        for attr in part.attribute:
            yield from attr.tensors
            yield from [attr.t] if attr.HasField("t") else []
            every = [*attr.sparse_tensors, *([attr.sparse_tensor] if attr.HasField("sparse_tensor") else [])]
            yield from (each for sparse in every for each in (sparse.values, sparse.indices))


def names(model: onnx.ModelProto) -> Iterator[object]:
    """Names of operators and tensors, likewise; protobuf hands out bytes where they are not UTF-8."""
    for part in _graphs_and_nodes(model):
        if isinstance(part, onnx.GraphProto):
            yield from (value.name for value in (*part.input, *part.output, *part.initializer, *part.value_info))
        else:
            yield from (part.name, part.op_type, part.domain, *part.input, *part.output)
            yield from (attr.name for attr in part.attribute)


def _graphs_and_nodes(model: onnx.ModelProto) -> Iterator[onnx.GraphProto | onnx.NodeProto]:
    graphs = [model.graph]
    nodes = [node for function in model.functions for node in function.node]
    while graphs or nodes:
        if graphs:
            graph = graphs.pop()
            nodes += graph.node
            yield graph
        else:
            node = nodes.pop()
            for attr in node.attribute:
                graphs += [*attr.graphs, *([attr.g] if attr.HasField("g") else [])]
            yield node
