"""`bsc verify`."""

from pathlib import Path
from typing import Any

import click

from bsc.commands.input_options import values_option
from bsc.commands.output import print_report, print_text, progress
from bsc.commands.replay_data import open_data, replay_options


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
    from bsc.errors import UsageError
    from bsc.plan.folder import read_plan, to_json
    from bsc.replay.proofs import check_proofs, check_records, check_vectors
    from bsc.replay.verification import verify as run
    from bsc.report.verification import VerificationReport, verification_json

    if options["per_layer"] and options["model"] is None:
        raise UsageError(
            "BSC201",
            "--per-layer has nothing to compare layers with",
            seen="no --model",
            fix="add --model with the ONNX file that was compiled",
        )
    opened = read_plan(plan)
    proofs = check_proofs(opened.mapping, options["seed"]) if options["proofs"] else None
    data, source = open_data(
        opened,
        options["data"],
        limit=options["limit"],
        batch=options["batch"],
        seed=options["seed"],
        given=options["values"],
    )
    if options["proofs"]:
        check_records(opened)
        check_vectors(opened.mapping, next(data.first(1).batches()))
    how = replay_options(options["device"], every_conversion=options["every_conversion"], statistics=False)
    with progress("replaying", data.samples) as advance:
        found = run(
            opened, data, source, options["model"], per_layer=options["per_layer"], options=how, advance=advance
        )
    if options["as_json"]:
        print_text(to_json(verification_json(found, proofs)))
    else:
        print_report(VerificationReport(plan=opened, found=found, proofs=proofs))
    found.require_lossless(opened)
