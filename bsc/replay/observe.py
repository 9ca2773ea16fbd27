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

from bsc.ir.passbase import Observation
from bsc.numeric.column_stats import lossless_bits
from bsc.numeric.damage import Damage, Options, best_options, damage_of
from bsc.numeric.exact import ExactProduct
from bsc.numeric.quantizer import code_limits, input_cycles
from bsc.numeric.sharing import shared, sharing_groups
from bsc.plan.cells import cell_levels
from bsc.plan.document import LayerArrays, Plan, PlanLayer
from bsc.replay.activations import mapped_codes
from bsc.replay.columns import LaneCounts, Lanes, best_reader
from bsc.replay.dataset import Dataset
from bsc.replay.loaded import LoadedPlan

LOT_VALUES = 1 << 22
"""Numbers in the histograms or in the table of one lot of columns: 32 MB."""

MAX_LANES = 1 << 14
MAX_STEP = 255


@dataclass(frozen=True, eq=False, kw_only=True)
class LayerObservation:
    """What was seen of one layer. B is one more than the most bits that any column of it needs to be lossless.

    Attributes:
        vectors: input vectors that were read.
        conversions: of every column: vectors times input cycles.
        unit: what every sum of a column, or of the columns that share its ADC, is a multiple of, uint8 (R, S, P, N).
        highest: largest column sum, unsigned (R, S, P, N).
        beyond: conversions above the highest code of 0, 1, ... bits at a step of one unit, uint32 (R, S, P, N, B).
        step: best step of 0, 1, ... bits, uint8 (R, S, P, N, B); this and what follows only if asked for.
        damage: expected squared error of a result, in squares of the column's cell units, float32 likewise.
        mean: expected error of a result in cell units, float32 likewise, if asked for.
        variance: of the layer's results over vectors, its mean over columns.
    """

    vectors: int
    conversions: int
    unit: NDArray[np.uint8]
    highest: NDArray[np.unsignedinteger]
    beyond: NDArray[np.uint32]
    step: NDArray[np.uint8] | None
    damage: NDArray[np.float32] | None
    mean: NDArray[np.float32] | None
    variance: float


def observe(
    plan: Plan, data: Dataset, wanted: Observation, *, advance: Callable[[int], None] = lambda _: None
) -> dict[str, LayerObservation]:
    """Observe every layer.

    Args:
        plan: of the tiled model; its ADC assignment is not looked at.
        data: calibration data.
        wanted: what of it.
        advance: called with the number of samples whenever some have gone through the model.
    """
    loaded = LoadedPlan(plan)
    kept = _kept_codes(loaded, data, wanted, advance)
    return {
        name: _LayerObserver(layer, arrays, kept.pop(name), wanted).observation()
        for name, (layer, arrays) in loaded.layers.items()
    }


def _kept_codes(
    loaded: LoadedPlan, data: Dataset, wanted: Observation, advance: Callable[[int], None]
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
        samples = len(next(iter(batch.values())))
        share = samples / data.samples
        loaded.run(batch, run_layer)
        advance(samples)
    return {name: np.concatenate(parts) for name, parts in kept.items()}


@dataclass(frozen=True, eq=False)
class _Lot:
    """Columns that are read together.

    Attributes:
        where: their places in an array (R, S, P, N).
        unit: of their sums, int64 (L,).
        histogram: conversions by column, cycle and sum in units, int64 (L, cycles, 2**bits).
        highest: largest sum in units, int32 (L,).
    """

    where: tuple[Any, ...]
    unit: NDArray[np.int64]
    histogram: NDArray[np.int64]
    highest: NDArray[np.int32]


class _LayerObserver:
    """Reads the columns of one layer."""

    def __init__(
        self, layer: PlanLayer, arrays: LayerArrays, codes: NDArray[np.signedinteger], wanted: Observation
    ) -> None:
        self.layer = layer
        self.arrays = arrays
        self.codes = codes
        self.wanted = wanted
        self.cycles = input_cycles(layer.input_bits, signed=layer.input_signed, dac_bits=layer.dac_bits)
        starts = layer.column_tiles()[1]
        self.groups = sharing_groups(wanted.granularity, arrays.sums.shape, starts, layer.groups_per_tile)
        self.unit = np.maximum(shared(np.gcd, arrays.gcds, self.groups), 1)
        self.bits = lossless_bits(arrays.sums.astype(np.uint32) * np.uint32(layer.max_drive), self.unit)
        self.width = int(self.bits.max(initial=0)) + 1

    def observation(self) -> LayerObservation:
        """All that is wanted."""
        shape = self.unit.shape
        highest, beyond = np.zeros(shape, np.uint32), np.zeros((*shape, self.width), np.uint32)
        step = damage = mean = None
        if self.wanted.damage:
            step = np.repeat(self.unit[..., None], self.width, axis=-1)
            damage = np.zeros((*shape, self.width), np.float32)
        if self.wanted.mean:
            mean = np.zeros((*shape, self.width), np.float32)
        common = self._common_steps() if self.wanted.damage and self.groups is not None else None
        for lot in self._lots():
            highest[lot.where] = lot.highest * lot.unit
            counts = lot.histogram.sum(axis=1)
            above = counts.sum(axis=1, keepdims=True) - np.cumsum(counts, axis=1)
            tops = (1 << np.arange(counts.shape[1].bit_length())) - 1
            beyond[(*lot.where, slice(len(tops)))] = above[:, tops]
            if step is None or damage is None:
                continue
            options = Options.up_to(counts.shape[1] - 1) if common is None else common[0]
            found = self._damage(lot, options)
            best = best_options(found.damage, options) if common is None else common[1][self._groups_of(lot)]
            here = (*lot.where, slice(best.shape[1]))
            step[here] = options.factor[best] * lot.unit[:, None]
            damage[here] = np.take_along_axis(found.damage, best, axis=1)
            if mean is not None:
                mean[here] = np.take_along_axis(found.mean, best, axis=1)
        limits = code_limits(self.layer.input_bits, signed=self.layer.input_signed)
        results = ExactProduct.of(self.arrays.codes, self.layer.groups, limits)(self.codes)
        return LayerObservation(
            vectors=len(self.codes),
            conversions=len(self.codes) * len(self.cycles),
            unit=self.unit,
            highest=highest,
            beyond=beyond,
            step=step,
            damage=damage,
            mean=mean,
            variance=float(f"{results.var(axis=0).mean():.3g}") if results.size else 0.0,  # as in `sensitivity`
        )

    def _common_steps(self) -> tuple[Options, NDArray[np.int64]]:
        """Options, and the best of each group and number of bits (groups, B): those of least damage to all of it."""
        assert self.groups is not None
        options = Options.up_to((1 << self.width - 1) - 1)
        total = np.zeros((int(self.groups.max(initial=0)) + 1, len(options.bits)))
        for lot in self._lots():
            np.add.at(total, self._groups_of(lot), self._damage(lot, options).damage)
        return options, best_options(total, options)

    def _groups_of(self, lot: _Lot) -> NDArray[np.int64]:
        assert self.groups is not None
        return np.asarray(self.groups[lot.where])

    def _damage(self, lot: _Lot, options: Options) -> Damage:
        found = damage_of(lot.histogram, options, self.cycles, lot.unit)
        found.damage[lot.unit[:, None] * options.factor > MAX_STEP] = np.inf
        return found

    def _lots(self) -> Iterator[_Lot]:
        """Columns of one row group, convolution group and number of lossless bits, as many as fit."""
        layer, arrays = self.layer, self.arrays
        width = layer.mapped_columns // max(1, layer.groups)
        for row_group, group in np.ndindex(layer.row_groups, layer.groups):
            rows = np.s_[row_group * layer.active_rows : (row_group + 1) * layer.active_rows]
            codes = np.ascontiguousarray(self.codes[:, group, rows], np.int32)
            levels = cell_levels(layer, arrays, row_group, np.s_[group * width : (group + 1) * width])
            bits = self.bits[row_group, ..., group * width : (group + 1) * width]
            for needed in np.unique(bits[bits > 0]).tolist():
                slice_, polarity, column = np.nonzero(bits == needed)
                most = min(MAX_LANES, max(1, LOT_VALUES // (len(self.cycles) << needed)))
                for start in range(0, len(column), most):
                    part = np.s_[start : start + most]
                    cells = levels[:, column[part], slice_[part], polarity[part]]
                    where = (
                        np.full(cells.shape[1], row_group),
                        slice_[part],
                        polarity[part],
                        column[part] + group * width,
                    )
                    unit = self.unit[where].astype(np.int64)
                    cells = cells // unit
                    yield self._read(where, unit, cells.astype(np.uint8), codes, needed)

    def _read(
        self,
        where: tuple[Any, ...],
        unit: NDArray[np.int64],
        cells: NDArray[np.uint8],
        codes: NDArray[np.int32],
        bits: int,
    ) -> _Lot:
        """Read lanes whose result nobody wants, each with a histogram of its own."""
        count, top = len(unit), int(cells.sum(axis=0, dtype=np.int64).max(initial=0))
        lanes = Lanes(
            cells=np.ascontiguousarray(cells),
            low=np.zeros(count, np.int32),
            top=np.full(count, np.iinfo(np.int32).max, np.int32),
            step=np.ones(count, np.int32),
            worth=np.zeros(count, np.int64),
            column=np.zeros(count, np.int32),
            plane=np.arange(count, dtype=np.int32),
            lane_bits=next(size for size in (8, 16, 32) if top < 1 << size),
            rounded=False,
        )
        counts = LaneCounts(
            clipped=np.zeros(count, np.int64),
            lowest=np.zeros(count, np.int32),
            highest=np.zeros(count, np.int32),
            histogram=np.zeros((count, len(self.cycles), 1 << bits), np.int64),
        )
        best_reader()(lanes, codes, self.cycles, np.zeros((len(codes), 1), np.int64), counts)
        assert counts.highest is not None
        assert counts.histogram is not None
        return _Lot(where, unit, counts.histogram, counts.highest)
