"""Layers as the rows of tables: what a report has of each, gathered, and the figures that follow from its slices."""

from collections.abc import Sequence
from dataclasses import dataclass

from bsc.cost.price import ratio
from bsc.plan.document import PlanLayer
from bsc.report.document import LayerFigures, LayerSpend, ReportDocument, SliceFigures


@dataclass(frozen=True, eq=False, kw_only=True)
class LayerRow:
    """One layer.

    Attributes:
        layer: its record in the plan.
        figures: of its mapping.
        spend: its cost on the plan.
        uniform: its cost on the uniform 8-bit baseline.
        offset: its cost in ISAAC's offset encoding.
        conversions: of one inference.
    """

    layer: PlanLayer
    figures: LayerFigures
    spend: LayerSpend
    uniform: LayerSpend
    offset: LayerSpend
    conversions: int

    @property
    def adc_energy_j(self) -> float | None:
        """Energy of the conversions."""
        return self.spend.adc_energy_j

    @property
    def saving(self) -> float | None:
        """Energy on the uniform baseline over that on the plan."""
        return ratio(self.uniform.energy_j, self.spend.energy_j)

    @property
    def mean_bits(self) -> float | None:
        """Bits assigned, as `mean_bits`."""
        return mean_bits(self.figures.slices)

    @property
    def largest_bits(self) -> int:
        """The largest resolution assigned."""
        return largest_bits(self.figures.slices)

    @property
    def proved_share(self) -> float | None:
        """What is proved to lose nothing, as `proved_share`."""
        return proved_share(self.figures.slices)


def layer_rows(report: ReportDocument) -> list[LayerRow]:
    """The layers in the order of the plan."""
    cost = report.cost
    return [
        LayerRow(
            layer=layer,
            figures=report.layers[layer.name],
            spend=cost.plan.layers[layer.name],
            uniform=cost.uniform_8_bit.layers[layer.name],
            offset=cost.isaac_offset_8_bit.layers[layer.name],
            conversions=sum(cost.conversions[layer.name].values()),
        )
        for layer in report.plan.layers
    ]


def mean_bits(slices: Sequence[SliceFigures]) -> float | None:
    """Bits assigned, mean over all columns or pairs, those never converted as 0; None where there are none."""
    counts = [(int(bits), count) for part in slices for bits, count in part.assigned_bits.items()]
    conversions = sum(count for _, count in counts)
    return sum(bits * count for bits, count in counts) / conversions if conversions else None


def largest_bits(slices: Sequence[SliceFigures]) -> int:
    """The largest resolution assigned; 0 where nothing is converted."""
    return max((int(bits) for part in slices for bits in part.assigned_bits), default=0)


def proved_share(slices: Sequence[SliceFigures]) -> float | None:
    """Share of all columns or pairs that is proved to lose nothing; None where there are none."""
    conversions = sum(part.conversions for part in slices)
    return sum(part.lossless for part in slices) / conversions if conversions else None
