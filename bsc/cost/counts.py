"""What the crossbars of each layer do in one inference of a plan, and of the baselines it is compared with.

Rows and columns that `eliminate` or `permute` chose are found by number: for every input vector one number of
ceil(log2 K) bits is read from the buffer for each mapped row, and one of ceil(log2 N) for each mapped column. That
is an assumption, and on the safe side for rows that are only left out. A layer that maps all its lines in order needs
no numbers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bsc.cost.counters import COUNTERS, Activity
from bsc.hardware.adc_law import MAX_ADC_BITS
from bsc.mapping.arrays import LayerArrays
from bsc.mapping.layer import MappedLayer
from bsc.mapping.model import MappedModel
from bsc.numeric.encoding import CellFormat, Encoding
from bsc.numeric.tiles import column_tiles, column_widths, per_crossbar, per_tile
from bsc.plan.correction import corrections

RESOLUTIONS = MAX_ADC_BITS + 1


@dataclass(frozen=True, eq=False, kw_only=True)
class LayerCounts:
    """What one layer does in one inference.

    Attributes:
        name: of the layer.
        conversions: by resolution, int64 (17,).
        counters: by name, every counter of `COUNTERS`.
        crossbars: crossbars by the largest resolution of their columns, int64 (17,).
        reads: times that every crossbar of the layer is read: once for each input cycle and row group of a tile.
        conversions_per_read: most conversions that one crossbar needs in one read.
        bits_per_read: most bits that the conversions of one crossbar in one read have together.
        dac_bits: input bits a DAC drives at a time.
        cell_bits: most bits that one of its cells holds.
        array_rows: wordlines of a crossbar.
        array_cols: bitlines of a crossbar.
    """

    name: str
    conversions: NDArray[np.int64]
    counters: Mapping[str, int]
    crossbars: NDArray[np.int64]
    reads: int
    conversions_per_read: int
    bits_per_read: int
    dac_bits: int
    cell_bits: int
    array_rows: int
    array_cols: int


@dataclass(frozen=True, eq=False, kw_only=True)
class CrossbarLoad:
    """What one crossbar of each tile does in one input cycle.

    Attributes:
        rows: wordlines that are driven, int64 (T, C).
        reads: row groups, read one after another, int64 (T,); those of the last tile may be fewer.
        columns: bitlines that are held in each read, int64 (C,).
        unit_columns: further columns, of ones, that are held and converted in each read: one for each group of the
            convolution that has rows on the crossbar, or none, int64 (C,). [isaac16] converts one of them within the
            100 ns of the crossbar's 128 others; further ones take time.
        unit_bits: at which they are converted.
    """

    rows: NDArray[np.int64]
    reads: NDArray[np.int64]
    columns: NDArray[np.int64]
    unit_columns: NDArray[np.int64]
    unit_bits: int


def crossbar_load(layer: MappedLayer) -> CrossbarLoad:
    """The load of a layer's crossbars, whatever their ADCs."""
    packed, starts = layer.column_tiles()
    widths = column_widths(starts, layer.mapped_columns)
    tiles = np.arange(layer.row_tiles)
    return CrossbarLoad(
        rows=_rows_driven(layer, packed, widths),
        reads=np.minimum(layer.row_groups - tiles * layer.groups_per_tile, layer.groups_per_tile),
        columns=widths,
        unit_columns=_groups(layer, packed, widths) * unit_columns(layer.cells),
        unit_bits=_unit_column_bits(layer),
    )


def count_mapping(mapping: MappedModel) -> list[LayerCounts]:
    """Count the actions of every layer of a mapping."""
    return [count_layer(layer, mapping.arrays(layer)) for layer in mapping.layers]


def count_uniform(mapping: MappedModel, bits: int, cell_bits: int) -> list[LayerCounts]:
    """The same network on crossbars of that size, all rows driven, nothing eliminated, every column read at `bits`.

    Slices are those of the mapping if it cuts evenly, and else of `cell_bits`; pairs are subtracted digitally.
    """
    return [_count_dense(layer, baseline_format(layer, "differential", cell_bits), bits) for layer in mapping.layers]


def count_offset(mapping: MappedModel, bits: int, cell_bits: int) -> list[LayerCounts]:
    """The same weight codes in the offset encoding of [isaac16]: one crossbar a slice, unit columns on each.

    The sign needs one more bit than in the differential encoding, but there is no second polarity. Slices
    are those of `count_uniform`.
    """
    return [_count_dense(layer, baseline_format(layer, "offset", cell_bits), bits) for layer in mapping.layers]


RAELLA_CUT: Final = (2, 2, 4)
"""Slices that most layers have in [raella23] section 4.2, least significant first."""


def count_raella(mapping: MappedModel, bits: int, cell_bits: int) -> list[LayerCounts]:
    """The same weight codes in pairs around centres [raella23], subtracted before conversions at `bits`.

    Slices are those of most layers there, where codes have 8 bits and cells hold 4, and else those of `count_uniform`.
    Inputs are summed on unit columns, as in every encoding with centres here. Inputs are not speculated on.
    """
    return [_count_dense(layer, raella_format(layer, cell_bits), bits) for layer in mapping.layers]


def raella_format(layer: MappedLayer, cell_bits: int) -> CellFormat:
    """The format of cells that `count_raella` counts."""
    even = baseline_format(layer, "centre", cell_bits)
    wide = layer.weight_bits == sum(RAELLA_CUT) and cell_bits >= max(RAELLA_CUT)
    return replace(even, subtraction="analog", cut=RAELLA_CUT if wide else ())


def baseline_format(layer: MappedLayer, encoding: Encoding, cell_bits: int) -> CellFormat:
    """The format of a baseline's cells."""
    even = len(set(layer.slice_bits[:-1])) <= 1 and layer.slice_bits[-1] <= layer.slice_bits[0]
    bits = layer.slice_bits[0] if even else cell_bits
    return CellFormat(weight_bits=layer.weight_bits, bits_per_cell=bits, encoding=encoding)


def count_layer(layer: MappedLayer, arrays: LayerArrays) -> LayerCounts:
    """Count the actions of a layer."""
    load, starts = crossbar_load(layer), layer.column_tiles()[1]
    existing = arrays.allocated.sum(axis=(2, 3))  # (T, C)
    paired = layer.cells.analog_pairs
    sampled = arrays.allocated.any(axis=3, keepdims=True) if paired else arrays.allocated  # (T, C, S, Q)
    largest = largest_bits(layer, arrays, starts)
    converting = per_crossbar(np.add, (arrays.adc_bits > 0).astype(np.int64), starts)
    conversions = np.bincount(arrays.adc_bits.ravel(), minlength=RESOLUTIONS).astype(np.int64)
    conversions[0] = 0
    alone = crossbars_alone(layer, arrays)
    units = int(load.reads @ ((existing + alone) @ load.unit_columns))
    beside = max(int(load.unit_columns.max(initial=0)) - 1, 0)
    conversions[load.unit_bits] += units
    crossbars = np.bincount(largest[arrays.allocated], minlength=RESOLUTIONS).astype(np.int64)
    crossbars[load.unit_bits] += int(alone.sum())
    activity = Activity(
        rows=layer.mapped_rows,
        groups=int(load.reads.max(initial=0)),
        conversions=conversions,
        crossbars=crossbars,
        rows_driven=int(((existing + alone) * load.rows).sum()),
        columns_sampled=int(load.reads @ (sampled.sum(axis=(2, 3)) * load.columns).sum(axis=1)) + units,
        conversions_per_read=int(converting.max(initial=0)) + beside,
        bits_per_read=int(per_crossbar(np.add, arrays.adc_bits.astype(np.int64), starts).max(initial=0))
        + beside * load.unit_bits,
        index_bits=_index_bits(arrays.kept_rows, layer.rows) + _index_bits(arrays.kept_columns, layer.columns),
    )
    return count(layer, activity)


def crossbars_alone(layer: MappedLayer, arrays: LayerArrays) -> NDArray[np.bool_]:
    """Where no crossbar is allocated, but what cells do not hold needs the sum of the inputs: a unit column, (T, C)."""
    starts = layer.column_tiles()[1]
    added = corrections(layer, arrays)[:, None, None] != 0
    needed = per_tile(np.logical_or, per_crossbar(np.logical_or, added, starts), layer.groups_per_tile)[:, :, 0, 0]
    summed = arrays.allocated.sum(axis=(2, 3)) > 0
    if layer.groups > 1:  # every group has inputs of its own
        return np.asarray(needed & ~summed)
    alone = np.zeros_like(needed)
    alone[:, :1] = (needed.any(axis=1) & ~summed.any(axis=1))[:, None]
    return alone


def largest_bits(layer: MappedLayer, arrays: LayerArrays, starts: tuple[int, ...]) -> NDArray[np.uint8]:
    """What the ADC of each crossbar must resolve, (T, C, S, P); a pair that is subtracted has one ADC, on its first."""
    largest = per_tile(np.maximum, per_crossbar(np.maximum, arrays.adc_bits, starts), layer.groups_per_tile)
    if unit_columns(layer.cells):  # the same ADC reads it
        largest = np.maximum(largest, _unit_column_bits(layer))
    if largest.shape == arrays.allocated.shape:
        return np.asarray(largest)
    first = np.cumsum(arrays.allocated, axis=3) == 1
    return np.asarray(np.where(arrays.allocated & first, largest, 0))


def _index_bits(numbers: NDArray[Any] | None, lines: int) -> int:
    """Bits of the numbers of those of so many lines that are mapped; 0 where all are in order."""
    return 0 if numbers is None else len(numbers) * (lines - 1).bit_length()


def unit_columns(cells: CellFormat) -> int:
    """Columns of ones for each group on a crossbar: the sum of its inputs, multiplied by the centres [isaac16]."""
    return int(cells.encoding != "differential")


def _unit_column_bits(layer: MappedLayer) -> int:
    """Bits that hold the sum of all input digits of a row group."""
    return min((layer.active_rows * layer.max_digit).bit_length(), MAX_ADC_BITS)


def _count_dense(layer: MappedLayer, cells: CellFormat, bits: int) -> LayerCounts:
    """Nothing eliminated; every column, the unit columns of each crossbar too, is converted at `bits`."""
    packed, starts = column_tiles(layer.rows, layer.columns, layer.groups, layer.tile_rows, layer.tile_cols)
    row_tiles, planes = -(-layer.rows // layer.tile_rows), cells.slices * cells.polarities
    crossbars = row_tiles * len(starts) * planes
    converting = row_tiles * len(starts) * cells.slices * cells.conversions  # crossbars, of pairs the first
    groups = layer.groups if packed > 1 else len(starts)  # on all crossbars of a row tile and slice together
    columns = row_tiles * (cells.slices * cells.conversions * layer.columns + planes * groups * unit_columns(cells))
    per_read = int(column_widths(starts, layer.columns).max()) + (packed - 1) * unit_columns(cells)
    at_bits = np.arange(RESOLUTIONS) == bits
    silent = np.arange(RESOLUTIONS) == 0
    activity = Activity(
        rows=layer.rows,
        groups=1,
        conversions=at_bits * np.int64(columns),
        crossbars=at_bits * np.int64(converting) + silent * np.int64(crossbars - converting),
        rows_driven=layer.rows * groups * planes,
        columns_sampled=columns,
        conversions_per_read=per_read,
        bits_per_read=per_read * bits,
    )
    return count(layer, activity, cells)


def count(layer: MappedLayer, activity: Activity, cells: CellFormat | None = None) -> LayerCounts:
    """From what happens in one input cycle to the counts of one inference; `cells` are those of a baseline."""
    cycles = activity.cycles(layer)
    return LayerCounts(
        name=layer.name,
        conversions=activity.conversions * cycles,
        counters={name: counter(layer, activity) for name, counter in COUNTERS.items()},
        crossbars=activity.crossbars,
        reads=cycles * activity.groups,
        conversions_per_read=activity.conversions_per_read,
        bits_per_read=activity.bits_per_read,
        dac_bits=layer.dac_bits,
        cell_bits=max((cells or layer.cells).slice_bits),
        array_rows=layer.tile_rows,
        array_cols=layer.tile_cols,
    )


def _groups(layer: MappedLayer, packed: int, widths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Groups of a convolution with rows on the crossbars of each column tile, (C,)."""
    return widths // (layer.columns // layer.groups) if packed > 1 else np.ones_like(widths)


def _rows_driven(layer: MappedLayer, packed: int, widths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Wordlines in use on the crossbars of each row and column tile, (T, C)."""
    if packed > 1:
        return _groups(layer, packed, widths)[None, :] * layer.mapped_rows
    starts = np.arange(0, layer.mapped_rows, layer.tile_rows)
    return np.broadcast_to(np.minimum(layer.mapped_rows - starts, layer.tile_rows)[:, None], (len(starts), len(widths)))
