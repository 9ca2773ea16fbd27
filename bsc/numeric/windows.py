"""Where the codes of an ADC lie so that they hold all sums that were observed. Arrays are (R, S, Q, N), in units."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bsc.numeric.column_stats import SumRange, lossless_bits
from bsc.numeric.sharing import shared


@dataclass(frozen=True, eq=False, kw_only=True)
class Windows:
    """What every ADC, alone or shared, can meet and has met.

    Attributes:
        unit: cell units of one unit, which all sums are multiples of, uint8.
        low: lowest sum that some input causes, 0 or less.
        high: highest such sum, 0 or more.
        lowest: lowest sum that was observed, or 0.
        highest: highest sum that was observed, or 0.
    """

    unit: NDArray[np.uint8]
    low: NDArray[np.int64]
    high: NDArray[np.int64]
    lowest: NDArray[np.int64]
    highest: NDArray[np.int64]

    @classmethod
    def of(
        cls,
        reached: SumRange,
        lowest: NDArray[np.integer] | None,
        highest: NDArray[np.integer],
        groups: NDArray[np.int64] | None,
    ) -> "Windows":
        """From sums in cell units.

        Args:
            reached: what the conversions can meet.
            lowest: lowest sums observed; None where sums are never negative.
            highest: highest sums observed.
            groups: conversions that share an ADC setting, from `sharing_groups`.
        """
        unit = np.maximum(shared(np.gcd, reached.step, groups), 1)

        def in_units(combine: np.ufunc, sums: NDArray[np.integer]) -> NDArray[np.int64]:
            return np.asarray(shared(combine, sums.astype(np.int64), groups) // unit)

        return cls(
            unit=unit,
            low=in_units(np.minimum, reached.low),
            high=in_units(np.maximum, reached.high),
            lowest=in_units(np.minimum, np.zeros_like(reached.low) if lowest is None else lowest),
            highest=in_units(np.maximum, highest),
        )

    @property
    def proved(self) -> NDArray[np.int64]:
        """The fewest bits that lose nothing for any input."""
        return _bits(self.low, self.high)

    @property
    def covering(self) -> NDArray[np.int64]:
        """The fewest bits that hold what was observed."""
        return _bits(self.lowest, self.highest)

    def codes_from(self, bits: NDArray[np.integer] | int) -> NDArray[np.int64]:
        """The lowest code of an ADC of so many bits, at a step of one unit.

        As many codes as can be lie within what can be met, and of those that nothing observed needs, half lie below.
        """
        top = (1 << np.asarray(bits, np.int64)) - 1
        spare = top - (self.highest - self.lowest)
        return np.asarray(np.clip(self.lowest - spare // 2, self.low, np.maximum(self.low, self.high - top)))


def _bits(low: NDArray[np.int64], high: NDArray[np.int64]) -> NDArray[np.int64]:
    return lossless_bits((high - low).astype(np.uint32), np.ones(1, np.uint8))
