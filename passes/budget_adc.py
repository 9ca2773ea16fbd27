"""budget-adc: buy resolution where it does most good for the model's outputs.

    before   column sums, divisors (R, S, P, N), what was observed of conversions, and prices
    after    bits and step (R, S, Q, N), for pairs that are subtracted before the ADC the lowest code too; 0 bits where
             a conversion is not worth its price, and no crossbar on which none is

Every slice column or pair, or every group of them with one ADC setting, takes the resolution that minimises

    energy of its conversions / energy of the lossless plan  +  caution * noise-to-signal ratio it adds to the outputs

and a crossbar is left out where driving it costs more than its columns gain by the same measure; two that share their
conversions are driven or left out together. The lossless plan
counts with its conversions and the driving of its crossbars. Noise is the damage of `bsc.numeric.damage`, carried to
the outputs by the sensitivity that was measured for the layer and slice. One `caution` for all makes it the cheapest
plan for the noise that is predicted. How accurate it is, is not for this pass to say: `bsc compile
--max-accuracy-drop` chooses `caution` by tests on held-out data.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from bsc.ir.adc_pass import AdcPass, Observation, PolicyWord, needs_data
from bsc.ir.graph import Graph
from bsc.ir.layer import AdcAssignment, CrossbarLayer, Observed, Slicing, Tiling
from bsc.ir.passbase import check_options
from bsc.ir.sidetable import SideTable
from bsc.mapping.layer import AdcGranularity, AdcPolicy
from bsc.numeric.allocation import bias_correction, cheapest_bits, taken
from bsc.numeric.column_stats import lossless_bits
from bsc.numeric.quantizer import input_cycles
from bsc.numeric.sharing import sharing_groups
from bsc.numeric.tiles import column_widths, per_column, per_crossbar, per_row_group, per_tile
from passes.assign_adc import AssignAdc

DEFAULT_CAUTION = 100.0


@dataclass(frozen=True)
class BudgetAdc(AdcPass):
    """Assign ADC resolutions to every observed layer; layers that have them are left alone.

    Attributes:
        granularity: what shares one resolution and step: each "column", "tile" (crossbar) or "slice" of a layer.
        caution: price of noise, in energies of the lossless plan for a noise-to-signal ratio of 1; above 0.
        correct: "bias" takes the mean error of each column on the calibration data out of its results.
        vectors: input vectors that are observed of each layer, about.
        seed: of the choice of vectors.
    """

    name = "budget-adc"
    words = (PolicyWord(name="budgeted", meaning="within --max-accuracy-drop"),)
    has_caution = True

    granularity: AdcGranularity = "column"
    caution: float = DEFAULT_CAUTION
    correct: Literal["nothing", "bias"] = "nothing"
    vectors: int = 4096
    seed: int = 0

    def __post_init__(self) -> None:
        check_options(
            self,
            ("caution", 0 < self.caution < float("inf"), "above 0"),
            ("vectors", self.vectors >= 1, "1 or more"),
            ("seed", self.seed >= 0, "0 or more"),
        )

    @property
    def policy_name(self) -> AdcPolicy:
        """Always the same."""
        return "budgeted"

    def lossless(self) -> AssignAdc:
        """What is proved, which endless caution never exceeds."""
        return AssignAdc(granularity=self.granularity)

    def with_caution(self, caution: float) -> Self:
        """The pass at another price of noise."""
        return replace(self, caution=caution)

    def observes(self) -> Observation:
        """Column sums, the damage of every resolution, and what damage does to the outputs."""
        return Observation(
            granularity=self.granularity,
            vectors=self.vectors,
            seed=self.seed,
            damage=True,
            mean=self.correct == "bias",
            sensitivity=True,
        )

    def rewritten(self, graph: Graph, due: Sequence[CrossbarLayer], arrays: SideTable) -> Iterator[CrossbarLayer]:
        """See the module docstring.

        Raises:
            UsageError: BSC201 if a layer was not observed.
            ModelError: BSC309 for a layer that is not tiled.
        """
        priced = [_Priced.of(self, graph, layer) for layer in due]
        whole = sum(each.lossless_j for each in priced) or 1.0
        return (self._assign(graph, each, whole, arrays) for each in priced)

    def _assign(self, graph: Graph, priced: "_Priced", whole: float, arrays: SideTable) -> CrossbarLayer:
        layer, tiling, observed = priced.layer, priced.tiling, priced.observed
        if observed.step is None or observed.damage is None or observed.sensitivity is None:
            raise needs_data(self.name)
        adc = AdcAssignment.of(
            layer.name,
            self.policy_name,
            self.granularity,
            low=observed.low is not None,
            correction=self.correct == "bias",
        )
        damage = graph.array(observed.damage)
        shape = damage.shape[:4]
        worth = priced.slicing.cells.read_worth()
        noise = self.caution * np.array(observed.sensitivity)[:, None] * worth.astype(np.float64) ** 2
        weight = np.broadcast_to(noise[None, :, :, None], shape)
        known = priced.conversion_j[: damage.shape[-1]] / whole
        prices = np.full(damage.shape[-1], np.inf)  # what is wider than any ADC is never chosen
        prices[: len(known)] = np.where(np.isnan(known), np.inf, known)
        groups = sharing_groups(self.granularity, shape, tiling.column_starts, tiling.groups_per_tile)
        bits = cheapest_bits(prices, damage, weight, priced.converted, groups)

        # A crossbar is read at all only if its conversions do more good than that costs. Resolutions that crossbars
        # share were chosen as if all of them were read: good, but not the very best.
        good = weight * (damage[..., 0] - taken(damage, bits)) - prices[bits]
        crossbars = per_tile(np.add, per_crossbar(np.add, good, tiling.column_starts), tiling.groups_per_tile)
        read = crossbars > priced.driving_j / whole
        by_column = per_column(read, tiling.column_starts, shape[-1])
        bits = np.where(per_row_group(by_column, shape[0], tiling.groups_per_tile), bits, 0)

        arrays[tiling.allocated] = graph.array(tiling.allocated) & read
        arrays[adc.bits] = bits.astype(np.uint8)
        arrays[adc.step] = np.where(bits > 0, taken(graph.array(observed.step), bits), 1).astype(np.uint8)
        if adc.low is not None:
            assert observed.low is not None
            arrays[adc.low] = np.where(bits > 0, taken(graph.array(observed.low), bits), 0).astype(np.int32)
        if adc.correction is not None:
            assert observed.mean is not None
            mean, flipped = taken(graph.array(observed.mean), bits), tiling.flipped
            arrays[adc.correction] = bias_correction(mean, worth, None if flipped is None else graph.array(flipped))
        return replace(layer, adc=adc)


@dataclass(frozen=True, eq=False, kw_only=True)
class _Priced:
    """A layer and what reading it costs in one inference.

    Attributes:
        layer: the layer.
        slicing: of the layer.
        tiling: of the layer.
        observed: of the layer.
        converted: conversions that can meet anything but 0, (R, S, Q, N).
        conversion_j: joules of converting one column at 0, 1, 2, ... bits in all cycles of all input vectors.
        driving_j: joules of driving what the conversions of a crossbar need, and of holding its sums, (T, C, S, Q).
        lossless_j: joules of the layer if every conversion were lossless.
    """

    layer: CrossbarLayer
    slicing: Slicing
    tiling: Tiling
    observed: Observed
    converted: NDArray[np.bool_]
    conversion_j: NDArray[np.float64]
    driving_j: NDArray[np.float64]
    lossless_j: float

    @classmethod
    def of(cls, step: BudgetAdc, graph: Graph, layer: CrossbarLayer) -> "_Priced":
        quant, slicing, tiling = step.tiled(layer)
        if layer.observed is None or graph.prices is None:
            raise needs_data(step.name)
        prices = graph.prices
        cycles = input_cycles(quant.input_bits, signed=quant.input_signed, dac_bits=slicing.dac_bits)
        reads = layer.vectors * len(cycles)

        rows, columns = layer.mapped_shape
        widths = column_widths(tiling.column_starts, columns)
        if tiling.groups_per_crossbar > 1:
            driven = (widths * layer.groups // max(columns, 1) * rows)[None]
        else:
            driven = np.minimum(rows - np.arange(0, rows, tiling.rows), tiling.rows)[:, None]
        held = widths * min(tiling.groups_per_tile, tiling.row_groups)
        cells = tiling.rows * tiling.cols * prices.cell_j
        crossbar_j, held_j = driven * prices.row_j + cells, held * prices.column_j
        existing = graph.array(tiling.allocated)
        if slicing.cells.conversions < existing.shape[3]:  # both crossbars of a pair are driven, one sum is held
            existing = existing.sum(axis=3, keepdims=True)
        driving_j = reads * (existing * crossbar_j[..., None, None] + (existing > 0) * held_j[:, None, None])

        reached = step.reach(graph, layer)
        span = (reached.high - reached.low).astype(np.uint32)
        counts = np.bincount(lossless_bits(span, reached.step).ravel(), minlength=1)
        each = np.array(prices.conversion_j)
        known = np.where(np.isnan(each), np.nanmax(each), each)  # only a scale: rough will do
        lossless = counts @ known[np.minimum(np.arange(len(counts)), len(known) - 1)]
        return cls(
            layer=layer,
            slicing=slicing,
            tiling=tiling,
            observed=layer.observed,
            converted=span > 0,
            conversion_j=each * reads,
            driving_j=driving_j,
            lossless_j=float(lossless) * reads + float(driving_j.sum()),
        )
