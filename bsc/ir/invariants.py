"""What must hold of a graph after every pass, and of a pass's own claim. A failure here is a bug of the pass."""

import numpy as np

from bsc.ir.graph import Graph
from bsc.ir.layer import CrossbarLayer, Reuse
from bsc.ir.passbase import PassResult


def check_claim(name: str, before: Graph, result: PassResult) -> None:
    """A pass names exactly the layers it changed, and returns the same graph when there are none.

    Raises:
        AssertionError: naming the pass and the layers.
    """
    old = {layer.name: layer for layer in before.layers()}
    new = {layer.name: layer for layer in result.graph.layers()}
    changed = {layer for layer in old.keys() | new.keys() if old.get(layer) != new.get(layer)}
    assert changed == set(result.changed), f"pass '{name}' claims {result.changed}, changed {sorted(changed)}"
    assert changed or result.graph is before, f"pass '{name}' changed no layer but made a new graph"


def check_graph(graph: Graph) -> None:
    """Records and arrays of every layer agree with each other.

    Raises:
        AssertionError: naming the layer and what is wrong.
    """
    for layer in graph.layers():
        _check_layer(graph, layer)
    names = {layer.name for layer in graph.layers()}
    for op in graph.ops():
        assert not isinstance(op, Reuse) or op.layer in names, f"'{op.name}' reuses layer '{op.layer}', which is gone"


def _check_layer(graph: Graph, layer: CrossbarLayer) -> None:
    def holds(condition: bool, what: str) -> None:
        assert condition, f"layer '{layer.name}': {what}"

    rows, columns = layer.mapped_shape
    holds(layer.columns % layer.groups == 0, "columns are not a multiple of the groups")
    if (quant := layer.quant) is not None:
        codes = graph.array(quant.codes)
        top = (1 << quant.weight_bits) - 1
        holds(codes.shape == (rows, columns), f"codes are {codes.shape}, not {(rows, columns)}")
        holds(-top <= codes.min(initial=0) and codes.max(initial=0) <= top, f"a code outside -{top}..{top}")
        holds(len(graph.array(quant.weight_step)) in (1, layer.columns), "one weight step a tensor or a column")
    if (kept := layer.kept) is not None:
        for key, size, whole in ((kept.rows, rows, layer.rows), (kept.columns, columns, layer.columns)):
            if key is not None:
                numbers = graph.array(key)
                inside = bool(((numbers >= 0) & (numbers < whole)).all())
                holds(len(numbers) == size and inside, "kept lines outside the matrix")
                holds(len(np.unique(numbers)) == size, "a kept line twice")
                holds(kept.permuted or bool((np.diff(numbers) > 0).all()), "kept lines are not ascending")
    if (tiling := layer.tiling) is not None:
        holds(layer.slicing is not None, "tiled but not sliced")
        planes = (layer.slicing.cells.slices, layer.slicing.cells.polarities) if layer.slicing else (0, 0)
        per_column = (tiling.row_groups, *planes, columns)
        per_crossbar = (tiling.row_tiles, len(tiling.column_starts), *planes)
        holds(tiling.row_tiles == -(-rows // tiling.rows), "row tiles do not cover the rows")
        holds(tiling.row_groups == -(-rows // tiling.active_rows), "row groups do not cover the rows")
        for key in (tiling.sums, tiling.gcds, tiling.nonzeros):
            holds(graph.array(key).shape == per_column, f"{key} is not {per_column}")
        holds(graph.array(tiling.allocated).shape == per_crossbar, f"{tiling.allocated} is not {per_crossbar}")
        per_conversion = (*per_column[:2], layer.slicing.cells.conversions if layer.slicing else 0, columns)
        if (seen := layer.observed) is not None:
            for key in (seen.lowest, seen.highest, seen.step, seen.low, seen.beyond, seen.damage, seen.mean):
                holds(key is None or graph.array(key).shape[:4] == per_conversion, f"{key} is not {per_conversion}")
        if (adc := layer.adc) is not None:
            for key in (adc.bits, adc.step, *([adc.low] if adc.low else [])):
                holds(graph.array(key).shape == per_conversion, f"{key} is not {per_conversion}")
            holds(bool((graph.array(adc.step) > 0).all()), "an ADC step of 0")
            if adc.correction is not None:
                holds(graph.array(adc.correction).shape == (columns,), f"{adc.correction} is not {(columns,)}")
