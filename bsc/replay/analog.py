"""One physical crossbar with device effects: programmed once, then read; see `bsc.hardware.device` for the effects.

Everything is in cell units, the column sum of one cell at level 1 that is driven with digit 1. A cell at level c
conducts c + o of them, the off current being o = max_level / (on_off_ratio - 1). The model is linear: a row driven
with digit a has a times the voltage of digit 1, and the transistors of a row at digit 0 are off, so that it carries
no current. Wires: row 0 is farthest from the converters, column 0 is next to the row drivers.

IR drop, to first order in wire resistance times conductance (r and g; tests compare it with a nodal analysis):

    bitline    segment m carries I_m = sum_{i<=m} a_i g_i and so lifts rows 0..m, which conduct G_m = sum_{i<=m} g_i
               over driven rows, by r I_m. The column loses L = r sum_m I_m G_m, for binary digits r sum_m I_m^2.
    wordline   segment n carries a_i sum_{k>=n} g_ik, so that cell j loses the share d_ij = r sum_{n<=j} sum_{k>=n} g_ik
               of its current. It does not depend on the digit and is folded into the cell.

Both are applied as y / (1 + L / y) and g / (1 + d): the same to first order, exact for a single cell, and never
negative. A read whose first order may err by more than a tenth of a converter's step is solved exactly, by
`bsc.replay.nodal`, which also says how that is judged.

Results depend neither on the matrix library and its threads nor on how vectors are split over calls: cells are rounded
to `CELL_GRID` and variances to a power of two, so that matrix products are exact in whatever order they are summed up,
and all else is elementwise. Noise is drawn in the order of vectors, then columns.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.random import Generator, SeedSequence
from numpy.typing import NDArray

from bsc.errors import UsageError
from bsc.hardware.device import Device, Drift, Spread
from bsc.hardware.device_tables import magnitude
from bsc.replay.analog_sums import column_sums
from bsc.replay.nodal import TOLERANCE, Network

CELL_GRID: Final = 2.0**-12
"""Cells are whole multiples of this; the rounding adds 0.0008 cell units to a sum of 128 rows, root mean square."""

# Below this many grid steps every product and sum is exact in the type, and so is the rounding of a quotient.
_EXACT_FLOAT32: Final = 1 << 23
_EXACT_FLOAT64: Final = 1 << 52
_CHUNK_VALUES: Final = 1 << 16


class Streams(NamedTuple):
    """Independent random streams of one crossbar in one trial.

    Attributes:
        programming: for `program`.
        read: for `ProgrammedCrossbar.sums`, in the order of the vectors.
        adc: for `ProgrammedCrossbar.convert`, in the order of the vectors.
    """

    programming: Generator
    read: Generator
    adc: Generator


def streams(seed: int, *key: int) -> Streams:
    """The random streams of one crossbar: the same for the same seed and key, independent for any other.

    Leaving a crossbar out, or an effect, changes nothing in the others.

    Args:
        seed: of the whole run, 0 or more.
        key: what tells this crossbar apart, such as trial, layer, row tile, slice and polarity; each 0 or more.
    """
    return Streams(*(np.random.default_rng(child) for child in SeedSequence(seed, spawn_key=key).spawn(3)))


@dataclass(frozen=True, eq=False)
class ProgrammedCrossbar:
    """The cells of one crossbar in one trial; from `program`. C' is C, or C + 1 with a reference column, the last.

    Attributes:
        cells: conductances (R, C') in cell units, off current and wordline loss included, on `CELL_GRID`.
        variances: of the read noise of each cell (R, C') in squares of cell units; None without.
        bitline: share of its own current that one cell unit loses in one bitline segment.
        reference: whether the last column is subtracted from the others.
        max_digit: largest digit that a row may be driven with.
        network: its wires, where some read may need more than the first order; None where none does.
        adc_gain: relative error of each column's converter (C,); None without.
        adc_offset: error of each column's converter (C,) in cell units.
        adc_noise: standard deviation of a conversion in cell units.
    """

    cells: NDArray[np.floating[Any]]
    variances: NDArray[np.float32] | None
    bitline: float
    reference: bool
    max_digit: int
    network: Network | None
    adc_gain: NDArray[np.float64] | None
    adc_offset: NDArray[np.float64]
    adc_noise: float

    @property
    def columns(self) -> int:
        """Columns with a converter, C."""
        return int(self.cells.shape[1]) - self.reference

    def sums(self, digits: NDArray[Any], generator: Generator) -> NDArray[np.floating[Any]]:
        """Analogue column sums in front of the converters.

        Args:
            digits: (V, R), whole, 0 to `max_digit`; rows at 0 are not driven.
            generator: of the read noise; C + 1 normal deviates are drawn for every vector, none without the effect.

        Returns:
            (V, C) in cell units. Below 0 only with noise or a reference column.
        """
        result = np.empty((len(digits), self.columns), self.cells.dtype)
        chunk = max(1, _CHUNK_VALUES // max(1, self.cells.shape[1]))
        for start in range(0, len(digits), chunk):
            part = np.s_[start : start + chunk]
            sums, lost, variances = column_sums(digits[part], self.cells, self.variances, self.bitline)
            if self.network is not None:
                far = self.network.beyond_first_order(sums, lost)
                sums[far] = self.network.sums(digits[part][far])
            if variances is not None:
                deviates = generator.standard_normal((len(sums), self.columns + 1), np.float32)
                np.sqrt(variances, out=variances)
                variances *= deviates[:, : sums.shape[1]]
                sums += variances
            result[part] = sums[:, :-1] - sums[:, -1:] if self.reference else sums
        return result

    def convert(
        self,
        sums: NDArray[np.floating[Any]],
        bits: NDArray[Any] | int,
        step: NDArray[Any] | float,
        generator: Generator,
        *,
        low: NDArray[Any] | int = 0,
    ) -> NDArray[np.floating[Any]]:
        """Convert column sums with this crossbar's converters; the result is that of the function `convert`."""
        return convert(
            sums,
            bits,
            step,
            low=low,
            gain=self.adc_gain,
            offset=self.adc_offset,
            noise=self.adc_noise,
            generator=generator,
        )


def program(
    levels: NDArray[np.integer[Any]],
    max_level: int,
    device: Device,
    generator: Generator,
    *,
    max_digit: int = 1,
    chip: float = 0.0,
    stuck_levels: NDArray[np.int64] | None = None,
    step: NDArray[Any] | float = 1.0,
) -> ProgrammedCrossbar:
    """Program the cells of one crossbar.

    Deviations beyond 0 conductance are cut off there. Whatever follows the conductance follows a cell's target. Stuck
    cells keep the on or off conductance exactly, do not drift and are not warmed.

    Args:
        levels: (R, C), each in 0..max_level, of the wordlines and bitlines that are in use; row R - 1 is next to
            the converters and column 0 next to the row drivers.
        max_level: level of the on conductance, 1 or more.
        device: its effects.
        generator: children of it draw stuck cells, programming errors and drift exponents, each (R, C + 1), converter
            offsets (C,), errors of rows (R,) and of columns (C + 1,) and converter gains (C,), so that no effect shifts
            the deviates of another; a converter that is shared has the first of them.
        max_digit: largest digit that `sums` will be given.
        chip: standard normal deviate of the chip that the crossbar is on.
        stuck_levels: levels (R, C) that cells are known to be stuck at, below 0 where they are not.
        step: smallest step in cell units that each column (C,) or all are converted with.
    """
    assert max_level >= 1, max_level
    assert levels.size == 0 or 0 <= levels.min() <= levels.max() <= max_level, levels
    reference = device.off_current is not None and device.off_current.reference_column
    off = 0.0 if device.off_current is None else max_level / (device.off_current.on_off_ratio.value - 1)
    on = max_level + off
    index = np.pad(levels.astype(np.intp), ((0, 0), (0, int(reference))))
    ladder: NDArray[np.float64] = (
        np.arange(max_level + 1, dtype=np.float64) + off
    )  # what follows the target is computed once for each level
    draws = _Draws(random=_children(generator, 7), columns=levels.shape[1], chip=chip)
    cells = ladder[index] + _deviations(device, ladder, index, draws)
    np.maximum(cells, 0, out=cells)
    voltage = 1.0 if device.drift is None else _drift(cells, device.drift, ladder, index, draws)
    if device.temperature is not None and not device.temperature.is_zero:
        cells *= device.temperature.factors(ladder / on)[index]
    if device.stuck_at is not None:
        chance = draws.of_cells(draws.random(0).random, index)
        cells[chance < (0.0 if device.stuck_at.on is None else device.stuck_at.on.value)] = on
        cells[chance >= 1 - (0.0 if device.stuck_at.off is None else device.stuck_at.off.value)] = off
    if stuck_levels is not None:
        known = np.s_[:, : levels.shape[1]]
        cells[known] = np.where(stuck_levels >= 0, stuck_levels + off, cells[known])

    variances = None
    if device.read_noise is not None and not device.read_noise.is_zero:
        variances = device.read_noise.variance(cells, on=on, off=off)
    bitline, network = 0.0, None
    if device.ir_drop is not None and not device.ir_drop.is_zero:
        segment = 1 / (device.ir_drop.on_ohm.value * on)
        bitline = magnitude(device.ir_drop.bitline_ohm) * segment
        wordline = magnitude(device.ir_drop.wordline_ohm) * segment
        tolerance = TOLERANCE * np.broadcast_to(np.asarray(step, np.float64), (levels.shape[1],))
        if reference:
            tolerance = np.append(tolerance, tolerance.min(initial=TOLERANCE))
        network = Network(cells=cells.copy(), wordline=wordline, bitline=bitline, voltage=voltage, tolerance=tolerance)
        kept = _wordline_share(cells, wordline)
        cells *= kept
        variances = None if variances is None else variances * kept**2
    cells *= voltage
    bitline /= voltage  # of a column's own current, which the voltage has raised with the load of its cells
    on_grid = _on_grid(cells, max_digit)
    if network is not None and not _strays(network, on_grid, bitline, max_digit):
        network = None
    variances = None if variances is None else variances * voltage**2
    adc_offset, adc_gain = np.zeros(levels.shape[1]), None
    if device.adc_offset is not None:
        adc_offset += device.adc_offset.sigma_cells.value * draws.of_converters(3, shared=device.adc_offset.shared)
    if device.adc_gain is not None and not device.adc_gain.is_zero:
        adc_gain = device.adc_gain.sigma.value * draws.of_converters(6, shared=device.adc_gain.shared)
    return ProgrammedCrossbar(
        cells=on_grid,
        variances=None if variances is None else _exact_variances(variances, max_digit),
        bitline=bitline,
        reference=reference,
        max_digit=max_digit,
        network=network,
        adc_gain=adc_gain,
        adc_offset=adc_offset,
        adc_noise=0.0 if device.adc_noise is None else device.adc_noise.sigma_cells.value,
    )


@dataclass(frozen=True, eq=False, kw_only=True)
class _Draws:
    """Where the deviates of a crossbar come from.

    Attributes:
        random: generators by number: 0 stuck cells, 1 errors of cells, 2 drift, 3 offsets, 4 rows, 5 columns, 6 gains.
        columns: C; deviates are drawn for one more, so that a reference column moves none of the others.
        chip: standard normal deviate of the chip.
    """

    random: Callable[[int], Generator]
    columns: int
    chip: float

    def of_cells(self, draw: Callable[[tuple[int, int]], NDArray[Any]], index: NDArray[np.intp]) -> NDArray[Any]:
        """One for each of the cells (R, C')."""
        return draw((index.shape[0], self.columns + 1))[:, : index.shape[1]]

    def of_converters(self, number: int, *, shared: bool) -> NDArray[np.float64]:
        """One for the converter of each column (C,)."""
        own = self.random(number).standard_normal(self.columns)
        return np.repeat(own[:1], self.columns) if shared else own


def _deviations(
    device: Device, ladder: NDArray[np.float64], index: NDArray[np.intp], draws: _Draws
) -> NDArray[np.float64]:
    """How far each cell (R, C') is programmed from its target.

    Args:
        device: its effects.
        ladder: target of each level (L,) in cell units.
        index: levels of the cells (R, C').
        draws: of deviates.
    """
    on, off = float(ladder[-1]), float(ladder[0])
    rows, columns = index.shape
    result = np.zeros(index.shape)
    if device.programming_error is not None:
        deviates = draws.of_cells(draws.random(1).standard_normal, index)
        result += device.programming_error.deviations(ladder, index, deviates, on=on, off=off)
    shared: tuple[tuple[Spread | None, Callable[[], NDArray[np.float64] | float]], ...] = (
        (device.chip_error, lambda: draws.chip),
        (device.row_error, lambda: draws.random(4).standard_normal((rows, 1))),
        (device.column_error, lambda: draws.random(5).standard_normal(draws.columns + 1)[:columns]),
    )
    for spread, deviate in shared:
        if spread is not None:
            result += np.sqrt(spread.variance(ladder, on=on, off=off))[index] * deviate()
    return result


def _drift(
    cells: NDArray[np.float64], drift: Drift, ladder: NDArray[np.float64], index: NDArray[np.intp], draws: _Draws
) -> float:
    """Let the cells (R, C') drift, in place; what the voltage of the read is multiplied by to make up for it."""
    if drift.is_zero:
        return 1.0
    deviates = draws.of_cells(draws.random(2).standard_normal, index)
    before = cells.sum()
    cells *= np.exp(-drift.exponents(ladder / ladder[-1], index, deviates) * drift.log_time)
    return float(before / cells.sum()) if drift.compensated and cells.sum() > 0 else 1.0


def _children(generator: Generator, count: int) -> Callable[[int], Generator]:
    """Those of `Generator.spawn`, each made when it is asked for: it takes long, and most effects are left out."""
    sequence = generator.bit_generator.seed_seq
    assert isinstance(sequence, SeedSequence)
    seeds = sequence.spawn(count)
    return lambda number: Generator(type(generator.bit_generator)(seeds[number]))


def convert(
    sums: NDArray[np.floating[Any]],
    bits: NDArray[Any] | int,
    step: NDArray[Any] | float,
    *,
    low: NDArray[Any] | int = 0,
    gain: NDArray[np.float64] | None = None,
    offset: NDArray[np.float64] | float = 0.0,
    noise: float = 0.0,
    generator: Generator | None = None,
) -> NDArray[np.floating[Any]]:
    """Convert column sums: `step * code`, code = round((y + gain y + error) / step) within low..low + 2**bits - 1.

    Halves go to the even code.

    Args:
        sums: (V, C) in cell units.
        bits: resolution of each column (C,) or of all; a column of 0 bits is not converted and gives 0.
        step: cell units of one code, (C,) or for all, above 0.
        low: lowest code, (C,) or for all.
        gain: static error of each column (C,) over what it reads, or None.
        offset: static error of each column (C,) or of all, in cell units.
        noise: standard deviation of a conversion, in cell units.
        generator: of the noise; C normal deviates are drawn for every vector, none if `noise` is 0.

    Returns:
        (V, C), whole multiples of `step`, in the type of `sums`.
    """
    dtype = sums.dtype
    codes = (sums if gain is None else sums * (1 + gain).astype(dtype)) + np.asarray(offset, dtype)
    if noise:
        assert generator is not None
        codes += dtype.type(noise) * generator.standard_normal(sums.shape, np.float32)
    steps = np.asarray(step, dtype)
    codes /= steps
    np.rint(codes, out=codes)
    np.clip(codes, np.asarray(low, dtype), (low + 2.0 ** np.asarray(bits) - 1).astype(dtype), out=codes)
    codes *= steps
    return codes


def _wordline_share(cells: NDArray[np.float64], segment: float) -> NDArray[np.float64]:
    """What is left of each cell's current after the loss d of the module's docstring."""
    carried = np.cumsum(cells[:, ::-1], axis=1)[:, ::-1]
    share: NDArray[np.float64] = 1 / (1 + segment * np.cumsum(carried, axis=1))
    return share


def _strays(network: Network, cells: NDArray[Any], bitline: float, max_digit: int) -> bool:
    """Whether the heaviest read, which drives every row as far as it goes, needs more than the first order."""
    heaviest = column_sums(np.full((1, len(cells)), max_digit, np.float32), cells, None, bitline)
    return bool(network.beyond_first_order(heaviest.sums, heaviest.lost).any())


def _on_grid(cells: NDArray[np.float64], max_digit: int) -> NDArray[np.floating[Any]]:
    """Round to the grid, in the smallest type that holds every column sum exactly; whole cells have a grid of 1."""
    rounded = np.rint(cells / CELL_GRID) * CELL_GRID
    grid = 1.0 if np.array_equal(rounded, np.rint(rounded)) else CELL_GRID
    bound = max_digit * rounded.sum(axis=0).max(initial=0) / grid
    if not bound <= _EXACT_FLOAT64:
        raise UsageError(
            "BSC206",
            "the device's cells conduct too much to be added up",
            seen=f"column sums of {bound * grid:.3g} cell units",
            fix="make its programming error smaller or its on/off ratio larger",
        )
    return rounded.astype(np.float32 if bound <= _EXACT_FLOAT32 else np.float64)


def _exact_variances(variances: NDArray[np.float64], max_digit: int) -> NDArray[np.float32]:
    """Round to the finest power of two at which float32 holds the variance of every column exactly."""
    bound = max_digit**2 * len(variances) * variances.max(initial=0)
    _, exponent = np.frexp(bound)
    grid = np.ldexp(1.0, int(exponent) - 23)
    return np.asarray(np.rint(variances / grid) * grid, np.float32)
