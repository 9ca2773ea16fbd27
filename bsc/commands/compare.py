"""`bsc compare`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bsc.commands.output import compare_plan, print_report, progress
from bsc.commands.replay_data import open_data
from bsc.errors import UsageError

if TYPE_CHECKING:
    from bsc.plan.document import Plan

PAPER_LAW = "saberi"


@click.command(short_help="Show plans side by side.")
@click.argument("plans", type=click.Path(path_type=Path), nargs=-1, metavar="PLAN PLAN...")
@click.option("--hw", metavar="NAME|FILE.toml", help="Hardware to price them on.  [default: each plan's own]")
@click.option(
    "--adc-law", metavar="NAME|FILE.toml", help="How ADC cost follows its bits.  [default: the first target's]"
)
@click.option("--data", type=click.Path(path_type=Path), metavar="FILE.npz", help="Labelled inputs: adds accuracies.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Use only the first N samples.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON in place of the tables.")
def compare(plans: tuple[Path, ...], **options: Any) -> None:
    """Show two or more plans side by side; ratios are to the first."""
    import hw_models
    from bsc.cost.side_by_side import plan_figures
    from bsc.plan.folder import read_plan, to_json
    from bsc.plan.summary import summarise
    from bsc.report.figures import side_by_side_json
    from bsc.report.side_by_side import SideBySideReport

    if len(plans) < 2:
        raise UsageError(
            "BSC201",
            "compare needs two plans or more",
            seen=f"{len(plans)}",
            fix="give plan folders, as in 'bsc compare one.bsc other.bsc'",
        )
    hardware = None if options["hw"] is None else hw_models.load(options["hw"])
    opened = {name: read_plan(folder) for name, folder in zip(_names(plans), plans, strict=True)}
    law = options["adc_law"] or (hardware or next(iter(opened.values())).target).adc.law
    paper_law = hw_models.load_law(PAPER_LAW)
    figures = []
    for name, plan in opened.items():
        figures.append(
            plan_figures(
                name,
                plan.document,
                summarise(plan.mapping),
                compare_plan(plan, hardware or plan.target, law),
                paper_law=paper_law,
                accuracy=None if options["data"] is None else _accuracy(name, plan, options["data"], options["limit"]),
            )
        )
    chosen = figures[0].comparison.law.name
    if options["as_json"]:
        click.echo(to_json(side_by_side_json(figures, chosen, PAPER_LAW)), nl=False)
    else:
        print_report(SideBySideReport(plans=figures, law=chosen, paper_law=PAPER_LAW))


def _names(folders: tuple[Path, ...]) -> list[str]:
    """Folder names; paths where two are alike, numbered where even these are."""
    names = [folder.name for folder in folders]
    if len(set(names)) < len(names):
        names = [str(folder) for folder in folders]
    if len(set(names)) < len(names):
        names = [f"{position}: {name}" for position, name in enumerate(names, 1)]
    return names


def _accuracy(name: str, plan: "Plan", path: Path, limit: int | None) -> float:
    """Share of the samples that the replay gets right.

    Raises:
        ModelError: BSC308 if the data have no labels, or do not fit the model.
    """
    from bsc.errors import ModelError
    from bsc.replay.verification import verify

    data, source = open_data(plan, path, limit=limit, batch=None, seed=0)
    if data.labels is None:
        raise ModelError(
            "BSC308",
            f"{path.name} has no labels to compare plans by",
            seen=f"arrays for {', '.join(tensor.name for tensor in plan.mapping.inputs)} alone",
            fix="add an array 'labels' with one class number a sample, or leave --data out",
        )
    with progress(f"replaying {name}", data.samples) as advance:
        found = verify(plan, data, source, None, advance=advance)
    assert found.accuracy is not None
    return found.accuracy.replayed
