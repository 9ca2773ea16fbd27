"""Whether the hardware has what a plan asks for: the size of its crossbars, and the resolution of every column."""

from collections.abc import Sequence

import numpy as np

from bsc.cost.counts import LayerCounts
from bsc.errors import UsageError
from bsc.hardware.target import Adc, Target
from bsc.mapping.layer import UNIFORM_POLICIES, MappedLayer


def require_arrays(layers: Sequence[MappedLayer], own: Target, other: Target) -> None:
    """Refuse to price a plan on hardware with other crossbars than it was made for.

    Prices of rows, columns and conversions hold for arrays of the hardware's own size. A plan that was made for another
    size than its target's, which is an option of the compiler, keeps that difference on hardware like its target.

    Args:
        layers: of the plan.
        own: hardware that the plan was compiled for.
        other: hardware to price it on.

    Raises:
        UsageError: BSC212.
    """
    sizes = {(layer.tile_rows, layer.tile_cols) for layer in layers}
    size = (other.crossbar.rows, other.crossbar.cols)
    if size == (own.crossbar.rows, own.crossbar.cols) or sizes == {size}:
        return
    seen = " and ".join(sorted(f"{rows}x{cols}" for rows, cols in sizes))
    raise UsageError(
        "BSC212",
        f"the crossbars of this plan are not those of '{other.name}'",
        seen=f"{seen} in the plan, for '{own.name}'; {size[0]}x{size[1]} on '{other.name}'",
        fix=f"compile the model again with --hw {other.name}, or with --xbar {size[0]}x{size[1]}",
    )


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
