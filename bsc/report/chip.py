"""The chip in a report: how much of it a plan takes, and what it does over time, beside the baselines."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from rich.console import Group, RenderableType

from bsc.report.document import ChipFigures, ChipReport, ReportDocument
from bsc.report.table import Table
from bsc.report.text import PlainText, counted, new_table, plain_text
from bsc.units import UNKNOWN, format_ratio, format_si, ratio


@dataclass(frozen=True, kw_only=True)
class Row:
    """A figure of chips that has a ratio.

    Attributes:
        label: what it is called.
        value: of one column.
        unit: of the value.
        more_is_better: the ratio says how many times more the plan has, and else how many times less.
    """

    label: str
    value: Callable[[ChipFigures], float | None]
    unit: str
    more_is_better: bool


ROWS: Final = (
    Row(label="inferences", value=lambda each: each.inferences_per_s, unit="/s", more_is_better=True),
    Row(label="latency", value=lambda each: each.latency_s, unit="s", more_is_better=False),
    Row(label="interval", value=lambda each: each.interval_s, unit="s", more_is_better=False),
    Row(label="power", value=lambda each: each.power_w, unit="W", more_is_better=False),
    Row(label="energy x delay", value=lambda each: each.energy_delay_js, unit="Js", more_is_better=False),
    Row(label="operations/s", value=lambda each: each.ops_per_s, unit="OPS", more_is_better=True),
    Row(label="operations/s/W", value=lambda each: each.ops_per_j, unit="OPS/W", more_is_better=True),
    Row(label="operations/s/mm²", value=lambda each: _per_mm2(each.ops_per_s_m2), unit="OPS", more_is_better=True),
    Row(label="area of all copies", value=lambda each: each.area_m2, unit="m²", more_is_better=False),
)


def _per_mm2(per_m2: float | None) -> float | None:
    return None if per_m2 is None else per_m2 * 1e-6


def chip_section(report: ReportDocument) -> RenderableType:
    """Figures of the chip, and what stands out."""
    return Group(chip_table(report.chip, [level.plural for level in report.cost.levels[-2:]]), _notes(report))


def chip_table(chip: ChipReport, names: list[str]) -> Table:
    """The plan on chips beside its baselines.

    Args:
        chip: the figures.
        names: what several units of the level below the chip, and several chips, are called.
    """
    title = f"The chip, copies '{chip.plan.copies_policy}'"
    table = new_table(title, ("many inferences", "this plan", "uniform 8 bit", "ratio", "ISAAC offset 8 bit", "ratio"))
    for row in ROWS:
        ours, *baselines = map(row.value, chip.columns)
        cells = [format_si(ours, row.unit)]
        for theirs in baselines:
            better = ratio(ours, theirs) if row.more_is_better else ratio(theirs, ours)
            cells += [format_si(theirs, row.unit), format_ratio(better)]
        table.add_row(row.label, *cells)
    table.add_section()
    counts: list[tuple[str, Callable[[ChipFigures], str]]] = [
        (" / ".join(reversed(names)), lambda each: f"{each.chips} / {each.tiles}"),
        ("crossbars", lambda each: str(each.crossbars)),
        ("of them at work", lambda each: _share(each.busy_share)),
    ]
    for label, text in counts:
        mine, flat, shifted = map(text, chip.columns)
        table.add_row(label, mine, flat, "", shifted, "")
    return table


def layer_chip_table(report: ReportDocument) -> Table:
    """Copies, places and times by layer."""
    levels = report.cost.levels
    place = " / ".join(level.name for level in reversed(levels[1:]))
    names = ("layer", "copies", "crossbars", f"first {place}", "works from", "to", "busy", "holds", "of")
    table = new_table("Layers on the chip, one inference", names)
    for layer in report.plan.layers:
        on = report.chip.layers[layer.name]
        table.add_row(
            layer.name,
            str(on.copies),
            str(on.crossbars),
            " / ".join(map(str, on.first_place[:-1])),
            format_si(on.start_s, "s"),
            format_si(on.end_s, "s"),
            format_si(on.busy_s, "s"),
            _bytes(on.held_bits),
            UNKNOWN if on.buffer_bits is None else _bytes(on.buffer_bits),
        )
    return table


def _notes(report: ReportDocument) -> PlainText:
    chip, tile = report.chip, report.cost.levels[-2]
    plan, filled = chip.plan, chip.filled
    lines = []
    if plan.bottleneck is not None:
        slowest = plan.bottleneck if plan.interval_s > plan.io_s else "the links of the chips, for inputs and outputs"
        lines.append(f"slowest stage     {slowest}, {format_si(plan.interval_s, 's')} an inference")
    if filled.inferences_per_s is not None and plan.interval_s > filled.interval_s:
        more = format_ratio(ratio(plan.interval_s, filled.interval_s))
        lines.append(
            f"with more copies  {format_si(filled.inferences_per_s, '/s')}, {more}, on "
            f"{counted(filled.tiles, tile.name)}: --copies throughput; no copies give more than "
            f"{format_si(filled.inferences_per_s_bound, '/s')}"
        )
    over = [layer.name for layer in report.plan.layers if chip.layers[layer.name].overflows]
    if over:
        first = over[0] if len(over) == 1 else f"{over[0]} and {len(over) - 1} more"
        lines.append(f"BUFFERS           {first} must hold more than the buffers of their {tile.plural} can")
    more_chips = max(chip.uniform_8_bit.chips, chip.isaac_offset_8_bit.chips)
    if more_chips > plan.chips:
        lines.append(f"baselines         that do not fit have more chips: up to {more_chips}")
    lines.append(
        "times             of crossbars and converters; other links, digital operators and buffers keep up with them"
    )
    return plain_text(*lines, "")


def _bytes(bits: int) -> str:
    return format_si(bits / 8, "B") if bits else "0"


def _share(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.1%}"
