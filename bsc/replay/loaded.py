"""A plan that is ready to run: its program, and the arrays of every layer, read and hashed once."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bsc.ir.program import Program
from bsc.plan.document import Plan
from bsc.replay.activations import input_codes, output, zero_part

LayerResults = Callable[[str, NDArray[Any]], NDArray[np.float64]]
"""From a layer's name and its input codes (V, G, K) over the model's rows to its whole results (V, N)."""


class LoadedPlan:
    """Runs a plan; what its crossbars give is computed by whoever calls it.

    Args:
        plan: from a folder or straight from the compiler.

    Attributes:
        layers: record and arrays of every layer, by its name, in the order of the plan.
    """

    def __init__(self, plan: Plan) -> None:
        self._program = Program(plan.steps(), tuple(tensor.name for tensor in plan.document.outputs))
        self.layers = {layer.name: (layer, plan.arrays(layer)) for layer in plan.layers}
        self._zeros = {name: zero_part(layer, arrays) for name, (layer, arrays) in self.layers.items()}

    def run(
        self, feeds: Mapping[str, NDArray[Any]], results: LayerResults, keep: Collection[str] = ()
    ) -> dict[str, NDArray[Any]]:
        """Outputs for one batch of every model input, and the tensors named in `keep`."""

        def run_layer(name: str, x: NDArray[Any]) -> NDArray[Any]:
            layer, arrays = self.layers[name]
            codes, step = input_codes(layer, x)
            whole, zeros = results(name, codes), self._zeros[name]
            return output(layer, arrays, whole if zeros is None else whole - zeros, step, x)

        return self._program.run(feeds, run_layer, keep)
