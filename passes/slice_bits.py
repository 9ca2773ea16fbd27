"""slice-bits: decide how weight codes are cut into cells and input codes into DAC digits.

    after    S slices, least significant first: ceil(stored bits / bits_per_cell) of them, or as `cut` says
    keeps    |stored code| == sum_s level[s] * 2**shift[s], 0 <= level[s] < 2**slice_bits[s]

By default the sign of a code chooses the positive or the negative crossbar (sign-magnitude on a differential pair),
so that a zero weight is zero in every slice; `bsc.numeric.encoding` describes the others. Levels are a function of
the code and are not stored.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from bsc.errors import UsageError
from bsc.ir.graph import Graph
from bsc.ir.layer import CrossbarLayer
from bsc.ir.passbase import Clash, LayerPass, check_options, required, selected
from bsc.ir.sidetable import SideTable
from bsc.mapping.layer import Slicing
from bsc.numeric.encoding import MAX_ANALOG_BITS, CellFormat, Encoding, Subtraction

EVEN = "even"
_CUT = re.compile(r"[1-8](-[1-8])*")


@dataclass(frozen=True)
class SliceBits(LayerPass):
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
        analog = self.subtraction == "analog"
        check_options(
            self,
            ("bits-per-cell", 1 <= self.bits_per_cell <= 8, "1 to 8"),
            ("dac-bits", 1 <= self.dac_bits <= 8, "1 to 8"),
            clashes=[
                Clash(
                    there=self.cut != EVEN and not _CUT.fullmatch(self.cut),
                    problem="cut must be even or the bits of each slice",
                    seen=self.cut,
                    fix="choose slice-bits{cut=even} or, from the top slice on, slice-bits{cut=4-2-2}",
                ),
                Clash(
                    there=self.flip == "yes" and self.encoding == "differential",
                    problem="the differential encoding has no flipped columns",
                    seen="flip=yes encoding=differential",
                    fix="choose slice-bits{flip=no}, or encoding=offset or encoding=centre",
                ),
                Clash(
                    there=analog and self.encoding == "offset",
                    problem="the offset encoding has no pairs of columns to subtract",
                    seen="subtraction=analog encoding=offset",
                    fix="choose slice-bits{subtraction=digital}, or encoding=differential or encoding=centre",
                ),
                Clash(
                    there=analog and self.flip == "yes",
                    problem="a pair that is subtracted before its conversion cannot be flipped",
                    seen="subtraction=analog flip=yes",
                    fix="choose one of them",
                ),
                Clash(
                    there=analog and self._most_bits > MAX_ANALOG_BITS,
                    problem=f"pairs are subtracted for cells of up to {MAX_ANALOG_BITS} bits",
                    seen=f"{self._most_bits} bits",
                    fix="choose slice-bits{subtraction=digital}, or fewer bits a cell",
                ),
            ],
        )

    @property
    def _slice_bits(self) -> tuple[int, ...]:
        """Bits of every slice, least significant first; empty for an even cut."""
        return tuple(map(int, reversed(self.cut.split("-")))) if _CUT.fullmatch(self.cut) else ()

    @property
    def _most_bits(self) -> int:
        return max(self._slice_bits, default=self.bits_per_cell)

    def with_widths(self, widths: Mapping[str, tuple[int, ...]]) -> tuple["SliceBits", ...]:
        """Passes that cut each layer as it is said there, by name, least significant slice first."""
        layers: dict[str, list[str]] = {}
        for name, bits in widths.items():
            layers.setdefault("-".join(map(str, reversed(bits))), []).append(name)
        *some, (last, _) = layers.items()
        return (*(replace(self, cut=bits, only=tuple(names)) for bits, names in some), replace(self, cut=last))

    def layers(self, graph: Graph) -> Iterator[CrossbarLayer]:
        """Those of `only`. Raises `UsageError` BSC205 for a name that no layer has."""
        return selected(graph, self.only, self.name)

    def due(self, layer: CrossbarLayer) -> bool:
        """Whether a layer is not cut yet."""
        return layer.slicing is None

    def rewritten(self, graph: Graph, due: Sequence[CrossbarLayer], arrays: SideTable) -> Iterator[CrossbarLayer]:  # noqa: ARG002
        """See the module docstring.

        Raises:
            ModelError: BSC309 for a layer that is not quantised.
            UsageError: BSC205 if the slices of `cut` do not add up to the bits of a stored code.
        """
        return map(self._cut, due)

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
        slicing = Slicing(
            slice_bits=cells.slice_bits,
            encoding=cells.encoding,
            subtraction=cells.subtraction,
            flip=cells.flip,
            dac_bits=self.dac_bits,
        )
        return replace(layer, slicing=slicing)
