"""What a plan computes: input codes, integer products, the crossbars conversion by conversion, and the whole model."""

import itertools
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from tests.oracle.plan import Folder, Layer


@dataclass
class LayerRun:
    """What a layer did in one use of it; several operators may share its weights.

    Attributes:
        codes: input codes over the model's rows (V, G, rows).
        integers: input codes times weight codes (V, N).
        results: of the crossbars (V, N).
        conversions: carried out or proved.
        clipped: above the highest or below the lowest code of their ADC.
        highest: highest sum, or 0, that each conversion met (R, S, Q, N).
        lowest: lowest, likewise.
    """

    codes: NDArray[np.int64]
    integers: NDArray[np.int64]
    results: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    conversions: int = 0
    clipped: int = 0
    highest: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    lowest: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))


def vectors(layer: Layer, x: NDArray[Any], pad: Any = 0) -> NDArray[Any]:
    """Input vectors (V, G, rows) of an activation: its last axis, or the windows of a convolution."""
    conv, groups = layer["conv"], layer["groups"]
    if conv is None:
        return x.reshape(-1, 1, x.shape[-1])
    padded = np.pad(x, [(0, 0), (0, 0), *map(tuple, conv["pads"])], constant_values=pad)
    spans = [(size - 1) * dilation + 1 for size, dilation in zip(conv["kernel"], conv["dilations"], strict=True)]
    firsts = [
        range(0, size - span + 1, stride)
        for size, span, stride in zip(padded.shape[2:], spans, conv["strides"], strict=True)
    ]
    found = []
    for sample in padded:
        for first in itertools.product(*firsts):
            window = sample[
                (slice(None), *(slice(a, a + s, d) for a, s, d in zip(first, spans, conv["dilations"], strict=True)))
            ]
            found.append(window.reshape(groups, -1))
    return np.array(found)


def restore(layer: Layer, y: NDArray[Any], x: NDArray[Any]) -> NDArray[Any]:
    """Results (V, columns) as the tensor that the operator gives."""
    conv = layer["conv"]
    if conv is None:
        return y.reshape(*x.shape[:-1], y.shape[-1])
    sizes = []
    for axis, size in enumerate(x.shape[2:]):
        span = (conv["kernel"][axis] - 1) * conv["dilations"][axis] + 1
        sizes.append(len(range(0, size + sum(conv["pads"][axis]) - span + 1, conv["strides"][axis])))
    positions = math.prod(sizes)
    return np.stack([y[index * positions : (index + 1) * positions].T.reshape(-1, *sizes) for index in range(len(x))])


def input_codes(layer: Layer, x: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Codes (V, G, rows) of an activation, and what a code is worth (V, 1)."""
    x = x.astype(np.float32) if x.dtype == np.float16 else x
    bits, zero = layer["input_bits"], layer["input_zero_point"]
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if layer["input_signed"] else (0, 2**bits - 1)
    if layer["input_scale"] is not None:
        step = layer["input_scale"]
        codes = np.clip(np.rint(x / x.dtype.type(step)).astype(np.float64) + zero, low, high)
        cut = vectors(layer, codes, zero)
        return cut.astype(np.int64), np.full((len(cut), 1), step)
    cut, steps = vectors(layer, x), []
    for vector in cut:
        largest, power = max(float(np.abs(vector).max(initial=0)), 1e-5), -17
        while 2.0**power < largest:  # the power of two that holds the largest value
            power += 1
        steps.append(2.0 ** (power - (bits - bool(layer["input_signed"]))))
    worth = np.array(steps).reshape(-1, 1)
    codes = np.clip(np.rint(cut / worth[:, :, None].astype(x.dtype)), low, high)
    return codes.astype(np.int64), worth


def column_inputs(layer: Layer, codes: NDArray[np.int64], column: int) -> NDArray[np.int64]:
    """Codes (V, K) of the mapped rows that a mapped column sees."""
    group = codes[:, column // (layer.columns // layer["groups"])]
    return group[:, layer.arrays["kept_rows"]] if "kept_rows" in layer.arrays else group


def run_layer(layer: Layer, codes: NDArray[np.int64]) -> LayerRun:
    """Everything a layer does with input codes, one column after another."""
    arrays, levels = layer.arrays, layer.levels()
    run = LayerRun(codes, np.zeros((len(codes), layer.columns), np.int64))
    run.results = np.zeros_like(run.integers)
    run.highest = np.zeros(arrays["adc_bits"].shape, np.int64)
    run.lowest = np.zeros_like(run.highest)
    for column in range(layer.columns):
        driven = column_inputs(layer, codes, column)
        run.integers[:, column] = driven @ arrays["codes"][:, column].astype(np.int64)
        for group, rows in enumerate(layer.row_groups):
            inputs = driven[:, rows.start : rows.stop]
            run.results[:, column] += inputs.sum(axis=1) * layer.centre(rows.start, column)
            for index, place in enumerate(layer.places):
                for polarity in range(layer.conversions):
                    held = levels[rows.start : rows.stop, index, polarity, column]
                    if layer.paired:
                        held = held - levels[rows.start : rows.stop, index, 1, column]
                    here = (group, index, polarity, column)
                    read = _read(layer, run, inputs, held, here)
                    if "flipped" in arrays and arrays["flipped"][here]:
                        read = (2 ** layer["slice_bits"][index] - 1) * inputs.sum(axis=1) - read
                    run.results[:, column] += (-1) ** polarity * 2**place * read
    if "correction" in arrays:
        run.results += arrays["correction"].astype(np.int64)
    return run


def _read(
    layer: Layer, run: LayerRun, inputs: NDArray[np.int64], held: NDArray[np.int64], here: tuple[int, ...]
) -> NDArray[np.int64]:
    """What the ADC of one slice column, or pair, gives for whole input codes (V,), cycle by cycle."""
    bits, step = int(layer.arrays["adc_bits"][here]), int(layer.arrays["adc_lsb"][here])
    low = int(layer.arrays["adc_low"][here]) if "adc_low" in layer.arrays else 0
    top, read = low + 2**bits - 1, np.zeros(len(inputs), np.int64)
    for place, width, sign in layer.cycles:
        digits = inputs // 2**place % 2**width
        sums = digits @ held
        run.highest[here] = max(run.highest[here], sums.max(initial=0))
        run.lowest[here] = min(run.lowest[here], sums.min(initial=0))
        if bits:
            codes = np.rint(sums / step).astype(np.int64)  # halves to even
            run.conversions += len(codes)
            run.clipped += int(np.count_nonzero((codes < low) | (codes > top)))
            read += sign * 2**place * step * np.clip(codes, low, top)
    return read


def scaled(layer: Layer, whole: NDArray[np.int64], worth: NDArray[np.float64], x: NDArray[Any]) -> NDArray[Any]:
    """Results (V, N) as the tensor of the model: scaled, biased, with the columns that are not mapped."""
    arrays = layer.arrays
    kept = arrays["kept_columns"] if "kept_columns" in arrays else np.arange(layer["columns"])
    scales = np.broadcast_to(arrays["weight_scale"], (layer["columns"],)).astype(np.float64)
    bias = arrays["bias"].astype(np.float64) if "bias" in arrays else None
    y = np.zeros((len(whole), layer["columns"]), x.dtype)
    if bias is not None:
        y[:] = bias
    for place, column in enumerate(kept.tolist()):
        values = whole[:, place] * (worth[:, 0] * scales[column])
        y[:, column] = values if bias is None else values + bias[column]
    return restore(layer, y, x)


def run_model(
    folder: Folder, feeds: dict[str, NDArray[Any]], *, quantised: bool = False
) -> tuple[dict[str, NDArray[Any]], dict[str, list[LayerRun]]]:
    """Every tensor of a run, and what each layer did; of the quantised integer model, or of the crossbars."""
    tensors, runs = dict(feeds), {name: list[LayerRun]() for name in folder.layers}
    for step in folder.document["steps"]:
        if step["digital"] is not None:
            given = {name: tensors[name] for name in step["inputs"]}
            results = _session((folder.path / step["digital"]).read_bytes()).run(step["outputs"], given)
            tensors |= dict(zip(step["outputs"], results, strict=True))
            continue
        layer, x = folder.layers[step["layer"]], tensors[step["inputs"][0]]
        codes, worth = input_codes(layer, x)
        run = run_layer(layer, codes)
        runs[step["layer"]].append(run)
        zeros = layer["input_zero_point"] * layer.arrays["codes"].astype(np.int64).sum(axis=0)
        whole = run.integers if quantised else run.results
        tensors[step["outputs"][0]] = scaled(layer, whole - zeros, worth, x)
    return tensors, runs


def _session(model: bytes) -> Any:
    """Operators one by one, as they are written."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
