"""Stuck cells are put where they do least harm: rows and columns change places within their crossbars.

A row may go to any place of its row group, and a column to any of its column tile: what is added up, and so every
proof, resolution and crossbar, stays the same. All crossbars of a row tile have their rows in one order, and all of a
column tile their columns, since they share inputs and results. The harm of a stuck cell is the square of what it adds
to a weight code, times the mean square of that row's inputs where calibration data tell: none where the cell would hold
that level anyway.

Rows and columns take turns. Each turn is an assignment problem that is solved exactly, so that harm never grows; it
ends where a round of both gains nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bsc.ir.graph import Graph
from bsc.ir.layer import CrossbarLayer
from bsc.ir.mapped import mapping_of
from bsc.ir.sidetable import ArraySource
from bsc.mapping.arrays import SAVED, SPECS, LayerArrays, array_key
from bsc.mapping.fault_map import FaultMap, LayerFaults
from bsc.mapping.layer import MappedLayer
from bsc.numeric.assignment import cheapest_assignment
from bsc.plan.cells import CrossbarIndex, cell_levels, crossbar_cells, crossbar_columns

ROUNDS: Final = 4
"""Of rows and columns; the second gains a few percent, the third nearly nothing."""

NEVER_DRIVEN: Final = 0.01
"""Power of a row that no calibration sample drives, over the mean of all rows."""

MOMENT_VECTORS: Final = 2048
"""Input vectors of each layer whose power is taken, about."""


@dataclass(frozen=True, kw_only=True)
class Harm:
    """What stuck cells do.

    Attributes:
        cells: that are stuck, of those that a layer uses.
        wrong: of them, cells that should hold another level.
        squared: of what they add to weight codes, weighted by inputs and summed.
    """

    cells: int = 0
    wrong: int = 0
    squared: float = 0.0

    def __add__(self, other: "Harm") -> "Harm":
        return Harm(
            cells=self.cells + other.cells, wrong=self.wrong + other.wrong, squared=self.squared + other.squared
        )


@dataclass(frozen=True, eq=False)
class _Block:
    """The cells of one row group and one column tile, and the stuck ones among their places.

    Attributes:
        rows: mapped rows, of the group.
        columns: mapped columns, of the tile.
        levels: of the cells (rows, columns, S, P).
        faults: row, column, slice, polarity and level (F, 5); row and column are places within the block.
    """

    rows: slice
    columns: slice
    levels: NDArray[np.uint8]
    faults: NDArray[np.int64]


def avoid_faults(graph: Graph, faults: FaultMap) -> tuple[Graph, Harm, Harm]:
    """Change the order of rows and columns of every layer that gains by it.

    Args:
        graph: every layer assigned and placed.
        faults: the stuck cells.

    Returns:
        The graph, and the harm before and after.

    Raises:
        ModelError: BSC317 for a map that is not of the plan.
    """
    mapping = mapping_of(graph)
    faults.require_fit(mapping.record)
    by_name = {layer.name: layer for layer in graph.layers()}
    changed: dict[str, CrossbarLayer] = {}
    arrays: dict[str, ArraySource] = {}
    before = after = Harm()
    for layer in mapping.layers:
        found = mapping.arrays(layer)
        here = faults.of_layer(mapping.record, layer, found)
        power = input_power(graph, by_name[layer.name])
        harm = harm_of(layer, found, here, power)
        before += harm
        if harm.squared and layer.groups == 1:
            rows, columns = choose_orders(layer, found, here, power)
            moved = reordered(graph.arrays_of(layer.name), rows, columns)
            kept = {name: array for name, array in moved.items() if name in SAVED}
            left = harm_of(layer, replace(found, **kept), here, power)
            if left.squared < harm.squared:
                harm = left
                arrays |= {array_key(layer.name, name): array for name, array in moved.items()}
                record = by_name[layer.name]
                assert record.kept is not None
                changed[layer.name] = replace(record, kept=record.kept.model_copy(update={"permuted": True}))
        after += harm
    return (graph.with_layers(changed, arrays) if changed else graph), before, after


def input_power(graph: Graph, layer: CrossbarLayer) -> NDArray[np.float64]:
    """Mean square of the inputs of each row of the model over that of all of them (K,); ones without data.

    Rows that were never driven count a little, since other inputs may drive them.
    """
    if layer.moments is None:
        return np.ones(layer.rows)
    mean, covariance = (
        np.asarray(graph.array(key), np.float64) for key in (layer.moments.mean, layer.moments.covariance)
    )
    variance = covariance if covariance.ndim == 2 else np.diagonal(covariance, axis1=1, axis2=2)
    power = (variance + np.square(mean)).mean(axis=0)  # over groups
    if not power.any():
        return np.ones(layer.rows)
    return np.asarray(np.maximum(power / power.mean(), NEVER_DRIVEN))


def harm_of(layer: MappedLayer, arrays: LayerArrays, faults: LayerFaults, power: NDArray[np.float64]) -> Harm:
    """What the stuck cells of a layer do as it is; `power` is that of `input_power`."""
    total = Harm()
    mapped = power if arrays.kept_rows is None else power[arrays.kept_rows]
    place_values = layer.cells.place_values()
    for crossbar in faults.crossbars:
        row_tile, column_tile, slice_, polarity = crossbar
        index = CrossbarIndex(row_tile=row_tile, column_tile=column_tile, slice=slice_, polarity=polarity)
        levels = crossbar_cells(layer, arrays, index)
        for row, column, level in faults.within(crossbar, *levels.shape):
            off_by = level - int(levels[row, column])
            value = int(place_values[slice_, polarity])
            driven = mapped[row_tile * layer.tile_rows + row % (layer.mapped_rows - row_tile * layer.tile_rows)]
            total += Harm(cells=1, wrong=int(off_by != 0), squared=float((off_by * value) ** 2 * driven))
    return total


def choose_orders(
    layer: MappedLayer, arrays: LayerArrays, faults: LayerFaults, power: NDArray[np.float64]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Orders of rows (K,) and columns (N,): which of them each place takes; `power` is that of `input_power`."""
    rows, columns = np.arange(layer.mapped_rows), np.arange(layer.mapped_columns)
    squares = np.square(layer.cells.place_values().astype(np.float64))
    mapped = power if arrays.kept_rows is None else power[arrays.kept_rows]
    least = np.inf
    for _ in range(ROUNDS):
        _improve(_blocks(layer, arrays, faults), rows, columns, squares, mapped, by_rows=True)
        total = _improve(_blocks(layer, arrays, faults), rows, columns, squares, mapped, by_rows=False)
        if total >= least:
            break
        least = total
    return rows, columns


def _blocks(layer: MappedLayer, arrays: LayerArrays, faults: LayerFaults) -> Iterator[_Block]:
    """Every block with stuck cells."""
    tiles = sorted({crossbar[:2] for crossbar in faults.crossbars})
    for row_tile, column_tile in tiles:
        here = crossbar_columns(layer, column_tile)
        first = row_tile * layer.groups_per_tile
        for group in range(first, min(first + layer.groups_per_tile, layer.row_groups)):
            start = group * layer.active_rows
            stop = min(start + layer.active_rows, layer.mapped_rows)
            offset = start - row_tile * layer.tile_rows
            stuck = [
                (row - offset, column, *crossbar[2:], level)
                for crossbar in faults.crossbars
                if crossbar[:2] == (row_tile, column_tile)
                for row, column, level in faults.within(crossbar, offset + stop - start, len(here))
                if row >= offset
            ]
            if stuck:
                columns = slice(here.start, here.stop)
                yield _Block(
                    rows=slice(start, stop),
                    columns=columns,
                    levels=cell_levels(layer, arrays, group, columns),
                    faults=np.array(stuck, np.int64),
                )


def _improve(
    blocks: Iterator[_Block],
    rows: NDArray[np.intp],
    columns: NDArray[np.intp],
    squares: NDArray[np.float64],
    power: NDArray[np.float64],
    *,
    by_rows: bool,
) -> float:
    """Put rows, or columns, into the best order for that of the others; the harm that is left."""
    moving = rows if by_rows else columns
    cost: dict[tuple[int, int], NDArray[np.float64]] = {}
    for block in blocks:
        lines = block.rows if by_rows else block.columns
        size = lines.stop - lines.start
        place, across = (block.faults[:, 0], block.faults[:, 1]) if by_rows else block.faults[:, 1::-1].T
        other = columns[block.columns] - block.columns.start if by_rows else rows[block.rows] - block.rows.start
        levels = block.levels if by_rows else block.levels.transpose(1, 0, 2, 3)
        slices, polarities, stuck = block.faults[:, 2], block.faults[:, 3], block.faults[:, 4]
        held = levels[:, other[across], slices, polarities].astype(np.float64)  # (lines, F)
        weights = squares[slices, polarities]
        driven = power[block.rows][:, None] if by_rows else power[rows[block.rows.start + across]]
        table = cost.setdefault((lines.start, lines.stop), np.zeros((size, size)))
        np.add.at(table, place, (np.square(stuck - held) * weights * driven).T)
    total = 0.0
    for (start, stop), table in cost.items():
        faulty = np.flatnonzero(table.any(axis=1))
        items = moving[start:stop] - start
        # Lines in their present order come first among equals.
        chosen = items[cheapest_assignment(table[np.ix_(faulty, items)])]
        now, then = table[faulty, items[faulty]].sum(), table[faulty, chosen].sum()
        if then < now:
            rest = items[~np.isin(items, chosen)]
            order = np.empty_like(items)
            order[faulty] = chosen
            order[np.setdiff1d(np.arange(stop - start), faulty)] = rest
            moving[start:stop] = start + order
        total += float(min(now, then))
    return total


def reordered(found: Any, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> dict[str, NDArray[Any]]:
    """Arrays of a layer by name with their mapped rows and columns in another order, and the lines' numbers."""
    moved: dict[str, NDArray[Any]] = {}
    for name, spec in SPECS.items():
        axes = spec.axes.split()
        if name not in found or not {"K", "N"} & set(axes):
            continue
        array = np.asarray(found[name])
        for axis, letter in enumerate(axes):
            if letter in ("K", "N"):
                array = np.take(array, rows if letter == "K" else columns, axis=axis)
        moved[name] = array
    for name, order in (("kept_rows", rows), ("kept_columns", columns)):
        if name not in found and (order != np.arange(len(order))).any():
            moved[name] = order.astype(np.int32)
    return moved
