"""Every crossbar of a plan as one row of a few arrays: where it belongs, what it holds, what its ADC must resolve."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bsc.numeric.tiles import column_widths, per_crossbar, per_tile
from bsc.plan.document import LayerArrays, PlanLayer


@dataclass(frozen=True, eq=False, kw_only=True)
class CrossbarTable:
    """The X crossbars of a layer, in the order of row tile, column tile, slice and polarity.

    Attributes:
        index: row tile, column tile, slice and polarity, int64 (X, 4).
        rows: wordlines in use, int64 (X,).
        columns: bitlines in use, int64 (X,).
        weights: cells that hold a slice of a weight, zero or not, int64 (X,); fewer than rows times columns where
            groups of a convolution share the crossbar.
        nonzeros: cells above level 0, int64 (X,).
        most_bits: largest resolution its columns are converted at, uint8 (X,); 0 where nothing is converted.
        mean_bits: mean resolution over its columns, those of 0 bits included, float64 (X,).
    """

    index: NDArray[np.int64]
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    weights: NDArray[np.int64]
    nonzeros: NDArray[np.int64]
    most_bits: NDArray[np.uint8]
    mean_bits: NDArray[np.float64]


def crossbar_table(layer: PlanLayer, arrays: LayerArrays) -> CrossbarTable:
    """The crossbars of a layer; a pair that is subtracted before its ADC gives both of its crossbars its resolution."""
    packed, starts = layer.column_tiles()
    index = np.argwhere(arrays.allocated)
    row_tile, column_tile = index[:, 0], index[:, 1]
    tile_rows = np.minimum(layer.mapped_rows - row_tile * layer.tile_rows, layer.tile_rows)
    columns = column_widths(starts, layer.mapped_columns)[column_tile]
    groups = columns // (layer.columns // layer.groups) if packed > 1 else np.ones_like(columns)
    bits = arrays.adc_bits.astype(np.int64)
    read = layer.row_groups - row_tile * layer.groups_per_tile  # row groups of the tile; the last may have fewer
    conversions = np.minimum(read, layer.groups_per_tile) * columns

    def each(combine: np.ufunc, values: NDArray[Any]) -> NDArray[Any]:
        combined = per_tile(combine, per_crossbar(combine, values, starts), layer.groups_per_tile)
        return np.asarray(np.broadcast_to(combined, arrays.allocated.shape)[arrays.allocated])

    return CrossbarTable(
        index=index,
        rows=tile_rows * groups,
        columns=columns,
        weights=tile_rows * columns,
        nonzeros=each(np.add, arrays.nonzeros.astype(np.int64)),
        most_bits=each(np.maximum, bits).astype(np.uint8),
        mean_bits=each(np.add, bits) / conversions,
    )
