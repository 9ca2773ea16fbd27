"""`bsc explore`."""

from pathlib import Path
from typing import Any

import click

from bsc.commands.input_options import check_option, keep_option, model_inputs, set_option, shape_option, values_option
from bsc.commands.output import check_outputs, print_report, print_text, progress, require_together, say, write_text
from bsc.errors import UsageError


@click.command(
    short_help="Try many ways to map MODEL.onnx.",
    epilog="\b\nA space file names values to try, for example:\n"
    '  method = "grid"                     # or random, search: with points = N\n'
    '  objectives = ["energy", "area"]     # adc-energy, energy, latency, area, crossbars, accuracy;\n'
    "                                      # of chips: throughput, chip-latency, average-power, chip-energy,\n"
    "                                      # efficiency, energy-delay, chip-area, tiles-in-use, chips-in-use\n"
    '  noise = ["reram-wan22"]             # accuracy on chips of it; trials = 10, read_at = SECONDS\n'
    "  [axes]                              # what is left out is as in bsc compile\n"
    '  variants = ["sparse.onnx"]          # beside MODEL; paths from the space file\n'
    '  xbar = ["64x64", "128x128"]\n'
    '  adc = ["lossless", "fixed=6"]\n'
    "Others: weight-bits, activation-bits, scale, per-channel, cell-bits, dac-bits, encoding, subtract, flip, cut,\n"
    "active-rows, permute, granularity, hw, adc-law; copies, chips, tiles, area, power, pack.",
)
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("space", type=click.Path(path_type=Path), metavar="SPACE.toml")
@click.option("--data", type=click.Path(path_type=Path), metavar="FILE.npz", help="Labelled inputs: adds accuracies.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Replay only the first N samples.")
@click.option(
    "--calib",
    type=click.Path(path_type=Path),
    metavar="FILE.npz",
    help="Inputs that set input ranges, and resolutions that rest on data.",
)
@shape_option
@set_option
@keep_option
@values_option
@check_option
@click.option(
    "--jobs", type=click.IntRange(min=1), metavar="N", help="Processes on this machine.  [default: its cores]"
)
@click.option(
    "--scheduler",
    metavar="ADDRESS",
    help="Work on the Dask cluster at tcp://HOST:PORT instead. Its workers need bsc, and the same files at the same "
    "paths; start them with --nthreads 1.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Results, resumed if there.  [default: MODEL.explore.sqlite]",
)
@click.option("--force", is_flag=True, help="Begin anew where the results are of another sweep; counts are kept.")
@click.option("--csv", "csv_file", type=click.Path(path_type=Path), metavar="FILE", help="Write all designs.")
@click.option("--html", type=click.Path(path_type=Path), metavar="FILE", help="Write a page with pictures and tables.")
@click.option("--svg", type=click.Path(path_type=Path), metavar="FILE", help="Write the first picture of that page.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON in place of the table.")
def explore(model: Path, space: Path, **options: Any) -> None:
    """Try the designs of SPACE.toml for MODEL.onnx and show which of them no other one beats.

    Results land in a SQLite file one by one: a sweep that was stopped goes on where it was when the same command is run
    again.
    """
    from bsc.api.exploring import require_results, run_sweep
    from bsc.compiler.options import ModelOptions
    from bsc.exploration.page import explore_picture
    from bsc.limits import cores

    require_together("--limit", options["limit"], "--data", options["data"])
    if options["jobs"] and options["scheduler"]:
        raise UsageError(
            "BSC201",
            "--jobs and --scheduler cannot be used together",
            seen=f"--jobs {options['jobs']}",
            fix="leave one of them out: the cluster has as many workers as it has",
        )
    output = options["output"] or Path(f"{model.stem}.explore.sqlite")
    as_json = ["--json"] if options["as_json"] else []
    views = {"--csv": options["csv_file"], "--html": options["html"], "--svg": options["svg"]}
    inputs = (model, space, options["data"], options["calib"])
    printing = check_outputs({"--output": output.absolute(), **views}, filter(None, inputs), printed=as_json)
    require_results(output)

    def stopped(done: int, total: int) -> None:
        """Say how to go on."""
        say(f"{done} of {total} designs are in {output}; the same command goes on from there", err=True)

    words = model_inputs(options)
    explored = run_sweep(
        model,
        space,
        output,
        data=options["data"],
        limit=options["limit"],
        calib=options["calib"],
        given=ModelOptions(input_shapes=words.pop("input_shape"), **words),
        jobs=options["jobs"] or cores(),
        scheduler=options["scheduler"],
        force=options["force"],
        progress=progress,
        stopped=stopped,
    )
    if options["csv_file"] is not None:
        write_text(options["csv_file"], explored.designs.to_csv())
    if options["html"] is not None:
        write_text(options["html"], explored.page())
    if options["svg"] is not None:
        picture = explore_picture(explored.found)
        if picture:
            write_text(options["svg"], picture)
        else:
            say(f"{options['svg']} is not written: no design has figures to draw", err=True)
    if as_json:
        print_text(explored.to_json())
    elif not printing:
        print_report(explored)
        say("", err=True)
        say(f"results are in {output}", err=True)
