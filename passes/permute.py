"""permute: put the rows and columns that are left into another order, so that crossbars hold what is alike.

    before   codes (K, N) and the numbers of the rows and columns that are kept
    after    the same codes in another order, and the numbers in that order
    keeps    the layer's result: a replay reads inputs and writes results by those numbers

The order of columns decides which share a crossbar: with like beside like, some crossbars of the high slices hold
nothing and are not built, and others need a smaller ADC. The order of rows decides which are added up:
`bsc.numeric.orders` says how. It costs one look-up for each row and column of a vector, which the cost model charges.
Grouped layers are left alone, since each group has its own rows and columns.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bsc.ir.graph import Graph
from bsc.ir.layer import CrossbarLayer
from bsc.ir.passbase import LayerPass, check_options, refuse_after, required, selected
from bsc.ir.sidetable import SideTable
from bsc.mapping.arrays import array_key
from bsc.numeric.orders import balanced_rows, sorted_lines

BLOCK_ROWS = 64

RowOrder = Literal["as-is", "sorted", "balanced"]
ColumnOrder = Literal["as-is", "sorted"]


@dataclass(frozen=True)
class Permute(LayerPass):
    """Permute every layer that `eliminate` is done with; layers that are permuted are left alone.

    Attributes:
        rows: "sorted" makes column sums unlike, for a resolution of each column; "balanced" makes them alike, for one
            that many columns share; "as-is" leaves rows where they are.
        columns: "sorted" or "as-is".
        group_rows: rows that "balanced" takes for one sum: the `active-rows` of `tile`.
        only: names of the layers it is for; empty for all.
    """

    name = "permute"

    rows: RowOrder = "sorted"
    columns: ColumnOrder = "sorted"
    group_rows: int = 128
    only: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_options(self, ("group-rows", self.group_rows >= 1, "1 or more"))

    def layers(self, graph: Graph) -> Iterator[CrossbarLayer]:
        """Those of `only`. Raises `UsageError` BSC205 for a name that no layer has."""
        return selected(graph, self.only, self.name)

    def due(self, layer: CrossbarLayer) -> bool:
        """Whether the lines of a layer can change places and have not yet.

        Raises:
            ModelError: BSC309 for a layer that is not sliced, or that `eliminate` has not run on or `tile` has.
        """
        kept = required(layer.kept, layer.name, self.name, "eliminate")
        required(layer.slicing, layer.name, self.name, "slice-bits")
        if kept.permuted or layer.groups > 1 or not kept.mapped_rows:
            return False
        refuse_after(layer.tiling, layer.name, self.name, "tile")
        return True

    def rewritten(self, graph: Graph, due: Sequence[CrossbarLayer], arrays: SideTable) -> Iterator[CrossbarLayer]:
        """See the module docstring."""
        return (self._permute(graph, layer, arrays) for layer in due)

    def _permute(self, graph: Graph, layer: CrossbarLayer, arrays: SideTable) -> CrossbarLayer:
        assert layer.quant is not None
        assert layer.slicing is not None
        assert layer.kept is not None
        cells, found = layer.slicing.format_of(layer.quant.weight_bits), graph.arrays_of(layer.name)
        codes = found["codes"]
        # Centres are chosen behind this, for the tiles that it makes.
        stored = cells.stored(codes, None, len(codes)) if cells.encoding == "offset" else codes
        columns = sorted_lines(stored.T, cells) if self.columns == "sorted" else None
        rows = None
        if self.rows == "sorted":
            rows = sorted_lines(stored, cells)
        elif self.rows == "balanced":
            rows = balanced_rows(stored, cells, self.group_rows)
        arrays[array_key(layer.name, "codes")] = _in_order(codes, rows, columns)
        for name, order in (("kept_rows", rows), ("kept_columns", columns)):
            numbers = None if order is None else _numbers(found.get(name), order)
            if numbers is not None:
                arrays[array_key(layer.name, name)] = numbers
        return replace(layer, kept=layer.kept.model_copy(update={"permuted": True}))


def _in_order(codes: NDArray[Any], rows: NDArray[np.intp] | None, columns: NDArray[np.intp] | None) -> NDArray[Any]:
    """The codes in that order, None being as they are; block by block, which is nine times as fast as all at once."""
    if columns is None:
        return codes if rows is None else codes[rows]
    result = np.empty_like(codes)
    for start in range(0, len(codes), BLOCK_ROWS):
        block = np.s_[start : start + BLOCK_ROWS]
        np.take(codes[block if rows is None else rows[block]], columns, axis=1, out=result[block], mode="clip")
    return result


def _numbers(kept: NDArray[np.integer] | None, order: NDArray[np.intp]) -> NDArray[np.int32] | None:
    """The model's line numbers in the new order, None while that is simply all of them."""
    if kept is None and bool((order == np.arange(len(order))).all()):
        return None
    return (order if kept is None else kept[order]).astype(np.int32)
