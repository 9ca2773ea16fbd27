"""Records read from files that people write: strict types, no unknown keys, one error for the first mistake."""

import reprlib
import tomllib
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError
from pydantic_core import PydanticCustomError

from bsc.errors import UsageError

Kind = Literal["paper", "survey", "derived", "assumed"]
"""Where a number comes from: the design's own publication, a collection or tool that quotes it, arithmetic, nobody."""

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class Record(BaseModel):
    """A frozen table of a file that refuses unknown keys and values of another type."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


R = TypeVar("R", bound=Record)
L = TypeVar("L")

# Problem and fix by pydantic's name of the error; for any other its own message says what to write instead.
_KEY_ERRORS: Final = {
    "too_short": ("has too few values", "give {min_length} or more"),
    "too_long": ("has too many values", "give {max_length} or fewer"),
    "tuple_type": ("is not a list", "write values in brackets, as [1, 2]"),
    "missing": ("is missing", "add the key to this table"),
    "extra_forbidden": ("is not known", "remove it or correct its spelling"),
}


_FAULT: Final = "fault"


def fault(problem: str, *, seen: str, fix: str) -> PydanticCustomError:
    """What a validator raises for parts of a file that do not fit together; `read_record` prints all three texts.

    Args:
        problem: what is wrong, without the name of the file.
        seen: what was found there.
        fix: what to do about it.
    """
    return PydanticCustomError(_FAULT, "{problem}: {seen}", {"problem": problem, "seen": seen, "fix": fix})


def leaves(table: Record | Mapping[str, object], kinds: tuple[type[L], ...], path: str = "") -> Iterator[tuple[str, L]]:
    """Every value of some kinds in a table and the tables within it, by its key path such as `drift.nu`, in order.

    Tables in a list are told apart by their `name`.
    """
    for key, value in dict(table).items():
        if isinstance(value, kinds):
            yield f"{path}{key}", value
        elif isinstance(value, Record | Mapping):
            yield from leaves(value, kinds, f"{path}{key}.")
        elif isinstance(value, tuple):
            named = {each.name: each for each in value if isinstance(each, Record) and hasattr(each, "name")}
            yield from leaves(named, kinds, f"{path}{key}.")


def first_mistake(error: ValidationError) -> str:
    """The first thing that is wrong, in one line."""
    first = error.errors()[0]
    place = ".".join(map(str, first["loc"]))
    return f"{place}: {first['msg']}" if place else first["msg"]


def read_record(record: type[R], text: str, *, where: str, code: str) -> R:
    """Read TOML text as a record.

    Args:
        record: what the text must describe.
        text: the TOML text.
        where: file name for messages.
        code: code of the error, `BSC2..`.

    Raises:
        UsageError: for the first thing that is wrong with the text.
    """
    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        seen = str(error)
        if isinstance(error, RecursionError):
            seen = "tables or lists in each other, too deep to read"
        elif not isinstance(error, tomllib.TOMLDecodeError):
            seen = "a number of too many digits"
        raise UsageError(code, f"{where}: not TOML", seen=seen, fix="correct the syntax there") from error
    return record_of(record, table, where=where, code=code)


def record_of(record: type[R], table: Mapping[str, Any], *, where: str, code: str) -> R:
    """A table as a record.

    Args:
        record: what the table must describe.
        table: as TOML has it.
        where: what to call it in messages.
        code: code of the error, `BSC2..`.

    Raises:
        UsageError: for the first thing that is wrong with the table.
    """
    try:
        return record.model_validate(table)
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == _FAULT:
            said = first["ctx"]
            raise UsageError(code, f"{where}: {said['problem']}", seen=said["seen"], fix=said["fix"]) from error
        key = _key_path(table, first["loc"])
        problem, fix = "cannot be used", first["msg"].removeprefix("Value error, ")
        if first["type"] in _KEY_ERRORS:
            problem, fix = _KEY_ERRORS[first["type"]]
            fix = fix.format(**first.get("ctx", {}))
        raise UsageError(code, f"{where}: key '{key}' {problem}", seen=reprlib.repr(first["input"]), fix=fix) from error


def _key_path(table: object, location: tuple[int | str, ...]) -> str:
    """A key as the file's author knows it, such as `level.tile.count`: of tables in a list their `name`, if any."""
    parts = []
    for part in location:
        name: object = part
        if isinstance(table, Mapping):
            table = table.get(part)
        elif isinstance(table, list) and isinstance(part, int):
            table = table[part]
            name = table.get("name", part) if isinstance(table, Mapping) else part
        parts.append(str(name))
    return ".".join(parts)
