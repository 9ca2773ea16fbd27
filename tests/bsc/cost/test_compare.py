"""A plan beside its baselines."""

from dataclasses import replace

import pytest

import hw_models
from bsc.cost.compare import compare
from passes.assign_adc import AssignAdc
from tests.bsc.plans import ISAAC, coded, mapped

LAWS = hw_models.laws()


def test_uniform_plan_saves_nothing() -> None:
    """8 bits everywhere and nothing eliminated is the baseline itself."""
    plan = mapped(coded([[1, -2], [3, 4]]), adc=AssignAdc(policy="isaac"))
    comparison = compare(plan, ISAAC, LAWS["isaac"], LAWS)
    assert comparison.plan.total_energy_j == comparison.uniform.total_energy_j
    assert [(each.adc, each.total) for each in comparison.spread] == [(1.0, 1.0)] * len(LAWS)


@pytest.mark.parametrize(("bits", "ratio"), [(1, 28.444), (3, 14.222)])
def test_paper_law_gives_the_paper_ratios(bits: int, ratio: float) -> None:
    """2^N / (N + 1): 8 bit over 1 bit is 28.4, over 3 bit 14.2 [bslice19]."""
    plan = mapped(coded([[1, -2], [3, 4]]), adc=AssignAdc(policy="fixed", bits=bits))
    by_law = {each.law.name: each.adc for each in compare(plan, ISAAC, LAWS["isaac"], LAWS).spread}
    assert by_law["saberi"] == pytest.approx(ratio, abs=1e-3)


def test_free_adcs_bound_every_law() -> None:
    plan = mapped(coded([[1, -2], [3, 4]]), adc=AssignAdc(policy="fixed", bits=1))
    comparison = compare(plan, ISAAC, LAWS["isaac"], LAWS)
    total, adc = comparison.uniform.total_energy_j, comparison.uniform.total_adc_energy_j
    assert total is not None
    assert adc is not None
    assert comparison.free_adc_bound == total / (total - adc)
    assert all(each.total is not None and each.total < comparison.free_adc_bound for each in comparison.spread)


def test_areas_come_from_the_default_law_where_the_chosen_one_has_none() -> None:
    plan = mapped(coded([[1, -2], [3, 4]]))
    assert LAWS["saberi"].area is None
    by_isaac, by_saberi = (compare(plan, ISAAC, LAWS[name], LAWS) for name in ("isaac", "saberi"))
    assert by_saberi.plan.area_m2 == by_isaac.plan.area_m2 != None  # noqa: E711
    silent = {name: replace(law, area=None) for name, law in LAWS.items()}
    assert compare(plan, ISAAC, silent["isaac"], silent).plan.area_m2 is None


def test_another_dac_has_no_price_and_no_area() -> None:
    comparison = compare(mapped(coded([[1, -2]]), dac_bits=2), ISAAC, LAWS["isaac"], LAWS)
    assert comparison.plan.action_energy_j("dac_row") is None
    assert comparison.plan.total_area_m2 is None


def test_the_chosen_law_is_listed_once() -> None:
    mine = replace(LAWS["linear"], name="mine")
    names = [each.law.name for each in compare(mapped(coded([[1]])), ISAAC, mine, LAWS).spread]
    assert names == ["mine", *LAWS]
