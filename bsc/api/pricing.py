"""A plan priced, and the report that follows: what every command and `Plan.cost` show."""

from dataclasses import dataclass

import hw_models
from bsc.api.data import Progress, quiet
from bsc.cost.compare import Comparison, compare
from bsc.cost.device import DeviceCost, device_cost
from bsc.cost.offer import require_arrays
from bsc.errors import UsageError
from bsc.hardware.device import Device
from bsc.hardware.target import Target
from bsc.plan.document import Plan
from bsc.replay.dataset import Dataset
from bsc.replay.driven import driven_rows
from bsc.report.build import report_document
from bsc.report.document import ReportDocument


@dataclass(frozen=True, eq=False, kw_only=True)
class CellQuestion:
    """What is asked of the device that the cells of a plan are made of.

    Attributes:
        device: the device.
        data: inputs whose digits drive the rows; None for rows that are all driven.
        updates_per_day: times that the cells are written anew.
        progress: of the replay of the data.
    """

    device: Device
    data: Dataset | None
    updates_per_day: float
    progress: Progress = quiet


def compare_plan(plan: Plan, target: Target, law: str | None) -> Comparison:
    """The plan priced on a target; `law` is a name or file, None for the target's own.

    Raises:
        UsageError: BSC207 for a law that cannot be read or used, or two of one name; BSC212 for a target with crossbars
            of another size.
    """
    require_arrays(plan.mapping.layers, plan.target, target)
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


def plan_report(plan: Plan, target: Target, law: str | None, on: CellQuestion | None = None) -> ReportDocument:
    """The report of a plan, priced as by `compare_plan`, with what a device says of its cells if it is asked."""
    comparison = compare_plan(plan, target, law)
    if on is None:
        return report_document(plan, comparison)
    return report_document(plan, comparison, _cells(plan, comparison, on), on.updates_per_day)


def _cells(plan: Plan, comparison: Comparison, on: CellQuestion) -> DeviceCost:
    driven = None
    if on.data is not None:
        with on.progress("replaying", on.data.samples) as advance:
            driven = driven_rows(plan.mapping, on.data, advance=advance)
    samples = None if on.data is None else on.data.samples
    return device_cost(plan.mapping, comparison, on.device, driven, samples)
