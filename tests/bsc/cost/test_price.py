from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hw_models
from bsc.cost.compare import Comparison, compare
from bsc.cost.counts import count_mapping, count_offset, count_uniform
from bsc.cost.price import Cost, add, price
from bsc.errors import UsageError
from bsc.hardware.adc_law import AdcLaw
from bsc.hardware.check import total
from bsc.hardware.target import Quantity, Target
from bsc.plan.document import Plan
from passes.assign_adc import AssignAdc
from tests.bsc.plans import ISAAC, coded, plan_of
from tests.bsc.targets import without_areas, without_price

TARGET = Target.from_toml(
    """
    name = "small"
    description = "2 x 2 arrays, four in a cluster"
    citation = "made up"
    node_m = { value = 32e-9, kind = "assumed", source = "made up" }
    crossbar = { rows = 2, cols = 2, bits_per_cell = 1, source = "made up" }
    dac = { bits = 1, source = "made up" }
    timing.read_s = { value = 0.5, kind = "paper", source = "made up" }

    [adc]
    per_crossbar = 1
    bits = 8
    law = "linear"
    rate_hz = { value = 4.0, kind = "paper", source = "2 columns in half a second" }
    source = "made up"

    [[level]]
    name = "crossbar"
    count = 2
    source = "made up"
    [level.action.sar]
    counter = "conversions"
    per = "one conversion"
    energy_j = { value = 80.0, kind = "paper", source = "made up" }
    [level.action.dac]
    counter = "rows_driven"
    per = "one row"
    energy_j = { value = 3.0, kind = "derived", source = "made up" }
    [level.action.cell]
    counter = "cells_read"
    per = "one cell"
    energy_j = { value = 2.0, kind = "derived", source = "made up" }
    [level.action.hold]
    counter = "columns_sampled"
    per = "one column"
    energy_j = { value = 1.0, kind = "survey", source = "made up" }
    [level.action.add]
    counter = "partial_results"
    per = "one result"
    energy_j = { value = 5.0, kind = "assumed", source = "made up" }
    [level.area]
    sars = { per = "converter", area_m2 = { value = 8.0, kind = "assumed", source = "made up" } }
    dacs = { per = "row", area_m2 = { value = 2.0, kind = "assumed", source = "made up" } }
    cells = { per = "cell", area_m2 = { value = 1.0, kind = "assumed", source = "made up" } }
    holds = { per = "column", area_m2 = { value = 3.0, kind = "assumed", source = "made up" } }

    [[level]]
    name = "core"
    count = 2
    source = "made up"
    [level.action.input]
    counter = "driver_bits"
    per = "one bit"
    energy_j = { value = 7.0, kind = "assumed", source = "made up" }
    [level.action.store]
    counter = "partial_results"
    per = "one result"
    energy_j = { value = 11.0, kind = "assumed", source = "made up" }
    [level.area]
    core_rest = { area_m2 = { value = 10.0, kind = "assumed", source = "made up" } }

    [[level]]
    name = "cluster"
    count = 9
    source = "made up"
    [level.action.buffer]
    counter = "buffer_bits"
    per = "one bit"
    energy_j = { value = 13.0, kind = "assumed", source = "made up" }
    [level.action.bus]
    counter = "moved_bits"
    per = "one bit"
    energy_j = { value = 0.0, kind = "assumed", source = "made up" }
    [level.area]
    cluster_rest = { area_m2 = { value = 100.0, kind = "assumed", source = "made up" } }

    [[level]]
    name = "chip"
    source = "made up"
    """,
    "small.toml",
)
EIGHTHS = tuple(bits / 8 for bits in range(17))
LINEAR = AdcLaw("linear", "N / 8", "made up", "assumed", (2, 8), EIGHTHS, EIGHTHS)
LAWS = {"linear": LINEAR}


def by_hand(target: Target = TARGET, adc: AssignAdc | None = None, **options: Any) -> Plan:
    """The plan that is counted in test_counts: layer 'first' has 4 crossbars of 8, layer 'second' 1 of 4."""
    first = coded([[3, 0], [1, -2], [2, 0]], name="first", output="h", weight_bits=2, input_bits=3, vectors=2)
    second = coded([[0], [1]], name="second", input="h", weight_bits=2, input_bits=4, input_signed=True)
    options = {"bits_per_cell": 1, "rows": 2, "cols": 2, "eliminate": True} | options
    return plan_of(first, second, adc=adc, target=target, **options)


def compared(plan: Plan | None = None, target: Target = TARGET) -> Comparison:
    return compare((plan or by_hand()).mapping, target, LINEAR, LAWS)


def test_energy_by_hand() -> None:
    cost = compared().plan
    assert cost.energy_j["first"] == {
        "sar": (18 * 1 / 8 + 6 * 2 / 8) * 80,
        "dac": 42 * 3,
        "cell": 96 * 2,
        "hold": 48,
        "add": 24 * 5,
        "input": 42 * 7,
        "store": 24 * 11,
        "buffer": 30 * 13,
        "bus": 0,
    }
    assert cost.layer_energy_j("first") == 300 + 126 + 192 + 48 + 120 + 294 + 264 + 390
    # 4 conversions of 1 bit, 4 rows, 16 cells, 4 columns, 4 results, 8 bits moved and 1 for the number of a row.
    assert cost.layer_energy_j("second") == 40 + 12 + 32 + 4 + 20 + 28 + 44 + 104 + 13
    assert cost.total_adc_energy_j == 340
    assert cost.total_energy_j == 1734 + 297
    assert cost.actions == list(TARGET.actions())


def test_latency_by_hand() -> None:
    comparison = compared()
    assert comparison.plan.latency_s == {"first": 6 * 0.5, "second": 4 * 0.5}
    assert comparison.plan.total_latency_s == 5
    # Two conversions a read take 2 / 4 s; the unit column of the offset encoding is read within the same time.
    assert comparison.uniform.latency_s == {"first": 6 * 0.5, "second": 4 * 0.5}
    assert comparison.offset.latency_s == {"first": 6 * 0.5, "second": 4 * 0.5}


@pytest.mark.parametrize(("cols", "read_s"), [(64, 100e-9), (128, 100e-9), (256, 200e-9)])
def test_one_converter_is_late_for_256_columns(cols: int, read_s: float) -> None:
    """1.28 GS/s convert 128 columns in the 100 ns of a read."""
    plan = plan_of(coded(np.ones((1, 256))), cols=cols, adc=AssignAdc(policy="isaac"))
    laws = hw_models.laws()
    cost = compare(plan.mapping, ISAAC, laws["isaac"], laws).plan
    assert cost.total_latency_s == pytest.approx(8 * read_s)


def test_latency_of_converters_that_stop_early() -> None:
    """By hand: a crossbar of 'first' converts at most one column of 2 bits in a read, that of 'second' one of 1 bit.

    At 0.375 s a bit that is 0.75 s and, below the 0.5 s of the array, 0.375 s. Eight bits a column need 6 s for the
    two columns of 'first' and 3 s for the one of 'second', half of that with two converters.
    """
    adc = TARGET.adc.model_copy(update={"bit_s": Quantity(value=0.375, kind="assumed", source="made up")})
    comparison = compared(target=TARGET.model_copy(update={"adc": adc}))
    assert comparison.plan.latency_s == {"first": 6 * 0.75, "second": 4 * 0.5}
    assert comparison.uniform.latency_s == {"first": 6 * 6, "second": 4 * 3}
    two = TARGET.model_copy(update={"adc": adc.model_copy(update={"per_crossbar": 2})})
    assert compared(target=two).uniform.latency_s == {"first": 6 * 3, "second": 4 * 1.5}


def test_area_by_hand() -> None:
    cost = compared().plan
    assert cost.units == {"crossbar": 5, "core": 3, "cluster": 2, "chip": 1}
    assert cost.crossbars == 5
    assert cost.area_m2 == {
        "sars": (4 * 1 / 8 + 1 * 2 / 8) * 8,  # crossbars by their largest resolution
        "dacs": 5 * 2 * 2,
        "cells": 5 * 4 * 1,
        "holds": 5 * 2 * 3,
        "core_rest": 3 * 10,
        "cluster_rest": 2 * 100,
    }
    assert cost.total_area_m2 == 6 + 20 + 20 + 30 + 30 + 200


def test_ratios_by_hand() -> None:
    comparison = compared()
    # (96 + 16) conversions of 8 bits over 340 J; test_counts has the other counts.
    uniform_adc = 112 * 80
    uniform = uniform_adc + (72 + 32) * (3 + 7) + (192 + 64) * 2 + (96 + 16) * (1 + 5 + 11) + (30 + 12) * 13
    assert comparison.uniform.total_energy_j == uniform
    (law,) = comparison.spread
    assert law.adc == uniform_adc / 340
    assert law.total == uniform / 2031
    assert comparison.free_adc_bound == uniform / (uniform - uniform_adc)
    assert comparison.energy_by_kind() == {
        "paper": 340,
        "derived": 126 + 192 + 12 + 32,
        "survey": 48 + 4,
        "assumed": 120 + 294 + 264 + 390 + 20 + 28 + 44 + 104 + 13,
    }
    assert [counts.name for counts in comparison.counts] == ["first", "second"]


def test_every_law_is_in_the_spread_and_says_when_it_is_extrapolated() -> None:
    doubled = AdcLaw(
        "doubled", "2^(N - 8)", "made up", "assumed", (1, 8), (0.0, *(2.0 ** (n - 8) for n in range(1, 17)))
    )
    comparison = compare(by_hand().mapping, TARGET, doubled, LAWS)
    assert [(each.law.name, each.extrapolated) for each in comparison.spread] == [("doubled", False), ("linear", True)]
    assert comparison.plan.total_adc_energy_j == (22 / 128 + 6 / 64) * 80
    # The law says nothing about area, so the target's own does.
    assert comparison.plan.area_m2 == compared().plan.area_m2


def test_resolutions_are_relative_to_those_of_the_target() -> None:
    other = TARGET.model_copy(update={"adc": TARGET.adc.model_copy(update={"bits": 4})})
    assert compared(target=other).plan.total_adc_energy_j == 2 * 340
    assert compared(target=other).plan.area_m2 == dict(compared().plan.area_m2 or {}) | {"sars": 12}


@settings(deadline=None, max_examples=20)
@given(vectors=st.integers(1, 1000), input_bits=st.integers(2, 16), seed=st.integers(0, 99))
def test_a_full_ima_at_full_rate_takes_its_published_power(vectors: int, input_bits: int, seed: int) -> None:
    """A 128 x 128 layer of 8-bit weights fills the 8 crossbars of an IMA: four slices of two signs."""
    codes = np.random.default_rng(seed).integers(-255, 256, (128, 128))
    plan = plan_of(coded(codes, vectors=vectors, input_bits=input_bits), adc=AssignAdc(policy="isaac"))
    law = hw_models.load_law("isaac")
    for counts in (count_mapping(plan.mapping), count_uniform(plan.mapping, 8, 2)):
        cost = price(counts, ISAAC, law, law)
        assert cost.units == {"crossbar": 8, "IMA": 1, "tile": 1, "chip": 1}
        in_ima = [cost.action_energy_j(action) for level in ISAAC.level[:2] for action in level.action]
        assert add(in_ima) == pytest.approx(total(ISAAC, "IMA", "power_w") * 100e-9 * vectors * input_bits)
        assert cost.total_latency_s == pytest.approx(100e-9 * vectors * input_bits)
        assert cost.total_area_m2 == pytest.approx(
            total(ISAAC, "IMA", "area_m2") + total(ISAAC, "tile", "area_m2", "rest")
        )


@pytest.mark.parametrize("action", TARGET.actions())
def test_a_price_that_is_missing_is_unknown_and_never_0(action: str) -> None:
    comparison = compared(target=without_price(TARGET, action))
    for cost in (comparison.plan, comparison.uniform, comparison.offset):
        assert cost.action_energy_j(action) is None
        assert cost.layer_energy_j("first") is None
        assert cost.total_energy_j is None
        assert all(cost.action_energy_j(other) is not None for other in cost.actions if other != action)
    (law,) = comparison.spread
    assert law.total is None
    assert (law.adc is None) == (action == "sar")
    assert comparison.free_adc_bound is None


def test_areas_that_are_missing_are_unknown() -> None:
    cost = compared(target=without_areas(TARGET)).plan
    assert cost.area_m2 is None
    assert cost.total_area_m2 is None
    assert cost.total_energy_j == 2031


def test_the_price_of_a_row_holds_for_the_dac_of_the_target_only() -> None:
    cost = compared(by_hand(dac_bits=2)).plan
    assert cost.action_energy_j("dac") is None
    assert cost.total_energy_j is None
    wide = TARGET.model_copy(update={"dac": TARGET.dac.model_copy(update={"bits": 2})})
    assert compared(by_hand(dac_bits=2), wide).plan.total_energy_j is not None


def test_a_law_without_an_entry_for_a_resolution_in_use() -> None:
    table = AdcLaw("table", "two entries", "made up", "paper", (1, 8), (0.0, 0.5, *[np.nan] * 6, 1.0, *[np.nan] * 8))
    with pytest.raises(UsageError) as caught:
        price(count_mapping(by_hand().mapping), TARGET, table, LINEAR)
    assert str(caught.value) == (
        "[BSC207] ADC law 'table' has no energy for 2 bits\n"
        "  seen: a law for 0, 1, 8 bits\n"
        "  fix:  use another law, or a table of your own that has this resolution"
    )


def test_a_plan_of_zeros_costs_no_conversion_and_has_no_ratio() -> None:
    plan = plan_of(coded(np.zeros((2, 2)), weight_bits=2), bits_per_cell=1, rows=2, cols=2, eliminate=True)
    comparison = compared(plan)
    assert comparison.plan.total_adc_energy_j == 0
    assert comparison.spread[0].adc is None
    assert set(comparison.plan.units.values()) == {0}
    assert comparison.plan.total_area_m2 == 0


def test_sums_of_unknown_values() -> None:
    assert add([]) == 0
    assert add([1, 2]) == 3
    assert add([1, None, 2]) is None
    empty = Cost(energy_j={}, adc_actions=(), latency_s={}, area_m2=None, layer_area_m2=None, units={"crossbar": 0})
    assert empty.actions == []
    assert empty.crossbars == 0


def test_the_offset_baseline_has_a_price_too() -> None:
    cost = price(count_offset(by_hand().mapping, 8, 2), TARGET, LINEAR, LINEAR)
    assert cost.total_adc_energy_j == (108 + 24) * 80
    assert cost.crossbars == 9
