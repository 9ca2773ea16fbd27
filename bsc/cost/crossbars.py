"""Every crossbar of a mapping as one row of a few arrays: its place, what it holds, what its ADC must resolve."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bsc.cost.counts import largest_bits
from bsc.mapping.arrays import LayerArrays
from bsc.mapping.layer import MappedLayer
from bsc.mapping.model import MappedModel
from bsc.numeric.tiles import column_widths, per_crossbar, per_tile


@dataclass(frozen=True, eq=False, kw_only=True)
class CrossbarTable:
    """The X crossbars of a layer, in the order of row tile, column tile, slice and polarity.

    Attributes:
        layer: the layer's record.
        index: row tile, column tile, slice and polarity, int64 (X, 4).
        rows: wordlines in use, int64 (X,).
        columns: bitlines in use, int64 (X,).
        weights: cells that hold a slice of a weight, zero or not, int64 (X,); fewer than rows times columns where
            groups of a convolution share the crossbar.
        nonzeros: cells above level 0, int64 (X,).
        adc_bits: largest resolution of the ADC that reads it, unit columns included, uint8 (X,); both crossbars of a
            pair have that of the pair, and 0 is one that is never read.
        mean_bits: mean resolution over its columns, those of 0 bits included and unit columns not, float64 (X,).
    """

    layer: MappedLayer
    index: NDArray[np.int64]
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    weights: NDArray[np.int64]
    nonzeros: NDArray[np.int64]
    adc_bits: NDArray[np.uint8]
    mean_bits: NDArray[np.float64]

    @property
    def capacity(self) -> int:
        """Cells of one crossbar."""
        return self.layer.tile_rows * self.layer.tile_cols


def mapping_crossbars(mapping: MappedModel) -> list[CrossbarTable]:
    """The crossbars of every layer; reads each layer's arrays once."""
    return [crossbar_table(layer, mapping.arrays(layer)) for layer in mapping.layers]


def crossbar_table(layer: MappedLayer, arrays: LayerArrays) -> CrossbarTable:
    """The crossbars of one layer."""
    packed, starts = layer.column_tiles()
    index = np.argwhere(arrays.allocated)
    row_tile, column_tile = index[:, 0], index[:, 1]
    tile_rows = np.minimum(layer.mapped_rows - row_tile * layer.tile_rows, layer.tile_rows)
    columns = column_widths(starts, layer.mapped_columns)[column_tile]
    groups = columns // (layer.columns // layer.groups) if packed > 1 else np.ones_like(columns)
    bits = largest_bits(layer, arrays, starts)
    if layer.cells.analog_pairs:
        bits = bits.max(axis=3, keepdims=True)
    read = layer.row_groups - row_tile * layer.groups_per_tile  # row groups of the tile; the last may have fewer
    conversions = np.minimum(read, layer.groups_per_tile) * columns

    def each(values: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(np.broadcast_to(values, arrays.allocated.shape)[arrays.allocated])

    def added(values: NDArray[Any]) -> NDArray[Any]:
        return each(per_tile(np.add, per_crossbar(np.add, values.astype(np.int64), starts), layer.groups_per_tile))

    return CrossbarTable(
        layer=layer,
        index=index,
        rows=tile_rows * groups,
        columns=columns,
        weights=tile_rows * columns,
        nonzeros=added(arrays.nonzeros),
        adc_bits=each(bits),
        mean_bits=added(arrays.adc_bits) / conversions,
    )
