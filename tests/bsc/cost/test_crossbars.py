import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bsc.cost.counts import count_mapping
from bsc.cost.crossbars import crossbar_table, mapping_crossbars
from bsc.plan.cells import CrossbarIndex, crossbar_cells
from bsc.report.build import layer_totals
from passes.assign_adc import AssignAdc
from tests.bsc.plans import coded, mapped, only_layer, slicings


def test_by_hand() -> None:
    """Codes 3, -1 and 12 in two-bit slices on crossbars of two rows and one column; crossbars of zeros are left out."""
    fixed = AssignAdc(policy="fixed", bits=3)
    layer, arrays = only_layer(mapped(coded([[3, -1], [3, 0], [12, 0]]), rows=2, cols=1, eliminate=True, adc=fixed))
    table = crossbar_table(layer, arrays)
    assert table.index.tolist() == [[0, 0, 0, 0], [0, 1, 0, 1], [1, 0, 1, 0]]
    assert table.rows.tolist() == [2, 2, 1]
    assert table.columns.tolist() == [1, 1, 1]
    assert table.weights.tolist() == [2, 2, 1]
    assert table.nonzeros.tolist() == [2, 1, 1]
    assert table.adc_bits.tolist() == [3, 3, 3]
    assert table.mean_bits.tolist() == [3, 3, 3]


def test_groups_that_share_a_crossbar() -> None:
    """Two groups of two rows and one column lie block-diagonally: four rows, two columns, four weights."""
    layer, arrays = only_layer(mapped(coded([[1, 1], [1, 1]], groups=2)))
    table = crossbar_table(layer, arrays)
    assert {*table.rows.tolist()} == {4}
    assert {*table.columns.tolist()} == {2}
    assert {*table.weights.tolist()} == {4}
    assert table.nonzeros.tolist() == [4, *7 * [0]]
    assert table.mean_bits.tolist() == [2, *7 * [0]]  # sums of 2 at most


@settings(deadline=None, max_examples=40)
@given(
    rows=st.integers(1, 9),
    columns=st.integers(1, 9),
    size=st.sampled_from([(2, 3), (4, 4), (8, 2)]),
    pairs=st.booleans(),
    seed=st.integers(0, 99),
)
def test_agrees_with_cells_and_reports(rows: int, columns: int, size: tuple[int, int], pairs: bool, seed: int) -> None:
    codes = np.random.default_rng(seed).integers(-40, 41, (rows, columns))
    layer, arrays = only_layer(
        mapped(coded(codes), rows=size[0], cols=size[1], active_rows=2, subtraction="analog" if pairs else "digital")
    )
    table, summary = crossbar_table(layer, arrays), layer_totals(layer, arrays)
    assert len(table.index) == summary.crossbars
    if not summary.crossbars:
        return
    assert table.weights.sum() / (summary.crossbars * size[0] * size[1]) == pytest.approx(summary.utilisation)
    for position, index in enumerate(table.index.tolist()):
        cells = crossbar_cells(
            layer, arrays, CrossbarIndex(row_tile=index[0], column_tile=index[1], slice=index[2], polarity=index[3])
        )
        assert cells.shape == (table.rows[position], table.columns[position])
        assert np.count_nonzero(cells) == table.nonzeros[position]


@given(st.data())
def test_adc_bits_are_those_that_are_priced(data: st.DataObject) -> None:
    ways = data.draw(slicings(4, most=12))
    codes = np.random.default_rng(data.draw(st.integers(0, 99))).integers(-15, 16, (6, 3))
    plan = mapped(coded(codes, weight_bits=4), rows=4, cols=2, active_rows=data.draw(st.sampled_from([2, 4])), **ways)
    (table,), (counts,) = mapping_crossbars(plan), count_mapping(plan)
    by_bits = np.bincount(table.adc_bits, minlength=len(counts.crossbars))
    if ways.get("subtraction") == "analog":  # one ADC for both
        assert by_bits.sum() == counts.crossbars.sum()
    else:
        assert by_bits.tolist() == counts.crossbars.tolist()
