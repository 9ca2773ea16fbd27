"""Views show what a report has and nothing else; those of golden plans are looked at in tests/test_golden.py."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bsc.report.document import ReportDocument
from bsc.report.plan import PlanReport
from bsc.report.text import to_text
from passes.assign_adc import AssignAdc
from tests.bsc.plans import coded, plan_of, slicings
from tests.bsc.report.reports import read_back, report_of
from tests.bsc.report.views import WIDE, unexplained, views

PLAN = plan_of(
    coded([[3, 255, 17], [-1, 255, 80]], name="first"), coded([[7, 9]], name="a later one", input="y", output="z")
)
REPORT = report_of(PLAN)
OTHER = report_of(plan_of(coded([[3, 255, 17], [-1, 255, 80]], name="first"), adc=AssignAdc(policy="fixed", bits=5)))


def test_views_of_what_was_read_back_are_those_of_what_was_made() -> None:
    """Layers, laws and actions are not in alphabetical order, which that of JSON objects is."""
    assert views(PLAN, read_back(REPORT), read_back(OTHER)) == views(PLAN, REPORT, OTHER)


@settings(deadline=None, max_examples=20)
@given(st.data())
def test_views_of_any_mapping(data: st.DataObject) -> None:
    """Encodings, pairs, flips, cuts, row groups and layers that are all zero."""
    ways, seed = data.draw(slicings(4, most=12)), data.draw(st.integers(0, 99))
    codes = np.random.default_rng(seed).integers(-15, 16, (6, 3)) * data.draw(st.integers(0, 1))
    layers = (coded(codes, weight_bits=4, name="z"), coded(codes[:3], weight_bits=4, name="a", input="y", output="z"))
    active_rows = data.draw(st.sampled_from([2, 4]))
    plan = plan_of(*layers, rows=4, cols=2, active_rows=active_rows, eliminate=data.draw(st.booleans()), **ways)
    report = report_of(plan)
    read = read_back(report)
    assert read == report
    assert views(plan, read, read) == views(plan, report, report)
    assert unexplained(to_text(PlanReport(report=report, whole=True), WIDE), report) == []


def scaled(report: ReportDocument, unit: str) -> ReportDocument:
    """Every figure of a suffix another one, each by a factor of its own."""
    factors = iter(1.1 + 0.017 * number for number in range(10_000))

    def change(part: Any, key: str = "") -> Any:
        if isinstance(part, dict):
            return {
                name: change(inner, name if name.endswith(("_j", "_s", "_m2")) else key) for name, inner in part.items()
            }
        return part * next(factors) if isinstance(part, float) and key.endswith(unit) else part

    dumped = report.model_dump()
    return ReportDocument.model_validate(dumped | {part: change(dumped[part]) for part in ("cost", "chip")})


@pytest.mark.parametrize("whole", [False, True])
def test_numbers_of_the_text_are_figures_of_the_document(whole: bool) -> None:
    assert unexplained(to_text(PlanReport(report=REPORT, whole=whole), WIDE), REPORT) == []


@pytest.mark.parametrize("unit", ["_j", "_s", "_m2"])
def test_numbers_of_the_text_are_no_others(unit: str) -> None:
    """A text beside figures that it was not made of: most of its numbers of that unit are none of them."""
    other = scaled(REPORT, unit)
    symbol = {"_j": "J", "_s": "s", "_m2": "m²"}[unit]
    lines = to_text(PlanReport(report=REPORT), WIDE)
    found = [token for token in unexplained(lines, other) if token.endswith(symbol)]
    assert len(found) >= 4, found
    assert unexplained(to_text(PlanReport(report=other), WIDE), other) == []
