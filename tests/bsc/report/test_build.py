"""What a report says of layers: by hand, and that all layers together are the sum of their slices."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from bsc.mapping.layer import Observed
from bsc.numeric.tolerance import share_beyond
from bsc.report.build import layer_totals, observation, plan_totals
from bsc.report.document import LayerTotals, ObservationTotals
from passes.assign_adc import AssignAdc
from tests.bsc.plans import coded, mapped, only_layer, plan_of, with_adc
from tests.bsc.report.reports import report_of


def summary(*, adc: AssignAdc | None = None, eliminate: bool = True) -> LayerTotals:
    """Of three rows and three columns in 1-bit cells on 2 x 2 arrays: two row tiles, two column tiles.

    slice 0, +     slice 1, +     slice 1, -
      1 0 | 0        1 0 | 0        0 0 | 0
      1 0 | 0        0 0 | 0        0 1 | 0
      ----+--        ----+--        ----+--
      0 0 | 0        1 0 | 0        0 0 | 1
    """
    layer = coded([[3, 0, 0], [1, -2, 0], [2, 0, -2]], weight_bits=2)
    return layer_totals(*only_layer(mapped(layer, bits_per_cell=1, rows=2, cols=2, eliminate=eliminate, adc=adc)))


def test_a_layer_by_hand() -> None:
    found = summary()
    assert (found.column_tiles, found.crossbars, found.possible_crossbars) == (2, 5, 16)
    # Cells in use: 3 crossbars of 2 x 2 in the first tile, then 1 x 2 and 1 x 1; each array has 4 cells.
    assert found.utilisation == (3 * 4 + 2 + 1) / (5 * 4)
    low, high = found.slices
    assert low.density == 2 / 9
    assert high.density == 4 / 9
    assert (low.columns, high.columns) == (2, 7)
    assert (low.largest_sum, high.largest_sum) == (2, 1)
    assert low.proved_bits == low.assigned_bits == {"0": 1, "2": 1}
    assert high.proved_bits == high.assigned_bits == {"0": 3, "1": 4}
    assert (found.columns, found.lossless) == (9, 9)


@pytest.mark.parametrize(
    ("bits", "lossless"),
    [(1, 8), (2, 9)],  # one column of two cells needs 2 bits
)
def test_fixed_resolutions_may_be_lossless(bits: int, lossless: int) -> None:
    found = summary(adc=AssignAdc(policy="fixed", bits=bits))
    assert found.lossless == lossless
    assert found.assigned_bits == {str(bits): 9}
    assert found.proved_bits == {"0": 4, "1": 4, "2": 1}


def test_nothing_is_eliminated() -> None:
    found = summary(eliminate=False)
    assert found.crossbars == found.possible_crossbars == 16
    assert found.utilisation == 3 * 3 * 4 / (16 * 4)  # each weight of 3 x 3 in four planes
    assert found.columns == 2 * 3 * 2 * 2


def test_steps_and_wide_inputs() -> None:
    # Cells 2 and 2 under 2-bit digits: sums 0, 2, ... 12 in steps of 2, which is 6 codes and 0: 3 bits.
    layer, arrays = only_layer(mapped(coded([[2], [2]], weight_bits=2), dac_bits=2))
    (part,) = layer_totals(layer, arrays).slices
    assert (part.largest_sum, part.proved_bits) == (12, {"0": 1, "3": 1})
    for bits, step, lossless in ((3, 2, 2), (4, 1, 2), (3, 1, 1), (2, 2, 1), (4, 4, 1), (0, 1, 1)):
        (part,) = layer_totals(layer, with_adc(arrays, bits, step)).slices
        assert part.lossless == lossless, (bits, step)


def test_packed_groups() -> None:
    # Three groups of 2 x 1, two on a 4 x 4 array: 4 and 2 cells of 16 hold a weight.
    layer = coded([[1, 1, 1], [1, 1, 1]], groups=3, weight_bits=1)
    found = layer_totals(*only_layer(mapped(layer, bits_per_cell=1, rows=4, cols=4, eliminate=True)))
    assert (found.crossbars, found.possible_crossbars) == (2, 4)
    assert found.utilisation == (4 + 2) / (2 * 16)
    assert found.slices[0].density == 1


def test_full_arrays_are_fully_used() -> None:
    found = layer_totals(
        *only_layer(mapped(coded(np.full((4, 4), -1), weight_bits=1), bits_per_cell=1, rows=2, cols=2))
    )
    assert found.utilisation == 1


def test_a_layer_of_zeros() -> None:
    found = layer_totals(*only_layer(mapped(coded(np.zeros((3, 2))), eliminate=True)))
    assert (found.column_tiles, found.crossbars, found.possible_crossbars, found.utilisation) == (0, 0, 8, 0)
    assert (found.columns, found.lossless) == (0, 0)
    assert {(part.density, part.columns, part.largest_sum) for part in found.slices} == {(0, 0, 0)}


def test_what_columns_rest_on() -> None:
    """Sums of 2, 1, 0 and 3 with gcds of 1: proved, held by what was observed, lost, and on no crossbar."""
    layer, arrays = only_layer(
        mapped(coded([[1, 1, 0, 1], [1, 0, 0, 1], [0, 0, 0, 1]], weight_bits=1), bits_per_cell=1)
    )
    seen = np.zeros(arrays.sums.shape, np.uint16)
    seen[0, 0, 0] = [1, 1, 0, 2]
    bits = np.zeros(arrays.sums.shape, np.uint8)
    bits[0, 0, 0] = [1, 1, 0, 1]
    found = layer_totals(layer, replace(with_adc(arrays, bits), observed_sums=seen))
    (part,) = found.slices
    assert part.observed_bits == {"0": 5, "1": 2, "2": 1}
    assert (found.columns, found.lossless, found.observed_lossless_columns, found.unread_crossbars) == (8, 6, 1, 0)
    without = layer_totals(layer, replace(arrays, allocated=np.zeros_like(arrays.allocated)))
    assert (without.unread_crossbars, without.columns, without.observed_lossless_columns) == (1, 0, 0)
    assert without.slices[0].observed_bits is None


def test_what_pairs_rest_on() -> None:
    """Four pairs of sums from -6 to 2 in steps of 2: codes of -3 to 1."""
    layer, arrays = only_layer(mapped(coded([[2] * 4, *[[-2] * 4] * 3], weight_bits=2), subtraction="analog"))
    assert arrays.adc_low is not None

    def of(values: list[int], dtype: type) -> NDArray[np.integer]:
        return np.array([[[values]]], dtype)

    # Two bits from -1, -2 and -1 on for sums of -2 to 2 and, of the third, -4 on; the last has the proof's own.
    changed = replace(
        arrays,
        adc_bits=of([2, 2, 2, 3], np.uint8),
        adc_low=of([-1, -2, -1, -3], np.int32),
        observed_sums=of([2, 2, 2, 0], np.uint32),
        observed_lows=of([-2, -2, -4, 0], np.int32),
    )
    found = layer_totals(layer, changed)
    (part,) = found.slices
    assert part.proved_bits == {"3": 4}
    assert part.observed_bits == {"0": 1, "2": 3}
    assert (found.conversions, found.lossless, found.observed_lossless_columns) == (4, 1, 2)
    # A step that rounds, codes that do not reach as far, and a pair that met nothing but 0.
    wide = replace(changed, adc_lsb=of([4, 1, 2, 3], np.uint8))
    assert layer_totals(layer, wide).observed_lossless_columns == 1


def test_all_layers_by_hand() -> None:
    """Codes 2, 1 and -1: slice 0 has the sums 3 (+, 2 bits) and 1 (-, 1 bit), every other column is all zero."""
    report = report_of(plan_of(coded([[2], [1], [-1]])))
    whole = report.totals
    assert (whole.crossbars, whole.conversions, whole.largest_adc_bits) == (8, 8, 2)
    assert whole.mean_adc_bits == 3 / 8
    assert whole.rests_on == {"proved": 1.0}
    assert report.cost.plan.conversions == 2 * 8
    # Sign and magnitude: the same columns. Offset: a fifth slice for the sign, a column and a unit column in each.
    assert report.cost.uniform_8_bit.conversions == 8 * 8
    assert report.cost.isaac_offset_8_bit.conversions == 8 * 5 * 2


def test_columns_that_are_not_proved_rest_on_the_policy() -> None:
    """One bit reads 0 and 1: enough for all columns but the one whose sum is 3."""
    whole = report_of(plan_of(coded([[2], [1], [-1]]), adc=AssignAdc(policy="fixed", bits=1))).totals
    assert whole.rests_on == {"proved": 7 / 8, "fixed": 1 / 8}


def test_layers_add_up_to_the_whole() -> None:
    """Of two and of four slices, with one mean over all columns and not over layers."""
    report = report_of(
        plan_of(
            coded([[1, -2], [3, 4]], name="a", weight_bits=4),
            coded(np.full((2, 2), 255), name="b", input="y", output="z"),
        )
    )
    whole, layers = report.totals, list(report.layers.values())
    assert [len(layer.slices) for layer in layers] == [2, 4]
    assert len(whole.slices) == 4
    for parts in (layers, whole.slices):
        for name in ("crossbars", "cells", "columns", "conversions", "lossless", "weights", "nonzero_cells"):
            assert getattr(whole, name) == sum(getattr(part, name) for part in parts), name
        assert whole.largest_adc_bits == max(part.largest_adc_bits for part in parts)
        means = [(part.mean_adc_bits or 0) * part.conversions for part in parts]
        assert whole.mean_adc_bits == pytest.approx(sum(means) / whole.conversions)
    assert whole.slices[3] == layers[1].slices[3]
    spend = report.cost.plan
    for name in ("conversions", "energy_j", "adc_energy_j", "latency_s", "area_m2"):
        assert getattr(spend, name) == pytest.approx(sum(getattr(each, name) for each in spend.layers.values())), name


def test_the_paper_law_prices_the_same_conversions() -> None:
    """One bit costs 1 / 28.4 of eight under 2^N / (N + 1)."""
    found = report_of(plan_of(coded([[1]]), adc=AssignAdc(policy="fixed", bits=1))).cost.adc_laws["saberi"]
    eight = report_of(plan_of(coded([[1]]), adc=AssignAdc(policy="isaac"))).cost.adc_laws["saberi"]
    assert (eight.adc_energy_j or 0) / (found.adc_energy_j or 1) == pytest.approx(28.444, abs=1e-3)


def test_what_calibration_data_say_of_all_layers() -> None:
    """Two layers of a column that lost nothing in 8 and 16 conversions, one that did, and one never looked at."""

    def layer(covered: int, conversions: int | None) -> LayerTotals:
        found = layer_totals(*only_layer(mapped(coded([[1]], weight_bits=1), bits_per_cell=1)))
        record = conversions and Observed(samples=1, vectors=conversions // 2, conversions=conversions)
        changes = {
            "lossless": 1,
            "observed_lossless_columns": covered,
            "observed": record and observation(record, signed=False),
        }
        return found.model_copy(update=changes)

    layers = {"a": layer(1, 8), "b": layer(1, 16), "c": layer(0, 4), "d": layer(0, None)}
    records = [only_layer(mapped(coded([[1]], name=name)))[0] for name in layers]
    found = plan_totals(records, layers).observed
    assert found == ObservationTotals(
        lossless_conversions=24, fewest_conversions=8, overflow_bound_95=share_beyond(4, ends=1), losing=1
    )
    assert plan_totals(records[3:], layers).observed is None
    signed = observation(Observed(samples=1, vectors=4, conversions=8), signed=True)
    assert signed.overflow_bound_95 == share_beyond(4, ends=2)
    alone = plan_totals(records[2:], layers).observed
    assert alone == ObservationTotals(lossless_conversions=0, fewest_conversions=None, overflow_bound_95=None, losing=1)


def test_what_crossbars_hold() -> None:
    """Codes 3, -1 and 12 in two-bit slices on crossbars of two rows and one column; crossbars of zeros are left out."""
    adc = AssignAdc(policy="fixed", bits=3)
    plan = mapped(coded([[3, -1], [3, 0], [12, 0]]), rows=2, cols=1, eliminate=True, adc=adc)
    found = layer_totals(*only_layer(plan))
    assert [part.crossbars for part in found.slices] == [2, 1, 0, 0]
    assert [part.crossbars_by_adc_bits for part in found.slices] == [{"3": 2}, {"3": 1}, {}, {}]
    assert [part.cells for part in found.slices] == [4, 2, 0, 0]
    assert [part.cells_in_use for part in found.slices] == [4, 1, 0, 0]
    assert [part.nonzero_share for part in found.slices] == [3 / 4, 1.0, None, None]
    assert [part.utilisation for part in found.slices] == [1.0, 0.5, 0.0, 0.0]
    assert (found.crossbars, found.cells_in_use, found.utilisation) == (3, 5, 5 / 6)
