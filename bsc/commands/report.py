"""`bsc report`."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from bsc.commands.output import compare_plan, plan_report, print_report, write_text
from bsc.errors import UsageError

STDOUT = "-"


@click.command(short_help="Show the whole report of a plan, or write it as a page or CSV.")
@click.argument("plan", type=click.Path(path_type=Path))
@click.option("--hw", metavar="NAME|FILE.toml", help="Hardware to price it on.  [default: the plan's own]")
@click.option("--adc-law", metavar="NAME|FILE.toml", help="How ADC cost follows its bits.  [default: the target's]")
@click.option(
    "--html", type=click.Path(path_type=Path), metavar="FILE", help="Write it as a page that needs no network."
)
@click.option(
    "--html-size",
    type=click.FloatRange(min=0.1, max=1000),
    default=1.0,
    show_default=True,
    metavar="MB",
    help="Size of the page: cells of as many crossbars as fit are in it.",
)
@click.option("--csv", "csv_file", metavar="FILE", help="Write a row for each layer; - prints it, and nothing else.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON in place of the tables.")
def report(plan: Path, **options: Any) -> None:
    """Show all of a plan: network, crossbars, resolutions, cost by action, layer and ADC law.

    FIGURES.md says what each figure and each column of the CSV file includes, and where it comes from.
    """
    import hw_models
    from bsc.cost.crossbars import plan_crossbars
    from bsc.plan.folder import read_plan, to_json
    from bsc.report.document import report_document
    from bsc.report.html.plan_page import plan_page
    from bsc.report.layer_csv import layer_csv

    csv_file, html = options["csv_file"], options["html"]
    if options["as_json"] and csv_file == STDOUT:
        raise UsageError(
            "BSC201",
            "--json and --csv - cannot both be printed",
            seen="--json --csv -",
            fix="give --csv a file, or leave one of them out",
        )
    opened = read_plan(plan)
    target = opened.target if options["hw"] is None else hw_models.load(options["hw"])
    comparison = compare_plan(opened, target, options["adc_law"])
    tables = plan_report(opened, comparison)
    document = report_document(opened.document, tables.summaries, comparison)
    if html is not None:
        write_text(html, plan_page(opened, document, max_bytes=int(options["html_size"] * 1e6)))
    if csv_file == STDOUT:
        click.echo(layer_csv(document), nl=False)
        return
    if csv_file is not None:
        write_text(Path(csv_file), layer_csv(document))
    if options["as_json"]:
        click.echo(to_json(document), nl=False)
    else:
        print_report(replace(tables, crossbars=plan_crossbars(opened)))
