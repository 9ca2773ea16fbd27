from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from bsc.plan.summary import LayerSummary, summarise, summarise_layer, total
from passes.assign_adc import AssignAdc
from tests.bsc.plans import coded, mapped, only_layer, with_adc


def histogram(counts: NDArray[np.int64]) -> dict[int, int]:
    return {int(bits): int(counts[bits]) for bits in np.flatnonzero(counts)}


def summary(*, adc: AssignAdc | None = None, eliminate: bool = True) -> LayerSummary:
    """Of three rows and three columns in 1-bit cells on 2 x 2 arrays: two row tiles, two column tiles.

    slice 0, +     slice 1, +     slice 1, -
      1 0 | 0        1 0 | 0        0 0 | 0
      1 0 | 0        0 0 | 0        0 1 | 0
      ----+--        ----+--        ----+--
      0 0 | 0        1 0 | 0        0 0 | 1
    """
    layer = coded([[3, 0, 0], [1, -2, 0], [2, 0, -2]], weight_bits=2)
    (found,) = summarise(mapped(layer, bits_per_cell=1, rows=2, cols=2, eliminate=eliminate, adc=adc))
    return found


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
    assert histogram(low.proved) == histogram(low.assigned) == {0: 1, 2: 1}
    assert histogram(high.proved) == histogram(high.assigned) == {0: 3, 1: 4}
    assert (found.columns, found.lossless) == (9, 9)


@pytest.mark.parametrize(
    ("bits", "lossless"),
    [(1, 8), (2, 9)],  # one column of two cells needs 2 bits
)
def test_fixed_resolutions_may_be_lossless(bits: int, lossless: int) -> None:
    found = summary(adc=AssignAdc(policy="fixed", bits=bits))
    assert found.lossless == lossless
    assert histogram(total(part.assigned for part in found.slices)) == {bits: 9}
    assert histogram(total(part.proved for part in found.slices)) == {0: 4, 1: 4, 2: 1}


def test_nothing_is_eliminated() -> None:
    found = summary(eliminate=False)
    assert found.crossbars == found.possible_crossbars == 16
    assert found.utilisation == 3 * 3 * 4 / (16 * 4)  # each weight of 3 x 3 in four planes
    assert found.columns == 2 * 3 * 2 * 2


def test_steps_and_wide_inputs() -> None:
    # Cells 2 and 2 under 2-bit digits: sums 0, 2, ... 12 in steps of 2, which is 6 codes and 0: 3 bits.
    layer, arrays = only_layer(mapped(coded([[2], [2]], weight_bits=2), dac_bits=2))
    (part,) = summarise_layer(layer, arrays).slices
    assert (part.largest_sum, histogram(part.proved)) == (12, {0: 1, 3: 1})
    for bits, step, lossless in ((3, 2, 2), (4, 1, 2), (3, 1, 1), (2, 2, 1), (4, 4, 1), (0, 1, 1)):
        (part,) = summarise_layer(layer, with_adc(arrays, bits, step)).slices
        assert part.lossless == lossless, (bits, step)


def test_packed_groups() -> None:
    # Three groups of 2 x 1, two on a 4 x 4 array: 4 and 2 cells of 16 hold a weight.
    layer = coded([[1, 1, 1], [1, 1, 1]], groups=3, weight_bits=1)
    (found,) = summarise(mapped(layer, bits_per_cell=1, rows=4, cols=4, eliminate=True))
    assert (found.crossbars, found.possible_crossbars) == (2, 4)
    assert found.utilisation == (4 + 2) / (2 * 16)
    assert found.slices[0].density == 1


def test_full_arrays_are_fully_used() -> None:
    (found,) = summarise(mapped(coded(np.full((4, 4), -1), weight_bits=1), bits_per_cell=1, rows=2, cols=2))
    assert found.utilisation == 1


def test_a_layer_of_zeros() -> None:
    (found,) = summarise(mapped(coded(np.zeros((3, 2))), eliminate=True))
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
    found = summarise_layer(layer, replace(with_adc(arrays, bits), observed_sums=seen))
    (part,) = found.slices
    assert part.observed is not None
    assert histogram(part.observed) == {0: 5, 1: 2, 2: 1}
    assert (found.columns, found.lossless, found.covered, found.unread_crossbars) == (8, 6, 1, 0)
    without = summarise_layer(layer, replace(arrays, allocated=np.zeros_like(arrays.allocated)))
    assert (without.unread_crossbars, without.columns, without.covered) == (1, 0, 0)
    assert without.slices[0].observed is None


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
    found = summarise_layer(layer, changed)
    (part,) = found.slices
    assert part.observed is not None
    assert histogram(part.proved) == {3: 4}
    assert histogram(part.observed) == {0: 1, 2: 3}
    assert (found.conversions, found.lossless, found.covered) == (4, 1, 2)
    wide = replace(changed, adc_step=of([4, 1, 2, 2], np.uint8))
    assert summarise_layer(layer, wide).covered == 0  # steps that round, and codes that do not reach as far
