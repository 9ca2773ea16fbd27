"""Rows of a results file: what is written into them, and what is believed of them when they are read.

A file may have been altered by something else, so that every value is checked for what a sweep could have written
there. Whether a design is one of the space is for the sweep to say, which knows the space.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import pairwise
from typing import Any, Final

from bsc.errors import CODES
from bsc.exploration.designs import FIGURES, Design
from bsc.exploration.mapping import MappingResult, counts_from_json, counts_to_json
from bsc.exploration.outlines import outline_from_json, outline_to_json
from bsc.replay.noise_accuracy import NoiseAccuracy

ALWAYS_KNOWN: Final = frozenset({"latency", "crossbars"})
"""Figures of which no price can be missing."""
COUNTS: Final = frozenset(name for name, figure in FIGURES.items() if not figure.unit)
"""Figures that are whole numbers."""


def design_row(design: Design) -> tuple[Any, ...]:
    """A row of the table `designs`."""
    figures = [design.figures.get(name) for name in FIGURES]
    choices = json.dumps(dict(design.choices))
    return (design.number, choices, design.pipeline, *figures, design.code, design.problem and storable(design.problem))


def design_from_row(row: Sequence[Any]) -> Design:
    """The design of a row.

    Raises:
        ValueError: for what no sweep writes.
    """
    number, choices, pipeline, *figures, code, problem = row
    where = f"design {number}"
    values = dict(zip(FIGURES, figures, strict=True))
    _check_error(where, code, problem)
    if code is None:
        _check_text(where, "pipeline", pipeline)
        for name, value in values.items():
            _check_figure(where, name, value)
    elif any(value is not None for value in (pipeline, *figures)):
        raise ValueError(f"{where} has an error, and figures too")
    return Design(
        number=number,
        choices=_choices(where, choices),
        pipeline=pipeline,
        figures={} if code else values,
        code=code,
        problem=problem,
    )


def counted_row(counted: MappingResult) -> tuple[Any, ...]:
    """A row of the table `mappings`."""
    counts, problem = counts_to_json(counted.counts), counted.problem and storable(counted.problem)
    noise = json.dumps([asdict(each) for each in counted.noise])
    outline = "" if counted.outline is None else outline_to_json(counted.outline)
    return (counted.key, counted.pipeline, counts, outline, counted.accuracy, noise, counted.code, problem)


def counted_from_row(row: Sequence[Any]) -> MappingResult:
    """The mapping of a row.

    Raises:
        ValueError: for what no sweep writes.
    """
    key, pipeline, counts, outline, accuracy, noise, code, problem = row
    where = f"mapping {key[:12]}"
    _check_error(where, code, problem)
    if not isinstance(counts, str):
        raise ValueError(f"{where}: counts are not text")
    if not isinstance(outline, str):
        raise ValueError(f"{where}: the outline is not text")
    try:
        found = counts_from_json(counts)
        outlined = outline_from_json(outline, found) if found else None
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    if code is None:
        _check_text(where, "pipeline", pipeline)
        _check_figure(where, "accuracy", accuracy)
        if not found:
            raise ValueError(f"{where} has neither counts nor an error")
    on_devices = _noise(where, noise)
    if code is not None and (found or outline or accuracy is not None or on_devices):
        raise ValueError(f"{where} has an error, and counts too")
    return MappingResult(
        key=key,
        pipeline=pipeline,
        counts=found,
        outline=outlined,
        accuracy=accuracy,
        noise=on_devices,
        code=code,
        problem=problem,
    )


def _noise(where: str, text: object) -> tuple[NoiseAccuracy, ...]:
    """Accuracies on devices, each a share within its interval."""
    try:
        each = json.loads(text) if isinstance(text, str) else None
        found = tuple(NoiseAccuracy(**every) for every in each) if isinstance(each, list) else None
    except (ValueError, TypeError, RecursionError):
        found = None
    if found is None or not all(map(_is_possible, found)):
        raise ValueError(f"{where}: noise is {shortened(repr(text))} and no list of accuracies")
    return found


def _is_possible(found: NoiseAccuracy) -> bool:
    numbers = (0.0, found.low, found.mean, found.high, 1.0)
    return (
        isinstance(found.device, str)
        and all(isinstance(number, float) for number in numbers)
        and all(left <= right for left, right in pairwise(numbers))
    )


def storable(text: str) -> str:
    """Text that SQLite takes: names of files may hold bytes that are not UTF-8."""
    return text.encode(errors="backslashreplace").decode()


def shortened(text: str) -> str:
    """As much of a text as an error can show."""
    return text if len(text) <= 40 else f"{text[:37]}..."


def _choices(where: str, text: object) -> Mapping[str, str]:
    try:
        found = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise ValueError(f"{where}: choices are {shortened(repr(text))} and no table of texts")
    return found


def _check_error(where: str, code: object, problem: object) -> None:
    if code is None and problem is None:
        return
    if not isinstance(code, str) or code not in CODES:
        raise ValueError(f"{where}: code is {shortened(repr(code))} and no code of an error")
    _check_text(where, "problem", problem)


def _check_text(where: str, name: str, value: object) -> None:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{where}: {name} is {shortened(repr(value))} and no text")


def _check_figure(where: str, name: str, value: object) -> None:
    if value is None and name not in ALWAYS_KNOWN:
        return
    if name in COUNTS:
        if not isinstance(value, int) or value < 0:
            raise ValueError(f"{where}: {name} is {shortened(repr(value))} and no whole number of 0 or more")
    elif not isinstance(value, float) or not (math.isfinite(value) and value >= 0):
        raise ValueError(f"{where}: {name} is {shortened(repr(value))} and no number of 0 or more")
    elif FIGURES[name].unit == "%" and value > 1:
        raise ValueError(f"{where}: {name} is {shortened(repr(value))} and no share")
