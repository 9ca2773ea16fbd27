"""Layers as the rows of tables: what a report has of each, gathered."""

from dataclasses import dataclass

from bsc.mapping.layer import MappedLayer
from bsc.report.document import LayerSpend, LayerTotals, ReportDocument
from bsc.units import ratio


@dataclass(frozen=True, eq=False, kw_only=True)
class LayerRow:
    """One layer.

    Attributes:
        layer: its record in the plan.
        totals: of its mapping.
        spend: its cost on the plan.
        uniform: its cost on the uniform 8-bit baseline.
        offset: its cost in ISAAC's offset encoding.
    """

    layer: MappedLayer
    totals: LayerTotals
    spend: LayerSpend
    uniform: LayerSpend
    offset: LayerSpend

    @property
    def saving(self) -> float | None:
        """Energy on the uniform baseline over that on the plan."""
        return ratio(self.uniform.energy_j, self.spend.energy_j)


def layer_rows(report: ReportDocument) -> list[LayerRow]:
    """The layers in the order of the plan."""
    cost = report.cost
    return [
        LayerRow(
            layer=layer,
            totals=report.layers[layer.name],
            spend=cost.plan.layers[layer.name],
            uniform=cost.uniform_8_bit.layers[layer.name],
            offset=cost.isaac_offset_8_bit.layers[layer.name],
        )
        for layer in report.plan.layers
    ]
