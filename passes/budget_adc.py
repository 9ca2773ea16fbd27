"""budget-adc: buy resolution where it does most good for the model's outputs.

    before   column sums, divisors (R, S, P, N), what was observed of them, and prices of conversions
    after    bits and step (R, S, P, N); 0 bits where a conversion is not worth its price

Every slice column, or every group of columns with one ADC setting, takes the resolution that minimises

    energy of its conversions / energy of the lossless plan  +  caution * noise-to-signal ratio it adds to the outputs

where noise is the damage of `bsc.numeric.damage`, carried to the outputs by the sensitivity that was measured for
the layer and slice. One `caution` for all makes it the cheapest plan for the noise that it predicts. How accurate it
is, is not for this pass to say: `bsc compile --max-accuracy-drop` chooses `caution` by tests on held-out data.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bsc.errors import UsageError
from bsc.ir.graph import Graph
from bsc.ir.layer import AdcAssignment, AdcGranularity, CrossbarLayer
from bsc.ir.passbase import Observation, Pass, PassResult, needs_data, required
from bsc.numeric.allocation import bias_correction, cheapest_bits, taken
from bsc.numeric.column_stats import lossless_bits
from bsc.numeric.quantizer import input_cycles
from bsc.numeric.sharing import sharing_groups

DEFAULT_CAUTION = 100.0


@dataclass(frozen=True)
class BudgetAdc(Pass):
    """Assign ADC resolutions to every observed layer; layers that have them are left alone.

    Attributes:
        granularity: what shares one resolution and step: each "column", "tile" (crossbar) or "slice" of a layer.
        caution: price of noise, in energies of the lossless plan for a noise-to-signal ratio of 1; above 0.
        correct: "bias" takes the mean error of each column on the calibration data out of its results.
        vectors: input vectors that are observed of each layer, about.
        seed: of the choice of vectors.
    """

    name = "budget-adc"

    granularity: AdcGranularity = "column"
    caution: float = DEFAULT_CAUTION
    correct: Literal["nothing", "bias"] = "nothing"
    vectors: int = 4096
    seed: int = 0

    def __post_init__(self) -> None:
        for option, valid, limits in (
            ("caution", 0 < self.caution < float("inf"), "above 0"),
            ("vectors", self.vectors >= 1, "1 or more"),
            ("seed", self.seed >= 0, "0 or more"),
        ):
            if not valid:
                raise UsageError(
                    "BSC205",
                    f"pass 'budget-adc': {option} must be {limits}",
                    seen=str(getattr(self, option)),
                    fix=f"leave {option} out, or choose another value",
                )

    def observes(self) -> Observation:
        """Column sums, the damage of every resolution, and what damage does to the outputs."""
        return Observation(
            granularity=self.granularity,
            vectors=self.vectors,
            seed=self.seed,
            damage=True,
            sensitivity=True,
        )

    def run(self, graph: Graph) -> PassResult:
        """See the module docstring.

        Raises:
            UsageError: BSC201 if a layer was not observed.
            ModelError: BSC309 for a layer that is not tiled.
        """
        layers: dict[str, CrossbarLayer] = {}
        arrays: dict[str, NDArray[Any]] = {}
        whole = sum(self._lossless_energy(graph, layer) for layer in graph.layers())
        for layer in graph.layers():
            if layer.adc is None:
                layers[layer.name] = self._assign(graph, layer, whole, arrays)
        return PassResult(graph.with_layers(layers, arrays), tuple(layers)) if layers else PassResult(graph, ())

    def _lossless_energy(self, graph: Graph, layer: CrossbarLayer) -> float:
        """Joules that the conversions of a layer take if every column is read without loss."""
        slicing = required(layer.slicing, layer.name, self.name, "slice-bits")
        tiling = required(layer.tiling, layer.name, self.name, "tile")
        bound = graph.array(tiling.sums).astype(np.uint32) * np.uint32(slicing.max_drive)
        counts = np.bincount(lossless_bits(bound, graph.array(tiling.gcds)).ravel())
        prices = np.array(graph.conversion_j[: len(counts)])
        known = np.where(np.isnan(prices), np.nanmax(prices), prices)  # only a scale: a rough price will do
        return float(counts @ known) * _reads(layer)

    def _assign(
        self, graph: Graph, layer: CrossbarLayer, whole: float, arrays: dict[str, NDArray[Any]]
    ) -> CrossbarLayer:
        slicing = required(layer.slicing, layer.name, self.name, "slice-bits")
        tiling = required(layer.tiling, layer.name, self.name, "tile")
        observed = layer.observed
        if observed is None or observed.damage is None or observed.sensitivity is None:
            raise needs_data(self.name)
        assert observed.step is not None
        assert observed.mean is not None
        adc = AdcAssignment(
            policy="budgeted",
            granularity=self.granularity,
            bits=f"{layer.name}/adc-bits",
            step=f"{layer.name}/adc-step",
            correction=f"{layer.name}/adc-correction" if self.correct == "bias" else None,
        )
        converted = graph.array(tiling.sums) > 0
        groups = sharing_groups(self.granularity, converted.shape, tiling.column_starts, tiling.groups_per_tile)
        damage = graph.array(observed.damage)
        prices = np.array(graph.conversion_j[: damage.shape[-1]]) * _reads(layer) / whole if whole else np.zeros(0)
        prices = np.where(np.isnan(prices), np.inf, prices)
        worth = slicing.cells.worth()
        weight = self.caution * np.array(observed.sensitivity)[:, None] * worth.astype(np.float64) ** 2
        bits = cheapest_bits(prices, damage, np.broadcast_to(weight[None, :, :, None], converted.shape), groups)
        bits = np.where(converted, bits, 0)
        arrays[adc.bits] = bits.astype(np.uint8)
        arrays[adc.step] = np.where(bits > 0, taken(graph.array(observed.step), bits), 1).astype(np.uint8)
        if adc.correction is not None:
            arrays[adc.correction] = bias_correction(taken(graph.array(observed.mean), bits), worth)
        return replace(layer, adc=adc)


def _reads(layer: CrossbarLayer) -> int:
    """Conversions of every column in one inference."""
    assert layer.quant is not None
    assert layer.slicing is not None
    cycles = input_cycles(layer.quant.input_bits, signed=layer.quant.input_signed, dac_bits=layer.slicing.dac_bits)
    return layer.vectors * len(cycles)
