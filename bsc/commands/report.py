"""`bsc report`."""

from dataclasses import replace
from pathlib import Path

import click

from bsc.commands.output import compare_plan, plan_report, print_report, write_text
from bsc.errors import UsageError

STDOUT = "-"


@click.command(short_help="Show the whole report of a plan, or write it as CSV.")
@click.argument("plan", type=click.Path(path_type=Path))
@click.option("--hw", metavar="NAME|FILE.toml", help="Hardware to price it on.  [default: the plan's own]")
@click.option("--adc-law", metavar="NAME|FILE.toml", help="How ADC cost follows its bits.  [default: the target's]")
@click.option("--csv", "csv_file", metavar="FILE", help="Write a row for each layer; - prints it, and nothing else.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON in place of the tables.")
def report(plan: Path, hw: str | None, adc_law: str | None, csv_file: str | None, *, as_json: bool) -> None:
    """Show all of a plan: network, crossbars, resolutions, cost by action, layer and ADC law.

    FIGURES.md says what each figure and each column of the CSV file includes, and where it comes from.
    """
    import hw_models
    from bsc.cost.crossbars import plan_crossbars
    from bsc.plan.folder import read_plan, to_json
    from bsc.report.document import report_document
    from bsc.report.layer_csv import layer_csv

    if as_json and csv_file == STDOUT:
        raise UsageError(
            "BSC201",
            "--json and --csv - cannot both be printed",
            seen="--json --csv -",
            fix="give --csv a file, or leave one of them out",
        )
    opened = read_plan(plan)
    comparison = compare_plan(opened, opened.target if hw is None else hw_models.load(hw), adc_law)
    tables = plan_report(opened, comparison)
    document = report_document(opened.document, tables.summaries, comparison)
    if csv_file == STDOUT:
        click.echo(layer_csv(document), nl=False)
        return
    if csv_file is not None:
        write_text(Path(csv_file), layer_csv(document))
    if as_json:
        click.echo(to_json(document), nl=False)
    else:
        print_report(replace(tables, crossbars=plan_crossbars(opened)))
