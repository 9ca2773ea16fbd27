"""Fine-tuned parameters back into ONNX: a new file with the same nodes, names, inputs and outputs.

A parameter that is an initialiser gets its new value there. One that the import computed from constants, such as
a transposed weight, becomes an initialiser in place of the operator that made it; a weight or bias that `Gemm`
scaled by alpha or beta becomes one too, and the attribute goes.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from bsc.errors import ModelError
from bsc.ir.graph import Graph
from bsc.ir.layer import CrossbarLayer
from bsc.output_files import write_file

LARGEST = (1 << 31) - 1  # bytes of a protobuf message


def with_parameters(path: Path, graph: Graph, parameters: Mapping[str, NDArray[Any]]) -> onnx.ModelProto:
    """The model of a file with new values of its initialisers.

    Args:
        path: the ONNX file that `graph` was imported from; only read.
        graph: as imported.
        parameters: by name, shapes and types those of `graph.array(name)`.

    Raises:
        ModelError: BSC304 for a parameter that the file has no place for.
    """
    model = onnx.load(path)
    _unscale(model.graph, graph, set(parameters))
    for name, value in parameters.items():
        _place(model.graph, name, value)
    return model


def write_model(model: onnx.ModelProto, path: Path, *, force: bool = True) -> None:
    """Write beside the place and rename, so that a killed run leaves nothing half-made.

    Raises:
        UsageError: BSC203 for a file that is there, without `force`; BSC204 when it cannot be written.
        ModelError: BSC304 for a model above 2 GB.
    """
    if model.ByteSize() > LARGEST:
        raise ModelError(
            "BSC304",
            f"model '{path.name}' is too large for one file",
            seen=f"{model.ByteSize()} bytes",
            fix="fine-tune a smaller model",
        )
    write_file(path, model.SerializeToString(deterministic=True), force=force)


def _unscale(proto: onnx.GraphProto, graph: Graph, names: set[str]) -> None:
    """Point a Gemm at the scaled weights and biases that the import made, and drop the scale."""
    layers = {op.output: op for op in graph.ops() if isinstance(op, CrossbarLayer)}
    for node in proto.node:
        layer = layers.get(node.output[0]) if node.output else None
        if layer is None or node.op_type != "Gemm":
            continue
        for position, key, attribute in ((1, layer.weight, "alpha"), (2, layer.bias, "beta")):
            if key in names and key == f"{layer.name}/{attribute}*{'weight' if position == 1 else 'bias'}":
                node.input[position] = key
                kept = [each for each in node.attribute if each.name != attribute]
                del node.attribute[:]
                node.attribute.extend(kept)
                proto.initializer.append(numpy_helper.from_array(graph.array(key), key))


def _place(proto: onnx.GraphProto, name: str, value: NDArray[Any]) -> None:
    tensor = numpy_helper.from_array(value, name)
    graphs = list(_with_bodies(proto))
    initialisers = [each for graph in graphs for each in graph.initializer if each.name == name]
    makers = [(graph, node) for graph in graphs for node in graph.node if name in node.output]
    if len(initialisers) == 1 and not makers:
        initialisers[0].CopyFrom(tensor)
        return
    if len(makers) != 1 or initialisers or len(makers[0][1].output) != 1:
        several = bool(makers or initialisers)
        raise ModelError(
            "BSC304",
            f"fine-tuned weight '{name}' has no place in the model file",
            seen="several weights of that name" if several else "a weight that is made inside a function",
            fix="give the weights of bodies names of their own"
            if several
            else "inline the model's functions first, with onnx.inliner.inline_local_functions",
        )
    graph, node = makers[0]
    graph.node.remove(node)
    graph.initializer.append(tensor)


def _with_bodies(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """The graph, and the bodies of its nodes."""
    yield graph
    for attr in (attr for node in graph.node for attr in node.attribute):
        for body in [attr.g] if attr.HasField("g") else attr.graphs:
            yield from _with_bodies(body)
