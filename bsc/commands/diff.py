"""`bsc diff`."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bsc.commands.output import compare_plan, print_report
from bsc.errors import UsageError

if TYPE_CHECKING:
    from bsc.hardware.target import Target
    from bsc.plan.document import Plan
    from bsc.report.document import ReportDocument

DIFFERENT = 1
"""Exit status, as of diff(1)."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Side:
    """One of the two things that are compared.

    Attributes:
        report: its report.
        plan: the plan, if it is a folder.
    """

    report: "ReportDocument"
    plan: "Plan | None"


@click.command(short_help="Show what two plans do not have in common; exit status 1 if they differ.")
@click.argument("old", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path))
@click.option(
    "--tolerance",
    default="0",
    show_default=True,
    metavar="PART",
    help="Change of a figure that does not count, as 2% or 0.02.",
)
@click.option("--hw", metavar="NAME|FILE.toml", help="Hardware to price folders on.  [default: each plan's own]")
@click.option(
    "--adc-law",
    metavar="NAME|FILE.toml",
    help="How ADC cost follows its bits, for folders.  [default: that of a report beside it, else the target's]",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON in place of the tables.")
@click.pass_context
def diff(
    ctx: click.Context, /, old: Path, new: Path, *, tolerance: str, hw: str | None, adc_law: str | None, as_json: bool
) -> None:
    """Show what OLD and NEW, plan folders or report.json files, do not have in common.

    Cells and ADC settings are counted where both are folders; a report.json has their hashes alone.

    Exit status is 0 if they do not differ by more than the tolerance, 1 if they do, 2 or 3 after an error.

    With a tolerance of 0 all that is shown counts. Above 0 figures alone count, of the whole plan and of each layer,
    that went up or down by more than this part of their old value: energies, latency, areas, crossbars, IMAs, tiles,
    conversions, mean ADC bits and the share proved lossless; and layers that only one side has.

    Another version of bsc, another file name of the model, and relative differences up to 1e-9 are not shown.
    """
    import hw_models
    from bsc.plan.difference import array_differences
    from bsc.plan.folder import to_json
    from bsc.report.difference import difference, difference_json
    from bsc.report.difference_text import DifferenceReport
    from bsc.report.reading import read_report

    tolerated = parse_tolerance(tolerance)
    target = None if hw is None else hw_models.load(hw)
    reports = {path: read_report(path) for path in (old, new) if not path.is_dir()}
    if adc_law is None:
        adc_law = next((read.cost.adc_law for read in reports.values() if read.cost.adc_law in hw_models.laws()), None)
    sides = [
        Side(report=reports[path], plan=None) if path in reports else _open(path, target, adc_law)
        for path in (old, new)
    ]
    plans = [side.plan for side in sides if side.plan is not None]
    found = difference(
        sides[0].report,
        sides[1].report,
        names=(str(old), str(new)),
        arrays=array_differences(*plans) if len(plans) == 2 else None,
    )
    if as_json:
        click.echo(to_json(difference_json(found, tolerated)), nl=False)
    else:
        print_report(DifferenceReport(found=found, tolerance=tolerated))
    if found.differs(tolerated):
        ctx.exit(DIFFERENT)


def parse_tolerance(text: str) -> float:
    """A part, written as 2% or 0.02.

    Raises:
        UsageError: BSC201 for anything else; for 1 and more as well, which may be meant as percents.
    """
    number, percent = text.removesuffix("%"), text.endswith("%")
    try:
        value = float(number) / (100 if percent else 1)
    except ValueError:
        value = math.nan
    if math.isfinite(value) and value >= 0 and (percent or value < 1):
        return value
    raise UsageError("BSC201", "--tolerance cannot be read", seen=repr(text), fix="write 0 or more, as 2% or 0.02")


def _open(folder: Path, target: "Target | None", law: str | None) -> Side:
    from bsc.plan.folder import read_plan
    from bsc.plan.summary import summarise
    from bsc.report.document import report_document

    plan = read_plan(folder)
    comparison = compare_plan(plan, target or plan.target, law)
    return Side(report=report_document(plan.document, summarise(plan.mapping), comparison), plan=plan)
