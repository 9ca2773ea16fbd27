"""What `bsc hw fit` prints: the levels as text, and all of the fit as JSON."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.console import Group, RenderableType

from bsc.fit.device import DeviceFit
from bsc.fit.levels import Estimate, LevelFit
from bsc.hardware.device import EFFECTS
from bsc.report.text import new_table, pairs, plain_text
from bsc.units import UNKNOWN

_ESTIMATES = ("shift", "spread", "chip_spread", "read_noise", "exponent", "exponent_spread", "coefficient")


@dataclass(frozen=True, eq=False, kw_only=True)
class FitReport:
    """What `bsc hw fit` prints.

    Attributes:
        found: the fit.
    """

    found: DeviceFit

    def __rich__(self) -> RenderableType:
        programming = new_table(
            "Programming, in % of the on conductance, ± standard error",
            ("level", "µS", "cells", "shift", "cell to cell", "chip to chip", "normal"),
            1,
        )
        reading = new_table(
            "Reading, noise in % of the on conductance, ± standard error",
            ("level", "noise", "drift exponent", "cell to cell", "‰ per K"),
            1,
        )
        percent = 100 / self.found.on_s
        for at, level in enumerate(self.found.levels):
            programming.add_row(
                str(at),
                f"{level.target * 1e6:.4g}",
                str(level.cells),
                shown(level.shift, percent, 2),
                shown(level.spread, percent, 2),
                shown(level.chip_spread, percent, 2),
                f"{'yes' if level.normal else 'no'}, {100 * level.gap:.1f} %",
            )
            reading.add_row(
                str(at),
                shown(level.read_noise, percent, 3),
                shown(level.exponent, 1, 4),
                shown(level.exponent_spread, 1, 4),
                shown(level.coefficient, 1e3, 2),
            )
        return Group(pairs(list(self._summary())), plain_text(""), programming, plain_text(""), reading)

    def _summary(self) -> Iterator[tuple[str, str]]:
        found, data = self.found, self.found.measured
        chips = f"{data.chips} chips" if data.chips > 1 else "one chip: it cannot be told from others"
        yield "measured", f"{data.file}: {len(data.level)} readings of {data.cells} cells, {chips}"
        shape = "as measured (a table)" if found.empirical else "normal"
        yield "errors", f"{shape}; the last column is the largest gap between shares of cells, measured and normal"
        stuck = found.stuck
        yield "stuck", f"on {_share(stuck.on, stuck.on_of)}, off {_share(stuck.off, stuck.off_of)}"
        if found.cells.times_s.size > 2:
            yield "drift", _worst_residual(found)
        device = found.device
        yield "effects", ", ".join(name for name in EFFECTS if getattr(device, name) is not None) or "none"
        if device.drift is not None or device.temperature is not None:
            yield "", "drift and temperature count with bsc simulate --read-at and --temperature"


def fit_json(found: DeviceFit) -> dict[str, Any]:
    """What `bsc hw fit --json` prints; conductances and deviations in siemens, errors are standard errors."""
    stuck = found.stuck
    return {
        "device": found.device.model_dump(mode="json", exclude_none=True),
        "file": found.measured.file,
        "sha256": found.measured.sha256,
        "readings": len(found.measured.level),
        "cells": found.measured.cells,
        "chips": found.measured.chips,
        "errors": "empirical" if found.empirical else "normal",
        "stuck": {"on": stuck.on, "on_of": stuck.on_of, "off": stuck.off, "off_of": stuck.off_of},
        "levels": [_level_json(level) for level in found.levels],
    }


def _level_json(level: LevelFit) -> dict[str, Any]:
    estimates = {name: getattr(level, name) for name in _ESTIMATES}
    return {
        "target_s": level.target,
        "cells": level.cells,
        "normal": level.normal,
        "gap": level.gap,
        **{
            name: {"value": each.value, "error": each.error} if each.known else None for name, each in estimates.items()
        },
    }


def shown(estimate: Estimate, factor: float, digits: int) -> str:
    """An estimate times a factor; unknown where the data do not tell."""
    if not estimate.known:
        return UNKNOWN
    return f"{estimate.value * factor:.{digits}f} ± {estimate.error * factor:.{digits}f}"


def _share(count: int, of: int) -> str:
    """A share of cells and its standard error."""
    if not of:
        return "unknown: no cell could tell"
    share = count / of
    return f"{100 * share:.2f} ± {100 * math.sqrt(share * (1 - share) / of):.2f} % ({count} of {of} cells)"


def _worst_residual(found: DeviceFit) -> str:
    """How far a power of time is from the mean of any level at any time."""
    residuals = np.abs(np.nan_to_num(found.cells.mean_residuals)) / found.on_s
    level, time = np.unravel_index(int(residuals.argmax()), residuals.shape)
    return (
        f"a power of time errs by up to {100 * residuals[level, time]:.2f} % of the on conductance "
        f"(mean of level {level} at {found.cells.times_s[time]:g} s)"
    )
