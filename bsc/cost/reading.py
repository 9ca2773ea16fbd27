"""What reading each conversion and each crossbar costs, for passes that weigh it against what it is good for.

Prices are what the counters add for one more conversion, row, column or crossbar, so that what a pass minimises is what
the cost model charges, whatever the target counts.
"""

import math
from dataclasses import replace

import numpy as np

from bsc.cost.counters import Activity, conversion_actions, require_counters
from bsc.cost.counts import RESOLUTIONS, LayerCounts, count, crossbar_load
from bsc.cost.price import energy_by_action
from bsc.errors import UsageError
from bsc.hardware.adc_law import AdcLaw
from bsc.hardware.target import Target
from bsc.ir.graph import ReadingPrices
from bsc.mapping.arrays import LayerArrays
from bsc.mapping.layer import MappedLayer


def reading_prices(layer: MappedLayer, arrays: LayerArrays, target: Target, law: AdcLaw) -> ReadingPrices:
    """What reading a layer costs: summed over what is read, all of its energy that depends on what is read.

    Left out is a row tile that is driven for the sum of its inputs alone, where none of its crossbars is read.

    Args:
        layer: the layer.
        arrays: of the layer; its ADCs are not looked at.
        target: the hardware.
        law: how the price of a conversion follows its resolution.

    Raises:
        UsageError: BSC206 if the target has no price for conversions, or cannot be counted.
    """
    require_counters(target)
    for name in conversion_actions(target):
        if target.actions()[name].energy_j is None:
            raise UsageError(
                "BSC206",
                f"target '{target.name}' gives no energy of a conversion",
                seen=f"no energy_j in action '{name}'",
                fix="add it to the hardware description, or choose another ADC policy",
            )
    nothing = Activity(
        rows=layer.mapped_rows,
        groups=1,
        conversions=np.zeros(RESOLUTIONS, np.int64),
        crossbars=np.zeros(RESOLUTIONS, np.int64),
        rows_driven=0,
        columns_sampled=0,
        conversions_per_read=0,
        bits_per_read=0,
    )
    idle = count(layer, nothing)

    def price_j(activity: Activity) -> float:
        """What an activity costs beyond none."""
        more = _more(count(layer, activity), idle)
        return math.fsum(value for value in energy_by_action(more, target, law).values() if value is not None)

    one = np.eye(RESOLUTIONS, dtype=np.int64)
    known = np.isfinite(law.energy)
    conversion_j = np.array(
        [price_j(replace(nothing, conversions=one[bits])) if known[bits] else np.nan for bits in range(RESOLUTIONS)]
    )
    conversion_j[0] = 0.0  # no conversion
    row_j, column_j = price_j(replace(nothing, rows_driven=1)), price_j(replace(nothing, columns_sampled=1))
    load = crossbar_load(layer)
    each_j = price_j(replace(nothing, crossbars=one[0])) + load.rows * row_j
    unit_j = np.nan_to_num(conversion_j[load.unit_bits]) + column_j
    each_j = each_j + np.outer(load.reads * unit_j, load.unit_columns)
    held_j = np.outer(load.reads, load.columns) * column_j
    crossbars = arrays.allocated
    if layer.cells.analog_pairs:  # both crossbars of a pair are driven, one sum is held
        crossbars = crossbars.sum(axis=3, keepdims=True)
    crossbar_j = crossbars * each_j[..., None, None] + (crossbars > 0) * held_j[..., None, None]
    return ReadingPrices(conversion_j=conversion_j, crossbar_j=crossbar_j)


def _more(counts: LayerCounts, than: LayerCounts) -> LayerCounts:
    return replace(
        counts,
        conversions=counts.conversions - than.conversions,
        counters={name: number - than.counters[name] for name, number in counts.counters.items()},
    )
