"""Whether the hardware can give every slice column the resolution that a plan assigns to it."""

from collections.abc import Sequence

import numpy as np

from bsc.cost.counts import LayerCounts
from bsc.hardware.target import Adc
from bsc.mapping.layer import UNIFORM_POLICIES, MappedLayer


def not_offered(layers: Sequence[MappedLayer], counts: Sequence[LayerCounts], adc: Adc) -> list[str]:
    """Names of the layers whose resolutions the converters cannot have.

    Args:
        layers: records of a plan.
        counts: of the same layers.
        adc: the converters. Where they are `fixed`, every conversion must have their resolution.
    """
    return [layer.name for layer, each in zip(layers, counts, strict=True) if not _fits(layer, each, adc)]


def _fits(layer: MappedLayer, counts: LayerCounts, adc: Adc) -> bool:
    if adc.granularity.value == "fixed":
        return set(np.flatnonzero(counts.conversions).tolist()) <= {adc.bits}
    return layer.adc_policy in UNIFORM_POLICIES or adc.offers(layer.adc_granularity)
