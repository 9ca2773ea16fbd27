"""`bsc check`."""

from pathlib import Path
from typing import Any

import click

from bsc.commands.mapping_options import mapping_options, request
from bsc.commands.output import print_report, print_text


@click.command(short_help="Say what becomes of every operator of a model.")
@click.argument("model", type=click.Path(path_type=Path))
@mapping_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON in place of text.")
@click.pass_context
def check(ctx: click.Context, /, model: Path, **options: Any) -> None:
    """Say what 'bsc compile' would make of every operator of MODEL.onnx, and exit as it would with the same options.

    The model is compiled, and nothing is written.
    """
    from bsc.compiler.driver import check_model
    from bsc.limits import without_collection
    from bsc.plan.folder import to_json
    from bsc.report.coverage import CoverageReport, coverage_json

    with without_collection():  # until all is printed: the objects of a million operators stay till then
        found = check_model(model, *request(ctx, options).resolve())
        if options["as_json"]:
            print_text(to_json(coverage_json(found)))
        else:
            print_report(CoverageReport(found=found))
    if found.refusals:
        raise found.refusals[0]
