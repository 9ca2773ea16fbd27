"""The designs of a sweep for programs: as JSON, and as a table of comma-separated values. Unknown figures are empty."""

from collections.abc import Sequence
from typing import Any

from bsc.exploration.designs import CHIP_FIGURES, FIGURES, NOISE_FIGURES, Design, Exploration
from bsc.report.csv_line import Cell, csv_table

_SUFFIXES = {"J": "_j", "s": "_s", "m²": "_m2", "/s": "_per_s", "W": "_w", "OPS/W": "_ops_per_w", "Js": "_js"}


def exploration_json(found: Exploration) -> dict[str, Any]:
    """What `bsc explore --json` prints; SI units, accuracies are shares."""
    return {
        "model": found.model,
        "space": found.space,
        "method": found.method,
        "grid": found.grid,
        "axes": {name: list(values) for name, values in found.axes.items()},
        "objectives": list(found.objectives),
        "data": found.data,
        "noise": list(found.noise),
        "trials": found.trials,
        "front": [design.number for design in found.best],
        "designs": [
            {
                "number": design.number,
                "choices": dict(design.choices),
                "pipeline": design.pipeline,
                "command": design.command,
                "figures": {column(name): design.figures.get(name) for name in _figures(found)},
                "on_front": design.number in found.front,
                "error": None if design.code is None else {"code": design.code, "problem": design.problem},
            }
            for design in found.designs
        ],
    }


def exploration_csv(found: Exploration) -> str:
    """All designs, one a line."""
    return csv_table(design_columns(found, found.designs))


def design_columns(found: Exploration, designs: Sequence[Design]) -> dict[str, list[Cell]]:
    """Some of the designs as columns: choices as text, figures in SI units, errors, and how to compile each again."""
    names = [
        "number",
        *found.axes,
        *map(column, _figures(found)),
        "on_front",
        "error",
        "problem",
        "pipeline",
        "command",
    ]
    rows = [_row(found, design) for design in designs]
    return {name: [row[place] for row in rows] for place, name in enumerate(names)}


def column(figure: str) -> str:
    """Name of a figure with its unit."""
    return figure.replace("-", "_") + _SUFFIXES.get(FIGURES[figure].unit, "")


def _figures(found: Exploration) -> list[str]:
    absent = (*(() if found.noise else NOISE_FIGURES), *(() if found.on_chips else CHIP_FIGURES))
    return [name for name in FIGURES if name not in absent]


def _row(found: Exploration, design: Design) -> list[Cell]:
    chosen = [design.choices[axis] for axis in found.axes]
    figures = [design.figures.get(name) for name in _figures(found)]
    on_front = "yes" if design.number in found.front else "no"
    return [design.number, *chosen, *figures, on_front, design.code, design.problem, design.pipeline, design.command]
