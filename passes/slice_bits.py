"""slice-bits: decide how weight codes are cut into cells and input codes into DAC digits.

    after    S = ceil(stored bits / bits_per_cell) slices, least significant first
    keeps    |stored code| == sum_s level[s] * 2**(s * bits_per_cell), 0 <= level < 2**bits_per_cell

By default the sign of a code chooses the positive or the negative crossbar (sign-magnitude on a differential pair),
so that a zero weight is zero in every slice; `bsc.numeric.encoding` describes the others. Levels are a function of
the code and are not stored.
"""

from dataclasses import dataclass, replace

from bsc.errors import UsageError
from bsc.ir.graph import Graph
from bsc.ir.layer import CrossbarLayer, Slicing
from bsc.ir.passbase import Pass, PassResult, required
from bsc.numeric.encoding import CellFormat, Encoding


@dataclass(frozen=True)
class SliceBits(Pass):
    """Cut the codes of every quantised layer; layers that are cut already are left alone.

    Attributes:
        bits_per_cell: weight bits one cell stores, 1 to 8.
        dac_bits: input bits driven at a time, 1 to 8.
        encoding: how cells hold the sign: "differential", "offset" or "centre".
    """

    name = "slice-bits"

    bits_per_cell: int = 2
    dac_bits: int = 1
    encoding: Encoding = "differential"

    def __post_init__(self) -> None:
        for option, value in (("bits-per-cell", self.bits_per_cell), ("dac-bits", self.dac_bits)):
            if not 1 <= value <= 8:
                raise UsageError(
                    "BSC205",
                    f"pass 'slice-bits': {option} must be 1 to 8",
                    seen=str(value),
                    fix=f"choose slice-bits{{{option}=2}}",
                )

    def run(self, graph: Graph) -> PassResult:
        """See the module docstring. Raises `ModelError` BSC309 for a layer that is not quantised."""
        changed = {layer.name: self._cut(layer) for layer in graph.layers() if layer.slicing is None}
        return PassResult(graph.with_layers(changed), tuple(changed)) if changed else PassResult(graph, ())

    def _cut(self, layer: CrossbarLayer) -> CrossbarLayer:
        quant = required(layer.quant, layer.name, self.name, "quantize")
        cells = CellFormat(weight_bits=quant.weight_bits, bits_per_cell=self.bits_per_cell, encoding=self.encoding)
        return replace(layer, slicing=Slicing(cells=cells, dac_bits=self.dac_bits))
