"""Pictures of a run as SVG text, written by hand: no plotting library, the same bytes for the same numbers."""

from collections.abc import Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape

WIDTH, HEIGHT, MARGIN = 420, 260, 46
COLOURS = ("#1b4f72", "#b03a2e", "#1e8449", "#b9770e", "#6c3483", "#566573")

Lines = Mapping[str, Sequence[tuple[float, float]]]


def training_curve(history: Sequence[Mapping[str, Any]]) -> str:
    """Accuracy, non-zero ratio and mean proved ADC bits of every slice over the epochs, three panels side by side.

    Args:
        history: records of `bsc.train.trainer.Trainer.history`, at least one.
    """
    slices = len(history[0]["density"])

    def by_slice(key: str, factor: float) -> Lines:
        return {
            f"slice {slices - 1 - position}": [(each["epoch"], factor * each[key][position]) for each in history]
            for position in range(slices)
        }

    judged = [(each["epoch"], 100 * each["accuracy"]) for each in history if each["accuracy"] is not None]
    panels = [
        ("loss", "", {"task": [(each["epoch"], each["loss"]) for each in history]}),
        ("cells above 0", "%", by_slice("density", 100)),
        ("proved ADC bits, mean", "", by_slice("bits_mean", 1)),
    ]
    if judged:
        panels[0] = ("accuracy", "%", {"quantised": judged})
    return line_charts(panels, x_label="epoch")


def line_charts(panels: Sequence[tuple[str, str, Lines]], *, x_label: str) -> str:
    """Panels side by side.

    Args:
        panels: title, unit, and the (x, y) points of each named line.
        x_label: of all of them.
    """
    drawn = [_panel(position * WIDTH, *panel, x_label) for position, panel in enumerate(panels)]
    return _document(WIDTH * len(panels), HEIGHT, drawn)


def bar_charts(panels: Sequence[tuple[str, Sequence[str], Mapping[str, Sequence[float]]]], *, unit: str) -> str:
    """Panels of grouped bars side by side.

    Args:
        panels: title, names of the groups, and each series' value for every group.
        unit: of the values.
    """
    drawn = [_bars(position * WIDTH, *panel, unit) for position, panel in enumerate(panels)]
    return _document(WIDTH * len(panels), HEIGHT, drawn)


def _document(width: int, height: int, parts: Sequence[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        f'font-size="11">\n<rect width="{width}" height="{height}" fill="white"/>\n'
    )
    return head + "".join(parts) + "</svg>\n"


def _frame(left: int, title: str, low: float, high: float) -> str:
    """Title, axes and the two ends of the y axis."""
    x, bottom = left + MARGIN, HEIGHT - MARGIN
    return (
        f'<text x="{left + WIDTH / 2:.0f}" y="18" text-anchor="middle" font-weight="bold">{escape(title)}</text>\n'
        f'<path d="M{x} {MARGIN}V{bottom}H{left + WIDTH - 16}" fill="none" stroke="#444"/>\n'
        f'<text x="{x - 4}" y="{MARGIN + 4}" text-anchor="end">{high:.4g}</text>\n'
        f'<text x="{x - 4}" y="{bottom}" text-anchor="end">{low:.4g}</text>\n'
    )


def _legend(left: int, position: int, name: str) -> str:
    x, y = left + WIDTH - 110, MARGIN + 4 + 14 * position
    colour = COLOURS[position % len(COLOURS)]
    return (
        f'<rect x="{x}" y="{y - 8}" width="9" height="9" fill="{colour}"/>'
        f'<text x="{x + 13}" y="{y}">{escape(name)}</text>\n'
    )


def _panel(left: int, title: str, unit: str, lines: Lines, x_label: str) -> str:
    points = [point for line in lines.values() for point in line]
    first, last = min(x for x, _ in points), max(x for x, _ in points)
    low, high = min(y for _, y in points), max(y for _, y in points)
    wide, tall = (last - first) or 1, (high - low) or 1
    drawn = _frame(left, f"{title}, {unit}" if unit else title, low, high)
    for position, (name, line) in enumerate(lines.items()):
        path = " ".join(
            f"{left + MARGIN + (x - first) / wide * (WIDTH - MARGIN - 16):.1f},"
            f"{HEIGHT - MARGIN - (y - low) / tall * (HEIGHT - 2 * MARGIN):.1f}"
            for x, y in line
        )
        drawn += (
            f'<polyline points="{path}" fill="none" stroke="{COLOURS[position % len(COLOURS)]}" stroke-width="1.6"/>\n'
        )
        if len(lines) > 1:
            drawn += _legend(left, position, name)
    ends = f'<text x="{left + MARGIN}" y="{HEIGHT - 28}">{first:g}</text>'
    return (
        drawn
        + ends
        + (
            f'<text x="{left + WIDTH - 16}" y="{HEIGHT - 28}" text-anchor="end">{last:g}</text>\n'
            f'<text x="{left + WIDTH / 2:.0f}" y="{HEIGHT - 12}" text-anchor="middle">{escape(x_label)}</text>\n'
        )
    )


def _bars(left: int, title: str, groups: Sequence[str], series: Mapping[str, Sequence[float]], unit: str) -> str:
    high = max((value for values in series.values() for value in values), default=0) or 1
    drawn = _frame(left, f"{title}, {unit}" if unit else title, 0, high)
    room = (WIDTH - MARGIN - 16) / max(len(groups), 1)
    width = room * 0.8 / max(len(series), 1)
    for position, (name, values) in enumerate(series.items()):
        for group, value in enumerate(values):
            tall = value / high * (HEIGHT - 2 * MARGIN)
            drawn += (
                f'<rect x="{left + MARGIN + group * room + room * 0.1 + position * width:.1f}" '
                f'y="{HEIGHT - MARGIN - tall:.1f}" width="{width:.1f}" height="{tall:.1f}" '
                f'fill="{COLOURS[position % len(COLOURS)]}"/>\n'
            )
        if len(series) > 1:
            drawn += _legend(left, position, name)
    for group, name in enumerate(groups):
        x = left + MARGIN + (group + 0.5) * room
        drawn += f'<text x="{x:.1f}" y="{HEIGHT - 28}" text-anchor="middle">{escape(name)}</text>\n'
    return drawn
