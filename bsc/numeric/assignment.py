"""The assignment problem: which item goes to which place, so that the costs add up to least."""

import numpy as np
from numpy.typing import NDArray


def cheapest_assignment(cost: NDArray[np.float64]) -> NDArray[np.intp]:
    """The item of every place, each item in one place at most, at the least total cost.

    Shortest augmenting paths, a row at a time (Jonker and Volgenant, Computing 38, 1987, 325-340), without their
    heuristics for the start: O(places^2 items).

    Args:
        cost: of every item in every place (places, items), finite; no more places than items.
    """
    places, items = cost.shape
    assert places <= items, cost.shape
    place_price, item_price = np.zeros(places), np.zeros(items + 1)
    holder = np.full(items + 1, -1)  # the place that has an item; the last item stands for the place to be served
    for place in range(places):
        holder[items] = place
        shortest, before = np.full(items, np.inf), np.full(items, items)
        done = np.zeros(items + 1, bool)
        item = items
        while holder[item] >= 0:
            done[item] = True
            at = holder[item]
            length = cost[at] - place_price[at] - item_price[:items]
            nearer = (length < shortest) & ~done[:items]
            shortest[nearer], before[nearer] = length[nearer], item
            following = int(np.where(done[:items], np.inf, shortest).argmin())
            step = shortest[following]
            place_price[holder[done]] += step
            item_price[done] -= step
            shortest[~done[:items]] -= step
            item = following
        while item != items:
            holder[item] = holder[before[item]]
            item = before[item]
    result = np.empty(places, np.intp)
    taken = np.flatnonzero(holder[:items] >= 0)
    result[holder[taken]] = taken
    return result
