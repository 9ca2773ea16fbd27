"""permute: put the rows and columns that are left into another order, so that crossbars hold what is alike.

    before   codes (K, N) and the numbers of the rows and columns that are kept
    after    the same codes in another order, and the numbers in that order
    keeps    the layer's result: a replay reads inputs and writes results by those numbers

The order of columns decides which share a crossbar: with like beside like, some crossbars of the high slices hold
nothing and are not built, and others need a smaller ADC. The order of rows decides which are added up:
`bsc.numeric.orders` says how. It costs one look-up for each row and column of a vector, which the cost model charges.
Grouped layers are left alone, since each group has its own rows and columns.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bsc.errors import UsageError
from bsc.ir.graph import Graph
from bsc.ir.layer import CrossbarLayer, Kept
from bsc.ir.passbase import Pass, PassResult, refuse_after, required, selected
from bsc.ir.sidetable import SideTable
from bsc.numeric.orders import balanced_rows, sorted_lines

BLOCK_ROWS = 64

RowOrder = Literal["as-is", "sorted", "balanced"]
ColumnOrder = Literal["as-is", "sorted"]


@dataclass(frozen=True)
class Permute(Pass):
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
        if self.group_rows < 1:
            raise UsageError(
                "BSC205",
                "pass 'permute': group-rows must be 1 or more",
                seen=str(self.group_rows),
                fix="choose permute{group-rows=128}",
            )

    def run(self, graph: Graph) -> PassResult:
        """See the module docstring.

        Raises:
            ModelError: BSC309 for a layer that is not sliced, or that `eliminate` has not run on or `tile` has.
            UsageError: BSC205 for a name that no layer has.
        """
        layers: dict[str, CrossbarLayer] = {}
        arrays = SideTable()
        for layer in selected(graph, self.only, self.name):
            kept = required(layer.kept, layer.name, self.name, "eliminate")
            required(layer.slicing, layer.name, self.name, "slice-bits")
            if not kept.permuted and layer.groups == 1 and min(kept.shape):
                refuse_after(layer.tiling, layer.name, self.name, "tile")
                layers[layer.name] = self._permute(graph, layer, kept, arrays)
        return PassResult(graph.with_layers(layers, arrays), tuple(layers)) if layers else PassResult(graph, ())

    def _permute(self, graph: Graph, layer: CrossbarLayer, kept: Kept, arrays: SideTable) -> CrossbarLayer:
        assert layer.quant is not None
        assert layer.slicing is not None
        cells, codes = layer.slicing.cells, graph.array(layer.quant.codes)
        # Centres are chosen behind this, for the tiles that it makes.
        stored = cells.stored(codes, None, len(codes)) if cells.encoding == "offset" else codes
        columns = sorted_lines(stored.T, cells) if self.columns == "sorted" else None
        rows = None
        if self.rows == "sorted":
            rows = sorted_lines(stored, cells)
        elif self.rows == "balanced":
            rows = balanced_rows(stored, cells, self.group_rows)
        key = f"{layer.quant.codes}-permuted"
        arrays[key] = _in_order(codes, rows, columns)
        return replace(
            layer,
            quant=replace(layer.quant, codes=key),
            kept=Kept(
                rows=_numbers(graph, kept.rows, rows, f"{layer.name}/permuted-rows", arrays),
                columns=_numbers(graph, kept.columns, columns, f"{layer.name}/permuted-columns", arrays),
                shape=kept.shape,
                permuted=True,
            ),
        )


def _in_order(codes: NDArray[Any], rows: NDArray[np.intp] | None, columns: NDArray[np.intp] | None) -> NDArray[Any]:
    """The codes in that order, None being as they are; block by block, which is nine times as fast as all at once."""
    if columns is None:
        return codes if rows is None else codes[rows]
    result = np.empty_like(codes)
    for start in range(0, len(codes), BLOCK_ROWS):
        block = np.s_[start : start + BLOCK_ROWS]
        np.take(codes[block if rows is None else rows[block]], columns, axis=1, out=result[block], mode="clip")
    return result


def _numbers(graph: Graph, kept: str | None, order: NDArray[np.intp] | None, key: str, arrays: SideTable) -> str | None:
    """Key of the model's line numbers in the new order, None while that is simply all of them."""
    if order is None:
        return kept
    numbers = order if kept is None else graph.array(kept)[order]
    if kept is None and bool((order == np.arange(len(order))).all()):
        return None
    arrays[key] = numbers.astype(np.int32)
    return key
