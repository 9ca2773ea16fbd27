"""What squared error in one slice of one layer does to the outputs of the model, measured.

The squared error that `bsc.numeric.squared_error` predicts leaves out that errors of neighbouring input cycles, slices
and row tiles go together, and that later layers pass some errors on and swallow others. So each slice of each layer is
degraded alone, by about a hundredth of the variance of the layer's results, and the noise that this makes in the
model's first output is compared with the squared error that was predicted.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bsc.compiler.column_observer import LayerObservation
from bsc.mapping.arrays import LayerArrays
from bsc.mapping.layer import MappedLayer
from bsc.mapping.lossless import layer_sum_range
from bsc.mapping.model import MappedModel
from bsc.numeric.allocation import at_bits
from bsc.replay.dataset import Dataset
from bsc.replay.engine import LayerEngine, Replayer, ReplayOptions
from bsc.replay.scored import scored_outputs

SAMPLES = 256
"""Calibration samples that sensitivities are measured on."""

DEGRADED_SHARE = 0.01
"""Noise that a slice is degraded by, over the variance of the layer's results."""


def measure_sensitivity(
    mapping: MappedModel,
    data: Dataset,
    observed: Mapping[str, LayerObservation],
    *,
    advance: Callable[[int], None] = lambda _: None,
) -> dict[str, tuple[float, ...]]:
    """Noise-to-signal ratio of the first output for a squared error of one weight code squared, by layer and slice.

    Args:
        mapping: of the tiled model; only layers that are degraded are read column by column.
        data: calibration data; evenly spread samples of it are used.
        observed: of every layer, with squared errors.
        advance: called with 1 for every slice that is done.
    """
    replayer = Replayer(mapping)
    spread = replace(data.spread(SAMPLES), labels=None)
    exact = np.concatenate(scored_outputs(mapping, spread, replayer.quantised)).astype(np.float64)
    signal = float(exact.var(axis=0).mean()) or 1.0
    found: dict[str, tuple[float, ...]] = {}
    for name, (layer, arrays) in replayer.loaded.layers.items():
        factors = []
        for slice_ in range(layer.slices):
            degraded, predicted = _degraded(layer, arrays, observed[name], slice_)
            advance(1)
            if predicted == 0:
                factors.append(np.nan)
                continue
            engine = LayerEngine(layer, degraded, ReplayOptions())

            def results(each: str, codes: NDArray[Any], name: str = name, engine: LayerEngine = engine) -> Any:
                return engine.results(codes) if each == name else replayer.engine(each).integers(codes)

            run = partial(replayer.loaded.run, results=results)
            noisy = np.concatenate(scored_outputs(mapping, spread, run))
            factors.append(float(np.mean((noisy - exact) ** 2)) / signal / predicted)
        found[name] = _without_gaps(factors, layer, observed[name])
    return found


def _degraded(
    layer: MappedLayer, arrays: LayerArrays, seen: LayerObservation, slice_: int
) -> tuple[LayerArrays, float]:
    """The arrays with one slice degraded, and the squared error predicted for it, summed over columns."""
    assert seen.tables is not None
    tables, place_values = seen.tables, layer.cells.read_place_values()
    top = tables.squared_error.shape[-1] - 1
    most = DEGRADED_SHARE * seen.variance / max(1, layer.row_groups * layer.cells.conversions)
    within = tables.squared_error[:, slice_] * place_values[slice_, :, None, None].astype(np.float64) ** 2 <= most
    bits = np.full(tables.squared_error.shape[:4], top)
    bits[:, slice_] = within.argmax(axis=-1)  # the squared error at `top` is 0
    reached = layer_sum_range(layer, arrays)
    bits = np.where(reached.high > reached.low, bits, 0)
    squared_error = (
        at_bits(tables.squared_error, bits)[:, slice_] * place_values[slice_, :, None].astype(np.float64) ** 2
    )
    degraded = replace(
        arrays,
        adc_bits=bits.astype(np.uint8),
        adc_lsb=np.maximum(at_bits(tables.step, bits), 1).astype(np.uint8),
        adc_low=None if tables.low is None else np.where(bits > 0, at_bits(tables.low, bits), 0).astype(np.int32),
    )
    return degraded, float(squared_error.sum(dtype=np.float64))


def _without_gaps(factors: list[float], layer: MappedLayer, seen: LayerObservation) -> tuple[float, ...]:
    """For a slice that could not be degraded take the most sensitive other one, or noise as the layer itself has it."""
    known = [factor for factor in factors if not np.isnan(factor)]
    signal = seen.variance * layer.mapped_columns
    own = 1 / signal if signal else 0.0
    spare = max(known, default=own)
    # Rounded, so that the last bits of a mean, in which machines differ, decide nothing.
    return tuple(float(f"{spare if np.isnan(factor) else factor:.3g}") for factor in factors)
