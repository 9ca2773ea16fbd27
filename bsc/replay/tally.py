"""What is counted while a layer is replayed; nothing here grows with the number of inputs."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bsc.numeric.quantizer import input_cycles
from bsc.plan.document import LayerArrays, PlanLayer

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
        histogram: conversions by column sum, int64 (S, P, cycles, bins); bin i counts sums from i * bin_width on.
        bin_width: column sums in one bin; 1 unless a column can reach more than 4095.
        highest: highest sum of every slice column, int32 (R, S, P, N).
        clipped: clipped conversions of every slice column, int64 (R, S, P, N).
    """

    histogram: NDArray[np.int64]
    bin_width: int
    highest: NDArray[np.int32]
    clipped: NDArray[np.int64]

    @classmethod
    def empty(cls, layer: PlanLayer, arrays: LayerArrays) -> "ColumnTally":
        """Nothing counted yet."""
        shape = arrays.sums.shape
        top = int(arrays.sums.max(initial=0)) * layer.max_drive
        bin_width = 1 << max(0, top.bit_length() - MAX_BINS.bit_length() + 1)
        cycles = len(input_cycles(layer.input_bits, signed=layer.input_signed, dac_bits=layer.dac_bits))
        return cls(
            histogram=np.zeros((*shape[1:3], cycles, top // bin_width + 1), np.int64),
            bin_width=bin_width,
            highest=np.zeros(shape, np.int32),
            clipped=np.zeros(shape, np.int64),
        )
