"""How many bits to give each slice of a layer: as few slices as a small, saturating ADC still reads well [raella23].

Every way to cut a code is tried on a few input vectors of the quantised model, fewest slices first: with the centres
that go with it, pairs subtracted before the ADC, and converters that saturate and round nothing. The error of a cut is
the mean difference of the layer's results, in steps of an 8-bit result, over the results that are not 0. Of the first
number of slices at which a cut is good enough, the best is taken. The last layer is cut into single bits, as in the
publication.
"""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bsc.compiler.steps import Steps
from bsc.ir.graph import Graph
from bsc.ir.mapped import mapping_of
from bsc.ir.pipeline import run_pipeline
from bsc.mapping.arrays import LayerArrays
from bsc.mapping.layer import MappedLayer
from bsc.mapping.model import MappedModel
from bsc.numeric.column_stats import stored_stats
from bsc.numeric.encoding import CellFormat, choose_centres
from bsc.replay.dataset import Dataset
from bsc.replay.engine import LayerEngine, ReplayOptions
from bsc.replay.loaded import PlanRunner
from passes.slice_bits import SliceBits

ADC_BITS = 7
MAX_SLICE_BITS = 4
MAX_ERROR = 0.09
SAMPLES = 10
MAX_VECTORS = 256
"""Input vectors of a layer that every cut is tried on; of more, as many as this are taken at equal distances."""

RESULT_BITS = 8


def choose_slice_widths(graph: Graph, steps: Steps, data: Dataset) -> Steps:
    """The steps with the cut that suits each layer in place of that of `slice-bits`, which names the layers then."""
    mapped, _ = run_pipeline(graph, steps.lossless.all)
    widths = choose_cuts(mapping_of(mapped), data)
    return Steps.of(
        [each for step in steps.all for each in (step.with_widths(widths) if isinstance(step, SliceBits) else (step,))]
    )


def choose_cuts(mapping: MappedModel, data: Dataset) -> dict[str, tuple[int, ...]]:
    """Bits of every slice of each layer, least significant first.

    Args:
        mapping: of the model with any cut; its codes and its quantised inputs count.
        data: inputs, of which the first few are used.
    """
    vectors = _input_vectors(mapping, data)
    last = mapping.layers[-1].name if mapping.layers else None
    cuts = {}
    for layer in mapping.layers:
        if layer.name == last:
            cuts[layer.name] = (1,) * layer.weight_bits
        else:
            cuts[layer.name] = _choose(layer, mapping.arrays(layer), vectors[layer.name])
    return cuts


def compositions(bits: int) -> Iterator[tuple[int, ...]]:
    """Every way to write `bits` as a sum of slices, the fewest slices first: 108 for 8 bits."""
    for slices in range(-(-bits // MAX_SLICE_BITS), bits + 1):
        for cut in itertools.product(range(1, MAX_SLICE_BITS + 1), repeat=slices):
            if sum(cut) == bits:
                yield cut


def cut_error(layer: MappedLayer, arrays: LayerArrays, cut: tuple[int, ...], codes: NDArray[Any]) -> float:
    """Error of a layer that is cut so, as the module's docstring says.

    Args:
        layer: its record, with any cut.
        arrays: its arrays, likewise.
        cut: bits of every slice, least significant first.
        codes: input codes (V, G, K) over the model's rows.
    """
    tried, cut_arrays = _recut(layer, arrays, cut)
    engine = LayerEngine(tried, cut_arrays, ReplayOptions())
    exact, read = engine.integers(codes), engine.results(codes)
    largest = float(abs(exact).max(initial=0))
    if not largest:
        return 0.0
    step = 2.0 ** (np.ceil(np.log2(largest)) - RESULT_BITS + bool(exact.min() < 0))
    exact, read = np.rint(exact / step), np.rint(read / step)
    counts = exact != 0
    return float(abs(read - exact)[counts].mean()) if counts.any() else 0.0


def _choose(layer: MappedLayer, arrays: LayerArrays, codes: NDArray[Any]) -> tuple[int, ...]:
    best: tuple[float, tuple[int, ...]] = (np.inf, ())
    for _, cuts in itertools.groupby(compositions(layer.weight_bits), key=len):
        found = min((cut_error(layer, arrays, cut, codes), cut) for cut in cuts)
        best = min(best, found)
        if found[0] < MAX_ERROR:
            return found[1]
    return best[1]


def _recut(layer: MappedLayer, arrays: LayerArrays, cut: tuple[int, ...]) -> tuple[MappedLayer, LayerArrays]:
    """The layer around centres, its pairs subtracted before converters of `ADC_BITS`, with these slices."""
    cells = CellFormat(
        weight_bits=layer.weight_bits, bits_per_cell=max(cut), encoding="centre", subtraction="analog", cut=cut
    )
    centres = choose_centres(arrays.codes, cells, layer.tile_rows)
    stats = stored_stats(cells.stored(arrays.codes, centres, layer.tile_rows), cells, layer.active_rows)
    shape = (layer.row_groups, cells.slices, cells.conversions, layer.mapped_columns)
    tried = layer.model_copy(
        update={"slice_bits": cut, "encoding": "centre", "subtraction": "analog", "flip": False, "adc_policy": "fixed"}
    )
    return tried, replace(
        arrays,
        centres=centres,
        flipped=None,
        sums=stats.sums,
        gcds=stats.gcds,
        nonzeros=stats.nonzeros,
        adc_bits=np.full(shape, ADC_BITS, np.uint8),
        adc_lsb=np.ones(shape, np.uint8),
        adc_low=np.full(shape, -(1 << (ADC_BITS - 1)), np.int32),
        allocated=np.ones((*arrays.allocated.shape[:2], cells.slices, cells.polarities), np.bool_),
    )


def _input_vectors(mapping: MappedModel, data: Dataset) -> dict[str, NDArray[Any]]:
    """Input codes (V, G, K) of every layer in the quantised model."""
    loaded = PlanRunner(mapping)
    engines = {name: LayerEngine(layer, arrays, ReplayOptions()) for name, (layer, arrays) in loaded.layers.items()}
    seen: dict[str, NDArray[Any]] = {}

    def results(name: str, codes: NDArray[Any]) -> NDArray[np.float64]:
        chosen = np.linspace(0, len(codes) - 1, min(len(codes), MAX_VECTORS)).astype(np.intp)
        seen[name] = codes[chosen]
        return engines[name].integers(codes)

    few = replace(data, batch=min(SAMPLES, data.samples)) if data.free_batch else data
    first = next(few.batches())
    loaded.run(first, results)
    return seen
