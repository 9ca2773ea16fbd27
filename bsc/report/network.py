"""The network of a plan as a table: its steps in the order they run, and what each reads."""

from collections import Counter
from collections.abc import Iterable, Mapping

from bsc.plan.document import PlanDocument
from bsc.report.table import Table
from bsc.report.text import new_table


def network_table(document: PlanDocument) -> Table:
    """Crossbar layers and digital operators; what a step reads is named by the step that makes it."""
    operators = {layer.name: layer.op_type for layer in document.layers}
    made_by = {tensor.name: f"input {tensor.name}" for tensor in document.inputs}
    table = new_table("Network", ("step", "", "operators", "reads"), 4)
    for number, step in enumerate(document.steps, 1):
        if step.layer is not None:
            place, what = "crossbars", f"{step.layer} ({operators[step.layer]})"
        else:
            place, what = "digital", operators_text(step.operators)
        table.add_row(str(number), place, what, _sources(step.inputs, made_by))
        made_by |= dict.fromkeys(step.outputs, f"step {number}")
    for tensor in document.outputs:
        table.add_row("", "output", tensor.name, _sources([tensor.name], made_by))
    return table


def digital_operators(document: PlanDocument) -> Counter[str]:
    """Digital operators of the whole network by ONNX type."""
    total: Counter[str] = Counter()
    for step in document.steps:
        total.update(step.operators)
    return total


def operators_text(operators: Mapping[str, int]) -> str:
    """Digital operators by ONNX type, in words."""
    return ", ".join(f"{name} ×{count}" for name, count in sorted(operators.items()))


def _sources(tensors: Iterable[str], made_by: Mapping[str, str]) -> str:
    return ", ".join(dict.fromkeys(made_by[tensor] for tensor in tensors)) or "nothing"
