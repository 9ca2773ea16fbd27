"""What is provable of a layer from its cells: sums, divisors, ranges, bits, which crossbars hold anything."""

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from tests.oracle.plan import Layer

MAX_ENUMERATED = 1 << 12


@dataclass(frozen=True, eq=False)
class Bounds:
    """Of every slice column (R, S, P, N), of every conversion (R, S, Q, N), and of every crossbar (T, C, S, P)."""

    sums: NDArray[np.int64]
    gcds: NDArray[np.int64]
    nonzeros: NDArray[np.int64]
    flipped: NDArray[np.bool_]
    low: NDArray[np.int64]
    high: NDArray[np.int64]
    divisor: NDArray[np.int64]
    bits: NDArray[np.int64]
    lossless: NDArray[np.bool_]
    holds_cells: NDArray[np.bool_]


def bounds(layer: Layer) -> Bounds:
    """All of them, one column after another."""
    levels, upright = layer.levels(), layer.levels(upright=True)
    groups, slices = layer.row_groups, layer["slice_bits"]
    columns = (len(groups), len(slices), layer.polarities, layer.columns)
    conversions = (len(groups), len(slices), layer.conversions, layer.columns)
    sums, gcds, nonzeros = (np.zeros(columns, np.int64) for _ in range(3))
    flipped = np.zeros(columns, np.bool_)
    for here in np.ndindex(columns):
        group, index, polarity, column = here
        rows = slice(groups[group].start, groups[group].stop)
        cells = levels[rows, index, polarity, column].tolist()
        sums[here], gcds[here] = sum(cells), math.gcd(*cells)
        nonzeros[here] = sum(level > 0 for level in cells)
        held = upright[rows, index, polarity, column].tolist()
        top = 2 ** slices[index] - 1
        flipped[here] = sum(top - level for level in held) < sum(held)
    low, high, divisor, bits = (np.zeros(conversions, np.int64) for _ in range(4))
    lossless = np.zeros(conversions, np.bool_)
    for here in np.ndindex(conversions):
        group, index, polarity, column = here
        high[here] = layer.highest_digit * sums[here]
        divisor[here] = gcds[here]
        if layer.paired:
            low[here] = -layer.highest_digit * sums[group, index, 1, column]
            divisor[here] = math.gcd(int(gcds[here]), int(gcds[group, index, 1, column]))
        values = (int(high[here]) - int(low[here])) // max(int(divisor[here]), 1) + 1
        while 2 ** int(bits[here]) < values:
            bits[here] += 1
        lossless[here] = keeps(layer, here, int(low[here]), int(high[here]), int(divisor[here]))
    return Bounds(sums, gcds, nonzeros, flipped, low, high, divisor, bits, lossless, _holding(layer, nonzeros))


def keeps(layer: Layer, here: tuple[int, ...], low: int, high: int, divisor: int) -> bool:
    """Whether a conversion gives back every multiple of a divisor from `low` to `high`: tried, where they are few."""
    arrays = layer.arrays
    bits, step = int(arrays["adc_bits"][here]), int(arrays["adc_lsb"][here])
    lowest = int(arrays["adc_low"][here]) if "adc_low" in arrays else 0
    highest = lowest + 2**bits - 1
    values = range(low, high + 1, divisor or 1)
    if len(values) > MAX_ENUMERATED:  # then rounding shows within the first of them, and clipping at the ends
        values = [*values[:512], *values[-512:]]  # type: ignore[assignment]
    return all(step * min(max(round(Fraction(value, step)), lowest), highest) == value for value in values)


def _holding(layer: Layer, nonzeros: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which crossbars have a cell above 0, (T, C, S, P)."""
    tiles, column_tiles = layer.tiles, layer.column_tiles
    found = np.zeros((len(tiles), len(column_tiles), len(layer["slice_bits"]), layer.polarities), np.bool_)
    for tile, part, index, polarity in np.ndindex(found.shape):
        found[tile, part, index, polarity] = any(
            nonzeros[group, index, polarity, column] for group in layer.groups_of(tile) for column in column_tiles[part]
        )
    return found
