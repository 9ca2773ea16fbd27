import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bsc.numeric.assignment import cheapest_assignment


@given(st.integers(1, 6), st.data(), st.integers(0, 1 << 32), st.booleans())
def test_nothing_is_cheaper(items: int, data: st.DataObject, seed: int, ties: bool) -> None:
    places = data.draw(st.integers(1, items))
    random = np.random.default_rng(seed)
    cost = random.integers(0, 4, (places, items)).astype(float) if ties else random.standard_normal((places, items))
    chosen = cheapest_assignment(cost)
    assert len(set(chosen.tolist())) == places
    found = sum(cost[place, item] for place, item in enumerate(chosen))
    every = itertools.permutations(range(items), places)
    assert abs(found - min(sum(cost[place, item] for place, item in enumerate(each)) for each in every)) < 1e-9


def test_where_nothing_costs_anything_items_stay() -> None:
    assert cheapest_assignment(np.zeros((3, 5))).tolist() == [0, 1, 2]
