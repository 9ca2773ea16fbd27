"""fold-batchnorm: a BatchNormalization behind a crossbar layer goes into its weights and bias.

    before   y = BatchNormalization(W x + b)
    after    y = W' x + b',  W' = W * g,  b' = (b - mean) * g + beta,  g = gamma / sqrt(var + epsilon)

Only where nothing else reads the layer's result. Computed in float64, stored in float32.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bsc.errors import ModelError
from bsc.graph import DigitalOp, Graph
from bsc.layer import CrossbarLayer
from bsc.passbase import Pass, PassResult


@dataclass(frozen=True)
class FoldBatchNorm(Pass):
    """Fold every batch normalisation that follows a crossbar layer."""

    name = "fold-batchnorm"

    def run(self, graph: Graph) -> PassResult:
        """See the module docstring. Raises `ModelError` BSC303 for a variance that gives no finite scale."""
        folded = {layer.name: norm for layer in graph.layers() if (norm := _following_norm(graph, layer))}
        if not folded:
            return PassResult(graph, ())
        layers: dict[str, CrossbarLayer] = {}
        arrays: dict[str, NDArray[Any]] = {}
        for layer in graph.layers():
            if (norm := folded.get(layer.name)) is not None:
                weight, bias = _fold(graph, layer, norm)
                keys = f"{layer.name}/folded-weight", f"{layer.name}/folded-bias"
                arrays |= zip(keys, (weight, bias), strict=True)
                layers[layer.name] = replace(layer, weight=keys[0], bias=keys[1], output=norm.outputs[0])
        return PassResult(graph.without({norm.name for norm in folded.values()}, layers, arrays), tuple(layers))


def _following_norm(graph: Graph, layer: CrossbarLayer) -> DigitalOp | None:
    """The batch normalisation that alone reads the layer's result, if its channels are the layer's columns."""
    readers = graph.consumers(layer.output)
    if len(readers) != 1 or layer.output in graph.outputs:
        return None
    norm, shape = readers[0], graph.tensors[layer.output].shape
    columns_are_axis_1 = layer.conv is not None or (shape is not None and len(shape) == 2)
    if (
        isinstance(norm, DigitalOp)
        and norm.op_type == "BatchNormalization"
        and norm.inputs[0] == layer.output
        and all(graph.has_array(key) for key in norm.inputs[1:5])
        and not norm.attributes.get("training_mode", 0)
        and columns_are_axis_1
    ):
        return norm
    return None


def _fold(graph: Graph, layer: CrossbarLayer, norm: DigitalOp) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    gamma, beta, mean, var = (graph.array(key).astype(np.float64) for key in norm.inputs[1:5])
    epsilon = norm.attributes.get("epsilon", 1e-5)
    assert isinstance(epsilon, float)
    with np.errstate(all="ignore"):
        gain = gamma / np.sqrt(var + epsilon)
    if not np.isfinite(gain).all():
        raise ModelError(
            "BSC303",
            f"node '{norm.name}' (BatchNormalization): its scale is not a finite number",
            seen=f"variance {var.min():g} to {var.max():g}, epsilon {epsilon:g}",
            fix="train again or repair the normalisation's statistics",
        )
    old = 0.0 if layer.bias is None else graph.array(layer.bias).astype(np.float64)
    weight = graph.array(layer.weight)
    along_columns = gain.reshape((-1, *(1,) * (weight.ndim - 1)) if layer.transposed else (1, -1))
    return (weight * along_columns).astype(np.float32), ((old - mean) * gain + beta).astype(np.float32)
