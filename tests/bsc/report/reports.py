"""Reports to test with."""

from typing import Any

import hw_models
from bsc.cost.compare import compare
from bsc.hardware.target import Target
from bsc.plan.document import Plan
from bsc.plan.folder import to_json
from bsc.report.build import report_document
from bsc.report.document import ReportDocument
from tests.bsc.plans import ISAAC

LAWS = hw_models.laws()


def report_of(plan: Plan, law: str = "isaac", target: Target = ISAAC) -> ReportDocument:
    """The report of a plan, on ISAAC by default."""
    return report_document(plan, compare(plan.mapping, target, LAWS[law], LAWS))


def read_back(report: ReportDocument) -> ReportDocument:
    """What report.json gives."""
    return ReportDocument.model_validate_json(to_json(report))


def changed(report: ReportDocument, path: str, value: Any) -> ReportDocument:
    """A report with another value at a path such as `cost.plan.energy_j`; keys of dictionaries are parts of it."""
    return ReportDocument.model_validate_json(_with(report, path.split("."), value).model_dump_json())


def _with(part: Any, names: list[str], value: Any) -> Any:
    name, *rest = names
    if isinstance(part, dict):
        return {**part, name: _with(part[name], rest, value) if rest else value}
    if isinstance(part, tuple):
        return tuple(
            (_with(each, rest, value) if rest else value) if index == int(name) else each
            for index, each in enumerate(part)
        )
    return part.model_copy(update={name: _with(getattr(part, name), rest, value) if rest else value})
