"""The report of a plan as a page: the figures of its `ReportDocument`, and a floorplan of its crossbars."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from bsc.plan.document import Plan
from bsc.report.basis import recorded
from bsc.report.beside import BASELINES
from bsc.report.cells import cells_lines
from bsc.report.chip import chip_notes, chip_rows, link_name, place_name, slowest
from bsc.report.document import (
    PlanTotals,
    ReportDocument,
    SliceTotals,
    TargetAction,
    TargetArea,
    TargetLevel,
)
from bsc.report.energy import energy_rows, unpriced_actions
from bsc.report.html.charts import RatioAxis, bit_histogram
from bsc.report.html.floorplan import Floorplan, cells
from bsc.report.html.network import network
from bsc.report.html.page import data_block, render
from bsc.report.layer_rows import layer_rows
from bsc.report.network import digital_operators, operators_text
from bsc.report.timeline import timeline
from bsc.report.verdict import judged, verdict_notes

COLOURS = 9
"""Of the style sheet, k0 to k8."""

LAYER_COLOURS = 12
"""Of the style sheet, l0 to l11; layers take them in turn, so that neighbours differ."""

MAX_BYTES = 1_000_000
"""Of a page, unless its tables alone need more: cells of crossbars are left out for it."""


@dataclass(frozen=True, kw_only=True)
class CostRow:
    """An action or an area of the target.

    Attributes:
        label: what it is called.
        words: what one action is and how it is counted; empty for an area.
        colour: number of a colour.
        costs: in the plan and both baselines.
    """

    label: str
    words: str
    colour: int
    costs: tuple[float | None, ...]


def plan_page(plan: Plan, report: ReportDocument, *, max_bytes: int = MAX_BYTES) -> str:
    """The page.

    Args:
        plan: gives the cells that the floorplan shows.
        report: of that plan: all else.
        max_bytes: what it may take; tables and the floorplan are always whole, cells fill what is left.
    """
    floorplan = Floorplan.of(plan.mapping, report)
    page = _render(report, floorplan, {})
    return _render(report, floorplan, cells(plan.mapping, floorplan, max_bytes - len(page.encode())))


def _render(report: ReportDocument, floorplan: Floorplan, shown: dict[str, dict[str, str]]) -> str:
    cost = report.cost
    rows = layer_rows(report)
    laws = [(name, cost.adc_laws[name]) for name in cost.adc_law_names]
    return render(
        "plan.html.j2",
        {
            "report": report,
            "totals": report.totals,
            "cost": cost,
            "costs": (cost.plan, *cost.baselines),
            "baselines": BASELINES,
            "cells_text": "\n".join(cells_lines(report)[2:]),
            "law": cost.adc_laws[cost.adc_law],
            "laws": laws,
            "layers": rows,
            "unpriced": unpriced_actions(report),
            "policies": list(
                dict.fromkeys(f"{each.adc_policy} per {each.adc_granularity}" for each in report.plan.layers)
            ),
            "pairs": any(each.cells.analog_pairs for each in report.plan.layers),
            "digital": operators_text(digital_operators(report.plan)) or "nothing",
            "energy": _rows(cost.actions, [each.energy_by_action_j for each in (cost.plan, *cost.baselines)]),
            "area": _rows(cost.areas, [each.area_by_part_m2 for each in (cost.plan, *cost.baselines)]),
            "axis": RatioAxis.over([ratio for _, each in laws for ratio in (each.adc_ratio, each.total_ratio)]),
            "histograms": _histograms(report.totals),
            "recorded": recorded([report.plan]),
            "network": network(report.plan),
            "digital_steps": sum(step.digital is not None for step in report.plan.steps),
            "filled": cost.levels[:-1],
            "grouping": _grouping(cost.levels),
            "judged": judged(report),
            "verdict_notes": list(verdict_notes(report)),
            "chip": report.chip,
            "chip_rows": chip_rows(report),
            "chip_notes": chip_notes(report),
            "slowest": slowest(report),
            "links": [(link_name(report, link), seconds) for link, seconds in sorted(report.chip.plan.links_s.items())],
            "energy_rows": energy_rows(report),
            "on_chip": {row.layer.name: report.chip.layers[row.layer.name] for row in rows},
            "place_name": place_name(report),
            "timeline": timeline(report),
            "layer_colours": LAYER_COLOURS,
            "floorplan": data_block("floorplan-data", floorplan.data() | {"cells": shown}),
            "places": report.chip.plan.slots_taken,
            "crossbars": sum(len(table.index) for table in floorplan.tables),
            "shown": len(shown),
        },
    )


def _grouping(levels: Sequence[TargetLevel]) -> str:
    """How crossbars fill larger levels: "IMAs (8 crossbars), tiles (12 IMAs) and chips (168 tiles)"."""
    shown = [f"{larger.plural} ({level.count} {level.plural})" for level, larger in pairwise(levels)]
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def _rows(
    labels: Sequence[TargetAction | TargetArea],
    tables: Sequence[Mapping[str, float | None] | Mapping[str, float] | None],
) -> list[CostRow]:
    """Rows of a cost table; none if the plan's own are unknown."""
    if tables[0] is None:
        return []
    return [
        CostRow(
            label=each.label,
            words=f"{each.per}; {each.counts}" if isinstance(each, TargetAction) else "",
            colour=number % COLOURS,
            costs=tuple(None if table is None else table.get(each.name) for table in tables),
        )
        for number, each in enumerate(labels)
        if each.name in tables[0]
    ]


@dataclass(frozen=True, eq=False, kw_only=True)
class SliceView:
    """One slice of all layers: its number, picture and totals."""

    number: int
    picture: Markup
    totals: SliceTotals


def _histograms(totals: PlanTotals) -> list[SliceView]:
    """One of each slice, most significant first."""
    most_bits = max(
        (int(bits) for part in totals.slices for bits in (*part.assigned_bits, *part.proved_bits)), default=0
    )
    views = []
    for number, part in enumerate(totals.slices):
        listing = ", ".join(f"{part.assigned_bits[key]} of {key} bit" for key in sorted(part.assigned_bits, key=int))
        label = f"Slice {number}, conversions by bits assigned: {listing}"
        picture = bit_histogram(label, part.assigned_bits, part.proved_bits, most_bits)
        views.append(SliceView(number=number, picture=picture, totals=part))
    return views[::-1]
