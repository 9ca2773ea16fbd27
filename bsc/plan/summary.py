"""What a plan looks like, layer by layer: sizes, densities and resolutions, straight from its arrays."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bsc.hardware.adc_law import MAX_ADC_BITS
from bsc.mapping.arrays import LayerArrays
from bsc.mapping.layer import MappedLayer
from bsc.mapping.model import MappedModel
from bsc.numeric.column_stats import Reach, lossless_bits, reach
from bsc.numeric.tiles import column_tiles, column_widths, crossbars_with_weights, per_column, per_row_group

RULE_OF_THREE = 3.0
"""0 of N alike and independent conversions lost something: with 95 % confidence p <= 3 / N, as (1 - p)**N >= 0.05."""


@dataclass(frozen=True, eq=False, kw_only=True)
class SliceSummary:
    """One weight slice of a layer, all polarities and row groups together.

    Attributes:
        density: non-zero cells over the model's weights, 0 to 1.
        columns: slice columns on allocated crossbars, counted once for each row group.
        conversions: what is converted of these columns: they themselves, or their pairs.
        largest_sum: largest sum in front of an ADC that any input can cause, in cell units times input digits.
        proved: conversions by the resolution that is proved lossless, int64 (17,); 0 is for zeros.
        assigned: conversions by the resolution assigned, int64 (17,); 0 is never converted.
        lossless: conversions that are proved to lose nothing.
        observed: conversions by the resolution that holds the sums seen on calibration data, int64 (17,); None where
            they were not observed.
        covered: conversions that lost nothing there, those that are proved lossless left out.
    """

    density: float
    columns: int
    conversions: int
    largest_sum: int
    proved: NDArray[np.int64]
    assigned: NDArray[np.int64]
    lossless: int
    observed: NDArray[np.int64] | None
    covered: int


@dataclass(frozen=True, eq=False, kw_only=True)
class LayerSummary:
    """One layer of a plan.

    Attributes:
        layer: its record.
        column_tiles: C.
        crossbars: crossbars allocated.
        possible_crossbars: crossbars if none were eliminated for being all zero.
        unread_crossbars: crossbars that hold weights but were left out, since no column of them is converted.
        utilisation: cells that hold a weight's slice over all cells of the allocated crossbars, 0 to 1.
        slices: least significant first.
    """

    layer: MappedLayer
    column_tiles: int
    crossbars: int
    possible_crossbars: int
    unread_crossbars: int
    utilisation: float
    slices: tuple[SliceSummary, ...]

    @property
    def columns(self) -> int:
        """Slice columns on allocated crossbars."""
        return sum(part.columns for part in self.slices)

    @property
    def conversions(self) -> int:
        """What is converted of these columns: they themselves, or their pairs."""
        return sum(part.conversions for part in self.slices)

    @property
    def lossless(self) -> int:
        """Conversions that are proved to lose nothing."""
        return sum(part.lossless for part in self.slices)

    @property
    def covered(self) -> int:
        """Slice columns that are not, but lost nothing on calibration data."""
        return sum(part.covered for part in self.slices)


def summarise(mapping: MappedModel) -> list[LayerSummary]:
    """Summaries of every layer; reads each layer's arrays once."""
    return [summarise_layer(layer, mapping.arrays(layer)) for layer in mapping.layers]


def summarise_layer(layer: MappedLayer, arrays: LayerArrays) -> LayerSummary:
    """Summary of one layer."""
    _, starts = layer.column_tiles()
    existing = per_row_group(
        per_column(arrays.allocated, starts, layer.mapped_columns), layer.row_groups, layer.groups_per_tile
    )  # (R, S, P, N)
    paired = layer.cells.conversions < existing.shape[2]
    converted = np.asarray(existing.any(axis=2, keepdims=True)) if paired else existing
    bounds = layer_reach(layer, arrays)
    proved = lossless_bits((bounds.high - bounds.low).astype(np.uint32), bounds.step)
    lossless, covered = proved_lossless(layer, arrays), observed_lossless(layer, arrays)
    spans = None if arrays.observed_sums is None else arrays.observed_sums - _observed_lows(arrays)
    parts = []
    for index in range(layer.slices):
        columns, here = existing[:, index], converted[:, index]
        parts.append(
            SliceSummary(
                density=int(arrays.nonzeros[:, index].sum()) / (layer.rows * layer.columns),
                columns=int(columns.sum()),
                conversions=int(here.sum()),
                largest_sum=int(max(bounds.high[:, index].max(initial=0), -bounds.low[:, index].min(initial=0))),
                proved=_histogram(proved[:, index][here]),
                assigned=_histogram(arrays.adc_bits[:, index][here]),
                lossless=int(lossless[:, index][here].sum()),
                observed=None
                if spans is None
                else _histogram(lossless_bits(spans[:, index].astype(np.uint32), bounds.step[:, index])[here]),
                covered=int((covered & ~lossless)[:, index][here].sum()),
            )
        )
    crossbars = int(arrays.allocated.sum())
    row_counts = np.minimum(layer.mapped_rows - np.arange(0, layer.mapped_rows, layer.tile_rows), layer.tile_rows)
    weights = np.outer(row_counts, column_widths(starts, layer.mapped_columns))  # (T, C)
    cells = int((arrays.allocated.sum(axis=(2, 3)) * weights).sum())
    holds_weights = crossbars_with_weights(arrays.sums, starts, layer.groups_per_tile)
    dense_tiles = len(column_tiles(layer.rows, layer.columns, layer.groups, layer.tile_rows, layer.tile_cols)[1])
    return LayerSummary(
        layer=layer,
        column_tiles=len(starts),
        crossbars=crossbars,
        possible_crossbars=-(-layer.rows // layer.tile_rows) * dense_tiles * layer.slices * layer.cells.polarities,
        unread_crossbars=int(np.count_nonzero(holds_weights & ~arrays.allocated)),
        utilisation=cells / (crossbars * layer.tile_rows * layer.tile_cols) if crossbars else 0.0,
        slices=tuple(parts),
    )


def proved_lossless(layer: MappedLayer, arrays: LayerArrays) -> NDArray[np.bool_]:
    """Which conversions no input can make lose anything: (R, S, Q, N)."""
    bounds = layer_reach(layer, arrays)
    return _holds(arrays, bounds.low, bounds.high, bounds.step)


def layer_reach(layer: MappedLayer, arrays: LayerArrays) -> Reach:
    """What the conversions of a layer can meet, from its recorded column sums."""
    return reach(arrays.sums, arrays.gcds, layer.cells, layer.max_digit)


def observed_lossless(layer: MappedLayer, arrays: LayerArrays) -> NDArray[np.bool_]:
    """Which conversions lost nothing on the calibration data: (R, S, Q, N); none where they were not observed."""
    if arrays.observed_sums is None:
        return np.zeros(arrays.adc_bits.shape, np.bool_)
    return _holds(arrays, _observed_lows(arrays), arrays.observed_sums, layer_reach(layer, arrays).step)


def _observed_lows(arrays: LayerArrays) -> NDArray[np.int64]:
    return np.zeros(arrays.adc_bits.shape, np.int64) if arrays.observed_lows is None else arrays.observed_lows


def _holds(
    arrays: LayerArrays, low: NDArray[np.integer], high: NDArray[np.integer], divisor: NDArray[np.uint8]
) -> NDArray[np.bool_]:
    """Which conversions tell apart all multiples of a divisor from `low` to `high`."""
    step, lowest = arrays.adc_step, arrays.lowest_codes.astype(np.int64)
    highest = lowest + (1 << arrays.adc_bits.astype(np.int64)) - 1
    return np.asarray((lowest * step <= low) & (high <= highest * step) & (divisor % step == 0))


def total(histograms: Iterable[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Sum of resolution histograms, (17,)."""
    return sum(histograms, np.zeros(MAX_ADC_BITS + 1, np.int64))


def _histogram(bits: NDArray[np.integer]) -> NDArray[np.int64]:
    return np.bincount(bits.astype(np.int64), minlength=MAX_ADC_BITS + 1)
