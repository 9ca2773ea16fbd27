"""Replay of a plan on real devices: the exact replay with `bsc.replay.analog` in place of the column sums and ADCs.

Every crossbar is programmed once a trial. It has random streams of its own, and reads its vectors in order, so that
neither the size of a batch nor an effect that is left out changes what another crossbar draws. Threads share the
crossbars of a layer; what they read is whole and added exactly, so that neither their number nor their order matters.
"""

import itertools
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.random import Generator, SeedSequence
from numpy.typing import NDArray

from bsc.hardware.device import Device
from bsc.mapping.arrays import LayerArrays
from bsc.mapping.fault_map import LayerFaults
from bsc.mapping.layer import MappedLayer
from bsc.numeric.exact import ExactProduct
from bsc.numeric.quantizer import code_limits, input_cycles
from bsc.plan.cells import CrossbarIndex, crossbar_cells, crossbar_columns
from bsc.plan.correction import corrections
from bsc.replay.activations import mapped_codes
from bsc.replay.analog import ProgrammedCrossbar, Streams, program, streams
from bsc.replay.loaded import PlanRunner

Item = TypeVar("Item")
Found = TypeVar("Found")

CHUNK_DIGITS = 1 << 18
"""Digits that a thread drives a crossbar with at a time, to stay in its cache."""


@dataclass(frozen=True, eq=False)
class _Crossbar:
    """A programmed crossbar, or a pair whose currents are subtracted, and what its readings are for.

    A row groups, C columns in use.

    Attributes:
        programmed: its cells; the converters are those of the first.
        polarities: 1 or -1 for each of them.
        random: their streams.
        groups: convolution groups on it.
        rows: of the layer, on its wordlines once for each group.
        columns: of the layer, on its bitlines.
        bits: resolutions (A, C).
        step: cell units of a code (A, C).
        low: lowest codes (A, C).
        place_values: of a cell unit in a weight code (A, C).
    """

    programmed: tuple[ProgrammedCrossbar, ...]
    polarities: tuple[int, ...]
    random: tuple[Streams, ...]
    groups: slice
    rows: slice
    columns: slice
    bits: NDArray[Any]
    step: NDArray[Any]
    low: NDArray[Any]
    place_values: NDArray[np.int64]


class NoisyLayer:
    """Computes the results of one layer on devices of one trial.

    Args:
        layer: the layer.
        arrays: its arrays.
        device: the effects.
        seed: of the run.
        key: what tells this trial and layer from others.
        chip: standard normal deviate of the chip that the layer is on.
        faults: cells that are known to be stuck, or None.
        jobs: threads.
    """

    def __init__(
        self,
        layer: MappedLayer,
        arrays: LayerArrays,
        device: Device,
        seed: int,
        key: tuple[int, ...],
        *,
        chip: float = 0.0,
        faults: LayerFaults | None = None,
        jobs: int = 1,
    ) -> None:
        self.layer = layer
        self.arrays = arrays
        self._chip = chip
        self._faults = faults
        self._jobs = jobs
        self._cycles = input_cycles(layer.input_bits, signed=layer.input_signed, dac_bits=layer.dac_bits)
        self._crossbars = _shared_out(
            lambda read: self._program(device, read, seed, key), self._read_together(), self._jobs
        )
        whole = np.repeat(corrections(layer, arrays), layer.active_rows, axis=0)[: layer.mapped_rows]
        limits = code_limits(layer.input_bits, signed=layer.input_signed)
        self._corrections = ExactProduct.of(whole, layer.groups, limits)

    def results(self, codes: NDArray[Any]) -> NDArray[np.float64]:
        """Results (V, N) over the mapped columns from input codes (V, G, K) over the model's rows."""
        driven = mapped_codes(self.arrays, codes)
        results = self._corrections(driven)
        reads = len(self._cycles) * min(self.layer.groups_per_tile, self.layer.row_groups)
        lock = threading.Lock()

        def add(crossbar: _Crossbar) -> None:
            here = driven[:, crossbar.groups, crossbar.rows]
            chunk = max(1, CHUNK_DIGITS // max(1, reads * here[0].size)) if len(here) else 1
            for start in range(0, len(here), chunk):
                part = np.s_[start : start + chunk]
                read = self._read(crossbar, here[part].astype(np.int32))
                with lock:
                    results[part, crossbar.columns] += read

        _shared_out(add, self._crossbars, self._jobs)
        return results if self.arrays.correction is None else results + self.arrays.correction

    def _read(self, crossbar: _Crossbar, inputs: NDArray[np.int32]) -> NDArray[np.float64]:
        """Drive input codes (V, groups, rows) digit by digit; shift-and-add over cycles and row groups, (V, C)."""
        vectors, row_groups = len(inputs), len(crossbar.bits)
        digits = np.zeros((vectors, len(self._cycles), row_groups, *inputs.shape[1:]), np.float32)
        active = self.layer.active_rows
        for (cycle, (shift, width, _)), group in itertools.product(enumerate(self._cycles), range(row_groups)):
            rows = np.s_[group * active : (group + 1) * active]
            digits[:, cycle, group, :, rows] = (inputs[:, :, rows] >> shift) & ((1 << width) - 1)
        flat = digits.reshape(-1, inputs[0].size)
        parts = zip(crossbar.programmed, crossbar.polarities, crossbar.random, strict=True)
        sums = sum(sign * programmed.sums(flat, random.read) for programmed, sign, random in parts)
        repeats = vectors * len(self._cycles)
        bits, step, low = (
            values[0] if row_groups == 1 else np.tile(values, (repeats, 1))
            for values in (crossbar.bits, crossbar.step, crossbar.low)
        )
        read = crossbar.programmed[0].convert(np.asarray(sums), bits, step, crossbar.random[0].adc, low=low)
        cycles = np.array([sign * 2.0**shift for shift, _, sign in self._cycles])
        by_cycle = read.reshape(vectors, len(self._cycles), row_groups, -1)
        return np.asarray(np.einsum("vcgn,c,gn->vn", by_cycle, cycles, crossbar.place_values, dtype=np.float64))

    def _read_together(self) -> list[list[CrossbarIndex]]:
        """The crossbars that exist, each by itself, or pairs of those that are subtracted before their conversion."""
        paired = self.layer.cells.conversions < self.layer.cells.polarities
        together: dict[tuple[int, ...], list[CrossbarIndex]] = {}
        for t, c, s, p in np.argwhere(self.arrays.allocated).tolist():
            index = CrossbarIndex(row_tile=t, column_tile=c, slice=s, polarity=p)
            together.setdefault((t, c, s) if paired else (t, c, s, p), []).append(index)
        return list(together.values())

    def _program(self, device: Device, indices: list[CrossbarIndex], seed: int, key: tuple[int, ...]) -> _Crossbar:
        layer, arrays = self.layer, self.arrays
        index = indices[0]
        random = [streams(seed, *key, each.row_tile, each.column_tile, each.slice, each.polarity) for each in indices]
        columns = crossbar_columns(layer, index.column_tile)
        paired = layer.cells.analog_pairs
        conversion = 0 if paired else index.polarity
        width = layer.mapped_columns // layer.groups
        groups = layer.groups_per_tile
        here = np.s_[
            index.row_tile * groups : (index.row_tile + 1) * groups,
            index.slice,
            conversion,
            columns.start : columns.stop,
        ]
        place_values = int(layer.cells.read_place_values()[index.slice, conversion])
        smallest_step = arrays.adc_lsb[here].min(axis=0) / len(indices)  # the errors of a pair add up
        return _Crossbar(
            programmed=tuple(
                self._programmed(device, each, streams_.programming, smallest_step)
                for each, streams_ in zip(indices, random, strict=True)
            ),
            polarities=tuple(-1 if paired and each.polarity else 1 for each in indices),
            random=tuple(random),
            groups=slice(columns.start // width, (columns.stop - 1) // width + 1),
            rows=slice(index.row_tile * layer.tile_rows, (index.row_tile + 1) * layer.tile_rows),
            columns=slice(columns.start, columns.stop),
            bits=arrays.adc_bits[here],
            step=arrays.adc_lsb[here],
            low=arrays.lowest_codes[here],
            place_values=place_values * arrays.signs[here].astype(np.int64),
        )

    def _programmed(
        self, device: Device, index: CrossbarIndex, generator: Generator, step: NDArray[Any]
    ) -> ProgrammedCrossbar:
        levels = crossbar_cells(self.layer, self.arrays, index)
        stuck = None
        if self._faults is not None:
            place = (index.row_tile, index.column_tile, index.slice, index.polarity)
            stuck = self._faults.levels(place, *levels.shape)
        return program(
            levels,
            self.layer.cells.max_level,
            device,
            generator,
            max_digit=self.layer.max_digit,
            chip=self._chip,
            stuck_levels=stuck,
            step=step,
        )


def _shared_out(work: Callable[[Item], Found], items: Sequence[Item], jobs: int) -> list[Found]:
    """What `work` gives for each item, by as many threads."""
    if min(jobs, len(items)) <= 1:
        return [work(item) for item in items]
    with ThreadPoolExecutor(min(jobs, len(items))) as pool:
        return list(pool.map(work, items))


class NoisyReplayer:
    """Runs a plan on batches of inputs, its crossbars programmed once.

    Args:
        loaded: the plan; trials may share it.
        device: the effects.
        seed: of the run.
        trial: which trial; each has cells and noise of its own, and all its crossbars are of one chip.
        faults: cells that are known to be stuck in every trial, by layer; none of a layer that is left out.
        jobs: threads; the results are those of one.
    """

    def __init__(
        self,
        loaded: PlanRunner,
        device: Device,
        *,
        seed: int,
        trial: int = 0,
        faults: Mapping[str, LayerFaults] | None = None,
        jobs: int = 1,
    ) -> None:
        self._loaded = loaded
        chip = float(np.random.default_rng(SeedSequence(seed, spawn_key=(trial,))).standard_normal())
        self._layers = {
            name: NoisyLayer(
                layer, arrays, device, seed, (trial, number), chip=chip, faults=(faults or {}).get(name), jobs=jobs
            )
            for number, (name, (layer, arrays)) in enumerate(loaded.layers.items())
        }

    def replayed(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Outputs for one batch of every model input; batches must come in the same order to be repeatable."""
        return self._loaded.run(feeds, lambda name, codes: self._layers[name].results(codes))
