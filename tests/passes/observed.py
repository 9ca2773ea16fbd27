"""Tiled graphs with observations made by hand, for the passes that rest on data."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

import hw_models
from bsc.compiler.observation import with_observations
from bsc.ir.adc_pass import AdcPass, Observation
from bsc.ir.graph import Graph, ReadingPrices
from bsc.ir.stages import layer_record
from bsc.mapping.arrays import array_key
from bsc.mapping.layer import Observed, TiledLayer
from bsc.numeric.encoding import Subtraction
from bsc.plan.document import Plan
from bsc.plan.planner import make_plan
from bsc.replay.dataset import Dataset
from passes.slice_bits import SliceBits
from passes.tile import Tile
from tests.bsc.plans import coded
from tests.passes.layers import array, coded_layer, compiled, network, the_layer

CYCLES = 8
"""Input cycles of the one vector of a layer made by hand."""


@dataclass(frozen=True)
class Prices:
    """Prices of one input cycle: of a conversion of 0, 1, 2, ... bits, of a row driven, and of a column held."""

    conversion_j: tuple[float, ...]
    row_j: float = 0.0
    column_j: float = 0.0

    def of(self, graph: Graph) -> ReadingPrices:
        """Of the only layer, which fills no more than one row tile."""
        layer = layer_record(TiledLayer, the_layer(graph), "a test")
        crossbars = array(graph, "allocated")
        if layer.cells.analog_pairs:
            crossbars = crossbars.sum(axis=3, keepdims=True)
        rows, columns = layer.mapped_rows, layer.mapped_columns
        held = np.diff([*layer.column_tiles()[1], columns])[:, None, None] * self.column_j
        crossbar_j = crossbars * rows * self.row_j + (crossbars > 0) * held
        return ReadingPrices(conversion_j=np.array(self.conversion_j) * CYCLES, crossbar_j=crossbar_j * CYCLES)


BITS_PRICE = Prices(tuple(float(bits) for bits in range(17)))
"""A conversion of N bits costs N, and nothing else costs anything."""


def tiled(
    codes: ArrayLike, *, rows: int = 4, cols: int = 2, weight_bits: int = 2, subtraction: Subtraction = "digital"
) -> Graph:
    """One layer with codes of one slice."""
    steps = SliceBits(subtraction=subtraction), Tile(rows=rows, cols=cols)
    return compiled(coded_layer(codes, weight_bits=weight_bits), *steps)


def observed(
    graph: Graph,
    *,
    highest: ArrayLike | None = None,
    lowest: ArrayLike | None = None,
    beyond: ArrayLike | None = None,
    conversions: int = 10,
    squared_error: ArrayLike | None = None,
    step: ArrayLike | None = None,
    low: ArrayLike | None = None,
    mean: ArrayLike | None = None,
    sensitivity: float | None = None,
    prices: Prices = BITS_PRICE,
) -> Graph:
    """The graph with these sums (N,) and tables (N, B) of its positive columns, or pairs, of one slice and row group.

    Without highest sums no data showed anything; of pairs all that is not given is 0.
    """
    layer = the_layer(graph)
    assert layer.slicing is not None
    paired = layer.slicing.subtraction == "analog"
    columns = array(graph, "sums").shape[-1]

    def table(values: ArrayLike, dtype: Any) -> NDArray[Any]:
        first = np.array(values, dtype)
        return first[None, None, None] if paired else np.stack([first, np.zeros_like(first)])[None, None]

    arrays = {"observed_sums": table(np.zeros(columns) if highest is None else highest, np.uint32)}
    if paired:
        arrays["observed_lows"] = table(np.zeros(columns) if lowest is None else lowest, np.int32)
        low = low if low is not None or step is None else np.zeros_like(step)
    for name, values, dtype in (
        ("beyond", beyond, np.uint32),
        ("step", step, np.uint8),
        ("low", low, np.int32),
        ("squared_error", squared_error, np.float32),
        ("mean", mean, np.float32),
    ):
        if values is not None:
            arrays[name] = table(values, dtype)
    if "step" in arrays:
        arrays["step"][:, :, 1:] = 1
    if sensitivity is not None:
        arrays["sensitivity"] = np.array([sensitivity])
    record = Observed(samples=2, vectors=2, conversions=conversions)
    tables = {array_key("fc", name): values for name, values in arrays.items()}
    return graph.with_layers({"fc": replace(layer, observed=record)}, tables).with_prices({"fc": prices.of(graph)})


def really_observed(graph: Graph, inputs: NDArray[Any], wanted: Observation | None) -> Graph:
    """The graph with observations of these inputs (V, K)."""
    assert wanted is not None
    data = Dataset(inputs={"x": inputs.astype(np.float32)}, labels=None, batch=256, sha256="", free_batch=True)
    return with_observations(graph, hw_models.load("isaac"), hw_models.load_law("isaac"), data, wanted)


def plan_from_data(codes: ArrayLike, inputs: NDArray[Any], step: AdcPass, **slicing: Any) -> Plan:
    """The plan of one layer on crossbars of 16 x 5, assigned by a pass that observes these input codes (V, K).

    Args:
        codes: weight codes (K, N).
        inputs: 0 to 255.
        step: the pass.
        slicing: options of `slice-bits`.
    """
    layer = coded(codes)
    graph = compiled(network(layer.layer, arrays=layer.arrays), SliceBits(**slicing), Tile(rows=16, cols=5))
    graph = compiled(really_observed(graph, inputs, step.observes()), step)
    return make_plan(graph, hw_models.load("isaac"), "made by hand", None)


def bits_and_steps(graph: Graph) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """(R, S, Q, N) each."""
    return array(graph, "adc_bits"), array(graph, "adc_lsb")


def lowest_codes(graph: Graph) -> NDArray[np.int32]:
    """(R, S, Q, N)."""
    found = graph.arrays_of("fc")
    return found["adc_low"] if "adc_low" in found else np.zeros(found["adc_bits"].shape, np.int32)
