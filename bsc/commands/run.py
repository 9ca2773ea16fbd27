"""`bsc run`."""

from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import click

from bsc.commands.input_options import values_option
from bsc.commands.output import check_outputs, progress, say


@click.command(short_help="Replay a plan on data and write its outputs.")
@click.argument("plan", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), metavar="FILE.npz", required=True, help="Inputs by name.")
@values_option
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File to write.  [default: PLAN.outputs.npz]")
@click.option("--force", is_flag=True, help="Replace a file that exists.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Use only the first N samples.")
@click.option("--batch", type=click.IntRange(min=1), metavar="N", help="Run N samples together.  [default: 256]")
@click.option("--device", default="cpu", show_default=True, metavar="cpu|cuda", help="Where columns are read.")
def run(plan: Path, **options: Any) -> None:
    """Replay a plan on data and write what its crossbars give, as a .npz file of arrays by output.

    Labels in the data are left alone; 'bsc verify' tells accuracies.
    """
    import bsc
    from bsc.ir.input_values import parse_input
    from bsc.output_files import require_free, write_file
    from bsc.replay.dataset import npz_bytes

    output = options["output"] or Path(f"{plan.absolute().stem}.outputs.npz")
    check_outputs({"--output": output}, [options["data"]])
    require_free(output, force=options["force"], kind="a .npz file", is_one=is_zipfile)
    found = bsc.open(plan).run(
        options["data"],
        batch=options["batch"],
        limit=options["limit"],
        device=options["device"],
        input_values=dict(map(parse_input, options["values"])),
        progress=progress,
    )
    write_file(output, npz_bytes(found), force=options["force"])
    for name, values in found.items():
        say(f"{name:16} {values.dtype} {'×'.join(map(str, values.shape)) or 'scalar'}")
    say(f"wrote {output}", err=True)
