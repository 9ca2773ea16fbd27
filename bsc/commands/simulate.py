"""`bsc simulate`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bsc.commands.completion import device_names
from bsc.commands.input_options import values_option
from bsc.commands.output import print_report, print_text, progress
from bsc.errors import UsageError

if TYPE_CHECKING:
    from bsc.hardware.device import Device


@click.command(
    short_help="Replay a plan and try it on real devices.",
    epilog="Device effects are described by 'bsc hw devices' and in hw_models/devices/.",
)
@click.argument("plan", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), metavar="FILE.npz", help="Inputs, and labels if any.")
@values_option
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Use only the first N samples.")
@click.option("--batch", type=click.IntRange(min=1), metavar="N", help="Run N samples together.  [default: 256]")
@click.option("--stats", is_flag=True, help="Count the column sums of every layer; implies --every-conversion.")
@click.option("--every-conversion", is_flag=True, help="Carry out conversions that are proved lossless too.")
@click.option(
    "--faults",
    type=click.Path(path_type=Path),
    metavar="MAP.csv",
    help="Cells that are stuck in every trial: crossbar,row,column,stuck.",
)
@click.option(
    "--noise", shell_complete=device_names, metavar="NAME|FILE.toml", help="Run trials with the effects of this device."
)
@click.option("--only", multiple=True, metavar="EFFECT", help="Leave out all other effects of the device.")
@click.option("--scale", multiple=True, metavar="EFFECT=FACTOR", help="Make an effect larger or smaller.")
@click.option("--read-at", type=float, metavar="SECONDS", help="Time of the read after programming, for drift.")
@click.option("--temperature", type=float, metavar="KELVIN", help="Of the read, for devices that say what it changes.")
@click.option("--trials", type=click.IntRange(min=1), metavar="N", help="Program the crossbars N times.  [default: 10]")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of trials and random inputs.")
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    metavar="N",
    help="Threads for trials; results are the same for any.  [default: all cores]",
)
@click.option("--device", default="cpu", show_default=True, metavar="cpu|cuda", help="Where columns are read.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON in place of text.")
def simulate(plan: Path, **options: Any) -> None:
    """Replay a plan, count its column sums, and try it on real devices."""
    import hw_models
    from bsc.api.data import open_data, replay_options
    from bsc.ir.input_values import parse_input
    from bsc.limits import cores
    from bsc.mapping.fault_map import read_fault_map
    from bsc.plan.folder import read_plan, to_json
    from bsc.replay.simulation import simulate as run
    from bsc.report.simulation import SimulationReport, simulation_json

    faults = None if options["faults"] is None else read_fault_map(options["faults"])
    device = _noise(options)
    # Without other effects, stuck cells leave nothing to chance.
    trials = (options["trials"] or 10) if device is not None else int(faults is not None)
    opened = read_plan(plan)
    if faults is not None:
        faults.require_fit(opened.mapping.record)
    data, source = open_data(
        opened,
        options["data"],
        limit=options["limit"],
        batch=options["batch"],
        seed=options["seed"],
        given=dict(map(parse_input, options["values"])),
    )
    with progress("replaying", data.samples * (1 + trials)) as advance:
        found = run(
            opened.mapping,
            data,
            source,
            options=replay_options(
                options["device"], every_conversion=options["every_conversion"], statistics=options["stats"]
            ),
            device=hw_models.load_device("ideal") if device is None and faults is not None else device,
            trials=trials,
            seed=options["seed"],
            faults=faults,
            jobs=options["jobs"] or cores(),
            advance=advance,
        )
    if options["as_json"]:
        print_text(to_json(simulation_json(found)))
    else:
        print_report(SimulationReport(plan=opened, found=found))


def _noise(options: dict[str, Any]) -> "Device | None":
    """The device of the trials, or None."""
    import hw_models

    if options["noise"] is None:
        needing = [name for name in ("only", "scale", "read_at", "temperature", "trials") if options[name]]
        if needing:
            flag = f"--{needing[0].replace('_', '-')}"
            raise UsageError(
                "BSC201", f"{flag} needs --noise", seen="no device", fix="add --noise NAME, such as generic"
            )
        return None
    device = hw_models.load_device(options["noise"])
    if options["only"]:
        device = device.only(*options["only"])
    for text in options["scale"]:
        effect, _, factor = text.partition("=")
        try:
            device = device.scaled(effect, float(factor))
        except ValueError:
            raise UsageError(
                "BSC201", "--scale cannot be read", seen=repr(text), fix="write EFFECT=FACTOR, as read_noise=2"
            ) from None
    if options["read_at"] is not None:
        device = device.read_at(options["read_at"])
    if options["temperature"] is not None:
        device = device.read_at_temperature(options["temperature"])
    return device
