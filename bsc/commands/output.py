"""What the commands share: printing, writing and progress bars.

Commands print by `say`, `print_text` and `print_report` alone, which let nothing invisible through (`bsc.printable`).
"""

import contextlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bsc.errors import UsageError
from bsc.printable import visible, visible_lines

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

STDOUT = Path("-")
LEAST_WIDTH = 60
"""Columns of a terminal that reports are fitted into."""


def print_report(report: "RenderableType") -> None:
    """To a terminal in its width and colours, else as plain text: as wide as COLUMNS says, or as all files are."""
    from bsc.report.text import REPORT_WIDTH, print_to_terminal, to_text

    if sys.stdout.isatty():
        print_to_terminal(report, new_console())
        return
    columns = os.environ.get("COLUMNS", "")
    width = int(columns) if columns.isascii() and columns.isdecimal() and len(columns) < 5 else 0
    print_text(to_text(report, width if width >= LEAST_WIDTH else REPORT_WIDTH))


def say(line: str, *, err: bool = False) -> None:
    """Print a line, which stays one whatever names are in it."""
    click.echo(visible(line), err=err)


def print_text(text: str, *, err: bool = False) -> None:
    """Print whole lines, whose ends are ours."""
    click.echo(visible_lines(text), nl=False, err=err)


def new_console(*, stderr: bool = False) -> "Console":
    """A terminal; names may hold what rich would take for markup or the name of a picture."""
    from rich.console import Console

    return Console(stderr=stderr, markup=False, emoji=False)


def check_outputs(outputs: Mapping[str, Path | None], inputs: Iterable[Path], *, printed: Iterable[str] = ()) -> bool:
    """Refuse outputs that would get lost, or take something with them, before there is anything to write.

    Args:
        outputs: files by option, None where it is not given; `-` is standard output.
        inputs: files that must stay as they are.
        printed: further options that print.

    Returns:
        Whether anything is printed in place of the report.

    Raises:
        UsageError: BSC201 if two of them are the same, BSC203 if one is an input, BSC204 if one cannot be written.
    """
    from bsc.output_files import require_writable

    given = {option: path for option, path in outputs.items() if path is not None}
    printing = [*printed, *(f"{option} -" for option, path in given.items() if path == STDOUT)]
    if len(printing) > 1:
        raise UsageError(
            "BSC201",
            f"{printing[0]} and {printing[1]} cannot both be printed",
            seen=" ".join(printing),
            fix="give all but one of them a file",
        )
    kept = {path.resolve() for path in inputs}
    taken: dict[Path, str] = {}
    for option, path in given.items():
        if path == STDOUT:
            continue
        require_writable(path)
        place = path.resolve()
        if place in kept:
            raise UsageError(
                "BSC203",
                f"{option} '{path}' is what the command reads",
                seen="an input, which is never replaced",
                fix="choose another file",
            )
        if place in taken and (place.is_file() or not place.exists()):
            raise UsageError(
                "BSC201",
                f"{taken[place]} and {option} name the same file",
                seen=f"'{path}'",
                fix="choose another file for one of them",
            )
        taken[place] = option
    return bool(printing)


def require_together(option: str, given: object, needed: str, other: object) -> None:
    """Refuse an option that has no effect alone.

    Raises:
        UsageError: BSC201.
    """
    if given and not other:
        raise UsageError(
            "BSC201",
            f"{option} means nothing without {needed}",
            seen=f"{option} alone",
            fix=f"add {needed}, or leave {option} out",
        )


def write_text(path: Path, text: str) -> None:
    """Write a file for people and say so on stderr; `-` prints it.

    Raises:
        UsageError: BSC204 if it cannot be written.
    """
    from bsc.output_files import write_file

    if path == STDOUT:
        print_text(text)
        return
    write_file(path, visible_lines(text).encode())
    say(f"wrote {path}", err=True)


@contextlib.contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar on a terminal's stderr, nothing elsewhere; what it gives is called with each number done."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=new_console(stderr=True), transient=True) as bar:
        task = bar.add_task(visible(what), total=total)
        yield lambda done: bar.advance(task, done)


@contextlib.contextmanager
def step_progress(what: str, *, shown: bool = True) -> Iterator[Callable[[int, int], None]]:
    """The same for work whose length shows as it goes: what it gives is called with steps done and steps in all."""
    if not shown or not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    from rich.progress import Progress

    with Progress(console=new_console(stderr=True), transient=True) as bar:
        task = bar.add_task(visible(what), total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
