"""`bsc cost`."""

from pathlib import Path
from typing import Any

import click

from bsc.commands.cell_options import cell_options, cell_words
from bsc.commands.completion import hardware_names, law_names
from bsc.commands.output import print_report, print_text


@click.command()
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
@cell_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON in place of the tables.")
def cost(plan: Path, hw: str | None, adc_law: str | None, *, as_json: bool, **options: Any) -> None:
    """Price a plan again, under other hardware or another ADC law, or with the cells of a device."""
    import bsc
    from bsc.plan.folder import to_json

    found = bsc.open(plan).cost(hw=hw, law=adc_law, **cell_words(options))
    if as_json:
        print_text(to_json(found.document.cost))
    else:
        print_report(found)
