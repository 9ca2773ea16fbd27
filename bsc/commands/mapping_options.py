"""The options that say how a model is to be mapped, of `bsc compile` and `bsc check` alike."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from bsc.commands.input_options import check_option, keep_option, model_inputs, set_option, shape_option, values_option
from bsc.commands.output import require_together
from bsc.errors import UsageError

if TYPE_CHECKING:
    from bsc.compile.options import CompileOptions, Placing
    from bsc.hardware.device import Device
    from bsc.hardware.target import Target

Command = TypeVar("Command", bound=Callable[..., Any])


class PolicyOption(click.Option):
    """`--adc`, whose help follows from the table of passes, which is imported when it is asked for."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """As of any option."""
        from bsc.compile.policies import policy_help

        self.help = policy_help()
        return super().get_help_record(ctx)


OPTIONS = (
    click.option("--xbar", metavar="ROWSxCOLS", help="Crossbar size, such as 128x128.  [default: the target's]"),
    click.option("--hw", default="isaac", show_default=True, metavar="NAME|FILE.toml", help="Hardware description."),
    click.option("--adc", cls=PolicyOption, metavar="POLICY", help="ADC resolution."),
    click.option(
        "--granularity",
        type=click.Choice(["column", "tile", "slice"]),
        help="What shares one resolution: a slice column, a crossbar, or a slice of a layer.  "
        "[default: the finest that the target's ADCs offer]",
    ),
    click.option(
        "--encoding",
        type=click.Choice(["differential", "offset", "centre"]),
        default="differential",
        show_default=True,
        help="How cells hold a weight's sign: two columns, ISAAC's offset, or two columns around a centre.",
    ),
    click.option(
        "--subtract",
        type=click.Choice(["digital", "analog"]),
        default="digital",
        show_default=True,
        help="Where the two columns of a weight are subtracted: after a conversion each, or before a single one.",
    ),
    click.option(
        "--flip", is_flag=True, help="With offset or centre: store top - level in columns where that is less."
    ),
    click.option(
        "--cut",
        default="even",
        show_default=True,
        metavar="BITS",
        help="Bits of each slice, such as 4-2-2, or adaptive: each layer by the error that --calib data show.",
    ),
    click.option(
        "--active-rows", metavar="N|search", help="Drive N rows at a time, or what costs least.  [default: all]"
    ),
    click.option(
        "--permute",
        type=click.Choice(["auto", "none", "sorted", "balanced"]),
        help="Order of rows: like beside like, sums alike, or what costs least.  "
        "[default: none where each column has a resolution of its own, else auto]",
    ),
    click.option(
        "--cap",
        type=click.IntRange(1, 16),
        metavar="BITS",
        help="Change weight codes so that no conversion can need more; --calib shows what results stand.",
    ),
    click.option(
        "--copies",
        type=click.Choice(["none", "isaac", "throughput", "latency"]),
        default="none",
        show_default=True,
        help="Copies of layers: one each, ISAAC's rule, for most inferences a second, or for the fastest one.",
    ),
    click.option(
        "--chips", type=click.IntRange(1, 1_000_000), metavar="N", help="Chips at hand.  [default: as many as needed]"
    ),
    click.option("--tiles", type=click.IntRange(1, 1_000_000_000), metavar="N", help="Tiles that may be filled."),
    click.option(
        "--area", type=click.FloatRange(0, min_open=True), metavar="MM2", help="Area of the tiles that may be filled."
    ),
    click.option(
        "--power", type=click.FloatRange(0, min_open=True), metavar="W", help="Power that copies may bring it to."
    ),
    click.option("--pack", is_flag=True, help="Let small layers share crossbars, on rows and columns of their own."),
    click.option("--adc-law", metavar="NAME|FILE.toml", help="How ADC cost follows its bits.  [default: the target's]"),
    click.option(
        "--calib",
        type=click.Path(path_type=Path),
        metavar="FILE.npz",
        help="Inputs that set input ranges, and resolutions that rest on data.",
    ),
    click.option(
        "--max-accuracy-drop",
        type=click.FloatRange(0, 100),
        metavar="POINTS",
        help="Find the cheapest resolutions that lose no more, with 95 % confidence; implies --adc budgeted.",
    ),
    click.option(
        "--held-out",
        type=click.Path(path_type=Path),
        metavar="FILE.npz",
        help="Labelled data to test the drop on.  [default: every other sample of --calib]",
    ),
    click.option(
        "--noise",
        metavar="NAME|FILE.toml",
        help="Test accuracy on chips of this device, a chip drawn anew for each held-out sample: the drop then holds "
        "for chips and samples alike.",
    ),
    click.option("--read-at", type=float, metavar="SECONDS", help="With --noise: time of the read after programming."),
    click.option(
        "--faults",
        type=click.Path(path_type=Path),
        metavar="MAP.csv",
        help="Stuck cells (crossbar,row,column,stuck): rows and columns are moved to where they do least harm.",
    ),
    shape_option,
    set_option,
    keep_option,
    values_option,
    check_option,
    click.option("--passes", metavar="TEXT", help="The pipeline as text, in place of the options above."),
)


def mapping_options(command: Command) -> Command:
    """Give a command all of `OPTIONS`, in that order."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def compile_options(ctx: click.Context, options: dict[str, Any]) -> "tuple[Target, CompileOptions]":
    """The hardware, and what the compiler must be told.

    Args:
        ctx: of the command.
        options: values of `OPTIONS`, and of `--dump-ir` and `--stop-after` where the command has them.

    Raises:
        UsageError: for values that cannot be read or go together.
    """
    import hw_models
    from bsc.compile.options import ADAPTIVE, CompileOptions, MappingOptions, resolve

    target = hw_models.load(options["hw"])
    law = hw_models.load_law(options["adc_law"] or target.adc.law)
    text = options["passes"]
    choosing = ("xbar", "adc", "granularity", "encoding", "subtract", "flip", "cut", "active_rows", "permute", "cap")
    placing = ("copies", "chips", "tiles", "area", "power", "pack")
    replaced = [name for name in (*choosing, *placing) if _given(ctx, name)]
    if text is not None and replaced:
        flag = f"--{replaced[0].replace('_', '-')}"
        raise UsageError(
            "BSC201",
            f"--passes and {flag} cannot be used together",
            seen=f"--passes {text!r}",
            fix=f"write what {flag} says into the pipeline text, or leave --passes out",
        )
    search, adaptive = None, options["cut"] == ADAPTIVE
    if text is None:
        said = {name: options[name] for name in choosing if _given(ctx, name)}
        words = MappingOptions(**said | {"adc": _policy(ctx, options), "placing": _placing(options)})
        found = resolve(words, target, law)
        text, search, adaptive = found.pipeline, found.search, found.adaptive_cut
    tested = options["held_out"] is not None or options["max_accuracy_drop"] is not None
    return target, CompileOptions(
        pipeline=text,
        **model_inputs(options),
        calibration=options["calib"],
        dump_ir=options.get("dump_ir"),
        stop_after=options.get("stop_after"),
        search=search,
        test_accuracy=tested,
        held_out=options["held_out"],
        max_accuracy_drop=None if options["max_accuracy_drop"] is None else options["max_accuracy_drop"] / 100,
        adc_law=law,
        adaptive_cut=adaptive,
        faults=options["faults"],
        noise=_noise(options, tested=tested),
    )


def _noise(options: dict[str, Any], *, tested: bool) -> "Device | None":
    """The device on whose chips accuracy is tested, or None."""
    import hw_models

    require_together("--read-at", options["read_at"], "--noise", options["noise"])
    if options["noise"] is None:
        return None
    require_together("--noise", True, "--max-accuracy-drop or --held-out", tested)
    device = hw_models.load_device(options["noise"])
    return device if options["read_at"] is None else device.read_at(options["read_at"])


def _placing(options: dict[str, Any]) -> "Placing":
    from bsc.compile.options import Placing

    area_mm2 = options["area"]
    return Placing(
        copies=options["copies"],
        chips=options["chips"],
        tiles=options["tiles"],
        area_m2=None if area_mm2 is None else area_mm2 * 1e-6,
        power_w=options["power"],
        pack=options["pack"],
    )


def _policy(ctx: click.Context, options: dict[str, Any]) -> str | None:
    """The ADC policy that was said, which an accuracy budget implies and which needs one."""
    from bsc.compile.policies import budget_words

    budgeted, words = options["max_accuracy_drop"] is not None, budget_words()
    if budgeted and not _given(ctx, "adc"):
        return words[0]
    policy: str | None = options["adc"] or None
    if budgeted == (policy in words):
        return policy
    raise UsageError(
        "BSC201",
        f"--adc {' or '.join(words)} and --max-accuracy-drop belong together",
        seen=f"--adc {policy} {'with' if budgeted else 'without'} --max-accuracy-drop",
        fix="give the points of accuracy that may be lost, as --max-accuracy-drop 0.5, and no other --adc",
    )


def _given(ctx: click.Context, option: str) -> bool:
    return ctx.get_parameter_source(option) is click.core.ParameterSource.COMMANDLINE
