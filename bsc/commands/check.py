"""`bsc check`."""

from pathlib import Path
from typing import Any

import click

from bsc.commands.input_options import check_option, model_inputs, set_option, shape_option, values_option
from bsc.commands.output import print_report


@click.command(short_help="Say what becomes of every operator of a model.")
@click.argument("model", type=click.Path(path_type=Path))
@shape_option
@set_option
@values_option
@check_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON in place of text.")
def check(model: Path, *, as_json: bool, **options: Any) -> None:
    """Say what 'bsc compile' would make of every operator of MODEL.onnx, and exit as it would.

    The model is compiled with the default options, and nothing is written.
    """
    import hw_models
    from bsc.compile.driver import check_model
    from bsc.compile.options import CompileOptions, default_pipeline
    from bsc.plan.folder import to_json
    from bsc.report.coverage import CoverageReport, coverage_json

    target = hw_models.load("isaac")
    rows, cols = target.crossbar.rows, target.crossbar.cols
    pipeline = default_pipeline(target, rows=rows, cols=cols, policy="lossless", granularity="column")
    found = check_model(model, target, CompileOptions(pipeline=pipeline, **model_inputs(options)))
    if as_json:
        click.echo(to_json(coverage_json(found)), nl=False)
    else:
        print_report(CoverageReport(found=found))
    if found.refusals:
        raise found.refusals[0]
