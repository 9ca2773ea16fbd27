"""Where the crossbars of a layer lie: slots of chips, counted through all of their levels.

A slot is the place of one crossbar. Slots are numbered so that those of one IMA follow each other, then those of one
tile, of one chip, and so on through whatever levels a target has: slot 100 of an ISAAC is place 4 of IMA 0 of tile 1.
Layers lie in the order they run, so that those that feed each other are neighbours, and the copies of a layer follow
each other: a placement takes no more memory for more copies.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt

from bsc.toml_record import Record

CopiesPolicy = Literal["none", "isaac", "throughput", "latency"]
"""Who says how many copies a layer has: one each, the rule of [isaac16], the shortest interval or latency."""

MAX_SLOTS = 1 << 48
Slot = Annotated[int, Field(ge=0, le=MAX_SLOTS)]


class Placed(Record):
    """Copies of a layer and where they lie, set by `place`.

    The crossbars of a copy are in the order of row tile, column tile, slice and polarity, those that are not allocated
    left out; crossbars that hold a unit column alone come last.
    """

    copies_policy: CopiesPolicy = Field(description="who chose the number of copies")
    slots_at_hand: Annotated[int, Field(ge=1, le=MAX_SLOTS)] = Field(
        description="places for crossbars that copies of all layers were chosen for"
    )
    first_slot: Slot = Field(description="place of the first crossbar of the first copy, counted through all chips")
    copies: Annotated[int, Field(ge=1, le=MAX_SLOTS)] = Field(description="one behind the other")
    crossbars_per_copy: NonNegativeInt

    @property
    def end_slot(self) -> int:
        """The slot behind the last crossbar of the last copy."""
        return self.first_slot + self.copies * self.crossbars_per_copy


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerDemand:
    """What one layer asks of the chip.

    Attributes:
        name: of the layer.
        crossbars: of one copy; 0 for a layer of zeros, which is computed without any.
        vectors: input vectors of one inference.
        vector_s: time that one copy needs for one vector, all its input cycles and row groups.
        energy_j: of one inference; None is unknown.
    """

    name: str
    crossbars: int
    vectors: int
    vector_s: float
    energy_j: float | None = None

    @property
    def busy_s(self) -> float:
        """Time that one copy alone works for one inference."""
        return self.vectors * self.vector_s


@dataclass(frozen=True, kw_only=True)
class Floor:
    """The places for crossbars that a design has.

    Attributes:
        levels: slots of an IMA, IMAs of a tile, tiles of a chip, or whatever the levels are called, up to the chip.
        shared: slots of the smallest part that takes crossbars of one layer only, such as an IMA with its one input
            register; a layer starts where one of them does.
    """

    levels: tuple[int, ...]
    shared: int

    @property
    def slots_per_chip(self) -> int:
        """Crossbars that fit on a chip."""
        return prod(self.levels)

    @property
    def slots_per_tile(self) -> int:
        """Crossbars that fit on a unit of the level below the chip."""
        return prod(self.levels[:-1])

    def position(self, slot: int) -> tuple[int, ...]:
        """A slot by level, the chip first: (chip, tile, IMA, place in the IMA)."""
        numbers = []
        for count in self.levels:
            slot, number = divmod(slot, count)
            numbers.append(number)
        return (slot, *reversed(numbers))

    def first_slots(self, crossbars: Iterable[int]) -> list[int]:
        """Where each of some layers starts, given the crossbars of all copies of each; the end of the last one follows.

        A layer begins on a part of its own and may go on on the next chip.
        """
        starts, slot = [], 0
        for each in crossbars:
            slot = -(-slot // self.shared) * self.shared
            starts.append(slot)
            slot += each
        return [*starts, slot]


def lay_down(crossbars: Mapping[str, int], copies: Mapping[str, int], floor: Floor) -> dict[str, int]:
    """The first slot of every layer.

    Args:
        crossbars: of one copy, by layer, in the order the layers run.
        copies: by layer.
        floor: the places.
    """
    starts = floor.first_slots(each * copies[name] for name, each in crossbars.items())
    return dict(zip(crossbars, starts, strict=False))
