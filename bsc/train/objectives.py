"""What is added to the task's loss so that slices become sparse.

`l1` and `bl1` are those of the reference code of [bslice19] (arXiv 1909.08496):

    l1    alpha * sum |w| / P
    bl1   alpha * sum_w (b_0 + b_1 + b_2 + b_3) / (4 P)

over the P weights and biases of all crossbar layers, where b_k are the 2-bit digits of the code of w. Rounding
and flooring pass gradients unchanged and the higher digits count as constants, so that

    d bl1 / d w = alpha / (4 P) * sign(w) / step * sum_k [b_k > 0] / 4**k

which pushes the top slice 64 times more weakly than the lowest. `bl1-weighted` gives slice k a weight, 4**k
unless told otherwise, scaled so that weights add up to the number of slices. `adc` sums only the digits of
slice columns that exceed their budget, by what they exceed it, with the same weights, and leaves the others
alone; biases are in no column.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from bsc.numeric.quantizer import step_for
from bsc.train.options import FinetuneOptions
from bsc.train.quantised import Codes


def slice_weights(options: FinetuneOptions) -> tuple[float, ...]:
    """Weight of each slice, least significant first, adding up to the number of slices."""
    given = options.slice_weights[::-1] or [
        float(1 << options.bits_per_cell * position) for position in range(options.slices)
    ]
    return tuple(weight * len(given) / sum(given) for weight in given)


def penalty(layers: Mapping[str, Codes], biases: Sequence[Tensor], options: FinetuneOptions) -> Tensor:
    """The objective, weighted by alpha; a single number with gradient.

    Args:
        layers: codes of every layer by name, not projected.
        biases: of the layers that have one.
        options: objective and its settings.
    """
    codes = list(layers.values())
    count = sum(each.matrix.numel() for each in codes)
    total = torch.zeros((), device=codes[0].matrix.device)
    if options.objective == "none":
        return total
    if options.objective == "adc":
        weights = slice_weights(options)
        over = (column_excess(each, options.caps(name), weights, options) for name, each in layers.items())
        return options.weight_of_objective * sum(over, total) / count
    count += sum(bias.numel() for bias in biases)
    if options.objective == "l1":
        sums = [each.matrix.abs().sum() for each in codes] + [bias.abs().sum() for bias in biases]
        return options.weight_of_objective * sum(sums, total) / count
    weights = slice_weights(options) if options.objective == "bl1-weighted" else (1.0,) * options.slices
    everything = [*codes, *(_bias_codes(bias, options) for bias in biases)]
    digits = (digit_sum(each, weights, options.bits_per_cell) for each in everything)
    return options.weight_of_objective * sum(digits, total) / (options.slices * count)


def digit_sum(codes: Codes, weights: Sequence[float], bits_per_cell: int) -> Tensor:
    """Weighted sum of all digits; `weights` least significant slice first."""
    magnitude = _magnitude(codes.values.abs(), bits_per_cell * len(weights))
    slope = torch.zeros_like(codes.values)
    total = torch.zeros((), dtype=torch.float64, device=slope.device)
    for position, weight in enumerate(weights):
        digits = _digits(magnitude, position, bits_per_cell)
        total += weight * digits.sum(dtype=torch.int64)
        slope.add_(digits > 0, alpha=weight / (1 << bits_per_cell * position))
    return _with_slope(total.to(slope), codes, slope.mul_(torch.sign(codes.values)))


def column_excess(codes: Codes, caps: Sequence[int], weights: Sequence[float], options: FinetuneOptions) -> Tensor:
    """Weighted sum over all slice columns of what their cells add up to beyond the slice's cap."""
    rows, columns = codes.values.shape
    tiles = -(-rows // options.rows)
    # In the order of rows, whatever that of the weights: mixed orders cost ten times as much.
    slope = torch.zeros_like(codes.values, memory_format=torch.contiguous_format)
    total = torch.zeros((), dtype=torch.float64, device=slope.device)
    for sign in (1, -1):
        kept = (sign * codes.values).clamp_(min=0)
        magnitude = _magnitude(kept, options.bits_per_cell * len(caps)).contiguous()
        for position, (cap, weight) in enumerate(zip(caps, weights, strict=True)):
            digits = _digits(magnitude, position, options.bits_per_cell)
            padded = torch.nn.functional.pad(digits, (0, 0, 0, tiles * options.rows - rows))
            sums = padded.reshape(tiles, options.rows, columns).sum(1, dtype=torch.int32)
            excess = (sums - cap).clamp_(min=0)  # (T, N)
            total += weight * excess.sum()
            over = (excess > 0).repeat_interleave(options.rows, dim=0)[:rows]
            slope.add_(over & (digits > 0), alpha=sign * weight / (1 << options.bits_per_cell * position))
    return _with_slope(total.to(slope), codes, slope)


def _magnitude(values: Tensor, bits: int) -> Tensor:
    """Whole numbers of so many bits in the smallest type that holds them."""
    return values.to(torch.uint8 if bits <= 8 else torch.int32)


def _digits(magnitude: Tensor, position: int, bits_per_cell: int) -> Tensor:
    return (magnitude >> bits_per_cell * position).bitwise_and_((1 << bits_per_cell) - 1)


def _with_slope(value: Tensor, codes: Codes, slope: Tensor) -> Tensor:
    """A number whose gradient in the matrix is slope / step."""
    linear = (slope / codes.step * codes.matrix).sum()
    return value + linear - linear.detach()


def _bias_codes(bias: Tensor, options: FinetuneOptions) -> Codes:
    """A bias in the paper's format; bsc itself keeps biases digital."""
    matrix = bias.reshape(1, -1)
    with torch.no_grad():
        largest = np.array([float(matrix.abs().max())])
        step = torch.from_numpy(step_for(largest, bits=options.bits, scale=options.scale)).to(matrix)
        top = (1 << options.bits) - 1
        return Codes(torch.clamp(torch.round(matrix / step), -top, top), step, matrix)
