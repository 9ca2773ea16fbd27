"""fold-batchnorm: a BatchNormalization behind a crossbar layer goes into its weights and bias.

    before   y = BatchNormalization(W x + b)
    after    y = W' x + b',  W' = W * g,  b' = (b - mean) * g + beta,  g = gamma / sqrt(var + epsilon)

Only where nothing else reads the layer's result. Computed in float64, stored in float32.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bsc.errors import ModelError
from bsc.ir.batchnorm import following_norm
from bsc.ir.graph import DigitalOp, Graph
from bsc.ir.layer import CrossbarLayer
from bsc.ir.passbase import Pass, PassResult, refuse_after
from bsc.ir.sidetable import SideTable


@dataclass(frozen=True)
class FoldBatchNorm(Pass):
    """Fold every batch normalisation that follows a crossbar layer, one behind another too."""

    name = "fold-batchnorm"

    def run(self, graph: Graph) -> PassResult:
        """See the module docstring.

        Raises:
            ModelError: BSC303 for a variance that gives no finite scale, BSC309 for a layer that is quantised.
        """
        changed: dict[str, None] = {}
        while norms := {layer.name: norm for layer in graph.layers() if (norm := following_norm(graph, layer))}:
            graph = _without_norms(graph, norms)
            changed |= dict.fromkeys(norms)
        return PassResult(graph, tuple(changed))


def _without_norms(graph: Graph, norms: dict[str, DigitalOp]) -> Graph:
    """Fold one normalisation into each layer named in `norms`."""
    layers: dict[str, CrossbarLayer] = {}
    arrays = SideTable()
    for layer in graph.layers():
        if (norm := norms.get(layer.name)) is not None:
            refuse_after(layer.quant, layer.name, FoldBatchNorm.name, "quantize")
            keys = f"{layer.name}/folded-weight", f"{layer.name}/folded-bias"
            arrays[keys[0]], arrays[keys[1]] = _fold(graph, layer, norm)
            layers[layer.name] = replace(layer, weight=keys[0], bias=keys[1], output=norm.outputs[0])
    return graph.without({norm.name for norm in norms.values()}, layers, arrays)


def _fold(graph: Graph, layer: CrossbarLayer, norm: DigitalOp) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    gamma, beta, mean, var = (graph.constant(key).astype(np.float64) for key in norm.inputs[1:5])
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
    old = 0.0 if layer.bias is None else graph.array(layer.bias).astype(np.float64).ravel()
    weight = graph.array(layer.weight)
    along_columns = gain.reshape((-1, *(1,) * (weight.ndim - 1)) if layer.transposed else (1, -1))
    with np.errstate(over="ignore"):  # `quantize` refuses what is not finite
        return (weight * along_columns).astype(np.float32), ((old - mean) * gain + beta).astype(np.float32)
