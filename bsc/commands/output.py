"""What the commands share: pricing a plan, its report, and printing."""

import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import RenderableType

    from bsc.cost.compare import Comparison
    from bsc.hardware.target import Target
    from bsc.plan.document import Plan

REPORT_WIDTH = 110


def compare_plan(plan: "Plan", target: "Target", law: str | None) -> "Comparison":
    """The plan priced on a target; `law` is a name or file, None for the target's own."""
    import hw_models
    from bsc.cost.compare import compare

    laws = hw_models.laws()
    laws.setdefault(target.adc.law, hw_models.load_law(target.adc.law))
    return compare(plan, target, hw_models.load_law(law or target.adc.law), laws)


def plan_report(plan: "Plan", comparison: "Comparison") -> "RenderableType":
    """What `compile`, `inspect` and `cost` print of a plan."""
    from bsc.plan.summary import summarise
    from bsc.report.text import PlanReport

    return PlanReport(document=plan.document, summaries=summarise(plan), comparison=comparison)


def print_report(report: "RenderableType") -> None:
    """To a terminal in its width and colours, else as plain text of a fixed width."""
    from rich.console import Console

    from bsc.report.text import to_text

    if sys.stdout.isatty():
        Console().print(report)
    else:
        click.echo(to_text(report, REPORT_WIDTH), nl=False)
