"""`bsc verify`."""

from pathlib import Path

import click

from bsc.commands.output import print_report


@click.command()
@click.argument("plan", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), metavar="FILE.npz", help="Inputs, and labels if any.")
@click.option("--model", type=click.Path(path_type=Path), metavar="FILE.onnx", help="The float model, to compare with.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Use only the first N samples.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of random inputs.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON in place of text.")
def verify(plan: Path, data: Path | None, model: Path | None, limit: int | None, seed: int, *, as_json: bool) -> None:
    """Replay a plan bit by bit and compare it with the quantised and the float model."""
    from bsc.plan.folder import read_plan, to_json
    from bsc.replay.dataset import load_dataset, random_dataset
    from bsc.replay.verification import RANDOM_SAMPLES
    from bsc.replay.verification import verify as run
    from bsc.report.figures import verification_json
    from bsc.report.text import VerificationReport

    opened = read_plan(plan)
    specs, dynamic = opened.document.inputs, opened.document.model.dynamic_batch
    if data is None:
        source = f"random inputs, seed {seed}"
        dataset = random_dataset(specs, dynamic_batch=dynamic, samples=limit or RANDOM_SAMPLES, seed=seed)
    else:
        source = data.name
        dataset = load_dataset(data, specs, dynamic_batch=dynamic, limit=limit)
    found = run(opened, dataset, source, model)
    if as_json:
        click.echo(to_json(verification_json(found)), nl=False)
    else:
        print_report(VerificationReport(plan=opened, found=found))
    found.require_lossless(opened)
