"""A device description from what the levels say, and its text as TOML."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from bsc.errors import ModelError
from bsc.fit.levels import LevelFit, level_fit, level_targets
from bsc.fit.measurements import Measurements
from bsc.fit.readings import ProgrammedCells, programmed_cells
from bsc.fit.stuck import StuckCells, stuck_cells
from bsc.hardware.device import Device
from bsc.printable import visible

Errors = Literal["auto", "normal", "empirical"]

_DEVIATES: Final = 25
"""Entries of a row of an error table."""
_FEWEST_FOR_TABLE: Final = 50
"""Cells of a level from which on their errors make a table that is not mostly chance."""
_DIGITS: Final = 5


@dataclass(frozen=True, eq=False, kw_only=True)
class DeviceFit:
    """A fitted device.

    Attributes:
        measured: what it was fitted to.
        cells: every programmed cell by itself.
        levels: from the lowest to the highest.
        stuck: cells that did not follow their target.
        empirical: whether errors are a table, and not normal.
        device: the description.
    """

    measured: Measurements
    cells: ProgrammedCells
    levels: tuple[LevelFit, ...]
    stuck: StuckCells
    empirical: bool
    device: Device

    @property
    def on_s(self) -> float:
        """On conductance in siemens."""
        return self.levels[-1].target


def fit_device(measured: Measurements, name: str, *, errors: Errors = "auto") -> DeviceFit:
    """Fit a device to measurements.

    Args:
        measured: the readings.
        name: of the device.
        errors: whether programming errors are normal or a table; `auto` takes normal ones where no level refutes it.

    Raises:
        ModelError: BSC316 if the levels are in another order than their conductances, or too many cells are stuck.
    """
    cells = programmed_cells(measured)
    stuck = stuck_cells(cells)
    counts = np.bincount(cells.level[~stuck.stuck], minlength=measured.levels)
    if counts.min() < 2:
        level = int(counts.argmin())
        raise _unusable(measured, f"has no two cells at level {level} that are not stuck", f"{counts[level]} of them")
    targets = level_targets(cells, ~stuck.stuck) if measured.targets is None else measured.targets
    if not targets[-1] > targets[0]:
        seen = f"{targets[-1]:.3g} S at level {len(targets) - 1}, {targets[0]:.3g} S at level 0"
        raise _unusable(measured, "has a highest level that conducts no more than the lowest", seen)
    levels = tuple(level_fit(cells, ~stuck.stuck, level, float(target)) for level, target in enumerate(targets))
    table = errors == "empirical"
    if errors == "auto":
        table = any(not level.normal for level in levels) and min(each.cells for each in levels) >= _FEWEST_FOR_TABLE
    device = Device.model_validate(
        {
            "name": visible(name),
            "description": f"fitted to {visible(measured.file)}: {measured.levels} levels, "
            f"{measured.chips} chip{'s' if measured.chips > 1 else ''}, {measured.cells} cells",
            "citation": f"none: measurements of SHA-256 {measured.sha256}",
            **_effects(measured, cells, levels, stuck, table=table),
        }
    )
    return DeviceFit(measured=measured, cells=cells, levels=levels, stuck=stuck, empirical=table, device=device)


def _effects(
    measured: Measurements, cells: ProgrammedCells, levels: Sequence[LevelFit], stuck: StuckCells, *, table: bool
) -> dict[str, Any]:
    """The tables of the description; what the measurements do not tell is left out."""
    on, off = levels[-1].target, levels[0].target
    source = visible(measured.file)
    least = min(level.cells for level in levels)

    def by_level(name: str, what: str, scale: float = on) -> dict[str, Any] | None:
        """A curve through what the levels say, those without it left out; None if fewer than two have it."""
        known = [(level.target, getattr(level, name)) for level in levels if getattr(level, name).known]
        if len(known) < 2:
            return None
        points = [[_rounded(target / on), _rounded(each.value / scale)] for target, each in known]
        worst = max(each.error for _, each in known) / scale
        return _sourced({"points": points}, f"{source}: {what}", f"standard error {worst:.2g} or less")

    found: dict[str, Any] = {}
    programming = {"shift": by_level("shift", "mean of the cells less their target")}
    if table:
        note = f"{least} cells or more a level; a deviate is that of a normal distribution"
        programming["empirical"] = _sourced(
            _error_table(levels, on), f"{source}: quantiles of the cells about the mean of their chip", note
        )
    else:
        programming["by_conductance"] = by_level("spread", "deviation of the cells from the mean of their chip")
    found["programming_error"] = _present(programming)
    found["chip_error"] = _present({"by_conductance": by_level("chip_spread", "deviation of the means of the chips")})
    found["read_noise"] = _present({"by_conductance": by_level("read_noise", "deviation of readings of one cell")})
    if stuck.on or stuck.off:
        found["stuck_at"] = {
            "on": _quantity(stuck.on / max(stuck.on_of, 1), f"{source}: {stuck.on} of {stuck.on_of} cells"),
            "off": _quantity(stuck.off / max(stuck.off_of, 1), f"{source}: {stuck.off} of {stuck.off_of} cells"),
        }
    found["drift"] = _drift(cells, levels, source)
    coefficient = by_level("coefficient", "change per kelvin over the conductance", 1.0)
    if coefficient is not None and cells.reference_k is not None:
        found["temperature"] = {
            "coefficient": coefficient,
            "reference_k": _quantity(cells.reference_k, f"{source}: the commonest temperature"),
        }
    if off > 0:
        found["off_current"] = {
            "on_off_ratio": _quantity(on / off, f"{source}: {on:.4g} S over {off:.4g} S"),
            "reference_column": True,
        }
    return {name: effect for name, effect in found.items() if effect}


def _drift(cells: ProgrammedCells, levels: Sequence[LevelFit], source: str) -> dict[str, Any] | None:
    known = [each for each in levels if each.exponent.known]
    if len(known) < 2:
        return None
    on = levels[-1].target
    points = [
        [_rounded(number) for number in (each.target / on, each.exponent.value, each.exponent_spread.value)]
        for each in known
    ]
    worst = max(error for each in known for error in (each.exponent.error, each.exponent_spread.error))
    note = f"standard error {worst:.2g} or less; the last reading is {cells.last_s:g} s after programming"
    assert cells.start_s is not None
    return {
        "by_conductance": _sourced({"points": points}, f"{source}: exponents of the cells", note),
        "start_s": _quantity(cells.start_s, f"{source}: the first reading"),
    }


def _error_table(levels: Sequence[LevelFit], on: float) -> dict[str, Any]:
    """Quantiles of each level's deviations, their mean 0 and their variance that of the level."""
    least = min(level.cells for level in levels)
    reach = min(NormalDist().inv_cdf(1 - 0.5 / least), 3.5)
    deviates = np.linspace(-reach, reach, _DEVIATES)
    shares = np.array([0.5 * math.erfc(-deviate / math.sqrt(2)) for deviate in deviates])
    rows = []
    for level in levels:
        quantiles = np.quantile(level.deviations, shares, method="hazen")
        mean, deviation = _moments(deviates, quantiles)
        scale = level.spread.value / deviation if deviation else 0.0
        rows.append([_rounded(error) for error in ((quantiles - mean) * scale / on).tolist()])
    return {
        "deviates": [_rounded(deviate) for deviate in deviates.tolist()],
        "conductances": [_rounded(level.target / on) for level in levels],
        "errors": rows,
    }


def _moments(deviates: NDArray[np.float64], errors: NDArray[np.float64]) -> tuple[float, float]:
    """Mean and standard deviation of the error that a standard normal deviate comes to."""
    fine = np.linspace(-6, 6, 4801)
    weights = np.exp(-(fine**2) / 2)
    weights /= weights.sum()
    values = np.interp(fine, deviates, errors)
    mean = float(weights @ values)
    return mean, math.sqrt(max(float(weights @ (values - mean) ** 2), 0.0))


def _quantity(value: float, source: str) -> dict[str, Any]:
    return {"value": _rounded(value), "kind": "derived", "source": source}


def _sourced(table: Mapping[str, Any], source: str, note: str) -> dict[str, Any]:
    return {**table, "kind": "derived", "source": source, "note": note}


def _present(tables: Mapping[str, Any]) -> dict[str, Any]:
    return {name: table for name, table in tables.items() if table is not None}


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")


def _unusable(measured: Measurements, problem: str, seen: str) -> ModelError:
    return ModelError(
        "BSC316", f"{measured.file}: {problem}", seen=seen, fix="look at the column of targets and at the units"
    )


def device_toml(device: Device) -> str:
    """A device as TOML text that `Device.from_toml` reads as the same device."""
    described = device.model_dump(mode="json", exclude_none=True)
    lines = [f"{key} = {_toml(value)}" for key, value in described.items() if not isinstance(value, dict)]
    for effect, parts in described.items():
        if not isinstance(parts, dict):
            continue
        tables = {key: part for key, part in parts.items() if isinstance(part, dict) and "value" not in part}
        lines += ["", f"[{effect}]"] if len(tables) < len(parts) else []
        lines += [f"{key} = {_toml(part)}" for key, part in parts.items() if key not in tables]
        for key, table in tables.items():
            numbers_first = sorted(table.items(), key=lambda item: not isinstance(item[1], list))
            lines += ["", f"[{effect}.{key}]", *(f"{name} = {_toml(value)}" for name, value in numbers_first)]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return '"' + "".join(map(_toml_character, value)) + '"'
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {_toml(each)}' for key, each in value.items())} }}"
    return repr(value)


def _toml_character(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    return f"\\u{ord(character):04x}" if ord(character) < 32 or ord(character) == 127 else character
