"""The crossbars of a plan as a table: how full they are, and what their ADCs must resolve."""

from collections.abc import Sequence

import numpy as np
from rich.table import Table

from bsc.cost.crossbars import CrossbarTable
from bsc.report.text import add_row, new_table
from bsc.units import UNKNOWN


def slice_table(layers: Sequence[CrossbarTable]) -> Table:
    """A line for each slice of each layer, most significant first; resolutions that no crossbar has are left out."""
    used = sorted({int(bits) for layer in layers for bits in np.unique(layer.adc_bits)})
    title = "Crossbars by ADC bits; non-zero of the cells in use" + ("; 0: never read" if 0 in used else "")
    table = new_table(title, ("layer", "slice", "crossbars", "utilised", "non-zero", *map(str, used)))
    for layer in layers:
        for number in reversed(range(layer.layer.slices)):
            here = layer.index[:, 2] == number
            count, weights = int(here.sum()), int(layer.weights[here].sum())
            counts = [int(np.count_nonzero(layer.adc_bits[here] == bits)) for bits in used]
            add_row(
                table,
                layer.layer.name,
                str(number),
                str(count),
                f"{weights / (count * layer.capacity):.1%}" if count else UNKNOWN,
                f"{layer.nonzeros[here].sum() / weights:.1%}" if weights else UNKNOWN,
                *(str(each) if each else "." for each in counts),
            )
    return table
