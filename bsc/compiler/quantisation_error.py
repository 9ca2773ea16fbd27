"""Where quantisation hurts: how far the quantised model is from the float model, which layer errs most, what may help.

The prepared graph is run with codes on the sample or two that the import check has run the float model on, which shows
what codes do to the outputs. Only where that is much, or where a layer's inputs vanish in them, it is run once more
with float weights, to see what each layer's codes make of the activations that the float model gives it. ADCs are left
out: lossless ones change nothing, and what others do is the budget's business.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bsc.errors import BscError
from bsc.execution.program import Program
from bsc.ir.graph import Graph
from bsc.ir.layer import CrossbarLayer
from bsc.ir.schedule import schedule
from bsc.numeric.im2col import column_blocks, output_sizes, to_vectors, vector_count
from bsc.numeric.quantizer import SMALLEST_MAXIMUM, code_limits, step_for, to_codes
from bsc.replay.calibrate import FloatRun, float_bytes
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


def quantisation_notes(graph: Graph, run: FloatRun | None, *, of_data: bool = False) -> tuple[str, ...]:
    """One sentence each on layers whose codes are all 0, and on outputs that quantisation changes a lot.

    Args:
        graph: quantised.
        run: of the float model; None if it cannot be run, or not within reason.
        of_data: whether that was on calibration data, and not on made-up inputs.
    """
    lost = {layer.name: words for layer in graph.layers() if (words := _lost_weights(graph, layer))}
    too_large = max((layer.input_values for layer in graph.layers()), default=0) > MOST_VALUES
    if run is None or too_large:
        return tuple(lost.values())
    try:
        if output_bytes(graph, run.tensors) > MOST_OUTPUT_BYTES:
            return tuple(lost.values())
        quantised = _run_quantised(graph, run.feeds)
        differences = {name: _relative(quantised[name], run.tensors[name]) for name in graph.outputs}
        output, largest = max(differences.items(), key=lambda item: item[1], default=("", 0.0))
        vanish = any(_vanish(layer, *run.ranges[layer.name]) for layer in graph.layers() if layer.name in run.ranges)
        layers = _layer_errors(graph, run.feeds) if vanish or largest > MAX_RELATIVE_RMS else {}
    except BscError:  # it cannot be run on these inputs: the import check has said so
        return tuple(lost.values())
    for name, error in layers.items():
        if error.lost is not None:
            lost.setdefault(name, _words_for_lost(name, *error.lost))
    if largest <= MAX_RELATIVE_RMS or not layers:
        return tuple(lost.values())
    worst = max(layers, key=lambda each: layers[each].both)
    where = "on the calibration data" if of_data else "on made-up inputs"
    advice = ", ".join(_advice(graph, worst, layers[worst], calibrated=of_data))
    return (
        *lost.values(),
        f"quantisation changes output '{output}' by {largest:.1%} (relative RMS {where}); layer '{worst}' errs most, "
        f"by {layers[worst].both:.1%}: {layers[worst].weights:.1%} from its weights, {layers[worst].inputs:.1%} from "
        f"its inputs; what may help: {advice}",
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


def _layer_errors(graph: Graph, feeds: Mapping[str, NDArray[Any]]) -> dict[str, LayerError]:
    """The error that each layer's codes make by themselves, given the activations of the float model."""
    layers = {layer.name: layer for layer in graph.layers()}
    errors: dict[str, LayerError] = {}

    def run_layer(name: str, x: NDArray[Any]) -> NDArray[Any]:
        layer = layers[name]
        y, both, weights, inputs = _results(graph, layer, x, Coded)
        found = LayerError(
            both=_relative(both, y), weights=_relative(weights, y), inputs=_relative(inputs, y), lost=_lost(layer, x)
        )
        if name not in errors or found.both > errors[name].both:
            errors[name] = found
        return y

    Program(schedule(graph), graph.outputs).run(feeds, run_layer, layer_bytes=float_bytes(graph))
    return errors


def _run_quantised(graph: Graph, feeds: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """Outputs of the quantised model, in floating point."""
    layers = {layer.name: layer for layer in graph.layers()}

    def run_layer(name: str, x: NDArray[Any]) -> NDArray[Any]:
        (result,) = _results(graph, layers[name], x, [Coded.BOTH])
        return result

    return Program(schedule(graph), graph.outputs).run(feeds, run_layer, layer_bytes=float_bytes(graph))


Product = Callable[[NDArray[Any]], NDArray[Any]]
"""From input vectors as columns (G, K, V) to results (N, V)."""


class Coded(Enum):
    """Which operands of a product are codes."""

    NONE = ()
    BOTH = ("weights", "inputs")
    WEIGHTS = ("weights",)
    INPUTS = ("inputs",)


def _results(graph: Graph, layer: CrossbarLayer, x: NDArray[Any], kinds: Iterable[Coded]) -> list[NDArray[Any]]:
    """The layer's result of each kind, in the type of its input."""
    kinds = tuple(kinds)
    wide = x.astype(np.result_type(x.dtype, np.float32), copy=False)
    if layer.conv is None:
        shape: tuple[int, ...] = (1, layer.columns, vector_count(x.shape, None))
    else:
        shape = (len(x), layer.columns, vector_count((1, *x.shape[1:]), layer.conv))
    results = [np.empty(shape, wide.dtype) for _ in kinds]
    products = [
        (_times_codes if "weights" in kind.value else _times_floats)(graph, layer, wide.dtype) for kind in kinds
    ]
    for sample, places, columns in _columns(layer, wide):
        coded = _coded(layer, columns) if any("inputs" in kind.value for kind in kinds) else columns
        for result, kind, product in zip(results, kinds, products, strict=True):
            result[sample, :, places] = product(coded if "inputs" in kind.value else columns)
    if layer.bias is not None:
        results = [result + graph.array(layer.bias).reshape(-1, 1).astype(wide.dtype) for result in results]
    if layer.conv is None:
        return [result[0].T.reshape(*x.shape[:-1], layer.columns).astype(x.dtype) for result in results]
    sizes = output_sizes(layer.conv, x.shape[2:])
    return [result.reshape(len(x), layer.columns, *sizes).astype(x.dtype) for result in results]


def _columns(layer: CrossbarLayer, x: NDArray[Any]) -> Iterator[tuple[int, slice, NDArray[Any]]]:
    """Input vectors as columns (G, K, V), with the sample and the places that they are of."""
    if layer.conv is not None:
        yield from column_blocks(x, layer.conv, layer.groups)
    else:
        yield 0, slice(None), to_vectors(x, None, 1).transpose(1, 2, 0)


def _coded(layer: CrossbarLayer, columns: NDArray[Any]) -> NDArray[Any]:
    """What the input codes of vectors, as columns (G, K, V), stand for."""
    quant = layer.quant
    assert quant is not None
    low, high = code_limits(quant.input_bits, signed=quant.input_signed)
    if quant.input_scale is not None:
        step: Any = columns.dtype.type(quant.input_scale)
    else:
        largest = np.maximum(columns.max(axis=(0, 1), initial=0), -columns.min(axis=(0, 1), initial=0))
        bits = quant.input_bits - quant.input_signed
        step = step_for(largest.astype(np.float64), bits=bits, scale="power-of-two").astype(columns.dtype)
    codes = to_codes(columns, step, low - quant.input_zero_point, high - quant.input_zero_point)
    codes *= step
    return codes


def _lost(layer: CrossbarLayer, x: NDArray[Any]) -> tuple[str, float] | None:
    """Of inputs that are not all 0 and whose codes are: the largest."""
    wide = x.astype(np.result_type(x.dtype, np.float32), copy=False)
    if not wide.any() or any(_coded(layer, columns).any() for _, _, columns in _columns(layer, wide)):
        return None
    return "inputs", float(np.abs(wide).max(initial=0))


def _vanish(layer: CrossbarLayer, low: float, high: float) -> bool:
    """Whether inputs of that range may all have the code 0: the largest of them decides."""
    ends = np.array([low, high])
    return bool(np.isfinite(ends).all() and ends.any() and not _coded(layer, ends.reshape(1, 1, 2)).any())


def _times_floats(graph: Graph, layer: CrossbarLayer, dtype: np.dtype[Any]) -> Product:
    """Float weights times columns, a block of weights at a time."""
    matrix = _at_once(layer.matrix(graph.array(layer.weight)), dtype)
    width, most = layer.columns // layer.groups, max(1, BLOCK_VALUES // layer.rows)

    def product(vectors: NDArray[Any]) -> NDArray[Any]:
        y = np.empty((layer.columns, vectors.shape[2]), dtype)
        for group, driven in enumerate(vectors):
            for start in range(group * width, (group + 1) * width, most):
                block = slice(start, min(start + most, (group + 1) * width))
                y[block] = np.require(matrix[:, block].T, dtype, "A") @ driven
        return y

    return product


def _times_codes(graph: Graph, layer: CrossbarLayer, dtype: np.dtype[Any]) -> Product:
    """What weight codes stand for times columns, a block of codes at a time; 0 for columns that are not mapped."""
    found = graph.arrays_of(layer.name)
    codes, rows = _at_once(found["codes"], dtype), found.get("kept_rows")
    mapped = np.arange(layer.columns) if found.get("kept_columns") is None else found["kept_columns"]
    scales = np.broadcast_to(found["weight_scale"], (layer.columns,))[mapped].astype(dtype)
    own = [mapped // (layer.columns // layer.groups) == group for group in range(layer.groups)]
    most = max(1, BLOCK_VALUES // max(1, len(mapped)))

    def product(vectors: NDArray[Any]) -> NDArray[Any]:
        y = np.zeros((layer.columns, vectors.shape[2]), dtype)
        for driven, columns in zip(vectors if rows is None else vectors[:, rows], own, strict=True):
            part = np.zeros((np.count_nonzero(columns), vectors.shape[2]), dtype)
            for start in range(0, len(codes), most):
                block = codes[start : start + most]
                block = np.require(block if layer.groups == 1 else block[:, columns], dtype, "A")
                part += block.T @ driven[start : start + most]
            y[mapped[columns]] = part * scales[columns, None]
        return y

    return product


def _at_once(weights: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Weights in the type that they are multiplied in, if they are few; as they are otherwise."""
    return np.require(weights, dtype, "A") if weights.size <= BLOCK_VALUES else weights


def _relative(got: Any, wanted: Any) -> float:
    """Root mean square of the difference over that of what is wanted; 0 for what are no floats, or not finite."""
    if not isinstance(wanted, np.ndarray) or wanted.dtype.kind != "f" or got.shape != wanted.shape:
        return 0.0
    exact = wanted.astype(np.float64)
    error, scale = float(np.mean((got - exact) ** 2)) if exact.size else 0.0, float(np.mean(exact**2, dtype=np.float64))
    return float(np.sqrt(error / scale)) if np.isfinite(error) and scale > 0 else 0.0
