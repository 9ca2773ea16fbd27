"""A pipeline as text, `quantize{bits=8},slice-bits{bits-per-cell=2}`, and the driver that runs it.

The text round-trips: `format_pipeline(parse_pipeline(text, registry))` names every option, so that the line a
plan records is a full recipe even when defaults change. An option that names layers, `only=conv1;fc%201`, separates
them by semicolons and writes odd characters as in a URL; one that names none is left out.
"""

import difflib
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args, get_origin, get_type_hints
from urllib.parse import quote, unquote

from bsc.errors import UsageError
from bsc.ir.graph import Graph
from bsc.ir.invariants import check_claim, check_graph
from bsc.ir.passbase import Pass

_STEP = re.compile(r"\s*(?P<name>[a-z0-9-]+)\s*(?:\{(?P<options>[^{}]*)\})?\s*")


@dataclass(frozen=True)
class PassTime:
    """How long one pass ran.

    Attributes:
        name: of the pass.
        seconds: wall-clock time, checks not included.
    """

    name: str
    seconds: float


def parse_pipeline(text: str, registry: Mapping[str, type[Pass]]) -> tuple[Pass, ...]:
    """Read a pipeline text.

    Raises:
        UsageError: BSC205 for a syntax error, an unknown pass or option, or a value out of range.
    """
    passes: list[Pass] = []
    position = 0
    while position < len(text) or not passes:
        match = _STEP.match(text, position)
        if match is None or (match.end() < len(text) and text[match.end()] != ","):
            raise _syntax_error(text, position)
        passes.append(_parse_step(match["name"], match["options"] or "", registry))
        position = match.end() + 1
        if match.end() == len(text) - 1:  # a comma with nothing behind it
            raise _syntax_error(text, match.end())
    return tuple(passes)


def format_pipeline(passes: Sequence[Pass]) -> str:
    """The text that `parse_pipeline` reads back to equal passes, every option spelled out."""
    return ",".join(map(_format_step, passes))


def run_pipeline(
    graph: Graph,
    passes: Sequence[Pass],
    *,
    after_pass: Callable[[int, Pass, Graph], None] | None = None,
) -> tuple[Graph, list[PassTime]]:
    """Run passes in order; after each, check the graph and what the pass says it changed.

    Args:
        graph: the start; it is not modified.
        passes: in order.
        after_pass: called with the pass's position, the pass and its result, to print or save it.

    Returns:
        The last graph and the time each pass took.
    """
    times: list[PassTime] = []
    for position, step in enumerate(passes):
        start = time.perf_counter()
        result = step.run(graph)
        times.append(PassTime(step.name, time.perf_counter() - start))
        check_claim(step.name, graph, result)
        check_graph(result.graph, result.changed)
        graph = result.graph
        if after_pass is not None:
            after_pass(position, step, graph)
    return graph, times


def _parse_step(name: str, options: str, registry: Mapping[str, type[Pass]]) -> Pass:
    if name not in registry:
        raise UsageError(
            "BSC205",
            f"pipeline: unknown pass '{name}'",
            seen=f"passes are {', '.join(registry)}",
            fix=_nearest(name, registry),
        )
    cls = registry[name]
    types = get_type_hints(cls)
    known = {field.name.replace("_", "-"): types[field.name] for field in fields(cls)}
    values: dict[str, Any] = {}
    for item in options.split():
        key, equals, value = item.partition("=")
        if not equals or key not in known:
            raise UsageError(
                "BSC205",
                f"pipeline: pass '{name}' has no option '{item}'",
                seen=f"options are {', '.join(f'{option}=...' for option in known) or 'none'}",
                fix=_nearest(key, known),
            )
        if key.replace("-", "_") in values:
            raise UsageError(
                "BSC205",
                f"pipeline: pass '{name}' has option '{key}' twice",
                seen=f"{{{options}}}",
                fix="keep one of them",
            )
        values[key.replace("-", "_")] = _parse_value(name, key, value, known[key])
    return cls(**values)


def _parse_value(name: str, key: str, text: str, kind: Any) -> object:
    if get_origin(kind) is Literal:
        if text in get_args(kind):
            return text
        wanted = " or ".join(get_args(kind))
    elif get_origin(kind) is tuple:
        if all(text.split(";")):
            return tuple(map(unquote, text.split(";")))
        wanted = "names with semicolons between them"
    else:
        try:
            return kind(text)
        except ValueError:
            wanted = {int: "a whole number", float: "a number"}.get(kind, str(kind))
    raise UsageError(
        "BSC205", f"pipeline: {name}{{{key}=...}} must be {wanted}", seen=repr(text), fix="change the value"
    )


def _format_step(step: Pass) -> str:
    values = ((field.name.replace("_", "-"), getattr(step, field.name)) for field in fields(step))
    options = " ".join(f"{name}={format_value(value)}" for name, value in values if value != ())
    return f"{step.name}{{{options}}}" if options else step.name


def format_value(value: object) -> str:
    """The value of an option as a pipeline text has it."""
    if isinstance(value, tuple):
        return ";".join(quote(name, safe="/.:") for name in value)
    return str(value)


def _syntax_error(text: str, position: int) -> UsageError:
    return UsageError(
        "BSC205",
        "pipeline: cannot be read",
        seen=f"{text[position:]!r} at character {position + 1}" if text else "an empty text",
        fix="write passes as NAME or NAME{OPTION=VALUE OPTION=VALUE}, with commas between them",
    )


def _nearest(name: str, known: Mapping[str, object]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean '{close[0]}'?" if close else "use one of these"
