"""How the cost of a conversion follows its resolution. The laws themselves are in `hw_models.adc`."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bsc.errors import UsageError
from bsc.toml_record import Kind

MAX_ADC_BITS: Final = 16
"""Largest resolution an ADC law has an entry for."""

ANCHOR_ADC_BITS: Final = 8
"""Resolution that ADC laws are relative to."""


@dataclass(frozen=True)
class AdcLaw:
    """How the cost of one conversion follows the resolution.

    Attributes:
        name: what the command line calls it.
        formula: the law in words or symbols.
        source: citation key, then where it was read.
        kind: how far it can be trusted.
        valid_bits: lowest and highest resolution the source vouches for; the rest is extrapolated.
        energy: energy of 0 to 16 bits over that of 8 bits; 0 bits is no conversion; NaN where a table has no entry.
        area: the same for area; None when the law says nothing about it.
    """

    name: str
    formula: str
    source: str
    kind: Kind
    valid_bits: tuple[int, int]
    energy: tuple[float, ...]
    area: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        for table in (self.energy, self.area or self.energy):
            assert len(table) == MAX_ADC_BITS + 1, table
            assert table[0] == 0.0, table
            assert table[ANCHOR_ADC_BITS] == 1.0, table

    def equals(self, other: "AdcLaw") -> bool:
        """Whether both give the same costs."""
        tables = ((self.energy, other.energy), (self.area or (), other.area or ()))
        return all(np.array_equal(ours, theirs, equal_nan=True) for ours, theirs in tables)

    def relative_energy(self, bits: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
        """Energy of one conversion over that at 8 bits, for each resolution; same shape as `bits`.

        Raises:
            UsageError: BSC207, for a resolution outside 0 to 16 or missing from the law's table.
        """
        return self._look_up("energy", self.energy, bits)

    def relative_area(self, bits: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
        """Area of one converter over that at 8 bits, for a law with `area`; otherwise as `relative_energy`."""
        assert self.area is not None, self.name
        return self._look_up("area", self.area, bits)

    def extrapolated(self, bits: NDArray[np.integer[Any]]) -> bool:
        """Whether any resolution other than 0, which is no conversion, lies outside `valid_bits`."""
        low, high = self.valid_bits
        return bool(np.any((bits != 0) & ((bits < low) | (bits > high))))

    def _look_up(self, what: str, costs: tuple[float, ...], bits: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
        table = np.asarray(costs)
        inside = (bits >= 0) & (bits < table.size)
        if not inside.all() or not np.isfinite(table[bits]).all():
            known = np.flatnonzero(np.isfinite(table))
            raise UsageError(
                "BSC207",
                f"ADC law '{self.name}' has no {what} for {np.setdiff1d(bits, known)[0]} bits",
                seen=f"a law for {', '.join(map(str, known))} bits",
                fix="use another law, or a table of your own that has this resolution",
            )
        relative: NDArray[np.float64] = table[bits]
        return relative
