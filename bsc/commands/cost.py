"""`bsc cost`."""

from pathlib import Path
from typing import Any

import click

from bsc.commands.cell_options import cell_options, read_cell_options
from bsc.commands.output import plan_report, print_report, print_text


@click.command()
@click.argument("plan", type=click.Path(path_type=Path))
@click.option("--hw", metavar="NAME|FILE.toml", help="Hardware to price it on.  [default: the plan's own]")
@click.option("--adc-law", metavar="NAME|FILE.toml", help="How ADC cost follows its bits.  [default: the target's]")
@cell_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON in place of the tables.")
def cost(plan: Path, hw: str | None, adc_law: str | None, *, as_json: bool, **options: Any) -> None:
    """Price a plan again, under other hardware or another ADC law, or with the cells of a device."""
    import hw_models
    from bsc.plan.folder import read_plan, to_json
    from bsc.report.plan import PlanReport

    cells = read_cell_options(options)
    opened = read_plan(plan)
    target = opened.target if hw is None else hw_models.load(hw)
    report = plan_report(opened, target, adc_law, cells)
    if as_json:
        print_text(to_json(report.cost))
    else:
        print_report(PlanReport(report=report))
