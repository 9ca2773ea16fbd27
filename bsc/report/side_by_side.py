"""Reports of plans side by side, as text and as JSON; the first plan is the reference of the others."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from rich.console import Group, RenderableType

from bsc.report.basis import recorded
from bsc.report.chip import ROWS as CHIP_ROWS
from bsc.report.document import PROVED, LawSaving, LayerSpend, ReportDocument, SlicedTotals, Spend
from bsc.report.energy import parts_of
from bsc.report.pipelines import pipeline_difference
from bsc.report.table import Table
from bsc.report.text import new_table, pairs, plain_text
from bsc.units import UNKNOWN, format_ratio, format_si, ratio

ABSENT = "-"
NOTHING_KNOWN = LawSaving(
    adc_energy_j=None,
    energy_j=None,
    adc_ratio=None,
    total_ratio=None,
    full_ratio=None,
    formula="",
    source="",
    valid_bits=(0, 0),
    extrapolated=False,
)
Values = Sequence[float | None]


@dataclass(frozen=True, eq=False, kw_only=True)
class ComparedPlan:
    """One plan among others.

    Attributes:
        name: what to call it, unique.
        report: of the plan.
        accuracy: share of labelled samples that the replay gets right; None where nothing was replayed.
    """

    name: str
    report: ReportDocument
    accuracy: float | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class SideBySideReport:
    """What `bsc compare` prints.

    Attributes:
        plans: two or more, all priced under the same ADC law; the first is the reference.
        paper_law: name of the paper's.
    """

    plans: Sequence[ComparedPlan]
    paper_law: str

    def __rich__(self) -> RenderableType:
        tables = [_totals(self.plans, self.paper_law), _layers(self.plans)]
        shown = [part for table in tables if table is not None for part in (plain_text(""), table)]
        note = plain_text(f"as recorded  {recorded(plan.report.plan for plan in self.plans)}")
        return Group(_heading(self.plans), *shown, note)


def side_by_side_json(plans: Sequence[ComparedPlan], paper_law: str) -> dict[str, Any]:
    """What `bsc compare --json` prints; ratios say how many times less than the first plan."""
    law = plans[0].report.cost.adc_law
    compared = [_beside(plan, plans[0], paper_law) for plan in plans]
    return {"adc_law": law, "paper_adc_law": paper_law, "plans": compared}


def plan_figures(report: ReportDocument) -> dict[str, Any]:
    """What is compared of a whole plan."""
    return _figures(report.totals, report.cost.plan)


def layer_figures(report: ReportDocument, name: str) -> dict[str, Any] | None:
    """What is compared of a layer; None where the plan does not have it."""
    return _figures(report.layers[name], report.cost.plan.layers[name]) if name in report.layers else None


def _figures(totals: SlicedTotals, spend: Spend | LayerSpend) -> dict[str, Any]:
    return {
        "crossbars": totals.crossbars,
        "columns": totals.conversions,
        "mean_bits": totals.mean_adc_bits,
        "largest_bits": totals.largest_adc_bits,
        "rests_on": totals.rests_on,
        "conversions": spend.conversions,
        "adc_energy_j": spend.adc_energy_j,
        "energy_j": spend.energy_j,
        "latency_s": spend.latency_s,
    }


def _heading(plans: Sequence[ComparedPlan]) -> RenderableType:
    """What made each plan: the first in full, the others by what is different."""
    first, *others = plans
    rows = [
        (first.name, f"{_model(first)} on {first.report.cost.target}, {_ranges(first)}"),
        ("", first.report.plan.pipeline),
    ]
    for plan in others:
        rows.append((plan.name, _against(first, plan)))
        added, removed = pipeline_difference(first.report.plan.pipeline, plan.report.plan.pipeline)
        steps = [*(f"- {step}" for step in removed), *(f"+ {step}" for step in added)] or ["the same pipeline"]
        rows += [("", step) for step in steps]
    return pairs(rows)


def _model(plan: ComparedPlan) -> str:
    model = plan.report.plan.model
    return f"{model.file} ({model.sha256[:12]})"


def _ranges(plan: ComparedPlan) -> str:
    calibration = plan.report.plan.calibration
    if calibration is None:
        return "a step for each input vector"
    return f"input steps from {calibration.samples} samples"


def _against(first: ComparedPlan, plan: ComparedPlan) -> str:
    """Model, hardware and input ranges, as far as they are not those of the first plan."""
    parts = []
    ours, theirs = first.report, plan.report
    if theirs.plan.model.sha256 != ours.plan.model.sha256:
        parts.append(f"ANOTHER MODEL, {_model(plan)}: layers are matched by name alone")
    if theirs.cost.target_sha256 != ours.cost.target_sha256:
        node = "" if theirs.cost.node_m == ours.cost.node_m else f" of {format_si(theirs.cost.node_m, 'm')}"
        parts.append(f"other hardware, {theirs.cost.target}{node}")
    if theirs.plan.calibration != ours.plan.calibration:
        parts.append(f"other input ranges, {_ranges(plan)}")
    return "; ".join(parts) or "the same model, hardware and input ranges"


class _Rows:
    """A table with a column for each plan, and behind all but the first one with ratios."""

    def __init__(self, plans: Sequence[ComparedPlan]) -> None:
        self.reports = [plan.report for plan in plans]
        first, *others = (plan.name for plan in plans)
        names = [first, *(name for other in others for name in (other, "ratio"))]
        law = self.reports[0].cost.adc_law
        self.table = new_table(f"One inference, ADC law '{law}'; ratios to {first}", ("", *names))

    def add(
        self, name: str, values: Values, shown: Callable[[float | None], str], *, more_is_better: bool = False
    ) -> None:
        """A row with ratios, above 1 where a plan is better than the first."""
        ratios = [ratio(value, values[0]) if more_is_better else ratio(values[0], value) for value in values[1:]]
        self._add(name, values, shown, list(map(format_ratio, ratios)))

    def add_alone(self, name: str, values: Values, shown: Callable[[float | None], str]) -> None:
        """A row of what makes no sense as a ratio."""
        self._add(name, values, shown, [""] * (len(values) - 1))

    def add_accuracies(self, values: Values) -> None:
        """A row with differences."""
        changes = [
            UNKNOWN if None in (value, values[0]) else f"{100 * ((value or 0) - (values[0] or 0)):+.2f} points"
            for value in values[1:]
        ]
        self._add("accuracy by replay", values, _share, changes)

    def _add(self, name: str, values: Values, shown: Callable[[float | None], str], beside: Sequence[str]) -> None:
        cells = [shown(values[0])]
        for value, other in zip(values[1:], beside, strict=True):
            cells += [shown(value), other]
        self.table.add_row(name, *cells)


def _totals(plans: Sequence[ComparedPlan], paper_law: str) -> Table:
    """One group of rows after the other."""
    rows = _Rows(plans)
    _add_resolutions(rows)
    if any(plan.accuracy is not None for plan in plans):
        rows.add_accuracies([plan.accuracy for plan in plans])
    rows.table.add_section()
    _add_costs(rows)
    rows.table.add_section()
    _add_chip(rows)
    chosen = rows.reports[0].cost.adc_law
    if paper_law != chosen:
        rows.table.add_section()
        _add_energies_under(rows, paper_law)
    rows.table.add_section()
    for law in dict.fromkeys((chosen, paper_law)):
        _add_savings_under(rows, law)
    return rows.table


def _add_resolutions(rows: _Rows) -> None:
    totals = [report.totals for report in rows.reports]
    rows.add("crossbars", [each.crossbars for each in totals], _count)
    pairs = any(layer.cells.analog_pairs for report in rows.reports for layer in report.plan.layers)
    one, many = ("slice column or pair", "slice columns or pairs") if pairs else ("slice column", "slice columns")
    rows.add(f"mean ADC bits of a {one}", [each.mean_adc_bits for each in totals], _two_digits)
    rows.add_alone("largest", [each.largest_adc_bits for each in totals], _count)
    for basis in dict.fromkeys(basis for report in rows.reports for basis in _bases(report)):
        rows.add_alone(f"{many} {basis}", [each.rests_on.get(basis, 0) for each in totals], _share)


def _bases(report: ReportDocument) -> Iterator[str]:
    """What the resolutions of a plan rest on: proofs, then policies in the order of its layers."""
    ordered = dict.fromkeys((PROVED, *(layer.adc_policy for layer in report.plan.layers)))
    return (basis for basis in ordered if basis in report.totals.rests_on)


def _add_costs(rows: _Rows) -> None:
    spends = [report.cost.plan for report in rows.reports]
    rows.add("conversions", [each.conversions for each in spends], _count)
    labels = {action.name: action.label for report in rows.reports for action in report.cost.actions}
    for action, label in labels.items():
        rows.add(label, [each.energy_by_action_j.get(action) for each in spends], _joules)
    rows.add("energy", [each.energy_j for each in spends], _joules)
    rows.add("latency", [each.latency_s for each in spends], _seconds)
    rows.add("area", [each.area_m2 for each in spends], _square_metres)


def _add_chip(rows: _Rows) -> None:
    chips = [report.chip.plan for report in rows.reports]
    for row in CHIP_ROWS:
        values = [row.value(each) for each in chips]
        name = f"{row.label} on the chip" if row.label == "latency" else row.label
        rows.add(name, values, partial(format_si, unit=row.unit), more_is_better=row.more_is_better)
    for part in parts_of([each.energy for each in chips]):
        rows.add(f"energy, {part.label}", [part.value(each.energy) for each in chips], _joules)
    rows.add_alone("chips", [each.chips for each in chips], _count)
    rows.add_alone("tiles", [each.tiles for each in chips], _count)


def _add_energies_under(rows: _Rows, law: str) -> None:
    rows.add(f"ADC conversions, law '{law}'", [_under(law, each).adc_energy_j for each in rows.reports], _joules)
    rows.add(f"energy, law '{law}'", [_under(law, each).energy_j for each in rows.reports], _joules)


def _add_savings_under(rows: _Rows, law: str) -> None:
    savings = [_under(law, report) for report in rows.reports]
    rows.add_alone(f"ADC saving over 8 bit, '{law}'", [each.adc_ratio for each in savings], format_ratio)
    rows.add_alone(f"saving of crossbar layers, '{law}'", [each.total_ratio for each in savings], format_ratio)
    rows.add_alone(f"saving in full total, '{law}'", [each.full_ratio for each in savings], format_ratio)


def _under(law: str, report: ReportDocument) -> LawSaving:
    """What a plan saves under a law; nothing is known where a report that was read does not have it."""
    return report.cost.adc_laws.get(law, NOTHING_KNOWN)


def _layers(plans: Sequence[ComparedPlan]) -> Table | None:
    """The layers whose figures differ, each plan on a line of its own."""
    names = list(dict.fromkeys(layer.name for plan in plans for layer in plan.report.plan.layers))
    figures = {name: [layer_figures(plan.report, name) for plan in plans] for name in names}
    differing = {name: each for name, each in figures.items() if any(other != each[0] for other in each[1:])}
    if not differing:
        return None
    same = len(names) - len(differing)
    columns = ("crossbars", "mean, max bits", "proved", "conversions", "ADC energy", "energy", "ratio", "latency")
    title = f"Layers that differ; alike in every plan: {same}" if same else "Layers that differ"
    table = new_table(title, ("layer", "plan", *columns), 2)
    for name, each in differing.items():
        table.add_section()
        for position, (plan, found) in enumerate(zip(plans, each, strict=True)):
            cells = _layer_cells(found, each[0] if position else None)
            table.add_row("" if position else name, plan.name, *cells)
    return table


def _layer_cells(layer: dict[str, Any] | None, reference: dict[str, Any] | None) -> list[str]:
    if layer is None:
        return [ABSENT] * 8
    return [
        str(layer["crossbars"]),
        f"{_two_digits(layer['mean_bits'])}, {layer['largest_bits']}",
        f"{layer['rests_on'].get(PROVED, 0):.1%}",
        str(layer["conversions"]),
        _joules(layer["adc_energy_j"]),
        _joules(layer["energy_j"]),
        "" if reference is None else format_ratio(ratio(reference["energy_j"], layer["energy_j"])),
        _seconds(layer["latency_s"]),
    ]


def _beside(plan: ComparedPlan, first: ComparedPlan, paper_law: str) -> dict[str, Any]:
    ours, theirs = first.report, plan.report
    added, removed = pipeline_difference(ours.plan.pipeline, theirs.plan.pipeline)
    reference, spend = ours.cost.plan, theirs.cost.plan
    paper_reference, paper = _under(paper_law, ours), _under(paper_law, theirs)
    return {
        "name": plan.name,
        "model": theirs.plan.model.model_dump(mode="json"),
        "same_model": theirs.plan.model.sha256 == ours.plan.model.sha256,
        "target": theirs.cost.target,
        "pipeline": theirs.plan.pipeline,
        "pipeline_added": added,
        "pipeline_removed": removed,
        "accuracy": plan.accuracy,
        "figures": plan_figures(theirs),
        "cost": spend.model_dump(mode="json"),
        "chip": theirs.chip.plan.model_dump(mode="json"),
        "paper_cost": {"adc_energy_j": paper.adc_energy_j, "energy_j": paper.energy_j},
        "saving_over_uniform_8_bit": {
            name: {"adc_ratio": law.adc_ratio, "total_ratio": law.total_ratio, "full_ratio": law.full_ratio}
            for name, law in theirs.cost.adc_laws.items()
        },
        "ratios": {
            "conversions": ratio(reference.conversions, spend.conversions),
            "adc_energy": ratio(reference.adc_energy_j, spend.adc_energy_j),
            "energy": ratio(reference.energy_j, spend.energy_j),
            "paper_adc_energy": ratio(paper_reference.adc_energy_j, paper.adc_energy_j),
            "paper_energy": ratio(paper_reference.energy_j, paper.energy_j),
            "latency": ratio(reference.latency_s, spend.latency_s),
            "area": ratio(reference.area_m2, spend.area_m2),
        },
        "layers": {layer.name: layer_figures(theirs, layer.name) for layer in theirs.plan.layers},
    }


def _count(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.0f}"


def _two_digits(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.2f}"


def _share(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.2%}"


def _joules(value: float | None) -> str:
    return format_si(value, "J")


def _seconds(value: float | None) -> str:
    return format_si(value, "s")


def _square_metres(value: float | None) -> str:
    return format_si(value, "m²")
