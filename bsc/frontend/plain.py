"""What a file may hold that onnx-ir does not read, in a form that it does: sparse constants, texts, types of maps."""

import math
from collections.abc import Iterator

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from bsc.errors import ModelError

MAX_DENSE_VALUES = 1 << 26
"""Of one sparse constant, zeros included."""


def make_plain(model: onnx.ModelProto) -> None:
    """Change a model in place.

    Sparse initialisers and constants become dense, texts become tensors, constants of the outermost graph become
    initialisers, values that are maps have no type, and the standard domain has its short name where functions are in
    it, as it will have where they are called.

    Raises:
        ModelError: BSC301 for a sparse tensor that contradicts itself, BSC312 for one that is too large once dense.
    """
    for function in model.functions:
        function.domain = "" if function.domain == "ai.onnx" else function.domain
    for graph in _graphs(model):
        for sparse in graph.sparse_initializer:
            graph.initializer.append(dense(sparse))
        del graph.sparse_initializer[:]
        for node in graph.node:
            if node.op_type == "Constant" and node.domain in ("", "ai.onnx"):
                _plain_constant(node)
        for value in (*graph.input, *graph.output, *graph.value_info):
            if _has_map(value.type):
                value.ClearField("type")
    _make_initialisers(model.graph)


def _make_initialisers(graph: onnx.GraphProto) -> None:
    """Make initialisers of `Constant` nodes; onnx-ir can do so too, at the price of reading ten other nodes.

    Nodes without a name get one that tells their place, which is another afterwards.
    """
    taken = {"", *(each.name for each in (*graph.output, *graph.input, *graph.initializer))}
    nodes: list[onnx.NodeProto] = []
    constants: dict[str, onnx.TensorProto] = {}
    for node in graph.node:
        if _is_tensor(node) and node.output[0] not in taken and node.output[0] not in constants:
            constants[node.output[0]] = node.attribute[0].t
        else:
            nodes.append(node)
    if not constants or not nodes:
        return
    for number, node in enumerate(graph.node):
        node.name = node.name or f"{node.op_type}_{number}"
    for name, tensor in constants.items():
        graph.initializer.append(tensor)
        graph.initializer[-1].name = name
    kept = onnx.GraphProto(node=nodes)
    graph.ClearField("node")
    graph.node.MergeFrom(kept.node)


def _is_tensor(node: onnx.NodeProto) -> bool:
    """Whether a node does nothing but give a tensor a name."""
    if node.op_type != "Constant" or node.domain not in ("", "ai.onnx") or len(node.attribute) != 1:
        return False
    return node.attribute[0].name == "value" and node.attribute[0].HasField("t") and len(node.output) == 1


def _plain_constant(node: onnx.NodeProto) -> None:
    for attr in node.attribute:
        if attr.name == "sparse_value":
            tensor = dense(attr.sparse_tensor)
        elif attr.name == "value_string":
            tensor = helper.make_tensor("", onnx.TensorProto.STRING, [], [attr.s])
        elif attr.name == "value_strings":
            tensor = helper.make_tensor("", onnx.TensorProto.STRING, [len(attr.strings)], list(attr.strings))
        else:
            continue
        attr.CopyFrom(helper.make_attribute("value", tensor))


def dense(sparse: onnx.SparseTensorProto) -> onnx.TensorProto:
    """A sparse tensor with its zeros. Raises `ModelError` as `make_plain`."""
    name, sizes = sparse.values.name, tuple(sparse.dims)
    if math.prod(sizes) > MAX_DENSE_VALUES:
        raise ModelError(
            "BSC312",
            f"sparse constant '{name}' is too large once its zeros are written out",
            seen=f"{math.prod(sizes)} values",
            fix=f"export the model with sparse constants of at most {MAX_DENSE_VALUES} values",
        )
    try:
        values, places = numpy_helper.to_array(sparse.values), numpy_helper.to_array(sparse.indices)
        whole = np.zeros(math.prod(sizes), values.dtype)
        whole[_linear(places, sizes, len(values))] = values
    except Exception as error:  # nobody has checked it: of another shape, outside, or in another file
        raise ModelError(
            "BSC301",
            f"sparse constant '{name}' contradicts itself",
            seen=f"{type(error).__name__}: {error}"[:200],
            fix="export the model with dense constants",
        ) from None
    return numpy_helper.from_array(whole.reshape(sizes), name)


def _linear(places: NDArray[np.int64], sizes: tuple[int, ...], count: int) -> NDArray[np.int64]:
    """Places as numbers of values, whichever of both forms they are in."""
    if places.ndim == 2:
        if places.shape != (count, len(sizes)):
            raise ValueError(f"places of shape {places.shape}")
        return np.asarray(np.ravel_multi_index(tuple(places.T), sizes), np.int64)
    if places.shape != (count,) or (count and not 0 <= places.min() <= places.max() < math.prod(sizes)):
        raise ValueError("places outside the tensor")
    return places


def _graphs(model: onnx.ModelProto) -> Iterator[onnx.GraphProto]:
    """The graph, and those in the bodies of its nodes and of functions."""
    waiting, nodes = [model.graph], [node for function in model.functions for node in function.node]
    while waiting or nodes:
        if waiting:
            graph = waiting.pop()
            nodes += graph.node
            yield graph
        else:
            for attr in nodes.pop().attribute:
                waiting += [*attr.graphs, *([attr.g] if attr.HasField("g") else [])]


def _has_map(kind: onnx.TypeProto) -> bool:
    """Whether it is a map, or a sequence or optional of them."""
    while kind.WhichOneof("value") in ("sequence_type", "optional_type"):
        inner = kind.sequence_type if kind.WhichOneof("value") == "sequence_type" else kind.optional_type
        kind = inner.elem_type
    return kind.WhichOneof("value") in ("map_type", "opaque_type", "sparse_tensor_type")
