"""`bsc check`."""

from pathlib import Path

import click

from bsc.commands.output import print_report


@click.command(short_help="Say what becomes of every operator of a model.")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--input-shape", multiple=True, metavar="NAME:SIZES", help="Open input sizes, as x:1,3,224,224.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON in place of text.")
def check(model: Path, input_shape: tuple[str, ...], *, as_json: bool) -> None:
    """Say what 'bsc compile' would make of every operator of MODEL.onnx, and exit as it would.

    The model is compiled with the default options, and nothing is written.
    """
    import hw_models
    from bsc.compile.driver import check_model
    from bsc.compile.options import CompileOptions, default_pipeline
    from bsc.frontend.shapes import parse_input_shape
    from bsc.plan.folder import to_json
    from bsc.report.coverage import CoverageReport, coverage_json

    target = hw_models.load("isaac")
    rows, cols = target.crossbar.rows, target.crossbar.cols
    pipeline = default_pipeline(target, rows=rows, cols=cols, policy="lossless", granularity="column")
    options = CompileOptions(pipeline=pipeline, input_shapes=dict(map(parse_input_shape, input_shape)))
    found = check_model(model, target, options)
    if as_json:
        click.echo(to_json(coverage_json(found)), nl=False)
    else:
        print_report(CoverageReport(found=found))
    if found.refusals:
        raise found.refusals[0]
