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
from bsc.numeric.column_stats import stored_stats
from bsc.numeric.exact import ExactProduct
from bsc.numeric.quantizer import code_limits, input_cycles
from bsc.plan.document import LayerArrays, Plan, PlanLayer
from bsc.plan.summary import proved_lossless
from bsc.replay.activations import mapped_codes
from bsc.replay.columns import LaneCounts, Lanes, Reader, best_reader
from bsc.replay.loaded import LoadedPlan
from bsc.replay.tally import ColumnTally, LayerTally

MAX_KEPT_CELLS = 1 << 29
"""Cells that a layer's lanes may keep in memory between batches; beyond it they are made anew for every batch."""


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

    Attributes:
        layer: the layer.
        arrays: its arrays.
        tally: totals so far.
        columns: column sums so far, None without statistics.
    """

    def __init__(self, layer: PlanLayer, arrays: LayerArrays, options: ReplayOptions) -> None:
        self.layer = layer
        self.arrays = arrays
        self.tally = LayerTally()
        self.columns = ColumnTally.empty(layer, arrays) if options.statistics else None
        self._reader = options.reader or best_reader()
        self._cycles = input_cycles(layer.input_bits, signed=layer.input_signed, dac_bits=layer.dac_bits)
        self._stored = layer.cells.stored(arrays.codes, arrays.centres, layer.tile_rows)
        self._levels = layer.cells.levels().reshape(-1, layer.slices * layer.cells.polarities)
        self._worth = layer.cells.worth().ravel()
        converted = arrays.adc_bits > 0
        loses = (arrays.sums > 0) & ~proved_lossless(layer, arrays)
        read = converted & ((arrays.sums > 0) if options.every_conversion or options.statistics else loses)
        by_plane = (layer.row_groups, len(self._worth), layer.mapped_columns)
        self._read = read.reshape(by_plane)
        self._converted, self._read_count = int(np.count_nonzero(converted)), int(np.count_nonzero(read))
        limits = code_limits(layer.input_bits, signed=layer.input_signed)
        self._integers = ExactProduct.of(arrays.codes, layer.groups, limits)
        apart = (loses | read).reshape(by_plane)  # read one by one, or lost
        self._folded = self._integers
        if apart.any():
            self._folded = ExactProduct.of(self._without(apart), layer.groups, limits)
        self._kept: dict[tuple[int, int], list[Lanes]] | None = None
        if self._read_count * layer.active_rows <= MAX_KEPT_CELLS:
            self._kept = {}

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
        reads = len(driven) * len(self._cycles)
        self.tally.conversions += reads * self._converted
        self.tally.proved += reads * (self._converted - self._read_count)
        self.tally.results += results.size
        if self._folded is not self._integers:
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
            highest=np.zeros(len(lanes.column), np.int32),
            histogram=self.columns.histogram.reshape(len(self._worth), len(self._cycles), -1),
            bin_width=self.columns.bin_width,
        )

    def _add_counts(self, row_group: int, lanes: Lanes, counts: LaneCounts) -> None:
        self.tally.clipped += int(counts.clipped.sum())
        if self.columns is not None:
            shape = (len(self._worth), self.layer.mapped_columns)
            where = (lanes.plane, lanes.column)
            self.columns.clipped[row_group].reshape(shape)[where] += counts.clipped
            highest = self.columns.highest[row_group].reshape(shape)
            assert counts.highest is not None
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
        rows = np.s_[row_group * layer.active_rows : (row_group + 1) * layer.active_rows]
        plane, column = np.nonzero(self._read[row_group][:, columns])
        if not len(plane):
            return

        def of_lanes(values: NDArray[Any]) -> NDArray[np.int32]:
            by_plane = values[row_group].reshape(len(self._worth), -1)[:, columns]
            return np.asarray(by_plane[plane, column], np.int32)

        top, step = (1 << of_lanes(arrays.adc_bits)) - 1, of_lanes(arrays.adc_step)
        rounded = of_lanes(arrays.gcds) % step > 0
        sums = of_lanes(arrays.sums)
        lane_bits = np.select([sums < 1 << 8, sums < 1 << 16], [8, 16], 32)
        stored = self._stored[rows, columns].astype(np.intp)
        for bits, rounds in sorted(set(zip(lane_bits.tolist(), rounded.tolist(), strict=True))):
            which = np.flatnonzero((lane_bits == bits) & (rounded == rounds))
            yield Lanes(
                cells=np.ascontiguousarray(self._levels[stored[:, column[which]], plane[which]]),
                top=top[which].astype(np.int32),
                step=step[which],
                worth=self._worth[plane[which]],
                column=(column[which] + group * width).astype(np.int32),
                plane=plane[which].astype(np.int32),
                lane_bits=bits,
                rounded=rounds,
            )

    def _without(self, apart: NDArray[np.bool_]) -> NDArray[np.int64]:
        """The weight codes less what the slice columns `apart` (R, S * P, N) hold of them, (K, N)."""
        codes = self.arrays.codes.astype(np.int64)
        rows = self.layer.active_rows
        for row_group, planes in enumerate(apart):
            part = np.s_[row_group * rows : (row_group + 1) * rows]
            stored = self._stored[part].astype(np.intp)
            for plane in np.flatnonzero(planes.any(axis=1)):
                codes[part] -= self._worth[plane] * np.where(planes[plane], self._levels[stored, plane], 0)
        return codes


class Replayer:
    """Runs a plan on batches of inputs.

    Args:
        plan: from a folder or straight from the compiler.
        options: how.

    Attributes:
        loaded: the plan.
        engines: of every layer, by its name.

    Raises:
        ModelError: BSC307 if recorded column sums are not those of the cells: the proofs rest on them.
    """

    def __init__(self, plan: Plan, options: ReplayOptions | None = None) -> None:
        self.loaded = LoadedPlan(plan)
        self.engines: dict[str, LayerEngine] = {}
        for name, (layer, arrays) in self.loaded.layers.items():
            check_column_stats(layer, arrays)
            self.engines[name] = LayerEngine(layer, arrays, options or ReplayOptions())

    @property
    def tallies(self) -> dict[str, LayerTally]:
        """Totals of every layer so far, by its name."""
        return {name: engine.tally for name, engine in self.engines.items()}

    @property
    def exact(self) -> bool:
        """Whether every result replayed so far equals the quantised integer model on the same inputs."""
        return all(tally.differing == 0 for tally in self.tallies.values())

    def quantised(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Outputs of the quantised integer model for one batch of every model input."""
        return self.loaded.run(feeds, lambda name, codes: self.engines[name].integers(codes))

    def replayed(self, feeds: Mapping[str, NDArray[Any]], keep: Collection[str] = ()) -> dict[str, NDArray[Any]]:
        """Outputs of the crossbars for one batch of every model input; adds to the tallies.

        Args:
            feeds: the batch.
            keep: further tensors to return.
        """
        return self.loaded.run(feeds, lambda name, codes: self.engines[name].results(codes), keep)


def check_column_stats(layer: PlanLayer, arrays: LayerArrays) -> None:
    """Recompute what the proofs rest on from the cells themselves.

    Raises:
        ModelError: BSC307 if they are not what the plan records.
    """
    stored = layer.cells.stored(arrays.codes, arrays.centres, layer.tile_rows)
    stats = stored_stats(stored, layer.cells, layer.active_rows)
    for name in ("sums", "gcds", "nonzeros"):
        differing = int(np.count_nonzero(getattr(stats, name) != getattr(arrays, name)))
        if differing:
            raise ModelError(
                "BSC307",
                f"layer '{layer.name}': the recorded '{name}' are not those of its cells",
                seen=f"{differing} slice columns differ",
                fix="compile the model again",
            )
