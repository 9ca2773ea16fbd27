"""What the floorplan of a page knows: places, a few numbers of every crossbar, and the cells of as many as have room.

Numbers travel as little-endian arrays, deflated and in base64; the page's script unpacks them with the browser's own
`DecompressionStream`. Copies of a layer are alike, so that the page has the numbers of one of them.
"""

import base64
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bsc.cost.crossbars import CrossbarTable, mapping_crossbars
from bsc.mapping.arrays import LayerArrays
from bsc.mapping.layer import MappedLayer
from bsc.mapping.model import MappedModel
from bsc.plan.cells import POLARITIES, CrossbarIndex, crossbar_cells, crossbar_part
from bsc.report.document import LayerOnChip, ReportDocument, TargetLevel

# Type of every array of the page, as NumPy and as JavaScript name it.
SHIPPED = {
    "row_tile": ("<u2", "Uint16Array"),
    "column_tile": ("<u2", "Uint16Array"),
    "slice": ("u1", "Uint8Array"),
    "polarity": ("u1", "Uint8Array"),
    "rows": ("<u2", "Uint16Array"),
    "columns": ("<u2", "Uint16Array"),
    "weights": ("<u4", "Uint32Array"),
    "nonzeros": ("<u4", "Uint32Array"),
    "adc_bits": ("u1", "Uint8Array"),
    "mean_bits": ("<f4", "Float32Array"),
}


@dataclass(frozen=True, eq=False, kw_only=True)
class Floorplan:
    """Crossbars of a placed plan, and where the copies of its layers lie.

    Attributes:
        tables: the crossbars of one copy of each layer, those left out that hold a unit column alone.
        levels: of the hardware, that of the crossbars first.
        placed: copies and places, by name of the layer.
    """

    tables: tuple[CrossbarTable, ...]
    levels: tuple[TargetLevel, ...]
    placed: Mapping[str, LayerOnChip]

    @classmethod
    def of(cls, mapping: MappedModel, report: ReportDocument) -> "Floorplan":
        """Of a mapping, placed as its report says; reads each layer's arrays once.

        Of layers that are loaded in segments, those of the first.
        """
        on = report.chip.layers
        tables = tuple(table for table in mapping_crossbars(mapping) if on[table.layer.name].segment == 0)
        return cls(tables=tables, levels=tuple(report.cost.levels), placed=report.chip.layers)

    def data(self) -> dict[str, Any]:
        """Everything but the cells, ready for JSON."""
        whole = {
            name: np.concatenate([np.zeros(0, kind), *(_column(table, name) for table in self.tables)]).astype(kind)
            for name, (kind, _) in SHIPPED.items()
        }
        return {
            "levels": [level.model_dump() for level in self.levels],
            "layers": [self._layer(table) for table in self.tables],
            "polarities": POLARITIES,
            "arrays": {name: {"type": SHIPPED[name][1], "data": pack(array)} for name, array in whole.items()},
        }

    def _layer(self, table: CrossbarTable) -> dict[str, Any]:
        """A layer: its place, how many of the crossbars of a copy are in the arrays, and the levels of its cells."""
        on = self.placed[table.layer.name]
        return {
            "name": table.layer.name,
            "first_slot": on.first_slot,
            "copies": on.copies,
            "crossbars_per_copy": on.crossbars_per_copy,
            "crossbars": len(table.index),
            "shared": self._shared_places(table),
            "capacity": table.capacity,
            "tops": [(1 << bits) - 1 for bits in table.layer.slice_bits],
        }

    def _shared_places(self, table: CrossbarTable) -> list[int] | None:
        """Of a layer that shares crossbars, the place in a copy of each of its own; None of one that does not.

        Such a copy has a place for every slice and polarity, those included that are not allocated.
        """
        name = table.layer.name
        on = self.placed[name]
        others = [
            each
            for other, each in self.placed.items()
            if other != name and each.segment == on.segment and each.crossbars_per_copy
        ]
        if all(each.first_slot != on.first_slot for each in others):
            return None
        return [int(each) for each in table.index[:, 2] * table.layer.cells.polarities + table.index[:, 3]]


def cells(mapping: MappedModel, floorplan: Floorplan, room: int) -> dict[str, dict[str, str]]:
    """The cells and ADC settings of as many crossbars as fit, by their number in the floorplan.

    Layers have equal shares of the room, and what small ones leave goes to the others. Of each layer, first tiles and
    upper slices come first.

    Args:
        mapping: arrays of each layer are read once.
        floorplan: of that mapping.
        room: bytes that they may take as JSON.
    """
    sizes = [len(table.index) for table in floorplan.tables]
    first = np.cumsum([0, *sizes])
    packed: dict[str, dict[str, str]] = {}
    for done, position in enumerate(np.argsort(sizes, kind="stable").tolist()):
        layer, index = floorplan.tables[position].layer, floorplan.tables[position].index
        share = room // (len(sizes) - done)
        room -= share
        arrays = mapping.arrays(layer)
        for rank in np.lexsort((index[:, 3], -index[:, 2], index[:, 1], index[:, 0])).tolist():
            entry = _crossbar(layer, arrays, CrossbarIndex(**dict(zip(_INDEX, index[rank].tolist(), strict=True))))
            share -= sum(map(len, entry.values())) + _JSON_OVERHEAD
            if share < 0:
                break
            packed[str(first[position] + rank)] = entry
        room += max(share, 0)
    return packed


def pack(array: NDArray[Any]) -> str:
    """Bytes of an array, deflated, in base64."""
    return base64.b64encode(zlib.compress(array.tobytes(), 9)).decode("ascii")


_INDEX = ("row_tile", "column_tile", "slice", "polarity")
_JSON_OVERHEAD = 64


def _column(table: CrossbarTable, name: str) -> NDArray[Any]:
    return table.index[:, _INDEX.index(name)] if name in _INDEX else np.asarray(getattr(table, name))


def _crossbar(layer: MappedLayer, arrays: LayerArrays, index: CrossbarIndex) -> dict[str, str]:
    """Levels (rows, columns), and bits and steps (columns,): the largest of its row groups."""
    return {
        "levels": pack(crossbar_cells(layer, arrays, index)),
        "bits": pack(crossbar_part(layer, arrays.adc_bits, index).max(axis=0)),
        "steps": pack(crossbar_part(layer, arrays.adc_lsb, index).max(axis=0)),
    }
