from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bsc.errors import ModelError, UsageError
from bsc.mapping.arrays import array_key
from bsc.numeric.column_stats import lossless_bits, sum_range
from bsc.numeric.sharing import group_sums, sharing_groups
from bsc.replay.engine import LayerEngine, ReplayOptions
from passes.assign_adc import AssignAdc
from passes.calibrate_adc import CalibrateAdc
from passes.eliminate import Eliminate
from passes.slice_bits import SliceBits
from passes.tile import Tile
from tests.bsc.plans import only_layer
from tests.passes.layers import array, assert_runs_once, coded_layer, compiled, sparse_codes, the_layer
from tests.passes.observed import bits_and_steps, lowest_codes, observed, plan_from_data, really_observed, tiled

# Sums of up to 6, 6 and 0 in units of 2, 3 and 1: 2 and 2 bits are proved to be enough.
CODES = [[2, 3, 0], [2, 3, 0], [2, 0, 0]]


@pytest.mark.parametrize(
    ("options", "bits", "steps"),
    [
        # One bit holds the 2 of column 0; column 1 was never driven, and gets one bit.
        ({}, [1, 1, 0], [2, 3, 1]),
        ({"spare_bits": 1}, [2, 2, 0], [2, 3, 1]),
        ({"spare_bits": 9}, [2, 2, 0], [2, 3, 1]),  # no more than are proved
    ],
)
def test_covering_by_hand(options: Any, bits: list[int], steps: list[int]) -> None:
    graph = observed(tiled(CODES, cols=3), highest=[2, 0, 0])
    actual_bits, actual_steps = bits_and_steps(compiled(graph, CalibrateAdc(**options)))
    assert actual_bits[0, 0, 0].tolist() == bits
    assert actual_steps[0, 0, 0].tolist() == steps
    assert not actual_bits[0, 0, 1].any()


# Sums of -6 to 4 in units of 2, of -3 to 0 in units of 3 and of 0: codes of -3 to 2, -1 to 0 and none.
PAIRS = [[2, -3, 0], [2, 0, 0], [-2, 0, 0], [-2, 0, 0], [-2, 0, 0]]


@pytest.mark.parametrize(
    ("options", "bits", "lows"),
    [
        ({}, [1, 1, 0], [0, -1, 0]),  # one bit holds 0 and 2; of what can be met, -3 alone is left for the other
        ({"spare_bits": 1}, [2, 1, 0], [-1, -1, 0]),  # of two spare codes one lies below
        ({"spare_bits": 9}, [3, 1, 0], [-3, -1, 0]),  # as the proof has it
    ],
)
def test_covering_pairs_by_hand(options: Any, bits: list[int], lows: list[int]) -> None:
    graph = observed(tiled(PAIRS, rows=5, cols=3, subtraction="analog"), highest=[2, 0, 0], lowest=[0, 0, 0])
    done = compiled(graph, CalibrateAdc(**options))
    actual_bits, actual_steps = bits_and_steps(done)
    assert actual_bits.tolist() == [[[bits]]]
    assert actual_steps.tolist() == [[[[2, 3, 1]]]]
    assert lowest_codes(done).tolist() == [[[lows]]]


def test_pairs_that_lose_something_have_the_best_step_and_place() -> None:
    graph = observed(
        tiled(PAIRS, rows=5, cols=3, subtraction="analog"),
        highest=[4, 0, 0],
        lowest=[-4, 0, 0],
        beyond=[[9, 5, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]],
        squared_error=np.zeros((3, 4)),
        step=[[2, 6, 4, 2], [3, 3, 3, 3], [1, 1, 1, 1]],
        low=[[0, -1, -2, -3], [0, -1, -1, -1], [0, 0, 0, 0]],
        mean=[[9.0, 0.5, 1.5, 0.0], [0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]],
    )
    done = compiled(graph, CalibrateAdc(clip_share=0.1, correct="bias"))
    bits, steps = bits_and_steps(done)
    assert [bits.ravel().tolist(), steps.ravel().tolist()] == [[2, 1, 0], [4, 3, 1]]
    assert lowest_codes(done).ravel().tolist() == [-2, -1, 0]
    adc = the_layer(done).adc
    assert adc is not None
    assert array(done, "correction").tolist() == [-2, 0, 0]
    limited = compiled(graph, CalibrateAdc(most_bits=1))
    assert bits_and_steps(limited)[1].ravel().tolist() == [6, 3, 1]
    assert lowest_codes(limited).ravel().tolist() == [-1, -1, 0]


def test_the_bias_of_a_flipped_column_is_added() -> None:
    """Codes of 3 next to an offset of 4: cells of 7, flipped, hold nothing; of the other column they hold 1."""
    codes = np.array([[3, -3], [2, -3]])
    graph = compiled(
        coded_layer(codes, weight_bits=2), SliceBits(bits_per_cell=3, encoding="offset", flip="yes"), Tile()
    )
    step = CalibrateAdc(most_bits=0, correct="bias")
    seen = really_observed(graph, np.full((4, 2), 255), step.observes())
    layer = the_layer(seen)
    assert layer.tiling is not None
    assert layer.observed is not None
    assert array(seen, "flipped").ravel().tolist() == [True, False]
    tables = {array_key("fc", "mean"): np.full((1, 1, 1, 2, 3), 2.0, np.float32)}
    done = compiled(seen.with_layers({}, tables), step)
    adc = the_layer(done).adc
    assert adc is not None
    assert array(done, "correction").tolist() == [2, -2]


def test_what_loses_something_has_the_best_step() -> None:
    graph = observed(
        tiled(CODES, cols=3),
        highest=[6, 6, 0],
        beyond=[[8, 5, 0], [7, 1, 0], [0, 0, 0]],
        squared_error=np.zeros((3, 3)),
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
    assert array(limited, "correction").tolist() == [0, 2, 0]  # -0.5 to even


def test_shared_over_a_crossbar_and_a_slice() -> None:
    """Two columns to a crossbar: units 1 and 1, the first of which needs three bits."""
    graph = observed(tiled([[3, 1, 1], [1, 0, 0]], cols=2), highest=[4, 1, 1])
    for granularity, bits in (("tile", [3, 1, 1]), ("slice", [3, 3, 3])):
        shared = compiled(graph, CalibrateAdc(granularity=granularity))  # type: ignore[arg-type]
        actual, _ = bits_and_steps(shared)
        assert actual[0, 0, 0, 0] == bits[0]
        assert actual[0, 0, 0, 2] == bits[2]


@pytest.mark.parametrize("subtraction", ["digital", "analog"])
@settings(deadline=None, max_examples=30)
@given(
    sparse_codes(),
    st.sampled_from(["column", "tile", "slice"]),
    st.integers(0, 2),
    st.integers(0, 2**32 - 1),
)
def test_what_was_observed_never_clips_and_never_rounds(
    subtraction: Any, codes: NDArray[np.int16], granularity: Any, spare: int, seed: int
) -> None:
    step = CalibrateAdc(granularity=granularity, spare_bits=spare)
    graph = compiled(coded_layer(codes), SliceBits(subtraction=subtraction), Eliminate(), Tile(rows=16, cols=5))
    inputs = np.random.default_rng(seed).integers(0, 4, (6, len(codes)))
    graph = compiled(really_observed(graph, inputs, step.observes()), step)
    bits, steps = bits_and_steps(graph)
    layer = the_layer(graph)
    assert layer.tiling is not None
    assert layer.observed is not None
    assert layer.slicing is not None
    first = lowest_codes(graph).astype(np.int64)
    lows, tops = first * steps, (first + 2 ** bits.astype(np.int64) - 1) * steps
    found = sum_range(array(graph, "sums"), array(graph, "gcds"), layer.slicing.format_of(8), 1)
    highest = array(graph, "observed_sums").astype(np.int64)
    lowest = graph.arrays_of("fc").get("observed_lows", 0 * highest)
    assert ((lows <= lowest) & (highest <= tops)).all()
    assert (found.step % steps == 0).all()
    assert ((bits > 0) == (found.high > found.low)).all()
    lossless = compiled(graph.with_layers({"fc": _without_adc(layer)}), AssignAdc(granularity=granularity))
    proved = bits_and_steps(lossless)[0]
    assert (bits <= proved).all()
    as_proved = bits == proved
    assert (first == lowest_codes(lossless))[as_proved].all()
    assert (steps == bits_and_steps(lossless)[1])[as_proved].all()
    if granularity == "column":
        needed = lossless_bits((highest - lowest).astype(np.uint32), found.step)
        np.testing.assert_array_equal(bits, np.minimum(np.maximum(needed, bits > 0) + spare, proved))


@pytest.mark.parametrize("subtraction", ["digital", "analog"])
@settings(deadline=None, max_examples=30)
@given(
    sparse_codes(),
    st.sampled_from(["column", "tile", "slice"]),
    st.floats(0, 0.5),
    st.integers(0, 4),
    st.integers(0, 2**32 - 1),
)
def test_no_more_clip_than_may(  # noqa: PLR0917
    subtraction: Any, codes: NDArray[np.int16], granularity: Any, share: float, most_bits: int, seed: int
) -> None:
    """The conversions of those very inputs, replayed and counted; a limit of bits comes before the share."""
    step = CalibrateAdc(granularity=granularity, clip_share=share, most_bits=most_bits)
    inputs = np.random.default_rng(seed).integers(0, 200, (9, len(codes)))
    layer, arrays = only_layer(plan_from_data(codes, inputs, step, subtraction=subtraction).mapping)
    bits = arrays.adc_bits
    assert bits.max(initial=0) <= (most_bits or 16)
    if most_bits:
        return
    engine = LayerEngine(layer, arrays, ReplayOptions(statistics=True))
    engine.results(inputs[:, None].astype(np.float64))
    assert engine.columns is not None
    clipped, conversions = engine.columns.clipped, 9 * 8
    groups = sharing_groups(granularity, bits.shape, layer.column_tiles()[1], 1)
    if groups is None:
        assert (clipped <= share * conversions).all()
    else:
        assert (group_sums(clipped, groups) <= share * conversions * np.bincount(groups.ravel())).all()


def _without_adc(layer: Any) -> Any:
    from dataclasses import replace

    return replace(layer, adc=None)


def test_runs_once() -> None:
    for graph in (tiled([[1]]), tiled([[1]], subtraction="analog")):
        assert_runs_once(CalibrateAdc(), observed(graph))


def test_words_without_data() -> None:
    with pytest.raises(UsageError) as caught:
        CalibrateAdc().run(tiled([[1]]))
    assert str(caught.value) == (
        "[BSC201] pass 'calibrate-adc' needs calibration data\n"
        "  seen: no observations of the column sums\n"
        "  fix:  give typical inputs with --calib FILE.npz"
    )
    with pytest.raises(UsageError, match="needs calibration data"):
        CalibrateAdc(clip_share=0.5).run(observed(tiled([[1]])))  # observed for a pass that needs no more
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
            f"  fix:  choose calibrate-adc{{{name}={getattr(CalibrateAdc(), option)}}}"
        )
