"""Options of `bsc cost` and `bsc report` about the device that the cells are made of."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bsc.commands.input_options import values_option
from bsc.commands.output import progress, require_together
from bsc.errors import UsageError

if TYPE_CHECKING:
    from bsc.cost.compare import Comparison
    from bsc.plan.document import Plan
    from bsc.report.document import CellCosts

OPTIONS = (
    click.option("--device", metavar="NAME|FILE.toml", help="Read by Ohm's law, and written, on this device."),
    click.option(
        "--data", type=click.Path(path_type=Path), metavar="FILE.npz", help="Inputs whose digits drive the rows."
    ),
    values_option,
    click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Use only the first N samples."),
    click.option("--updates-per-day", type=float, metavar="X", help="Times that cells are written anew.  [default: 1]"),
)


@dataclass(frozen=True, kw_only=True)
class CellOptions:
    """What the options say.

    Attributes:
        device: name or file.
        data: inputs, or None.
        values: what --input says.
        limit: samples of the data, or None for all.
        updates_per_day: times that cells are written anew.
    """

    device: str
    data: Path | None
    values: tuple[str, ...]
    limit: int | None
    updates_per_day: float


def cell_options(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the options to a command, which has them as `CellOptions` or None from `read_cell_options`."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def read_cell_options(options: dict[str, Any]) -> CellOptions | None:
    """What the options say; None without a device.

    Raises:
        UsageError: BSC201 for options that need another, or a rate that is none.
    """
    rate = options["updates_per_day"]
    for name, given in (("--data", options["data"] is not None), ("--updates-per-day", rate is not None)):
        require_together(name, given, "--device", options["device"])
    require_together("--limit", options["limit"] is not None, "--data", options["data"])
    require_together("--input", bool(options["values"]), "--data", options["data"])
    if rate is not None and not 1e-6 <= rate <= 1e9:
        raise UsageError(
            "BSC201", "--updates-per-day is out of range", seen=f"{rate:g}", fix="give a rate from 1e-6 to 1e9"
        )
    if options["device"] is None:
        return None
    return CellOptions(
        device=options["device"],
        data=options["data"],
        values=tuple(options["values"]),
        limit=options["limit"],
        updates_per_day=1.0 if rate is None else rate,
    )


def cells_on(plan: "Plan", comparison: "Comparison", options: CellOptions) -> "CellCosts":
    """What the device says of a plan."""
    import hw_models
    from bsc.commands.replay_data import open_data
    from bsc.cost.device import device_cost
    from bsc.replay.driven import driven_rows
    from bsc.report.build import cell_costs

    device, driven, samples = hw_models.load_device(options.device), None, None
    if options.data is not None:
        data, _ = open_data(plan, options.data, limit=options.limit, batch=None, seed=0, given=options.values)
        samples = data.samples
        with progress("replaying", samples) as advance:
            driven = driven_rows(plan.mapping, data, advance=advance)
    found = device_cost(plan.mapping, comparison, device, driven, samples)
    return cell_costs(found, comparison, options.updates_per_day)
