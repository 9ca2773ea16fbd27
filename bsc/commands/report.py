"""`bsc report`."""

from pathlib import Path
from typing import Any

import click

from bsc.commands.completion import hardware_names, law_names
from bsc.commands.output import (
    check_outputs,
    print_report,
    print_text,
    require_together,
    write_text,
)
from bsc.errors import UsageError


@click.command(short_help="Show the whole report of a plan, or write it as a page or CSV.")
@click.argument("plan", type=click.Path(path_type=Path))
@click.option(
    "--hw",
    shell_complete=hardware_names,
    metavar="NAME|FILE.toml",
    help="Hardware to price it on.  [default: the plan's own]",
)
@click.option(
    "--adc-law",
    shell_complete=law_names,
    metavar="NAME|FILE.toml",
    help="How ADC cost follows its bits.  [default: the target's]",
)
@click.option(
    "--html", type=click.Path(path_type=Path), metavar="FILE", help="Write it as a page that needs no network."
)
@click.option(
    "--html-size",
    type=float,
    metavar="MB",
    help="Size of the page, 0.1 to 1000: cells of as many crossbars as fit are in it.  [default: 1]",
)
@click.option(
    "--csv",
    "csv_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write a row for each layer; - prints it, and nothing else.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON in place of the tables.")
def report(plan: Path, **options: Any) -> None:
    """Show all of a plan: network, crossbars, resolutions, cost by action, layer and ADC law.

    FIGURES.md says what each figure and each column of the CSV file includes, and where it comes from.
    """
    import bsc
    from bsc.report.plan import PlanReport

    csv_file, html, size = options["csv_file"], options["html"], options["html_size"]
    require_together("--html-size", size is not None, "--html", html)
    if size is not None and not 0.1 <= size <= 1000:
        raise UsageError(
            "BSC201", "--html-size is out of range", seen=f"{size:g}", fix="give megabytes from 0.1 to 1000"
        )
    opened = bsc.open(plan)
    kept = [plan / name for name in ("plan.json", *opened.record.document.files)]
    as_json = ["--json"] if options["as_json"] else []
    printing = check_outputs({"--html": html, "--csv": csv_file}, kept, printed=as_json)
    found = opened.cost(hw=options["hw"], law=options["adc_law"])
    if html is not None:
        write_text(html, found.page(None if size is None else int(size * 1e6)))
    if csv_file is not None:
        write_text(csv_file, found.layers.to_csv())
    if as_json:
        print_text(found.to_json())
    elif not printing:
        print_report(PlanReport(report=found.document, whole=True))
