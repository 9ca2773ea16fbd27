"""What a device says of a plan's cells, in a report: reads by Ohm's law, and writing."""

from collections.abc import Iterator

from rich.console import RenderableType

from bsc.report.document import CellReads, CellWrites, ReportDocument
from bsc.report.text import plain_text
from bsc.units import format_ratio, format_si, ratio

DAY_S = 86400.0
YEAR_S = 365.25 * DAY_S


def cells_section(report: ReportDocument) -> RenderableType:
    """Reads and writes on the device; nothing without one."""
    return plain_text(*cells_lines(report))


def cells_lines(report: ReportDocument) -> list[str]:
    """The same, line by line."""
    cells = report.cost.cells
    if cells is None:
        return []
    rows = "every row driven: no input takes more" if cells.samples is None else f"digits of {cells.samples} samples"
    reads = ["n/a: the device does not say how a cell is read"] if cells.reads is None else [*_reads(cells.reads)]
    writes = (
        ["n/a: the device does not say how a cell is written"] if cells.writes is None else [*_writes(cells.writes)]
    )
    return [
        f"Cells of device '{cells.device}' ({cells.citation})",
        "",
        f"reads, by Ohm's law, {rows}",
        *(f"  {line}" for line in reads),
        "writing all cells once",
        *(f"  {line}" for line in writes),
        "",
    ]


def _reads(reads: CellReads) -> Iterator[str]:
    for name, energy_j in (
        ("uniform 8 bit", reads.uniform_8_bit_j),
        ("ISAAC offset 8 bit", reads.isaac_offset_8_bit_j),
    ):
        saved = format_ratio(ratio(energy_j, reads.energy_j))
        yield f"{format_si(reads.energy_j, 'J')} an inference, where {name} takes {format_si(energy_j, 'J')}: {saved}"
    yield f"{format_si(reads.average_j, 'J')} by the target's published average, which is in the totals above"
    cell = f"a cell at mean conductance, driven every other time: {format_si(reads.mean_cell_j, 'J')} in "
    cell += f"{format_si(reads.pulse_s, 's')}, where the target has {format_si(reads.cell_price_j, 'J')}"
    yield cell + (f", {format_ratio(reads.over_price)}" if reads.over_price is not None else "")
    if reads.contradicts:
        yield "CONTRADICTS: that price is of other cells; drivers and converters of the target are not made for these"
    if reads.rest_j is not None:
        more = ", MORE THAN ALL ELSE" if reads.energy_j > reads.rest_j else ""
        total = format_si(reads.rest_j + reads.energy_j, "J")
        yield f"with these reads in place of the average an inference takes {total}{more}"


def _writes(writes: CellWrites) -> Iterator[str]:
    yield f"{writes.cells} cells, {writes.pulses:.3g} pulses, {format_si(writes.energy_j, 'J')} with their verify reads"
    if writes.time_s is None:
        yield "time n/a: the device does not say how long a verify read takes"
    else:
        yield (
            f"{duration(writes.time_s)} crossbar by crossbar, {duration(writes.parallel_s)} on all crossbars at once"
        )
    if writes.inferences is None:
        yield "inferences to amortise n/a: their energy is not known"
    else:
        yield (f"as much as {writes.inferences:.3g} inferences; 1 % of the energy after {100 * writes.inferences:.3g}")
    if writes.updates is None:
        yield "endurance n/a"
    else:
        yield (
            f"{writes.updates:.3g} updates until cells wear out: {duration(writes.lifetime_s)} at "
            f"{writes.updates_per_day:g} a day"
        )


def duration(seconds: float | None) -> str:
    """A time that may be years."""
    if seconds is None or seconds < DAY_S:
        return format_si(seconds, "s")
    return f"{seconds / DAY_S:.3g} days" if seconds < YEAR_S else f"{seconds / YEAR_S:.3g} years"
