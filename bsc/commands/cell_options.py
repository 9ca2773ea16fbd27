"""Options of `bsc cost` and `bsc report` about the device that the cells are made of."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from bsc.commands.completion import device_names
from bsc.commands.input_options import values_option

OPTIONS = (
    click.option(
        "--cells",
        shell_complete=device_names,
        metavar="NAME|FILE.toml",
        help="Device of the cells: reads by Ohm's law, and what writing takes.",
    ),
    click.option(
        "--data", type=click.Path(path_type=Path), metavar="FILE.npz", help="Inputs whose digits drive the rows."
    ),
    values_option,
    click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Use only the first N samples."),
    click.option("--updates-per-day", type=float, metavar="X", help="Times that cells are written anew.  [default: 1]"),
)


def cell_options(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the options to a command, which hands them on as `cell_words` says."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def cell_words(options: Mapping[str, Any]) -> dict[str, Any]:
    """What the options say, as `Plan.cost` takes it.

    Raises:
        UsageError: BSC201 for an --input that cannot be read.
    """
    from bsc.commands.output import progress
    from bsc.ir.input_values import parse_input

    return {
        "cells": options["cells"],
        "x": options["data"],
        "limit": options["limit"],
        "updates_per_day": options["updates_per_day"],
        "input_values": dict(map(parse_input, options["values"])),
        "progress": progress,
    }
