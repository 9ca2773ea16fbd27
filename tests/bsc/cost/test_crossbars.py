"""Every crossbar of a layer, by hand and against other countings."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bsc.cost.counts import count_plan
from bsc.cost.crossbars import plan_crossbars
from bsc.plan.cells import CrossbarIndex, crossbar_cells
from bsc.plan.summary import summarise
from tests.bsc.plans import coded, only_layer, plan_of, slicings

AXES = ("row_tile", "column_tile", "slice", "polarity")


def test_by_hand() -> None:
    """Codes 2, 1 and -1 on crossbars of 2 rows: 2 and 1 share the first, whose + side holds two cells, sum 3."""
    (found,) = plan_crossbars(plan_of(coded([[2], [1], [-1]]), rows=2, cols=2))
    assert (found.name, found.size) == ("fc", 4)
    assert found.cells.tolist() == [[2], [1]]
    assert found.nonzeros[:, 0, 0].tolist() == [[2, 0], [0, 1]]
    assert found.largest_bits[:, 0, 0].tolist() == [[2, 0], [0, 1]]
    assert not found.nonzeros[:, :, 1:].any()


@given(st.data())
def test_agrees_with_cells_counts_and_summary(data: st.DataObject) -> None:
    ways = data.draw(slicings(4, most=12))
    codes = np.random.default_rng(data.draw(st.integers(0, 99))).integers(-15, 16, (6, 3))
    plan = plan_of(coded(codes, weight_bits=4), rows=4, cols=2, active_rows=data.draw(st.sampled_from([2, 4])), **ways)
    layer, arrays = only_layer(plan)
    (found,), (counts,), (summary,) = plan_crossbars(plan), count_plan(plan), summarise(plan)
    for where in np.argwhere(found.allocated):
        index = CrossbarIndex(
            **dict(zip(("row_tile", "column_tile", "slice", "polarity"), where.tolist(), strict=True))
        )
        cells = crossbar_cells(layer, arrays, index)
        assert found.cells[where[0], where[1]] == cells.size
        assert found.nonzeros[tuple(where)] == np.count_nonzero(cells)
    by_bits = np.bincount(found.largest_bits[found.allocated], minlength=len(counts.crossbars))
    assert by_bits.tolist() == counts.crossbars.tolist()
    used = (found.allocated.sum(axis=(2, 3)) * found.cells).sum() / (found.allocated.sum() * found.size)
    assert used == summary.utilisation
