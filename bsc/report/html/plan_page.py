"""The report of a plan as a page: the figures of its `ReportDocument`, and a floorplan of its crossbars."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from bsc.plan.document import Plan
from bsc.report.document import ActionFigures, LevelFigures, PartFigures, ReportDocument, Spend
from bsc.report.html.charts import RatioAxis, bit_histogram
from bsc.report.html.floorplan import Floorplan, cells
from bsc.report.html.network import network
from bsc.report.html.page import data_block, render
from bsc.report.layer_rows import layer_rows, mean_bits
from bsc.report.network import digital_operators, operators_text

COLOURS = 9
"""Of the style sheet, k0 to k8."""

MAX_BYTES = 1_000_000
"""Of a page, unless its tables alone need more: cells of crossbars are left out for it."""


@dataclass(frozen=True, kw_only=True)
class Basis:
    """What the resolutions of all conversions rest on.

    Attributes:
        proved: lose nothing, whatever the input.
        calibrated: not proved, but lost nothing on calibration data.
        assumed: neither: a policy says so.
    """

    proved: int
    calibrated: int
    assumed: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.proved + self.calibrated + self.assumed


@dataclass(frozen=True, kw_only=True)
class CostRow:
    """An action or an area of the target: its label, a colour's number, and its cost in the plan and both baselines."""

    label: str
    colour: int
    costs: tuple[float | None, ...]


def plan_page(plan: Plan, report: ReportDocument, *, max_bytes: int = MAX_BYTES) -> str:
    """The page.

    Args:
        plan: gives the arrays that the floorplan shows.
        report: of that plan.
        max_bytes: what it may take; tables and the floorplan are always whole, cells fill what is left.
    """
    floorplan = Floorplan.of(plan, report.cost.levels)
    page = _render(report, floorplan, {})
    return _render(report, floorplan, cells(plan, floorplan, max_bytes - len(page.encode())))


def _render(report: ReportDocument, floorplan: Floorplan, shown: dict[str, dict[str, str]]) -> str:
    cost, layers = report.cost, layer_rows(report)
    costs = (cost.plan, cost.uniform_8_bit, cost.isaac_offset_8_bit)
    ratios = [each for law in cost.adc_laws.values() for each in (law.adc_ratio, law.total_ratio)]
    return render(
        "plan.html.j2",
        {
            "report": report,
            "cost": cost,
            "costs": costs,
            "law": cost.adc_laws[cost.adc_law],
            "layers": layers,
            "basis": _basis(report),
            "possible": sum(figures.possible_crossbars for figures in report.layers.values()),
            "unpriced": [each.label for each in cost.actions if cost.plan.energy_by_action_j.get(each.name) is None],
            "policies": list(
                dict.fromkeys(f"{each.adc_policy} per {each.adc_granularity}" for each in report.plan.layers)
            ),
            "pairs": any(each.subtraction == "analog" for each in report.plan.layers),
            "digital": operators_text(digital_operators(report.plan)) or "nothing",
            "energy": _rows(costs, "energy_by_action_j", cost.actions),
            "area": _rows(costs, "area_by_part_m2", cost.areas),
            "axis": RatioAxis.over(ratios),
            "histograms": _histograms(report),
            "network": network(report.plan),
            "digital_steps": sum(step.digital is not None for step in report.plan.steps),
            "filled": cost.levels[:-1],
            "grouping": _grouping(cost.levels),
            "floorplan": data_block("floorplan-data", floorplan.data() | {"cells": shown}),
            "crossbars": sum(len(table.index) for table in floorplan.tables),
            "shown": len(shown),
        },
    )


def _basis(report: ReportDocument) -> Basis:
    parts = [part for figures in report.layers.values() for part in figures.slices]
    proved, seen = (sum(getattr(part, name) for part in parts) for name in ("lossless", "observed_lossless_columns"))
    total = sum(part.conversions for part in parts)
    return Basis(proved=proved, calibrated=seen, assumed=total - proved - seen)


def _grouping(levels: Sequence[LevelFigures]) -> str:
    """How crossbars fill larger levels: "IMAs (8 crossbars) and tiles (12 IMAs)"."""
    shown = [
        f"{larger.plural} ({level.count} {level.plural})"
        for level, larger in pairwise(levels[:-1] if levels[2:] else levels)
    ]
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def _rows(costs: Sequence[Spend], name: str, parts: Sequence[ActionFigures | PartFigures]) -> list[CostRow]:
    """Rows of a cost table; none if the plan's own are unknown."""
    tables = [getattr(cost, name) for cost in costs]
    if tables[0] is None:
        return []
    return [
        CostRow(
            label=part.label,
            colour=number % COLOURS,
            costs=tuple(None if table is None else table.get(part.name) for table in tables),
        )
        for number, part in enumerate(parts)
        if part.name in tables[0]
    ]


@dataclass(frozen=True, eq=False, kw_only=True)
class SliceView:
    """One slice of all layers: its number, picture, density and mean resolution."""

    number: int
    picture: str
    density: float | None
    mean_bits: float | None
    largest_sum: int


def _histograms(report: ReportDocument) -> list[SliceView]:
    """One of each slice, most significant first."""
    slices = max(len(figures.slices) for figures in report.layers.values())
    totals = []
    for number in range(slices):
        parts = [figures.slices[number] for figures in report.layers.values() if number < len(figures.slices)]
        assigned, proved = Counter[str](), Counter[str]()
        for part in parts:
            assigned.update(part.assigned_bits)
            proved.update(part.proved_bits)
        totals.append((parts, assigned, proved))
    most_bits = max((int(bits) for _, *both in totals for counts in both for bits in counts), default=0)
    views = []
    for number, (parts, assigned, proved) in enumerate(totals):
        weights = [layer.rows * layer.columns for layer in report.plan.layers if number < layer.slices]
        listing = ", ".join(f"{assigned[key]} of {key} bit" for key in sorted(assigned, key=int))
        views.append(
            SliceView(
                number=number,
                picture=bit_histogram(
                    f"Slice {number}, conversions by bits assigned: {listing}", assigned, proved, most_bits
                ),
                density=sum(part.density * size for part, size in zip(parts, weights, strict=True)) / sum(weights),
                mean_bits=mean_bits(parts),
                largest_sum=max(part.largest_sum for part in parts),
            )
        )
    return views[::-1]
