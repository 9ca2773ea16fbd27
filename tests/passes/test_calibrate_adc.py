from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bsc.errors import ModelError, UsageError
from bsc.numeric.column_stats import lossless_bits
from passes.assign_adc import AssignAdc
from passes.calibrate_adc import CalibrateAdc
from passes.eliminate import Eliminate
from passes.slice_bits import SliceBits
from passes.tile import Tile
from tests.passes.layers import array, assert_runs_once, coded_layer, compiled, sparse_codes, the_layer
from tests.passes.observed import bits_and_steps, observed, really_observed, tiled

# Sums of up to 6, 6 and 0 in units of 2, 3 and 1: 2 and 2 bits are proved to be enough.
CODES = [[2, 3, 0], [2, 3, 0], [2, 0, 0]]


@pytest.mark.parametrize(
    ("options", "bits", "steps"),
    [
        # Beyond 0, 1, 2 bits: nothing of column 0 is beyond one bit; column 1 was never driven, and gets one bit.
        ({}, [1, 1, 0], [2, 3, 1]),
        ({"spare_bits": 1}, [2, 2, 0], [2, 3, 1]),
        ({"spare_bits": 9}, [2, 2, 0], [2, 3, 1]),  # no more than are proved
    ],
)
def test_covering_by_hand(options: Any, bits: list[int], steps: list[int]) -> None:
    graph = observed(tiled(CODES, cols=3), [[4, 0, 0], [0, 0, 0], [0, 0, 0]])
    actual_bits, actual_steps = bits_and_steps(compiled(graph, CalibrateAdc(**options)))
    assert actual_bits[0, 0, 0].tolist() == bits
    assert actual_steps[0, 0, 0].tolist() == steps
    assert not actual_bits[0, 0, 1].any()


def test_what_loses_something_has_the_best_step() -> None:
    graph = observed(
        tiled(CODES, cols=3),
        [[8, 5, 0], [7, 1, 0], [0, 0, 0]],
        damage=np.zeros((3, 3)),
        step=[[2, 6, 2], [3, 6, 3], [1, 1, 1]],
        mean=[[9.0, 0.5, 0.0], [9.0, -2.0, 0.0], [0.0, 0.0, 0.0]],
    )
    bits, steps = bits_and_steps(compiled(graph, CalibrateAdc(clip_share=0.1)))
    assert bits[0, 0, 0].tolist() == [2, 1, 0]
    assert steps[0, 0, 0].tolist() == [2, 6, 1]
    limited = compiled(graph, CalibrateAdc(most_bits=1, correct="bias"))
    bits, steps = bits_and_steps(limited)
    assert (bits[0, 0, 0].tolist(), steps[0, 0, 0].tolist()) == ([1, 1, 0], [6, 6, 1])
    adc = the_layer(limited).adc
    assert adc is not None
    assert array(limited, adc.correction).tolist() == [0, 2, 0]  # -0.5 to even


def test_shared_over_a_crossbar_and_a_slice() -> None:
    """Two columns to a crossbar: units 1 and 1, the first of which needs two bits."""
    graph = observed(tiled([[3, 1, 1], [1, 0, 0]], cols=2), [[4, 4, 1, 0], [5, 0, 0, 0], [5, 0, 0, 0]])
    for granularity, bits in (("tile", [3, 1, 1]), ("slice", [3, 3, 3])):
        shared = compiled(graph, CalibrateAdc(granularity=granularity))  # type: ignore[arg-type]
        actual, _ = bits_and_steps(shared)
        assert actual[0, 0, 0, 0] == bits[0]
        assert actual[0, 0, 0, 2] == bits[2]


@settings(deadline=None, max_examples=30)
@given(
    sparse_codes(),
    st.sampled_from(["column", "tile", "slice"]),
    st.integers(0, 2),
    st.integers(0, 2**32 - 1),
)
def test_what_was_observed_never_clips_and_never_rounds(
    codes: NDArray[np.int16], granularity: Any, spare: int, seed: int
) -> None:
    step = CalibrateAdc(granularity=granularity, spare_bits=spare)
    graph = compiled(coded_layer(codes), SliceBits(), Eliminate(), Tile(rows=16, cols=5))
    inputs = np.random.default_rng(seed).integers(0, 4, (6, len(codes)))
    graph = compiled(really_observed(graph, inputs, step.observes()), step)
    bits, steps = bits_and_steps(graph)
    layer = the_layer(graph)
    assert layer.tiling is not None
    assert layer.observed is not None
    top = (2 ** bits.astype(np.int64) - 1) * steps
    sums, gcds = array(graph, layer.tiling.sums), array(graph, layer.tiling.gcds)
    assert (array(graph, layer.observed.highest) <= top).all()
    assert (gcds % steps == 0).all()
    assert ((bits > 0) == (sums > 0)).all()
    lossless = compiled(graph.with_layers({"fc": _without_adc(layer)}), AssignAdc(granularity=granularity))
    assert (bits <= bits_and_steps(lossless)[0]).all()
    if granularity == "column":
        needed = lossless_bits(array(graph, layer.observed.highest), np.maximum(gcds, 1))
        proved = lossless_bits(sums, np.maximum(gcds, 1))
        np.testing.assert_array_equal(bits, np.minimum(np.maximum(needed, sums > 0) + spare, proved))


def _without_adc(layer: Any) -> Any:
    from dataclasses import replace

    return replace(layer, adc=None)


def test_runs_once() -> None:
    assert_runs_once(CalibrateAdc(), observed(tiled([[1]]), [[1, 0]]))


def test_words_without_data() -> None:
    with pytest.raises(UsageError) as caught:
        CalibrateAdc().run(tiled([[1]]))
    assert str(caught.value) == (
        "[BSC201] pass 'calibrate-adc' needs calibration data\n"
        "  seen: no observations of the column sums\n"
        "  fix:  give typical inputs with --calib FILE.npz"
    )
    with pytest.raises(ModelError, match="needs what 'slice-bits' computes"):
        CalibrateAdc().run(coded_layer([[1]]))


@pytest.mark.parametrize(
    ("option", "inside", "outside", "limits"),
    [
        ("spare_bits", (0, 16), (-1, 17), "0 to 16"),
        ("clip_share", (0, 0.99), (-0.1, 1), "0 or more and below 1"),
        ("most_bits", (0, 16), (-1, 17), "0 to 16"),
        ("vectors", (1, 10**9), (0,), "1 or more"),
        ("seed", (0, 10**9), (-1,), "0 or more"),
    ],
)
def test_option_limits(option: str, inside: Any, outside: Any, limits: str) -> None:
    for value in inside:
        assert getattr(CalibrateAdc(**{option: value}), option) == value
    for value in outside:
        with pytest.raises(UsageError) as caught:
            CalibrateAdc(**{option: value})
        name = option.replace("_", "-")
        assert str(caught.value) == (
            f"[BSC205] pass 'calibrate-adc': {name} must be {limits}\n"
            f"  seen: {value}\n"
            f"  fix:  leave {name} out, or choose another value"
        )
