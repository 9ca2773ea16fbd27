"""Where quantisation hurts: how far the quantised model is from the float model, which layer errs most, what may help.

The prepared graph is run twice on a sample or two: with float weights, which shows what each layer's codes make of
the activations that the float model gives it, and with codes, which shows what that does to the outputs. ADCs are left
out: lossless ones change nothing, and what others do is the budget's business.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bsc.errors import BscError
from bsc.execution.program import Program
from bsc.ir.graph import Graph
from bsc.ir.layer import CrossbarLayer
from bsc.ir.schedule import schedule
from bsc.mapping.layer import Quantised
from bsc.numeric.im2col import from_vectors, to_vectors
from bsc.numeric.quantizer import SMALLEST_MAXIMUM, code_limits, step_for, to_codes
from bsc.replay.calibrate import float_bytes
from bsc.replay.dataset import Dataset, random_dataset
from bsc.replay.import_check import MOST_OUTPUT_BYTES, output_bytes
from bsc.replay.scores import MAX_RELATIVE_RMS

MOST_VALUES = 1 << 28
"""Values in the input vectors of the largest layer, up to which a model is run at all."""

BLOCK_VALUES = 1 << 22
"""Weights that are held as floats at a time."""

MORE_INPUT_BITS = 12


@dataclass(frozen=True, kw_only=True)
class LayerError:
    """What quantisation does to a layer that is given the float model's activations: relative root mean squares.

    Attributes:
        both: of its results, with weights and inputs as codes.
        weights: with its weights as codes alone.
        inputs: with its inputs as codes alone.
        lost: what all is zero in codes and not in floats: "weights" or "inputs", and the largest of them.
    """

    both: float
    weights: float
    inputs: float
    lost: tuple[str, float] | None


def quantisation_notes(graph: Graph, data: Dataset | None) -> tuple[str, ...]:
    """One sentence each on layers whose codes are all 0, and on outputs that quantisation changes a lot.

    Args:
        graph: quantised.
        data: to run it on; None for made-up inputs.
    """
    lost = {layer.name: words for layer in graph.layers() if (words := _lost_weights(graph, layer))}
    if max((layer.input_values for layer in graph.layers()), default=0) > MOST_VALUES:
        return tuple(lost.values())
    try:
        feeds = _feeds(graph, data)
        outputs, layers = _run_float(graph, feeds)
        if output_bytes(graph, outputs) > MOST_OUTPUT_BYTES:
            return tuple(lost.values())
        quantised = _run_quantised(graph, feeds)
    except BscError:  # it cannot be run on these inputs: the import check has said so
        return tuple(lost.values())
    for name, error in layers.items():
        if error.lost is not None:
            lost.setdefault(name, _words_for_lost(name, *error.lost))
    differences = {name: _relative(quantised[name], outputs[name]) for name in graph.outputs}
    name, largest = max(differences.items(), key=lambda item: item[1], default=("", 0.0))
    if largest <= MAX_RELATIVE_RMS or not layers:
        return tuple(lost.values())
    worst = max(layers, key=lambda each: layers[each].both)
    where = "on made-up inputs" if data is None else "on the calibration data"
    advice = ", ".join(_advice(graph, worst, layers[worst], calibrated=data is not None))
    return (
        *lost.values(),
        f"quantisation changes output '{name}' by {largest:.1%} (relative RMS {where}); layer '{worst}' errs most, by "
        f"{layers[worst].both:.1%}: {layers[worst].weights:.1%} from its weights, {layers[worst].inputs:.1%} from its "
        f"inputs; what may help: {advice}",
    )


def _advice(graph: Graph, name: str, error: LayerError, *, calibrated: bool) -> Iterator[str]:
    """What takes away the larger part of a layer's error, of what can be said to `bsc compile`."""
    layer = next(layer for layer in graph.layers() if layer.name == name)
    if error.weights >= error.inputs and layer.given_weights is None:
        yield from ("quantize{per=channel}", "quantize{scale=max-abs}", "more bits in quantize{bits=}")
    if error.inputs > error.weights and layer.given_input is None:
        if not calibrated:
            yield "--calib"
        yield f"quantize{{activation-bits={MORE_INPUT_BITS}}}"
    yield f"--keep-digital {name}"


def _lost_weights(graph: Graph, layer: CrossbarLayer) -> str:
    """Words for a layer whose weight codes are all 0 though its weights are not; else ""."""
    if layer.given_weights is not None or graph.arrays_of(layer.name)["codes"].any():
        return ""
    largest = float(np.abs(graph.array(layer.weight)).max(initial=0))
    return _words_for_lost(layer.name, "weights", largest) if largest else ""


def _words_for_lost(name: str, what: str, largest: float) -> str:
    return (
        f"layer '{name}': all codes of its {what} are 0, since none is above {largest:.3g} and no step is finer than "
        f"that of values up to {SMALLEST_MAXIMUM:g}; scale the model, or keep the layer digital: --keep-digital {name}"
    )


def _feeds(graph: Graph, data: Dataset | None) -> dict[str, NDArray[Any]]:
    """One sample or, of made-up ones and where the model takes it, two."""
    if data is not None:
        return next(data.first(1 if data.free_batch else data.batch).batches())
    specs = [graph.tensors[name] for name in graph.inputs]
    return next(random_dataset(specs, dynamic_batch=graph.info.dynamic_batch, samples=1, seed=0).batches())


def _run_float(graph: Graph, feeds: Mapping[str, NDArray[Any]]) -> tuple[dict[str, Any], dict[str, LayerError]]:
    """Outputs of the float model, and the error that each layer's codes make by themselves."""
    layers = {layer.name: layer for layer in graph.layers()}
    errors: dict[str, LayerError] = {}

    def run_layer(name: str, x: NDArray[Any]) -> NDArray[Any]:
        layer = layers[name]
        exact, coded = _vectors(layer, x)
        y, both, weights, inputs = np.empty((4, len(exact), layer.columns), exact.dtype)
        for columns, group, matrix, codes in _blocks(graph, layer):
            y[:, columns], inputs[:, columns] = exact[:, group] @ matrix, coded[:, group] @ matrix
            weights[:, columns], both[:, columns] = exact[:, group] @ codes, coded[:, group] @ codes
        if layer.bias is not None:
            bias = graph.array(layer.bias).ravel().astype(y.dtype)
            y, both, weights, inputs = y + bias, both + bias, weights + bias, inputs + bias
        lost = ("inputs", float(np.abs(exact).max(initial=0))) if exact.any() and not coded.any() else None
        found = LayerError(
            both=_relative(both, y), weights=_relative(weights, y), inputs=_relative(inputs, y), lost=lost
        )
        if name not in errors or found.both > errors[name].both:
            errors[name] = found
        return from_vectors(y.astype(x.dtype), x.shape, layer.conv)

    program = Program(schedule(graph), graph.outputs)
    return program.run(feeds, run_layer, layer_bytes=float_bytes(graph)), errors


def _run_quantised(graph: Graph, feeds: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """Outputs of the quantised model, in floating point."""
    layers = {layer.name: layer for layer in graph.layers()}

    def run_layer(name: str, x: NDArray[Any]) -> NDArray[Any]:
        layer = layers[name]
        _, coded = _vectors(layer, x)
        y = np.empty((len(coded), layer.columns), coded.dtype)
        for columns, group, _, codes in _blocks(graph, layer):
            y[:, columns] = coded[:, group] @ codes
        if layer.bias is not None:
            y += graph.array(layer.bias).ravel().astype(y.dtype)
        return from_vectors(y.astype(x.dtype), x.shape, layer.conv)

    return Program(schedule(graph), graph.outputs).run(feeds, run_layer, layer_bytes=float_bytes(graph))


def _vectors(layer: CrossbarLayer, x: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Input vectors (V, G, K), and what their codes stand for."""
    assert layer.quant is not None
    vectors = to_vectors(x.astype(np.result_type(x.dtype, np.float32), copy=False), layer.conv, layer.groups)
    return vectors, _coded(layer.quant, vectors)


def _coded(quant: Quantised, vectors: NDArray[Any]) -> NDArray[Any]:
    """What the input codes of vectors (V, G, K) stand for."""
    low, high = code_limits(quant.input_bits, signed=quant.input_signed)
    if quant.input_scale is not None:
        step: Any = vectors.dtype.type(quant.input_scale)
    else:
        largest = np.abs(vectors).max(axis=(1, 2), keepdims=True, initial=0).astype(np.float64)
        bits = quant.input_bits - quant.input_signed
        step = step_for(largest, bits=bits, scale="power-of-two").astype(vectors.dtype)
    return np.asarray(to_codes(vectors, step, low - quant.input_zero_point, high - quant.input_zero_point) * step)


def _blocks(graph: Graph, layer: CrossbarLayer) -> Iterator[tuple[slice, int, NDArray[Any], NDArray[Any]]]:
    """Columns of one group at a time: which, the group, their float weights (K, n), and what their codes stand for."""
    found, width = graph.arrays_of(layer.name), layer.columns // layer.groups
    rows, columns = found.get("kept_rows"), found.get("kept_columns")
    place = np.full(layer.columns, -1)  # of each column of the model among those that are mapped
    place[slice(None) if columns is None else columns] = np.arange(layer.mapped_shape[1])
    steps = np.broadcast_to(found["weight_scale"], (layer.columns,))
    floats = layer.matrix(graph.array(layer.weight))
    most = max(1, BLOCK_VALUES // layer.rows)
    for group in range(layer.groups):
        for start in range(group * width, (group + 1) * width, most):
            block = np.s_[start : min(start + most, (group + 1) * width)]
            matrix = floats[:, block].astype(np.result_type(floats.dtype, np.float32))
            coded, there = np.zeros_like(matrix), place[block] >= 0
            codes = found["codes"][:, place[block][there]] * steps[block][there]
            coded[np.ix_(np.arange(layer.rows) if rows is None else rows, np.flatnonzero(there))] = codes
            yield block, group, matrix, coded


def _relative(got: Any, wanted: Any) -> float:
    """Root mean square of the difference over that of what is wanted; 0 for what are no floats, or not finite."""
    if not isinstance(wanted, np.ndarray) or wanted.dtype.kind != "f" or got.shape != wanted.shape:
        return 0.0
    exact = wanted.astype(np.float64)
    error, scale = float(np.mean((got - exact) ** 2)) if exact.size else 0.0, float(np.mean(exact**2, dtype=np.float64))
    return float(np.sqrt(error / scale)) if np.isfinite(error) and scale > 0 else 0.0
