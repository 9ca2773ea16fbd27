"""The crossbars of a plan as a table: how full they are, and what their ADCs must resolve."""

from collections.abc import Sequence

import numpy as np
from rich.table import Table

from bsc.cost.crossbars import LayerCrossbars
from bsc.report.text import add_row, new_table
from bsc.units import UNKNOWN


def crossbar_table(layers: Sequence[LayerCrossbars]) -> Table:
    """A line for each slice of each layer, most significant first; resolutions that no crossbar has are left out."""
    used = sorted({int(bits) for layer in layers for bits in np.unique(layer.largest_bits[layer.allocated])})
    title = "Crossbars by ADC bits; non-zero of the cells in use"
    note = "; 0: no ADC of its own, or never read" if 0 in used else ""
    table = new_table(title + note, ("layer", "slice", "crossbars", "utilised", "non-zero", *map(str, used)))
    for layer in layers:
        for index in reversed(range(layer.allocated.shape[2])):
            existing = layer.allocated[:, :, index]
            count = int(existing.sum())
            cells = int((existing.sum(axis=2) * layer.cells).sum())
            nonzeros = int(layer.nonzeros[:, :, index][existing].sum())
            counts = [int(np.count_nonzero(layer.largest_bits[:, :, index][existing] == bits)) for bits in used]
            add_row(
                table,
                layer.name,
                str(index),
                str(count),
                f"{cells / (count * layer.size):.1%}" if count else UNKNOWN,
                f"{nonzeros / cells:.1%}" if cells else UNKNOWN,
                *(str(number) if number else "." for number in counts),
            )
    return table
