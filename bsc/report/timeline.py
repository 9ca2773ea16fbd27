"""Which layer works when: one inference on an empty chip, as bars that pages draw and terminals print."""

import math
from dataclasses import dataclass
from typing import Final

from bsc.printable import visible
from bsc.report.axis import round_step
from bsc.report.document import ReportDocument
from bsc.report.text import PlainText, plain_text
from bsc.units import format_si, prefixed

WIDTH: Final = 80
"""Characters of a line of the text."""
MOST_NAME: Final = 24
"""Characters of a name of a layer in it; the middle of longer ones is left out."""

ON_CHAIN, SLOWEST = "*", ">"
SHADES: Final = "░▒▓█"
"""Of bars: how much of the time from start to end a layer works, up to a quarter, a half, three quarters and all."""
_EIGHTHS = " ▏▎▍▌▋▊▉"


@dataclass(frozen=True, kw_only=True)
class Bar:
    """When one layer works.

    Attributes:
        name: of the layer.
        copies: that share its input vectors.
        start_s: of its first vector.
        end_s: of its last one.
        busy_s: time that each copy works in between.
        adds_s: what the layer adds to the latency; 0 where nothing waits for it.
        slowest: it sets the interval.
    """

    name: str
    copies: int
    start_s: float
    end_s: float
    busy_s: float
    adds_s: float
    slowest: bool

    @property
    def on_chain(self) -> bool:
        """Whether the chain of rows that makes the inference as late as it is goes through the layer."""
        return self.adds_s > 0

    @property
    def busy_share(self) -> float:
        """Share of the time between start and end in which a copy works; 0 for a layer that takes no time."""
        return min(self.busy_s / (self.end_s - self.start_s), 1.0) if self.end_s > self.start_s else 0.0


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """Bars of all layers on one axis of time.

    Attributes:
        bars: in the order of the plan.
        span_s: right end of the axis; 0 where no layer takes time.
    """

    bars: tuple[Bar, ...]
    span_s: float

    def ticks(self) -> list[tuple[float, str]]:
        """Round times on the axis as shares of it, and what they read."""
        if not self.span_s:
            return []
        scale, unit = prefixed(self.span_s, "s")
        step = round_step(self.span_s / scale)
        count = int(self.span_s / scale / step * (1 + 1e-9))
        return [(each * step * scale / self.span_s, f"{each * step:.6g} {unit}") for each in range(count + 1)]


def timeline(report: ReportDocument) -> Timeline:
    """The timeline of a plan."""
    chip = report.chip
    bars = tuple(
        Bar(
            name=layer.name,
            copies=on.copies,
            start_s=on.start_s,
            end_s=on.end_s,
            busy_s=on.busy_s,
            adds_s=on.critical_s,
            slowest=layer.name == chip.plan.bottleneck,
        )
        for layer in report.plan.layers
        for on in [chip.layers[layer.name]]
    )
    return Timeline(bars=bars, span_s=max([chip.plan.latency_s, *(bar.end_s for bar in bars)]))


def timeline_text(report: ReportDocument) -> PlainText:
    """The timeline as lines of characters, a bar for each layer and the axis below."""
    shown = timeline(report)
    title = f"Timeline, one inference: {format_si(report.chip.plan.latency_s, 's')}"
    if not shown.span_s:
        return plain_text(" no layer takes time", "", title=title)
    names = [shortened(visible(bar.name), MOST_NAME) for bar in shown.bars]
    indent = max(map(len, names)) + 5
    room = WIDTH - indent
    lines = [
        f" {_mark(bar)} {name:<{indent - 3}}{_characters(bar, shown.span_s, room)}"
        for bar, name in zip(shown.bars, names, strict=True)
    ]
    lines += [" " * indent + line for line in _axis(shown, room)]
    lines += [
        "",
        f" {SLOWEST} sets the interval, {ON_CHAIN} is on the chain of rows that sets the latency",
        f" {SHADES[::-1]} works up to all, three quarters, half, a quarter of the time",
        "",
    ]
    return plain_text(*(line.rstrip() for line in lines), title=title)


def shortened(name: str, most: int) -> str:
    """A name of at most so many characters, its middle left out for it."""
    if len(name) <= most:
        return name
    tail = (most - 1) // 2
    return f"{name[: most - 1 - tail]}…{name[-tail:]}"


def _mark(bar: Bar) -> str:
    return SLOWEST if bar.slowest else ON_CHAIN if bar.on_chain else " "


def _characters(bar: Bar, span_s: float, room: int) -> str:
    """The bar of a layer on an axis of `room` characters, at least a part of one."""
    start, end = (round(time / span_s * room * 8) for time in (bar.start_s, bar.end_s))
    start = min(start, room * 8 - 1)
    end = max(end, start + 1)
    first, last = start // 8, end // 8
    shade = SHADES[max(math.ceil(bar.busy_share * len(SHADES)) - 1, 0)]
    if shade != SHADES[-1]:  # only the full block has parts
        return " " * first + shade * max(last - first, 1)
    if first == last:
        return " " * first + _EIGHTHS[end % 8]
    head = "▐" if start % 8 >= 4 else shade
    return " " * first + head + shade * (last - first - 1) + _EIGHTHS[end % 8].strip()


def _axis(shown: Timeline, room: int) -> tuple[str, str]:
    """A line with a mark at each tick, and one of what the ticks read."""
    line, labels = ["─"] * room, ""
    for share, label in shown.ticks():
        place = min(int(share * room), room - 1)
        line[place] = "┴" if place else "└"
        if place + len(label) <= room:
            labels = f"{labels:<{place}}{label}"
    return "".join(line), labels
