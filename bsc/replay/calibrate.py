"""Calibration: run the float model on sample inputs and note the range of what every crossbar layer reads."""

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bsc.execution.program import LayerBytes, Program, working_bytes
from bsc.ir.graph import Graph
from bsc.ir.layer import CrossbarLayer
from bsc.ir.schedule import schedule
from bsc.mapping.model import Step
from bsc.numeric.im2col import ConvGeometry, column_blocks, from_vectors, output_sizes, to_vectors, vector_count
from bsc.replay.dataset import Dataset, require_finite


def calibrate(graph: Graph, data: Dataset) -> Graph:
    """A graph that knows the lowest and highest value of every layer's input on `data`.

    Memory does not grow with the number of samples.

    Raises:
        ModelError: BSC308 for data on which an activation is not finite.
    """
    ranges: dict[str, tuple[float, float]] = {}

    def look(layer: CrossbarLayer, x: NDArray[Any], _samples: int) -> None:
        low, high = ranges.get(layer.input, (np.inf, -np.inf))  # of every activation that drives the layer
        ranges[layer.input] = (min(low, float(x.min())), max(high, float(x.max())))

    run_float(graph, data, look)
    return graph.with_ranges(ranges)


def run_float(graph: Graph, data: Dataset, look: Callable[[CrossbarLayer, NDArray[Any], int], None]) -> None:
    """Run the float model.

    Args:
        graph: as imported.
        data: all of it goes through, in batches.
        look: called with every layer, an activation that drives it, and the samples of the batch.

    Raises:
        ModelError: BSC308 for data on which an activation is not finite.
    """
    layers = {layer.name: layer for layer in graph.layers()}
    samples = 0

    def run_layer(name: str, x: NDArray[Any]) -> NDArray[Any]:
        require_finite(x, f"the input of layer '{name}'")
        look(layers[name], x, samples)
        return float_result(graph, layers[name], x)

    program = Program(schedule(graph), graph.outputs)
    layer_bytes = float_bytes(graph)
    for batch in data.batches(max((layer.input_values for layer in layers.values()), default=1)):
        samples = len(next(iter(batch.values())))
        program.run(batch, run_layer, layer_bytes=layer_bytes)


@dataclass(frozen=True, eq=False, kw_only=True)
class FloatRun:
    """What the float model makes of a sample or two.

    Attributes:
        feeds: the inputs.
        tensors: the outputs, and what was to be kept, by name.
        ranges: lowest and highest value that a layer is driven with, by its name.
    """

    feeds: Mapping[str, NDArray[Any]]
    tensors: Mapping[str, Any]
    ranges: Mapping[str, tuple[float, float]]


def run_float_once(
    graph: Graph, feeds: Mapping[str, NDArray[Any]], keep: Collection[str] = (), steps: Iterable[Step] | None = None
) -> FloatRun:
    """Run the float model on one batch.

    Args:
        graph: as imported, or with layers that are prepared.
        feeds: the inputs.
        keep: tensors to keep beside the outputs.
        steps: the schedule of the graph, if it is known.

    Raises:
        ModelError: as `Program.run`.
    """
    layers = {layer.name: layer for layer in graph.layers()}
    ranges: dict[str, tuple[float, float]] = {}

    def run_layer(name: str, x: NDArray[Any]) -> NDArray[Any]:
        low, high = ranges.get(name, (np.inf, -np.inf))
        if x.size:
            ranges[name] = (min(low, float(x.min())), max(high, float(x.max())))
        return float_result(graph, layers[name], x)

    program = Program(schedule(graph) if steps is None else steps, graph.outputs)
    tensors = program.run(feeds, run_layer, keep, layer_bytes=float_bytes(graph))
    return FloatRun(feeds=feeds, tensors=tensors, ranges=ranges)


def float_bytes(graph: Graph) -> LayerBytes:
    """What `float_result` of each layer may take."""
    layers = {layer.name: layer for layer in graph.layers()}
    largest = max((graph.array(layer.weight).nbytes for layer in layers.values()), default=0)

    def layer_bytes(name: str, x: NDArray[Any]) -> int:
        layer = layers[name]
        return 4 * largest + working_bytes(x.shape, layer.conv, layer.groups * layer.rows + layer.columns)

    return layer_bytes


LARGE_MAP = 1 << 16
"""Values in the input vectors of a sample, from which on its convolution is a product of its own."""
BLOCK_VALUES = 1 << 22
"""Weights of one product: those in a file may lie where BLAS cannot read them, and are copied."""


def float_result(graph: Graph, layer: CrossbarLayer, x: NDArray[Any]) -> NDArray[Any]:
    """The layer's result in floating point, from the float weights."""
    matrix = layer.matrix(graph.array(layer.weight)).reshape(layer.rows, layer.groups, -1).transpose(1, 0, 2)
    bias = None if layer.bias is None else graph.array(layer.bias).ravel()
    if layer.conv is not None and _has_large_maps(layer, x):
        return _result_of_columns(matrix, bias, layer.conv, x)
    vectors = to_vectors(x, layer.conv, layer.groups).transpose(1, 0, 2)  # (G, V, K)
    y = np.empty((vectors.shape[1], *matrix.shape[::2]), np.result_type(x, matrix))  # (V, G, N / G)
    most = max(1, BLOCK_VALUES // layer.rows)
    for start in range(0, matrix.shape[2], most):
        block = np.s_[..., start : start + most]
        y[block] = np.matmul(vectors, np.require(matrix[block], requirements="A")).transpose(1, 0, 2)
    y = y.reshape(-1, layer.columns)
    return from_vectors((y if bias is None else y + bias).astype(x.dtype), x.shape, layer.conv)


def _has_large_maps(layer: CrossbarLayer, x: NDArray[Any]) -> bool:
    return len(x) > 0 and vector_count(x.shape, layer.conv) // len(x) * layer.groups * layer.rows >= LARGE_MAP


def _result_of_columns(
    matrix: NDArray[Any], bias: NDArray[Any] | None, conv: ConvGeometry, x: NDArray[Any]
) -> NDArray[Any]:
    """As `float_result`, a block of positions at a time."""
    weights = np.require(matrix.transpose(0, 2, 1), requirements="A")  # (G, N / G, K)
    sizes, columns = output_sizes(conv, x.shape[2:]), weights.shape[0] * weights.shape[1]
    y = np.empty((len(x), columns, math.prod(sizes)), x.dtype)
    for sample, places, vectors in column_blocks(x, conv, len(weights)):
        values = np.matmul(weights, vectors).reshape(columns, -1)
        y[sample, :, places] = values if bias is None else values + bias[:, None]
    return y.reshape(len(x), columns, *sizes)
