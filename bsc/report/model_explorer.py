"""Figures of layers as node data of Model Explorer, which colours the nodes of a model by them.

One file for each figure, as `GraphNodeData` of its package reads it: values by the name of a node, or of a tensor that
it writes (google-ai-edge/model-explorer, src/server/package/src/model_explorer/node_data_builder.py).
"""

from typing import Any, Final

from bsc.report.document import ReportDocument
from bsc.report.layer_csv import layer_columns

FIGURES: Final = (
    "energy_j", "adc_energy_j", "latency_s", "area_m2",
    "mean_adc_bits", "proved_share", "utilisation", "crossbars",
)  # fmt: skip
"""Columns of layers that are shown."""
GRADIENT: Final = ({"stop": 0, "bgColor": "#ffffff"}, {"stop": 1, "bgColor": "#d55e00"})
"""From the smallest value to the largest."""


def node_data(report: ReportDocument) -> dict[str, dict[str, Any]]:
    """By figure what a file holds; layers of which it is unknown are left out.

    A node is found by the name of its layer, or of the tensor that the layer writes: models without names have these.
    """
    columns = {column.name: column.cells for column in layer_columns(report)}
    written: dict[str, list[str]] = {}
    for step in report.plan.steps:
        if step.layer is not None:
            written.setdefault(step.layer, []).extend(step.outputs)
    found = {}
    for name in FIGURES:
        values = dict(zip((layer.name for layer in report.plan.layers), columns[name], strict=True))
        results = {
            key: {"value": value}
            for layer, value in values.items()
            if value is not None
            for key in (layer, *written[layer])
        }
        found[name] = {"results": results, "gradient": list(GRADIENT)}
    return found
