"""Every crossbar of a plan: how full it is, what it holds, and what its ADC must resolve."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bsc.cost.counts import largest_bits
from bsc.numeric.tiles import column_widths, per_crossbar, per_tile
from bsc.plan.document import LayerArrays, Plan, PlanLayer


@dataclass(frozen=True, eq=False, kw_only=True)
class LayerCrossbars:
    """The crossbars of one layer; T row tiles, C column tiles, S slices, P polarities.

    Attributes:
        name: of the layer.
        size: cells of one crossbar.
        allocated: which crossbars exist, bool (T, C, S, P).
        cells: cells of a crossbar that hold a slice of a weight, zero or not, int64 (T, C).
        nonzeros: cells above 0, int64 (T, C, S, P).
        largest_bits: largest resolution of its ADC, unit columns included, uint8 (T, C, S, P); 0 where nothing is
            converted, or the pair's other crossbar has the ADC.
    """

    name: str
    size: int
    allocated: NDArray[np.bool_]
    cells: NDArray[np.int64]
    nonzeros: NDArray[np.int64]
    largest_bits: NDArray[np.uint8]


def plan_crossbars(plan: Plan) -> list[LayerCrossbars]:
    """The crossbars of every layer; reads each layer's arrays once."""
    return [layer_crossbars(layer, plan.arrays(layer)) for layer in plan.layers]


def layer_crossbars(layer: PlanLayer, arrays: LayerArrays) -> LayerCrossbars:
    """The crossbars of one layer."""
    _, starts = layer.column_tiles()
    rows = np.minimum(layer.mapped_rows - np.arange(0, layer.mapped_rows, layer.tile_rows), layer.tile_rows)
    nonzeros = per_crossbar(np.add, arrays.nonzeros.astype(np.int64), starts)
    return LayerCrossbars(
        name=layer.name,
        size=layer.tile_rows * layer.tile_cols,
        allocated=arrays.allocated,
        cells=np.outer(rows, column_widths(starts, layer.mapped_columns)),
        nonzeros=per_tile(np.add, nonzeros, layer.groups_per_tile),
        largest_bits=largest_bits(layer, arrays, starts),
    )
