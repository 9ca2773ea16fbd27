"""What the ADCs of a tiled model get to see on calibration data: largest sums, and what every resolution would do.

The input codes of every layer come from the quantised integer model, so that they are those that lossless crossbars
cause. A seeded choice of input vectors is kept for each layer; then its columns are read in lots, each column with a
histogram of its own that is turned into a few numbers at once. Memory grows with the kept codes and with the numbers,
not with the histograms.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bsc.errors import DoesNotFitError
from bsc.ir.adc_pass import Observation
from bsc.mapping.arrays import LayerArrays, ResolutionTables
from bsc.mapping.layer import MappedLayer
from bsc.mapping.lossless import layer_sum_range
from bsc.mapping.model import MappedModel
from bsc.numeric.exact import ExactProduct
from bsc.numeric.quantizer import code_limits, input_cycles
from bsc.numeric.sharing import sharing_groups
from bsc.numeric.squared_error import Options, ReadError, best_options, fewest_clipped, squared_error_of
from bsc.numeric.windows import Windows
from bsc.plan.cells import read_levels
from bsc.replay.activations import mapped_codes
from bsc.replay.columns import LaneCounts, Lanes, best_reader
from bsc.replay.dataset import Dataset
from bsc.replay.loaded import PlanRunner

LOT_VALUES = 1 << 22
"""Numbers in the histograms or in the table of one lot of columns: 32 MB."""

MAX_COUNTED_BITS = 24
"""Of column sums that are counted one by one, for the squared error of every resolution: 1 GB for one column."""

MAX_LANES = 1 << 14
MAX_STEP = 255


@dataclass(frozen=True, eq=False, kw_only=True)
class LayerObservation:
    """What was seen of one layer. B is one more than the most bits that any conversion of it needs to be lossless.

    Attributes:
        vectors: input vectors that were read.
        conversions: of every column or pair: vectors times input cycles.
        lowest: lowest sum or 0, int32 (R, S, Q, N); None where it is 0, for all but pairs that are subtracted before.
        highest: highest sum or 0, uint32 (R, S, Q, N).
        tables: of every resolution, if squared error is wanted.
        variance: of the layer's results over vectors, its mean over columns.
    """

    vectors: int
    conversions: int
    lowest: NDArray[np.int32] | None
    highest: NDArray[np.uint32]
    tables: ResolutionTables | None
    variance: float


def observe(
    mapping: MappedModel, data: Dataset, wanted: Observation, *, advance: Callable[[int], None] = lambda _: None
) -> dict[str, LayerObservation]:
    """Observe every layer.

    Args:
        mapping: of the tiled model; its ADC assignment is not looked at.
        data: calibration data.
        wanted: which statistics to collect.
        advance: called with the number of samples whenever some have gone through the model.
    """
    loaded = PlanRunner(mapping)
    kept = _kept_codes(loaded, data, wanted, advance)
    return {
        name: _LayerObserver(layer, arrays, kept.pop(name), wanted).observation()
        for name, (layer, arrays) in loaded.layers.items()
    }


def _kept_codes(
    loaded: PlanRunner, data: Dataset, wanted: Observation, advance: Callable[[int], None]
) -> dict[str, NDArray[np.signedinteger]]:
    """Input codes (V, G, K) over the mapped rows of up to about `wanted.vectors` input vectors of every layer."""
    products = {
        name: ExactProduct.of(arrays.codes, layer.groups, code_limits(layer.input_bits, signed=layer.input_signed))
        for name, (layer, arrays) in loaded.layers.items()
    }
    choosers = {name: np.random.default_rng((wanted.seed, index)) for index, name in enumerate(loaded.layers)}
    kept: dict[str, list[NDArray[np.signedinteger]]] = {name: [] for name in loaded.layers}
    share = 0.0

    def run_layer(name: str, codes: NDArray[Any]) -> NDArray[np.float64]:
        layer, arrays = loaded.layers[name]
        driven = mapped_codes(arrays, codes)
        count = min(len(driven), -int(-share * wanted.vectors // 1))
        chosen = np.sort(choosers[name].choice(len(driven), count, replace=False))
        kept[name].append(driven[chosen].astype(np.int16 if layer.input_bits < 16 else np.int32))
        return products[name](driven)

    for batch in data.batches(max((layer.input_values for layer, _ in loaded.layers.values()), default=1)):
        samples = data.rows(batch)
        share = samples / data.samples
        loaded.run(batch, run_layer)
        advance(samples)
    return {name: np.concatenate(parts) for name, parts in kept.items()}


@dataclass(frozen=True, eq=False)
class _Lot:
    """Conversions that are read together.

    Attributes:
        where: their places in an array (R, S, Q, N).
        unit: of their sums, int64 (L,).
        origin: lowest sum in units that any of them can meet.
        histogram: conversions by lane, cycle and sum in units from `origin` on, int64 (L, cycles, bins).
        lowest: lowest sum in units or 0, int32 (L,).
        highest: highest sum in units or 0, int32 (L,).
    """

    where: tuple[Any, ...]
    unit: NDArray[np.int64]
    origin: int
    histogram: NDArray[np.int64]
    lowest: NDArray[np.int32]
    highest: NDArray[np.int32]


class _LayerObserver:
    """Reads the conversions of one layer."""

    def __init__(
        self, layer: MappedLayer, arrays: LayerArrays, codes: NDArray[np.signedinteger], wanted: Observation
    ) -> None:
        self.layer = layer
        self.arrays = arrays
        self.codes = codes
        self.wanted = wanted
        self.cycles = input_cycles(layer.input_bits, signed=layer.input_signed, dac_bits=layer.dac_bits)
        self.signed = layer.cells.analog_pairs
        self.reach = layer_sum_range(layer, arrays)
        starts = layer.column_tiles()[1]
        self.groups = sharing_groups(wanted.granularity, self.reach.high.shape, starts, layer.groups_per_tile)
        nothing = np.zeros(self.reach.high.shape, np.int8)
        self.windows = Windows.of(self.reach, nothing, nothing, self.groups)
        self.unit = self.windows.unit
        self.low, self.high = self.reach.low // self.unit, self.reach.high // self.unit
        self.width = int(self.windows.proved.max(initial=0)) + 1
        if wanted.squared_error and self.width > MAX_COUNTED_BITS + 1:
            raise DoesNotFitError(
                "BSC401",
                f"layer '{layer.name}': its column sums are too large to be counted one by one",
                seen=f"{self.width - 1} bits for {layer.bits_per_cell}-bit cells, {layer.dac_bits}-bit DAC, "
                f"{layer.active_rows} rows",
                fix="use fewer rows, fewer bits per cell or a narrower DAC",
            )

    def observation(self) -> LayerObservation:
        """All that is wanted."""
        lowest = np.zeros(self.unit.shape, np.int32)
        highest = np.zeros(self.unit.shape, np.uint32)
        tables = self._empty_tables() if self.wanted.squared_error else None
        common = self._common_options() if tables is not None and self.groups is not None else None
        for lot in self._lots():
            lowest[lot.where] = lot.lowest * lot.unit
            highest[lot.where] = lot.highest * lot.unit
            if tables is not None:
                self._fill(tables, lot, common)
        if tables is not None:
            self._keep_what_was_seen(tables, Windows.of(self.reach, lowest, highest, self.groups))
        limits = code_limits(self.layer.input_bits, signed=self.layer.input_signed)
        results = ExactProduct.of(self.arrays.codes, self.layer.groups, limits)(self.codes)
        return LayerObservation(
            vectors=len(self.codes),
            conversions=len(self.codes) * len(self.cycles),
            lowest=lowest if self.signed else None,
            highest=highest,
            tables=tables,
            variance=float(f"{results.var(axis=0).mean():.3g}") if results.size else 0.0,  # as in `sensitivity`
        )

    def _empty_tables(self) -> ResolutionTables:
        shape = (*self.unit.shape, self.width)
        return ResolutionTables(
            step=np.ones(shape, np.uint8),
            low=np.zeros(shape, np.int32) if self.signed else None,
            beyond=np.zeros(shape, np.uint32),
            squared_error=np.zeros(shape, np.float32),
            mean=np.zeros(shape, np.float32) if self.wanted.mean else None,
        )

    def _fill(self, tables: ResolutionTables, lot: _Lot, common: tuple[Options, NDArray[np.int64]] | None) -> None:
        """Enter the best options of a lot."""
        options = Options.within(*self._range(lot)) if common is None else common[0]
        found = self._squared_error(lot, options)
        best = best_options(found.squared_error, options) if common is None else common[1][self._groups_of(lot)]
        best = best[:, : self.width]
        here = (*lot.where, slice(best.shape[1]))
        clipped = np.take_along_axis(found.clipped, best, axis=1)
        tables.step[here] = options.factor[best] * lot.unit[:, None]
        tables.beyond[here] = np.maximum(clipped, fewest_clipped(found, options)[:, : self.width])
        tables.squared_error[here] = np.take_along_axis(found.squared_error, best, axis=1)
        if tables.low is not None:
            tables.low[here] = options.low[best]
        if tables.mean is not None:
            tables.mean[here] = np.take_along_axis(found.mean, best, axis=1)

    def _keep_what_was_seen(self, tables: ResolutionTables, windows: Windows) -> None:
        """Place codes by what was observed wherever that loses nothing: few places of them were tried."""
        for bits in range(self.width):
            enough = windows.covering <= bits
            tables.step[enough, bits] = windows.unit[enough]
            tables.beyond[enough, bits] = 0
            tables.squared_error[enough, bits] = 0
            if tables.low is not None:
                tables.low[enough, bits] = windows.codes_from(bits)[enough]
            if tables.mean is not None:
                tables.mean[enough, bits] = 0

    def _range(self, lot: _Lot) -> tuple[int, int]:
        return lot.origin, lot.origin + lot.histogram.shape[2] - 1

    def _common_options(self) -> tuple[Options, NDArray[np.int64]]:
        """Options, and the best of each group and number of bits (groups, B): of least squared error over all of it."""
        assert self.groups is not None
        options = Options.within(int(self.low.min(initial=0)), int(self.high.max(initial=0)))
        total = np.zeros((int(self.groups.max(initial=0)) + 1, len(options.bits)))
        for lot in self._lots():
            np.add.at(total, self._groups_of(lot), self._squared_error(lot, options).squared_error)
        return options, best_options(total, options)

    def _groups_of(self, lot: _Lot) -> NDArray[np.int64]:
        assert self.groups is not None
        return np.asarray(self.groups[lot.where])

    def _squared_error(self, lot: _Lot, options: Options) -> ReadError:
        found = squared_error_of(lot.histogram, lot.origin, options, self.cycles, lot.unit)
        found.squared_error[lot.unit[:, None] * options.factor > MAX_STEP] = np.inf
        return found

    def _lots(self) -> Iterator[_Lot]:
        """Conversions of one row group, convolution group and number of lossless bits, as many as fit."""
        layer = self.layer
        width = layer.mapped_columns // max(1, layer.groups)
        bits = self.windows.proved * (self.reach.high > self.reach.low)
        for row_group, group in np.ndindex(layer.row_groups, layer.groups):
            rows = np.s_[row_group * layer.active_rows : (row_group + 1) * layer.active_rows]
            columns = np.s_[group * width : (group + 1) * width]
            codes = np.ascontiguousarray(self.codes[:, group, rows], np.int32)
            levels = read_levels(layer, self.arrays, row_group, columns)
            here = bits[row_group, ..., columns]
            for needed in np.unique(here[here > 0]).tolist():
                slice_, conversion, column = np.nonzero(here == needed)
                most = min(MAX_LANES, max(1, LOT_VALUES // (len(self.cycles) << needed)))
                for start in range(0, len(column), most):
                    part = np.s_[start : start + most]
                    cells = levels[:, column[part], slice_[part], conversion[part]]
                    where = (
                        np.full(cells.shape[1], row_group),
                        slice_[part],
                        conversion[part],
                        column[part] + group * width,
                    )
                    yield self._read(where, cells, codes)

    def _read(self, where: tuple[Any, ...], cells: NDArray[Any], codes: NDArray[np.int32]) -> _Lot:
        """Read lanes whose result nobody wants, each with a histogram of its own."""
        unit = self.unit[where].astype(np.int64)
        count, origin, top = len(unit), int(self.low[where].min(initial=0)), int(self.high[where].max(initial=0))
        largest = max(top, -origin) // self.layer.max_digit
        lanes = Lanes(
            cells=np.ascontiguousarray((cells // unit).astype(cells.dtype)),
            low=np.full(count, np.iinfo(np.int32).min, np.int32),
            top=np.full(count, np.iinfo(np.int32).max, np.int32),
            step=np.ones(count, np.int32),
            place_values=np.zeros(count, np.int64),
            column=np.zeros(count, np.int32),
            plane=np.arange(count, dtype=np.int32),
            lane_bits=next(size for size in (8, 16, 32) if largest < 1 << size - self.signed),
            rounded=False,
        )
        counts = LaneCounts(
            clipped=np.zeros(count, np.int64),
            lowest=np.zeros(count, np.int32),
            highest=np.zeros(count, np.int32),
            histogram=np.zeros((count, len(self.cycles), top - origin + 1), np.int64),
            origin=origin,
        )
        best_reader()(lanes, codes, self.cycles, np.zeros((len(codes), 1), np.int64), counts)
        assert counts.lowest is not None
        assert counts.highest is not None
        assert counts.histogram is not None
        return _Lot(where, unit, origin, counts.histogram, counts.lowest, counts.highest)
