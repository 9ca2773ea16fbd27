"""eliminate: rows, columns and crossbars that hold only zeros are not built.

    before   codes (K, N)
    after    codes without all-zero rows and columns, and the numbers of those kept
    keeps    the layer's result: a dropped row adds nothing, a dropped column is its bias alone

It also tells `tile` not to allocate a crossbar whose slice, polarity and tile are all zero. Grouped layers
keep their rows and columns, since each group has its own; they lose only empty crossbars.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bsc.ir.graph import Graph
from bsc.ir.layer import CrossbarLayer, Kept
from bsc.ir.passbase import Pass, PassResult, refuse_after, required
from bsc.ir.sidetable import SideTable


@dataclass(frozen=True)
class Eliminate(Pass):
    """Drop what is zero from every quantised layer; layers already done are left alone."""

    name = "eliminate"

    def run(self, graph: Graph) -> PassResult:
        """See the module docstring. Raises `ModelError` BSC309 for a layer that is not quantised, or tiled already."""
        layers: dict[str, CrossbarLayer] = {}
        arrays = SideTable()
        for layer in graph.layers():
            if layer.kept is None:
                layers[layer.name] = _without_zeros(graph, layer, arrays)
        return PassResult(graph.with_layers(layers, arrays), tuple(layers)) if layers else PassResult(graph, ())


def _without_zeros(graph: Graph, layer: CrossbarLayer, arrays: SideTable) -> CrossbarLayer:
    quant = required(layer.quant, layer.name, Eliminate.name, "quantize")
    refuse_after(layer.tiling, layer.name, Eliminate.name, "tile")
    codes = graph.array(quant.codes)
    if layer.groups > 1:
        return replace(layer, kept=Kept(rows=None, columns=None, shape=(codes.shape[0], codes.shape[1])))
    rows, columns = nonzero_lines(codes)
    all_rows, all_columns = len(rows) == codes.shape[0], len(columns) == codes.shape[1]
    kept = Kept(
        rows=None if all_rows else f"{layer.name}/rows",
        columns=None if all_columns else f"{layer.name}/columns",
        shape=(len(rows), len(columns)),
    )
    if kept.rows:
        arrays[kept.rows] = rows
    if kept.columns:
        arrays[kept.columns] = columns
    if all_rows and all_columns:
        return replace(layer, kept=kept)
    key = f"{quant.codes}-kept"
    arrays[key] = codes[np.ix_(rows, columns)]
    return replace(layer, kept=kept, quant=replace(quant, codes=key))


def nonzero_lines(codes: NDArray[Any]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Numbers of the rows and of the columns of (K, N) that hold a non-zero code, ascending."""
    rows = np.flatnonzero(codes.any(axis=1)).astype(np.int32)
    columns = np.flatnonzero(codes.any(axis=0)).astype(np.int32)
    return rows, columns
