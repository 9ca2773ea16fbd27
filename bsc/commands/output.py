"""What the commands share: pricing a plan, its report, printing, and progress bars."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import RenderableType

    from bsc.cost.compare import Comparison
    from bsc.hardware.target import Target
    from bsc.plan.document import Plan
    from bsc.report.plan import PlanReport

REPORT_WIDTH = 110


def compare_plan(plan: "Plan", target: "Target", law: str | None) -> "Comparison":
    """The plan priced on a target; `law` is a name or file, None for the target's own."""
    import hw_models
    from bsc.cost.compare import compare

    laws = hw_models.laws()
    laws.setdefault(target.adc.law, hw_models.load_law(target.adc.law))
    return compare(plan, target, hw_models.load_law(law or target.adc.law), laws)


def plan_report(plan: "Plan", comparison: "Comparison") -> "PlanReport":
    """What `compile`, `inspect` and `cost` print of a plan."""
    from bsc.plan.summary import summarise
    from bsc.report.plan import PlanReport

    return PlanReport(document=plan.document, summaries=summarise(plan), comparison=comparison)


def print_report(report: "RenderableType") -> None:
    """To a terminal in its width and colours, else as plain text of a fixed width."""
    from rich.console import Console

    from bsc.report.text import to_text

    if sys.stdout.isatty():
        Console().print(report)
    else:
        click.echo(to_text(report, REPORT_WIDTH), nl=False)


def write_text(path: Path, text: str) -> None:
    """Write a file and say so on stderr.

    Raises:
        UsageError: BSC204 if it cannot be written.
    """
    from bsc.atomic import write_file

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
