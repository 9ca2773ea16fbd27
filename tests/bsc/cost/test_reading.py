"""What passes weigh is what the cost model charges."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import hw_models
from bsc.cost.counters import buffer_bits, layer_actions, moved_bits
from bsc.cost.counts import count_mapping
from bsc.cost.price import price
from bsc.cost.reading import reading_prices
from bsc.errors import UsageError
from bsc.ir.mapped import mapping_of
from bsc.mapping.model import MappedModel
from passes.assign_adc import AssignAdc
from passes.budget_adc import BudgetAdc
from passes.eliminate import Eliminate
from passes.slice_bits import SliceBits
from passes.tile import Tile
from tests.bsc.plans import ISAAC, coded, mapped, only_layer, slicings
from tests.bsc.targets import without_price
from tests.passes.layers import coded_layer, compiled, sparse_codes, the_layer
from tests.passes.observed import really_observed

LAW = hw_models.load_law("isaac")


def charged(mapping: MappedModel) -> float:
    """What the cost model charges for the only layer, but for what is moved to and from it."""
    cost = price(count_mapping(mapping), ISAAC, LAW, None)
    moved = {buffer_bits.__name__, moved_bits.__name__}
    (energies,) = cost.energy_j.values()
    known = [energies[name] for name, action in layer_actions(ISAAC).items() if action.counter not in moved]
    return math.fsum(energy for energy in known if energy is not None)


def read(mapping: MappedModel) -> NDArray[np.bool_]:
    """Crossbars, or pairs, that are read."""
    layer, arrays = only_layer(mapping)
    paired = layer.cells.analog_pairs
    return np.asarray(arrays.allocated.any(axis=3, keepdims=True) if paired else arrays.allocated)


def driven_alone(mapping: MappedModel) -> bool:
    """Whether a row tile of which no crossbar is read is driven for the sum of its inputs."""
    (counts,) = count_mapping(mapping)
    return bool(counts.crossbars.sum() > only_layer(mapping)[1].allocated.sum())


def test_by_hand() -> None:
    """Three rows and a column of one bit in the offset encoding, with a unit column on the crossbars of both slices."""
    mapping = mapped(
        coded([[1], [0], [1]], weight_bits=1, input_bits=2), encoding="offset", bits_per_cell=1, rows=2, cols=4
    )
    layer, arrays = only_layer(mapping)
    prices = reading_prices(layer, arrays, ISAAC, LAW)
    energy = {name: action.energy_j.value for name, action in ISAAC.actions().items() if action.energy_j is not None}
    behind = energy["shift_add"] + energy["output_register_word"]
    conversion = [bits_j * energy["adc_conversion"] + behind for bits_j in LAW.energy]
    assert prices.conversion_j[1:] == pytest.approx(2 * np.array(conversion[1:]))  # two input cycles
    assert prices.conversion_j[0] == 0
    row = energy["dac_row"] + energy["input_register_bit"]
    # A unit column sums up to 2 rows at 1: two bits.
    expected = [
        2 * (rows * row + 8 * energy["crossbar_cell"] + 2 * energy["sample_hold"] + conversion[2]) for rows in (2, 1)
    ]
    assert prices.crossbar_j == pytest.approx(np.array(expected).reshape(2, 1, 1, 1) * np.ones((2, 1, 2, 1)))


@settings(deadline=None, max_examples=60)
@given(sparse_codes(), st.data())
def test_the_sum_of_prices_is_what_is_charged(codes: NDArray[np.int16], data: st.DataObject) -> None:
    groups = data.draw(st.sampled_from([1, 2] if codes.shape[1] % 2 == 0 and codes.size else [1]))
    policy: Any = data.draw(st.sampled_from(["lossless", "fixed"]))
    mapping = mapped(
        coded(codes, vectors=3, groups=groups),
        rows=8,
        cols=5,
        active_rows=data.draw(st.sampled_from([8, 4, 1])),
        eliminate=data.draw(st.booleans()),
        adc=AssignAdc(policy=policy, bits=data.draw(st.integers(1, 16))),
        **slicings_of_one_bit_digits(data),
    )
    layer, arrays = only_layer(mapping)
    prices = reading_prices(layer, arrays, ISAAC, LAW)
    paid = prices.energy_j(arrays.adc_bits, read(mapping))
    if driven_alone(mapping):
        assert paid < charged(mapping)
    else:
        assert paid == pytest.approx(charged(mapping), rel=1e-12)


def slicings_of_one_bit_digits(data: st.DataObject) -> dict[str, Any]:
    """Any way to cut codes, with the DAC that rows have a price for."""
    return data.draw(slicings(8, most=9)) | {"dac_bits": ISAAC.dac.bits}


@pytest.mark.parametrize(
    "slicing",
    [
        {},
        {"encoding": "offset"},
        {"encoding": "centre", "flip": "yes"},
        {"encoding": "centre", "subtraction": "analog"},
    ],
)
@pytest.mark.parametrize("noise_price", [0.3, 30.0, 1e4])
def test_budget_adc_minimises_what_is_charged(slicing: dict[str, Any], noise_price: float) -> None:
    """With the prices that were attached before it ran, unit columns included."""
    random = np.random.default_rng(0)
    codes = random.integers(-255, 256, (40, 12)) * (random.random((40, 12)) < 0.3)
    graph = compiled(coded_layer(codes), SliceBits(**slicing), Eliminate(), Tile(rows=16, cols=5))
    step = BudgetAdc(noise_price=noise_price)
    graph = compiled(really_observed(graph, random.integers(0, 256, (30, 40)), step.observes()), step)
    mapping = mapping_of(graph)
    paid = graph.prices["fc"].energy_j(only_layer(mapping)[1].adc_bits, read(mapping))
    assert not driven_alone(mapping)
    assert paid == pytest.approx(charged(mapping), rel=1e-12)
    assert the_layer(graph).adc is not None


def test_what_is_unknown_costs_nothing() -> None:
    """Rows have no price for another DAC, and some resolutions none in a law with holes."""
    mapping = mapped(coded([[1, 2], [3, 4]]), dac_bits=2)
    layer, arrays = only_layer(mapping)
    law = replace(LAW, energy=(0.0, float("nan"), *LAW.energy[2:]))
    prices = reading_prices(layer, arrays, ISAAC, law)
    assert np.flatnonzero(np.isnan(prices.conversion_j)).tolist() == [1]
    assert prices.energy_j(arrays.adc_bits, read(mapping)) == pytest.approx(charged(mapping))


def test_words_without_a_price_of_conversions() -> None:
    layer, arrays = only_layer(mapped(coded([[1]])))
    with pytest.raises(UsageError) as caught:
        reading_prices(layer, arrays, without_price(ISAAC, "adc_conversion"), LAW)
    assert str(caught.value) == (
        "[BSC206] target 'isaac' gives no energy of a conversion\n"
        "  seen: no energy_j in action 'adc_conversion'\n"
        "  fix:  add it to the hardware description, or choose another ADC policy"
    )
