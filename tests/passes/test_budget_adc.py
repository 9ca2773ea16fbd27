from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bsc.errors import ModelError, UsageError
from bsc.ir.graph import Graph
from bsc.replay.engine import LayerEngine, ReplayOptions
from passes.budget_adc import BudgetAdc
from passes.calibrate_adc import CalibrateAdc
from passes.eliminate import Eliminate
from passes.slice_bits import SliceBits
from passes.tile import Tile
from tests.bsc.plans import only_layer
from tests.passes.layers import array, assert_runs_once, coded_layer, compiled, sparse_codes, the_layer
from tests.passes.observed import (
    BITS_PRICE,
    Prices,
    bits_and_steps,
    lowest_codes,
    observed,
    plan_from_data,
    really_observed,
    tiled,
)

# Two columns of sums 6 and 1: 3 and 1 bits are lossless, 4 in all, each read 8 times (cycles).
CODES = [[3, 1], [2, 0], [1, 0]]
DAMAGE = [[16, 8, 2, 0], [1, 0, 0, 0]]


def decided(noise_price: float, prices: Prices = BITS_PRICE, **options: Any) -> Graph:
    graph = observed(
        tiled(CODES),
        squared_error=DAMAGE,
        step=[[1, 5, 2, 1], [1, 1, 1, 1]],
        mean=[[-3.0, 0.6, 0.0, 0.0], [-1.0, 0.0, 0.0, 0.0]],
        sensitivity=0.5,
        prices=prices,
    )
    return compiled(graph, BudgetAdc(noise_price=noise_price, **options))


@pytest.mark.parametrize(
    ("noise_price", "bits"),
    [
        # Of column 0 a bit costs 1/4; what it takes off the squared error, at a price of 0.5, is 8, 6 and 2 times that.
        (0.01, [0, 0]),
        (0.07, [1, 0]),
        (0.09, [2, 0]),  # 0.5 + 0.09 is less than 0.72 without a bit, 0.25 + 0.36 and 0.75
        (0.3, [3, 0]),
        (0.6, [3, 1]),
    ],
)
def test_by_hand(noise_price: float, bits: list[int]) -> None:
    costs = np.arange(4) / 4 + 0.5 * noise_price * np.array(DAMAGE)
    assert costs.argmin(axis=1).tolist() == bits  # the numbers above, once more
    actual, steps = bits_and_steps(decided(noise_price))
    assert actual[0, 0, 0].tolist() == bits
    expected = [[1, 5, 2, 1][bits[0]] if bits[0] else 1, 1]
    assert steps[0, 0, 0].tolist() == expected


def test_a_crossbar_that_is_not_worth_driving_is_left_out() -> None:
    """Cheap conversions, of a layer whose crossbar costs as much to drive as all of its lossless conversions."""
    free = decided(0.07)
    layer = the_layer(free)
    assert layer.tiling is not None
    assert array(free, "allocated")[0, 0, 0].tolist() == [True, False]  # no negative column is converted
    # 3 rows driven 8 times at 4 / 3 each cost 32, as do 4 bits 8 times: all is half as dear by comparison.
    dear = Prices(BITS_PRICE.conversion_j, row_j=4 / 3)
    for noise_price, read in ((0.06, False), (0.2, True)):
        graph = decided(noise_price, dear)
        assert array(graph, "allocated")[0, 0, 0, 0] == read
        assert bool(bits_and_steps(graph)[0].any()) == read


# Of two crossbars, one for each sign, with sums of -3 to 1 and 0 to 4: 3 bits each are lossless.
PAIRS = [[1, 3], [-3, 1]]


def decided_pairs(noise_price: float, prices: Prices = BITS_PRICE, codes: Any = PAIRS) -> Graph:
    layer = coded_layer(codes, weight_bits=2)
    graph = observed(
        compiled(layer, SliceBits(subtraction="analog"), Eliminate(), Tile(rows=4, cols=2)),
        squared_error=[[10, 4, 1, 0], [10, 4, 0, 0]],
        step=[[1, 3, 2, 1], [1, 3, 3, 3]],
        low=[[0, -1, -2, -3], [0, 0, 0, 0]],
        mean=[[0.5, -1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]],
        sensitivity=1.0,
        prices=prices,
    )
    return compiled(graph, BudgetAdc(noise_price=noise_price, correct="bias"))


def test_pairs_by_hand() -> None:
    """A bit costs 1/6."""
    for noise_price, bits in ((0.01, [0, 0]), (0.05, [1, 2]), (0.1, [2, 2]), (0.3, [3, 2])):
        costs = np.arange(4) / 6 + noise_price * np.array([[10, 4, 1, 0], [10, 4, 0, 0]])
        assert costs.argmin(axis=1).tolist() == bits
        graph = decided_pairs(noise_price)
        actual, steps = bits_and_steps(graph)
        assert actual.tolist() == [[[bits]]]
        assert steps.tolist() == [[[[[1, 3, 2, 1][bits[0]], [1, 3, 3, 3][bits[1]]]]]]
        assert lowest_codes(graph).tolist() == [[[[[0, -1, -2, -3][bits[0]], 0]]]]
        adc = the_layer(graph).adc
        assert adc is not None
        assert array(graph, "correction").tolist() == [[0, 1, 0, 0][bits[0]], 0]  # -0.5 to even


def test_both_crossbars_of_a_pair_are_driven_or_left_out() -> None:
    """2 rows driven 8 times at 1 each cost 16 on a crossbar, 2 sums held 8 times at 4 each 64, and 6 bits 48."""
    dear = Prices(BITS_PRICE.conversion_j, row_j=1.0)
    held = Prices(BITS_PRICE.conversion_j, column_j=4.0)

    def crossbars(graph: Graph) -> list[bool]:
        layer = the_layer(graph)
        assert layer.tiling is not None
        assert bits_and_steps(graph)[0].any() == array(graph, "allocated").any()
        return [bool(each) for each in array(graph, "allocated").ravel()]

    # At 2 and 2 bits they gain 19 * its price and cost 32 and driving both, of 48 and that; one alone would be cheaper.
    assert (32 + 16) / (48 + 16) < 19 * 0.041 < (32 + 32) / (48 + 32) < 19 * 0.043
    assert crossbars(decided_pairs(0.041, dear)) == [False, False]
    assert crossbars(decided_pairs(0.043, dear)) == [True, True]
    # A sum is held once for both; twice would be dearer.
    assert 19 * 0.044 < (32 + 64) / (48 + 64) < 19 * 0.0465 < (32 + 128) / (48 + 128)
    assert crossbars(decided_pairs(0.044, held)) == [False, False]
    assert crossbars(decided_pairs(0.0465, held)) == [True, True]
    # Where no weight is negative one crossbar is all there is to drive. At 2 a row that and 3 lossless bits are 56 in
    # all; were two driven, the same conversions would be worth it earlier, for the more that lossless ones cost then.
    positive, dearer = [[3, 3], [3, 0]], replace(dear, row_j=2.0)
    assert (32 + 64) / (24 + 64) < 19 * 0.059 < (32 + 32) / (24 + 32) < 19 * 0.061
    assert crossbars(decided_pairs(0.059, dearer, positive)) == [False, False]
    assert crossbars(decided_pairs(0.061, dearer, positive)) == [True, False]


def test_bias_is_taken_out() -> None:
    graph = decided(0.01, correct="bias")
    adc = the_layer(graph).adc
    assert adc is not None
    assert array(graph, "correction").tolist() == [3, 1]


@pytest.mark.parametrize(
    "slicing",
    [
        {},
        {"encoding": "offset", "flip": "yes"},
        {"encoding": "centre", "flip": "yes"},
        {"subtraction": "analog"},
        {"encoding": "centre", "subtraction": "analog", "cut": "4-2-2"},
    ],
)
@pytest.mark.parametrize("policy", [BudgetAdc, CalibrateAdc])
def test_no_column_is_off_on_average(policy: Any, slicing: dict[str, Any]) -> None:
    """By more than is rounded away, on the data that the correction was taken from."""
    random = np.random.default_rng(0)
    codes, inputs = random.integers(-255, 256, (40, 7)), random.integers(0, 256, (50, 40))
    options: dict[str, Any] = {"noise_price": 1.0} if policy is BudgetAdc else {"most_bits": 3}
    exact = inputs @ codes

    def off(correct: str) -> NDArray[np.float64]:
        plan = plan_from_data(codes, inputs, policy(correct=correct, **options), **slicing)
        engine = LayerEngine(*only_layer(plan.mapping), ReplayOptions())
        return np.asarray(np.abs((engine.results(inputs[:, None].astype(np.float64)) - exact).mean(axis=0)))

    assert (off("bias") <= 0.51).all()
    assert (off("nothing") > 10).any()


def test_resolutions_without_a_price_are_avoided() -> None:
    holes = Prices((0.0, float("nan"), float("nan"), *range(3, 17)))
    assert bits_and_steps(decided(0.01, holes))[0][0, 0, 0].tolist() == [0, 0]
    assert bits_and_steps(decided(1, holes))[0][0, 0, 0].tolist() == [3, 3]


@pytest.mark.parametrize("subtraction", ["digital", "analog"])
@settings(deadline=None, max_examples=25)
@given(
    sparse_codes(),
    st.sampled_from(["column", "tile"]),
    st.floats(0.01, 1e4),
    st.floats(1, 1e4),
    st.integers(0, 2**32 - 1),
)
def test_more_caution_never_costs_less(  # noqa: PLR0917
    subtraction: Any, codes: NDArray[np.int16], granularity: Any, noise_price: float, factor: float, seed: int
) -> None:
    """In conversions and driven crossbars together, as the pass prices them; and squared error never grows."""
    step = BudgetAdc(granularity=granularity)
    graph = compiled(coded_layer(codes), SliceBits(subtraction=subtraction), Eliminate(), Tile(rows=16, cols=5))
    inputs = np.random.default_rng(seed).integers(0, 30, (6, len(codes)))
    graph = really_observed(graph, inputs, step.observes())

    def totals(noise_price: float) -> tuple[float, float]:
        done = compiled(graph, BudgetAdc(granularity=granularity, noise_price=noise_price))
        layer = the_layer(done)
        assert layer.tiling is not None
        assert layer.observed is not None
        bits, steps = bits_and_steps(done)
        assert (steps >= 1).all()
        read = array(done, "allocated")
        if subtraction == "analog":
            read = np.asarray(read.any(axis=3, keepdims=True))
        energy = done.prices["fc"].energy_j(bits, read)
        squared_error = np.take_along_axis(array(done, "squared_error"), bits[..., None].astype(int), -1)[..., 0]
        weight = array(done, "sensitivity")[:, None, None] * 16.0 ** np.arange(4).reshape(-1, 1, 1)
        return float(energy), float((weight * squared_error).sum())

    (energy, squared_error), (more, less) = totals(noise_price), totals(noise_price * factor)
    assert more >= energy * (1 - 1e-9)
    assert less <= squared_error * (1 + 1e-6) + 1e-12


@pytest.mark.parametrize("subtraction", ["digital", "analog"])
def test_endless_caution_loses_nothing_that_was_observed(subtraction: Any) -> None:
    codes = np.random.default_rng(0).integers(-255, 256, (20, 6))
    graph = compiled(coded_layer(codes), SliceBits(subtraction=subtraction), Tile(rows=8, cols=4))
    step = BudgetAdc(noise_price=1e12)
    graph = compiled(really_observed(graph, np.random.default_rng(1).integers(0, 256, (9, 20)), step.observes()), step)
    bits, steps = bits_and_steps(graph)
    first = lowest_codes(graph).astype(np.int64)
    assert (array(graph, "observed_sums") <= (first + 2 ** bits.astype(np.int64) - 1) * steps).all()
    if subtraction == "analog":
        assert (first * steps <= array(graph, "observed_lows")).all()


def test_a_layer_of_zeros() -> None:
    for granularity in ("column", "tile", "slice"):
        step = BudgetAdc(granularity=granularity)
        graph = compiled(coded_layer(np.zeros((3, 2))), Eliminate(), SliceBits(), Tile())
        done = compiled(really_observed(graph, np.ones((2, 3)), step.observes()), step)
        assert bits_and_steps(done)[0].shape == (0, 4, 2, 0)


def test_runs_once() -> None:
    graph = observed(tiled([[1]]), squared_error=[[1, 0]], step=[[1, 1]], sensitivity=1.0)
    assert_runs_once(BudgetAdc(), graph)


def test_words_without_data() -> None:
    for graph in (tiled([[1]]), observed(tiled([[1]]))):
        with pytest.raises(UsageError) as caught:
            BudgetAdc().run(graph)
        assert str(caught.value) == (
            "[BSC201] pass 'budget-adc' needs calibration data\n"
            "  seen: no observations of the column sums\n"
            "  fix:  give typical inputs with --calib FILE.npz"
        )
    with pytest.raises(ModelError, match="needs what 'slice-bits' computes"):
        BudgetAdc().run(coded_layer([[1]]))


@pytest.mark.parametrize(
    ("option", "inside", "outside", "limits"),
    [
        ("noise-price", (1e-9, 1e9), (0, -1, float("inf"), float("nan")), "above 0"),
        ("vectors", (1, 10**9), (0,), "1 or more"),
        ("seed", (0, 10**9), (-1,), "0 or more"),
    ],
)
def test_option_limits(option: str, inside: Any, outside: Any, limits: str) -> None:
    field = option.replace("-", "_")
    for value in inside:
        assert getattr(BudgetAdc(**{field: value}), field) == value
    for value in outside:
        with pytest.raises(UsageError) as caught:
            BudgetAdc(**{field: value})
        assert str(caught.value) == (
            f"[BSC205] pass 'budget-adc': {option} must be {limits}\n"
            f"  seen: {value}\n"
            f"  fix:  choose budget-adc{{{option}={getattr(BudgetAdc(), field)}}}"
        )
