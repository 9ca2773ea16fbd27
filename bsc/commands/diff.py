"""`bsc diff`."""

import math
from pathlib import Path

import click

from bsc.commands.completion import hardware_names, law_names
from bsc.commands.output import print_report, print_text
from bsc.commands.reports import open_reported
from bsc.errors import UsageError

DIFFERENT = 1
"""Exit status, as of diff(1)."""


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
@click.option(
    "--hw",
    shell_complete=hardware_names,
    metavar="NAME|FILE.toml",
    help="Hardware to price folders on.  [default: each plan's own]",
)
@click.option(
    "--adc-law",
    shell_complete=law_names,
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
    that went up or down by more than this part of their old value: energies, latency, areas, crossbars and what they
    fill, conversions, mean ADC bits and the share proved lossless; and layers that only one side has.

    Another version of bsc, another file name of the model, and relative differences up to 1e-9 are not shown. All
    else of the two reports is. A report.json has finished figures: --hw or --adc-law of others need the folder.
    """
    import hw_models
    from bsc.plan.difference import array_differences
    from bsc.plan.folder import to_json
    from bsc.report.difference import difference, difference_json
    from bsc.report.difference_text import DifferenceReport

    tolerated = parse_tolerance(tolerance)
    target = None if hw is None else hw_models.load(hw)
    before, after = open_reported((old, new), target=target, law=adc_law)
    arrays = None if before.plan is None or after.plan is None else array_differences(before.plan, after.plan)
    found = difference(before.report, after.report, names=(str(old), str(new)), arrays=arrays)
    if as_json:
        print_text(to_json(difference_json(found, tolerated)))
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
