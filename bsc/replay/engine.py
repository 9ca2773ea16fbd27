"""Replay of a plan: what its crossbars, ADCs and shift-and-add units compute, in whole numbers.

Columns whose conversion is proved to lose nothing need no slicing: together with the centres they are one matrix, and
their part of a result is one product of it with the input codes. Only columns that can clip or round are read one
conversion at a time. `bsc.replay.reference` computes the same without any of this.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bsc.errors import ModelError
from bsc.mapping.arrays import LayerArrays
from bsc.mapping.layer import MappedLayer
from bsc.mapping.lossless import layer_sum_range, proved_lossless
from bsc.mapping.model import MappedModel
from bsc.numeric.column_stats import stored_stats
from bsc.numeric.exact import ExactProduct
from bsc.numeric.quantizer import code_limits, input_cycles
from bsc.plan.cells import read_levels
from bsc.replay.activations import mapped_codes
from bsc.replay.columns import LaneCounts, Lanes, Reader, best_reader
from bsc.replay.loaded import PlanRunner
from bsc.replay.tally import ColumnTally, LayerTally

MAX_KEPT_CELLS = 1 << 28
"""Cells that the lanes of all layers may keep in memory between batches; others are made anew for every batch."""

DEVICE_BYTES = 1 << 34
"""What the drivers and libraries of a graphics card may take of the machine's own memory."""


@dataclass(frozen=True, kw_only=True)
class ReplayOptions:
    """How a plan is replayed; the results are the same.

    Attributes:
        every_conversion: carry out conversions that are proved lossless too.
        statistics: count column sums; implies `every_conversion`.
        reader: reads the columns; None for the best there is.
    """

    every_conversion: bool = False
    statistics: bool = False
    reader: Reader | None = None


class LayerEngine:
    """Computes the results of one layer.

    Args:
        layer: the layer.
        arrays: its arrays, with the sums that belong to its cells.
        options: how.
        room: cells that its lanes may keep; by default all that there are for a plan.

    Attributes:
        layer: the layer.
        arrays: its arrays.
        tally: totals so far.
        columns: column sums so far, None without statistics.
        kept_cells: cells that its lanes keep once it has run.
    """

    def __init__(
        self, layer: MappedLayer, arrays: LayerArrays, options: ReplayOptions, room: int | None = None
    ) -> None:
        self.layer = layer
        self.arrays = arrays
        self.tally = LayerTally()
        self.columns = ColumnTally.empty(layer, arrays) if options.statistics else None
        self._reader = options.reader or best_reader()
        self._cycles = input_cycles(layer.input_bits, signed=layer.input_signed, dac_bits=layer.dac_bits)
        self._worth = layer.cells.read_place_values().ravel()
        converted = arrays.adc_bits > 0
        reached = layer_sum_range(layer, arrays)
        moves = reached.high > reached.low
        loses = moves & ~proved_lossless(layer, arrays)
        read = converted & (moves if options.every_conversion or options.statistics else loses)
        by_plane = (layer.row_groups, len(self._worth), layer.mapped_columns)
        self._read = read.reshape(by_plane)
        self._converted, self._read_count = int(np.count_nonzero(converted)), int(np.count_nonzero(read))
        limits = code_limits(layer.input_bits, signed=layer.input_signed)
        self._reach = reached
        self._integers = ExactProduct.of(arrays.codes, layer.groups, limits)
        apart = (loses | read).reshape(by_plane)  # read one by one, or lost
        self._folded = self._integers
        if apart.any():
            self._folded = ExactProduct.of(self._without(apart), layer.groups, limits)
        cells = self._read_count * layer.active_rows
        keeps = cells <= (MAX_KEPT_CELLS if room is None else room)
        self._kept: dict[tuple[int, int], list[Lanes]] | None = {} if keeps else None
        self.kept_cells = cells if keeps else 0

    def integers(self, codes: NDArray[Any]) -> NDArray[np.float64]:
        """The quantised integer model: input codes (V, G, K) over the model's rows times weight codes, (V, N)."""
        return self._integers(mapped_codes(self.arrays, codes))

    def results(self, codes: NDArray[Any]) -> NDArray[np.float64]:
        """What the crossbars give, after ADC and shift-and-add; adds to the tally.

        Args:
            codes: input codes (V, G, K) over the model's rows.

        Returns:
            Whole numbers (V, N) over the mapped columns.
        """
        driven = mapped_codes(self.arrays, codes)
        results = self._folded(driven)
        if self._read_count:
            results += self._read_columns(driven)
        if self.arrays.correction is not None:
            results += self.arrays.correction
        reads = len(driven) * len(self._cycles)
        self.tally.conversions += reads * self._converted
        self.tally.proved += reads * (self._converted - self._read_count)
        self.tally.results += results.size
        if self._folded is not self._integers or self.arrays.correction is not None:
            self.tally.differing += int(np.count_nonzero(results != self._integers(driven)))
        return results

    def _read_columns(self, driven: NDArray[Any]) -> NDArray[np.int64]:
        layer = self.layer
        results = np.zeros((len(driven), layer.mapped_columns), np.int64)
        whole = driven.astype(np.int32)
        for row_group in range(layer.row_groups):
            rows = np.s_[row_group * layer.active_rows : (row_group + 1) * layer.active_rows]
            for group in range(layer.groups):
                lanes = self._lanes(row_group, group)
                if lanes:
                    codes = np.ascontiguousarray(whole[:, group, rows])
                for part in lanes:
                    counts = self._counts(part)
                    self._reader(part, codes, self._cycles, results, counts)
                    self._add_counts(row_group, part, counts)
        return results

    def _counts(self, lanes: Lanes) -> LaneCounts:
        clipped = np.zeros(len(lanes.column), np.int64)
        if self.columns is None:
            return LaneCounts(clipped=clipped)
        return LaneCounts(
            clipped=clipped,
            lowest=np.zeros(len(lanes.column), np.int32),
            highest=np.zeros(len(lanes.column), np.int32),
            histogram=self.columns.histogram.reshape(len(self._worth), len(self._cycles), -1),
            origin=self.columns.origin,
            bin_width=self.columns.bin_width,
        )

    def _add_counts(self, row_group: int, lanes: Lanes, counts: LaneCounts) -> None:
        self.tally.clipped += int(counts.clipped.sum())
        if self.columns is not None:
            shape = (len(self._worth), self.layer.mapped_columns)
            where = (lanes.plane, lanes.column)
            self.columns.clipped[row_group].reshape(shape)[where] += counts.clipped
            assert counts.lowest is not None
            assert counts.highest is not None
            lowest = self.columns.lowest[row_group].reshape(shape)
            lowest[where] = np.minimum(lowest[where], counts.lowest)
            highest = self.columns.highest[row_group].reshape(shape)
            highest[where] = np.maximum(highest[where], counts.highest)

    def _lanes(self, row_group: int, group: int) -> list[Lanes]:
        """The columns of one row group and convolution group that are read, in lots that are read alike."""
        if self._kept is None:
            return list(self._make_lanes(row_group, group))
        if (row_group, group) not in self._kept:
            self._kept[row_group, group] = list(self._make_lanes(row_group, group))
        return self._kept[row_group, group]

    def _make_lanes(self, row_group: int, group: int) -> Iterator[Lanes]:
        layer, arrays = self.layer, self.arrays
        width = layer.mapped_columns // layer.groups
        columns = np.s_[group * width : (group + 1) * width]
        plane, column = np.nonzero(self._read[row_group][:, columns])
        if not len(plane):
            return

        def of_lanes(values: NDArray[Any]) -> NDArray[np.int32]:
            by_plane = values[row_group].reshape(len(self._worth), -1)[:, columns]
            return np.asarray(by_plane[plane, column], np.int32)

        low, bits, step = of_lanes(arrays.lowest_codes), of_lanes(arrays.adc_bits), of_lanes(arrays.adc_lsb)
        top = low + (1 << bits) - 1
        rounded = of_lanes(self._reach.step) % step > 0
        largest = np.maximum(of_lanes(self._reach.high), -of_lanes(self._reach.low)) // layer.max_digit
        half = layer.cells.analog_pairs  # a sign takes a bit of a lane
        lane_bits = np.select([largest < 1 << 8 - half, largest < 1 << 16 - half], [8, 16], 32)
        levels = self._levels(row_group, columns)
        place_values = self._worth[plane] * of_lanes(arrays.signs)
        for wide, rounds in sorted(set(zip(lane_bits.tolist(), rounded.tolist(), strict=True))):
            which = np.flatnonzero((lane_bits == wide) & (rounded == rounds))
            yield Lanes(
                cells=np.ascontiguousarray(levels[:, column[which], plane[which]]),
                low=low[which],
                top=top[which],
                step=step[which],
                place_values=place_values[which],
                column=(column[which] + group * width).astype(np.int32),
                plane=plane[which].astype(np.int32),
                lane_bits=wide,
                rounded=rounds,
            )

    def _levels(self, row_group: int, columns: slice) -> NDArray[Any]:
        """What a conversion sums up of each row, (rows, columns, S * Q)."""
        levels = read_levels(self.layer, self.arrays, row_group, columns)
        return levels.reshape(*levels.shape[:2], -1)

    def _without(self, apart: NDArray[np.bool_]) -> NDArray[np.int64]:
        """The weight codes less what the conversions `apart` (R, S * Q, N) read of them, (K, N)."""
        codes, signs = self.arrays.codes.astype(np.int64), self.arrays.signs
        rows = self.layer.active_rows
        for row_group, planes in enumerate(apart):
            if not planes.any():
                continue
            part = np.s_[row_group * rows : (row_group + 1) * rows]
            levels = self._levels(row_group, np.s_[:])
            place_values = self._worth[:, None] * signs[row_group].reshape(planes.shape)
            for plane in np.flatnonzero(planes.any(axis=1)):
                held = np.where(planes[plane], levels[..., plane], 0)
                codes[part] -= place_values[plane] * held
        return codes


class Replayer:
    """Runs a plan on batches of inputs.

    Args:
        mapping: of a plan, or straight from the passes.
        options: how.

    Attributes:
        loaded: the plan.
        tallies: totals of every layer so far, by its name.
        columns: column sums of every layer so far, by its name; empty without statistics.

    Raises:
        ModelError: BSC307 if recorded column sums are not those of the cells: the proofs rest on them.
    """

    def __init__(self, mapping: MappedModel, options: ReplayOptions | None = None) -> None:
        self.loaded = PlanRunner(mapping)
        self.tallies: dict[str, LayerTally] = {}
        self.columns: dict[str, ColumnTally] = {}
        self._options = options or ReplayOptions()
        self._engines: dict[str, LayerEngine] = {}
        self._room = MAX_KEPT_CELLS
        self.loaded.extra_bytes = MAX_KEPT_CELLS if self._options.reader is None else DEVICE_BYTES
        for name, (layer, arrays) in self.loaded.layers.items():
            check_column_stats(layer, arrays)
            self.engine(name)

    @property
    def exact(self) -> bool:
        """Whether every result replayed so far equals the quantised integer model on the same inputs."""
        return all(tally.differing == 0 for tally in self.tallies.values())

    def quantised(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Outputs of the quantised integer model for one batch of every model input."""
        return self.loaded.run(feeds, lambda name, codes: self.engine(name).integers(codes))

    def replayed(self, feeds: Mapping[str, NDArray[Any]], keep: Collection[str] = ()) -> dict[str, NDArray[Any]]:
        """Outputs of the crossbars for one batch of every model input; adds to the tallies.

        Args:
            feeds: the batch.
            keep: further tensors to return.
        """
        return self.loaded.run(feeds, lambda name, codes: self.engine(name).results(codes), keep)

    def engine(self, name: str) -> LayerEngine:
        """The engine of a layer, made anew if the layer does not stay in memory; its counts go on."""
        if name in self._engines:
            return self._engines[name]
        layer, arrays = self.loaded.layers[name]
        stays = self.loaded.layers.keeps(name)
        engine = LayerEngine(layer, arrays, self._options, self._room if stays else 0)
        engine.tally = self.tallies.setdefault(name, engine.tally)
        if engine.columns is not None:
            engine.columns = self.columns.setdefault(name, engine.columns)
        if stays:
            self._engines[name] = engine
            self._room -= engine.kept_cells
        return engine


def check_column_stats(layer: MappedLayer, arrays: LayerArrays) -> None:
    """Recompute what the proofs rest on from the cells themselves.

    Raises:
        ModelError: BSC307 if they are not what the plan records.
    """
    stored = layer.cells.stored(arrays.codes, arrays.centres, layer.tile_rows)
    stats = stored_stats(stored, layer.cells, layer.active_rows)
    for name in ("sums", "gcds", "nonzeros", *(["flipped"] if layer.flip else [])):
        differing = int(np.count_nonzero(getattr(stats, name) != getattr(arrays, name)))
        if differing:
            raise ModelError(
                "BSC307",
                f"layer '{layer.name}': the recorded '{name}' are not those of its cells",
                seen=f"{differing} slice columns differ",
                fix="compile the model again",
            )
