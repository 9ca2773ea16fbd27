"""What resolutions rest on that are not proved, and what a plan only records, in words."""

from collections.abc import Iterable

from bsc.plan.document import BudgetRecord, PlanDocument
from bsc.report.document import PlanTotals, ReportDocument


def basis_notes(report: ReportDocument) -> list[str]:
    """Lines for the notes below a report; none for a plan whose accuracy and column sums were not looked at."""
    return [*_observed_note(report.totals), *_unread_note(report.totals), *_budget_note(report.plan.budget)]


def recorded(plans: Iterable[PlanDocument]) -> str:
    """What reports show that does not follow from a plan, so that neither opening nor proving one derives it again."""
    documents = list(plans)
    shown = [
        ("the pipeline", True),
        ("notes", any(plan.model.notes for plan in documents)),
        ("the check of the import", any(plan.model.check is not None for plan in documents)),
        ("where input steps come from", any(plan.calibration is not None for plan in documents)),
        ("observed sums", any(layer.observed is not None for plan in documents for layer in plan.layers)),
        ("how copies were chosen", any(layer.placed is not None for plan in documents for layer in plan.layers)),
        ("the accuracy test", any(plan.budget is not None for plan in documents)),
    ]
    return f"{', '.join(name for name, there in shown if there)}: nothing in a plan can show that they are true"


def _observed_note(totals: PlanTotals) -> list[str]:
    """What the columns rest on that are not proved: none of N vectors made them lose something."""
    seen, lines = totals.observed, []
    if seen is None:
        return []
    if totals.observed_lossless_columns:
        lines += [
            f"{totals.observed_lossless_columns} more lost nothing in {seen.lossless_conversions} conversions of "
            f"calibration data, {seen.fewest_conversions} or more each:",
            f"of further input vectors like these at most {seen.overflow_bound_95:.1e} make a given one of them lose",
            "something, with 95 % confidence; as recorded",
        ]
    if seen.losing:
        lines.append(f"{seen.losing} lose something on calibration data, as recorded")
    return [f"{'':18}{line}" for line in lines]


def _unread_note(totals: PlanTotals) -> list[str]:
    unread = totals.unread_crossbars
    text = f"{'':18}{unread} crossbars that hold weights are left out, not being worth their energy"
    return [text] if unread else []


def _budget_note(budget: BudgetRecord | None) -> list[str]:
    if budget is None:
        return []
    asked = "" if budget.max_drop is None else f", of {100 * budget.max_drop:g} allowed"
    where = "the half of the calibration data kept for it" if budget.split else "held-out data"
    chips = [] if budget.device is None else [f"{'':18}each sample ran on a chip of {budget.device} of its own"]
    return [
        f"accuracy          {100 * budget.drop:.2f} points below the quantised model{asked}, and below "
        f"{100 * budget.drop_bound:.2f} with {budget.confidence:.0%} confidence:",
        f"{'':18}of {budget.samples} samples {budget.lost} lost, {budget.gained} gained, on {where}; as recorded",
        *chips,
    ]
