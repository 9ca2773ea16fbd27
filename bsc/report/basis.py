"""What resolutions rest on that are not proved, in words."""

from bsc.plan.document import BudgetRecord
from bsc.report.document import PlanTotals, ReportDocument


def basis_notes(report: ReportDocument) -> str:
    """Whole lines for the notes below a report; none for a plan whose accuracy and column sums were not looked at."""
    return f"{_observed_note(report.totals)}{_unread_note(report.totals)}{_budget_note(report.plan.budget)}"


def _observed_note(totals: PlanTotals) -> str:
    """What the columns rest on that are not proved: none of N vectors made them lose something."""
    seen, lines = totals.observed, []
    if seen is None:
        return ""
    if totals.observed_lossless_columns:
        lines += [
            f"{totals.observed_lossless_columns} more lost nothing in {seen.lossless_conversions} conversions of "
            f"calibration data, {seen.fewest_conversions} or more each:",
            f"of further input vectors like these at most {seen.overflow_bound_95:.1e} make a given one of them lose",
            "something, with 95 % confidence",
        ]
    if seen.losing:
        lines.append(f"{seen.losing} lose something on calibration data")
    return "".join(f"{'':18}{line}\n" for line in lines)


def _unread_note(totals: PlanTotals) -> str:
    unread = totals.unread_crossbars
    text = f"{'':18}{unread} crossbars that hold weights are left out, not being worth their energy\n"
    return text if unread else ""


def _budget_note(budget: BudgetRecord | None) -> str:
    if budget is None:
        return ""
    asked = "" if budget.max_drop is None else f", of {100 * budget.max_drop:g} allowed"
    where = "the half of the calibration data kept for it" if budget.split else "held-out data"
    return (
        f"accuracy          {100 * budget.drop:.2f} points below the quantised model{asked}, and below "
        f"{100 * budget.drop_bound:.2f} with {budget.confidence:.0%} confidence:\n"
        f"{'':18}of {budget.samples} samples {budget.lost} lost, {budget.gained} gained, on {where}\n"
    )
