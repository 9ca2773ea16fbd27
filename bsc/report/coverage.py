"""What becomes of a model's operators, as text and for programs."""

from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Group, RenderableType

from bsc.frontend.coverage import Coverage
from bsc.report.text import new_table, plain_text
from bsc.units import UNKNOWN, format_si

PLACES = ("crossbar", "digital", "unsupported")


@dataclass(frozen=True, eq=False, kw_only=True)
class CoverageReport:
    """What `bsc check` prints.

    Attributes:
        found: the findings.
    """

    found: Coverage

    def __rich__(self) -> RenderableType:
        found = self.found
        nodes = new_table("Operators", ("name", "operator", "computed", "MACs", "reason", "fix"), 6, numbers={3})
        for node in found.nodes:
            macs = UNKNOWN if node.macs is None else format_si(node.macs, "").rstrip() if node.macs else "."
            nodes.add_row(node.name, node.operator, node.place, macs, node.reason, node.fix)
        totals = new_table("By type", ("operator", *PLACES), 1)
        for operator, counts in found.operators.items():
            totals.add_row(operator, *(str(counts[place] or ".") for place in PLACES))
        summary = plain_text(*self._lines())
        return Group(nodes, totals, summary) if found.nodes else summary

    def _lines(self) -> list[str]:
        found = self.found
        lines = [f"model         {found.model}"]
        if found.nodes:
            share = UNKNOWN if found.crossbar_share is None else f"{found.crossbar_share:.1%}"
            total, macs = format_si(sum(found.macs.values()), "").rstrip(), found.macs
            lines += [
                f"on crossbars  {share} of {total} multiply-accumulates (MACs) of one inference",
                f"digital       {_count(macs['activations'])} in products of two activations, "
                f"{_count(macs['digital'])} in other operators",
            ]
        if found.not_counted:
            lines.append(f"not counted   {', '.join(found.not_counted)}")
        refusals = ", ".join(error.code for error in found.refusals)
        lines.append(f"compiles      {f'no: {refusals}' if refusals else 'yes'}")
        return lines


def coverage_json(found: Coverage) -> dict[str, Any]:
    """What `bsc check --json` prints."""
    return {
        "model": found.model,
        "compiles": not found.refusals,
        "refusals": [
            {"code": error.code, "problem": error.problem, "seen": error.seen, "fix": error.fix}
            for error in found.refusals
        ],
        "nodes": [asdict(node) for node in found.nodes],
        "operators": {name: {place: counts[place] for place in PLACES} for name, counts in found.operators.items()},
        "macs": {**found.macs, "crossbar_share": found.crossbar_share, "not_counted": list(found.not_counted)},
    }


def _count(macs: int) -> str:
    return format_si(macs, "").rstrip()
