"""One crossbar of a plan: what its cells hold, and what its converters resolve."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bsc.api.shown import Shown
from bsc.mapping.arrays import LayerArrays
from bsc.mapping.layer import MappedLayer
from bsc.plan.cells import POLARITIES, CrossbarIndex, crossbar_cells, crossbar_columns, crossbar_part
from bsc.report.places import Places

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True, eq=False, repr=False)
class Crossbar(Shown):
    """A crossbar: one slice and one sign of one row tile and one column tile of a layer.

    Attributes:
        layer: record of the layer.
        arrays: of the layer.
        index: which of its crossbars.
        places: names of places; None to leave out where it lies.
    """

    layer: MappedLayer
    arrays: LayerArrays
    index: CrossbarIndex
    places: Places | None = None

    @cached_property
    def levels(self) -> NDArray[np.uint8]:
        """Levels of the cells in use, (rows, columns), 0 to 2**cell bits - 1, as they are programmed."""
        return crossbar_cells(self.layer, self.arrays, self.index)

    @property
    def adc_bits(self) -> NDArray[np.uint8]:
        """Resolution of each conversion in bits, (groups of rows driven together, columns); 0 is never converted."""
        return self._part(self.arrays.adc_bits)

    @property
    def adc_lsb(self) -> NDArray[np.uint8]:
        """Step of each conversion in whole cell units, (groups of rows driven together, columns)."""
        return self._part(self.arrays.adc_lsb)

    @property
    def sums(self) -> NDArray[np.int64]:
        """Sum of the cells of each column, (groups of rows driven together, columns), as the plan records it."""
        return self._part(self.arrays.sums).astype(np.int64)

    @property
    def columns(self) -> range:
        """Which of the layer's mapped columns lie on it."""
        return crossbar_columns(self.layer, self.index.column_tile)

    def _part(self, array: NDArray[Any]) -> NDArray[Any]:
        return crossbar_part(self.layer, array, self.index)

    def __rich__(self) -> "RenderableType":
        from bsc.report.crossbars import CrossbarReport

        return CrossbarReport(layer=self.layer, arrays=self.arrays, index=self.index, places=self.places)

    def _line(self) -> str:
        index, (rows, columns) = self.index, self.levels.shape
        bits = int(self.adc_bits.max(initial=0))
        return (
            f"of '{self.layer.name}': row tile {index.row_tile}, column tile {index.column_tile}, slice {index.slice}, "
            f"{POLARITIES[index.polarity]}; {rows}×{columns} cells, {bits} ADC bits at most"
        )
