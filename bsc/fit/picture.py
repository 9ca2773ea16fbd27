"""How well a fitted device fits, as SVG text: its cells beside those that were measured.

Dots are measurements. Lines are cells drawn from the description as `bsc simulate` draws them, so that whatever the
description cannot say shows as a distance between the two.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from bsc.fit.device import DeviceFit

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 480, 330, 56, 16, 34, 46
COLOURS = ("#1b4f72", "#b03a2e", "#1e8449", "#b9770e", "#6c3483", "#566573")
SHARES = (0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999)
"""Marks of the axis on which a normal distribution is a straight line."""
MOST_DOTS = 60
_CHIPS, _CELLS = 500, 40
_MICRO = 1e6


def fit_picture(found: DeviceFit) -> str:
    """Distribution of the cells of every level, and where there are times, their conductance over time."""
    drawn = _Drawn(found)
    panels = [_distributions(found, drawn)]
    kept, times = _drifting(found)
    if len(times) > 1:
        panels.append(_drift(found, drawn, kept, times, left=WIDTH))
    width = WIDTH * len(panels)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT}" font-family="sans-serif" '
        f'font-size="11">\n<rect width="{width}" height="{HEIGHT}" fill="white"/>\n{"".join(panels)}</svg>\n'
    )


class _Drawn:
    """Cells drawn from a description, the same ones whenever it is asked.

    Attributes:
        cells: conductances of each level's cells at the start (L, cells), in siemens.
    """

    def __init__(self, found: DeviceFit) -> None:
        self._device, self._on = found.device, found.on_s
        self._targets = np.array([level.target for level in found.levels])
        self._random = np.random.default_rng(0)
        shape = (len(self._targets), _CHIPS, _CELLS)
        levels = np.broadcast_to(np.arange(shape[0])[:, None, None], shape)
        cells = self._targets[levels]
        sizes = {"on": self._on, "off": float(self._targets[0])}
        if (error := self._device.programming_error) is not None:
            cells += error.deviations(self._targets, levels, self._random.standard_normal(shape), **sizes)
        if (common := self._device.chip_error) is not None:
            chips = self._random.standard_normal((1, _CHIPS, 1))
            cells += np.sqrt(common.variance(self._targets, **sizes))[levels] * chips
        self.cells = np.maximum(cells, 0).reshape(shape[0], -1)
        self._deviates = self._random.standard_normal(self.cells.shape)

    def at(self, seconds: float) -> NDArray[np.float64]:
        """Their conductances at a time (L, cells)."""
        drift = self._device.drift
        if drift is None:
            return np.asarray(self.cells)
        levels = np.broadcast_to(np.arange(len(self.cells))[:, None], self.cells.shape)
        exponents = drift.exponents(self._targets / self._on, levels, self._deviates)
        return np.asarray(self.cells * (seconds / drift.start_s.value) ** -exponents)


def _distributions(found: DeviceFit, drawn: _Drawn) -> str:
    """Shares of cells below each conductance, normal distributions as straight lines."""
    good = ~found.stuck.stuck
    measured = [np.sort(found.cells.conductance[good & (found.cells.level == at)]) for at in range(len(found.levels))]
    high = max(float(cells[-1]) for cells in measured)
    normal = NormalDist()
    reach = normal.inv_cdf(SHARES[-1]) * 1.12

    def x(siemens: float) -> float:
        return LEFT + siemens / high * (WIDTH - LEFT - RIGHT)

    def y(deviate: float) -> float:
        return (TOP + HEIGHT - BOTTOM) / 2 - deviate / reach * (HEIGHT - TOP - BOTTOM) / 2

    text = _frame(0, "cells of each level, dots measured, lines drawn from the fit", "conductance, µS")
    text += "".join(
        f'<path d="M{LEFT} {y(normal.inv_cdf(share)):.1f}h4" stroke="#444"/>'
        f'<text x="{LEFT - 5}" y="{y(normal.inv_cdf(share)) + 4:.1f}" text-anchor="end">{100 * share:g} %</text>\n'
        for share in SHARES
    )
    text += _ends(0, 0.0, high * _MICRO)
    for at, cells in enumerate(measured):
        colour, number = COLOURS[at % len(COLOURS)], len(cells)
        for place in _spread(number):
            deviate = normal.inv_cdf((place + 0.5) / number)
            if abs(deviate) <= reach and cells[place] >= 0:
                text += f'<circle cx="{x(cells[place]):.1f}" cy="{y(deviate):.1f}" r="2" fill="{colour}"/>\n'
        deviates = np.linspace(-reach, reach, 61)
        quantiles = np.quantile(drawn.cells[at], [normal.cdf(deviate) for deviate in deviates.tolist()])
        kept = [(x(float(q)), y(float(z))) for q, z in zip(quantiles, deviates, strict=True) if q <= high]
        text += _line(kept, colour)
    return text


def _drifting(found: DeviceFit) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Which readings tell of drift: of cells that are not stuck, at one temperature; and when they were made."""
    data, cells = found.measured, found.cells
    if data.time_s is None:
        return np.zeros(len(data.level), bool), np.zeros(0)
    stuck = (cells.cell * data.levels + cells.level)[found.stuck.stuck]
    kept = ~np.isin(data.cell * data.levels + data.level, stuck)
    if data.temperature_k is not None:
        kept &= data.temperature_k == cells.reference_k
    return kept, np.unique(data.time_s[kept])


def _drift(found: DeviceFit, drawn: _Drawn, kept: NDArray[np.bool_], times: NDArray[np.float64], *, left: int) -> str:
    """Mean conductance of each level over time, and the spread of its cells."""
    data = found.measured
    assert data.time_s is not None
    first, last = math.log(times[0]), math.log(times[-1])
    high = float(data.conductance[kept].max())

    def x(seconds: float) -> float:
        return left + LEFT + 8 + (math.log(seconds) - first) / (last - first) * (WIDTH - LEFT - RIGHT - 16)

    def y(siemens: float) -> float:
        return HEIGHT - BOTTOM - siemens / high * (HEIGHT - TOP - BOTTOM)

    text = _frame(left, "mean and deviation of each level over time", "time since programming, s")
    text += _ends(left, float(times[0]), float(times[-1]))
    text += f'<text x="{left + LEFT - 5}" y="{TOP + 4}" text-anchor="end">{high * _MICRO:.4g} µS</text>\n'
    text += f'<text x="{left + LEFT - 5}" y="{HEIGHT - BOTTOM}" text-anchor="end">0</text>\n'
    fine = [math.exp(first + (last - first) * part / 40) for part in range(41)]
    model = [drawn.at(seconds) for seconds in fine]
    for at in range(len(found.levels)):
        colour = COLOURS[at % len(COLOURS)]
        for seconds in times.tolist():
            here = data.conductance[kept & (data.level == at) & (data.time_s == seconds)]
            if len(here):
                mean, deviation = float(here.mean()), float(here.std())
                text += (
                    f'<path d="M{x(seconds):.1f} {y(mean - deviation):.1f}V{y(mean + deviation):.1f}" '
                    f'stroke="{colour}"/><circle cx="{x(seconds):.1f}" cy="{y(mean):.1f}" r="3" fill="{colour}"/>\n'
                )
        means = [float(each[at].mean()) for each in model]
        deviations = [float(each[at].std()) for each in model]
        for sign, dashed in ((0, False), (-1, True), (1, True)):
            values = [mean + sign * deviation for mean, deviation in zip(means, deviations, strict=True)]
            text += _line([(x(s), y(v)) for s, v in zip(fine, values, strict=True)], colour, dashed=dashed)
    return text


def _frame(left: int, title: str, label: str) -> str:
    return (
        f'<text x="{left + WIDTH / 2:.0f}" y="18" text-anchor="middle" font-weight="bold">{title}</text>\n'
        f'<path d="M{left + LEFT} {TOP}V{HEIGHT - BOTTOM}H{left + WIDTH - RIGHT}" fill="none" stroke="#444"/>\n'
        f'<text x="{left + WIDTH / 2:.0f}" y="{HEIGHT - 10}" text-anchor="middle">{label}</text>\n'
    )


def _ends(left: int, low: float, high: float) -> str:
    return (
        f'<text x="{left + LEFT}" y="{HEIGHT - BOTTOM + 15}">{low:.4g}</text>\n'
        f'<text x="{left + WIDTH - RIGHT}" y="{HEIGHT - BOTTOM + 15}" text-anchor="end">{high:.4g}</text>\n'
    )


def _line(points: Sequence[tuple[float, float]], colour: str, *, dashed: bool = False) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dashes = ' stroke-dasharray="3 3"' if dashed else ""
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.2"{dashes}/>\n'


def _spread(number: int) -> list[int]:
    """Places of the cells that become dots, ends among them."""
    return sorted({round(place) for place in np.linspace(0, number - 1, min(number, MOST_DOTS)).tolist()})
