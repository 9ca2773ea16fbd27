"""Which conversions of a layer lose nothing: for any input, from its column sums, and on calibration data."""

import numpy as np
from numpy.typing import NDArray

from bsc.mapping.arrays import LayerArrays
from bsc.mapping.layer import MappedLayer
from bsc.numeric.column_stats import SumRange, sum_range


def proved_lossless(layer: MappedLayer, arrays: LayerArrays) -> NDArray[np.bool_]:
    """Which conversions no input can make lose anything: (R, S, Q, N)."""
    bounds = layer_sum_range(layer, arrays)
    return _holds(arrays, bounds.low, bounds.high, bounds.step)


def layer_sum_range(layer: MappedLayer, arrays: LayerArrays) -> SumRange:
    """What the conversions of a layer can meet, from its recorded column sums."""
    return sum_range(arrays.sums, arrays.gcds, layer.cells, layer.max_digit)


def observed_lossless(layer: MappedLayer, arrays: LayerArrays) -> NDArray[np.bool_]:
    """Which conversions lost nothing on the calibration data: (R, S, Q, N); none where they were not observed."""
    if arrays.observed_sums is None:
        return np.zeros(arrays.adc_bits.shape, np.bool_)
    return _holds(arrays, observed_lows(arrays), arrays.observed_sums, layer_sum_range(layer, arrays).step)


def observed_lows(arrays: LayerArrays) -> NDArray[np.int64]:
    """Lowest sum or 0 of every conversion on calibration data (R, S, Q, N)."""
    return np.zeros(arrays.adc_bits.shape, np.int64) if arrays.observed_lows is None else arrays.observed_lows


def _holds(
    arrays: LayerArrays, low: NDArray[np.integer], high: NDArray[np.integer], divisor: NDArray[np.uint8]
) -> NDArray[np.bool_]:
    """Which conversions give back all multiples of a divisor from `low` to `high`, which may be 0 alone."""
    step, lowest = arrays.adc_lsb, arrays.lowest_codes.astype(np.int64)
    highest = lowest + (1 << arrays.adc_bits.astype(np.int64)) - 1
    return np.asarray((lowest * step <= low) & (high <= highest * step) & ((divisor % step == 0) | (low == high)))
