"""What must hold of a graph after every pass, and of a pass's own claim. A failure here is a bug of the pass."""

from collections.abc import Iterable

from bsc.ir.graph import Graph
from bsc.ir.layer import CrossbarLayer
from bsc.ir.passbase import PassResult
from bsc.ir.stages import layer_record
from bsc.mapping.arrays import SPECS, misfits
from bsc.mapping.layer import MappedLayer, QuantisedLayer, TiledLayer


def check_claim(name: str, before: Graph, result: PassResult) -> None:
    """A pass names exactly the layers it changed, and returns the same graph when there are none.

    Raises:
        AssertionError: naming the pass and the layers.
    """
    old = {layer.name: layer for layer in before.layers()}
    new = {layer.name: layer for layer in result.graph.layers()}
    changed = {
        name
        for name in old.keys() | new.keys()
        if old.get(name) != new.get(name) or not result.graph.has_same_arrays(before, name)
    }
    assert changed == set(result.changed), f"pass '{name}' claims {result.changed}, changed {sorted(changed)}"
    assert changed or result.graph is before, f"pass '{name}' changed no layer but made a new graph"


def check_graph(graph: Graph, changed: Iterable[str] | None = None) -> None:
    """Records and arrays of every layer agree with each other.

    Args:
        graph: what a pass made.
        changed: names of the layers that it changed or took away, where all others were looked at before.

    Raises:
        AssertionError: naming the layer and what is wrong.
    """
    names = {layer.name for layer in graph.layers()}
    for name in names if changed is None else names.intersection(changed):
        layer = graph.op(name)
        assert isinstance(layer, CrossbarLayer)
        _check_layer(graph, layer)
    for use in graph.uses():
        assert use.layer in names, f"'{use.name}' reuses layer '{use.layer}', which is gone"


def _check_layer(graph: Graph, layer: CrossbarLayer) -> None:
    assert layer.columns % layer.groups == 0, f"layer '{layer.name}': columns are not a multiple of the groups"
    assert layer.tiling is None or layer.slicing is not None, f"layer '{layer.name}': tiled but not sliced"
    if layer.quant is None:
        return
    kind = QuantisedLayer if layer.tiling is None else TiledLayer if layer.adc is None else MappedLayer
    record = layer_record(kind, layer, "check")
    for name, problem in misfits(record, graph.arrays_of(layer.name), SPECS):
        raise AssertionError(f"layer '{layer.name}': array '{name}' {problem}")
