"""The passes with their options and defaults, from the classes themselves: what `bsc passes` prints."""

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

from rich.console import Group, RenderableType

from bsc.ir.passbase import Pass
from bsc.ir.pipeline import format_value
from bsc.report.text import new_table, plain_text

_ATTRIBUTE = re.compile(r"^    (\w+): ")


@dataclass(frozen=True, kw_only=True)
class Option:
    """An option of a pass.

    Attributes:
        name: as in a pipeline text.
        values: what it may be, in words.
        default: as in a pipeline text.
        meaning: what it does.
    """

    name: str
    values: str
    default: str
    meaning: str


@dataclass(frozen=True, kw_only=True)
class PassRecord:
    """A pass.

    Attributes:
        name: as in a pipeline text.
        stage: of a compilation, that it runs in.
        meaning: what it does.
        options: of it.
    """

    name: str
    stage: str
    meaning: str
    options: tuple[Option, ...]


def pass_record(cls: type[Pass]) -> PassRecord:
    """What is to be known of a pass to use it."""
    text = inspect.getdoc(cls) or ""
    docstrings = [inspect.getdoc(base) or "" for base in reversed(cls.__mro__)]
    types, meanings = get_type_hints(cls), {name: of for each in docstrings for name, of in _meanings(each).items()}
    options = tuple(
        Option(
            name=field.name.replace("_", "-"),
            values=_values(types[field.name]),
            default=format_value(field.default),
            meaning=meanings[field.name],
        )
        for field in fields(cls)
    )
    return PassRecord(name=cls.name, stage=cls.stage, meaning=text.splitlines()[0], options=options)


@dataclass(frozen=True, eq=False, kw_only=True)
class PassesReport:
    """Passes and their options.

    Attributes:
        passes: in the order of the table.
    """

    passes: tuple[PassRecord, ...]

    def __rich__(self) -> RenderableType:
        parts: list[RenderableType] = []
        for each in self.passes:
            table = new_table("", ("option", "values", "default", "meaning"), 4)
            for option in each.options:
                table.add_row(option.name, option.values, option.default or "none", option.meaning)
            parts.append(plain_text(f"{each.name}   stage '{each.stage}'", f"  {each.meaning}"))
            parts.append(table if each.options else plain_text("  It has no options.", ""))
        return Group(*parts)


def _meanings(text: str) -> Mapping[str, str]:
    """What the section `Attributes` of a docstring says of each."""
    _, _, section = text.partition("Attributes:\n")
    found: dict[str, str] = {}
    name = ""
    for line in section.splitlines():
        if (match := _ATTRIBUTE.match(line)) is not None:
            name = match[1]
            found[name] = line[match.end() :].strip()
        elif line.strip() and name:
            found[name] += f" {line.strip()}"
    return found


def _values(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return " | ".join(get_args(kind))
    if get_origin(kind) is tuple:
        return "names, ; between"
    return {int: "whole number", float: "number", str: "text"}[kind]
