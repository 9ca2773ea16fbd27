"""A crossbar's wires solved exactly, for reads whose loss is too large for its first order.

Row i is driven with a_i volts at column 0; a segment of wordline leads from each cell to the next, and likewise one of
bitline, the last of them into converters at 0 V. Rows at digit 0 are cut off by their transistors. With w the
voltages along the wordlines and b those along the bitlines,

    wordline i, every driven row     (w_{j-1} - w_j) / r_w = (w_j - w_{j+1}) / r_w + g_ij (w_j - b_ij)
    bitline  j, every column         (b_i - b_{i+1}) / r_b = (b_{i-1} - b_i) / r_b + g_ij (w_j - b_ij), driven rows only

Given one of them, the other is a tridiagonal system a line; rows that are not driven only make segments longer. Solving
for both in turn is block Gauss-Seidel on the symmetric positive definite matrix of the network, which converges
whatever the resistances are; it is repeated until no column sum moves by more than `SETTLED`. The compiled kernel and
NumPy give the same bits.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bsc.errors import UsageError
from bsc.replay.analog_sums import kernel

TOLERANCE: Final = 0.1
"""Steps of its converter that the first order may err by; beyond it a read is solved."""

SETTLED: Final = 1e-5
"""Cell units that a column sum moves by when a solution is taken."""

MAX_SWEEPS: Final = 500


@dataclass(frozen=True, eq=False, kw_only=True)
class Network:
    """The wires and cells of one crossbar; C' columns, a reference column among them.

    Attributes:
        cells: conductances (R, C') in cell units.
        wordline: voltage that one cell unit of current at 1 V loses in a segment, over 1 V.
        bitline: likewise.
        voltage: that digit 1 is driven with.
        tolerance: cell units that the first order may err by (C',).
    """

    cells: NDArray[np.float64]
    wordline: float
    bitline: float
    voltage: float
    tolerance: NDArray[np.float64]

    def beyond_first_order(
        self, sums: NDArray[np.floating[Any]], lost: NDArray[np.floating[Any]] | None
    ) -> NDArray[np.bool_]:
        """Reads (V,) whose first order may err by more than `tolerance` in some column.

        What is left out is of second order: y (l^2 / 2 + l d / 6 + d^2 / 6), y being the sum, l the share that its
        bitline loses and d the largest share that one of its cells loses on its wordline. The parts were chosen so that
        the largest of a read was above its largest error in 700 reads of random crossbars of up to 71 x 71 cells, which
        were solved exactly; half of the reads erred by less than a third of it.

        Args:
            sums: (V, C') to first order.
            lost: share that the bitlines lose, likewise; or None.
        """
        wordline = self._wordline_loss.astype(sums.dtype)
        both = wordline**2 / 6
        if lost is None:
            error = both * sums
        else:
            error = lost / 2
            error += wordline / 6
            error *= lost
            error += both
            error *= sums
        return np.asarray((error > self.tolerance.astype(sums.dtype)).any(axis=1))

    @cached_property
    def _wordline_loss(self) -> NDArray[np.float64]:
        """Largest share of each column (C',) that a cell loses on its wordline, its neighbours at full voltage."""
        carried = np.cumsum(self.cells[:, ::-1], axis=1)[:, ::-1]
        return np.asarray(self.wordline * np.cumsum(carried, axis=1).max(axis=0, initial=0))

    @cached_property
    def _through(self) -> NDArray[np.float64]:
        """What elimination passes on from each cell to the one before it on its wordline (R, C'); of all reads."""
        through = np.empty(self.cells.shape)
        for column in range(self.cells.shape[1]):
            neighbours = 2.0 if column < self.cells.shape[1] - 1 else 1.0
            pivot = neighbours + self.wordline * self.cells[:, column]
            through[:, column] = 1 / (pivot - through[:, column - 1] if column else pivot)
        return through

    def sums(self, digits: NDArray[Any]) -> NDArray[np.float64]:
        """Column sums (V, C') in cell units.

        Args:
            digits: (V, R), 0 or more; rows at 0 are not driven.

        Raises:
            UsageError: BSC206 if a read does not settle.
        """
        driven = np.ascontiguousarray(digits, np.float32)
        result = np.empty((len(digits), self.cells.shape[1]))
        if kernel is None:
            settled = all(self._read(volts, sums) for volts, sums in zip(driven, result, strict=True))
        else:
            wires = (self.wordline, self.bitline, self.voltage, SETTLED)
            sizes = (*driven.shape, self.cells.shape[1])
            settled = kernel.nodal(sizes, wires, MAX_SWEEPS, driven, self.cells, self._through, result)
        if not settled:
            raise UsageError(
                "BSC206",
                "the wires of a crossbar cannot be solved",
                seen=f"segments that lose {self.wordline:.3g} and {self.bitline:.3g} of the voltage to one cell unit",
                fix="make wordline_ohm and bitline_ohm smaller, or on_ohm larger",
            )
        return result

    def _read(self, digits: NDArray[np.float32], sums: NDArray[np.float64]) -> bool:
        """The kernel's work for one vector (R,): fill `sums` (C',); whether it settled."""
        rows = np.flatnonzero(digits)
        held, through, volts = self.cells[rows], self._through[rows], self.voltage * digits[rows].astype(np.float64)
        below = 1.0 / np.diff(rows, append=len(digits))  # conductance of the bitline to the next driven row
        above = np.concatenate([[0.0], below[:-1]])[: len(rows)]
        inverse, passed = np.empty(held.shape), np.empty(held.shape)
        for e in range(len(rows)):
            pivot = above[e] + below[e] + self.bitline * held[e]
            inverse[e] = 1 / (pivot - above[e] * passed[e - 1] if e else pivot)
            passed[e] = below[e] * inverse[e]
        words, bits = np.repeat(volts[:, None], held.shape[1], axis=1), np.zeros(held.shape)
        sums[:] = _added(held * words)
        for _ in range(MAX_SWEEPS):
            if self.wordline > 0:
                before = volts
                for c in range(held.shape[1]):
                    before = words[:, c] = (self.wordline * held[:, c] * bits[:, c] + before) * through[:, c]
                for c in range(held.shape[1] - 2, -1, -1):
                    words[:, c] += through[:, c] * words[:, c + 1]
            if self.bitline > 0:
                for e in range(len(rows)):
                    carried = above[e] * bits[e - 1] if e else 0.0
                    bits[e] = (self.bitline * held[e] * words[e] + carried) * inverse[e]
                for e in range(len(rows) - 2, -1, -1):
                    bits[e] += passed[e] * bits[e + 1]
            earlier = sums.copy()
            sums[:] = _added(held * (words - bits))
            moves = (np.abs(sums - earlier) > SETTLED).any()
            if not moves or not (self.wordline > 0 and self.bitline > 0):
                return True
        return False


def _added(currents: NDArray[np.float64]) -> NDArray[np.float64]:
    """Their sums over rows, one after another."""
    total = np.zeros(currents.shape[1])
    for current in currents:
        total += current
    return total
