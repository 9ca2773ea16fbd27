"""How often each hardware action happens in one inference of a plan, and of the baselines it is held against."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bsc.adc_law import MAX_ADC_BITS
from bsc.plan import LayerArrays, Plan, PlanLayer
from bsc.quantizer import input_cycles
from bsc.tiles import column_tiles, column_widths, per_crossbar

RESOLUTIONS = MAX_ADC_BITS + 1


@dataclass(frozen=True, eq=False, kw_only=True)
class LayerCounts:
    """What one layer does in one inference.

    Attributes:
        name: of the layer.
        conversions: by resolution, int64 (17,).
        actions: every other action of a target's price list, by key.
        crossbars: crossbars by the largest resolution of their columns, int64 (17,).
        reads: input cycles, each of which reads every crossbar of the layer once.
        conversions_per_read: most conversions that one crossbar needs in one read.
        dac_bits: input bits a DAC drives at a time.
        array_rows: wordlines of a crossbar.
        array_cols: bitlines of a crossbar.
    """

    name: str
    conversions: NDArray[np.int64]
    actions: Mapping[str, int]
    crossbars: NDArray[np.int64]
    reads: int
    conversions_per_read: int
    dac_bits: int
    array_rows: int
    array_cols: int


def count_plan(plan: Plan) -> list[LayerCounts]:
    """Count the actions of every layer of a plan."""
    return [_count_layer(layer, plan.arrays(layer)) for layer in plan.layers]


def count_uniform(plan: Plan, bits: int) -> list[LayerCounts]:
    """The same network on the same crossbars, nothing eliminated and every column converted at `bits`."""
    return [_count_dense(layer, slices=layer.slices, polarities=2, bits=bits) for layer in plan.layers]


def count_offset(plan: Plan, bits: int) -> list[LayerCounts]:
    """The same weight codes in the offset encoding of [isaac16]: one crossbar a slice, and one unit column on each.

    The sign needs one more bit than in the differential encoding, but there is no second polarity.
    """
    layers = []
    for layer in plan.layers:
        slices = -(-(layer.weight_bits + 1) // layer.bits_per_cell)
        layers.append(_count_dense(layer, slices=slices, polarities=1, bits=bits, unit_columns=1))
    return layers


def _count_layer(layer: PlanLayer, arrays: LayerArrays) -> LayerCounts:
    packed, starts = layer.column_tiles()
    return _count(
        layer,
        rows=layer.mapped_rows,
        columns=layer.mapped_columns,
        packed=packed,
        starts=starts,
        adc_bits=arrays.adc_bits,
        allocated=arrays.allocated,
    )


def _count_dense(layer: PlanLayer, *, slices: int, polarities: int, bits: int, unit_columns: int = 0) -> LayerCounts:
    packed, starts = column_tiles(layer.rows, layer.columns, layer.groups, layer.tile_rows, layer.tile_cols)
    row_tiles = -(-layer.rows // layer.tile_rows)
    return _count(
        layer,
        rows=layer.rows,
        columns=layer.columns,
        packed=packed,
        starts=starts,
        adc_bits=np.full((row_tiles, slices, polarities, layer.columns), bits, np.uint8),
        allocated=np.ones((row_tiles, len(starts), slices, polarities), np.bool_),
        unit_columns=unit_columns,
    )


def _count(
    layer: PlanLayer,
    *,
    rows: int,
    columns: int,
    packed: int,
    starts: tuple[int, ...],
    adc_bits: NDArray[np.uint8],
    allocated: NDArray[np.bool_],
    unit_columns: int = 0,
) -> LayerCounts:
    cycles = input_cycles(layer.input_bits, signed=layer.input_signed, dac_bits=layer.dac_bits)
    reads = layer.vectors * len(cycles)
    widths = column_widths(starts, columns)
    rows_driven = _rows_driven(layer, rows, packed, widths)
    existing = allocated.sum(axis=(2, 3))  # (T, C)
    crossbars = int(allocated.sum())
    columns_sampled = int((existing * (widths + unit_columns)).sum())
    row_drives = int((existing * rows_driven).sum()) * reads

    conversions = np.bincount(adc_bits.ravel(), minlength=RESOLUTIONS).astype(np.int64)
    conversions[0] = 0
    largest = per_crossbar(np.maximum, adc_bits, starts)
    converting = per_crossbar(np.add, (adc_bits > 0).astype(np.int64), starts)
    if unit_columns:  # a unit column is converted like the others of its crossbar
        conversions += np.bincount(largest[allocated], minlength=RESOLUTIONS) * unit_columns
        converting += unit_columns
    in_bits = layer.groups * rows * layer.input_bits
    out_bits = layer.columns * layer.input_bits
    moved_bits = layer.vectors * (in_bits + out_bits)
    converted = int(conversions.sum()) * reads
    return LayerCounts(
        name=layer.name,
        conversions=conversions * reads,
        actions={
            "dac_row": row_drives,
            "crossbar_cell": crossbars * layer.tile_rows * layer.tile_cols * reads,
            "sample_hold": columns_sampled * reads,
            "shift_add": converted,
            "input_register_bit": row_drives * layer.dac_bits,
            "output_register_word": converted,
            "edram_bit": moved_bits,
            "bus_bit": moved_bits,
        },
        crossbars=np.bincount(largest[allocated], minlength=RESOLUTIONS).astype(np.int64),
        reads=reads,
        conversions_per_read=int(converting[allocated].max(initial=0)),
        dac_bits=layer.dac_bits,
        array_rows=layer.tile_rows,
        array_cols=layer.tile_cols,
    )


def _rows_driven(layer: PlanLayer, rows: int, packed: int, widths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Wordlines in use on the crossbars of each row and column tile, (T, C)."""
    if packed > 1:
        groups_on_tile = widths // (layer.columns // layer.groups)
        return groups_on_tile[None, :] * rows
    starts = np.arange(0, rows, layer.tile_rows)
    return np.broadcast_to(np.minimum(rows - starts, layer.tile_rows)[:, None], (len(starts), len(widths)))
