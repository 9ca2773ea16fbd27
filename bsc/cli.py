"""The command line: the `bsc` group, and the one place where errors are printed."""

import contextlib
import errno
import signal
import sys
import traceback
from typing import Any, NoReturn

import click

from bsc import __version__
from bsc.commands.check import check
from bsc.commands.compare import compare
from bsc.commands.compile import compile_command
from bsc.commands.cost import cost
from bsc.commands.diff import diff
from bsc.commands.explore import explore
from bsc.commands.export import export
from bsc.commands.finetune import finetune
from bsc.commands.hw import hw
from bsc.commands.inspect import inspect
from bsc.commands.output import print_text, say
from bsc.commands.passes import passes_command
from bsc.commands.report import report
from bsc.commands.run import run
from bsc.commands.simulate import simulate
from bsc.commands.verify import verify
from bsc.errors import BscError, UsageError
from bsc.printable import visible

INTERNAL_ERROR = 1
INTERRUPTED = 130
TERMINATED = 143


class BscGroup(click.Group):
    """The commands in the order they are written, and the one place where errors are printed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the commands."""
        del ctx
        return list(self.commands)

    def make_context(self, *arguments: Any, **more: Any) -> click.Context:
        """Read the options before a command's name."""
        try:
            return super().make_context(*arguments, **more)
        except click.ClickException as error:
            raise _shown(error) from None

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; a mistake of the user's becomes three lines and an exit code."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()  # a full disk behind it is told here and not when Python ends
            return result
        except click.ClickException as error:
            raise _shown(error) from None
        except (click.exceptions.Exit, click.Abort):
            raise
        except BscError as error:
            self._refuse(ctx, error)
        except BrokenPipeError:  # a pager that quits; click ends quietly
            raise
        except KeyboardInterrupt:
            say("interrupted", err=True)
            ctx.exit(INTERRUPTED)
        except Exception as error:  # the last resort: no traceback unless asked for
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                self._refuse(ctx, _no_space(error))
            if ctx.params["debug"]:
                print_text(traceback.format_exc(), err=True)
            say(f"internal error: {type(error).__name__}: {error}", err=True)
            say("  fix:  this is a bug of bsc; run again with 'bsc --debug ...' and report what it prints", err=True)
            ctx.exit(INTERNAL_ERROR)

    def _refuse(self, ctx: click.Context, error: BscError) -> NoReturn:
        if ctx.params["debug"]:
            print_text(traceback.format_exc(), err=True)
        print_text(f"error {error}\n", err=True)
        ctx.exit(error.exit_code)


def _shown(error: click.ClickException) -> click.ClickException:
    """A mistake that click found, whose message names files and options as they are."""
    message = error.format_message()
    if isinstance(error, click.exceptions.NoArgsIsHelpError) or message == visible(message):
        return error
    return click.UsageError(visible(message), ctx=getattr(error, "ctx", None))


def _no_space(error: OSError) -> UsageError:
    """Files that a command was asked for tell of themselves."""
    return UsageError(
        "BSC204",
        "what is printed, or a temporary file, cannot be written",
        seen=error.strerror or str(error),
        fix="free some space, or set TMPDIR to a folder that has some",
    )


@click.group(
    cls=BscGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="\b\nExit codes: 0 ok, 1 internal error, or a difference that 'bsc diff' found, 2 usage,\n"
    "3 model, plan or data not usable, 4 does not fit the hardware, 5 a check failed,\n"
    "130 interrupted, 143 terminated.",
)
@click.version_option(__version__, prog_name="bsc", message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def main(*, debug: bool) -> None:
    """The bit-slice compiler: maps a trained ONNX model onto ReRAM crossbars."""
    del debug
    with contextlib.suppress(ValueError):  # only the main thread may, and only a process of our own needs to
        signal.signal(signal.SIGTERM, _terminated)


for command in (
    check,
    compile_command,
    inspect,
    report,
    cost,
    compare,
    diff,
    explore,
    verify,
    run,
    simulate,
    export,
    finetune,
    hw,
    passes_command,
):
    main.add_command(command)


def _terminated(*_: object) -> None:
    """Leave as from any error, so that half-written folders are removed."""
    sys.exit(TERMINATED)
