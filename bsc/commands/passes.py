"""`bsc passes`."""

import difflib
from dataclasses import asdict

import click

from bsc.commands.completion import pass_names
from bsc.commands.output import print_report, print_text
from bsc.errors import UsageError


@click.command("passes", short_help="The passes of a pipeline, with options and defaults.")
@click.argument("name", metavar="[PASS]", required=False, shell_complete=pass_names)
@click.option("--json", "as_json", is_flag=True, help="Print JSON in place of text.")
def passes_command(name: str | None, *, as_json: bool) -> None:
    """Show the passes that --passes may name, or one of them: options, their values and defaults.

    A pipeline is written NAME{OPTION=VALUE OPTION=VALUE}, with commas between passes. 'bsc inspect PLAN' shows the
    one that made a plan.
    """
    from bsc.plan.folder import to_json
    from bsc.reference.passes import PassesReport, pass_record
    from passes import PASSES

    if name is not None and name not in PASSES:
        close = difflib.get_close_matches(name, PASSES, n=1)
        raise UsageError(
            "BSC205",
            f"no pass is called '{name}'",
            seen=f"passes are {', '.join(PASSES)}",
            fix=f"did you mean '{close[0]}'?" if close else "use one of these",
        )
    shown = tuple(pass_record(cls) for key, cls in PASSES.items() if name in (None, key))
    if as_json:
        print_text(to_json([asdict(each) for each in shown]))
    else:
        print_report(PassesReport(passes=shown))
