"""Where the energy of an inference goes, beside the baselines, with and without traffic, digital work, static power."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from bsc.report.beside import BesideRow, beside_table
from bsc.report.document import BASELINES, InferenceEnergy, ReportDocument
from bsc.report.table import Table
from bsc.report.text import new_table
from bsc.units import UNKNOWN, format_ratio, format_si, ratio


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of the energy of an inference, or what parts come to.

    Attributes:
        label: what it is called.
        value: in joules; None is unknown.
        adds: it is one of the parts that add up to the next row that does not.
    """

    label: str
    value: Callable[[InferenceEnergy], float | None]
    adds: bool


WRITING: Final = Part(label="writing segments", value=lambda each: each.writing_j, adds=True)
"""Of models that are reloaded; others have no row for it."""
FULL: Final = Part(label="FULL TOTAL", value=lambda each: each.total_j, adds=False)

PARTS: Final = (
    Part(label="crossbar layers", value=lambda each: each.layers_j, adds=True),
    Part(label="traffic", value=lambda each: each.traffic_j, adds=True),
    Part(label="digital work", value=lambda each: each.work_j, adds=True),
    Part(label="without static power", value=lambda each: each.active_j, adds=False),
    Part(label="static power", value=lambda each: each.static_j, adds=True),
    WRITING,
    FULL,
    Part(label="if 1 % is static", value=lambda each: each.at_rest_1_percent_j, adds=False),
    Part(label="if 5 % is static", value=lambda each: each.at_rest_5_percent_j, adds=False),
)
"""Each total includes all parts above it."""
GONE: Final = 0.5
"""A saving that is less than this share of itself on the full total is pointed out."""


@dataclass(frozen=True, kw_only=True)
class EnergyRow:
    """A part in the plan and its baselines.

    Attributes:
        part: which.
        plan: the plan's, in joules.
        baselines: of each baseline its energy, and how many times less the plan takes.
    """

    part: Part
    plan: float | None
    baselines: tuple[tuple[float | None, float | None], ...]


def energy_rows(report: ReportDocument) -> list[EnergyRow]:
    """All parts and totals."""
    rows = []
    for part in parts_of([each.energy for each in report.chip.columns]):
        ours, *others = (part.value(each.energy) for each in report.chip.columns)
        baselines = tuple((each, ratio(each, ours)) for each in others)
        rows.append(EnergyRow(part=part, plan=ours, baselines=baselines))
    return rows


def parts_of(energies: Sequence[InferenceEnergy]) -> list[Part]:
    """The parts that there are."""
    return [part for part in PARTS if part is not WRITING or any(part.value(each) is not None for each in energies)]


def energy_table(report: ReportDocument) -> Table:
    """Parts and totals."""
    sections: list[list[BesideRow]] = [[]]
    whole = False
    for row in energy_rows(report):
        beside = tuple((format_si(theirs, "J"), better) for theirs, better in row.baselines)
        sections[-1].append(BesideRow(label=row.part.label, plan=format_si(row.plan, "J"), baselines=beside))
        if not row.part.adds and not whole:
            sections.append([])
        whole = whole or row.part is FULL
    return beside_table("Where the energy goes", "one inference of many", sections)


def action_table(report: ReportDocument) -> Table:
    """Traffic and digital work, action by action."""
    table = new_table("Traffic and digital work", ("action", "counted", "energy", *BASELINES))
    ours, *others = (each.energy for each in report.chip.columns)
    for action in report.chip.actions:
        count = ours.counters.get(action.counter)
        table.add_row(
            action.label,
            UNKNOWN if count is None else str(count),
            format_si(ours.by_action_j.get(action.name), "J"),
            *(format_si(each.by_action_j.get(action.name), "J") for each in others),
        )
    return table


def operator_table(report: ReportDocument) -> Table:
    """Digital work by type of operator."""
    names = ("digital operator", "times", "products", "additions", "comparisons", "functions", "why not")
    table = new_table("Digital work by operator", names, 6)
    for each in report.chip.operators:
        counts = (each.products, each.additions, each.comparisons, each.interpolations)
        table.add_row(
            each.op_type,
            str(each.times),
            *(UNKNOWN if count is None else str(count) for count in counts),
            each.reason,
        )
    return table


def energy_notes(report: ReportDocument) -> Iterator[tuple[str, str]]:
    """What stands out: a label, and the words about it."""
    energy, chip = report.chip.plan.energy, report.chip
    rows = energy_rows(report)
    full = next(row for row in rows if row.part is FULL)
    for name, (_, before), (_, after) in zip(BASELINES, rows[0].baselines, full.baselines, strict=True):
        if before is not None and after is not None and before > 1 and after - 1 < GONE * (before - 1):
            yield (
                "SAVING SHRINKS",
                f"over {name} from {format_ratio(before)} of crossbar layers to {format_ratio(after)} of the full "
                f"total, the largest part of which is {_largest(energy)}",
            )
    left_out = [part.label for part in parts_of([energy]) if part.adds and part.value(energy) is None]
    if left_out and energy.total_j is not None:
        yield "LEFT OUT", f"of the full total: {', '.join(left_out)}, of which {report.cost.target} says nothing"
    unpriced = [
        f"{energy.counters[action.counter]} {action.label}"
        for action in chip.actions
        if energy.by_action_j.get(action.name) is None and energy.counters.get(action.counter) is not None
    ]
    if unpriced:
        yield "NO PRICE", f"of {', '.join(unpriced)}: {report.cost.target} has none, and totals with them are {UNKNOWN}"
    uncounted = [f"{each.op_type} ({each.reason})" for each in chip.operators if each.products is None]
    if uncounted:
        yield "NOT COUNTED", f"the work of {', '.join(uncounted)}: totals with it are {UNKNOWN}"
    if None in energy.counters.values() and not uncounted:
        yield "NOT COUNTED", f"traffic, where shapes of tensors are not known before a run: totals are {UNKNOWN}"


def unpriced_actions(report: ReportDocument) -> list[str]:
    """Names of the actions whose energy is unknown."""
    cost, energy = report.cost, report.chip.plan.energy
    return [
        *(each.label for each in cost.actions if cost.plan.energy_by_action_j.get(each.name) is None),
        *(each.label for each in report.chip.actions if energy.by_action_j.get(each.name) is None),
    ]


def _largest(energy: InferenceEnergy) -> str:
    """What takes most of the total."""
    parts = {part.label: part.value(energy) or 0.0 for part in PARTS if part.adds}
    return max(parts, key=parts.__getitem__)
