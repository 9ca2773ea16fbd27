"""Each programmed cell by itself: its conductance at the start, its drift exponent and its temperature coefficient.

The readings y of a cell at times t and temperatures T are fitted by least squares to

    y = g (t / start)^-nu (1 + alpha (T - reference)),

with nu only where a cell was read at two times, and alpha only where it was read at two temperatures. What is left is
read noise, which also says how well the three are known.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bsc.errors import ModelError
from bsc.fit.measurements import Measurements

STEPS = 12
"""Of Gauss and Newton; exponents of a few tenths converge in four."""
_LARGEST_EXPONENT = 3.0
_SAME = 1e-9


@dataclass(frozen=True, eq=False, kw_only=True)
class ProgrammedCells:
    """I cells, each programmed to one level; a cell that was programmed to two levels counts twice.

    Attributes:
        cell: number of the cell (I,).
        chip: of the cell (I,).
        level: that it was programmed to (I,).
        conductance: at the start (I,), in siemens.
        exponent: of the drift (I,); NaN where it was read at one time only.
        coefficient: of the temperature (I,), per kelvin; NaN where it was read at one temperature only.
        read_deviation: of a single reading, by level (L,), in siemens; NaN where no cell was read often enough.
        read_freedom: degrees of freedom that this rests on (L,).
        variances: of conductance, exponent and coefficient (3, I), as far as they come from read noise; 0 if unknown.
        start_s: time at which `conductance` holds; None without times.
        reference_k: temperature at which `conductance` holds; None without temperatures.
        last_s: time of the last reading; None without times.
        mean_residuals: mean of what the fit leaves by level and time (L, times), in siemens; NaN without readings.
        times_s: those times, ascending.
    """

    cell: NDArray[np.intp]
    chip: NDArray[np.intp]
    level: NDArray[np.intp]
    conductance: NDArray[np.float64]
    exponent: NDArray[np.float64]
    coefficient: NDArray[np.float64]
    read_deviation: NDArray[np.float64]
    read_freedom: NDArray[np.int64]
    variances: NDArray[np.float64]
    start_s: float | None
    reference_k: float | None
    last_s: float | None
    mean_residuals: NDArray[np.float64]
    times_s: NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class _Readings:
    """What the readings (M,) of all cells were made at.

    Attributes:
        of: the programmed cell of each, 0 to I - 1.
        cells: I.
        log_time: logarithm of the time over the start.
        warmer: kelvin above the reference.
    """

    of: NDArray[np.intp]
    cells: int
    log_time: NDArray[np.float64]
    warmer: NDArray[np.float64]


def programmed_cells(found: Measurements) -> ProgrammedCells:
    """Fit every cell.

    Raises:
        ModelError: BSC316 if time and temperature change together in every cell, or temperature only between cells.
    """
    key = found.cell * found.levels + found.level
    keys, first, of = np.unique(key, return_index=True, return_inverse=True)
    log_time, start_s = _log_times(found)
    warmer, reference_k = _temperatures(found)
    read = _Readings(of=of, cells=len(keys), log_time=log_time, warmer=warmer)
    columns = _identified(found, read)
    fitted = _least_squares(found.conductance, read, columns)
    residuals = found.conductance - _model(fitted, read)
    freedom = np.bincount(of, minlength=len(keys)) - columns.sum(axis=0)
    squares = np.bincount(of, residuals**2, len(keys))
    level = found.level[first]
    level_freedom = np.bincount(level, freedom, found.levels).astype(np.int64)
    mean_squares = np.bincount(level, squares, found.levels) / np.maximum(level_freedom, 1)
    deviation = np.where(level_freedom > 0, np.sqrt(mean_squares), np.nan)
    times = np.zeros(0) if found.time_s is None else np.unique(found.time_s)
    return ProgrammedCells(
        cell=found.cell[first],
        chip=np.zeros(len(keys), np.intp) if found.chip is None else found.chip[first],
        level=level,
        conductance=fitted[0],
        exponent=np.where(columns[1], fitted[1], np.nan),
        coefficient=np.where(columns[2], fitted[2], np.nan),
        read_deviation=deviation,
        read_freedom=level_freedom,
        variances=_variances(fitted, read, columns, np.nan_to_num(deviation)[level]),
        start_s=start_s,
        reference_k=reference_k,
        last_s=None if found.time_s is None else float(times[-1]),
        mean_residuals=_mean_residuals(found, residuals, times),
        times_s=times,
    )


def _log_times(found: Measurements) -> tuple[NDArray[np.float64], float | None]:
    if found.time_s is None:
        return np.zeros(len(found.cell)), None
    start = float(found.time_s.min())
    return np.log(found.time_s / start), start


def _temperatures(found: Measurements) -> tuple[NDArray[np.float64], float | None]:
    """How much warmer each reading is than the commonest temperature, and that temperature."""
    if found.temperature_k is None:
        return np.zeros(len(found.cell)), None
    values, counts = np.unique(found.temperature_k, return_counts=True)
    reference = float(values[counts.argmax()])
    return found.temperature_k - reference, reference


def _identified(found: Measurements, read: _Readings) -> NDArray[np.bool_]:
    """Which of conductance, exponent and coefficient the readings of each cell tell (3, I)."""
    of, count, warmer = read.of, read.cells, read.warmer
    number = np.bincount(of, minlength=count)

    def centred(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(values - (np.bincount(of, values, count) / number)[of])

    time, heat = centred(read.log_time), centred(warmer)
    times, heats, both = (np.bincount(of, product, count) for product in (time**2, heat**2, time * heat))
    drifts, heated = times > _SAME, heats > _SAME
    together = drifts & heated & (times * heats - both**2 < _SAME * times * heats)
    if np.ptp(warmer) > 0 and not (heated & ~together).any():
        why = "with the time in every cell" if together.any() else "from cell to cell only"
        raise ModelError(
            "BSC316",
            f"{found.file}: the temperature changes {why}",
            seen=f"{len(np.unique(warmer))} temperatures",
            fix="read cells at two temperatures and, if they drift, at one of these again; or leave the column out",
        )
    return np.stack([np.ones(count, bool), drifts, heated & ~together])


def _model(fitted: NDArray[np.float64], read: _Readings) -> NDArray[np.float64]:
    conductance, exponent, coefficient = fitted[:, read.of]
    return np.asarray(conductance * np.exp(-exponent * read.log_time) * (1 + coefficient * read.warmer))


def _normal_equations(
    fitted: NDArray[np.float64], read: _Readings, columns: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Derivatives (3, M), 0 for what is not fitted, and their products by cell (I, 3, 3), 1 on the diagonal there."""
    of = read.of
    conductance, exponent, coefficient = fitted[:, of]
    decay = np.exp(-exponent * read.log_time)
    heat = 1 + coefficient * read.warmer
    derivatives = np.stack(
        [decay * heat, -conductance * read.log_time * decay * heat, conductance * decay * read.warmer]
    )
    derivatives *= columns[:, of]
    count = fitted.shape[1]
    products = np.empty((count, 3, 3))
    for row in range(3):
        for column in range(3):
            products[:, row, column] = np.bincount(of, derivatives[row] * derivatives[column], count)
    for row in range(3):
        products[:, row, row] += products[:, row, row] == 0
    return derivatives, products


def _least_squares(
    conductance: NDArray[np.float64], read: _Readings, columns: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Conductance, exponent and coefficient of each cell (3, I); 0 for what is not fitted."""
    of, count = read.of, read.cells
    unit = conductance.max() or 1.0
    fitted = np.zeros((3, count))
    fitted[0] = np.bincount(of, conductance / unit, count) / np.bincount(of, minlength=count)
    for _ in range(STEPS):
        residuals = conductance / unit - _model(fitted, read)
        derivatives, products = _normal_equations(fitted, read, columns)
        right = np.stack([np.bincount(of, derivative * residuals, count) for derivative in derivatives], axis=-1)
        scale = np.sqrt(np.diagonal(products, axis1=1, axis2=2))  # so that small and large unknowns weigh alike
        scaled = products / (scale[:, :, None] * scale[:, None, :]) + 1e-12 * np.eye(3)
        fitted += (np.linalg.solve(scaled, (right / scale)[..., None])[..., 0] / scale).T
        fitted[1] = np.clip(fitted[1], -_LARGEST_EXPONENT, _LARGEST_EXPONENT)
    fitted[0] *= unit
    return fitted


def _variances(
    fitted: NDArray[np.float64], read: _Readings, columns: NDArray[np.bool_], deviation: NDArray[np.float64]
) -> NDArray[np.float64]:
    """What read noise of each cell's deviation (I,) makes of the three unknowns (3, I)."""
    unit = np.abs(fitted[0]).max() or 1.0
    scaled = np.stack([fitted[0] / unit, fitted[1], fitted[2]])
    _, products = _normal_equations(scaled, read, columns)
    scale = np.sqrt(np.diagonal(products, axis1=1, axis2=2))
    inverse = np.linalg.inv(products / (scale[:, :, None] * scale[:, None, :]) + 1e-12 * np.eye(3))
    variances = (np.diagonal(inverse, axis1=1, axis2=2) / scale**2 * (deviation / unit)[:, None] ** 2).T
    variances = variances * columns
    variances[0] *= unit**2
    return np.asarray(variances)


def _mean_residuals(
    found: Measurements, residuals: NDArray[np.float64], times: NDArray[np.float64]
) -> NDArray[np.float64]:
    if found.time_s is None:
        return np.zeros((found.levels, 0))
    place = found.level * len(times) + np.searchsorted(times, found.time_s)
    size = found.levels * len(times)
    with np.errstate(invalid="ignore"):
        means = np.bincount(place, residuals, size) / np.bincount(place, minlength=size)
    return means.reshape(found.levels, len(times))
