"""`bsc cost`."""

from pathlib import Path

import click

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
@click.option("--json", "as_json", is_flag=True, help="Print JSON in place of the tables.")
def cost(plan: Path, hw: str | None, adc_law: str | None, *, as_json: bool) -> None:
    """Price a plan again, under other hardware or another ADC law."""
    import bsc
    from bsc.plan.folder import to_json

    found = bsc.open(plan).cost(hw=hw, law=adc_law)
    if as_json:
        print_text(to_json(found.document.cost))
    else:
        print_report(found)
