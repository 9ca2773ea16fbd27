"""How a signed weight code is held by cells, whose levels are never negative.

    stored = code - centre          what the cells of one weight hold together, cut into slices
    code   = centre + sum over slices and polarities of sign * 2**shift * level

`differential` has centre 0 and two polarities: the magnitude lies on the column of its sign, and a zero weight is
zero in every slice. `centre` is the same around a centre of each column's own [raella23]. `offset` adds 2**weight_bits
to every code, so that one polarity is enough and one bit more is stored [isaac16]; a zero weight is not zero there.
What a centre takes away is given back digitally: centre times the sum of the input digits.

The two columns of a pair are converted one by one and subtracted digitally, or their currents are subtracted and
converted once (`analog`). A slice column may be flipped, its cells holding top - level in place of level, where that
adds up to less [isaac16]: top times the sum of the input digits, less what is read, is what it would have given. That
sum is at hand where there are centres, and only columns that are converted one by one are flipped.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Encoding = Literal["differential", "offset", "centre"]
Subtraction = Literal["digital", "analog"]

MAX_ANALOG_BITS = 7
"""Most bits of a cell whose pair is subtracted before its conversion: the difference of two levels fits a byte."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CellFormat:
    """How weight codes become cell levels.

    Attributes:
        weight_bits: magnitude bits of a code, 1 to 15; its sign is kept apart.
        bits_per_cell: most bits one cell stores, 1 to 8.
        encoding: how the sign is held.
        subtraction: where the columns of a pair are subtracted; "analog" needs two polarities.
        flip: slice columns are flipped where their cells add up to less then.
        cut: bits of every slice, least significant first; empty for `bits_per_cell` each, the last one what is left.
    """

    weight_bits: int
    bits_per_cell: int
    encoding: Encoding = "differential"
    subtraction: Subtraction = "digital"
    flip: bool = False
    cut: tuple[int, ...] = ()

    @property
    def stored_bits(self) -> int:
        """Bits of a stored magnitude."""
        return self.weight_bits + (self.encoding == "offset")

    @property
    def polarities(self) -> int:
        """P, columns a slice needs: one for each sign that a stored code can have."""
        return 1 if self.encoding == "offset" else 2

    @property
    def analog_pairs(self) -> bool:
        """Whether the two columns of a pair are subtracted before their one conversion."""
        return self.subtraction == "analog"

    @property
    def conversions(self) -> int:
        """Q, conversions a slice needs: one for each column, or one for a pair that is subtracted before."""
        return 1 if self.analog_pairs else self.polarities

    @property
    def slice_bits(self) -> tuple[int, ...]:
        """Bits of every slice, least significant first."""
        if self.cut:
            return self.cut
        whole, rest = divmod(self.stored_bits, self.bits_per_cell)
        return (self.bits_per_cell,) * whole + ((rest,) if rest else ())

    @property
    def slices(self) -> int:
        """S, cells that hold one magnitude."""
        return len(self.slice_bits)

    @property
    def shifts(self) -> NDArray[np.int64]:
        """Place of every slice's lowest bit in a stored magnitude, (S,)."""
        return np.cumsum((0, *self.slice_bits[:-1]), dtype=np.int64)

    @property
    def tops(self) -> NDArray[np.int64]:
        """Highest level of every slice, (S,)."""
        return (1 << np.array(self.slice_bits, np.int64)) - 1

    @property
    def max_level(self) -> int:
        """Highest cell level."""
        return int(self.tops.max())

    def place_values(self) -> NDArray[np.int64]:
        """What one level of each slice and polarity adds to a code, (S, P)."""
        signs = np.array([1, -1][: self.polarities])
        return np.asarray((1 << self.shifts)[:, None] * signs, np.int64)

    def read_place_values(self) -> NDArray[np.int64]:
        """What one cell unit read by each conversion of a slice adds to a code, (S, Q)."""
        return self.place_values()[:, : self.conversions]

    def levels(self) -> NDArray[np.uint8]:
        """Cell levels of every stored code, in columns that are not flipped.

        Returns:
            Shape (M, S, P). Row c belongs to the stored code c and, as Python counts from the end, row -c to -c:
            a stored code is its own index.
        """
        return level_table(self.slice_bits, self.polarities)

    def stored(
        self, codes: NDArray[np.signedinteger], centres: NDArray[np.signedinteger] | None, tile_rows: int
    ) -> NDArray[np.signedinteger]:
        """What the cells hold.

        Args:
            codes: weight codes (K, N).
            centres: of each column on each row tile (T, N); None unless the encoding is `centre`.
            tile_rows: wordlines of a crossbar.

        Returns:
            Stored codes (K, N); `codes` itself where nothing is taken away.
        """
        if self.encoding == "differential":
            return codes
        return codes.astype(np.int32) - self.centres_by_row(centres, len(codes), tile_rows)

    def centres_by_row(self, centres: NDArray[np.signedinteger] | None, rows: int, tile_rows: int) -> NDArray[np.int32]:
        """The centre of every weight, (K, N), or of all of them, (1, 1)."""
        if self.encoding != "centre":
            return np.array([[-(1 << self.weight_bits) if self.encoding == "offset" else 0]], np.int32)
        assert centres is not None
        return np.repeat(centres.astype(np.int32), tile_rows, axis=0)[:rows]


def level_table(slice_bits: tuple[int, ...], polarities: int = 2) -> NDArray[np.uint8]:
    """Cell levels of every code that slices of so many bits hold, least significant first; see `CellFormat.levels`."""
    top = (1 << sum(slice_bits)) - 1
    bits = np.array(slice_bits)
    levels = (np.arange(top + 1)[:, None] >> (np.cumsum(bits) - bits)) & ((1 << bits) - 1)
    if polarities == 1:
        return np.asarray(levels[:, :, None], np.uint8)
    table = np.zeros((2 * top + 1, len(slice_bits), 2), np.uint8)
    table[: top + 1, :, 0] = levels
    table[top + 1 :, :, 1] = levels[:0:-1]
    return table


def choose_centres(codes: NDArray[np.signedinteger], cells: CellFormat, tile_rows: int) -> NDArray[np.int16]:
    """Centres that make the column sums of both polarities alike.

    [raella23] takes for each column the centre that minimises sum over slices of 2**shift * (signed column sum)**4.
    Here only centres count that leave every stored magnitude within `weight_bits`.

    Args:
        codes: weight codes (K, N).
        cells: the format.
        tile_rows: wordlines of a crossbar.

    Returns:
        Shape (T, N).
    """
    tiles, columns = -(-len(codes) // tile_rows), codes.shape[1]
    centres = np.zeros((tiles, columns), np.int16)
    for tile in range(tiles):
        part = codes[tile * tile_rows : (tile + 1) * tile_rows].astype(np.int64)
        top = (1 << cells.weight_bits) - 1
        # The last and the first centre that fit; a centre is no larger than a code, so that it fits its type.
        lowest, highest = np.minimum(part.min(axis=0) + top, top), np.maximum(part.max(axis=0) - top, -top)
        spacing = 1 << max(0, cells.weight_bits - 8)  # at most 511 candidates
        reach = -(-max(abs(int(lowest.max())), abs(int(highest.min()))) // spacing) * spacing
        candidates = np.array(sorted(range(-reach, reach + 1, spacing), key=abs))  # the first of equals wins
        cost = _imbalance(part, candidates, cells)
        cost[(candidates < highest[:, None]) | (candidates > lowest[:, None])] = np.inf
        best = cost.argmin(axis=1)
        fits = np.isfinite(cost[np.arange(columns), best])
        centres[tile] = np.where(fits, candidates[best], (lowest + highest) // 2)
    return centres


def _imbalance(codes: NDArray[np.int64], centres: NDArray[np.int64], cells: CellFormat) -> NDArray[np.float64]:
    """Sum over slices of 2**shift * (signed column sum)**4 for every column and centre, (N, centres)."""
    table = cells.levels().astype(np.float32)
    signed = table[..., 0] - table[..., 1]  # by stored code (M, S)
    present, index = np.unique(codes, return_inverse=True)
    columns = codes.shape[1]
    places = index.reshape(codes.shape) + np.arange(columns) * len(present)
    counts = np.bincount(places.ravel(), minlength=columns * len(present)).reshape(columns, len(present))
    stored = np.clip(present[:, None] - centres, -(len(table) // 2), len(table) // 2)  # what is cut does not count
    cost = np.zeros((columns, len(centres)))
    for shift, values in zip(cells.shifts.tolist(), signed.T, strict=True):
        sums = counts.astype(np.float32) @ values[stored]  # whole numbers far below 2**24
        cost += np.ldexp(sums.astype(np.float64) ** 4, shift)
    return cost
