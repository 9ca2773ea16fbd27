"""Replay of a plan: what its crossbars, ADCs and shift-and-add units compute, in integers.

Two engines compute the same layers. `integer_results` is the quantised integer model: one plain matrix product
of input codes and weight codes. `crossbar_results` does what the hardware does: for every row tile, input
cycle, slice and polarity a column sum, its ADC, and shift-and-add. A plan is exact when they agree everywhere.
Floats are used only where they hold every integer exactly.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bsc.errors import ModelError
from bsc.ir.program import Program
from bsc.numeric.column_stats import level_table
from bsc.numeric.im2col import from_vectors, output_sizes, to_vectors
from bsc.numeric.quantizer import code_limits, input_cycles, step_for, to_codes
from bsc.plan.document import LayerArrays, Plan, PlanLayer
from bsc.replay.dataset import require_finite

EXACT_FLOAT32 = 1 << 24
EXACT_FLOAT64 = 1 << 53
CHUNK_VALUES = 1 << 23


@dataclass
class LayerTally:
    """What was counted while a layer was replayed.

    Attributes:
        results: output values computed.
        differing: those that differ from the quantised integer model on the same inputs.
        conversions: ADC conversions.
        clipped: conversions whose column sum was above the ADC's highest code.
    """

    results: int = 0
    differing: int = 0
    conversions: int = 0
    clipped: int = 0


class Replayer:
    """Runs a plan on batches of inputs.

    Args:
        plan: from a folder or straight from the compiler.

    Attributes:
        arrays: of every layer, by its name; read once.
        tallies: what was counted in every batch so far, by layer name.
    """

    def __init__(self, plan: Plan) -> None:
        self._program = Program(plan.steps(), tuple(output.name for output in plan.document.outputs))
        self._layers = {layer.name: layer for layer in plan.layers}
        self.arrays = {layer.name: plan.arrays(layer) for layer in plan.layers}
        self.tallies = {layer.name: LayerTally() for layer in plan.layers}

    @property
    def exact(self) -> bool:
        """Whether every result replayed so far equals the quantised integer model on the same inputs."""
        return all(tally.differing == 0 for tally in self.tallies.values())

    def quantised(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Outputs of the quantised integer model for one batch of every model input."""

        def run_layer(name: str, x: NDArray[Any]) -> NDArray[Any]:
            layer, arrays = self._layers[name], self.arrays[name]
            codes, step = input_codes(layer, x)
            return _output(layer, arrays, integer_results(layer, arrays, codes), step, x)

        return self._program.run(feeds, run_layer)

    def replayed(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Outputs of the crossbars for one batch of every model input; adds to the tallies."""

        def run_layer(name: str, x: NDArray[Any]) -> NDArray[Any]:
            layer, arrays, tally = self._layers[name], self.arrays[name], self.tallies[name]
            codes, step = input_codes(layer, x)
            results = crossbar_results(layer, arrays, codes, tally)
            tally.results += results.size
            tally.differing += int(np.count_nonzero(results != integer_results(layer, arrays, codes)))
            return _output(layer, arrays, results, step, x)

        return self._program.run(feeds, run_layer)


def input_codes(layer: PlanLayer, x: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Quantise a layer's activation into input vectors.

    Args:
        layer: its number format and geometry.
        x: the activation, float.

    Returns:
        Codes (V, G, K) over the model's rows as whole floats, and the value of one code, (V, 1) or (1, 1).

    Raises:
        ModelError: BSC307 if the activation is not of the shape the layer was compiled for, BSC308 if it is
            not finite.
    """
    _require_fit(layer, x)
    require_finite(x, f"the input of layer '{layer.name}'")
    x = x.astype(np.result_type(x.dtype, np.float32), copy=False)  # half precision holds neither codes nor steps
    low, high = code_limits(layer.input_bits, signed=layer.input_signed)
    conv = layer.conv.geometry() if layer.conv else None
    if layer.input_step is not None:
        codes = to_codes(x, x.dtype.type(layer.input_step), low, high)
        return to_vectors(codes, conv, layer.groups), np.array([[layer.input_step]])
    vectors = to_vectors(x, conv, layer.groups)
    largest = np.abs(vectors).max(axis=(1, 2), initial=0).astype(np.float64)
    step = step_for(largest, bits=layer.input_bits - layer.input_signed, scale="power-of-two")
    return to_codes(vectors, step.astype(x.dtype)[:, None, None], low, high), step[:, None]


def integer_results(layer: PlanLayer, arrays: LayerArrays, codes: NDArray[Any]) -> NDArray[np.float64]:
    """The quantised integer model of a layer: input codes times weight codes.

    Args:
        layer: the layer.
        arrays: its arrays.
        codes: input codes (V, G, K) over the model's rows.

    Returns:
        Whole numbers (V, N) over the mapped columns.
    """
    dtype = _exact_dtype(layer.mapped_rows << (layer.input_bits + layer.weight_bits))
    weights = _by_group(arrays.codes, layer.groups).astype(dtype)
    return _flat(np.matmul(_driven(arrays, codes).astype(dtype), weights)).astype(np.float64)


def crossbar_results(
    layer: PlanLayer, arrays: LayerArrays, codes: NDArray[Any], tally: LayerTally
) -> NDArray[np.float64]:
    """What the crossbars of a layer give, after ADC and shift-and-add.

    Args:
        layer: the layer.
        arrays: its arrays.
        codes: input codes (V, G, K) over the model's rows.
        tally: conversions and clipped conversions are added to it.

    Returns:
        Whole numbers (V, N) over the mapped columns.
    """
    driven = _driven(arrays, codes).astype(np.int32)
    results = np.zeros((driven.shape[1], layer.mapped_columns))
    for tile in range(layer.row_tiles):
        rows = np.s_[tile * layer.tile_rows : (tile + 1) * layer.tile_rows]
        crossbar = _RowTile.build(layer, arrays, tile, rows)
        chunk = max(1, CHUNK_VALUES // crossbar.columns)
        for start in range(0, driven.shape[1], chunk):
            part = np.s_[start : start + chunk]
            for shift, width, sign in input_cycles(
                layer.input_bits, signed=layer.input_signed, dac_bits=layer.dac_bits
            ):
                digits = (driven[:, part, rows] >> shift) & ((1 << width) - 1)
                results[part] += sign * 2.0**shift * crossbar.read(digits, tally)
    return results


@dataclass(frozen=True, eq=False)
class _RowTile:
    """All crossbars of one row tile, ready to be read; F = S * P * N / G columns a group.

    Attributes:
        cells: levels (G, R, F).
        step: cell units of one ADC code (G, 1, F).
        top: highest ADC code (G, 1, F); 0 where nothing is converted.
        weights: what one cell unit of each slice and polarity is worth, (S * P,).
    """

    cells: NDArray[Any]
    step: NDArray[Any]
    top: NDArray[Any]
    weights: NDArray[np.float64]

    @classmethod
    def build(cls, layer: PlanLayer, arrays: LayerArrays, tile: int, rows: slice) -> "_RowTile":
        levels = level_table(layer.weight_bits, layer.bits_per_cell)
        dtype = _exact_dtype(layer.tile_rows * layer.max_drive << layer.bits_per_cell)
        cells = levels.reshape(len(levels), -1).astype(dtype)[arrays.codes[rows]]  # (R, N, S * P)
        by_group = cells.reshape(len(cells), layer.groups, -1, cells.shape[-1]).transpose(1, 0, 3, 2)
        slices = np.arange(layer.slices) * layer.bits_per_cell
        weights = np.stack([2.0**slices, -(2.0**slices)], axis=1).ravel()

        def columns(values: NDArray[Any]) -> NDArray[Any]:  # (S, P, N) to (G, 1, F)
            grouped = values.reshape(len(weights), layer.groups, -1).transpose(1, 0, 2)
            return grouped.reshape(layer.groups, 1, -1).astype(dtype)

        return cls(
            cells=by_group.reshape(layer.groups, len(cells), -1),
            step=columns(arrays.adc_step[tile]),
            top=columns(2.0 ** arrays.adc_bits[tile] - 1),
            weights=weights,
        )

    @property
    def columns(self) -> int:
        """Slice columns of all groups."""
        groups, _, columns = self.cells.shape
        return max(1, int(groups * columns))

    def read(self, digits: NDArray[np.int32], tally: LayerTally) -> NDArray[np.float64]:
        """Drive one digit a row (G, V, R), convert every column, add up slices and polarities: (V, N)."""
        sums = np.matmul(digits.astype(self.cells.dtype), self.cells)
        np.divide(sums, self.step, out=sums)
        np.rint(sums, out=sums)
        converted = self.top > 0
        tally.conversions += int(np.count_nonzero(converted)) * digits.shape[1]
        tally.clipped += int(np.count_nonzero((sums > self.top) & converted))
        np.minimum(sums, self.top, out=sums)
        np.multiply(sums, self.step, out=sums)
        by_slice = sums.reshape(*sums.shape[:2], len(self.weights), -1)
        return _flat(np.einsum("gvsn,s->gvn", by_slice, self.weights, dtype=np.float64))


def _require_fit(layer: PlanLayer, x: NDArray[Any]) -> None:
    if layer.conv is None:
        fits = x.ndim > 0 and (layer.groups, layer.rows) == (1, x.shape[-1])
    else:
        taps = math.prod(layer.conv.kernel)
        fits = x.ndim == 2 + len(layer.conv.kernel) and x.shape[1] * taps == layer.groups * layer.rows
        positions = output_sizes(layer.conv.geometry(), x.shape[2:]) if fits else ()
        fits = fits and min(positions) > 0 and math.prod(positions) <= layer.vectors
    if not fits:
        raise ModelError(
            "BSC307",
            f"layer '{layer.name}': the activation is not of the shape that the plan records",
            seen=f"shape {x.shape} for {layer.groups} x {layer.rows} rows and {layer.vectors} vectors",
            fix="compile the model again, with --input-shape if its sizes vary",
        )


def _driven(arrays: LayerArrays, codes: NDArray[Any]) -> NDArray[Any]:
    """Input codes of the mapped rows, group first: (G, V, K)."""
    mapped = codes if arrays.kept_rows is None else codes[:, :, arrays.kept_rows]
    return mapped.transpose(1, 0, 2)


def _by_group(matrix: NDArray[Any], groups: int) -> NDArray[Any]:
    """Split the columns of (K, N) by group: (G, K, N / G)."""
    return matrix.reshape(len(matrix), groups, matrix.shape[1] // groups).transpose(1, 0, 2)


def _flat(results: NDArray[Any]) -> NDArray[Any]:
    """Results of every group (G, V, N / G) side by side: (V, N)."""
    groups, vectors, columns = results.shape
    return results.transpose(1, 0, 2).reshape(vectors, groups * columns)


def _exact_dtype(bound: int) -> type[np.floating[Any]] | type[np.int64]:
    """The fastest type that holds every whole number up to `bound`."""
    if bound <= EXACT_FLOAT32:
        return np.float32
    return np.float64 if bound <= EXACT_FLOAT64 else np.int64


def _output(
    layer: PlanLayer, arrays: LayerArrays, results: NDArray[np.float64], step: NDArray[np.float64], x: NDArray[Any]
) -> NDArray[Any]:
    """Scale whole results, put dropped columns back, add the bias, restore the tensor's shape."""
    scales = np.broadcast_to(arrays.weight_step, (layer.columns,))
    columns = slice(None) if arrays.kept_columns is None else arrays.kept_columns
    y = np.zeros((len(results), layer.columns))
    y[:, columns] = results * (step * scales[columns])
    if arrays.bias is not None:
        y += arrays.bias
    return from_vectors(y.astype(x.dtype), x.shape, layer.conv.geometry() if layer.conv else None)
