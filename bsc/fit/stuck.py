"""Cells that did not follow their target: stuck at the highest or lowest conductance.

A cell counts as stuck on where it is far from its target's level and within the level of the on conductance or above,
and likewise for off. What is far and what is within follows from medians, which stuck cells do not move. Cells whose
target is not told apart from the level they would be stuck at say nothing and are not counted.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bsc.fit.readings import ProgrammedCells

FAR = 6.0
"""Deviations from the level's median; of a normal spread, two cells in a billion are as far."""
WITHIN = 4.0
_NORMAL = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation."""


@dataclass(frozen=True, eq=False, kw_only=True)
class StuckCells:
    """Which cells are stuck, and of how many that could be told.

    Attributes:
        stuck: whether each programmed cell (I,) is, at either end.
        on: cells stuck at the on conductance.
        on_of: cells of which that could be told.
        off: cells stuck at the off conductance.
        off_of: likewise.
    """

    stuck: NDArray[np.bool_]
    on: int
    on_of: int
    off: int
    off_of: int


def stuck_cells(cells: ProgrammedCells) -> StuckCells:
    """Find them."""
    levels = int(cells.level.max()) + 1
    medians, deviations = np.empty(levels), np.empty(levels)
    for level in range(levels):
        here = cells.conductance[cells.level == level]
        medians[level] = np.median(here)
        deviations[level] = _NORMAL * np.median(np.abs(here - medians[level]))
    distance = np.abs(cells.conductance - medians[cells.level])
    far = distance > FAR * deviations[cells.level]
    stuck = np.zeros(len(far), bool)
    counts = []
    for end, sign in ((levels - 1, 1), (0, -1)):
        beyond = sign * (cells.conductance - medians[end]) >= -WITHIN * deviations[end]
        apart = np.abs(medians - medians[end]) > FAR * deviations + WITHIN * deviations[end]
        told = apart[cells.level]
        here = far & beyond & told
        # A cell that was programmed to several levels is stuck if all that could tell say so.
        telling = np.bincount(cells.cell, told)
        saying = np.bincount(cells.cell, here, len(telling))
        whole = (telling > 0) & (saying == telling)
        counts.append((int(whole.sum()), int((telling > 0).sum())))
        stuck |= whole[cells.cell]
    (on, on_of), (off, off_of) = counts
    return StuckCells(stuck=stuck, on=on, on_of=on_of, off=off, off_of=off_of)
