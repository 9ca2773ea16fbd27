"""Column sums of one crossbar in front of its converters: a compiled kernel, and the same in NumPy, bit for bit.

Sums of currents and of variances are exact, whatever order they are added in, since cells and variances lie on grids;
see `bsc.replay.analog`. What the bitlines lose is rounded at every step, in the order of the rows.
"""

from types import ModuleType
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

kernel: ModuleType | None
try:
    from bsc.replay import _analog
except ImportError:
    kernel = None
else:
    kernel = _analog

_CHUNK_VALUES: Final = 1 << 16
"""Sums that NumPy computes at a time, to stay in cache."""


class ColumnSums(NamedTuple):
    """What one read of V vectors gives.

    Attributes:
        sums: (V, C) in cell units, what the bitlines lose taken off.
        lost: loss of each sum over what is left of it (V, C); None where bitlines lose nothing.
        variances: of the sums, in squares of cell units, float32 (V, C); None without read noise.
    """

    sums: NDArray[np.floating[Any]]
    lost: NDArray[np.floating[Any]] | None
    variances: NDArray[np.float32] | None


def column_sums(
    digits: NDArray[np.float32], cells: NDArray[Any], variances: NDArray[np.float32] | None, bitline: float
) -> ColumnSums:
    """Drive the rows with digits.

    Args:
        digits: (V, R), whole, 0 or more; rows at 0 are not driven.
        cells: conductances (R, C), float32 or float64.
        variances: of the read noise of each cell (R, C), or None.
        bitline: share of its own current that one cell unit loses in one bitline segment; the loss of a column is to
            first order `bitline` times the sum over its segments of current times load, see `bsc.replay.analog`.

    Returns:
        In the type of the cells.
    """
    read = _numpy if kernel is None else _compiled
    return read(np.ascontiguousarray(digits, np.float32), cells, variances, bitline)


def _compiled(
    digits: NDArray[np.float32], cells: NDArray[Any], variances: NDArray[np.float32] | None, bitline: float
) -> ColumnSums:
    assert kernel is not None
    shape = (len(digits), cells.shape[1])
    sums = np.empty(shape, cells.dtype)
    lost = np.empty(shape, cells.dtype) if bitline else None
    spreads = None if variances is None else np.empty(shape, np.float32)
    kernel.sums(cells.itemsize, (*digits.shape, shape[1]), bitline, digits, cells, variances, sums, lost, spreads)
    return ColumnSums(sums, lost, spreads)


def _numpy(
    digits: NDArray[np.float32], cells: NDArray[Any], variances: NDArray[np.float32] | None, bitline: float
) -> ColumnSums:
    driven = digits.astype(cells.dtype)
    spreads = None if variances is None else np.square(digits) @ variances
    if not bitline:
        return ColumnSums(driven @ cells, None, spreads)
    chunk = max(1, _CHUNK_VALUES // max(1, cells.shape[1]))
    parts = [
        _with_loss(driven[start : start + chunk], cells, bitline) for start in range(0, max(1, len(digits)), chunk)
    ]
    sums, lost = (np.concatenate(each) for each in zip(*parts, strict=True))
    return ColumnSums(sums, lost, spreads)


def _with_loss(driven: NDArray[Any], cells: NDArray[Any], bitline: float) -> tuple[NDArray[Any], NDArray[Any]]:
    """Sums and shares lost: the segments from one driven row to the next carry the same current and load."""
    segments = _segments(driven)
    current = np.zeros((len(driven), cells.shape[1]), cells.dtype)
    load, loss, step = np.zeros_like(current), np.zeros_like(current), np.empty_like(current)
    for row, held in enumerate(cells):
        digit = driven[:, row : row + 1]
        current += digit * held
        load += (digit > 0) * held
        np.multiply(current, load, out=step)
        step *= segments[:, row : row + 1]
        loss += step
    loss *= cells.dtype.type(bitline)
    lost = np.divide(loss, current, out=np.zeros_like(loss), where=current > 0)
    return current / (1 + lost), lost


def _segments(driven: NDArray[Any]) -> NDArray[Any]:
    """From each driven row to the next one, or to the converters (V, R); 0 for rows that are not driven."""
    rows = driven.shape[1]
    here = np.where(driven > 0, np.arange(rows), rows)
    following = np.minimum.accumulate(here[:, ::-1], axis=1)[:, ::-1]  # the driven row at or after each
    after = np.concatenate([following[:, 1:], np.full((len(driven), 1), rows)], axis=1)
    return np.asarray(np.where(driven > 0, after - np.arange(rows), 0), driven.dtype)
