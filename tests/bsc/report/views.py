"""Every view of a report, and the numbers that its text may hold."""

import json
import re
from collections.abc import Iterator
from typing import Any

from bsc.plan.document import Plan
from bsc.reference.figures import figure_fields
from bsc.report.difference import difference, difference_json
from bsc.report.difference_text import DifferenceReport
from bsc.report.document import ReportDocument
from bsc.report.html.plan_page import plan_page
from bsc.report.layer_csv import layer_csv
from bsc.report.plan import LayerReport, PlanReport
from bsc.report.side_by_side import ComparedPlan, SideBySideReport, side_by_side_json
from bsc.report.text import to_text
from bsc.units import format_ratio, format_si, ratio

SHOWN_AS = {
    "J": ((1, "J"),),
    "s": ((1, "s"),),
    "m": ((1, "m"),),
    "m²": ((1, "m²"),),
    "W": ((1, "W"),),
    "J s": ((1, "Js"),),
    "1/s": ((1, "/s"), (1, "OPS")),
    "1/J": ((1, "OPS/W"),),
    "1/(s m²)": ((1e-6, "OPS"),),
}
"""How texts show figures of a unit: what they are multiplied by, and the unit that follows."""
WIDE = 100_000
"""Characters of a line, so that no name is cut into two."""


def views(plan: Plan, report: ReportDocument, other: ReportDocument) -> dict[str, Any]:
    """All of them, beside and against another report, by name."""
    plans = [ComparedPlan(name="one", report=other), ComparedPlan(name="two", report=report)]
    found = difference(other, report, names=("one", "two"))
    return {
        "text": to_text(PlanReport(report=report)),
        "whole text": to_text(PlanReport(report=report, whole=True)),
        "layers": [to_text(LayerReport(layer=layer, totals=report.layers[layer.name])) for layer in report.plan.layers],
        "csv": layer_csv(report),
        "page": plan_page(plan, report, max_bytes=100_000),
        "compare": to_text(SideBySideReport(plans=plans, paper_law="saberi")),
        "compare --json": side_by_side_json(plans, "saberi"),
        "diff": to_text(DifferenceReport(found=found, tolerance=0.0)),
        "diff --json": difference_json(found, 0.0),
    }


def unexplained(text: str, report: ReportDocument) -> list[str]:
    """Numbers of a text that are no figure of a report, in the form that texts have, and no number of its plan.

    Ratios may be of a baseline's figure to that of the plan. Whole numbers up to 16 number slices, steps and bits.
    Round times below the axis of a timeline are none of them.
    """
    text = re.sub(r"^ +└[─┴]+\n.*\n", "", text, flags=re.MULTILINE)
    strings = sorted({each for each in _leaves(report.model_dump(mode="json"), str) if not each.isdigit()}, key=len)
    for each in (*(each for each in reversed(strings) if re.search(r"\d", each)), "95 % confidence", "8 bit", "ISAAC"):
        text = text.replace(each, "#")
    shown = _shown(report)
    tokens = re.findall(
        r"\d+(?:\.\d+)?(?:e-?\d+)?(?: [TGMkmµnpfa]?(?:Js|J|s|m²|m|W|B|OPS/W|OPS|/s)\b|×(?!\d)|%)?", text
    )
    return [token for token in tokens if token not in shown]


def _shown(report: ReportDocument) -> set[str]:
    """All figures, in every form that texts have for their unit."""
    shown = {str(number) for number in range(17)}
    for number in _leaves(report.plan.model_dump(mode="json"), (int, float)):
        shown |= {str(number), f"{number:g}", f"{100 * number:.2f}", f"{100 * number:g}", f"{number:.0%}"}
    units = {tuple(path.split(".")): _unit(field) for path, _, field in figure_fields(ReportDocument) if path != "plan"}
    for path, unit in units.items():
        for number in _at(json.loads(report.model_dump_json()), path):
            if unit in SHOWN_AS:
                shown |= {format_si(number * factor, symbol) for factor, symbol in SHOWN_AS[unit]}
            elif unit == "1":
                shown |= {format_ratio(number), f"{number:.1%}", f"{100 * number:.3g}", f"{number:.1e}"}
            elif unit == "bit":
                shown |= {str(number), f"{number:.2f}", format_si(number / 8, "B")}
            elif unit:
                shown.add(str(number))
    return shown | {format_ratio(each) for each in _ratios(report)}


def _ratios(report: ReportDocument) -> Iterator[float | None]:
    """Every figure of the baselines over that of the plan, and the other way round."""

    def pairs(baseline: Any, value: Any) -> Iterator[float | None]:
        if isinstance(baseline, dict) and isinstance(value, dict):
            for key in baseline.keys() & value.keys():
                yield from pairs(baseline[key], value[key])
        elif isinstance(baseline, int | float) and isinstance(value, int | float):
            yield ratio(baseline, value)

    for ours, *others in (
        (report.cost.plan, *report.cost.baselines),
        (*report.chip.columns, report.chip.filled),
    ):
        for other in others:
            yield from pairs(other.model_dump(), ours.model_dump())
            yield from pairs(ours.model_dump(), other.model_dump())


def _unit(field: Any) -> str:
    extra = field.json_schema_extra
    return str(extra["unit"]) if isinstance(extra, dict) else ""


def _at(part: Any, path: tuple[str, ...]) -> Iterator[Any]:
    """The numbers at a path, those of a dictionary or list at its end included."""
    if part is None:
        return
    if not path:
        yield from _leaves(part, (int, float))
        return
    name, *rest = path
    if name == "*":
        for inner in part.values() if isinstance(part, dict) else part:
            yield from _at(inner, tuple(rest))
    elif name in part:
        yield from _at(part[name], tuple(rest))


def _leaves(part: Any, kinds: Any) -> Iterator[Any]:
    if isinstance(part, dict):
        for key, inner in part.items():
            if kinds is str:
                yield key
            yield from _leaves(inner, kinds)
    elif isinstance(part, list | tuple):
        for inner in part:
            yield from _leaves(inner, kinds)
    elif isinstance(part, kinds) and not isinstance(part, bool):
        yield part
