"""The chip in a report: how much of it a plan takes, and what it does over time, beside the baselines."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from rich.console import Group, RenderableType

from bsc.report.beside import BesideRow, beside_table
from bsc.report.cells import YEAR_S, duration
from bsc.report.document import (
    BASELINES,
    ChipFigures,
    LayerOnChip,
    OperatorTotals,
    ReloadFigures,
    ReportDocument,
    TargetLevel,
)
from bsc.report.energy import energy_notes, energy_table
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
    Row(label="power", value=lambda each: each.power_w, unit="W", more_is_better=False),
    Row(label="energy x delay", value=lambda each: each.energy_delay_js, unit="Js", more_is_better=False),
    Row(label="operations/s", value=lambda each: each.ops_per_s, unit="OPS", more_is_better=True),
    Row(label="operations/s/W", value=lambda each: each.ops_per_j, unit="OPS/W", more_is_better=True),
    Row(label="operations/s/mm²", value=lambda each: _per_mm2(each.ops_per_s_m2), unit="OPS", more_is_better=True),
    Row(label="area, all copies", value=lambda each: each.area_m2, unit="m²", more_is_better=False),
)


def _per_mm2(per_m2: float | None) -> float | None:
    return None if per_m2 is None else per_m2 * 1e-6


def chip_rows(report: ReportDocument) -> list[BesideRow]:
    """The plan on chips beside its baselines: figures, and behind them counts without ratios."""
    levels = report.cost.levels[-2:]
    rows = []
    for row in ROWS:
        ours, *baselines = map(row.value, report.chip.columns)
        better = [ratio(ours, each) if row.more_is_better else ratio(each, ours) for each in baselines]
        texts = [format_si(each, row.unit) for each in baselines]
        rows.append(
            BesideRow(label=row.label, plan=format_si(ours, row.unit), baselines=tuple(zip(texts, better, strict=True)))
        )
    counts: list[tuple[str, Callable[[ChipFigures], str]]] = [
        (" / ".join(level.plural for level in reversed(levels)), lambda each: f"{each.chips} / {each.tiles}"),
        ("crossbars", lambda each: str(each.crossbars)),
        ("of them at work", lambda each: _share(each.busy_share)),
    ]
    for label, text in counts:
        mine, *others = map(text, report.chip.columns)
        rows.append(
            BesideRow(label=label, plan=mine, baselines=tuple((each, None) for each in others), has_ratios=False)
        )
    return rows


def chip_section(report: ReportDocument) -> RenderableType:
    """Figures of the chip, and what stands out."""
    lines = [f"{label:<18}{words}" for label, words in chip_notes(report)]
    return Group(chip_table(report), energy_table(report), plain_text(*lines, ""), *_segment_tables(report))


def _segment_tables(report: ReportDocument) -> list[Table]:
    """The segments of a model that is reloaded."""
    reload = report.chip.plan.reload
    return [] if reload is None or not reload.segments else [segment_table(reload)]


def segment_table(reload: ReloadFigures) -> Table:
    """Segments in the order they are loaded."""
    names = ("segment", "layers", "crossbars", "writing", "energy", "interval", "batch")
    table = new_table(f"Segments, {reload.batch} inferences each", names, 2)
    for number, each in enumerate(reload.segments):
        table.add_row(
            str(number),
            each.first_layer if each.layers == 1 else f"{each.first_layer} to {each.last_layer}",
            str(each.crossbars),
            format_si(each.write_s, "s"),
            format_si(each.write_j, "J"),
            format_si(each.interval_s, "s"),
            format_si(each.batch_s, "s"),
        )
    return table


def chip_table(report: ReportDocument) -> Table:
    """The plan on chips beside its baselines."""
    rows = chip_rows(report)
    sections = [[row for row in rows if row.has_ratios == has_ratios] for has_ratios in (True, False)]
    return beside_table(f"The chip, copies '{report.chip.plan.copies_policy}'", "many inferences", sections)


def layer_chip_table(report: ReportDocument) -> Table:
    """Copies, places and times by layer."""
    in_segments = any(on.segment for on in report.chip.layers.values())
    segment = ["segment"] if in_segments else []
    names = ("layer", *segment, "copies", "crossbars", "place", "works from", "to", "busy", "holds")
    table = new_table(f"Layers on the chip, one inference; places are {place_name(report)}", names)
    for layer in report.plan.layers:
        on = report.chip.layers[layer.name]
        table.add_row(
            layer.name,
            *([str(on.segment)] if in_segments else []),
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
    if plan.interval_s:
        notes.append(("slowest stage", f"{slowest(report)}, {format_si(plan.interval_s, 's')} an inference"))
    if filled.inferences_per_s is not None and plan.interval_s > filled.interval_s:
        more = format_ratio(ratio(plan.interval_s, filled.interval_s))
        words = (
            f"{format_si(filled.inferences_per_s, '/s')}, {more}, on "
            f"{_units(filled.tiles, tile)}: --copies throughput; no copies give more than "
            f"{format_si(filled.inferences_per_s_bound, '/s')}"
        )
        notes.append(("with more copies", words))
    if plan.reload is not None:
        notes += _reload_notes(report, plan.reload)
    over = [layer.name for layer in report.plan.layers if chip.layers[layer.name].overflows]
    if over:
        words = f"{_and_more(over)} must hold more than the buffers of {_its(over)} {tile.plural} can"
        notes.append(("BUFFERS", words))
    if plan.power_budget_w is not None:
        notes.append(("power budget", _power_words(report, plan.power_budget_w)))
    placed = [layer.placed for layer in report.plan.layers if layer.placed is not None]
    if any(each.rules.pack for each in placed) and not any(each.row for each in placed):
        notes.append(("--pack", "no two layers that follow each other fit onto the same crossbars"))
    more_chips = max(each.chips for each in chip.baselines)
    if more_chips > plan.chips:
        notes.append(("baselines", f"that do not fit have more {whole.plural}: up to {more_chips}"))
    shared = [name for name, uses in Counter(step.layer for step in report.plan.steps).items() if name and uses > 1]
    if shared:
        words = "used several times, timed in the program's order, though a later use may be ready first"
        notes.append(("shared weights", f"{_and_more(shared)} {'is' if len(shared) == 1 else 'are'} {words}"))
    notes.append(("times", "of crossbars, converters, links, buses and buffers"))
    untimed = [each.op_type for each in chip.operators if _computes(each)]
    if untimed:
        notes.append(("NOT TIMED", f"digital operators, as if they kept up: {', '.join(dict.fromkeys(untimed))}"))
    return [*notes, *energy_notes(report)]


def _reload_notes(report: ReportDocument, reload: ReloadFigures) -> list[tuple[str, str]]:
    """What stands out of a model that may be loaded in segments."""
    whole = report.cost.levels[-1]
    if not reload.segments:
        return [("--reload", f"all layers are on the {whole.plural} at once, which is at least as fast as in segments")]
    device = "" if reload.device is None else f" by device '{reload.device}'"
    notes = [
        (
            "reloading",
            f"{len(reload.segments)} segments for every {reload.batch} inferences: {reload.writing_share:.1%} of the "
            f"time is writing, {format_si(reload.writing_j, 'J')} each time{device}",
        ),
        (
            "between segments",
            f"up to {bytes_text(reload.waiting_bits)} of activations of a batch wait outside of the {whole.plural}, "
            f"over whose links they go out and come back; the energy of that memory is {UNKNOWN}",
        ),
    ]
    if reload.lifetime_s is None:
        notes.append(("ENDURANCE", "unknown: the device does not say how often a cell can be written"))
    else:
        words = f"{reload.updates:.3g} writes of a cell are over after {duration(reload.lifetime_s)} without a pause"
        notes.append(("ENDURANCE" if reload.lifetime_s < YEAR_S else "endurance", words))
    return notes


def link_name(report: ReportDocument, link: str) -> str:
    """What reports call a kind of link."""
    tile, chip = report.cost.levels[-2:]
    names = {
        "chip links": f"the links of a {chip.name}",
        "mesh": f"the mesh between {tile.plural}",
        "buses": f"the bus of a {tile.name}",
        "buffers": f"the buffer of a {tile.name}",
    }
    return names.get(link, link)


def slowest(report: ReportDocument) -> str:
    """What sets the interval."""
    chip = report.chip.plan
    if chip.reload is not None and chip.reload.segments:
        longest = max(chip.reload.segments, key=lambda each: each.batch_s)
        return f"the segment from {longest.first_layer} to {longest.last_layer}, on average over a batch"
    if chip.busiest_link is None:
        return chip.bottleneck or "nothing"
    longer = f"{format_si(chip.stall_s, 's')} longer than {chip.bottleneck or 'any layer'}"
    return f"{link_name(report, chip.busiest_link)}, {longer}"


def _computes(operator: OperatorTotals) -> bool:
    """Whether an operator has work that takes time, or work that is not known."""
    counts = (operator.products, operator.additions, operator.comparisons, operator.interpolations)
    return None in counts or any(counts)


def _power_words(report: ReportDocument, budget_w: float) -> str:
    """What a power budget means, and for whom it is too small."""
    columns = zip(("this plan", *BASELINES), report.chip.columns, strict=True)
    over = [name for name, each in columns if (each.power_w or 0.0) > budget_w * (1 + ROUNDING)]
    words = f"{format_si(budget_w, 'W')} for all that copies draw"
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
