"""`bsc verify`."""

from pathlib import Path
from typing import Any

import click

from bsc.commands.input_options import values_option
from bsc.commands.output import print_report, print_text, progress


@click.command(short_help="Replay a plan and compare it with its models.")
@click.argument("plan", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), metavar="FILE.npz", help="Inputs, and labels if any.")
@values_option
@click.option("--model", type=click.Path(path_type=Path), metavar="FILE.onnx", help="The float model, to compare with.")
@click.option("--per-layer", is_flag=True, help="With --model, compare the results of every layer too.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Use only the first N samples.")
@click.option("--batch", type=click.IntRange(min=1), metavar="N", help="Run N samples together.  [default: 256]")
@click.option("--every-conversion", is_flag=True, help="Carry out conversions that are proved lossless too.")
@click.option("--proofs", is_flag=True, help="First derive every bound again from the cells alone, and attack it.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of random inputs.")
@click.option("--device", default="cpu", show_default=True, metavar="cpu|cuda", help="Where columns are read.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON in place of text.")
def verify(plan: Path, **options: Any) -> None:
    """Replay a plan bit by bit and compare it with the quantised and the float model."""
    import bsc
    from bsc.ir.input_values import parse_input

    opened = bsc.open(plan)
    found = opened.verify(
        options["data"],
        model=options["model"],
        per_layer=options["per_layer"],
        proofs=options["proofs"],
        every_conversion=options["every_conversion"],
        batch=options["batch"],
        limit=options["limit"],
        seed=options["seed"],
        device=options["device"],
        input_values=dict(map(parse_input, options["values"])),
        check=False,
        progress=progress,
    )
    if options["as_json"]:
        print_text(found.to_json())
    else:
        print_report(found)
    found.found.require_lossless(opened.record)
