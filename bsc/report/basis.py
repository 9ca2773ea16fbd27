"""What resolutions rest on that are not proved, in words."""

from collections.abc import Sequence

from bsc.plan.document import BudgetRecord
from bsc.plan.summary import RULE_OF_THREE, LayerSummary


def basis_notes(summaries: Sequence[LayerSummary], budget: BudgetRecord | None) -> str:
    """Whole lines for the notes below a report; none for a plan whose accuracy and column sums were not looked at."""
    return f"{_observed_note(summaries)}{_unread_note(summaries)}{_budget_note(budget)}"


def _observed_note(summaries: Sequence[LayerSummary]) -> str:
    """What the columns rest on that are not proved: 0 of N conversions lost something, so p <= 3 / N with 95 %."""
    seen = [(summary, summary.layer.observed) for summary in summaries if summary.layer.observed is not None]
    covered = [(summary.covered, record.conversions) for summary, record in seen if summary.covered]
    losing = sum(summary.conversions - summary.lossless - summary.covered for summary, _ in seen)
    lines = []
    if covered:
        fewest = min(conversions for _, conversions in covered)
        pooled = sum(columns * conversions for columns, conversions in covered)
        lines += [
            f"{sum(columns for columns, _ in covered)} more lost nothing in {pooled} conversions of calibration data, "
            f"{fewest} or more each:",
            f"with 95 % confidence at most {RULE_OF_THREE / fewest:.1e} of further ones like them do",
        ]
    if losing:
        lines.append(f"{losing} lose something on calibration data")
    return "".join(f"{'':18}{line}\n" for line in lines)


def _unread_note(summaries: Sequence[LayerSummary]) -> str:
    unread = sum(summary.unread_crossbars for summary in summaries)
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
