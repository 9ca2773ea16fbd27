"""The report of plans side by side as text; the first plan is the reference of the others."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from bsc.cost.price import ratio
from bsc.cost.side_by_side import PROVED, Figures, PlanFigures, pipeline_difference
from bsc.report.costs import action_labels
from bsc.report.text import add_row, new_table
from bsc.units import UNKNOWN, format_ratio, format_si

ABSENT = "-"
Values = Sequence[float | None]


@dataclass(frozen=True, eq=False, kw_only=True)
class SideBySideReport:
    """What `bsc compare` prints.

    Attributes:
        plans: two or more; the first is the reference.
        law: name of the ADC law that was chosen.
        paper_law: name of the paper's.
    """

    plans: Sequence[PlanFigures]
    law: str
    paper_law: str

    def __rich__(self) -> RenderableType:
        tables = [self._totals(), self._layers()]
        return Group(self._heading(), *(part for table in tables if table is not None for part in (Text(), table)))

    def _heading(self) -> Table:
        """What made each plan: the first in full, the others by what is different."""
        first, *others = self.plans
        table = Table.grid(padding=(0, 2))
        table.add_column(overflow="fold")
        table.add_column(overflow="fold")
        add_row(table, first.name, f"{_model(first)} on {first.comparison.target.name}, {_ranges(first)}")
        add_row(table, "", first.document.pipeline)
        for plan in others:
            add_row(table, plan.name, _against(first, plan))
            added, removed = pipeline_difference(first.document.pipeline, plan.document.pipeline)
            for step in [*(f"- {step}" for step in removed), *(f"+ {step}" for step in added)] or ["the same pipeline"]:
                add_row(table, "", step)
        return table

    def _totals(self) -> Table:
        names = [self.plans[0].name]
        for plan in self.plans[1:]:
            names += [plan.name, "ratio"]
        table = new_table(f"One inference, ADC law '{self.law}'; ratios to {names[0]}", ("", *names))
        whole = [plan.whole for plan in self.plans]
        costs = [plan.comparison.plan for plan in self.plans]
        papers = [plan.paper for plan in self.plans]

        def row(name: str, values: Values, shown: Callable[[float | None], str], *, ratios: bool = True) -> None:
            cells = [shown(values[0])]
            for value in values[1:]:
                cells += [shown(value), format_ratio(ratio(values[0], value)) if ratios else ""]
            add_row(table, name, *cells)

        row("crossbars", [each.crossbars for each in whole], _count)
        row("mean ADC bits of a slice column", [each.mean_bits for each in whole], _two_digits)
        row("largest", [each.largest_bits for each in whole], _count, ratios=False)
        for basis in dict.fromkeys(basis for each in whole for basis in each.rests_on):
            row(f"slice columns {basis}", [each.rests_on.get(basis, 0) for each in whole], _share, ratios=False)
        if any(plan.accuracy is not None for plan in self.plans):
            self._accuracies(table)
        table.add_section()
        row("conversions", [each.conversions for each in whole], _count)
        labels = {name: text for plan in self.plans for name, text in action_labels(plan.comparison.target).items()}
        for action, text in labels.items():
            energies = [cost.action_energy_j(action) if action in cost.actions else None for cost in costs]
            row(text, energies, _joules)
        row("energy", [cost.total_energy_j for cost in costs], _joules)
        row("latency", [cost.total_latency_s for cost in costs], _seconds)
        row("area", [cost.total_area_m2 for cost in costs], _square_metres)
        if self.paper_law != self.law:
            table.add_section()
            row(f"ADC conversions, law '{self.paper_law}'", [cost.total_adc_energy_j for cost in papers], _joules)
            row(f"energy, law '{self.paper_law}'", [cost.total_energy_j for cost in papers], _joules)
        table.add_section()
        for law in dict.fromkeys((self.law, self.paper_law)):
            spread = [next(each for each in plan.comparison.spread if each.law.name == law) for plan in self.plans]
            row(f"ADC saving over 8 bit, '{law}'", [each.adc for each in spread], format_ratio, ratios=False)
            row(f"total saving, '{law}'", [each.total for each in spread], format_ratio, ratios=False)
        return table

    def _accuracies(self, table: Table) -> None:
        reference = self.plans[0].accuracy
        cells = [_share(reference)]
        for plan in self.plans[1:]:
            points = None if None in (plan.accuracy, reference) else 100 * ((plan.accuracy or 0) - (reference or 0))
            cells += [_share(plan.accuracy), UNKNOWN if points is None else f"{points:+.2f} points"]
        add_row(table, "accuracy by replay", *cells)

    def _layers(self) -> Table | None:
        """The layers whose figures differ, each plan on a line of its own."""
        names = list(dict.fromkeys(name for plan in self.plans for name in plan.layers))
        differing = [name for name in names if len({repr(plan.layers.get(name)) for plan in self.plans}) > 1]
        if not differing:
            return None
        same = len(names) - len(differing)
        columns = ("crossbars", "mean, max bits", "proved", "conversions", "ADC energy", "energy", "ratio", "latency")
        title = f"Layers that differ; alike in every plan: {same}" if same else "Layers that differ"
        table = new_table(title, ("layer", "plan", *columns), 2)
        for name in differing:
            table.add_section()
            reference = self.plans[0].layers.get(name)
            for position, plan in enumerate(self.plans):
                cells = _layer_cells(plan.layers.get(name), reference if position else None)
                add_row(table, "" if position else name, plan.name, *cells)
        return table


def _layer_cells(layer: Figures | None, reference: Figures | None) -> list[str]:
    if layer is None:
        return [ABSENT] * 8
    return [
        str(layer.crossbars),
        f"{_two_digits(layer.mean_bits)}, {layer.largest_bits}",
        f"{layer.rests_on.get(PROVED, 0):.1%}",
        str(layer.conversions),
        _joules(layer.adc_energy_j),
        _joules(layer.energy_j),
        "" if reference is None else format_ratio(ratio(reference.energy_j, layer.energy_j)),
        format_si(layer.latency_s, "s"),
    ]


def _model(plan: PlanFigures) -> str:
    return f"{plan.document.model.file} ({plan.document.model.sha256[:12]})"


def _ranges(plan: PlanFigures) -> str:
    calibration = plan.document.calibration
    if calibration is None:
        return "a step for each input vector"
    return f"input steps from {calibration.samples} samples"


def _against(first: PlanFigures, plan: PlanFigures) -> str:
    """Model, hardware and input ranges, as far as they are not those of the first plan."""
    parts = []
    if plan.document.model.sha256 != first.document.model.sha256:
        parts.append(f"ANOTHER MODEL, {_model(plan)}: layers are matched by name alone")
    if plan.comparison.target != first.comparison.target:
        parts.append(f"other hardware, {plan.comparison.target.name}")
    if plan.document.calibration != first.document.calibration:
        parts.append(f"other input ranges, {_ranges(plan)}")
    return "; ".join(parts) or "the same model, hardware and input ranges"


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
