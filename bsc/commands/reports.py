"""What commands share that take plan folders and report.json files alike."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bsc.errors import UsageError

if TYPE_CHECKING:
    from bsc.hardware.target import Target
    from bsc.plan.document import Plan
    from bsc.report.document import ReportDocument


@dataclass(frozen=True, eq=False, kw_only=True)
class Reported:
    """A plan folder, or a report.json.

    Attributes:
        path: where it is.
        report: of a folder made anew, since no hash protects its report.json.
        plan: the plan, if it is a folder.
    """

    path: Path
    report: "ReportDocument"
    plan: "Plan | None"


def open_reported(
    paths: Sequence[Path], *, target: "Target | None", law: str | None, one_law: bool = False
) -> list[Reported]:
    """Open folders and report files.

    Args:
        paths: of either.
        target: hardware to price folders on; None for each plan's own.
        law: ADC law to price folders by, a name or file; by default that of the first report, if it is one of ours.
        one_law: else all folders are priced by the law of the first target, and not each by that of its own.

    Raises:
        UsageError: BSC202 for what cannot be opened; BSC201 for a report that was priced on other hardware than is
            asked for, or by another law.
        ModelError: BSC307 for a folder that is not a plan, BSC313 for a file that is not a report.
    """
    import hw_models
    from bsc.api.pricing import plan_report
    from bsc.plan.folder import read_plan
    from bsc.report.reading import read_report

    reports = {path: read_report(path) for path in paths if not path.is_dir()}
    plans = {path: read_plan(path) for path in paths if path.is_dir()}
    for path, read in reports.items():
        _require_priced(Reported(path=path, report=read, plan=None), target, law)
    laws = [read.cost.adc_law for read in reports.values()]
    law = law or next((each for each in laws if each in hw_models.laws()), None)
    if one_law and plans and law is None:
        law = (target or next(iter(plans.values())).target).adc.law
    reports |= {path: plan_report(plan, target or plan.target, law) for path, plan in plans.items()}
    return [Reported(path=path, report=reports[path], plan=plans.get(path)) for path in paths]


def _require_priced(opened: Reported, target: "Target | None", law: str | None) -> None:
    """Refuse a report that has not the hardware or the law that is asked for."""
    import hw_models
    from bsc.report.build import target_sha256

    if target is not None and opened.report.cost.target_sha256 != target_sha256(target):
        require_plan(opened, "--hw")
    if law is not None and opened.report.cost.adc_law != hw_models.load_law(law).name:
        require_plan(opened, "--adc-law")


def require_plan(opened: Reported, option: str) -> "Plan":
    """The plan of something that was opened.

    Raises:
        UsageError: BSC201 if it is a report file.
    """
    if opened.plan is None:
        raise UsageError(
            "BSC201",
            f"{option} needs plan folders",
            seen=f"'{opened.path}', a report, which has finished figures alone",
            fix=f"give the folder of that plan, or leave {option} out",
        )
    return opened.plan
