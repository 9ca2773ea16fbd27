"""Which points of a set no other point beats."""

import numpy as np
from numpy.typing import NDArray


def pareto_front(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """The points that no other point is at least as good as in everything and better than in something.

    Args:
        values: shape (points, objectives), less is better; NaN where an objective is unknown.

    Returns:
        Shape (points,). Equal points stand or fall together; points with an unknown objective are never on the front.
    """
    on_front = np.zeros(len(values), np.bool_)
    known = np.flatnonzero(~np.isnan(values).any(axis=1))
    if not known.size:
        return on_front
    rest, place = np.unique(values[known], axis=0, return_inverse=True)
    numbers, best = np.arange(len(rest)), []
    # Rows are sorted, so that a later one never beats an earlier one: the first that is left is always on the front.
    while len(rest):
        best.append(numbers[0])
        beyond = (rest < rest[0]).any(axis=1)
        rest, numbers = rest[beyond], numbers[beyond]
    on_front[known] = np.isin(place.ravel(), best)
    return on_front
