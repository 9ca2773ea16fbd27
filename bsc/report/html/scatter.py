"""Scatter plots of designs as inline SVG: all points, the front of each group as a line of steps.

Its classes are in plot.css, its colours CSS custom properties of the page.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from bsc.report.axis import round_step
from bsc.units import prefixed

WIDTH, HEIGHT = 560, 380
LEFT, RIGHT, TOP, BOTTOM = 66, 18, 16, 54
MARGIN = 0.04
"""Of the range of an axis, left free at both of its ends."""
LOGARITHMIC = 4.0
"""An axis whose largest value is so many times its smallest one is logarithmic."""
MOST_LABELS = 12
_DECADES = ((1,), (1, 2, 5), (1, 1.5, 2, 3, 5, 7))
"""Ticks of a power of ten, few to many; the first to give three of them is taken."""


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One axis of a plot.

    Attributes:
        label: what it shows.
        unit: SI symbol; "" for a count, "%" for a share of 1.
        more_is_better: which end is the good one.
    """

    label: str
    unit: str
    more_is_better: bool


@dataclass(frozen=True, kw_only=True)
class Dot:
    """One design of a plot.

    Attributes:
        x: in the unit of the axis.
        y: likewise.
        name: short, written beside dots on the front where there are few.
        tooltip: all there is to say.
        on_front: no other design beats it.
        group: designs are only compared with those of their group; "" where there is one.
    """

    x: float
    y: float
    name: str
    tooltip: str
    on_front: bool
    group: str


class _Scale:
    """Where the values of an axis lie between two ends of the picture."""

    def __init__(self, axis: Axis, values: Sequence[float], start: float, stop: float) -> None:
        self.axis = axis
        low, high = min(values), max(values)
        self.logarithmic = low > 0 and high / low > LOGARITHMIC
        self._start, self._stop = start, stop
        if axis.unit == "%":
            self.divisor, self.unit = 0.01, "%"
        elif axis.unit:
            self.divisor, self.unit = prefixed(high, axis.unit)
        else:
            self.divisor, self.unit = 1.0, ""
        first, last = self._linear(low), self._linear(high)
        free = MARGIN * (last - first) or 0.05 * abs(last) or 1.0
        self._low, self._high = first - free, last + free

    def __call__(self, value: float) -> float:
        share = (self._linear(value) - self._low) / (self._high - self._low)
        return self._start + share * (self._stop - self._start)

    @property
    def title(self) -> str:
        return f"{self.axis.label} ({self.unit})" if self.unit else self.axis.label

    def ticks(self) -> list[tuple[float, str]]:
        """Positions and texts of round values, a few of them."""
        if self.logarithmic:
            powers = range(math.floor(self._low), math.ceil(self._high) + 1)
            for steps in _DECADES:
                values = [step * 10.0**power for power in powers for step in steps]
                shown = [value for value in values if self._low <= math.log10(value) <= self._high]
                if len(shown) >= 3:
                    break
        else:
            step = round_step(self._high - self._low)
            shown = [at * step for at in range(math.ceil(self._low / step), math.floor(self._high / step) + 1)]
        placed = [
            self._start + (self._plain(value) - self._low) / (self._high - self._low) * self._span for value in shown
        ]
        return [(at, f"{value:.6g}") for at, value in zip(placed, shown, strict=True)]

    @property
    def _span(self) -> float:
        return self._stop - self._start

    def _plain(self, value: float) -> float:
        """From a value in the axis' own unit to its place on the axis."""
        return math.log10(value) if self.logarithmic else value

    def _linear(self, value: float) -> float:
        return self._plain(value / self.divisor)


def scatter(x: Axis, y: Axis, dots: Sequence[Dot]) -> Markup:
    """A plot of at least one dot."""
    across = _Scale(x, [dot.x for dot in dots], LEFT, WIDTH - RIGHT)
    up = _Scale(y, [dot.y for dot in dots], HEIGHT - BOTTOM, TOP)
    title = f"{y.label} over {x.label} of {len(dots)} designs"
    parts = [
        Markup('<svg class="plot" viewBox="0 0 {} {}" role="img" aria-label="{}">').format(WIDTH, HEIGHT, title),
        *_axes(across, up),
    ]
    front = [dot for dot in dots if dot.on_front]
    parts += [_circle(across, up, dot, "dot", 3) for dot in dots if not dot.on_front]
    for at, group in enumerate(dict.fromkeys(dot.group for dot in front)):
        parts.append(_steps(across, up, [dot for dot in front if dot.group == group], group, 8 + 15 * at))
    parts += [_circle(across, up, dot, "best", 4.5) for dot in front]
    parts += _labels(across, up, front)
    return Markup("\n").join([*parts, Markup("</svg>")])


def _axes(across: _Scale, up: _Scale) -> list[Markup]:
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    parts = []
    for at, text in up.ticks():
        parts.append(Markup('<path class="grid" d="M{} {:.1f}H{}"/>').format(LEFT, at, right))
        parts.append(Markup('<text x="{}" y="{:.1f}" text-anchor="end">{}</text>').format(LEFT - 8, at + 4.5, text))
    for at, text in across.ticks():
        parts.append(Markup('<path class="tick" d="M{:.1f} {}v5"/>').format(at, bottom))
        parts.append(Markup('<text x="{:.1f}" y="{}" text-anchor="middle">{}</text>').format(at, bottom + 20, text))
    parts.append(Markup('<path class="tick" d="M{} {}H{}"/>').format(LEFT, bottom, right))
    middle = (LEFT + right) / 2
    title = Markup('<text class="axis" x="{:.1f}" y="{}" text-anchor="middle">{}</text>')
    parts.append(title.format(middle, HEIGHT - 10, across.title))
    turned = Markup('<text class="axis" transform="translate(16 {:.1f}) rotate(-90)" text-anchor="middle">{}</text>')
    parts.append(turned.format((TOP + bottom) / 2, up.title))
    return parts


def _circle(across: _Scale, up: _Scale, dot: Dot, kind: str, radius: float) -> Markup:
    circle = Markup('<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="{}"><title>{}</title></circle>')
    return circle.format(kind, across(dot.x), up(dot.y), radius, dot.tooltip)


def _steps(across: _Scale, up: _Scale, front: Sequence[Dot], group: str, above: float) -> Markup:
    """The edge of what is reached in these two figures, from the best in one to the best in the other."""
    x_sign, y_sign = (-1 if scale.axis.more_is_better else 1 for scale in (across, up))
    ordered = sorted(front, key=lambda dot: (x_sign * dot.x, y_sign * dot.y))
    edge: list[Dot] = []
    for dot in ordered:
        if not edge or y_sign * dot.y < y_sign * edge[-1].y:
            edge.append(dot)
    path = f"M{across(edge[0].x):.1f} {up(edge[0].y):.1f}"
    for dot in edge[1:]:
        path += f"H{across(dot.x):.1f}V{up(dot.y):.1f}"
    line = Markup('<path class="front" d="{}"/>').format(path)
    if not group:
        return line
    name = Markup('<text class="group" x="{:.1f}" y="{:.1f}">{}</text>')
    return line + name.format(across(edge[0].x) + 8, up(edge[0].y) - above, group)


def _labels(across: _Scale, up: _Scale, front: Sequence[Dot]) -> list[Markup]:
    """Names of dots on the front, where there is room."""
    if len(front) > MOST_LABELS or len({dot.group for dot in front}) > 1:
        return []
    taken: list[tuple[float, float]] = []
    parts = []
    for dot in sorted(front, key=lambda each: (across(each.x), up(each.y))):
        x, y = across(dot.x) + 7, up(dot.y) + 15
        if y > HEIGHT - BOTTOM - 2:
            y = up(dot.y) - 7
        if any(abs(x - left) < 34 and abs(y - line) < 14 for left, line in taken):
            continue
        taken.append((x, y))
        anchor = "end" if x > WIDTH - RIGHT - 34 else "start"
        at = x - 14 if anchor == "end" else x
        label = Markup('<text class="name" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>')
        parts.append(label.format(at, y, anchor, dot.name))
    return parts
