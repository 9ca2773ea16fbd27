"""slice-bits: decide how weight codes are cut into cells and input codes into DAC digits.

    after    S slices, least significant first: ceil(stored bits / bits_per_cell) of them, or as `cut` says
    keeps    |stored code| == sum_s level[s] * 2**shift[s], 0 <= level[s] < 2**slice_bits[s]

By default the sign of a code chooses the positive or the negative crossbar (sign-magnitude on a differential pair),
so that a zero weight is zero in every slice; `bsc.numeric.encoding` describes the others. Levels are a function of
the code and are not stored.
"""

import re
from dataclasses import dataclass, replace
from typing import Literal

from bsc.errors import UsageError
from bsc.ir.graph import Graph
from bsc.ir.layer import CrossbarLayer, Slicing
from bsc.ir.passbase import Pass, PassResult, required, selected
from bsc.numeric.encoding import MAX_ANALOG_BITS, CellFormat, Encoding, Subtraction

EVEN = "even"
_CUT = re.compile(r"[1-8](-[1-8])*")


@dataclass(frozen=True)
class SliceBits(Pass):
    """Cut the codes of every quantised layer; layers that are cut already are left alone.

    Attributes:
        bits_per_cell: weight bits one cell stores, 1 to 8.
        dac_bits: input bits driven at a time, 1 to 8.
        encoding: how cells hold the sign: "differential", "offset" or "centre".
        subtraction: where the columns of a pair are subtracted: "digital", after a conversion each, or "analog",
            before a single one.
        flip: let slice columns hold top - level where that adds up to less; needs the sum of the inputs, which the
            differential encoding does not have.
        cut: "even" for `bits_per_cell` in every slice, or the bits of each from the top on, such as "4-2-2".
        only: names of the layers it is for; empty for all.
    """

    name = "slice-bits"

    bits_per_cell: int = 2
    dac_bits: int = 1
    encoding: Encoding = "differential"
    subtraction: Subtraction = "digital"
    flip: Literal["no", "yes"] = "no"
    cut: str = EVEN
    only: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for option, value in (("bits-per-cell", self.bits_per_cell), ("dac-bits", self.dac_bits)):
            if not 1 <= value <= 8:
                raise UsageError(
                    "BSC205",
                    f"pass 'slice-bits': {option} must be 1 to 8",
                    seen=str(value),
                    fix=f"choose slice-bits{{{option}=2}}",
                )
        if self.cut != EVEN and not _CUT.fullmatch(self.cut):
            raise UsageError(
                "BSC205",
                "pass 'slice-bits': cut must be even or the bits of each slice",
                seen=self.cut,
                fix="choose slice-bits{cut=even} or, from the top slice on, slice-bits{cut=4-2-2}",
            )
        if self.flip == "yes" and self.encoding == "differential":
            raise UsageError(
                "BSC205",
                "pass 'slice-bits': the differential encoding has no flipped columns",
                seen="flip=yes encoding=differential",
                fix="choose slice-bits{flip=no}, or encoding=offset or encoding=centre",
            )
        if self.subtraction == "analog" and self.encoding == "offset":
            raise UsageError(
                "BSC205",
                "pass 'slice-bits': the offset encoding has no pairs of columns to subtract",
                seen="subtraction=analog encoding=offset",
                fix="choose slice-bits{subtraction=digital}, or encoding=differential or encoding=centre",
            )
        if self.subtraction == "analog" and self.flip == "yes":
            raise UsageError(
                "BSC205",
                "pass 'slice-bits': a pair that is subtracted before its conversion cannot be flipped",
                seen="subtraction=analog flip=yes",
                fix="choose one of them",
            )
        if self.subtraction == "analog" and self._most_bits > MAX_ANALOG_BITS:
            raise UsageError(
                "BSC205",
                f"pass 'slice-bits': pairs are subtracted for cells of up to {MAX_ANALOG_BITS} bits",
                seen=f"{self._most_bits} bits",
                fix="choose slice-bits{subtraction=digital}, or fewer bits a cell",
            )

    @property
    def _slice_bits(self) -> tuple[int, ...]:
        """Bits of every slice, least significant first; empty for an even cut."""
        return () if self.cut == EVEN else tuple(map(int, reversed(self.cut.split("-"))))

    @property
    def _most_bits(self) -> int:
        return max(self._slice_bits, default=self.bits_per_cell)

    def run(self, graph: Graph) -> PassResult:
        """See the module docstring.

        Raises:
            ModelError: BSC309 for a layer that is not quantised.
            UsageError: BSC205 if the slices of `cut` do not add up to the bits of a stored code, or for a name that no
                layer has.
        """
        layers = selected(graph, self.only, self.name)
        changed = {layer.name: self._cut(layer) for layer in layers if layer.slicing is None}
        return PassResult(graph.with_layers(changed), tuple(changed)) if changed else PassResult(graph, ())

    def _cut(self, layer: CrossbarLayer) -> CrossbarLayer:
        quant = required(layer.quant, layer.name, self.name, "quantize")
        cells = CellFormat(
            weight_bits=quant.weight_bits,
            bits_per_cell=self._most_bits,
            encoding=self.encoding,
            subtraction=self.subtraction,
            flip=self.flip == "yes",
            cut=self._slice_bits,
        )
        if sum(cells.slice_bits) != cells.stored_bits:
            raise UsageError(
                "BSC205",
                f"pass 'slice-bits': the slices of layer '{layer.name}' do not hold its codes",
                seen=f"cut={self.cut} has {sum(cells.slice_bits)} bits, a stored code {cells.stored_bits}",
                fix="let the bits of the slices add up to those of a stored code",
            )
        return replace(layer, slicing=Slicing(cells=cells, dac_bits=self.dac_bits))
