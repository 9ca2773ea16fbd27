from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bsc.cost.counters import CONVERSIONS
from bsc.cost.counts import LayerCounts, count_mapping, count_offset, count_uniform
from bsc.mapping.arrays import LayerArrays
from bsc.mapping.layer import MappedLayer
from bsc.mapping.model import MappedModel
from passes.assign_adc import AssignAdc
from tests.bsc.plans import coded, mapped

# Three rows and two columns in 1-bit cells, on 2 x 2 arrays: two row tiles, the second with one row.
#   slice 0, +      slice 1, +      slice 1, -      slice 0, - is empty, and so are slices 0 + and 1 - of the
#    1  0            1  0            0  0           second row tile: 4 crossbars of 8 are built.
#    1  0            0  0            0  1
#    -----           -----           -----
#    0  0            1  0            0  0
# Sums 2, 1, 1 and below 1: one column of 2 bits and three of 1 bit. 3-bit unsigned inputs take 3 cycles, and
# 2 vectors make 6 reads.
FIRST = coded([[3, 0], [1, -2], [2, 0]], name="first", output="h", weight_bits=2, input_bits=3, vectors=2)
# One weight in the low slice of one 1 x 1 crossbar; row 0 is dropped. 4-bit signed inputs take 3 cycles and one
# for the sign, and 1 vector makes 4 reads.
SECOND = coded([[0], [1]], name="second", input="h", weight_bits=2, input_bits=4, input_signed=True)


def two_layers(adc: AssignAdc | None = None, *, eliminate: bool = True) -> MappedModel:
    return mapped(FIRST, SECOND, bits_per_cell=1, rows=2, cols=2, eliminate=eliminate, adc=adc)


def histogram(counts: NDArray[np.int64]) -> dict[int, int]:
    return {int(bits): int(counts[bits]) for bits in np.flatnonzero(counts)}


def assert_counts(counts: LayerCounts, **expected: Any) -> None:
    actual: dict[str, Any] = {
        "conversions": histogram(counts.conversions),
        "crossbars": histogram(counts.crossbars),
        "reads": counts.reads,
        "conversions_per_read": counts.conversions_per_read,
        "bits_per_read": counts.bits_per_read,
        **{name: count for name, count in counts.counters.items() if name != CONVERSIONS},
    }
    assert {name: actual[name] for name in expected} == expected


def test_a_plan_by_hand() -> None:
    first, second = count_mapping(two_layers())
    assert (first.name, first.dac_bits, first.array_rows, first.array_cols) == ("first", 1, 2, 2)
    assert_counts(
        first,
        reads=6,  # 2 vectors * 3 cycles
        conversions={1: 18, 2: 6},  # columns of each resolution * 6 reads
        crossbars={1: 3, 2: 1},
        conversions_per_read=1,  # no crossbar has two columns with weights
        bits_per_read=2,
        rows_driven=42,  # (3 crossbars * 2 rows + 1 crossbar * 1 row) * 6
        cells_read=96,  # 4 crossbars * 4 cells * 6
        columns_sampled=48,  # 4 crossbars * 2 columns * 6
        partial_results=24,  # as many as conversions
        driver_bits=42,  # a bit for every row that is driven
        buffer_bits=30,  # 2 vectors * 3 bits * (3 rows in + 2 columns out)
        moved_bits=30,
    )
    assert_counts(
        second,
        reads=4,
        conversions={1: 4},
        crossbars={1: 1},
        conversions_per_read=1,
        rows_driven=4,
        cells_read=16,
        columns_sampled=4,
        buffer_bits=9,  # 1 vector * 4 bits * (1 row that is left + 1 column), and 1 bit that says which row
    )


def test_the_uniform_baseline_by_hand() -> None:
    first, second = count_uniform(two_layers(), 8, 2)
    assert_counts(
        first,
        reads=6,
        conversions={8: 96},  # 2 row tiles * 2 slices * 2 polarities * 2 columns * 6
        crossbars={8: 8},
        conversions_per_read=2,
        rows_driven=72,  # 2 slices * 2 polarities * (2 + 1) rows * 6
        cells_read=192,  # 8 crossbars * 4 cells * 6
        columns_sampled=96,
        partial_results=96,
        driver_bits=72,
        buffer_bits=30,
        moved_bits=30,
    )
    assert_counts(second, conversions={8: 16}, crossbars={8: 4}, rows_driven=32, buffer_bits=12)


def test_the_offset_baseline_by_hand() -> None:
    first, second = count_offset(two_layers(), 8, 2)
    assert_counts(
        first,
        reads=6,
        conversions={8: 108},  # 2 row tiles * 3 slices with the sign * (2 columns + 1 unit column) * 6
        crossbars={8: 6},
        conversions_per_read=2,
        rows_driven=54,  # 3 slices * (2 + 1) rows * 6
        cells_read=144,
        columns_sampled=108,
        buffer_bits=30,
    )
    assert_counts(second, conversions={8: 24}, crossbars={8: 3})  # 3 slices * (1 + 1) columns * 4


@pytest.mark.parametrize("adc", [AssignAdc(policy="isaac"), AssignAdc(policy="fixed", bits=5)])
def test_a_plan_at_one_resolution_that_eliminates_nothing_is_the_uniform_baseline(adc: AssignAdc) -> None:
    plan = two_layers(adc, eliminate=False)
    bits = 8 if adc.policy == "isaac" else adc.bits
    for actual, expected in zip(count_mapping(plan), count_uniform(plan, bits, 2), strict=True):
        assert histogram(actual.conversions) == histogram(expected.conversions)
        assert histogram(actual.crossbars) == histogram(expected.crossbars)
        assert actual.counters == expected.counters
        assert actual.conversions_per_read == expected.conversions_per_read


def test_wide_dacs_take_fewer_reads() -> None:
    (counts,) = count_mapping(mapped(coded([[1], [1]], input_bits=8, input_signed=True), dac_bits=3))
    # 7 bits in threes are 3 cycles, and one for the sign; two rows on one crossbar.
    assert_counts(counts, reads=4 * 1, rows_driven=8 * 8, driver_bits=8 * 8 * 3)


def test_packed_groups_by_hand() -> None:
    # Three groups of 2 rows and 1 column, two of which fit on a 4 x 4 array block-diagonally.
    layer = coded([[1, 1, 1], [1, 1, 1]], groups=3, weight_bits=1, input_bits=2)
    plan = mapped(layer, bits_per_cell=1, rows=4, cols=4, eliminate=True)
    (counts,) = count_mapping(plan)
    assert_counts(
        counts,
        reads=2,
        crossbars={2: 2},  # + only; 2 cells of 1 sum to 2
        conversions={2: 6},
        conversions_per_read=2,
        rows_driven=12,  # (2 groups * 2 rows + 1 group * 2 rows) * 2
        columns_sampled=6,
        buffer_bits=18,  # 2 bits * (3 groups * 2 rows + 3 columns)
    )
    assert_counts(
        count_uniform(plan, 8, 2)[0], crossbars={8: 4}, rows_driven=24, conversions={8: 12}, conversions_per_read=2
    )
    # (3 columns + 3 sums of inputs) * 2 slices * 2 cycles; of two sums on a crossbar, one takes no time of its own.
    assert_counts(
        count_offset(plan, 8, 2)[0], crossbars={8: 4}, rows_driven=24, conversions={8: 24}, conversions_per_read=3
    )


def test_every_group_on_a_crossbar_has_a_sum_of_its_own() -> None:
    """64 groups of 9 rows, 14 to a crossbar: the sum of one group's inputs is of no use to another."""
    layer = coded(np.full((9, 64), 85), groups=64, weight_bits=8, input_bits=8, vectors=64)  # no slice is all zero
    plan = mapped(layer, encoding="offset")
    (counts,), (baseline,) = count_mapping(plan), count_offset(plan, 8, 2)
    for found in (counts, baseline):
        assert found.crossbars.sum() == 5 * 5  # slices, and 4 crossbars of 14 groups and one of 8
        assert found.conversions.sum() == (64 + 64) * 5 * 8 * 64
        assert found.counters["columns_sampled"] == 327_680
        assert found.conversions_per_read == 14 + 13
    assert count_uniform(plan, 8, 2)[0].conversions_per_read == 14


@pytest.mark.parametrize(("active_rows", "crossbars"), [(128, 25), (64, 50), (32, 110), (16, 320), (8, 320)])
def test_groups_share_a_crossbar_as_far_as_their_rows_may_be_driven(active_rows: int, crossbars: int) -> None:
    layer = coded(np.ones((9, 64)), groups=64, weight_bits=8, input_bits=8)
    plan = mapped(layer, encoding="offset", rows=128, cols=128, active_rows=active_rows)
    (counts,), (record,) = count_mapping(plan), plan.layers
    assert counts.crossbars.sum() == crossbars
    groups, _ = record.column_tiles()
    assert groups * min(record.mapped_rows, active_rows) <= active_rows
    # Every row of every group once for each slice and cycle, whatever it shares a crossbar with.
    assert counts.counters["rows_driven"] == 9 * 64 * 5 * 8


def test_groups_too_large_to_pack_by_hand() -> None:
    # Two groups of 3 rows and 2 columns on 2 x 2 arrays: two row tiles, and a column tile for each group.
    plan = mapped(coded(np.ones((3, 4)), groups=2, weight_bits=1, input_bits=2), bits_per_cell=1, rows=2, cols=2)
    counts = count_uniform(plan, 8, 2)[0]
    assert_counts(counts, crossbars={8: 8}, rows_driven=24, conversions={8: 32})  # (2 + 1) * 2 tiles * 2 signs * 2


def test_a_layer_of_zeros_does_nothing() -> None:
    plan = mapped(coded(np.zeros((3, 2))), eliminate=True)
    (counts,) = count_mapping(plan)
    assert_counts(counts, conversions={}, crossbars={}, conversions_per_read=0, rows_driven=0, columns_sampled=0)
    assert_counts(counts, buffer_bits=16)  # only the results are stored: 8 bits * 2 columns
    assert_counts(count_uniform(plan, 8, 2)[0], crossbars={8: 8})


def test_a_layer_of_billions_of_weights_is_counted_without_arrays() -> None:
    (layer,) = mapped(coded([[1]])).layers
    vast = layer.model_copy(update={"rows": 1 << 20, "columns": 1 << 20, "vectors": 1 << 13})
    plan = mapped(coded([[1]]))
    record = plan.record.model_copy(update={"layers": (vast,)})
    (counts,) = count_uniform(replace(plan, record=record), 8, 2)
    # 2**20 / 128 row tiles * 4 slices * 2 polarities * 2**20 columns, for 2**13 vectors of 8 cycles.
    assert histogram(counts.conversions) == {8: 1 << (13 + 3 + 20 + 13 + 3)}


def test_row_groups_are_read_one_after_another() -> None:
    """Two cells of a column one at a time: as many conversions as rows, each of a smaller sum; the array is read twice.

    The second row tile has one row; its only group is read while the first tile reads its second.
    """
    codes = coded([[1], [1], [1]], weight_bits=1, input_bits=2)
    together, apart = (
        count_mapping(mapped(codes, bits_per_cell=1, rows=2, cols=1, active_rows=active))[0] for active in (2, 1)
    )
    assert_counts(
        together,
        reads=2,
        conversions={1: 2, 2: 2},
        rows_driven=12,
        columns_sampled=8,
        cells_read=16,
        conversions_per_read=1,
    )
    assert_counts(
        apart, reads=4, conversions={1: 6}, rows_driven=12, columns_sampled=12, cells_read=16, conversions_per_read=1
    )
    (uniform,) = count_uniform(mapped(codes, bits_per_cell=1, rows=2, cols=1, active_rows=1), 8, 2)
    assert_counts(uniform, reads=2, conversions={8: 8})  # 2 tiles * 2 polarities * 2 cycles


def test_an_offset_plan_has_unit_columns() -> None:
    """One weight 1 of 1 bit is 3 with the offset: level 1 in both 1-bit slices, and a column of ones beside."""
    plan = mapped(coded([[1]], weight_bits=1, input_bits=2), bits_per_cell=1, rows=2, cols=1, encoding="offset")
    assert_counts(
        count_mapping(plan)[0],
        reads=2,
        conversions={1: 4, 2: 4},  # the unit column holds up to 2 inputs
        crossbars={2: 2},  # whose ADC reads the unit column too
        columns_sampled=8,
    )


def without_crossbars(mapping: MappedModel, tile: int) -> MappedModel:
    """The mapping with none on a row tile, as a budget may leave it."""

    def arrays(layer: MappedLayer) -> LayerArrays:
        found = mapping.arrays(layer)
        allocated, bits = found.allocated.copy(), found.adc_bits.copy()
        allocated[tile], bits[tile] = False, 0
        return replace(found, allocated=allocated, adc_bits=bits)

    return replace(mapping, arrays=arrays)


def test_the_sum_of_the_inputs_is_needed_even_where_nothing_else_is() -> None:
    """Row tiles of 2 and 1 rows and two column tiles; the first row tile is driven once, for its unit column alone."""
    matrix, format_ = [[1, 1], [1, 1], [1, 1]], dict[str, Any](bits_per_cell=1, rows=2, cols=1)
    plan = mapped(coded(matrix, weight_bits=1, input_bits=2), encoding="offset", **format_)
    (whole,) = count_mapping(plan)
    # 2 slices on 2 column tiles: 4 crossbars a row tile, each with a column and a unit column of 2 bits; 2 cycles.
    assert_counts(whole, conversions={1: 2 * 4, 2: 2 * (4 + 8)}, crossbars={2: 8}, rows_driven=2 * 4 * 3)
    (left,) = count_mapping(without_crossbars(plan, 0))
    assert_counts(
        left, conversions={1: 2 * 4, 2: 2 * (4 + 1)}, crossbars={2: 5}, rows_driven=2 * (4 + 2), columns_sampled=2 * 9
    )
    # Groups have inputs of their own, and so a unit column each; without an offset nothing is to be added.
    apart = coded([[1, 1]] * 3, groups=2, weight_bits=1, input_bits=2)
    (left,) = count_mapping(without_crossbars(mapped(apart, encoding="offset", **format_), 0))
    assert_counts(left, conversions={1: 2 * 4, 2: 2 * (4 + 2)}, crossbars={2: 6}, rows_driven=2 * (4 + 2 * 2))
    plain = mapped(coded(matrix, weight_bits=1, input_bits=2), eliminate=True, **format_)
    assert_counts(count_mapping(without_crossbars(plain, 0))[0], conversions={1: 4}, crossbars={1: 2}, rows_driven=4)


def test_a_pair_has_one_adc() -> None:
    """One weight 1 of 1 bit beside one of -1: both columns of each are read by one converter, from -1 or up to 1."""
    codes = coded([[1, -1]], weight_bits=1, input_bits=2)
    plan = mapped(codes, bits_per_cell=1, rows=2, cols=2, subtraction="analog", eliminate=True)
    (counts,) = count_mapping(plan)
    assert_counts(
        counts,
        reads=2,
        conversions={1: 4},
        crossbars={0: 1, 1: 1},  # the positive one has the converter
        conversions_per_read=2,
        columns_sampled=4,
        partial_results=4,
        rows_driven=4,
        cells_read=16,
    )
    (apart,) = count_mapping(mapped(codes, bits_per_cell=1, rows=2, cols=2, eliminate=True))
    assert_counts(apart, conversions={1: 4}, crossbars={1: 2}, columns_sampled=8, rows_driven=4)
    assert_counts(count_uniform(plan, 8, 2)[0], conversions={8: 8}, crossbars={8: 2}, columns_sampled=8)


def test_the_baseline_of_unequal_slices_has_the_cells_of_the_target() -> None:
    plan = mapped(coded([[1]]), cut="4-2-2", rows=2, cols=1)
    assert_counts(count_uniform(plan, 8, 2)[0], crossbars={8: 8})  # 4 slices of 2 bits, 2 polarities
    assert_counts(count_mapping(plan)[0], crossbars={0: 5, 1: 1})


@pytest.mark.parametrize("granularity", ["column", "tile", "slice"])
def test_an_adc_is_as_large_as_its_largest_column_whatever_shares_a_resolution(granularity: Any) -> None:
    """Two crossbars of slice 0, of sums 3, 1 and 1: what the second may share with the first it must reach too."""
    plan = mapped(
        coded([[1, 1], [1, 0], [1, 0]], weight_bits=1, input_bits=2),
        bits_per_cell=1,
        cols=1,
        eliminate=True,
        adc=AssignAdc(granularity=granularity),
    )
    (counts,) = count_mapping(plan)
    expected = {2: 2} if granularity == "slice" else {1: 1, 2: 1}
    assert_counts(counts, crossbars=expected, conversions={bits: 2 * number for bits, number in expected.items()})


def test_unit_columns_of_a_ragged_tile_are_read_as_often_as_its_row_groups() -> None:
    """Three rows of offset weights one at a time on tiles of two: two groups on the first tile, one on the second."""
    plan = mapped(
        coded([[1], [1], [1]], weight_bits=1, input_bits=2),
        bits_per_cell=1,
        rows=2,
        cols=1,
        active_rows=1,
        encoding="offset",
    )
    # 1 + 2 = 0b11 in each cell pair: three row groups of two slices, and a unit column on each crossbar, 2 cycles.
    assert_counts(count_mapping(plan)[0], conversions={1: (3 * 2 + 3 * 2) * 2}, columns_sampled=(3 * 2 + 3 * 2) * 2)
