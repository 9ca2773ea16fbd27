"""Plans on hardware whose ADCs can do less than the plan asks for."""

from typing import Any

import pytest

import hw_models
from bsc.cost.compare import compare
from bsc.hardware.target import AdcFlexibility, Target
from bsc.report.plan import PlanReport
from bsc.report.text import to_text
from passes.assign_adc import AssignAdc
from tests.bsc.plans import ISAAC, coded, plan_of
from tests.bsc.report.reports import report_of

LAWS = hw_models.laws()


def offering(granularity: AdcFlexibility, bits: int = 8) -> Target:
    """ISAAC with other converters."""
    offer = ISAAC.adc.granularity.model_copy(update={"value": granularity})
    return ISAAC.model_copy(
        update={"adc": ISAAC.adc.model_copy(update={"granularity": offer, "bits": bits})},
    )


@pytest.mark.parametrize("offered", ["column", "tile", "slice"])
@pytest.mark.parametrize("asked", ["column", "tile", "slice"])
def test_a_coarser_resolution_is_offered_with_a_finer_one(offered: Any, asked: Any) -> None:
    finest_first = ["column", "tile", "slice"]
    expected = finest_first.index(offered) <= finest_first.index(asked)
    target = offering(offered)
    assert target.adc.offers(asked) == expected
    plan = plan_of(coded([[1, 2], [3, -4]]), adc=AssignAdc(granularity=asked))
    assert compare(plan.mapping, target, LAWS["isaac"], LAWS).not_offered == (() if expected else ("fc",))


@pytest.mark.parametrize(("bits", "expected"), [(7, ("fc",)), (8, ()), (9, ("fc",))])
def test_a_fixed_converter_has_one_resolution(bits: int, expected: tuple[str, ...]) -> None:
    plan = plan_of(coded([[1, 2]]), adc=AssignAdc(policy="fixed", bits=bits))
    assert compare(plan.mapping, offering("fixed"), LAWS["isaac"], LAWS).not_offered == expected
    assert compare(plan.mapping, offering("slice"), LAWS["isaac"], LAWS).not_offered == ()


def test_a_fixed_converter_refuses_lossless_resolutions() -> None:
    one_bit = plan_of(coded([[1, 2]]))
    assert compare(one_bit.mapping, offering("fixed"), LAWS["isaac"], LAWS).not_offered == ("fc",)
    assert compare(one_bit.mapping, offering("fixed", bits=1), LAWS["isaac"], LAWS).not_offered == ()


@pytest.mark.parametrize(
    ("target", "line"),
    [
        (offering("tile"), "the resolutions of a and 1 more: ADCs of isaac have one for each tile; energies hold"),
        (offering("fixed"), "the resolutions of a and 1 more: ADCs of isaac have 8 bits alone; energies hold for ADCs"),
    ],
)
def test_the_report_says_so(target: Target, line: str) -> None:
    plan = plan_of(coded([[1]], name="a"), coded([[2]], name="b", input="y", output="z"))
    report = report_of(plan, target=target)
    assert f"\nNOT OFFERED       {line}" in to_text(PlanReport(report=report))
    assert report.cost.adc_not_offered == ["a", "b"]


def test_the_report_is_silent_where_all_is_offered() -> None:
    assert "NOT OFFERED" not in to_text(PlanReport(report=report_of(plan_of(coded([[1]])))))
