"""Figures of plans that are held against each other."""

import numpy as np
import pytest

import hw_models
from bsc.cost.compare import compare
from bsc.cost.side_by_side import PlanFigures, pipeline_difference, plan_figures
from bsc.plan.document import Plan
from bsc.plan.summary import summarise
from passes.assign_adc import AssignAdc
from tests.bsc.plans import ISAAC, coded, plan_of

LAWS = hw_models.laws()


def figures(plan: Plan, name: str = "plan", accuracy: float | None = None) -> PlanFigures:
    comparison = compare(plan, ISAAC, LAWS["isaac"], LAWS)
    return plan_figures(name, plan.document, summarise(plan), comparison, paper_law=LAWS["saberi"], accuracy=accuracy)


def test_by_hand() -> None:
    """Codes 2, 1 and -1: slice 0 has the sums 3 (+, 2 bits) and 1 (-, 1 bit), every other column is all zero."""
    whole = figures(plan_of(coded([[2], [1], [-1]]))).whole
    assert (whole.crossbars, whole.columns, whole.largest_bits) == (8, 8, 2)
    assert whole.mean_bits == 3 / 8
    assert whole.rests_on == {"proved": 1.0}
    assert whole.conversions == 2 * 8


def test_columns_that_are_not_proved_rest_on_the_policy() -> None:
    """One bit reads 0 and 1: enough for all columns but the one whose sum is 3."""
    whole = figures(plan_of(coded([[2], [1], [-1]]), adc=AssignAdc(policy="fixed", bits=1))).whole
    assert whole.rests_on == {"proved": 7 / 8, "fixed": 1 / 8}


def test_layers_add_up_to_the_whole() -> None:
    plan = plan_of(coded([[1, -2], [3, 4]], name="a"), coded(np.full((2, 2), 255), name="b", input="y", output="z"))
    found = figures(plan)
    assert list(found.layers) == ["a", "b"]
    assert found.whole.conversions == sum(layer.conversions for layer in found.layers.values())
    assert found.whole.crossbars == sum(layer.crossbars for layer in found.layers.values())
    assert found.whole.energy_j == pytest.approx(sum(layer.energy_j or 0 for layer in found.layers.values()))
    assert found.whole.largest_bits == max(layer.largest_bits for layer in found.layers.values())


def test_the_paper_law_prices_the_same_conversions() -> None:
    """One bit costs 1 / 28.4 of eight under 2^N / (N + 1)."""
    found = figures(plan_of(coded([[1]]), adc=AssignAdc(policy="fixed", bits=1)))
    eight = figures(plan_of(coded([[1]]), adc=AssignAdc(policy="isaac")))
    ratio = (eight.paper.total_adc_energy_j or 0) / (found.paper.total_adc_energy_j or 1)
    assert ratio == pytest.approx(28.444, abs=1e-3)


@pytest.mark.parametrize(
    ("other", "added", "removed"),
    [
        ("a{x=1 y=2},b,c", [], []),
        ("a{x=1 y=3},b,c", ["a{x=1 y=3}"], ["a{x=1 y=2}"]),
        ("a{x=1 y=2},c", [], ["b"]),
        ("a{x=1 y=2},b,n{p=u,v},c", ["n{p=u,v}"], []),
    ],
)
def test_pipeline_difference(other: str, added: list[str], removed: list[str]) -> None:
    """A comma between braces belongs to an option."""
    assert pipeline_difference("a{x=1 y=2},b,c", other) == (added, removed)
