"""Where crossbars lie, in words."""

from collections.abc import Sequence
from dataclasses import dataclass

from bsc.hardware.target import Level
from bsc.mapping.placement import Floor, Placed


@dataclass(frozen=True, kw_only=True)
class Places:
    """The names of places on chips.

    Attributes:
        levels: of the target, that of the arrays first.
    """

    levels: Sequence[Level]

    def name(self, slot: int) -> str:
        """A place: "chip 0, tile 12, IMA 3, crossbar 5"."""
        counts = tuple(level.count for level in self.levels if level.count is not None)
        numbers = Floor(levels=counts, shared=1).position(slot)
        return ", ".join(f"{level.name} {number}" for level, number in zip(reversed(self.levels), numbers, strict=True))

    def of_layer(self, placed: Placed | None) -> str:
        """Copies of a layer, and where the first begins."""
        if placed is None:
            return "nowhere yet: the pipeline has no 'place'"
        if not placed.crossbars_per_copy:
            return "no crossbars"
        copies = "1 copy" if placed.copies == 1 else f"{placed.copies} copies"
        each = "1 crossbar" if placed.crossbars_per_copy == 1 else f"{placed.crossbars_per_copy} crossbars"
        shared = f", row {placed.row}, column {placed.column}" if placed.row else ""
        return f"{copies} of {each}, from {self.name(placed.first_slot)}{shared} on"

    def of_crossbar(self, placed: Placed | None, number: int) -> str:
        """One crossbar of every copy, by its number in the copy."""
        if placed is None:
            return self.of_layer(placed)
        rest = (
            "" if placed.copies == 1 else f"; in {placed.copies - 1} more copies, each {placed.crossbars_per_copy} on"
        )
        return f"{self.name(placed.first_slot + number)}{rest}"
