"""quantize: weights become signed integer codes; inputs get a format and, with calibration data, a step.

    before   float weights (K, N)
    after    codes (K, N), |code| < 2**bits, and weight_scale (1,) or (N,)
    keeps    |weight - code * weight_scale| <= weight_scale / 2, one step where a code is clipped

Codes and formats that the model brings along are taken as they are, whatever the options say.

Inputs are unsigned where the operators before them prove that nothing is negative, or where calibration data
never was; otherwise they are two's complement. Without calibration data every input vector gets its own
power-of-two step at run time. Formats: `bsc.numeric.quantizer`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bsc.analysis.tensor_signs import non_negative_tensors
from bsc.errors import ModelError
from bsc.ir.formats import InputFormat
from bsc.ir.graph import Graph
from bsc.ir.layer import CrossbarLayer
from bsc.ir.passbase import LayerPass, check_options
from bsc.ir.sidetable import SideTable
from bsc.mapping.arrays import array_key
from bsc.mapping.layer import Quantised
from bsc.numeric.quantizer import STEP_RANGE, Scale, step_for, to_codes

BLOCK_ROWS = 64
MAX_WEIGHT_BITS = 15
MAX_ACTIVATION_BITS = 16


@dataclass(frozen=True)
class Quantize(LayerPass):
    """Give every layer integer codes; layers that already have them are left alone.

    Attributes:
        bits: magnitude bits of a weight, 1 to 15; the sign is kept apart.
        activation_bits: bits of an input with its sign, 2 to 16.
        scale: "power-of-two" steps as in the paper, or "max-abs".
        per: one weight step a "tensor" or a "channel" (column).
    """

    name = "quantize"

    bits: int = 8
    activation_bits: int = 8
    scale: Scale = "power-of-two"
    per: Literal["tensor", "channel"] = "tensor"

    def __post_init__(self) -> None:
        check_options(
            self,
            ("bits", 1 <= self.bits <= MAX_WEIGHT_BITS, f"1 to {MAX_WEIGHT_BITS}"),
            ("activation-bits", 2 <= self.activation_bits <= MAX_ACTIVATION_BITS, f"2 to {MAX_ACTIVATION_BITS}"),
        )

    def due(self, layer: CrossbarLayer) -> bool:
        """Whether a layer has no codes yet."""
        return layer.quant is None

    def rewritten(self, graph: Graph, due: Sequence[CrossbarLayer], arrays: SideTable) -> Iterator[CrossbarLayer]:
        """See the module docstring. Raises `ModelError` BSC303 for values that are not finite or too large a range."""
        non_negative = non_negative_tensors(graph)
        for layer in due:
            bits, codes, step = self._weights(graph, layer)
            proved = non_negative.issuperset(graph.layer_inputs(layer))
            given = layer.given_input or self._input(graph, layer, proved=proved)
            quant = Quantised(
                weight_bits=bits,
                input_bits=given.bits,
                input_signed=given.signed,
                input_scale=given.step,
                input_zero_point=given.zero,
            )
            key = partial(array_key, layer.name)
            arrays[key("codes")], arrays[key("weight_scale")] = codes, step
            if layer.bias is not None:
                arrays[key("bias")] = graph.array(layer.bias).ravel()
            yield replace(layer, quant=quant)

    def _weights(self, graph: Graph, layer: CrossbarLayer) -> tuple[int, NDArray[Any], NDArray[np.float64]]:
        """(bits, codes, step) of the layer's weights."""
        if layer.bias is not None:
            _check_finite(graph.array(layer.bias), layer, "bias")
        if (given := layer.given_weights) is not None:
            codes, step = graph.array(given.codes).astype(np.int16), graph.array(given.step)
            _check_finite(step, layer, "weight step")
            return max(1, int(np.abs(codes).max(initial=0)).bit_length()), np.ascontiguousarray(codes), step
        stored = graph.array(layer.weight)
        matrix = layer.matrix(stored).astype(np.result_type(stored.dtype, np.float32), copy=False)
        axis = 0 if self.per == "channel" else None
        lowest, highest = matrix.min(axis=axis, initial=0), matrix.max(axis=axis, initial=0)
        _check_finite(np.stack([lowest, highest]), layer, "weight")
        # Steps are rounded to the weights' own precision, so that the division is exact in it.
        largest = np.atleast_1d(np.maximum(highest, -lowest)).astype(np.float64)
        step = step_for(largest, bits=self.bits, scale=self.scale).astype(matrix.dtype)
        top = (1 << self.bits) - 1
        codes = np.empty(matrix.shape, np.int8 if self.bits < 8 else np.int16)
        for start in range(0, len(matrix), BLOCK_ROWS):  # few enough for the temporaries to stay in cache
            block = np.s_[start : start + BLOCK_ROWS]
            codes[block] = to_codes(matrix[block], step, -top, top)
        return self.bits, codes, step.astype(np.float64)

    def _input(self, graph: Graph, layer: CrossbarLayer, *, proved: bool) -> InputFormat:
        """Format of the layer's input codes; `proved` never to be negative or not."""
        seen = graph.ranges.get(layer.input)
        signed = not proved and (seen is None or seen[0] < 0)
        if seen is None:
            return InputFormat(bits=self.activation_bits, signed=signed, step=None)
        _check_finite(np.array(seen), layer, "calibrated input")
        largest = np.array(max(abs(seen[0]), abs(seen[1])))
        step = float(step_for(largest, bits=self.activation_bits - signed, scale=self.scale))
        if step > STEP_RANGE[1]:  # never below the range: `step_for` has a floor
            raise ModelError(
                "BSC303",
                f"layer '{layer.name}': its calibrated input is too large to be quantised",
                seen=f"values up to {largest:g}",
                fix="scale the calibration data as the model expects it",
            )
        return InputFormat(bits=self.activation_bits, signed=signed, step=step)


def _check_finite(values: NDArray[Any], layer: CrossbarLayer, what: str) -> None:
    finite = np.isfinite(values)
    if not finite.all():
        raise ModelError(
            "BSC303",
            f"layer '{layer.name}': a {what} is not a finite number",
            seen=f"{values.ravel()[np.argmin(finite)]}",
            fix="train or export the model again; NaN and infinity have no code",
        )
