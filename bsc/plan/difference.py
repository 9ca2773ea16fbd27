"""How far the arrays of two plans differ: weight codes, converters, and crossbars to be programmed anew."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bsc.mapping.arrays import LayerArrays
from bsc.mapping.layer import MappedLayer
from bsc.numeric.tiles import per_column, per_row_group
from bsc.plan.cells import cell_levels, crossbar_columns
from bsc.plan.document import Plan

SAME = 1e-9
"""Numbers whose relative difference is no larger are the same: sums of floats depend on the machine in last bits."""


@dataclass(frozen=True, kw_only=True)
class ArrayDifference:
    """One layer in two plans; None where the layer is mapped otherwise, so that there is nothing to count.

    Attributes:
        codes: weight codes of the model's matrix that differ; what was left out counts as 0.
        all_codes: of the matrix.
        conversions: slice columns, or pairs, with another resolution, step or lowest code.
        all_conversions: of the layer.
        crossbars: crossbars that only one plan has, or that hold other cells.
        all_crossbars: that either has.
        others: what else differs, in words.
    """

    codes: int | None
    all_codes: int
    conversions: int | None
    all_conversions: int
    crossbars: int | None
    all_crossbars: int
    others: tuple[str, ...]


def array_differences(old: Plan, new: Plan) -> dict[str, ArrayDifference]:
    """By name, every layer that both plans have with arrays that differ; reads no others."""
    found = {}
    layers = {layer.name: layer for layer in new.mapping.layers}
    for before in old.mapping.layers:
        after = layers.get(before.name)
        if after is not None and old.files.get(old.document.layer_file(before.name)) != new.files.get(
            new.document.layer_file(after.name)
        ):
            found[before.name] = layer_difference(before, old.mapping.arrays(before), after, new.mapping.arrays(after))
    return found


def layer_difference(
    old: MappedLayer, old_arrays: LayerArrays, new: MappedLayer, new_arrays: LayerArrays
) -> ArrayDifference:
    """One layer in two plans."""
    same_size = (old.rows, old.columns) == (new.rows, new.columns)
    lines = zip(_lines(old, old_arrays), _lines(new, new_arrays), strict=True)
    same_lines = same_size and all(np.array_equal(ours, theirs) for ours, theirs in lines)
    mapped_alike = same_lines and _mapping(old) == _mapping(new)
    codes = int(np.count_nonzero(_codes(old, old_arrays) != _codes(new, new_arrays))) if same_size else None
    others = [] if same_lines else ["rows or columns that are mapped, or their order"]
    others += [
        words
        for words, name in (("weight steps", "weight_scale"), ("biases", "bias"), ("corrections", "correction"))
        if not _close(getattr(old_arrays, name), getattr(new_arrays, name))
    ]
    if not all(_equal(getattr(old_arrays, n), getattr(new_arrays, n)) for n in ("observed_sums", "observed_lows")):
        others.append("observed sums")
    existing = (old_arrays.allocated | new_arrays.allocated) if mapped_alike else new_arrays.allocated
    return ArrayDifference(
        codes=codes,
        all_codes=new.rows * new.columns,
        conversions=_conversions(old_arrays, new_arrays) if mapped_alike else None,
        all_conversions=_count_conversions(new, existing),
        crossbars=_crossbars(new, old_arrays, new_arrays) if mapped_alike else None,
        all_crossbars=int(existing.sum()),
        others=tuple(others),
    )


def _lines(layer: MappedLayer, arrays: LayerArrays) -> tuple[NDArray[Any], NDArray[Any]]:
    """The model's row of each mapped row, and column of each mapped column."""
    rows = np.arange(layer.rows) if arrays.kept_rows is None else arrays.kept_rows
    return rows, np.arange(layer.columns) if arrays.kept_columns is None else arrays.kept_columns


def _mapping(layer: MappedLayer) -> tuple[Any, ...]:
    """What says where the cells of a layer lie and what they hold of a weight code."""
    return (layer.groups, layer.cells, layer.tile_rows, layer.tile_cols, layer.active_rows)


def _codes(layer: MappedLayer, arrays: LayerArrays) -> NDArray[np.int16]:
    """The codes of the model's whole matrix, (K, N)."""
    codes = np.zeros((layer.rows, layer.columns), np.int16)
    codes[np.ix_(*_lines(layer, arrays))] = arrays.codes
    return codes


def _conversions(old: LayerArrays, new: LayerArrays) -> int:
    happens = (old.adc_bits > 0) | (new.adc_bits > 0)
    differs = (old.adc_bits != new.adc_bits) | (old.adc_lsb != new.adc_lsb) | (old.lowest_codes != new.lowest_codes)
    return int(np.count_nonzero(happens & differs))


def _count_conversions(layer: MappedLayer, existing: NDArray[np.bool_]) -> int:
    """Slice columns on crossbars (T, C, S, P), or pairs of them, in every row group."""
    _, starts = layer.column_tiles()
    if layer.cells.analog_pairs:
        existing = np.asarray(existing.any(axis=3, keepdims=True))
    columns = per_column(existing, starts, layer.mapped_columns)
    return int(per_row_group(columns, layer.row_groups, layer.groups_per_tile).sum())


def _crossbars(layer: MappedLayer, old: LayerArrays, new: LayerArrays) -> int:
    """Crossbars whose cells differ, one column tile of a row group at a time."""
    differs = old.allocated ^ new.allocated  # (T, C, S, P)
    for group in range(layer.row_groups):
        tile = group // layer.groups_per_tile
        for column_tile in range(differs.shape[1]):
            columns = crossbar_columns(layer, column_tile)
            part = slice(columns.start, columns.stop)
            changed = cell_levels(layer, old, group, part) != cell_levels(layer, new, group, part)
            differs[tile, column_tile] |= changed.any(axis=(0, 1)) & new.allocated[tile, column_tile]
    return int(np.count_nonzero(differs))


def _close(old: NDArray[Any] | None, new: NDArray[Any] | None) -> bool:
    """Whether numbers are the same but for last bits; none at all are zeros."""
    old, new = (np.zeros(1) if array is None else array for array in (old, new))
    if 1 not in (old.size, new.size) and old.shape != new.shape:
        return False
    return bool(np.all(np.abs(old - new) <= SAME * np.maximum(np.abs(old), np.abs(new))))


def _equal(old: NDArray[Any] | None, new: NDArray[Any] | None) -> bool:
    return old is new if old is None or new is None else np.array_equal(old, new)
