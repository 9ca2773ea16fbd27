"""The arrays of a mapped layer."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False, kw_only=True)
class LayerArrays:
    """The arrays of one layer.

    Attributes:
        codes: signed weight codes (K, N) after elimination.
        weight_step: value of one weight code, float64 (1,) or (N,) over the model's columns.
        bias: float (N,) over the model's columns, or None.
        kept_rows: model row of each mapped row, int32, each once, or None when all are mapped in their order.
        kept_columns: likewise for columns.
        centres: what is taken from the codes of each column, int16 (T, N); None unless the encoding is `centre`.
        flipped: slice columns that hold top - level, bool (R, S, P, N); None where none may.
        sums: sum of cell levels of every slice column (R, S, P, N).
        gcds: greatest common divisor of the levels of every slice column, uint8 (R, S, P, N); 0 if all are zero.
        nonzeros: non-zero cells of every slice column (R, S, P, N).
        adc_bits: resolution of every conversion, uint8 (R, S, Q, N); 0 is no conversion.
        adc_step: cell units of one ADC code, uint8 (R, S, Q, N).
        adc_low: lowest ADC code, int32 (R, S, Q, N); None where it is 0, for all but pairs that are subtracted before.
        allocated: which crossbars exist, bool (T, C, S, P).
        observed_sums: highest sum or 0 of every conversion on calibration data, unsigned (R, S, Q, N), or None.
        observed_lows: lowest sum or 0, int32 (R, S, Q, N); None where it is 0, for all but pairs.
        correction: whole numbers that are added to the results of each column, int64 (N,), or None.
    """

    codes: NDArray[Any]
    weight_step: NDArray[Any]
    bias: NDArray[Any] | None = None
    kept_rows: NDArray[Any] | None = None
    kept_columns: NDArray[Any] | None = None
    centres: NDArray[Any] | None = None
    flipped: NDArray[Any] | None = None
    sums: NDArray[Any]
    gcds: NDArray[Any]
    nonzeros: NDArray[Any]
    adc_bits: NDArray[Any]
    adc_step: NDArray[Any]
    adc_low: NDArray[Any] | None = None
    allocated: NDArray[Any]
    observed_sums: NDArray[Any] | None = None
    observed_lows: NDArray[Any] | None = None
    correction: NDArray[Any] | None = None

    @property
    def lowest_codes(self) -> NDArray[np.int32]:
        """Lowest ADC code of every conversion (R, S, Q, N)."""
        return np.zeros(self.adc_bits.shape, np.int32) if self.adc_low is None else self.adc_low

    @property
    def signs(self) -> NDArray[np.int8]:
        """Whether what a conversion reads is added or, its column being flipped, taken away: 1 or -1, (R, S, Q, N)."""
        signs = np.ones(self.adc_bits.shape, np.int8)
        return signs if self.flipped is None else np.where(self.flipped, -signs, signs)

    def by_name(self) -> dict[str, NDArray[Any]]:
        """The arrays that are there, by attribute name."""
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: array for name, array in named.items() if array is not None}
