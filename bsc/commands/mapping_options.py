"""The options that say how a model is to be mapped, of `bsc compile` and `bsc check` alike."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from bsc.commands.completion import device_names, hardware_names, law_names, policy_names
from bsc.commands.input_options import check_option, keep_option, model_inputs, set_option, shape_option, values_option

if TYPE_CHECKING:
    from bsc.api.request import Request

Command = TypeVar("Command", bound=Callable[..., Any])


class PolicyOption(click.Option):
    """`--adc`, whose help follows from the table of passes, which is imported when it is asked for."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """As of any option."""
        from bsc.compiler.policies import policy_help

        self.help = policy_help()
        return super().get_help_record(ctx)


OPTIONS = (
    click.option("--xbar", metavar="ROWSxCOLS", help="Crossbar size, such as 128x128.  [default: the target's]"),
    click.option("--weight-bits", type=click.IntRange(1, 15), help="Bits of a weight beside its sign.  [default: 8]"),
    click.option(
        "--activation-bits", type=click.IntRange(2, 16), help="Bits of an input code with its sign.  [default: 8]"
    ),
    click.option(
        "--scale",
        type=click.Choice(["power-of-two", "max-abs"]),
        help="How scales of codes are chosen.  [default: power-of-two]",
    ),
    click.option("--per-channel", is_flag=True, help="Give the weights of each output channel a scale of their own."),
    click.option("--cell-bits", type=click.IntRange(1, 8), help="Bits that one cell stores.  [default: the target's]"),
    click.option("--dac-bits", type=click.IntRange(1, 8), help="Input bits driven at a time.  [default: the target's]"),
    click.option(
        "--hw",
        shell_complete=hardware_names,
        default="isaac",
        show_default=True,
        metavar="NAME|FILE.toml",
        help="Hardware description.",
    ),
    click.option("--adc", shell_complete=policy_names, cls=PolicyOption, metavar="POLICY", help="ADC resolution."),
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
        "--power",
        type=click.FloatRange(0, min_open=True),
        metavar="W",
        help="Power that copies must not exceed, with traffic, digital work and what is drawn all the time.",
    ),
    click.option("--pack", is_flag=True, help="Let small layers share crossbars, on rows and columns of their own."),
    click.option(
        "--reload",
        is_flag=True,
        help="Load layers in segments, one after another, where the chips at hand are too few, or that is faster.",
    ),
    click.option(
        "--reload-batch",
        type=click.IntRange(1, 1_000_000_000),
        metavar="N",
        help="With --reload: inferences between two writings.  [default: 16]",
    ),
    click.option(
        "--cells",
        shell_complete=device_names,
        metavar="NAME|FILE.toml",
        help="With --reload: device of the cells, whose writing takes time and energy.",
    ),
    click.option(
        "--adc-law",
        shell_complete=law_names,
        metavar="NAME|FILE.toml",
        help="How ADC cost follows its bits.  [default: the target's]",
    ),
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
        shell_complete=device_names,
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


def request(ctx: click.Context, options: dict[str, Any]) -> "Request":
    """What was said on the command line; all that was not is left to bsc.

    Args:
        ctx: of the command.
        options: values of `OPTIONS`, and of `--dump-ir` and `--stop-after` where the command has them.

    Raises:
        UsageError: for values that cannot be read.
    """
    from bsc.api.request import OPTIONS as NAMES
    from bsc.api.request import Request, flag

    by_flag = {option: parameter.name for parameter in ctx.command.params for option in parameter.opts}
    said = {}
    for name in NAMES:
        parameter = by_flag.get(flag(name))
        if parameter and ctx.get_parameter_source(parameter) is click.core.ParameterSource.COMMANDLINE:
            said[name] = options[parameter]
    return Request(**said | model_inputs(options))
