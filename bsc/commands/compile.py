"""`bsc compile`."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bsc.commands.completion import pass_names
from bsc.commands.input_options import said_of_import
from bsc.commands.mapping_options import mapping_options, request
from bsc.commands.output import print_report, print_text, say

if TYPE_CHECKING:
    from bsc.compiler.layout import LayoutChoice


@click.command("compile")
@click.argument("model", type=click.Path(path_type=Path))
@mapping_options
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Plan folder to write.  [default: MODEL.bsc]")
@click.option("--force", is_flag=True, help="Replace a plan folder that exists.")
@click.option("--html", is_flag=True, help="Write the report as a page too: report.html in the plan folder.")
@click.option("--dump-ir", type=click.Path(path_type=Path), metavar="DIR", help="Write the graph after every pass.")
@click.option(
    "--stop-after",
    shell_complete=pass_names,
    metavar="PASS",
    help="Stop after that pass, print the graph, write no plan.",
)
@click.option("--time-passes", is_flag=True, help="Print the time of every pass to stderr.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.pass_context
def compile_command(ctx: click.Context, /, model: Path, **options: Any) -> None:
    """Compile MODEL.onnx into a plan folder and print its report."""
    from bsc.api.cost import Cost
    from bsc.api.plan import save
    from bsc.api.pricing import plan_report
    from bsc.compiler.driver import compile_model
    from bsc.file_kinds import refuse_mistaken
    from bsc.plan.folder import check_free, to_json

    asked = request(ctx, options)
    target, settings = asked.resolve()
    output = options["output"] or Path(f"{model.stem}.bsc")
    if model.is_dir():  # a plan, whose name is that of the output too
        refuse_mistaken(model, "model")
    if settings.stop_after is None:
        check_free(output, force=options["force"])  # before the work, and once more when writing
    compiled = compile_model(model, target, settings)
    if options["time_passes"]:
        for step in compiled.times:
            say(f"{step.name:16} {step.seconds:8.3f} s", err=True)
    for line in said_of_import(compiled.graph.info):
        say(line, err=True)
    for choice in compiled.choices:
        say(_describe(choice), err=True)
    plan = compiled.plan
    if plan is None:
        print_text(str(compiled.graph))
        return
    cost = Cost(plan, plan_report(plan, target, asked.law))
    document = save(plan, cost, output, force=options["force"], html=options["html"])
    if options["as_json"]:
        print_text(to_json(cost.document.model_copy(update={"plan": document})))
    else:
        print_report(cost)
        say("", err=True)
        say(f"wrote {output}/", err=True)
        data = options["calib"] or "FILE.npz"
        words = ["verify", str(output), "--data", str(data), "--model", str(model)]
        say(f"next  bsc {shlex.join(words)}", err=True)


def _describe(choice: "LayoutChoice") -> str:
    from bsc.units import format_si

    energy, before = format_si(choice.energy_j, "J"), format_si(choice.energy_before_j, "J")
    latency, latency_before = format_si(choice.latency_s, "s"), format_si(choice.latency_before_s, "s")
    return (
        f"layer {choice.layer}: rows {choice.chosen.rows}, {choice.chosen.active_rows} driven at a time, "
        f"{energy} for {before}, {latency} for {latency_before}"
    )
