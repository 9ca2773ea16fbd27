"""A pass of your own in a pipeline: drop weights whose code is small, and see what the ADCs save.

python examples/own_pass.py
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

import hw_models
from bsc.compiler.driver import compile_model
from bsc.compiler.options import CompileOptions
from bsc.cost.compare import compare
from bsc.ir.graph import Graph
from bsc.ir.passbase import Pass, PassResult, required
from bsc.mapping.arrays import array_key
from bsc.units import format_ratio
from passes import PASSES

MODEL = Path(__file__).parent / "mnist" / "model.onnx"


@dataclass(frozen=True)
class DropSmall(Pass):
    """Set every code of magnitude below `threshold` to 0.

    Attributes:
        threshold: 0 or more; 0 and 1 change nothing.
    """

    name = "drop-small"

    threshold: int = 8

    def run(self, graph: Graph) -> PassResult:
        """Keeps the other codes as they are."""
        layers, arrays = {}, {}
        for layer in graph.layers():
            required(layer.quant, layer.name, self.name, "quantize")
            codes = graph.arrays_of(layer.name)["codes"]
            small = (np.abs(codes) < self.threshold) & (codes != 0)
            if small.any():
                arrays[array_key(layer.name, "codes")] = np.where(small, 0, codes).astype(codes.dtype)
                layers[layer.name] = layer
        return PassResult(graph.with_layers(layers, arrays), tuple(layers)) if layers else PassResult(graph, ())


def main() -> None:
    target = hw_models.load("isaac")
    laws = hw_models.laws()
    for threshold in (0, 8, 32):
        pipeline = f"quantize,drop-small{{threshold={threshold}}},slice-bits,eliminate,tile,assign-adc"
        options = CompileOptions(pipeline=pipeline, registry=PASSES | {DropSmall.name: DropSmall})
        plan = compile_model(MODEL, target, options).plan
        assert plan is not None
        saving = {row.law.name: row for row in compare(plan.mapping, target, laws["isaac"], laws).spread}["isaac"]
        print(f"threshold {threshold:2}: ADC {format_ratio(saving.adc)}, total {format_ratio(saving.total)}")


if __name__ == "__main__":
    main()
