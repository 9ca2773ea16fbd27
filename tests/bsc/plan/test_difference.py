"""How far the arrays of two plans differ, counted by hand."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bsc.mapping.arrays import LayerArrays
from bsc.plan.cells import CrossbarIndex, crossbar_cells
from bsc.plan.difference import ArrayDifference, array_differences, layer_difference
from bsc.plan.document import Plan, layer_file
from passes.assign_adc import AssignAdc
from passes.permute import Permute
from tests.bsc.plans import coded, mapped, only_layer, plan_of, slicings, with_adc


def between(old: Plan, new: Plan) -> ArrayDifference:
    return layer_difference(*only_layer(old.mapping), *only_layer(new.mapping))


def test_one_code() -> None:
    """3 is 11 in slice 0, 7 is 11 in slices 0 and 1: of slice 1 the + crossbar differs, and its column has 1 bit more.

    Eliminated crossbars are not: each of 4 slices and 2 signs has one.
    """
    found = between(plan_of(coded([[3, 1], [0, -1]])), plan_of(coded([[7, 1], [0, -1]])))
    assert found == ArrayDifference(
        codes=1, all_codes=4, conversions=1, all_conversions=16, crossbars=1, all_crossbars=8, others=()
    )


def test_converters_alone() -> None:
    """The sums 3 and 1 need 2 bits and 1 bit; at 8 bits both conversions differ, and so do the 6 of zeros."""
    codes = coded([[2], [1], [-1]])
    found = between(plan_of(codes), plan_of(codes, adc=AssignAdc(policy="isaac")))
    assert (found.codes, found.conversions, found.all_conversions, found.crossbars) == (0, 8, 8, 0)


def test_a_crossbar_that_one_plan_leaves_out() -> None:
    """-1 needs a second crossbar; without negative weights none of the - side has weights."""
    found = between(plan_of(coded([[1, 1]]), eliminate=True), plan_of(coded([[1, -1]]), eliminate=True))
    assert (found.codes, found.crossbars, found.all_crossbars) == (1, 2, 2)


def test_other_tiles_cannot_be_counted() -> None:
    codes = coded(np.arange(32).reshape(8, 4))
    found = between(plan_of(codes), plan_of(codes, rows=4))
    assert (found.codes, found.conversions, found.crossbars, found.all_crossbars) == (0, None, None, 16)


def test_another_size_cannot_be_counted() -> None:
    found = between(plan_of(coded([[1]])), plan_of(coded([[1], [1]])))
    assert (found.codes, found.all_codes, found.conversions) == (None, 2, None)


def test_rows_in_another_order_hold_the_same_codes() -> None:
    codes = coded([[0, 1], [3, 0], [9, 9], [0, 2]])
    found = between(plan_of(codes, eliminate=True), plan_of(codes, permute=Permute(rows="sorted")))
    assert (found.codes, found.crossbars) == (0, None)
    assert found.others == ("rows or columns that are mapped, or their order",)


def test_what_was_left_out_counts_as_zero() -> None:
    codes = [[0, 1], [3, 0], [0, 0]]
    assert between(plan_of(coded(codes)), plan_of(coded(codes), eliminate=True)).codes == 0


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("weight_scale", np.array([1 + 2e-9]), ("weight steps",)),
        ("weight_scale", np.array([1 + 5e-10]), ()),
        ("bias", np.array([1.0]), ("biases",)),
        ("bias", np.array([0.0]), ()),
        ("correction", np.array([2]), ("corrections",)),
        ("observed_sums", np.zeros((1, 4, 2, 1), np.uint32), ("observed sums",)),
    ],
)
def test_other_arrays(field: str, value: Any, words: tuple[str, ...]) -> None:
    layer, arrays = only_layer(mapped(coded([[1]])))
    changed: LayerArrays = replace(arrays, **{field: value})
    assert layer_difference(layer, arrays, layer, changed).others == words
    assert layer_difference(layer, changed, layer, arrays).others == words


def test_the_step_of_what_is_never_converted_does_not_matter() -> None:
    layer, arrays = only_layer(mapped(coded([[1]])))
    off = with_adc(arrays, 0)
    assert layer_difference(layer, off, layer, with_adc(arrays, 0, 2)).conversions == 0
    assert layer_difference(layer, off, layer, with_adc(arrays, 1, 2)).conversions == 8


AXES = ("row_tile", "column_tile", "slice", "polarity")


@given(st.data())
def test_crossbars_that_differ_are_those_whose_cells_do(data: st.DataObject) -> None:
    """Against the cells of each crossbar, in every encoding; the other way round nothing changes."""
    ways = data.draw(slicings(4, most=12))
    active = data.draw(st.sampled_from([2, 4]))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    codes = rng.integers(-15, 16, (6, 3))
    other = np.where(rng.random((6, 3)) < 0.1, -codes, codes)
    plans = [plan_of(coded(each, weight_bits=4), rows=4, cols=2, active_rows=active, **ways) for each in (codes, other)]
    (layer, old), (same, new) = (only_layer(plan.mapping) for plan in plans)
    assert layer == same
    expected = 0
    for where in np.argwhere(old.allocated | new.allocated):
        index = CrossbarIndex(
            **dict(zip(("row_tile", "column_tile", "slice", "polarity"), where.tolist(), strict=True))
        )
        both = old.allocated[tuple(where)] and new.allocated[tuple(where)]
        cells = crossbar_cells(layer, old, index)
        expected += not (both and np.array_equal(cells, crossbar_cells(layer, new, index)))
    found = layer_difference(layer, old, layer, new)
    assert found.crossbars == expected
    assert found.codes == np.count_nonzero(codes != other)
    assert found == layer_difference(layer, new, layer, old)


def test_only_files_that_differ_are_read() -> None:
    plan = plan_of(coded([[1]]))

    def with_hash(sha256: str, arrays: Callable[..., LayerArrays]) -> Plan:
        return replace(plan, files={layer_file(0): sha256}, mapping=replace(plan.mapping, arrays=arrays))

    def unread(_: object) -> LayerArrays:
        raise AssertionError

    assert array_differences(with_hash("0" * 64, unread), with_hash("0" * 64, unread)) == {}
    arrays = plan.mapping.arrays
    (found,) = array_differences(with_hash("0" * 64, arrays), with_hash("1" * 64, arrays)).values()
    assert (found.codes, found.conversions, found.crossbars, found.others) == (0, 0, 0, ())
