"""Weights that several operators read are mapped once: the crossbars of one layer serve all of them."""

from collections.abc import Sequence
from dataclasses import replace

from bsc.ir.graph import Op
from bsc.ir.layer import CrossbarLayer, LayerUse


def share_crossbars(ops: Sequence[Op]) -> list[Op]:
    """Make every layer a `LayerUse` of the first that has the same weights, bias and formats and drives them alike.

    Args:
        ops: in model order; not quantised yet.

    Returns:
        As many operators in the same order; a layer that is reused counts the vectors of all.
    """
    first: dict[CrossbarLayer, CrossbarLayer] = {}
    shared: list[Op] = []
    for op in ops:
        if not isinstance(op, CrossbarLayer):
            shared.append(op)
            continue
        # What is alike for all; the keys of given codes are named after the layer, but belong to the weight.
        alike = replace(op, name="", op_type="", input="", output="", vectors=0, given_weights=None)
        layer = first.get(alike)
        if layer is None:
            first[alike] = op
            shared.append(op)
        else:
            first[alike] = replace(layer, vectors=layer.vectors + op.vectors)
            shared.append(LayerUse(name=op.name, layer=layer.name, input=op.input, output=op.output))
    counted = {layer.name: layer for layer in first.values()}
    return [counted.get(op.name, op) if isinstance(op, CrossbarLayer) else op for op in shared]
