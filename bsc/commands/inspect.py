"""`bsc inspect`."""

from pathlib import Path

import click

from bsc.commands.output import print_report, print_text
from bsc.errors import UsageError


@click.command()
@click.argument("plan", type=click.Path(path_type=Path))
@click.option("--layer", metavar="NAME", help="Show one layer in full.")
@click.option("--crossbar", metavar="T,C,S,SIGN", help="With --layer: show one crossbar, such as 0,0,3,+.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON in place of the tables.")
def inspect(plan: Path, layer: str | None, crossbar: str | None, *, as_json: bool) -> None:
    """Show a plan, one of its layers, or one crossbar."""
    import bsc
    from bsc.plan.cells import CrossbarIndex
    from bsc.plan.folder import to_json
    from bsc.report.build import layer_totals
    from bsc.report.crossbars import CrossbarReport
    from bsc.report.places import Places
    from bsc.report.plan import LayerReport

    opened = bsc.open(plan)
    if layer is None:
        if crossbar is not None:
            raise UsageError("BSC201", "--crossbar needs --layer", seen=crossbar, fix="add --layer NAME")
        found = opened.cost()
        if as_json:
            print_text(found.to_json())
        else:
            print_report(found)
        return
    mapping = opened.record.mapping
    record = mapping.layer(layer)
    arrays, places = mapping.arrays(record), Places(levels=opened.record.target.level)
    if crossbar is not None:
        index = CrossbarIndex.parse(crossbar, record, arrays)
        print_report(CrossbarReport(layer=record, arrays=arrays, index=index, places=places))
        return
    totals = layer_totals(record, arrays)
    if as_json:
        print_text(to_json(totals))
    else:
        print_report(LayerReport(layer=record, totals=totals, places=places))
