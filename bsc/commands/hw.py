"""`bsc hw`."""

import click

from bsc.commands.completion import device_names, hardware_names
from bsc.commands.output import print_report, print_text, say
from bsc.errors import UsageError


@click.group(short_help="Hardware and device descriptions, with sources.")
def hw() -> None:
    """Hardware and device descriptions: list them, show one, check one against its publication."""


@hw.command("list")
def hw_list() -> None:
    """Name the shipped hardware descriptions."""
    import hw_models

    for name in hw_models.names():
        say(f"{name:12} {hw_models.load(name).description}")


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

    if name is None:
        if as_json:
            raise UsageError("BSC201", "--json needs the name of a device", seen="no name", fix="add a name")
        for each in hw_models.device_names():
            say(f"{each:18} {hw_models.load_device(each).description}")
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
