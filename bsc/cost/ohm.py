"""Energy of reading crossbars by Ohm's law: from the cells of a plan, and the digits that its rows are driven with.

A row at digit d of at most D has d / D of the read voltage over all cells of its wordline for the length of a pulse:

    energy = (read_v * d / D)**2 * conductance * pulse_s

A cell at level c of at most L conducts (c + o) / (L + o) of what one at level L does, o being L / (on/off ratio - 1).
Cells of bitlines that are not in use are at level 0, one for each bitline of a crossbar; a column of ones has level 1,
and a reference column level 0. Rows at digit 0 are off and conduct nothing, as in `bsc.replay.analog`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bsc.cost.counts import baseline_format, crossbars_alone, unit_columns
from bsc.hardware.device import Device
from bsc.mapping.arrays import LayerArrays
from bsc.mapping.layer import MappedLayer
from bsc.mapping.model import MappedModel
from bsc.numeric.encoding import CellFormat, Encoding
from bsc.numeric.quantizer import input_cycles
from bsc.numeric.tiles import column_tiles
from bsc.plan.cells import CrossbarIndex, crossbar_cells, crossbar_columns

DrivenRows = Mapping[str, NDArray[np.float64]]
"""By layer, of each row of the model: squares of its digits over that of the highest, summed over the input cycles and
vectors of one inference, float64 (G, K)."""


@dataclass(frozen=True, kw_only=True)
class CellEnergy:
    """What one cell takes of a read at the highest digit.

    Attributes:
        on_j: a cell at the highest level.
        off_share: conductance of level 0 over that of the highest level.
        reference: whether every crossbar has a further column of cells at level 0.
        pulse_s: how long it conducts.
    """

    on_j: float
    off_share: float
    reference: bool
    pulse_s: float

    @property
    def mean_j(self) -> float:
        """A cell at the mean conductance, driven every other time: of unknown weights and inputs."""
        return self.on_j * (1 + self.off_share) / 4


def cell_energy(device: Device, read_s: float) -> CellEnergy | None:
    """What a cell of a device takes; None where the device does not say how it is read.

    Args:
        device: the technology.
        read_s: of the hardware, for which a cell conducts where the device has no pulse.
    """
    if device.reading is None:
        return None
    reading, off = device.reading, device.off_current
    pulse_s = read_s if reading.pulse_s is None else reading.pulse_s.value
    return CellEnergy(
        on_j=reading.read_v.value**2 / reading.on_ohm.value * pulse_s,
        off_share=0.0 if off is None else 1 / off.on_off_ratio.value,
        reference=off is not None and off.reference_column,
        pulse_s=pulse_s,
    )


def all_driven(layer: MappedLayer) -> NDArray[np.float64]:
    """Every row at the highest digit of every cycle, as in `DrivenRows`: no input drives more."""
    cycles = input_cycles(layer.input_bits, signed=layer.input_signed, dac_bits=layer.dac_bits)
    squares = sum((((1 << width) - 1) / layer.max_digit) ** 2 for _, width, _ in cycles)
    return np.full((layer.groups, layer.rows), layer.vectors * squares)


def crossbars_j(mapping: MappedModel, cell: CellEnergy, driven: DrivenRows | None) -> dict[str, float]:
    """Energy of reading all crossbars of a mapping for one inference, by layer; None for rows that are all driven."""
    return _by_layer(mapping, driven, lambda layer, arrays, rows: _layer_j(layer, arrays, cell, rows))


def baseline_j(
    mapping: MappedModel, cell: CellEnergy, driven: DrivenRows | None, encoding: Encoding, cell_bits: int
) -> dict[str, float]:
    """The same for the weights of a mapping in even slices of an encoding, all rows driven, nothing left out."""

    def of_layer(layer: MappedLayer, arrays: LayerArrays, rows: NDArray[np.float64]) -> float:
        return _dense_j(layer, arrays, baseline_format(layer, encoding, cell_bits), cell, rows)

    return _by_layer(mapping, driven, of_layer)


def _by_layer(
    mapping: MappedModel,
    driven: DrivenRows | None,
    energy: Callable[[MappedLayer, LayerArrays, NDArray[np.float64]], float],
) -> dict[str, float]:
    return {
        layer.name: energy(layer, mapping.arrays(layer), all_driven(layer) if driven is None else driven[layer.name])
        for layer in mapping.layers
    }


def _layer_j(layer: MappedLayer, arrays: LayerArrays, cell: CellEnergy, rows: NDArray[np.float64]) -> float:
    mapped = rows if arrays.kept_rows is None else rows[:, arrays.kept_rows]
    units, bitlines = unit_columns(layer.cells), layer.tile_cols + cell.reference
    top = layer.cells.max_level
    alone = crossbars_alone(layer, arrays)
    total = 0.0
    for row_tile, column_tile in np.argwhere(arrays.allocated.any(axis=(2, 3)) | alone).tolist():
        columns = crossbar_columns(layer, column_tile)
        width = layer.mapped_columns // layer.groups
        groups = range(columns.start // width, (columns.stop - 1) // width + 1)
        part = np.s_[row_tile * layer.tile_rows : (row_tile + 1) * layer.tile_rows]
        wordlines = mapped[groups.start : groups.stop, part].ravel()
        # one column of ones for each group that is on it: level 1 on the wordlines of its group, 0 on the others
        ones, zeros = units, bitlines + units * (len(groups) - 1)
        for plane in np.argwhere(arrays.allocated[row_tile, column_tile]).tolist():
            index = CrossbarIndex(row_tile=row_tile, column_tile=column_tile, slice=plane[0], polarity=plane[1])
            levels = crossbar_cells(layer, arrays, index).sum(axis=1, dtype=np.int64)
            total += _wordlines_j(wordlines, levels + ones, ones + zeros, top, cell)
        if alone[row_tile, column_tile]:
            total += _wordlines_j(wordlines, np.full(len(wordlines), ones), ones + zeros, top, cell)
    return total


def _wordlines_j(
    driven: NDArray[np.float64], levels: NDArray[np.integer[Any]], cells: int, top: int, cell: CellEnergy
) -> float:
    """Energy of wordlines whose cells have so many levels together; each adds its part of the range from off to on."""
    conductance = cells * cell.off_share + levels * ((1 - cell.off_share) / top)
    return float(driven @ conductance) * cell.on_j


def _dense_j(
    layer: MappedLayer, arrays: LayerArrays, cells: CellFormat, cell: CellEnergy, rows: NDArray[np.float64]
) -> float:
    codes = np.zeros((layer.rows, layer.columns), np.int32)
    kept = np.arange(layer.rows) if arrays.kept_rows is None else arrays.kept_rows
    columns = np.arange(layer.columns) if arrays.kept_columns is None else arrays.kept_columns
    codes[np.ix_(kept, columns)] = arrays.codes
    stored = codes - cells.centres_by_row(None, layer.rows, layer.tile_rows)
    by_code = cells.levels().sum(axis=(1, 2), dtype=np.int64)  # of all cells of a code, on every slice and sign
    levels = by_code[stored]  # (K, N)
    _, starts = column_tiles(layer.rows, layer.columns, layer.groups, layer.tile_rows, layer.tile_cols)
    planes, units, width = cells.slices * cells.polarities, unit_columns(cells), layer.columns // layer.groups
    total = 0.0
    for start, stop in zip(starts, (*starts[1:], layer.columns), strict=True):
        groups = range(start // width, (stop - 1) // width + 1)
        bitlines = planes * (layer.tile_cols + cell.reference + units * len(groups))
        for group in groups:
            part = levels[:, max(start, group * width) : min(stop, (group + 1) * width)].sum(axis=1)
            total += _wordlines_j(rows[group], part + planes * units, bitlines, cells.max_level, cell)
    return total
