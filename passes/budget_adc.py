"""budget-adc: buy resolution where it does most good for the model's outputs.

    before   column sums, divisors (R, S, P, N), what was observed of conversions, and prices
    after    bits and step (R, S, Q, N), for pairs that are subtracted before the ADC the lowest code too; 0 bits where
             a conversion is not worth its price, and no crossbar on which none is

Every slice column or pair, or every group of them with one ADC setting, takes the resolution that minimises

    energy of its conversions / energy of the lossless plan  +  noise_price * noise-to-signal ratio of the outputs

and a crossbar is left out where driving it costs more than its columns gain by the same measure; two that share their
conversions are driven or left out together. The lossless plan counts with its conversions and the driving of its
crossbars. Noise is the squared error of `bsc.numeric.squared_error`, carried to the outputs by the sensitivity that was
measured for the layer and slice. One `noise_price` for all makes it the cheapest plan for the noise that is predicted.
How accurate it is, is not for this pass to say: `bsc compile --max-accuracy-drop` chooses `noise_price` by tests on
held-out data.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, Self

import numpy as np

from bsc.ir.adc_pass import AdcPass, Observation, PolicyWord, needs_data
from bsc.ir.graph import Graph, ReadingPrices
from bsc.ir.layer import CrossbarLayer
from bsc.ir.passbase import check_options
from bsc.ir.sidetable import SideTable
from bsc.mapping.arrays import array_key
from bsc.mapping.layer import AdcPolicy, TiledLayer
from bsc.numeric.allocation import at_bits, bias_correction, cheapest_bits
from bsc.numeric.column_stats import lossless_bits
from bsc.numeric.sharing import AdcSharing, sharing_groups
from bsc.numeric.tiles import per_column, per_crossbar, per_row_group, per_tile
from passes.assign_adc import AssignAdc

DEFAULT_CAUTION = 100.0


@dataclass(frozen=True)
class BudgetAdc(AdcPass):
    """Assign ADC resolutions to every observed layer; layers that have them are left alone.

    Attributes:
        granularity: what shares one resolution and step: each "column", "tile" (crossbar) or "slice" of a layer.
        noise_price: price of noise, in energies of the lossless plan for a noise-to-signal ratio of 1; above 0.
        correct: "bias" takes the mean error of each column on the calibration data out of its results.
        vectors: input vectors that are observed of each layer, about.
        seed: of the choice of vectors.
    """

    name = "budget-adc"
    words = (PolicyWord(name="budgeted", meaning="within --max-accuracy-drop"),)
    has_noise_price = True

    granularity: AdcSharing = "column"
    noise_price: float = DEFAULT_CAUTION
    correct: Literal["nothing", "bias"] = "nothing"
    vectors: int = 4096
    seed: int = 0

    def __post_init__(self) -> None:
        check_options(
            self,
            ("noise-price", 0 < self.noise_price < float("inf"), "above 0"),
            ("vectors", self.vectors >= 1, "1 or more"),
            ("seed", self.seed >= 0, "0 or more"),
        )

    @property
    def policy_name(self) -> AdcPolicy:
        """Always the same."""
        return "budgeted"

    def lossless(self) -> AssignAdc:
        """What is proved, which no noise price exceeds."""
        return AssignAdc(granularity=self.granularity)

    def with_noise_price(self, noise_price: float) -> Self:
        """The pass at another price of noise."""
        return replace(self, noise_price=noise_price)

    def observes(self) -> Observation:
        """Column sums, the squared error of every resolution, and what squared error does to the outputs."""
        return Observation(
            granularity=self.granularity,
            vectors=self.vectors,
            seed=self.seed,
            squared_error=True,
            mean=self.correct == "bias",
            sensitivity=True,
            prices=True,
        )

    def rewritten(self, graph: Graph, due: Sequence[CrossbarLayer], arrays: SideTable) -> Iterator[CrossbarLayer]:
        """See the module docstring.

        Raises:
            UsageError: BSC201 if a layer was not observed.
            ModelError: BSC309 for a layer that is not tiled.
        """
        tiled = [self.tiled(layer) for layer in due]
        whole = sum(self._lossless_j(graph, layer) for layer in tiled) or 1.0
        return (self._assign(graph, layer, whole, arrays) for layer in due)

    def _prices(self, graph: Graph, layer: TiledLayer) -> ReadingPrices:
        if layer.name not in graph.prices:
            raise needs_data(self.name)
        return graph.prices[layer.name]

    def _lossless_j(self, graph: Graph, layer: TiledLayer) -> float:
        """What a layer would cost if every conversion were lossless; only a scale, so rough where prices end."""
        prices, reached = self._prices(graph, layer), self.sum_range(graph.arrays_of(layer.name), layer)
        span = (reached.high - reached.low).astype(np.uint32)
        counts = np.bincount(lossless_bits(span, reached.step).ravel(), minlength=1)
        each = prices.conversion_j
        known = np.where(np.isnan(each), np.nanmax(each), each)[np.minimum(np.arange(len(counts)), len(each) - 1)]
        return float(counts @ known + prices.crossbar_j.sum())

    def _assign(self, graph: Graph, due: CrossbarLayer, whole: float, arrays: SideTable) -> CrossbarLayer:
        layer, found = self.tiled(due), graph.arrays_of(due.name)
        priced, reached = self._prices(graph, layer), self.sum_range(found, layer)
        if not {"step", "squared_error", "sensitivity"} <= found.keys():
            raise needs_data(self.name)
        squared_error = found["squared_error"]
        shape = squared_error.shape[:4]
        place_values = layer.cells.read_place_values()
        noise = self.noise_price * found["sensitivity"][:, None] * place_values.astype(np.float64) ** 2
        weight = np.broadcast_to(noise[None, :, :, None], shape)
        known = priced.conversion_j[: squared_error.shape[-1]] / whole
        prices = np.full(squared_error.shape[-1], np.inf)  # what is wider than any ADC is never chosen
        prices[: len(known)] = np.where(np.isnan(known), np.inf, known)
        starts = layer.column_tiles()[1]
        groups = sharing_groups(self.granularity, shape, starts, layer.groups_per_tile)
        bits = cheapest_bits(prices, squared_error, weight, reached.high > reached.low, groups)

        # A crossbar is read at all only if its conversions do more good than that costs. Resolutions that crossbars
        # share were chosen as if all of them were read: good, but not the very best.
        good = weight * (squared_error[..., 0] - at_bits(squared_error, bits)) - prices[bits]
        crossbars = per_tile(np.add, per_crossbar(np.add, good, starts), layer.groups_per_tile)
        read = crossbars > priced.crossbar_j / whole
        by_column = per_column(read, starts, shape[-1])
        bits = np.where(per_row_group(by_column, shape[0], layer.groups_per_tile), bits, 0)

        key = partial(array_key, layer.name)
        arrays[key("allocated")] = found["allocated"] & read
        arrays[key("adc_bits")] = bits.astype(np.uint8)
        arrays[key("adc_lsb")] = np.where(bits > 0, at_bits(found["step"], bits), 1).astype(np.uint8)
        if layer.cells.analog_pairs:
            arrays[key("adc_low")] = np.where(bits > 0, at_bits(found["low"], bits), 0).astype(np.int32)
        if self.correct == "bias":
            mean = at_bits(found["mean"], bits)
            arrays[key("correction")] = bias_correction(mean, place_values, found.get("flipped"))
        return self.assigned(due)
