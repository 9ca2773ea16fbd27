"""What the commands share: pricing a plan, its report, printing, and progress bars."""

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bsc.errors import UsageError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from bsc.cost.compare import Comparison
    from bsc.hardware.target import Target
    from bsc.plan.document import Plan
    from bsc.report.document import ReportDocument

STDOUT = Path("-")


def compare_plan(plan: "Plan", target: "Target", law: str | None) -> "Comparison":
    """The plan priced on a target; `law` is a name or file, None for the target's own."""
    import hw_models
    from bsc.cost.compare import compare

    laws = hw_models.laws()
    laws.setdefault(target.adc.law, hw_models.load_law(target.adc.law))
    return compare(plan.mapping, target, hw_models.load_law(law or target.adc.law), laws)


def plan_report(plan: "Plan", target: "Target", law: str | None) -> "ReportDocument":
    """The report of a plan, priced as by `compare_plan`."""
    from bsc.report.build import report_document

    return report_document(plan, compare_plan(plan, target, law))


def print_report(report: "RenderableType", text: str | None = None) -> None:
    """To a terminal in its width and colours, else as plain text of a fixed width, `text` if that is there already."""
    from rich.console import Console

    from bsc.report.text import to_text

    if sys.stdout.isatty():
        Console().print(report)
    else:
        click.echo(to_text(report) if text is None else text, nl=False)


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
    """Write a file and say so on stderr; `-` prints it.

    Raises:
        UsageError: BSC204 if it cannot be written.
    """
    from bsc.output_files import write_file

    if path == STDOUT:
        click.echo(text, nl=False)
        return
    write_file(path, text.encode())
    click.echo(f"wrote {path}", err=True)


@contextlib.contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar on a terminal's stderr, nothing elsewhere; what it gives is called with each number done."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.advance(task, done)
