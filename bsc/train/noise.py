"""What a device does to weight codes and results, as training sees it: means and deviations of what `simulate` draws.

Cells of every level are programmed as `bsc.replay.analog` does it, with all effects of the device, and their moments
taken. A weight code is a sum of cells, so that its own moments follow: slices and both polarities add up, a weight of 0
included. In every step each code is drawn from a normal distribution of these moments; what a converter adds to a
result is drawn for every result. Read noise counts with the cells. Wires, gains and ranges of converters are left out.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bsc.hardware.device import Device
from bsc.ir.layer import CrossbarLayer
from bsc.numeric.encoding import level_table
from bsc.numeric.quantizer import input_cycles
from bsc.replay.analog import program
from bsc.train.options import FinetuneOptions

_CHIPS: Final = 32
_ROWS: Final = 256
_SEED: Final = 0


@dataclass(frozen=True, eq=False, kw_only=True)
class CodeNoise:
    """Noise of weight codes and results under differential columns.

    Attributes:
        mean: what each magnitude of a code gains on average (M,), in codes; mirrored for negative codes.
        deviation: standard deviation of a code of each magnitude (M,), in codes.
        conversions: variance that the converters of a row tile add to a result, in squares of a code times an input
            code; rounding to steps of one cell unit is in it where cells are not exact.
        rows: wordlines of a crossbar.
    """

    mean: Tensor
    deviation: Tensor
    conversions: float
    rows: int

    @classmethod
    def of(cls, device: Device, options: FinetuneOptions, *, signed: bool = False) -> "CodeNoise":
        """The noise of a device.

        Args:
            device: its effects.
            options: number formats, crossbars and where training computes.
            signed: whether inputs are.
        """
        means, variances = _cell_moments(device, (1 << options.bits_per_cell) - 1)
        base = 1 << options.bits_per_cell
        widths = [
            min(options.bits_per_cell, options.bits - base_) for base_ in range(0, options.bits, options.bits_per_cell)
        ]
        levels = level_table(tuple(widths), polarities=1)[:, :, 0].astype(np.intp)  # (M, S)
        place = float(base) ** np.arange(levels.shape[1])
        cycles = np.array(
            [
                2.0**shift
                for shift, _, _ in input_cycles(options.activation_bits, signed=signed, dac_bits=options.dac_bits)
            ]
        )
        noise, offset = (
            0.0 if error is None else error.sigma_cells.value for error in (device.adc_noise, device.adc_offset)
        )
        rounding = 1 / 12 if variances.any() or means.any() else 0.0
        each = (noise**2 + rounding) * float(np.square(cycles).sum()) + offset**2 * float(cycles.sum()) ** 2
        return cls(
            mean=_tensor((means[levels] - means[0]) @ place, options),
            deviation=_tensor(np.sqrt((variances[levels] + variances[0]) @ np.square(place)), options),
            conversions=2 * each * float(np.square(place).sum()),
            rows=options.rows,
        )

    def codes(self, values: Tensor, generator: torch.Generator) -> Tensor:
        """Codes (K, N) as cells hold them, drawn anew."""
        magnitude = values.abs().long()
        deviates = torch.randn(values.shape, generator=generator, device=values.device, dtype=values.dtype)
        return (
            values + self.mean.to(values)[magnitude] * values.sign() + self.deviation.to(values)[magnitude] * deviates
        )

    def result_deviation(self, layer: CrossbarLayer) -> float:
        """Standard deviation that converters add to a result, in codes times input codes."""
        return float(np.sqrt(self.conversions * -(-layer.rows // self.rows)))


def _cell_moments(device: Device, max_level: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean error and variance of a cell that is read once, at each level (L,), in cell units.

    Chips are drawn too; the off current is taken away, as the other column of a pair or a reference does.
    """
    off_current = None
    off = 0.0
    if device.off_current is not None:
        off_current = device.off_current.model_copy(update={"reference_column": False})
        off = max_level / (device.off_current.on_off_ratio.value - 1)
    cells_alone = device.model_copy(
        update={"off_current": off_current, "ir_drop": None, "adc_gain": None, "adc_offset": None, "adc_noise": None}
    )
    levels = np.tile(np.arange(max_level + 1), (_ROWS, 1))
    random = np.random.default_rng(_SEED)
    errors, reading = [], []
    for _ in range(_CHIPS):
        crossbar = program(levels, max_level, cells_alone, random.spawn(1)[0], chip=random.standard_normal())
        errors.append(crossbar.cells.astype(np.float64) - off - levels)
        reading.append(0.0 if crossbar.variances is None else crossbar.variances.astype(np.float64).mean(axis=0))
    whole = np.concatenate(errors)
    return whole.mean(axis=0), whole.var(axis=0) + np.mean(reading, axis=0)


def _tensor(values: NDArray[np.float64], options: FinetuneOptions) -> Tensor:
    return torch.from_numpy(values).float().to(options.device)
