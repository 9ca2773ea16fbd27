"""tile: lay every slice matrix on crossbars and add up the cells of each slice column.

    before   codes (K, N), cut into S slices of P = 2 polarities
    after    T = ceil(K / rows) row tiles, column tiles of up to `cols` columns; one crossbar for each
             (row tile, column tile, slice, polarity); R = ceil(K / active_rows) row groups; column sums, divisors
             and counts (R, S, P, N); in the centre encoding the centres (T, N); which columns are flipped, if any may

Fewer active rows than a crossbar has mean more conversions, each of a smaller sum. Groups of a convolution share a
crossbar block-diagonally as far as their rows may be driven together. After `eliminate`, crossbars that would hold only
zeros are not allocated.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from bsc.ir.graph import Graph
from bsc.ir.layer import CrossbarLayer
from bsc.ir.passbase import Clash, LayerPass, check_options, required, selected
from bsc.ir.sidetable import SideTable
from bsc.mapping.arrays import array_key
from bsc.mapping.layer import Tiling
from bsc.numeric.column_stats import stored_stats
from bsc.numeric.encoding import choose_centres
from bsc.numeric.tiles import MAX_LINES, column_tiles, crossbars_with_weights


@dataclass(frozen=True)
class Tile(LayerPass):
    """Tile every sliced layer; layers that are tiled already are left alone.

    Attributes:
        rows: wordlines of a crossbar, 1 to 16384.
        cols: bitlines of a crossbar, 1 to 16384.
        active_rows: wordlines that are driven together, a divisor of `rows`; 0 is all of them.
        only: names of the layers it is for; empty for all.
    """

    name = "tile"
    stage = "lay out"

    rows: int = 128
    cols: int = 128
    active_rows: int = 0
    only: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_options(
            self,
            ("rows", 1 <= self.rows <= MAX_LINES, f"1 to {MAX_LINES}"),
            ("cols", 1 <= self.cols <= MAX_LINES, f"1 to {MAX_LINES}"),
            clashes=[
                Clash(
                    there=self.active_rows < 0 or (self.active_rows > 0 and self.rows % self.active_rows > 0),
                    problem="active-rows must divide rows",
                    seen=f"{self.active_rows} active of {self.rows} rows",
                    fix=f"choose tile{{rows={self.rows} active-rows={self.rows}}} or a divisor of it",
                )
            ],
        )
        if not self.active_rows:
            object.__setattr__(self, "active_rows", self.rows)  # so that the pipeline text says what is meant

    def layers(self, graph: Graph) -> Iterator[CrossbarLayer]:
        """Those of `only`. Raises `UsageError` BSC205 for a name that no layer has."""
        return selected(graph, self.only, self.name)

    def due(self, layer: CrossbarLayer) -> bool:
        """Whether a layer is not tiled yet."""
        return layer.tiling is None

    def rewritten(self, graph: Graph, due: Sequence[CrossbarLayer], arrays: SideTable) -> Iterator[CrossbarLayer]:
        """See the module docstring. Raises `ModelError` BSC309 for a layer that is not sliced."""
        return (self._lay(graph, layer, arrays) for layer in due)

    def _lay(self, graph: Graph, layer: CrossbarLayer, arrays: SideTable) -> CrossbarLayer:
        quant = required(layer.quant, layer.name, self.name, "quantize")
        slicing = required(layer.slicing, layer.name, self.name, "slice-bits")
        tiling = Tiling(tile_rows=self.rows, tile_cols=self.cols, active_rows=self.active_rows)
        cells, key = slicing.format_of(quant.weight_bits), partial(array_key, layer.name)
        codes, centres = graph.arrays_of(layer.name)["codes"], None
        if cells.encoding == "centre":
            centres = choose_centres(codes, cells, self.rows)
            arrays[key("centres")] = centres
        stats = stored_stats(cells.stored(codes, centres, self.rows), cells, self.active_rows)
        if stats.flipped is not None:
            arrays[key("flipped")] = stats.flipped
        _, starts = column_tiles(*layer.mapped_shape, layer.groups, self.active_rows, self.cols)
        holds_weights = crossbars_with_weights(stats.sums, starts, tiling.groups_per_tile)
        arrays[key("sums")] = stats.sums
        arrays[key("gcds")] = stats.gcds
        arrays[key("nonzeros")] = stats.nonzeros
        arrays[key("allocated")] = holds_weights if layer.kept is not None else np.ones_like(holds_weights)
        return replace(layer, tiling=tiling)
