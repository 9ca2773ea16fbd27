"""`bsc export`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from bsc.commands.output import say

if TYPE_CHECKING:
    from bsc.api.exporting import Form

NAMES = ("onnx", "cells", "model-explorer", "csv", "parquet")


@click.command()
@click.argument("plan", type=click.Path(path_type=Path))
@click.option("--to", "form", type=click.Choice(NAMES), required=True, help="What to write; all are explained above.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="File or folder to write.  [default: PLAN.crossbars.onnx, .cells, .model-explorer, .layers.csv or "
    ".layers.parquet]",
)
@click.option("--force", is_flag=True, help="Replace an earlier export.")
def export(plan: Path, form: "Form", output: Path | None, *, force: bool) -> None:
    """Write a plan for other tools.

    onnx is a model of standard ONNX operators that computes what the crossbars compute, ADC clipping and rounding
    included: onnxruntime gives bit for bit what the replay gives. Figures of layers are its metadata, which viewers
    such as Netron show.

    cells is a folder with the cell levels and ADC settings of every crossbar. cells.json lists the crossbars. Of
    levels, 8 // bits_per_cell lie in a byte, least significant bits first, and every row begins with a new byte.

    model-explorer is a folder of node data for Model Explorer, a file for each figure: open the model that was
    compiled there, and add them.

    csv and parquet are tables with a row for each layer, as in 'bsc report --csv'; parquet needs pyarrow.
    """
    import bsc
    from bsc.api.exporting import FORMS, default_path, require_outside

    opened = bsc.open(plan)
    path = default_path(plan.absolute().stem, form) if output is None else output
    require_outside(path, plan)
    opened.export(form, path, force=force)
    say(f"wrote {path}{'/' if FORMS[form].folder else ''}", err=True)
