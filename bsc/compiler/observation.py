"""Attaches to a tiled graph what a pass asks for: column sums on calibration data, sensitivities and prices."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bsc.compiler.column_observer import LayerObservation, observe
from bsc.compiler.sensitivity import measure_sensitivity
from bsc.cost.reading import reading_prices
from bsc.hardware.adc_law import AdcLaw
from bsc.hardware.target import Target
from bsc.ir.adc_pass import Observation
from bsc.ir.graph import Graph
from bsc.ir.layer import CrossbarLayer
from bsc.ir.mapped import mapping_of
from bsc.ir.sidetable import SideTable
from bsc.mapping.arrays import array_key
from bsc.mapping.layer import Observed
from bsc.replay.dataset import Dataset
from passes.assign_adc import AssignAdc


def with_observations(graph: Graph, target: Target, law: AdcLaw, data: Dataset, wanted: Observation) -> Graph:
    """A graph whose layers know what was observed of them.

    Args:
        graph: every layer quantised, sliced and tiled.
        target: gives the prices.
        law: how the price of a conversion follows its resolution.
        data: calibration data.
        wanted: what a pass asks for.

    Raises:
        ModelError: BSC309 for a layer that is not tiled.
        UsageError: BSC206 if the target has no price for conversions.
    """
    # Any assignment makes a mapping of the tiled graph; what its ADCs would do is not looked at.
    mapping = mapping_of(AssignAdc(policy="fixed").run(graph).graph)
    seen = observe(mapping, data, wanted)
    sensitivity = measure_sensitivity(mapping, data, seen) if wanted.sensitivity else {}
    layers: dict[str, CrossbarLayer] = {}
    arrays = SideTable()
    for layer in graph.layers():
        found = seen[layer.name]
        observed = Observed(samples=data.samples, vectors=found.vectors, conversions=found.conversions)
        layers[layer.name] = replace(layer, observed=observed)
        for name, values in _arrays(found, sensitivity.get(layer.name)).items():
            arrays[array_key(layer.name, name)] = values
    graph = graph.with_layers(layers, arrays)
    if not wanted.prices:
        return graph
    each = mapping.layers
    return graph.with_prices({layer.name: reading_prices(layer, mapping.arrays(layer), target, law) for layer in each})


def _arrays(seen: LayerObservation, sensitivity: tuple[float, ...] | None) -> dict[str, NDArray[Any]]:
    """What was observed of a layer, by the names of its arrays."""
    arrays: dict[str, NDArray[Any]] = {"observed_sums": seen.highest}
    if seen.lowest is not None:
        arrays["observed_lows"] = seen.lowest
    if seen.tables is not None:
        arrays |= seen.tables.by_name()
    if sensitivity is not None:
        arrays["sensitivity"] = np.array(sensitivity)
    return arrays
