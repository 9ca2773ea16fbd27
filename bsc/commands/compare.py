"""`bsc compare`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bsc.commands.completion import hardware_names, law_names
from bsc.commands.output import print_report, print_text, progress
from bsc.commands.reports import Reported, open_reported, require_plan
from bsc.errors import UsageError

if TYPE_CHECKING:
    from bsc.plan.document import Plan

PAPER_LAW = "saberi"


@click.command(short_help="Show plans side by side.")
@click.argument("plans", type=click.Path(path_type=Path), nargs=-1, metavar="PLAN PLAN...")
@click.option(
    "--hw",
    shell_complete=hardware_names,
    metavar="NAME|FILE.toml",
    help="Hardware to price them on.  [default: each plan's own]",
)
@click.option(
    "--adc-law",
    shell_complete=law_names,
    metavar="NAME|FILE.toml",
    help="How ADC cost follows its bits.  [default: as in the first report.json, else the first target's]",
)
@click.option("--data", type=click.Path(path_type=Path), metavar="FILE.npz", help="Labelled inputs: adds accuracies.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Use only the first N samples.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON in place of the tables.")
def compare(plans: tuple[Path, ...], **options: Any) -> None:
    """Show two or more plans side by side, plan folders or report.json files; ratios are to the first.

    A report.json has finished figures: --data, and another --hw or --adc-law than its own, need plan folders.
    """
    import hw_models
    from bsc.plan.folder import to_json
    from bsc.report.side_by_side import ComparedPlan, SideBySideReport, side_by_side_json

    if len(plans) < 2:
        raise UsageError(
            "BSC201",
            "compare needs two plans or more",
            seen=f"{len(plans)}",
            fix="give plan folders, as in 'bsc compare one.bsc other.bsc'",
        )
    hardware = None if options["hw"] is None else hw_models.load(options["hw"])
    opened = open_reported(plans, target=hardware, law=options["adc_law"], one_law=True)
    _require_one_law(opened)
    replayed = [] if options["data"] is None else [require_plan(each, "--data") for each in opened]
    names = _names(plans)
    accuracies: list[float | None] = [
        _accuracy(name, plan, options["data"], options["limit"]) for name, plan in zip(names, replayed, strict=False)
    ]
    compared = [
        ComparedPlan(name=name, report=each.report, accuracy=accuracy)
        for name, each, accuracy in zip(names, opened, accuracies or [None] * len(opened), strict=True)
    ]
    if options["as_json"]:
        print_text(to_json(side_by_side_json(compared, PAPER_LAW)))
    else:
        print_report(SideBySideReport(plans=compared, paper_law=PAPER_LAW))


def _require_one_law(opened: Sequence[Reported]) -> None:
    """Refuse costs that follow different ADC laws.

    Raises:
        UsageError: BSC201.
    """
    first, *others = opened
    for other in others:
        laws = [each.report.cost.adc_law for each in (first, other)]
        if laws[0] != laws[1]:
            raise UsageError(
                "BSC201",
                "plans cannot be compared under different ADC laws",
                seen=f"'{first.path}' under '{laws[0]}', '{other.path}' under '{laws[1]}'",
                fix="write the report again with 'bsc report PLAN --adc-law LAW --json', or give the plan's folder",
            )


def _names(folders: tuple[Path, ...]) -> list[str]:
    """Names of folders and files; paths where two are alike, numbered where even these are."""
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
    from bsc.api.data import open_data
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
