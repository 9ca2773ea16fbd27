"""Where the crossbars of a layer lie: slots of chips, counted through all of their levels.

A slot is the place of one crossbar. Slots are numbered so that those of one IMA follow each other, then those of one
tile, of one chip, and so on through whatever levels a target has: slot 100 of an ISAAC is place 4 of IMA 0 of tile 1.
Layers lie in the order they run, so that those that feed each other are neighbours, and the copies of a layer follow
each other: a placement takes no more memory for more copies.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import fsum, prod
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

    def __str__(self) -> str:
        return f"placed at {self.first_slot}, {self.copies} x {self.crossbars_per_copy} crossbars"

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


@dataclass(frozen=True, kw_only=True)
class ChipDemand:
    """What a model asks of chips of one design.

    Attributes:
        floor: the places of a chip.
        layers: in the order they run.
        io_bits: of inputs and outputs of one inference.
        link_bits_per_s: that the links of one chip carry; None where the design has none.
    """

    floor: Floor
    layers: tuple[LayerDemand, ...]
    io_bits: int = 0
    link_bits_per_s: float | None = None

    @property
    def energy_j(self) -> float | None:
        """Energy of one inference; None is unknown."""
        known = [layer.energy_j for layer in self.layers if layer.energy_j is not None]
        return fsum(known) if len(known) == len(self.layers) else None

    def chips(self, slots: int) -> int:
        """Chips that have so many places."""
        return max(-(-slots // self.floor.slots_per_chip), 1)

    def io_s(self, chips: int) -> float:
        """Time in which the links of so many chips carry inputs and outputs; 0 where the design has no links."""
        return self.io_bits / (self.link_bits_per_s * chips) if self.link_bits_per_s else 0.0

    def slots(self, copies: Mapping[str, int]) -> int:
        """Places up to the last one that is taken, those left free between layers included."""
        return self.floor.first_slots(layer.crossbars * copies[layer.name] for layer in self.layers)[-1]


def lay_down(demand: ChipDemand, policy: CopiesPolicy, copies: Mapping[str, int], slots: int) -> dict[str, Placed]:
    """Put the copies of every layer onto the chips.

    Args:
        demand: of the model.
        policy: who chose the copies.
        copies: by layer.
        slots: places at hand.
    """
    starts = demand.floor.first_slots(layer.crossbars * copies[layer.name] for layer in demand.layers)
    return {
        layer.name: Placed(
            copies_policy=policy,
            slots_at_hand=slots,
            first_slot=start,
            copies=copies[layer.name],
            crossbars_per_copy=layer.crossbars,
        )
        for layer, start in zip(demand.layers, starts, strict=False)
    }
