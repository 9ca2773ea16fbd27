import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bsc.errors import DoesNotFitError, ModelError, UsageError
from bsc.ir.graph import Graph
from passes.assign_adc import AssignAdc
from passes.eliminate import Eliminate
from passes.slice_bits import SliceBits
from passes.tile import Tile
from tests.bsc.plans import coded, mapped, only_layer
from tests.passes.layers import array, assert_runs_once, coded_layer, compiled, float_layer, sparse_codes

GRANULARITIES = ["column", "tile", "slice"]


def bits_and_steps(graph: Graph) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """(T, S, P, N) each."""
    return array(graph, "adc_bits"), array(graph, "adc_lsb")


def assigned(codes: Any, *, rows: int = 4, cols: int = 2, dac_bits: int = 1, **options: Any) -> Graph:
    cut = SliceBits(dac_bits=dac_bits)
    return compiled(coded_layer(codes), Eliminate(), cut, Tile(rows=rows, cols=cols), AssignAdc(**options))


def read(sums: NDArray[np.int64], bits: int, step: int) -> NDArray[np.float64]:
    """What a converter makes of column sums, as `AdcAssignment` says."""
    return np.asarray(step * np.minimum(np.rint(sums / step), 2**bits - 1))


# Two row tiles of two rows in 2-bit cells, the low slice of positive weights; columns 0 and 1 share a crossbar.
CODES = [[2, 3, 1], [2, 3, 0], [2, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize(
    ("granularity", "bits", "steps"),
    [
        # U / g + 1 = 4/2 + 1, 6/3 + 1, 1 + 1; then 2/2 + 1 and columns of zeros.
        ("column", [[2, 2, 1], [1, 0, 0]], [[2, 3, 1], [2, 1, 1]]),
        # The first crossbar: U = 6, g = 1.
        ("tile", [[3, 3, 1], [1, 0, 0]], [[1, 1, 1], [2, 1, 1]]),
        ("slice", [[3, 3, 3], [3, 0, 0]], [[1, 1, 1], [1, 1, 1]]),
    ],
)
def test_lossless_by_hand(granularity: Any, bits: list[list[int]], steps: list[list[int]]) -> None:
    cut, tile = SliceBits(), Tile(rows=2, cols=2)
    graph = compiled(coded_layer(CODES), cut, tile, AssignAdc(granularity=granularity))
    actual_bits, actual_steps = bits_and_steps(graph)
    assert actual_bits[:, 0, 0].tolist() == bits
    assert actual_steps[:, 0, 0].tolist() == steps
    assert not actual_bits[:, 1:].any()
    assert not actual_bits[:, :, 1].any()


@settings(deadline=None)
@given(
    cells=st.lists(st.sampled_from([0, 1, 2, 3]) | st.sampled_from([0, 2]), min_size=1, max_size=5),
    dac_bits=st.sampled_from([1, 2]),
)
def test_lossless_is_exact_and_one_bit_less_is_not(cells: list[int], dac_bits: int) -> None:
    """Over every input a column can see."""
    cut = SliceBits(dac_bits=dac_bits)
    graph = compiled(coded_layer(np.array(cells)[:, None], weight_bits=2), cut, Tile(), AssignAdc())
    bits, step = (values.item(0) for values in bits_and_steps(graph))
    inputs = np.array(list(itertools.product(range(2**dac_bits), repeat=len(cells))))
    sums = inputs @ np.array(cells)
    if bits == 0:
        assert not sums.any()
        return
    np.testing.assert_array_equal(read(sums, bits, step), sums)
    for smaller_step in range(1, 4):
        assert (read(sums, bits - 1, smaller_step) != sums).any()


@settings(deadline=None)
@given(sparse_codes(), st.integers(1, 16), st.integers(1, 8), st.integers(1, 3), st.sampled_from(GRANULARITIES))
def test_every_granularity_is_exact(
    codes: NDArray[np.int16], rows: int, cols: int, dac_bits: int, granularity: str
) -> None:
    """Whatever is shared, the range holds every column's largest sum and the step divides all its cells."""
    graph = assigned(codes, rows=rows, cols=cols, dac_bits=dac_bits, granularity=granularity)
    alone, _ = bits_and_steps(assigned(codes, rows=rows, cols=cols, dac_bits=dac_bits))
    bits, steps = bits_and_steps(graph)
    bound = array(graph, "sums").astype(np.int64) * (2**dac_bits - 1)
    assert (bits >= alone).all()
    assert ((bits == 0) == (bound == 0)).all()
    assert ((2 ** bits.astype(np.int64) - 1) * steps >= bound).all()
    assert (array(graph, "gcds") % steps == 0).all()
    if granularity == "slice":
        assert all(len(np.unique(bits[:, slice_][bound[:, slice_] > 0])) <= 1 for slice_ in range(4))


@pytest.mark.parametrize(
    ("options", "bits"), [({"policy": "isaac", "bits": 5}, 8), ({"policy": "fixed", "bits": 5}, 5)]
)
@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_policies_without_a_proof(options: dict[str, Any], bits: int, granularity: str) -> None:
    """Every column of an allocated crossbar, its zeros too, and none of another."""
    graph = assigned([[1, 0, -4], [0, 0, -4]], rows=1, granularity=granularity, **options)
    actual_bits, steps = bits_and_steps(graph)
    # Column 1 is eliminated; columns 0 and 2 share a column tile.
    assert actual_bits[:, 0, 0].tolist() == [[bits, bits], [0, 0]]
    assert actual_bits[:, 1, 1].tolist() == [[bits, bits], [bits, bits]]
    assert np.count_nonzero(actual_bits) == 6
    assert (steps == 1).all()


def test_a_layer_of_zeros() -> None:
    for policy, granularity in itertools.product(["lossless", "isaac"], GRANULARITIES):
        bits, steps = bits_and_steps(assigned(np.zeros((3, 2)), policy=policy, granularity=granularity))
        assert bits.shape == steps.shape == (0, 4, 2, 0)


def test_a_column_of_zeros_is_not_converted_without_eliminate() -> None:
    graph = compiled(coded_layer(np.zeros((3, 2))), SliceBits(), Tile(), AssignAdc())
    assert not bits_and_steps(graph)[0].any()
    graph = compiled(coded_layer(np.zeros((3, 2))), SliceBits(), Tile(), AssignAdc(policy="isaac"))
    assert (bits_and_steps(graph)[0] == math.log2(256)).all()


def wide_column(rows: int) -> Graph:
    """One column of `rows` codes 255 and a 1, all in one 8-bit cell: U = 255 * rows + 1."""
    codes = np.full((rows + 1, 1), 255)
    codes[0] = 1
    return compiled(coded_layer(codes), SliceBits(bits_per_cell=8), Tile(rows=512))


def test_16_bits_are_the_limit() -> None:
    # 255 * 256 + 1 = 65281 and 255 * 257 + 1 = 65536 on both sides of 2**16 - 1.
    assert bits_and_steps(compiled(wide_column(256), AssignAdc()))[0].max() == 16
    with pytest.raises(DoesNotFitError) as caught:
        AssignAdc().run(wide_column(257))
    assert str(caught.value) == (
        "[BSC401] layer 'fc': a lossless conversion needs more than 16 bits\n"
        "  seen: 17 bits for 8-bit cells, 1-bit DAC, 512 rows\n"
        "  fix:  use fewer rows, fewer bits per cell or a narrower DAC"
    )
    assert AssignAdc(policy="fixed").run(wide_column(257)).changed == ("fc",)


def test_the_largest_sum_that_options_allow_is_refused_not_wrapped() -> None:
    codes = np.full((16384, 1), 255)
    codes[0] = 1
    graph = compiled(coded_layer(codes), SliceBits(bits_per_cell=8, dac_bits=8), Tile(rows=16384))
    with pytest.raises(DoesNotFitError, match="seen: 30 bits for 8-bit cells, 8-bit DAC, 16384 rows"):
        AssignAdc().run(graph)


@pytest.mark.parametrize("policy", ["lossless", "isaac"])
def test_runs_once(policy: Any) -> None:
    assert_runs_once(AssignAdc(policy=policy), compiled(coded_layer([[1, 2]]), SliceBits(), Tile()))


def test_option_limits() -> None:
    for value in (1, 16):
        bits, _ = bits_and_steps(assigned([[1]], policy="fixed", bits=value))
        assert bits.max() == value
    for value in (0, 17):
        with pytest.raises(UsageError) as caught:
            AssignAdc(bits=value)
        assert str(caught.value) == (
            f"[BSC205] pass 'assign-adc': bits must be 1 to 16\n  seen: {value}\n  fix:  choose assign-adc{{bits=8}}"
        )


@pytest.mark.parametrize(
    ("graph", "missing"),
    [
        (float_layer([[1.0]]), "quantize"),
        (coded_layer([[1]]), "slice-bits"),
        (compiled(coded_layer([[1]]), SliceBits()), "tile"),
    ],
)
def test_words_in_the_wrong_order(graph: Graph, missing: str) -> None:
    with pytest.raises(ModelError) as caught:
        AssignAdc().run(graph)
    assert str(caught.value) == (
        f"[BSC309] layer 'fc': pass 'assign-adc' needs what '{missing}' computes\n"
        f"  seen: no result of '{missing}' in the graph\n"
        f"  fix:  put '{missing}' before 'assign-adc' in --passes"
    )


@pytest.mark.parametrize(
    ("granularity", "bits", "steps", "lowest"),
    [
        # Column 0: 4 up and 2 down in steps of 2, codes -1..2; column 1: 6 up in steps of 3; column 2: 1 down.
        ("column", [2, 2, 1], [2, 3, 1], [-1, 0, -1]),
        # From -2 to 6 in steps of 1 on the first crossbar.
        ("tile", [4, 4, 1], [1, 1, 1], [-2, -2, -1]),
        ("slice", [4, 4, 4], [1, 1, 1], [-2, -2, -2]),
    ],
)
def test_pairs_by_hand(granularity: Any, bits: list[int], steps: list[int], lowest: list[int]) -> None:
    """Both columns of a weight are subtracted, then converted once, from the lowest difference on."""
    codes, cut = [[2, 3, -1], [2, 3, 0], [-2, 0, 0]], SliceBits(subtraction="analog")
    graph = compiled(coded_layer(codes), cut, Tile(rows=4, cols=2), AssignAdc(granularity=granularity))
    found = [array(graph, name) for name in ("adc_bits", "adc_lsb", "adc_low")]
    assert {values.shape for values in found} == {(1, 4, 1, 3)}
    assert [values[0, 0, 0].tolist() for values in found] == [bits, steps, lowest]
    assert not found[0][:, 1:].any()


def test_other_policies_read_pairs_half_below_zero() -> None:
    graph = compiled(coded_layer([[1]]), SliceBits(subtraction="analog"), Tile(), AssignAdc(policy="fixed", bits=3))
    assert (array(graph, "adc_bits")[0, 0].item(), array(graph, "adc_low")[0, 0].item()) == (3, -4)


def test_a_dac_is_not_driven_higher_than_the_inputs_have_bits() -> None:
    """One cell of level 1 and inputs of 2 bits: sums up to 3, whatever a wider DAC could drive."""
    for dac_bits in (2, 8):
        arrays = only_layer(mapped(coded([[1]], input_bits=2), dac_bits=dac_bits))[1]
        assert arrays.adc_bits.max() == 2
