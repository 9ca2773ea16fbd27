"""tile: lay every slice matrix on crossbars and add up the cells of each slice column.

    before   codes (K, N), cut into S slices of P = 2 polarities
    after    T = ceil(K / rows) row tiles, column tiles of up to `cols` columns; one crossbar for each
             (row tile, column tile, slice, polarity); column sums, divisors and counts (T, S, P, N)

Groups of a convolution that are smaller than a crossbar share one block-diagonally. After `eliminate`,
crossbars that would hold only zeros are not allocated.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bsc.errors import UsageError
from bsc.ir.graph import Graph
from bsc.ir.layer import CrossbarLayer, Tiling
from bsc.ir.passbase import Pass, PassResult, required
from bsc.numeric.column_stats import column_stats
from bsc.numeric.tiles import MAX_LINES, column_tiles, crossbars_with_weights


@dataclass(frozen=True)
class Tile(Pass):
    """Tile every sliced layer; layers that are tiled already are left alone.

    Attributes:
        rows: wordlines of a crossbar, 1 to 16384.
        cols: bitlines of a crossbar, 1 to 16384.
    """

    name = "tile"

    rows: int = 128
    cols: int = 128

    def __post_init__(self) -> None:
        for option, value in (("rows", self.rows), ("cols", self.cols)):
            if not 1 <= value <= MAX_LINES:
                raise UsageError(
                    "BSC205",
                    f"pass 'tile': {option} must be 1 to {MAX_LINES}",
                    seen=str(value),
                    fix=f"choose tile{{{option}=128}}",
                )

    def run(self, graph: Graph) -> PassResult:
        """See the module docstring. Raises `ModelError` BSC309 for a layer that is not sliced."""
        layers: dict[str, CrossbarLayer] = {}
        arrays: dict[str, NDArray[Any]] = {}
        for layer in graph.layers():
            if layer.tiling is None:
                layers[layer.name] = self._lay(graph, layer, arrays)
        return PassResult(graph.with_layers(layers, arrays), tuple(layers)) if layers else PassResult(graph, ())

    def _lay(self, graph: Graph, layer: CrossbarLayer, arrays: dict[str, NDArray[Any]]) -> CrossbarLayer:
        quant = required(layer.quant, layer.name, self.name, "quantize")
        slicing = required(layer.slicing, layer.name, self.name, "slice-bits")
        rows, columns = layer.mapped_shape
        packed, starts = column_tiles(rows, columns, layer.groups, self.rows, self.cols)
        tiling = Tiling(
            rows=self.rows,
            cols=self.cols,
            row_tiles=-(-rows // self.rows),
            column_starts=starts,
            groups_per_crossbar=packed,
            sums=f"{layer.name}/sums",
            gcds=f"{layer.name}/gcds",
            nonzeros=f"{layer.name}/nonzeros",
            allocated=f"{layer.name}/allocated",
        )
        stats = column_stats(
            graph.array(quant.codes),
            weight_bits=quant.weight_bits,
            bits_per_cell=slicing.bits_per_cell,
            tile_rows=self.rows,
        )
        holds_weights = crossbars_with_weights(stats.sums, starts)
        arrays |= {
            tiling.sums: stats.sums,
            tiling.gcds: stats.gcds,
            tiling.nonzeros: stats.nonzeros,
            tiling.allocated: holds_weights if layer.kept is not None else np.ones_like(holds_weights),
        }
        return replace(layer, tiling=tiling)
