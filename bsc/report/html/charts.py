"""Small pictures for pages, as SVG text; colours are classes that the page's style sheet knows in light and dark."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from bsc.units import format_ratio

WIDTH, HEIGHT = 320, 180
LEFT, BOTTOM, TOP = 62, 34, 12


def bit_histogram(label: str, assigned: Mapping[str, int], proved: Mapping[str, int], most_bits: int) -> Markup:
    """Conversions by the bits assigned as bars, and by the bits proved to be enough as outlines.

    Args:
        label: says what is shown, for those who do not see it.
        assigned: conversions by resolution.
        proved: likewise.
        most_bits: right end of the axis, the same for all slices.
    """
    most = max([*assigned.values(), *proved.values(), 1])
    room = (WIDTH - LEFT - 8) / (most_bits + 1)
    bars = ""
    for bits in range(most_bits + 1):
        x = LEFT + bits * room
        for kind, counts, wide in (("proved", proved, 0.84), ("assigned", assigned, 0.6)):
            count = counts.get(str(bits), 0)
            tall = count / most * (HEIGHT - TOP - BOTTOM)
            if count:
                bars += (
                    f'<rect class="{kind}{" unread" if bits == 0 else ""}" x="{x + room * (1 - wide) / 2:.1f}" '
                    f'y="{HEIGHT - BOTTOM - tall:.1f}" width="{room * wide:.1f}" height="{max(tall, 0.5):.1f}">'
                    f"<title>{count} {kind}, {bits} bit</title></rect>"
                )
        bars += f'<text class="tick" x="{x + room / 2:.1f}" y="{HEIGHT - BOTTOM + 14}">{bits}</text>'
    return Markup(
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}">'
        f'<text class="end" x="{LEFT - 5}" y="{TOP + 8}">{most:,}</text>'
        f'<text class="end" x="{LEFT - 5}" y="{HEIGHT - BOTTOM}">0</text>{bars}'
        f'<path class="axis" d="M{LEFT} {TOP}V{HEIGHT - BOTTOM}H{WIDTH - 8}"/>'
        f'<text class="tick" x="{(LEFT + WIDTH - 8) / 2:.0f}" y="{HEIGHT - 3}">ADC bits</text></svg>'
    )


@dataclass(frozen=True, kw_only=True)
class RatioAxis:
    """A logarithmic axis of ratios, shared by the rows of a table.

    Attributes:
        low: left end, a power of ten.
        high: right end, a power of ten.
    """

    low: float
    high: float

    width = 260

    @classmethod
    def over(cls, ratios: Sequence[float | None]) -> "RatioAxis":
        """The axis that holds these, 1 included."""
        known = [ratio for ratio in ratios if ratio] + [1.0]
        low, high = math.floor(math.log10(min(known))), math.ceil(math.log10(max(known) * 1.0001))
        return cls(low=10.0**low, high=10.0 ** max(high, low + 1))

    def ticks(self) -> Markup:
        """Powers of ten, as the head of the column."""
        powers = range(round(math.log10(self.low)), round(math.log10(self.high)) + 1)
        texts = "".join(
            f'<text class="tick" x="{self._x(10.0**power):.1f}" y="11">{10.0**power:g}×</text>' for power in powers
        )
        return Markup(f'<svg class="ratios" viewBox="-14 0 {self.width + 28} 14" aria-hidden="true">{texts}</svg>')

    def dots(self, adc: float | None, total: float | None) -> Markup:
        """The two savings under one law."""
        label = f"ADC only {format_ratio(adc)}, total {format_ratio(total)}"
        line, dots = "", ""
        if adc is not None and total is not None:
            line = f'<path class="between" d="M{self._x(total):.1f} 10H{self._x(adc):.1f}"/>'
        if total is not None:
            dots += f'<rect class="total" x="{self._x(total) - 4:.1f}" y="6" width="8" height="8"/>'
        if adc is not None:
            dots += f'<circle class="adc" cx="{self._x(adc):.1f}" cy="10" r="5"/>'
        return Markup(
            f'<svg class="ratios" viewBox="-14 0 {self.width + 28} 20" role="img" aria-label="{label}">'
            f'<path class="one" d="M{self._x(1):.1f} 0V20"/>{line}{dots}</svg>'
        )

    def _x(self, ratio: float) -> float:
        whole = math.log10(self.high) - math.log10(self.low)
        return (math.log10(ratio) - math.log10(self.low)) / whole * self.width if ratio else 0.0
