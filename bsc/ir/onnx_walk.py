"""Walks through everything an ONNX model holds, bodies of control flow and functions included."""

from collections.abc import Iterator

import onnx


def tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Tensors wherever a model holds them: initialisers and attributes, in bodies and functions too."""
    graphs = [model.graph]
    nodes = [node for function in model.functions for node in function.node]
    while graphs or nodes:
        if graphs:
            graph = graphs.pop()
            nodes += graph.node
            yield from graph.initializer
            yield from (part for sparse in graph.sparse_initializer for part in (sparse.values, sparse.indices))
        else:
            for attr in nodes.pop().attribute:
                graphs += [*attr.graphs, *([attr.g] if attr.HasField("g") else [])]
                yield from attr.tensors
                yield from [attr.t] if attr.HasField("t") else []
                every = [*attr.sparse_tensors, *([attr.sparse_tensor] if attr.HasField("sparse_tensor") else [])]
                yield from (part for sparse in every for part in (sparse.values, sparse.indices))
