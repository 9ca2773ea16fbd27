"""The crossbars of a plan as a table: how full they are, and what their ADCs must resolve; and one crossbar in full."""

from dataclasses import dataclass

import numpy as np
from rich.console import Group, RenderableType

from bsc.mapping.arrays import LayerArrays
from bsc.mapping.layer import MappedLayer
from bsc.plan.cells import CrossbarIndex, crossbar_cells, crossbar_columns, crossbar_part
from bsc.report.document import ReportDocument
from bsc.report.places import Places
from bsc.report.table import Table
from bsc.report.text import new_table, plain_text
from bsc.units import UNKNOWN


def slice_table(report: ReportDocument) -> Table:
    """A line for each slice of each layer, most significant first; resolutions that no crossbar has are left out."""
    used = sorted(report.totals.crossbars_by_adc_bits, key=int)
    title = "Crossbars by ADC bits; non-zero of the cells in use" + ("; 0: never read" if "0" in used else "")
    table = new_table(title, ("layer", "slice", "crossbars", "utilised", "non-zero", *used))
    for layer in report.plan.layers:
        slices = report.layers[layer.name].slices
        for number, part in reversed(list(enumerate(slices))):
            counts = (part.crossbars_by_adc_bits.get(bits, 0) for bits in used)
            table.add_row(
                layer.name,
                str(number),
                str(part.crossbars),
                f"{part.utilisation:.1%}" if part.crossbars else UNKNOWN,
                UNKNOWN if part.nonzero_share is None else f"{part.nonzero_share:.1%}",
                *(str(count) if count else "." for count in counts),
            )
    return table


@dataclass(frozen=True, eq=False, kw_only=True)
class CrossbarReport:
    """One crossbar in full: what the report of a plan does not have, straight from its arrays.

    Attributes:
        layer: its layer.
        arrays: of the layer.
        index: which crossbar.
        places: names of places; None to leave out where it lies.
    """

    layer: MappedLayer
    arrays: LayerArrays
    index: CrossbarIndex
    places: Places | None = None

    def __rich__(self) -> RenderableType:
        levels = crossbar_cells(self.layer, self.arrays, self.index)
        columns = np.array(crossbar_columns(self.layer, self.index.column_tile))
        groups = self.layer.groups_per_tile
        model_columns = columns if self.arrays.kept_columns is None else self.arrays.kept_columns[columns]
        names = ("bitline", "model column", "non-zero cells", "sum of levels", "ADC bits", "ADC step")
        title = "Bitlines" if groups == 1 else f"Bitlines; largest of the {groups} row groups"
        table = new_table(title, names, 0)
        shown = (self.arrays.nonzeros, self.arrays.sums, self.arrays.adc_bits, self.arrays.adc_lsb)
        largest = (crossbar_part(self.layer, array, self.index).max(axis=0) for array in shown)
        for bitline, row in enumerate(zip(model_columns, *largest, strict=True)):
            table.add_row(str(bitline), *map(str, row))
        density = np.count_nonzero(levels) / max(1, levels.size)
        lines = [
            f"crossbar   {self.layer.name} {self.index} (row tile, column tile, slice, sign)",
            f"cells      {levels.shape[0]} rows x {levels.shape[1]} columns in use, {density:.1%} non-zero",
        ]
        if self.places is not None:
            lines.append(f"placed     {self.places.of_crossbar(self.layer.placed, self._number())}")
        return Group(plain_text(*lines, ""), table)

    def _number(self) -> int:
        """Of the crossbar in a copy, which has a place for each that could be if it shares them with other layers."""
        index, allocated, placed = self.index, self.arrays.allocated, self.layer.placed
        place = (index.row_tile, index.column_tile, index.slice, index.polarity)
        position = int(np.ravel_multi_index(place, allocated.shape))
        if placed is not None and placed.crossbars_per_copy == allocated.size:
            return position
        return int(np.count_nonzero(allocated.ravel()[:position]))
