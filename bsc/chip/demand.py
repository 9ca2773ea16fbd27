"""What the layers of a mapping ask of a chip, and what places for crossbars a chip has."""

from collections.abc import Sequence

from bsc.cost.counts import LayerCounts
from bsc.cost.price import add, energy_by_action, read_s
from bsc.hardware.adc_law import AdcLaw
from bsc.hardware.target import Target
from bsc.mapping.layer import MappedLayer
from bsc.mapping.placement import Floor, LayerDemand


def layer_demands(
    layers: Sequence[MappedLayer], counts: Sequence[LayerCounts], target: Target, law: AdcLaw
) -> tuple[LayerDemand, ...]:
    """The demands of all layers, in the order they run.

    Args:
        layers: of a mapping.
        counts: of the same layers, or of the same layers in a baseline.
        target: the hardware.
        law: how the price of a conversion follows its resolution.
    """

    def demand(layer: MappedLayer, each: LayerCounts) -> LayerDemand:
        crossbars = int(each.crossbars.sum())
        return LayerDemand(
            name=layer.name,
            crossbars=crossbars,
            vectors=layer.vectors,
            vector_s=each.reads * read_s(each, target) / layer.vectors if crossbars else 0.0,
            energy_j=add(energy_by_action(each, target, law).values()),
        )

    return tuple(demand(layer, each) for layer, each in zip(layers, counts, strict=True))


def floor_of(target: Target) -> Floor:
    """The places for crossbars of a design.

    Where there is a level between arrays and chip, the smallest units of it take crossbars of one layer only.
    """
    counts = tuple(level.count for level in target.level if level.count is not None)
    return Floor(levels=counts, shared=counts[0] if len(counts) > 1 else 1)
