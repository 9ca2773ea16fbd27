"""`bsc hw`."""

from pathlib import Path
from typing import Any

import click

from bsc.commands.completion import device_names, hardware_names
from bsc.commands.output import check_outputs, print_report, print_text, say, write_text
from bsc.errors import UsageError


@click.group(short_help="Hardware and device descriptions, with sources.")
def hw() -> None:
    """Hardware and device descriptions: list them, show one, check one against its publication."""


@hw.command("list")
def hw_list() -> None:
    """Name the shipped hardware descriptions."""
    import hw_models
    from bsc.report.text import plain_text

    print_report(plain_text(*(f"{name:12} {hw_models.load(name).description}" for name in hw_models.names())))


@hw.command("show")
@click.argument("name", metavar="NAME|FILE.toml", shell_complete=hardware_names)
@click.option("--json", "as_json", is_flag=True, help="Print JSON in place of text.")
def hw_show(name: str, *, as_json: bool) -> None:
    """Show a hardware description: every number with its kind and source."""
    import hw_models
    from bsc.plan.folder import target_json
    from bsc.report.target import TargetReport

    target = hw_models.load(name)
    if as_json:
        print_text(target_json(target))
    else:
        print_report(TargetReport(target=target))


@hw.command("devices")
@click.argument("name", metavar="[NAME|FILE.toml]", required=False, shell_complete=device_names)
@click.option("--json", "as_json", is_flag=True, help="Print JSON in place of text; needs a name.")
def hw_devices(name: str | None, *, as_json: bool) -> None:
    """Name the shipped devices for 'bsc simulate --noise', or show one: every number with its kind and source."""
    import hw_models
    from bsc.plan.folder import to_json
    from bsc.report.simulation import DeviceReport
    from bsc.report.text import plain_text

    if name is None:
        if as_json:
            raise UsageError("BSC201", "--json needs the name of a device", seen="no name", fix="add a name")
        devices = hw_models.device_names()
        print_report(plain_text(*(f"{each:18} {hw_models.load_device(each).description}" for each in devices)))
        return
    device = hw_models.load_device(name)
    if as_json:
        print_text(to_json(device.model_dump(mode="json", exclude_none=True)))
    else:
        print_report(DeviceReport(device=device))


@hw.command("check")
@click.argument("name", metavar="NAME|FILE.toml", shell_complete=hardware_names)
def hw_check(name: str) -> None:
    """Re-add the published totals of a hardware description from its parts."""
    import hw_models
    from bsc.hardware.check import check, require_consistent

    target = hw_models.load(name)
    for line in check(target):
        say(f"{'ok  ' if line.ok else 'FAIL'}  {line.name:32} {line}")
    require_consistent(target)


@hw.command(
    "fit",
    epilog="\b\nColumns of MEASUREMENTS.csv, by name, one line a reading:\n"
    "  level, or target_us (_s, _ms, _ns)   what the cell was programmed to\n"
    "  conductance_us (_s, _ms, _ns)        what was read\n"
    "  time_s                               since programming; for drift\n"
    "  temperature_c (_k)                   of the reading\n"
    "  cell, chip                           names; for read noise, and chip to chip",
)
@click.argument("measurements", type=click.Path(path_type=Path), metavar="MEASUREMENTS.csv")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="FILE.toml", help="Write the device for --noise."
)
@click.option("--name", help="Of the device.  [default: the name of MEASUREMENTS.csv]")
@click.option(
    "--errors",
    type=click.Choice(["auto", "normal", "empirical"]),
    default="auto",
    show_default=True,
    help="Programming errors: normal, or a table of what was measured; auto takes the table where no normal "
    "distribution fits.",
)
@click.option("--svg", type=click.Path(path_type=Path), metavar="FILE", help="Draw measured cells beside fitted ones.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON in place of text.")
def hw_fit(measurements: Path, **options: Any) -> None:
    """Fit a device description to measured cells: shift and spread of each level, read noise, drift, stuck cells."""
    from bsc.fit.device import device_toml, fit_device
    from bsc.fit.measurements import read_measurements
    from bsc.fit.picture import fit_picture
    from bsc.fit.report import FitReport, fit_json
    from bsc.plan.folder import to_json

    as_json = ["--json"] if options["as_json"] else []
    outputs = {"--output": options["output"], "--svg": options["svg"]}
    printing = check_outputs(outputs, [measurements], printed=as_json)
    found = fit_device(read_measurements(measurements), options["name"] or measurements.stem, errors=options["errors"])
    if options["output"] is not None:
        write_text(options["output"], device_toml(found.device))
    if options["svg"] is not None:
        write_text(options["svg"], fit_picture(found))
    if as_json:
        print_text(to_json(fit_json(found)))
    elif not printing:
        print_report(FitReport(found=found))
