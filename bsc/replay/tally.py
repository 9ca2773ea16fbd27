"""What is counted while a layer is replayed; nothing here grows with the number of inputs."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bsc.mapping.arrays import LayerArrays
from bsc.mapping.layer import MappedLayer
from bsc.mapping.lossless import layer_sum_range
from bsc.numeric.quantizer import input_cycles

MAX_BINS = 4096


@dataclass
class LayerTally:
    """Totals of a layer.

    Attributes:
        results: output values computed.
        differing: those that differ from the quantised integer model on the same inputs.
        conversions: ADC conversions.
        clipped: conversions whose column sum was above the ADC's highest code.
        proved: conversions that were not carried out one by one, since they are proved to lose nothing.
    """

    results: int = 0
    differing: int = 0
    conversions: int = 0
    clipped: int = 0
    proved: int = 0


@dataclass(frozen=True, eq=False, kw_only=True)
class ColumnTally:
    """Column sums of a layer, as they came before conversion.

    Attributes:
        histogram: conversions by column sum, int64 (S, Q, cycles, bins); bin i counts sums from
            origin + i * bin_width on.
        origin: lowest sum that any conversion can meet; below 0 for pairs.
        bin_width: column sums in one bin; 1 unless a column can reach more than 4095.
        lowest: lowest sum of every conversion or 0, int32 (R, S, Q, N).
        highest: highest sum of every conversion or 0, int32 (R, S, Q, N).
        clipped: clipped conversions, int64 (R, S, Q, N).
    """

    histogram: NDArray[np.int64]
    origin: int
    bin_width: int
    lowest: NDArray[np.int32]
    highest: NDArray[np.int32]
    clipped: NDArray[np.int64]

    @classmethod
    def empty(cls, layer: MappedLayer, arrays: LayerArrays) -> "ColumnTally":
        """Nothing counted yet."""
        shape, reached = arrays.adc_bits.shape, layer_sum_range(layer, arrays)
        origin = int(reached.low.min(initial=0))
        top = int(reached.high.max(initial=0)) - origin
        bin_width = 1 << max(0, top.bit_length() - MAX_BINS.bit_length() + 1)
        cycles = len(input_cycles(layer.input_bits, signed=layer.input_signed, dac_bits=layer.dac_bits))
        return cls(
            histogram=np.zeros((*shape[1:3], cycles, top // bin_width + 1), np.int64),
            origin=origin,
            bin_width=bin_width,
            lowest=np.zeros(shape, np.int32),
            highest=np.zeros(shape, np.int32),
            clipped=np.zeros(shape, np.int64),
        )
