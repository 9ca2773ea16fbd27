"""calibrate-adc: give every slice column, or pair of them, the fewest bits that hold what calibration data showed.

    before   column sums, divisors (R, S, P, N), and what was observed of conversions
    after    bits and step (R, S, Q, N), for pairs that are subtracted before the ADC the lowest code too; 0 bits where
             nothing is converted

None of N observed input vectors drives a column beyond its codes. Of further ones that are like them and independent at
most 3.0 / N do, for pairs 4.7 / N, with 95 % confidence; see `bsc.numeric.tolerance`. It is a statement about data, not
a proof: never more bits are assigned than are proved to be enough, and where as many are, the proof stays.

With `clip-share` some observed conversions may clip, with `most-bits` no column gets more bits than that. Both lose
something, and then each column has the step and lowest code of least squared error for its bits; see
`bsc.numeric.squared_error`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bsc.hardware.adc_law import MAX_ADC_BITS
from bsc.ir.adc_pass import AdcPass, Observation, PolicyWord, needs_data
from bsc.ir.graph import Graph
from bsc.ir.layer import CrossbarLayer
from bsc.ir.passbase import check_options
from bsc.ir.sidetable import SideTable
from bsc.mapping.arrays import array_key
from bsc.mapping.layer import AdcPolicy
from bsc.numeric.allocation import at_bits, bias_correction, covering_bits
from bsc.numeric.sharing import AdcSharing, sharing_groups
from bsc.numeric.windows import Windows
from passes.assign_adc import AssignAdc


@dataclass(frozen=True)
class CalibrateAdc(AdcPass):
    """Assign ADC resolutions to every observed layer; layers that have them are left alone.

    Attributes:
        granularity: what shares one resolution and step: each "column", "tile" (crossbar) or "slice" of a layer.
        spare_bits: bits beyond those that hold the observed sums, 0 to 16.
        clip_share: share of a column's observed conversions that may clip, 0 to below 1.
        most_bits: no column gets more; 0 for no limit.
        correct: "bias" takes the mean error of each column on the calibration data out of its results.
        vectors: input vectors that are observed of each layer, about.
        seed: of the choice of vectors.
    """

    name = "calibrate-adc"
    words = (
        PolicyWord(name="calibrated", meaning="holds what --calib data showed"),
        PolicyWord(name="calibrated", meaning="the same, N bits at most", number="most-bits"),
    )

    granularity: AdcSharing = "column"
    spare_bits: int = 0
    clip_share: float = 0.0
    most_bits: int = 0
    correct: Literal["nothing", "bias"] = "nothing"
    vectors: int = 4096
    seed: int = 0

    def __post_init__(self) -> None:
        check_options(
            self,
            ("spare-bits", 0 <= self.spare_bits <= MAX_ADC_BITS, f"0 to {MAX_ADC_BITS}"),
            ("clip-share", 0 <= self.clip_share < 1, "0 or more and below 1"),
            ("most-bits", 0 <= self.most_bits <= MAX_ADC_BITS, f"0 to {MAX_ADC_BITS}"),
            ("vectors", self.vectors >= 1, "1 or more"),
            ("seed", self.seed >= 0, "0 or more"),
        )

    @property
    def policy_name(self) -> AdcPolicy:
        """Always the same."""
        return "calibrated"

    def lossless(self) -> AssignAdc:
        """What is proved, which is never fewer bits."""
        return AssignAdc(granularity=self.granularity)

    def observes(self) -> Observation:
        """Column sums, and the squared error of resolutions that lose something."""
        return Observation(
            granularity=self.granularity,
            vectors=self.vectors,
            seed=self.seed,
            squared_error=self._lossy,
            mean=self.correct == "bias",
            sensitivity=False,
            prices=False,
        )

    @property
    def _lossy(self) -> bool:
        return self.clip_share > 0 or self.most_bits > 0 or self.correct == "bias"

    def rewritten(self, graph: Graph, due: Sequence[CrossbarLayer], arrays: SideTable) -> Iterator[CrossbarLayer]:
        """See the module docstring.

        Raises:
            UsageError: BSC201 if a layer was not observed.
            ModelError: BSC309 for a layer that is not tiled.
        """
        return (self._assign(graph, layer, arrays) for layer in due)

    def _assign(self, graph: Graph, layer: CrossbarLayer, arrays: SideTable) -> CrossbarLayer:
        tiled, found = self.tiled(layer), graph.arrays_of(layer.name)
        if tiled.observed is None:
            raise needs_data(self.name)

        def table(name: str) -> NDArray[Any]:
            if name not in found:
                raise needs_data(self.name)
            return found[name]

        reached = self.sum_range(found, tiled)
        starts = tiled.column_tiles()[1]
        groups = sharing_groups(self.granularity, reached.high.shape, starts, tiled.groups_per_tile)
        windows = Windows.of(reached, found.get("observed_lows"), found["observed_sums"], groups)
        bits = windows.covering
        if self.clip_share:
            bits = covering_bits(
                table("beyond"),
                reached.high > reached.low,
                groups,
                conversions=tiled.observed.conversions,
                clip_share=self.clip_share,
            )
        # At least one bit: a column that calibration data never drove may still be driven, and then shows it.
        bits = np.minimum(np.maximum(bits, 1) + self.spare_bits, windows.proved)
        if self.most_bits:
            bits = np.minimum(bits, self.most_bits)
        bits = np.where(reached.high > reached.low, bits, 0)
        self.require_convertible(tiled, int(bits.max(initial=0)))
        key = partial(array_key, layer.name)
        step = at_bits(table("step"), bits) if self._lossy else windows.unit
        arrays[key("adc_bits")] = bits.astype(np.uint8)
        arrays[key("adc_lsb")] = np.where(bits > 0, step, 1).astype(np.uint8)
        if tiled.subtraction == "analog":
            low = at_bits(table("low"), bits) if self._lossy else windows.codes_from(bits)
            arrays[key("adc_low")] = np.where(bits > 0, low, 0).astype(np.int32)
        if self.correct == "bias":
            mean = at_bits(table("mean"), bits)
            arrays[key("correction")] = bias_correction(mean, tiled.cells.read_place_values(), found.get("flipped"))
        return self.assigned(layer)
