"""Calibration: run the float model on sample inputs and note the range of what every crossbar layer reads."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bsc.execution.program import LayerBytes, Program, working_bytes
from bsc.ir.graph import Graph
from bsc.ir.layer import CrossbarLayer
from bsc.ir.schedule import schedule
from bsc.numeric.im2col import from_vectors, to_vectors
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


def float_bytes(graph: Graph) -> LayerBytes:
    """What `float_result` of each layer may take."""
    layers = {layer.name: layer for layer in graph.layers()}
    largest = max((graph.array(layer.weight).nbytes for layer in layers.values()), default=0)

    def layer_bytes(name: str, x: NDArray[Any]) -> int:
        layer = layers[name]
        return 4 * largest + working_bytes(x.shape, layer.conv, layer.groups * layer.rows + layer.columns)

    return layer_bytes


def float_result(graph: Graph, layer: CrossbarLayer, x: NDArray[Any]) -> NDArray[Any]:
    """The layer's result in floating point, from the float weights."""
    vectors = to_vectors(x, layer.conv, layer.groups).transpose(1, 0, 2)  # (G, V, K)
    matrix = layer.matrix(graph.array(layer.weight)).reshape(layer.rows, layer.groups, -1).transpose(1, 0, 2)
    y = np.matmul(vectors, matrix).transpose(1, 0, 2).reshape(vectors.shape[1], layer.columns)
    if layer.bias is not None:
        y = y + graph.array(layer.bias).ravel()
    return from_vectors(y.astype(x.dtype), x.shape, layer.conv)
