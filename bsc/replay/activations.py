"""The digital ends of a layer: an activation becomes input codes, whole results become an activation."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bsc.errors import ModelError
from bsc.mapping.arrays import LayerArrays
from bsc.mapping.layer import MappedLayer
from bsc.numeric.im2col import from_vectors, output_sizes, to_vectors
from bsc.numeric.quantizer import code_limits, step_for, to_codes
from bsc.replay.dataset import require_finite
from bsc.replay.kernel import kernel

CHUNK_VALUES = 1 << 15


def input_codes(layer: MappedLayer, x: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Quantise a layer's activation into input vectors.

    Args:
        layer: its number format and geometry.
        x: the activation, float.

    Returns:
        Codes (V, G, K) over the model's rows as whole floats, and the value of one code, (V, 1) or (1, 1).

    Raises:
        ModelError: BSC307 if the activation is not of the shape the layer was compiled for, BSC308 if it is
            not finite.
    """
    _require_fit(layer, x)
    what = f"the input of layer '{layer.name}'"
    x = x.astype(np.result_type(x.dtype, np.float32), copy=False)  # half precision holds neither codes nor steps
    low, high = code_limits(layer.input_bits, signed=layer.input_signed)
    conv = layer.conv.geometry() if layer.conv else None
    if layer.input_scale is not None:
        zero = layer.input_zero_point
        vectors = to_vectors(_fixed_codes(x, layer.input_scale, low - zero, high - zero, what), conv, layer.groups)
        return (vectors + zero if zero else vectors), np.array([[layer.input_scale]])  # padding is the value 0 as well
    require_finite(x, what)
    vectors = to_vectors(x, conv, layer.groups)
    largest = np.abs(vectors).max(axis=(1, 2), initial=0).astype(np.float64)
    step = step_for(largest, bits=layer.input_bits - layer.input_signed, scale="power-of-two")
    return to_codes(vectors, step.astype(x.dtype)[:, None, None], low, high), step[:, None]


def _fixed_codes(x: NDArray[Any], step: float, low: int, high: int, what: str) -> NDArray[Any]:
    """Codes under one step for all; in one pass over float32 by the kernel."""
    if kernel is not None and x.dtype == np.float32:
        values, codes = np.ascontiguousarray(x), np.empty(x.shape, np.float32)
        if kernel.quantise(values, step, low, high, codes):
            return codes
    require_finite(x, what)
    return to_codes(x, x.dtype.type(step), low, high)


def mapped_codes(arrays: LayerArrays, codes: NDArray[Any]) -> NDArray[Any]:
    """Input codes of the mapped rows: (V, G, K) over the model's rows to (V, G, K) over those on crossbars."""
    return codes if arrays.kept_rows is None else codes[:, :, arrays.kept_rows]


def zero_part(layer: MappedLayer, arrays: LayerArrays) -> NDArray[np.int64] | None:
    """What the code of zero adds to every result, (N,) over the mapped columns: a digital constant to take away."""
    return layer.input_zero_point * arrays.codes.sum(axis=0, dtype=np.int64) if layer.input_zero_point else None


def output(
    layer: MappedLayer, arrays: LayerArrays, results: NDArray[np.float64], step: NDArray[np.float64], x: NDArray[Any]
) -> NDArray[Any]:
    """Scale whole results, put dropped columns back, add the bias, restore the tensor's shape."""
    columns = slice(None) if arrays.kept_columns is None else arrays.kept_columns
    scales = np.broadcast_to(arrays.weight_scale, (layer.columns,))[columns]
    bias = None if arrays.bias is None else arrays.bias[columns]
    y = np.empty((len(results), len(scales)), x.dtype)
    chunk = max(1, CHUNK_VALUES // max(1, len(scales)))  # few enough to stay in cache
    for start in range(0, len(results), chunk):
        part = np.s_[start : start + chunk]
        scaled = results[part] * ((step[part] if len(step) > 1 else step) * scales)
        if bias is not None:
            scaled += bias
        y[part] = scaled
    if arrays.kept_columns is not None:
        whole = np.zeros((len(results), layer.columns), x.dtype)
        if arrays.bias is not None:
            whole[:] = arrays.bias.astype(np.float64)
        whole[:, columns] = y
        y = whole
    return from_vectors(y, x.shape, layer.conv.geometry() if layer.conv else None)


def _require_fit(layer: MappedLayer, x: NDArray[Any]) -> None:
    if layer.conv is None:
        fits = x.ndim > 0 and (layer.groups, layer.rows) == (1, x.shape[-1])
    else:
        taps = math.prod(layer.conv.kernel)
        fits = x.ndim == 2 + len(layer.conv.kernel) and x.shape[1] * taps == layer.groups * layer.rows
        positions = output_sizes(layer.conv.geometry(), x.shape[2:]) if fits else ()
        fits = fits and min(positions) > 0 and math.prod(positions) <= layer.vectors
    if not fits:
        raise ModelError(
            "BSC307",
            f"layer '{layer.name}': the activation is not of the shape that the plan records",
            seen=f"shape {x.shape} for {layer.groups} x {layer.rows} rows and {layer.vectors} vectors",
            fix="compile the model again, with --input-shape if its sizes vary",
        )
