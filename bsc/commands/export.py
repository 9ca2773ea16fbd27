"""`bsc export`."""

from pathlib import Path

import click

from bsc.commands.output import say
from bsc.errors import UsageError


@click.command()
@click.argument("plan", type=click.Path(path_type=Path))
@click.option(
    "--to", "form", type=click.Choice(["onnx", "cells"]), required=True, help="What to write; both are explained above."
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="File or folder to write.  [default: PLAN.crossbars.onnx or PLAN.cells]",
)
@click.option("--force", is_flag=True, help="Replace an earlier export.")
def export(plan: Path, form: str, output: Path | None, *, force: bool) -> None:
    """Write a plan for other tools.

    onnx is a model of standard ONNX operators that computes what the crossbars compute, ADC clipping and rounding
    included: onnxruntime gives bit for bit what the replay gives.

    cells is a folder with the cell levels and ADC settings of every crossbar. cells.json lists the crossbars. Of
    levels, 8 // bits_per_cell lie in a byte, least significant bits first, and every row begins with a new byte.
    """
    from bsc.export import cells, onnx_emulation
    from bsc.plan.folder import read_plan

    opened = read_plan(plan)
    if output is None:
        output = Path(plan.absolute().stem + (".crossbars.onnx" if form == "onnx" else ".cells"))
    if output.resolve().is_relative_to(plan.resolve()):
        raise UsageError(
            "BSC204",
            f"output '{output}' cannot be written",
            seen="it lies in the plan folder, which is never changed",
            fix="choose another --output",
        )
    if form == "onnx":
        onnx_emulation.write_emulation(opened, output, force=force)
        say(f"wrote {output}", err=True)
    else:
        cells.write_cells(opened, output, force=force)
        say(f"wrote {output}/", err=True)
