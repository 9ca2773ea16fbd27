"""Measurements of cells, read from a CSV file.

One line is one reading of one cell. Columns, in any order, by the name in the header:

    level, or target_s, target_ms, target_us, target_ns     what the cell was programmed to; exactly one of them
    conductance_s, conductance_ms, conductance_us, conductance_ns     what was read; exactly one of them
    time_s                          time since programming; without it all readings are at the start
    temperature_k, temperature_c    temperature of the reading
    cell                            name of the cell on its chip; without it every line is a cell of its own
    chip                            name of the chip; without it all cells are on one
"""

import csv
import hashlib
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bsc.errors import ModelError, UsageError

FEWEST_CELLS: Final = 10
"""Cells of a level from which on its spread is known within a quarter or so."""

MOST_LEVELS: Final = 64
"""Different targets; more are a continuum, which has to be grouped."""

_SIEMENS: Final = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "target": ("level", *(f"target_{unit}" for unit in _SIEMENS)),
    "conductance": tuple(f"conductance_{unit}" for unit in _SIEMENS),
    "time": ("time_s",),
    "temperature": ("temperature_k", "temperature_c"),
    "cell": ("cell",),
    "chip": ("chip",),
}
_NEEDED: Final = ("target", "conductance")
_ZERO_CELSIUS_K: Final = 273.15


@dataclass(frozen=True, eq=False, kw_only=True)
class Measurements:
    """Readings of cells, M of them, at L targets.

    Attributes:
        file: name of the file.
        sha256: of its bytes.
        targets: conductances (L,) in siemens, ascending; None where the file numbers its levels.
        level: of each reading (M,), 0 to L - 1.
        conductance: of each reading (M,), in siemens.
        time_s: of each reading (M,), after programming; None where the file does not say.
        temperature_k: of each reading (M,); None where the file does not say.
        cell: of each reading (M,), numbered over all chips from 0.
        chip: of each reading (M,), numbered from 0; None where the file does not say.
    """

    file: str
    sha256: str
    targets: NDArray[np.float64] | None
    level: NDArray[np.intp]
    conductance: NDArray[np.float64]
    time_s: NDArray[np.float64] | None
    temperature_k: NDArray[np.float64] | None
    cell: NDArray[np.intp]
    chip: NDArray[np.intp] | None

    @property
    def levels(self) -> int:
        """L."""
        return int(self.level.max()) + 1

    @property
    def cells(self) -> int:
        """How many cells there are."""
        return int(self.cell.max()) + 1

    @property
    def chips(self) -> int:
        """How many chips there are."""
        return 1 if self.chip is None else int(self.chip.max()) + 1


def read_measurements(path: Path) -> Measurements:
    """Read and check a file.

    Raises:
        UsageError: BSC202 for a file that cannot be read.
        ModelError: BSC316 for the first thing that is wrong in it.
    """
    try:
        data = path.read_bytes()
        text = data.decode("utf-8-sig")
    except (OSError, ValueError) as error:
        seen = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise UsageError(
            "BSC202", f"measurements '{path.name}' cannot be read", seen=seen, fix="give the path of a CSV file, UTF-8"
        ) from None
    return measurements_from_csv(text, path.name, hashlib.sha256(data).hexdigest())


def measurements_from_csv(text: str, where: str, sha256: str) -> Measurements:
    """The measurements that a text holds.

    Args:
        text: the CSV text.
        where: file name for messages.
        sha256: of the file.

    Raises:
        ModelError: BSC316 for the first thing that is wrong in it.
    """
    table = _Table(text, where)
    conductance = table.numbers("conductance", "a conductance of 0 or more", lambda value: value >= 0)
    conductance *= _SIEMENS[table.names["conductance"].rpartition("_")[2]]
    times = temperatures = None
    if "time" in table.names:
        times = table.numbers("time", "a time above 0", lambda value: value > 0)
    if "temperature" in table.names:
        zero = _ZERO_CELSIUS_K if table.names["temperature"] == "temperature_c" else 0.0
        temperatures = table.numbers("temperature", "a temperature above 0 K", lambda value: value + zero > 0)
        temperatures += zero
    targets, level = _targets(table, where)
    chips = np.unique(table.texts("chip"), return_inverse=True)[1] if "chip" in table.names else None
    cells = np.arange(len(table))
    if "cell" in table.names:
        names = np.unique(table.texts("cell"), return_inverse=True)[1]
        cells = np.unique(names if chips is None else chips * (names.max() + 1) + names, return_inverse=True)[1]
    found = Measurements(
        file=where,
        sha256=sha256,
        targets=targets,
        level=level,
        conductance=conductance,
        time_s=times,
        temperature_k=temperatures,
        cell=cells,
        chip=chips,
    )
    _require_cells(found)
    return found


def _targets(table: "_Table", where: str) -> tuple[NDArray[np.float64] | None, NDArray[np.intp]]:
    """Target conductances (L,), None where the file numbers its levels, and the level of each reading (M,)."""
    kind = table.names["target"]
    if kind == "level":
        level = table.numbers("target", "a whole level of 0 or more", lambda value: value >= 0 and value == int(value))
        _require_levels(level, where)
        return None, level.astype(np.intp)
    asked = table.numbers("target", "a conductance of 0 or more", lambda value: value >= 0)
    targets, numbered = np.unique(asked * _SIEMENS[kind.rpartition("_")[2]], return_inverse=True)
    _require_targets(targets, where)
    return targets, numbered


class _Table:
    """The columns of a file by what they are about.

    Attributes:
        names: header of the column about each thing that the file has.
    """

    def __init__(self, text: str, where: str) -> None:
        self._where = where
        try:
            rows = [(number, row) for number, row in _numbered(text) if any(cell.strip() for cell in row)]
        except csv.Error as error:
            fix = "write one reading a line, values separated by commas"
            raise _malformed(where, "is not CSV", str(error), fix) from None
        if len(rows) < 2:
            raise _malformed(where, "has no readings", f"{len(rows)} lines", "write a header and one reading a line")
        header = [name.strip().lower() for name in rows[0][1]]
        self.names = _columns_by_topic(header, where)
        self._places = {topic: header.index(name) for topic, name in self.names.items()}
        self._rows = rows[1:]
        for number, row in self._rows:
            if len(row) != len(header):
                raise self._wrong(number, "has another number of values than the header", f"{len(row)} values", header)

    def __len__(self) -> int:
        return len(self._rows)

    def texts(self, topic: str) -> NDArray[Any]:
        """A column of names."""
        place, name = self._places[topic], self.names[topic]
        found = [row[place].strip() for _, row in self._rows]
        if "" in found:
            number = self._rows[found.index("")][0]
            raise _malformed(f"{self._where}, line {number}", f"has no {name}", "nothing", f"name the {name}")
        return np.array(found)

    def numbers(self, topic: str, wanted: str, good: Callable[[float], bool]) -> NDArray[np.float64]:
        """A column of finite numbers for which `good` holds."""
        place, name = self._places[topic], self.names[topic]
        found = np.empty(len(self._rows))
        for at, (number, row) in enumerate(self._rows):
            try:
                value = float(row[place])
            except ValueError:
                value = math.nan
            if not (math.isfinite(value) and good(value)):
                raise _malformed(
                    f"{self._where}, line {number}",
                    f"{name} cannot be used",
                    repr(row[place].strip()),
                    f"write {wanted}, or leave the line out",
                )
            found[at] = value
        return found

    def _wrong(self, number: int, problem: str, seen: str, header: Sequence[str]) -> ModelError:
        return _malformed(
            f"{self._where}, line {number}", problem, seen, f"write {len(header)} values: {', '.join(header)}"
        )


def _numbered(text: str) -> list[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    return [(reader.line_num, row) for row in reader]


def _columns_by_topic(header: Sequence[str], where: str) -> dict[str, str]:
    """Which column is about what.

    Raises:
        ModelError: BSC316.
    """
    known = [name for names in _COLUMNS.values() for name in names]
    found: dict[str, str] = {}
    for name in header:
        topic = next((topic for topic, names in _COLUMNS.items() if name in names), None)
        if topic is None:
            raise _malformed(where, "has a column that is not known", repr(name), f"use these: {', '.join(known)}")
        if topic in found:
            seen = f"'{found[topic]}' and '{name}'" if found[topic] != name else f"'{name}' twice"
            raise _malformed(where, f"has two columns about the {topic}", seen, "leave one of them out")
        found[topic] = name
    for topic in _NEEDED:
        if topic not in found:
            raise _malformed(
                where,
                f"does not say the {topic}",
                f"columns {', '.join(header)}",
                f"add {' or '.join(_COLUMNS[topic])}",
            )
    return found


def _require_levels(level: NDArray[np.float64], where: str) -> None:
    """Refuse levels of which some are missing, or only one."""
    found = np.unique(level)
    if found[-1] >= MOST_LEVELS:
        raise _malformed(where, f"has levels of {MOST_LEVELS} and above", f"level {found[-1]:g}", "number them from 0")
    missing = sorted(set(range(max(int(found[-1]) + 1, 2))) - set(found.astype(int).tolist()))
    if missing:
        raise _malformed(
            where,
            "has no readings of some levels",
            f"levels {_listed(found)}, none of {_listed(missing)}",
            "measure every level from 0 to the highest, or give target conductances in place of levels",
        )


def _require_targets(targets: NDArray[np.float64], where: str) -> None:
    """Refuse a single target, and too many to tell apart."""
    if len(targets) < 2:
        raise _malformed(
            where, "has one target only", f"{targets[0]:g} S", "measure two or more, the lowest and highest of them"
        )
    if len(targets) > MOST_LEVELS:
        raise _malformed(
            where,
            f"has more than {MOST_LEVELS} different targets",
            str(len(targets)),
            "round the targets to the levels that the cells were programmed to",
        )


def _require_cells(found: Measurements) -> None:
    """Refuse levels with too few cells to tell a spread."""
    pairs = np.unique(found.level * found.cells + found.cell) // found.cells
    counts = np.bincount(pairs, minlength=found.levels)
    if counts.min() < FEWEST_CELLS:
        level = int(counts.argmin())
        called = f"level {level}" if found.targets is None else f"target {found.targets[level]:g} S"
        raise _malformed(
            found.file,
            f"has too few cells at {called}",
            f"{counts[level]} of them",
            f"measure {FEWEST_CELLS} cells or more at every level",
        )


def _listed(values: Any) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _malformed(where: str, problem: str, seen: str, fix: str) -> ModelError:
    return ModelError("BSC316", f"{where}: {problem}", seen=seen, fix=fix)
