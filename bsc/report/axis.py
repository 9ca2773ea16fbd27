"""Axes of pictures, whatever they are drawn with."""

import math


def round_step(span: float) -> float:
    """A round distance of ticks, so that three to seven of them fit into a range.

    Args:
        span: length of the range, above 0.
    """
    power = 10.0 ** math.floor(math.log10(span / 3))
    return max(step * power for step in (1, 2, 2.5, 5) if span / (step * power) >= 3)
