"""A plan priced, and the report that follows: what every command and `Plan.cost` show."""

import hw_models
from bsc.cost.compare import Comparison, compare
from bsc.errors import UsageError
from bsc.hardware.target import Target
from bsc.plan.document import Plan
from bsc.report.build import report_document
from bsc.report.document import ReportDocument


def compare_plan(plan: Plan, target: Target, law: str | None) -> Comparison:
    """The plan priced on a target; `law` is a name or file, None for the target's own.

    Raises:
        UsageError: BSC207 for a law that cannot be read or used, or two of one name.
    """
    own, chosen = (hw_models.load_law(each) for each in (target.adc.law, law or target.adc.law))
    if own.name == chosen.name and not own.equals(chosen):
        raise UsageError(
            "BSC207",
            f"two ADC laws are called '{own.name}'",
            seen=f"{own.formula} of the target, and {chosen.formula}",
            fix="give one of them another name",
        )
    laws = hw_models.laws()
    laws.setdefault(target.adc.law, own)
    return compare(plan.mapping, target, chosen, laws)


def plan_report(plan: Plan, target: Target, law: str | None) -> ReportDocument:
    """The report of a plan, priced as by `compare_plan`."""
    return report_document(plan, compare_plan(plan, target, law))
