"""Attaches to a tiled graph what a pass asks for: column sums on calibration data, sensitivities and prices."""

from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from bsc.compile.column_observer import LayerObservation, observe
from bsc.compile.sensitivity import measure_sensitivity
from bsc.cost.reading import reading_prices
from bsc.hardware.adc_law import AdcLaw
from bsc.hardware.target import Target
from bsc.ir.adc_pass import Observation
from bsc.ir.graph import Graph
from bsc.ir.layer import CrossbarLayer, Observed
from bsc.ir.mapped import mapping_of
from bsc.ir.sidetable import SideTable
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
        layers[layer.name] = _attached(layer, data.samples, seen[layer.name], sensitivity.get(layer.name), arrays)
    graph = graph.with_layers(layers, arrays)
    if not wanted.prices:
        return graph
    each = mapping.layers
    return graph.with_prices({layer.name: reading_prices(layer, mapping.arrays(layer), target, law) for layer in each})


def _attached(
    layer: CrossbarLayer,
    samples: int,
    seen: LayerObservation,
    sensitivity: tuple[float, ...] | None,
    arrays: SideTable,
) -> CrossbarLayer:
    def key(name: str, values: NDArray[Any] | None) -> str | None:
        if values is None:
            return None
        arrays[f"{layer.name}/observed-{name}"] = values
        return f"{layer.name}/observed-{name}"

    highest = key("highest", seen.highest)
    assert highest is not None
    tables = seen.tables
    observed = Observed(
        samples=samples,
        vectors=seen.vectors,
        conversions=seen.conversions,
        lowest=key("lowest", seen.lowest),
        highest=highest,
        step=key("step", tables.step if tables else None),
        low=key("low", tables.low if tables else None),
        beyond=key("beyond", tables.beyond if tables else None),
        damage=key("damage", tables.damage if tables else None),
        mean=key("mean", tables.mean if tables else None),
        sensitivity=sensitivity,
    )
    return replace(layer, observed=observed)
