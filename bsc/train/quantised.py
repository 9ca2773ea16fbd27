"""The compile path's number formats inside training: fake-quantised weights and inputs, straight-through.

Weights follow the passes `quantize`, `slice-bits`, `eliminate` and `tile`: codes round(|W| / step) clipped to
2**bits - 1, step from `bsc.numeric.quantizer.step_for`. Where a batch normalisation follows a layer, codes are
those of the folded weights W * gain, since that is what `fold-batchnorm` puts on crossbars; the layer computes
with code * step / gain and the normalisation behind it restores the rest. Gradients pass through rounding to
the weights unchanged, and reach the gain only from behind; through the clipping of inputs they pass inside
only, as in the paper's code.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bsc.ir.batchnorm import following_norm
from bsc.ir.graph import Graph
from bsc.ir.layer import CrossbarLayer
from bsc.numeric.quantizer import code_limits, step_for
from bsc.train.network import Network
from bsc.train.noise import CodeNoise
from bsc.train.options import FinetuneOptions
from bsc.train.projection import project

Range = tuple[float, float]


@dataclass(eq=False, slots=True)
class Codes:
    """A layer's weight as the crossbars see it.

    Attributes:
        values: signed codes (K, N), whole numbers in the weight's float type, without gradient.
        step: value of one code, (1,) or (N,).
        matrix: float weights (K, N), the gain of a following normalisation included, with gradient.
    """

    values: Tensor
    step: Tensor
    matrix: Tensor


class QuantisedLayers:
    """Quantises what the crossbar layers of a network compute with.

    Args:
        network: its parameters are read anew at every call.
        options: formats, tiling, budget.

    Attributes:
        caps: by layer, the largest column sum of each slice, least significant first; None for no projection.
        ranges: (lowest, highest) value of each layer's input, by layer; inputs are not quantised where it has none.
        noise: of the device that codes and results are drawn on, while training steps run; None for exact ones.
        random: what they are drawn by.
        kept: rows that tiles are filled with, bool (K,) by layer; set when a row has become zero for good.
    """

    def __init__(self, network: Network, options: FinetuneOptions) -> None:
        self.layers = {layer.name: layer for layer in network.graph.layers()}
        self.caps: Mapping[str, tuple[int, ...]] | None = None
        self.noise: CodeNoise | None = None
        self.random = torch.Generator(options.device)
        self.kept: dict[str, Tensor] = {}
        self.ranges: dict[str, Range] = {}
        self._network = network
        self._options = options
        self._norms = {layer.name: _norms(network.graph, layer) for layer in network.graph.layers()}
        self._frozen: dict[str, tuple[Tensor, int]] = {}

    def freeze_steps(self) -> None:
        """With `headroom`, fix coarse steps, which leave the top slice nearly empty; a second call does nothing.

        The largest weight of the layer is held above the middle of the range, so that compiling finds the step again.
        """
        if self._frozen or not self._options.headroom:
            return
        for layer in self.layers.values():
            with torch.no_grad():
                matrix = self._matrix(layer, self._weight(layer))
                step = self._step(matrix) * 2**self._options.headroom
                self._frozen[layer.name] = (step, int(matrix.abs().reshape(-1).argmax()))

    def frozen_arrays(self) -> dict[str, Tensor]:
        """What `freeze_steps` fixed, for a checkpoint: (step, position) by layer."""
        return {
            f"frozen/{name}": torch.cat(
                [step.double(), torch.tensor([float(index)], dtype=torch.float64).to(step.device)]
            )
            for name, (step, index) in self._frozen.items()
        }

    def restore_frozen(self, name: str, value: Tensor) -> None:
        """The way back from `frozen_arrays`."""
        self._frozen[name] = (value[:1].to(self._weight(self.layers[name])), int(value[1]))

    def gain(self, layer: CrossbarLayer) -> Tensor | None:
        """What the normalisations behind the layer multiply each column by, (N,); None where there are none."""
        gain: Tensor | None = None
        tensors = self._network.constants
        for scale, var, epsilon in self._norms[layer.name]:
            factor = tensors[scale] / torch.sqrt(tensors[var] + epsilon)
            gain = factor if gain is None else gain * factor
        return gain

    def codes(self, layer: CrossbarLayer) -> Codes:
        """Codes of the layer's present weights, projected if `caps` is set."""
        options = self._options
        matrix = self._matrix(layer, self._weight(layer))
        top = (1 << options.bits) - 1
        with torch.no_grad():
            step = self._frozen[layer.name][0] if layer.name in self._frozen else self._step(matrix)
            values = (matrix / step).round_().clamp_(-top, top)
            if layer.name in self._frozen:
                _hold_step(values, self._frozen[layer.name][1], options.bits)
            if self.caps is not None:
                values = self._projected(layer, values, self.caps[layer.name])
        return Codes(values, step, matrix)

    def prepare(self, layer: CrossbarLayer, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """`bsc.train.network.Prepare`: the layer's quantised input and weight."""
        with torch.no_grad():
            codes = self.codes(layer)
            values = codes.values if self.noise is None else self.noise.codes(codes.values, self.random)
            quantised = _stored(layer, values * self._column_steps(layer, codes), weight)
        straight: Tensor = _Straight.apply(weight, quantised)  # type: ignore[no-untyped-call]
        return self._quantise_input(layer, x), straight

    def disturb(self, layer: CrossbarLayer, result: Tensor) -> Tensor:
        """`bsc.train.network.Disturb`: what converters add to the results; gradients pass through unchanged."""
        deviation = 0.0 if self.noise is None else self.noise.result_deviation(layer)
        if not deviation or layer.name not in self.ranges:
            return result
        with torch.no_grad():
            columns = self._column_steps(layer, self.codes(layer)).abs() * (deviation * self._input_format(layer)[0])
            if layer.conv is not None:
                columns = columns.reshape(-1, *[1] * len(layer.conv.kernel))
            deviates = torch.randn(result.shape, generator=self.random, device=result.device)
            added = (deviates * columns).to(result)
        return result + added

    def store(self) -> None:
        """Write the projected weights into the parameters, such that `quantize` gives exactly these codes.

        The step follows from the largest weight, which must stay above the middle of the range for that.
        """
        for layer in self.layers.values():
            codes = self.codes(layer)
            with torch.no_grad():
                magnitude = codes.values.abs()
                largest = (magnitude > 0) & (magnitude == magnitude.max())
                matrix = (codes.values + 0.25 * torch.sign(codes.values) * largest) * codes.step
                gain = self.gain(layer)
                if gain is not None:
                    matrix = matrix / torch.where(gain == 0, 1, gain)
                weight = self._weight(layer)
                weight.copy_(_stored(layer, matrix, weight))

    def watch(self, layer: CrossbarLayer, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """`bsc.train.network.Prepare`: as `prepare`, with inputs in floating point whose range is noted."""
        low, high = self.ranges.get(layer.name, (np.inf, -np.inf))
        self.ranges[layer.name] = (min(low, float(x.min())), max(high, float(x.max())))
        return x, self.prepare(layer, x, weight)[1]

    def _quantise_input(self, layer: CrossbarLayer, x: Tensor) -> Tensor:
        if layer.name not in self.ranges:
            return x
        step, first, last = self._input_format(layer)
        result: Tensor = _Quantise.apply(x, step, first, last)  # type: ignore[no-untyped-call]
        return result

    def _input_format(self, layer: CrossbarLayer) -> tuple[float, int, int]:
        """Step of the input codes of a layer whose range is known, and the lowest and highest of them."""
        low, high = self.ranges[layer.name]
        bits, signed = self._options.activation_bits, low < 0
        step = float(step_for(np.array(max(-low, high)), bits=bits - signed, scale=self._options.scale))
        return step, *code_limits(bits, signed=signed)

    def _column_steps(self, layer: CrossbarLayer, codes: Codes) -> Tensor:
        """What one code of each column is worth in the layer's own weight, (1,) or (N,)."""
        gain = self.gain(layer)
        return codes.step if gain is None else codes.step / torch.where(gain == 0, 1, gain)

    def _weight(self, layer: CrossbarLayer) -> Tensor:
        return self._network.constants[layer.weight]

    def _matrix(self, layer: CrossbarLayer, weight: Tensor) -> Tensor:
        gain = self.gain(layer)
        matrix = weight.reshape(layer.columns, layer.rows).T if layer.transposed else weight
        return matrix if gain is None else matrix * gain

    def _step(self, matrix: Tensor) -> Tensor:
        low, high = torch.aminmax(matrix.detach())
        largest = torch.maximum(high, -low).reshape(1)
        step: NDArray[np.float64] = step_for(
            largest.double().cpu().numpy(), bits=self._options.bits, scale=self._options.scale
        )
        return torch.from_numpy(step).to(matrix)

    def _projected(self, layer: CrossbarLayer, values: Tensor, caps: tuple[int, ...]) -> Tensor:
        cell = self._options.bits_per_cell
        kept = self.kept.get(layer.name)
        if kept is None:
            return project(values, caps, bits_per_cell=cell, rows=self._options.rows)
        result = torch.zeros_like(values)
        result[kept] = project(values[kept], caps, bits_per_cell=cell, rows=self._options.rows)
        return result


class _Straight(torch.autograd.Function):
    """Quantised values in place of a parameter, whose gradient they pass on unchanged."""

    @staticmethod
    def forward(_ctx: Any, _parameter: Tensor, quantised: Tensor) -> Tensor:
        return quantised

    @staticmethod
    def backward(_ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


class _Quantise(torch.autograd.Function):
    """The nearest multiple of a step whose code is in range; gradients pass unchanged inside the range.

    Written out because activations are what a step spends most of its time on: one copy is made and kept.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, step: float, first: int, last: int) -> Tensor:
        ctx.save_for_backward(x)
        ctx.limits = (first * step, last * step)
        return (x / step).round_().clamp_(first, last).mul_(step)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        return torch.ops.aten.hardtanh_backward(gradient, *ctx.saved_tensors, *ctx.limits), None, None, None


def _norms(graph: Graph, layer: CrossbarLayer) -> list[tuple[str, str, float]]:
    """(scale, variance, epsilon) of each batch normalisation that `fold-batchnorm` would fold into the layer."""
    found = []
    result = layer.output
    while (norm := following_norm(graph, layer, result)) is not None:
        epsilon = norm.attributes.get("epsilon", 1e-5)
        assert isinstance(epsilon, float)
        found.append((norm.inputs[1], norm.inputs[4], epsilon))
        result = norm.outputs[0]
    return found


def _hold_step(values: Tensor, index: int, bits: int) -> None:
    """Keep one code above the middle of the range, so that compiling finds the same step."""
    row, column = divmod(index, values.shape[1])
    lowest = (1 << (bits - 1)) + 1
    if abs(values[row, column]) < lowest:
        values[row, column] = -lowest if values[row, column] < 0 else lowest


def _stored(layer: CrossbarLayer, matrix: Tensor, like: Tensor) -> Tensor:
    """(K, N) back in the shape the weight is stored in."""
    return (matrix.T if layer.transposed else matrix).reshape(like.shape)
