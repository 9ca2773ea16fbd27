"""The chip in a report: how much of it a plan takes, and what it does over time, beside the baselines."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from rich.console import Group, RenderableType

from bsc.report.document import ChipFigures, LayerOnChip, ReportDocument, TargetLevel
from bsc.report.table import Table
from bsc.report.text import new_table, plain_text
from bsc.units import UNKNOWN, format_ratio, format_si, ratio

ROUNDING: Final = 1e-9
"""By how much a power budget may be exceeded, relatively, before it is said."""


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
    Row(label="16 inferences", value=lambda each: each.batch_s, unit="s", more_is_better=False),
    Row(label="dynamic power", value=lambda each: each.power_w, unit="W", more_is_better=False),
    Row(label="energy x delay", value=lambda each: each.energy_delay_js, unit="Js", more_is_better=False),
    Row(label="operations/s", value=lambda each: each.ops_per_s, unit="OPS", more_is_better=True),
    Row(label="operations/s/W", value=lambda each: each.ops_per_j, unit="OPS/W", more_is_better=True),
    Row(label="operations/s/mm²", value=lambda each: _per_mm2(each.ops_per_s_m2), unit="OPS", more_is_better=True),
    Row(label="area, all copies", value=lambda each: each.area_m2, unit="m²", more_is_better=False),
)


def _per_mm2(per_m2: float | None) -> float | None:
    return None if per_m2 is None else per_m2 * 1e-6


@dataclass(frozen=True, kw_only=True)
class ChipRow:
    """A row of the table of chips, in words.

    Attributes:
        label: what the figure is called.
        plan: the plan's.
        baselines: of each baseline its figure, and how many times better the plan is; None where that is not known, or
            neither more nor less is better.
        has_ratios: the figure has ratios at all.
    """

    label: str
    plan: str
    baselines: tuple[tuple[str, float | None], ...]
    has_ratios: bool = True


def chip_rows(report: ReportDocument) -> list[ChipRow]:
    """The plan on chips beside its baselines: figures, and behind them counts without ratios."""
    levels = report.cost.levels[-2:]
    rows = []
    for row in ROWS:
        ours, *baselines = map(row.value, report.chip.columns)
        better = [ratio(ours, each) if row.more_is_better else ratio(each, ours) for each in baselines]
        texts = [format_si(each, row.unit) for each in baselines]
        rows.append(
            ChipRow(label=row.label, plan=format_si(ours, row.unit), baselines=tuple(zip(texts, better, strict=True)))
        )
    counts: list[tuple[str, Callable[[ChipFigures], str]]] = [
        (" / ".join(level.plural for level in reversed(levels)), lambda each: f"{each.chips} / {each.tiles}"),
        ("crossbars", lambda each: str(each.crossbars)),
        ("of them at work", lambda each: _share(each.busy_share)),
    ]
    for label, text in counts:
        mine, *others = map(text, report.chip.columns)
        rows.append(ChipRow(label=label, plan=mine, baselines=tuple((each, None) for each in others), has_ratios=False))
    return rows


def chip_section(report: ReportDocument) -> RenderableType:
    """Figures of the chip, and what stands out."""
    lines = [f"{label:<18}{words}" for label, words in chip_notes(report)]
    return Group(chip_table(report), plain_text(*lines, ""))


def chip_table(report: ReportDocument) -> Table:
    """The plan on chips beside its baselines."""
    title = f"The chip, copies '{report.chip.plan.copies_policy}'"
    table = new_table(title, ("many inferences", "this plan", "uniform 8 bit", "ratio", "ISAAC offset 8 bit", "ratio"))
    had_ratios = True
    for row in chip_rows(report):
        if had_ratios and not row.has_ratios:
            table.add_section()
        had_ratios = row.has_ratios
        cells = [row.plan]
        for theirs, better in row.baselines:
            cells += [theirs, format_ratio(better) if row.has_ratios else ""]
        table.add_row(row.label, *cells)
    return table


def layer_chip_table(report: ReportDocument) -> Table:
    """Copies, places and times by layer."""
    names = ("layer", "copies", "crossbars", "place", "works from", "to", "busy", "holds")
    table = new_table(f"Layers on the chip, one inference; places are {place_name(report)}", names)
    for layer in report.plan.layers:
        on = report.chip.layers[layer.name]
        table.add_row(
            layer.name,
            str(on.copies),
            str(on.crossbars),
            place_text(on),
            format_si(on.start_s, "s"),
            format_si(on.end_s, "s"),
            format_si(on.busy_s, "s"),
            held_text(on),
        )
    return table


def place_name(report: ReportDocument) -> str:
    """What `place_text` gives the numbers of: "chip / tile / IMA"."""
    return " / ".join(level.name for level in reversed(report.cost.levels[1:]))


def place_text(layer: LayerOnChip) -> str:
    """Where a layer begins: "0/21/4", the place in the smallest unit left out."""
    return "/".join(map(str, layer.first_place[:-1]))


def chip_notes(report: ReportDocument) -> list[tuple[str, str]]:
    """What stands out: a label, and the words about it."""
    chip, (tile, whole) = report.chip, report.cost.levels[-2:]
    plan, filled = chip.plan, chip.filled
    notes = []
    if plan.bottleneck is not None:
        links = f"the links of the {whole.plural}, for inputs and outputs"
        slowest = plan.bottleneck if plan.interval_s > plan.io_s else links
        notes.append(("slowest stage", f"{slowest}, {format_si(plan.interval_s, 's')} an inference"))
    if filled.inferences_per_s is not None and plan.interval_s > filled.interval_s:
        more = format_ratio(ratio(plan.interval_s, filled.interval_s))
        words = (
            f"{format_si(filled.inferences_per_s, '/s')}, {more}, on "
            f"{_units(filled.tiles, tile)}: --copies throughput; no copies give more than "
            f"{format_si(filled.inferences_per_s_bound, '/s')}"
        )
        notes.append(("with more copies", words))
    over = [layer.name for layer in report.plan.layers if chip.layers[layer.name].overflows]
    if over:
        words = f"{_and_more(over)} must hold more than the buffers of {_its(over)} {tile.plural} can"
        notes.append(("BUFFERS", words))
    if plan.power_budget_w is not None:
        notes.append(("power budget", _power_words(report, plan.power_budget_w)))
    placed = [layer.placed for layer in report.plan.layers if layer.placed is not None]
    if any(each.rules.pack for each in placed) and not any(each.row for each in placed):
        notes.append(("--pack", "no two layers that follow each other fit onto the same crossbars"))
    more_chips = max(chip.uniform_8_bit.chips, chip.isaac_offset_8_bit.chips)
    if more_chips > plan.chips:
        notes.append(("baselines", f"that do not fit have more {whole.plural}: up to {more_chips}"))
    shared = [name for name, uses in Counter(step.layer for step in report.plan.steps).items() if name and uses > 1]
    if shared:
        words = "used several times, timed in the program's order, though a later use may be ready first"
        notes.append(("shared weights", f"{_and_more(shared)} {'is' if len(shared) == 1 else 'are'} {words}"))
    words = "of crossbars and converters; other links, digital operators and buffers keep up with them"
    notes.append(("times", words))
    return notes


def _power_words(report: ReportDocument, budget_w: float) -> str:
    """What a power budget means, and for whom it is too small."""
    columns = zip(("this plan", "uniform 8 bit", "ISAAC offset 8 bit"), report.chip.columns, strict=True)
    over = [name for name, each in columns if each.power_w is not None and each.power_w > budget_w * (1 + ROUNDING)]
    words = f"{format_si(budget_w, 'W')} for copies"
    exceed = "exceeds" if len(over) == 1 else "exceed"
    return f"{words}; {' and '.join(over)} {exceed} it with one of each layer" if over else words


def _and_more(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def _its(names: Sequence[str]) -> str:
    return "its" if len(names) == 1 else "their"


def _units(number: int, level: TargetLevel) -> str:
    return f"{number} {level.name if number == 1 else level.plural}"


def held_text(layer: LayerOnChip) -> str:
    """What a layer holds in buffers, and where that is too much, of how much."""
    held = bytes_text(layer.held_bits)
    return f"{held} of {bytes_text(layer.buffer_bits or 0)}" if layer.overflows else held


def bytes_text(bits: int) -> str:
    """What a buffer holds."""
    return format_si(bits / 8, "B") if bits else "0"


def _share(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.1%}"
