"""assign-adc: give every slice column the resolution of its conversions.

    before   column sums, divisors (R, S, P, N)
    after    bits and step (R, S, Q, N), for pairs that are subtracted before the ADC the lowest code too; 0 bits where
             nothing is converted

`lossless` is a proof that needs no data. A column sum y is at most U = d * sum of its cells, d the highest input digit,
whatever the input, and a multiple of its cells' greatest common divisor g. With step g and
b = ceil(log2(U / g + 1)) bits every reachable y has a code of its own, so the conversion is exact; a column of
zeros (U = 0) is never converted. The difference of a pair lies between -U of its negative and U of its positive
column: an ADC with a zero that can be set counts from there, and one conversion takes the place of two. `isaac` gives
every column of an allocated crossbar 8 bits [isaac16] and `fixed` any other width, both with step 1 and saturation,
pairs half below zero: whether such a column is exact is known, not assumed.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bsc.hardware.adc_law import MAX_ADC_BITS
from bsc.ir.adc_pass import AdcPass, PolicyWord
from bsc.ir.graph import Graph
from bsc.ir.layer import CrossbarLayer
from bsc.ir.passbase import check_options
from bsc.ir.sidetable import SideTable
from bsc.mapping.arrays import array_key
from bsc.mapping.layer import AdcPolicy, TiledLayer
from bsc.numeric.column_stats import lossless_bits
from bsc.numeric.sharing import AdcSharing
from bsc.numeric.tiles import per_column, per_crossbar, per_row_group, per_tile

ISAAC_BITS = 8


@dataclass(frozen=True)
class AssignAdc(AdcPass):
    """Assign ADC resolutions to every tiled layer; layers that have them are left alone.

    Attributes:
        policy: "lossless", "isaac" or "fixed".
        granularity: what shares one resolution and step under "lossless": each "column", each "tile"
            (crossbar) or each "slice" of a layer.
        bits: resolution of "fixed", 1 to 16.
    """

    name = "assign-adc"
    words = (
        PolicyWord(name="lossless", meaning="proved for every slice column", options={"policy": "lossless"}),
        PolicyWord(name="isaac", meaning="8 bits", options={"policy": "isaac"}),
        PolicyWord(name="fixed", meaning="N bits", options={"policy": "fixed"}, number="bits"),
    )

    policy: Literal["lossless", "isaac", "fixed"] = "lossless"
    granularity: AdcSharing = "column"
    bits: int = ISAAC_BITS

    def __post_init__(self) -> None:
        check_options(self, ("bits", 1 <= self.bits <= MAX_ADC_BITS, f"1 to {MAX_ADC_BITS}"))

    @property
    def policy_name(self) -> AdcPolicy:
        """The option itself."""
        return self.policy

    @property
    def uniform_bits(self) -> int | None:
        """Of "isaac" and "fixed"."""
        return {"isaac": ISAAC_BITS, "fixed": self.bits}.get(self.policy)

    def rewritten(self, graph: Graph, due: Sequence[CrossbarLayer], arrays: SideTable) -> Iterator[CrossbarLayer]:
        """See the module docstring.

        Raises:
            ModelError: BSC309 for a layer that is not tiled.
            DoesNotFitError: BSC401 when a lossless column needs more than 16 bits.
        """
        for layer in due:
            bits, step, low = self._assign(graph.arrays_of(layer.name), self.tiled(layer))
            key = partial(array_key, layer.name)
            arrays[key("adc_bits")], arrays[key("adc_lsb")] = bits, step
            if low is not None:
                arrays[key("adc_low")] = low
            yield self.assigned(layer)

    def _assign(
        self, arrays: Mapping[str, NDArray[Any]], layer: TiledLayer
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.int32] | None]:
        """Bits, step and, where it is not 0, lowest code of every conversion."""
        _, starts = layer.column_tiles()
        paired = layer.cells.analog_pairs

        def from_tiles(values: NDArray[Any]) -> NDArray[Any]:  # (T, C, S, Q) to (R, S, Q, N)
            by_column = per_column(values, starts, layer.mapped_columns)
            return per_row_group(by_column, layer.row_groups, layer.groups_per_tile)

        def shared(combine: np.ufunc, values: NDArray[Any]) -> NDArray[Any]:  # one value for all of a crossbar
            crossbars = per_crossbar(combine, values, starts)
            return from_tiles(per_tile(combine, crossbars, layer.groups_per_tile))

        if (width := self.uniform_bits) is not None:
            exists = arrays["allocated"]
            read = from_tiles(np.asarray(exists.any(axis=3, keepdims=True)) if paired else exists)
            bits = np.where(read, np.uint8(width), np.uint8(0))
            lowest = np.where(read, np.int32(-(1 << (width - 1))), np.int32(0)) if paired else None
            return bits, np.ones(read.shape, np.uint8), lowest
        found = self.sum_range(arrays, layer)
        low, high, step = found.low, found.high, found.step
        converted = high > low
        if self.granularity == "slice":
            low = np.broadcast_to(low.min(axis=(0, 2, 3), keepdims=True, initial=0), low.shape)
            high = np.broadcast_to(high.max(axis=(0, 2, 3), keepdims=True, initial=0), high.shape)
            step = np.broadcast_to(np.gcd.reduce(step, axis=(0, 2, 3), keepdims=True), step.shape)
        elif self.granularity == "tile":
            low, high, step = shared(np.minimum, low), shared(np.maximum, high), shared(np.gcd, step)
        needed = np.empty(high.shape, np.uint8)
        for group in range(len(needed)):  # one at a time, so that the temporaries stay in cache
            span = high[group] - low[group]
            needed[group] = np.where(converted[group], lossless_bits(span.astype(np.uint32), step[group]), 0)
        self.require_convertible(layer, int(needed.max(initial=0)))
        steps = np.where(converted, step, 1).astype(np.uint8)
        return needed, steps, np.where(converted, low // steps, 0).astype(np.int32) if paired else None
