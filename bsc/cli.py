"""The command line: reads arguments, calls the compiler, prints reports. Errors are printed in one place only.

Everything heavy is imported inside the commands, so that `bsc --help` answers at once.
"""

import contextlib
import signal
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bsc import __version__
from bsc.errors import BscError, UsageError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from bsc.compiler import CompileOptions
    from bsc.cost.compare import Comparison
    from bsc.hardware.target import Target
    from bsc.plan.document import Plan

INTERNAL_ERROR = 1
INTERRUPTED = 130
TERMINATED = 143
REPORT_WIDTH = 110


class BscGroup(click.Group):
    """The commands in the order they are written, and the one place where errors are printed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the commands."""
        del ctx
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; a mistake of the user's becomes three lines and an exit code."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except BscError as error:
            if ctx.params["debug"]:
                traceback.print_exc()
            click.echo(f"error {error}", err=True)
            ctx.exit(error.exit_code)
        except BrokenPipeError:  # a pager that quits; click ends quietly
            raise
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            ctx.exit(INTERRUPTED)
        except Exception as error:  # the last resort: no traceback unless asked for
            if ctx.params["debug"]:
                traceback.print_exc()
            click.echo(
                f"internal error: {type(error).__name__}: {error}\n"
                "  fix:  this is a bug of bsc; run again with 'bsc --debug ...' and report what it prints",
                err=True,
            )
            ctx.exit(INTERNAL_ERROR)


@click.group(
    cls=BscGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="\b\nExit codes: 0 ok, 1 internal error, 2 usage, 3 model, plan or data not usable,\n"
    "4 does not fit the hardware, 5 a check failed, 130 interrupted, 143 terminated.",
)
@click.version_option(__version__, prog_name="bsc", message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def main(*, debug: bool) -> None:
    """The bit-slice compiler: maps a trained ONNX model onto ReRAM crossbars."""
    del debug
    with contextlib.suppress(ValueError):  # only the main thread may, and only a process of our own needs to
        signal.signal(signal.SIGTERM, _terminated)


@main.command("compile")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--xbar", metavar="ROWSxCOLS", help="Crossbar size, such as 128x128.  [default: the target's]")
@click.option("--hw", default="isaac", show_default=True, metavar="NAME|FILE.toml", help="Hardware description.")
@click.option(
    "--adc",
    default="lossless",
    show_default=True,
    metavar="POLICY",
    help="ADC resolution: lossless (proved for every slice column), isaac (8 bit) or fixed=N.",
)
@click.option(
    "--granularity",
    type=click.Choice(["column", "tile", "slice"]),
    default="column",
    show_default=True,
    help="What shares one lossless resolution: a slice column, a crossbar, or a slice of a layer.",
)
@click.option("--adc-law", metavar="NAME|FILE.toml", help="How ADC cost follows its bits.  [default: the target's]")
@click.option("--calib", type=click.Path(path_type=Path), metavar="FILE.npz", help="Inputs that set input ranges.")
@click.option("--input-shape", multiple=True, metavar="NAME:SIZES", help="Open input sizes, as x:1,3,224,224.")
@click.option("--passes", metavar="TEXT", help="The pipeline as text, in place of --xbar, --adc, --granularity.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Plan folder to write.  [default: MODEL.bsc]")
@click.option("--force", is_flag=True, help="Replace a plan folder that exists.")
@click.option("--dump-ir", type=click.Path(path_type=Path), metavar="DIR", help="Write the graph after every pass.")
@click.option("--stop-after", metavar="PASS", help="Stop after that pass, print the graph, write no plan.")
@click.option("--time-passes", is_flag=True, help="Print the time of every pass to stderr.")
@click.option("--json", "as_json", is_flag=True, help="Print the cost as JSON in place of the report.")
@click.pass_context
def compile_command(ctx: click.Context, /, model: Path, **options: Any) -> None:
    """Compile MODEL.onnx into a plan folder and print its report."""
    import hw_models
    from bsc.compiler import compile_model
    from bsc.plan.folder import check_free, to_json, write_plan
    from bsc.report.figures import cost_json
    from bsc.report.text import to_text

    target = hw_models.load(options["hw"])
    law = options["adc_law"]
    settings = _compile_options(ctx, target, options)
    output = options["output"] or Path(f"{model.stem}.bsc")
    if settings.stop_after is None:
        check_free(output, force=options["force"])  # before the work, and once more when writing
    compiled = compile_model(model, target, settings)
    if options["time_passes"]:
        for step in compiled.times:
            click.echo(f"{step.name:16} {step.seconds:8.3f} s", err=True)
    if compiled.plan is None:
        click.echo(str(compiled.graph), nl=False)
        return
    comparison = _compare(compiled.plan, target, law)
    report = _plan_report(compiled.plan, comparison)
    extra = {"report.txt": to_text(report, REPORT_WIDTH), "cost.json": to_json(cost_json(comparison))}
    write_plan(compiled.plan, output, extra=extra, force=options["force"])
    if options["as_json"]:
        click.echo(extra["cost.json"], nl=False)
    else:
        _print(report)
        click.echo(f"\nwrote {output}/", err=True)


@main.command()
@click.argument("plan", type=click.Path(path_type=Path))
@click.option("--layer", metavar="NAME", help="Show one layer in full.")
@click.option("--crossbar", metavar="T,C,S,SIGN", help="With --layer: show one crossbar, such as 0,0,3,+.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON in place of the tables.")
def inspect(plan: Path, layer: str | None, crossbar: str | None, *, as_json: bool) -> None:
    """Show a plan, one of its layers, or one crossbar."""
    from bsc.plan.cells import CrossbarIndex
    from bsc.plan.folder import read_plan, to_json
    from bsc.plan.summary import summarise, summarise_layer
    from bsc.report.figures import layer_json, summary_json
    from bsc.report.text import CrossbarReport, LayerReport

    opened = read_plan(plan)
    if layer is None:
        if crossbar is not None:
            raise UsageError("BSC201", "--crossbar needs --layer", seen=crossbar, fix="add --layer NAME")
        if as_json:
            click.echo(to_json(summary_json(opened.document, summarise(opened))), nl=False)
        else:
            _print(_plan_report(opened, _compare(opened, opened.target, None)))
        return
    record = opened.layer(layer)
    arrays = opened.arrays(record)
    if crossbar is not None:
        _print(CrossbarReport(layer=record, arrays=arrays, index=CrossbarIndex.parse(crossbar, record, arrays)))
        return
    summary = summarise_layer(record, arrays)
    if as_json:
        click.echo(to_json(layer_json(summary)), nl=False)
    else:
        _print(LayerReport(summary=summary))


@main.command()
@click.argument("plan", type=click.Path(path_type=Path))
@click.option("--hw", metavar="NAME|FILE.toml", help="Hardware to price it on.  [default: the plan's own]")
@click.option("--adc-law", metavar="NAME|FILE.toml", help="How ADC cost follows its bits.  [default: the target's]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON in place of the tables.")
def cost(plan: Path, hw: str | None, adc_law: str | None, *, as_json: bool) -> None:
    """Price a plan again, under other hardware or another ADC law."""
    import hw_models
    from bsc.plan.folder import read_plan, to_json
    from bsc.report.figures import cost_json

    opened = read_plan(plan)
    target = opened.target if hw is None else hw_models.load(hw)
    comparison = _compare(opened, target, adc_law)
    if as_json:
        click.echo(to_json(cost_json(comparison)), nl=False)
    else:
        _print(_plan_report(opened, comparison))


@main.command()
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
        _print(VerificationReport(plan=opened, found=found))
    found.require_lossless(opened)


@main.group()
def hw() -> None:
    """Hardware descriptions: list them, show one, check one against its publication."""


@hw.command("list")
def hw_list() -> None:
    """Name the shipped hardware descriptions."""
    import hw_models

    for name in hw_models.names():
        click.echo(f"{name:12} {hw_models.load(name).description}")


@hw.command("show")
@click.argument("name", metavar="NAME|FILE.toml")
@click.option("--json", "as_json", is_flag=True, help="Print JSON in place of text.")
def hw_show(name: str, *, as_json: bool) -> None:
    """Show a hardware description: every number with its kind and source."""
    import hw_models
    from bsc.plan.folder import to_json
    from bsc.report.text import TargetReport

    target = hw_models.load(name)
    if as_json:
        click.echo(to_json(target.model_dump(mode="json", exclude_none=True)), nl=False)
    else:
        _print(TargetReport(target=target))


@hw.command("check")
@click.argument("name", metavar="NAME|FILE.toml")
def hw_check(name: str) -> None:
    """Re-add the published totals of a hardware description from its parts."""
    import hw_models
    from bsc.hardware.check import check, require_consistent

    target = hw_models.load(name)
    for line in check(target):
        click.echo(f"{'ok  ' if line.ok else 'FAIL'}  {line.name:32} {line}")
    require_consistent(target)


def _terminated(*_: object) -> None:
    """Leave as from any error, so that half-written folders are removed."""
    sys.exit(TERMINATED)


def _compile_options(ctx: click.Context, target: "Target", options: dict[str, Any]) -> "CompileOptions":
    from bsc.compiler import CompileOptions, default_pipeline
    from bsc.frontend.shapes import parse_input_shape

    text = options["passes"]
    replaced = [name for name in ("xbar", "adc", "granularity") if _given(ctx, name)]
    if text is not None and replaced:
        raise UsageError(
            "BSC201",
            f"--passes and --{replaced[0]} cannot be used together",
            seen=f"--passes {text!r}",
            fix=f"write what --{replaced[0]} says into the pipeline text, or leave --passes out",
        )
    if text is None:
        rows, cols = _parse_xbar(options["xbar"]) if options["xbar"] else (target.crossbar.rows, target.crossbar.cols)
        text = default_pipeline(
            target, rows=rows, cols=cols, policy=_parse_policy(options["adc"]), granularity=options["granularity"]
        )
    return CompileOptions(
        pipeline=text,
        input_shapes=dict(map(parse_input_shape, options["input_shape"])),
        calibration=options["calib"],
        dump_ir=options["dump_ir"],
        stop_after=options["stop_after"],
    )


def _given(ctx: click.Context, option: str) -> bool:
    return ctx.get_parameter_source(option) is click.core.ParameterSource.COMMANDLINE


def _parse_xbar(text: str) -> tuple[int, int]:
    rows, _, cols = text.partition("x")
    if not (rows.isdecimal() and cols.isdecimal() and int(rows) >= 1 and int(cols) >= 1):
        raise UsageError(
            "BSC201",
            "--xbar cannot be read",
            seen=repr(text),
            fix="write ROWSxCOLS, each 1 or more, as 128x128",
        )
    return int(rows), int(cols)


def _parse_policy(text: str) -> str:
    name, equals, bits = text.partition("=")
    if text in ("lossless", "isaac") or (name == "fixed" and equals and bits.isdecimal()):
        return text
    raise UsageError(
        "BSC201", "--adc cannot be read", seen=repr(text), fix="write lossless, isaac or fixed=N, as fixed=6"
    )


def _compare(plan: "Plan", target: "Target", law: str | None) -> "Comparison":
    import hw_models
    from bsc.cost.compare import compare

    laws = hw_models.laws()
    laws.setdefault(target.adc.law, hw_models.load_law(target.adc.law))
    return compare(plan, target, hw_models.load_law(law or target.adc.law), laws)


def _plan_report(plan: "Plan", comparison: "Comparison") -> "RenderableType":
    from bsc.plan.summary import summarise
    from bsc.report.text import PlanReport

    return PlanReport(document=plan.document, summaries=summarise(plan), comparison=comparison)


def _print(report: "RenderableType") -> None:
    """To a terminal in its width and colours, else as plain text of a fixed width."""
    from rich.console import Console

    from bsc.report.text import to_text

    if sys.stdout.isatty():
        Console().print(report)
    else:
        click.echo(to_text(report, REPORT_WIDTH), nl=False)
