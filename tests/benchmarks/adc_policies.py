"""Time and memory of the ADC policies that rest on data, on as many slice columns as VGG-19 for ImageNet has.

    python -m tests.benchmarks.adc_policies {calibrate-adc|budget-adc} {column|tile|slice}

Weights are random and 70 % zero; observations are made up, every table written in full. One process a measurement, so
that the peak is its own. README.md has the figures.
"""

import resource
import sys
import time
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

import hw_models
from bsc.cost.reading import reading_prices
from bsc.ir.graph import Graph
from bsc.ir.layer import CrossbarLayer
from bsc.ir.mapped import mapping_of
from bsc.mapping.arrays import array_key
from bsc.mapping.layer import Observed, Quantised
from bsc.numeric.sharing import AdcSharing
from passes.assign_adc import AssignAdc
from passes.budget_adc import BudgetAdc
from passes.calibrate_adc import CalibrateAdc
from passes.slice_bits import SliceBits
from passes.tile import Tile
from tests.passes.layers import FC_WEIGHT, fc, network

LAYERS = ((25088, 4096), (4096, 4096), (4096, 1000), *((4608, 512),) * 8, (2304, 512), (2304, 256), (1152, 256))
RESOLUTIONS = 10
POLICIES = {"calibrate-adc": CalibrateAdc, "budget-adc": BudgetAdc}


def tiled() -> Graph:
    """The layers one behind the other, sliced and tiled."""
    random = np.random.default_rng(0)
    layers: list[CrossbarLayer] = []
    arrays: dict[str, ArrayLike] = {FC_WEIGHT: np.zeros((1, 1))}
    for index, (rows, columns) in enumerate(LAYERS):
        codes = random.integers(-255, 256, (rows, columns), np.int16)
        codes[random.random(codes.shape, np.float32) < 0.7] = 0
        quant = Quantised(weight_bits=8, input_bits=8, input_signed=False, input_scale=1.0, input_zero_point=0)
        arrays |= {array_key(str(index), "codes"): codes, array_key(str(index), "weight_scale"): [1.0]}
        reads, writes = f"t{index}" if index else "x", "y" if index == len(LAYERS) - 1 else f"t{index + 1}"
        layers.append(fc(rows, columns, name=str(index), input=reads, output=writes, quant=quant))
    graph = network(*layers, arrays=arrays)
    for step in (SliceBits(), Tile()):
        graph = step.run(graph).graph
    return graph


def observed(graph: Graph) -> Graph:
    """The graph with made-up tables of the size that real ones have."""
    layers: dict[str, CrossbarLayer] = {}
    arrays: dict[str, NDArray[Any]] = {}
    for layer in graph.layers():
        sums = graph.arrays_of(layer.name)["sums"]
        shape = (*sums.shape, RESOLUTIONS)
        tables = {
            "observed_sums": sums // 2,
            "sensitivity": np.full(4, 1e-9),
            "beyond": np.full(shape, (9, 9, 9, 5, 3, 0, 0, 0, 0, 0), np.uint32),
            "step": np.ones(shape, np.uint8),
            "squared_error": np.full(shape, 4.0 ** -np.arange(RESOLUTIONS), np.float32),
        }
        arrays |= {array_key(layer.name, name): values for name, values in tables.items()}
        record = Observed(samples=1, vectors=1, conversions=8)
        layers[layer.name] = replace(layer, observed=record)
    graph = graph.with_layers(layers, arrays)
    target, law = hw_models.load("isaac"), hw_models.load_law("isaac")
    mapping = mapping_of(AssignAdc(policy="fixed").run(graph).graph)
    return graph.with_prices(
        {layer.name: reading_prices(layer, mapping.arrays(layer), target, law) for layer in mapping.layers}
    )


def main(policy: str, granularity: AdcSharing) -> None:
    """Measure one policy."""
    graph = observed(tiled())
    columns = sum(graph.arrays_of(layer.name)["sums"].size for layer in graph.layers())
    start, cpu_start = time.perf_counter(), time.process_time()
    POLICIES[policy](granularity=granularity).run(graph)
    wall_s, cpu_s = time.perf_counter() - start, time.process_time() - cpu_start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    times = f"{cpu_s:.1f} s of CPU, {wall_s:.1f} s in all"
    sys.stdout.write(f"{policy} per {granularity}: {columns} columns, {times}, peak {peak:.2f} GB\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])  # type: ignore[arg-type]
