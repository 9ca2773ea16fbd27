"""eliminate: rows, columns and crossbars that cannot make a difference are not built.

    before   codes (K, N)
    after    codes without all-zero rows and columns, and the numbers of those kept
    keeps    the model's outputs: a dropped row adds nothing, a dropped column is its bias alone

The weights of a row count as zero if its input is proved to be always 0, those of a column if nothing reads its result:
`bsc.analysis.channels` says when. Rows that only so become zero are left out as well, by default unless a slice would
need more bits on the crossbars that the rows behind them then move up to: what `bsc finetune --project` proves of a
model must hold of its plan. They then stay as rows of zeros. It also tells `tile` not to allocate a crossbar whose
slice, polarity and tile are all zero. Grouped layers keep their rows and columns, since each group has its own; they
lose only empty crossbars.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bsc.analysis.channels import ChannelFacts, analyse
from bsc.ir.graph import Graph
from bsc.ir.layer import CrossbarLayer
from bsc.ir.passbase import LayerPass, check_options, refuse_after, required
from bsc.ir.sidetable import SideTable
from bsc.mapping.arrays import array_key
from bsc.mapping.layer import LineSelection
from bsc.numeric.column_stats import lossless_bits, stored_stats
from bsc.numeric.encoding import CellFormat


@dataclass(frozen=True)
class Eliminate(LayerPass):
    """Drop what is zero from every quantised layer; layers already done are left alone.

    Attributes:
        rows: wordlines of a crossbar, as `tile` has them: rows that share a column sum.
        dead: when rows are left out that have weights but whose input is always 0, or that only columns read that
            nobody reads: "same-bits" is described above, "always" fills fewer crossbars.
    """

    name = "eliminate"

    rows: int = 128
    dead: Literal["same-bits", "always"] = "same-bits"

    def __post_init__(self) -> None:
        check_options(self, ("rows", self.rows >= 1, "1 or more"))

    def due(self, layer: CrossbarLayer) -> bool:
        """Whether nothing was left out of a layer yet. Raises `ModelError` BSC309 if it is not quantised, or tiled."""
        if layer.kept is None:
            required(layer.quant, layer.name, self.name, "quantize")
            refuse_after(layer.tiling, layer.name, self.name, "tile")
        return layer.kept is None

    def rewritten(self, graph: Graph, due: Sequence[CrossbarLayer], arrays: SideTable) -> Iterator[CrossbarLayer]:
        """See the module docstring."""
        facts = analyse(graph)
        return (self._without_zeros(graph, layer, facts, arrays) for layer in due)

    def _without_zeros(
        self, graph: Graph, layer: CrossbarLayer, facts: ChannelFacts, arrays: SideTable
    ) -> CrossbarLayer:
        assert layer.quant is not None
        codes, key = graph.arrays_of(layer.name)["codes"], partial(array_key, layer.name)
        if layer.groups > 1:
            return replace(
                layer, kept=LineSelection(mapped_rows=codes.shape[0], mapped_columns=codes.shape[1], permuted=False)
            )
        dead, unread = facts.dead_rows[layer.name][0], facts.unread[layer.name]
        rows, columns = nonzero_lines(codes)
        if dead.any() or unread.any():
            with_weights, codes = rows, codes * ~(dead[:, None] | unread)
            rows, columns = nonzero_lines(codes)
            if layer.slicing is not None and self.dead == "same-bits":
                cells = layer.slicing.format_of(layer.quant.weight_bits)
                if self._needs_more_bits(codes, with_weights, rows, cells):
                    rows = with_weights
        all_rows, all_columns = len(rows) == codes.shape[0], len(columns) == codes.shape[1]
        if not all_rows:
            arrays[key("kept_rows")] = rows
        if not all_columns:
            arrays[key("kept_columns")] = columns
        if not all_rows or not all_columns or dead.any():
            arrays[key("codes")] = codes[np.ix_(rows, columns)]
        return replace(layer, kept=LineSelection(mapped_rows=len(rows), mapped_columns=len(columns), permuted=False))

    def _needs_more_bits(
        self, codes: NDArray[Any], before: NDArray[np.int32], after: NDArray[np.int32], cells: CellFormat
    ) -> bool:
        """Whether some slice has a column of more bits on the rows `after` than any it has on the rows `before`."""
        bits = []
        for rows in (before, after):
            stats = stored_stats(codes[rows], replace(cells, encoding="differential"), self.rows)
            bits.append(lossless_bits(stats.sums, stats.gcds).max(axis=(0, 2, 3), initial=0))
        return bool((bits[1] > bits[0]).any())


def nonzero_lines(codes: NDArray[Any]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Numbers of the rows and of the columns of (K, N) that hold a non-zero code, ascending."""
    rows = np.flatnonzero(codes.any(axis=1)).astype(np.int32)
    columns = np.flatnonzero(codes.any(axis=0)).astype(np.int32)
    return rows, columns
