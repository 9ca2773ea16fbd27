"""Where the crossbars of a layer lie: slots of chips, counted through all of their levels.

A slot is the place of one crossbar. Slots are numbered so that those of one IMA follow each other, then those of one
tile, of one chip, and so on through whatever levels a target has: slot 100 of an ISAAC is place 4 of IMA 0 of tile 1.
Layers lie in the order they run, so that those that feed each other are neighbours, and the copies of a layer follow
each other: a placement takes no more memory for more copies. Layers of a model that is larger than the chips at hand
are in segments, which are loaded one after another into the same slots.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import fsum, inf, prod
from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt

from bsc.numeric.tiles import MAX_LINES
from bsc.toml_record import Record

CopiesPolicy = Literal["none", "isaac", "throughput", "latency"]
"""Who says how many copies a layer has: one each, the rule of [isaac16], the shortest interval or latency."""

MAX_SLOTS = 1 << 48
Slot = Annotated[int, Field(ge=0, le=MAX_SLOTS)]
Line = Annotated[int, Field(ge=0, le=MAX_LINES)]


class Reloading(Record):
    """What it takes to write the next segment of a model over the one before it.

    All cells of a crossbar are written, also those that hold no weight, since others were there before.
    """

    batch: Annotated[int, Field(ge=1, le=MAX_SLOTS)] = Field(
        description="inferences that a segment computes before the next one is written"
    )
    cell_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        description="time that a cell adds to that of writing its crossbar"
    )
    cell_j: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(description="energy of writing a cell")
    updates: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = Field(
        description="times that a cell can be written before it wears out; null is unknown"
    )
    device: str | None = Field(description="of the cells; null where nobody said")


class Rules(Record):
    """What copies of all layers are chosen by; baselines, and reports on other hardware, are placed by the same."""

    policy: CopiesPolicy = Field(description="who chose the number of copies")
    slots: Annotated[int, Field(ge=1, le=MAX_SLOTS)] = Field(description="places for crossbars at hand")
    power_w: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = Field(
        description="modelled power, all in all, that no copies were to exceed; null for any"
    )
    pack: bool = Field(description="small layers may share crossbars")
    reload: Reloading | None = Field(
        default=None, description="layers may be loaded in segments, one after another; null if all are there together"
    )


class Placed(Record):
    """Copies of a layer and where they lie, set by `place`.

    The crossbars of a copy are in the order of row tile, column tile, slice and polarity, those that are not allocated
    left out; crossbars that hold a unit column alone come last. Layers that share crossbars lie on other rows and other
    columns of them, and have a place for each slice and polarity, so that each converter reads one significance.
    """

    rules: Rules = Field(description="the same for all layers")
    first_slot: Slot = Field(description="place of the first crossbar of the first copy, counted through all chips")
    copies: Annotated[int, Field(ge=1, le=MAX_SLOTS)] = Field(description="one behind the other")
    crossbars_per_copy: NonNegativeInt = Field(description="places that a copy takes")
    row: Line = Field(description="wordline of its crossbars that the layer begins on; above 0 where it shares them")
    column: Line = Field(description="bitline, likewise")
    segment: NonNegativeInt = Field(default=0, description="which of the segments that are loaded one after another")

    def __str__(self) -> str:
        segment = f"segment {self.segment}, " if self.segment else ""
        shared = f" from row {self.row}, column {self.column} on" if self.row else ""
        return f"{segment}placed at {self.first_slot}, {self.copies} x {self.crossbars_per_copy} crossbars{shared}"

    @property
    def end_slot(self) -> int:
        """The slot behind the last crossbar of the last copy."""
        return self.first_slot + self.copies * self.crossbars_per_copy


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of each of some crossbars, one for every slice and polarity.

    Attributes:
        rows: wordlines.
        columns: bitlines, unit columns included.
        of_rows: wordlines of a whole crossbar.
        of_columns: bitlines of a whole crossbar.
        planes: crossbars.
    """

    rows: int
    columns: int
    of_rows: int
    of_columns: int
    planes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerDemand:
    """What one layer asks of the chip.

    Attributes:
        name: of the layer.
        crossbars: of one copy; 0 for a layer of zeros, which is computed without any.
        vectors: input vectors of one inference.
        vector_s: time that one copy needs for one vector, all its input cycles and row groups.
        energy_j: of one inference; None is unknown.
        part: of a crossbar that it takes, if it may share its crossbars with other layers; None if not.
        weight_bits: of its weights, signs included, as they come to the chip.
    """

    name: str
    crossbars: int
    vectors: int
    vector_s: float
    energy_j: float | None = None
    part: "Part | None" = None
    weight_bits: int = 0

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
class PowerDemand:
    """What draws power besides crossbar layers.

    Attributes:
        work_j: of digital operators in one inference; None is unknown.
        traffic_j: of what one inference carries; None is unknown.
        tile_w: that a tile in use draws all the time.
        chip_w: that a chip in use does.
        carried_j: what one inference carries in a placement; None is unknown.
    """

    work_j: float | None
    traffic_j: float | None
    tile_w: float
    chip_w: float
    carried_j: Callable[[Mapping[str, Placed]], float | None]

    @property
    def beside_j(self) -> float | None:
        """Work and traffic."""
        return None if self.work_j is None or self.traffic_j is None else self.work_j + self.traffic_j


@dataclass(frozen=True, kw_only=True)
class ChipDemand:
    """What a model asks of chips of one design.

    Attributes:
        floor: the places of a chip.
        layers: in the order they run.
        io_bits: of inputs and outputs of one inference.
        value_bits: of one value that is carried.
        link_bits_per_s: that the links of one chip carry; None where the design has none.
        pack: small layers may share crossbars.
        tile: what the target calls one unit of the level below the chip, and several.
        tile_m2: area of one, all of its places filled; None where the target gives none.
        crossbar_cells: of one crossbar.
        power: what more a power budget has to know; None where nobody asked for one.
    """

    floor: Floor
    layers: tuple[LayerDemand, ...]
    io_bits: int = 0
    value_bits: int = 0
    link_bits_per_s: float | None = None
    pack: bool = False
    tile: tuple[str, str] = ("tile", "tiles")
    tile_m2: float | None = None
    crossbar_cells: int = 0
    power: "PowerDemand | None" = None

    @cached_property
    def groups(self) -> tuple[tuple[LayerDemand, ...], ...]:
        """Layers that share crossbars, in the order they run; most are alone.

        Rows and columns of a group lie one behind the other, so that its blocks are on a diagonal.
        """
        groups: list[list[LayerDemand]] = []
        for layer in self.layers:
            if self.pack and groups and _fits(groups[-1], layer):
                groups[-1].append(layer)
            else:
                groups.append([layer])
        return tuple(map(tuple, groups))

    def together(self, copies: Mapping[str, int]) -> dict[str, int]:
        """As many copies for all layers of a group as one of them needs."""
        return {
            layer.name: most
            for group in self.groups
            if (most := max(copies[layer.name] for layer in group))
            for layer in group
        }

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

    @property
    def active_j(self) -> float | None:
        """Energy of one inference without what is drawn all the time; of crossbar layers alone if `power` is None."""
        beside = 0.0 if self.power is None else self.power.beside_j
        return None if self.energy_j is None or beside is None else self.energy_j + beside

    def static_w(self, slots: int) -> float:
        """Power that the tiles and chips with so many places draw all the time."""
        if self.power is None:
            return 0.0
        return self.power.tile_w * -(-slots // self.floor.slots_per_tile) + self.power.chip_w * self.chips(slots)

    def shortest_s(self, power_w: float | None, slots: int) -> float:
        """The interval over which an inference comes to a power; 0 for any power, or unknown energy.

        Args:
            power_w: all in all.
            slots: places that are in use.
        """
        if power_w is None or self.active_j is None:
            return 0.0
        left_w = power_w - self.static_w(slots)
        return self.active_j / left_w if left_w > 0 else inf

    def slots(self, copies: Mapping[str, int]) -> int:
        """Places up to the last one that is taken, those left free between layers included."""
        return self.starts(copies)[-1]

    def starts(self, copies: Mapping[str, int]) -> list[int]:
        """Where each group starts, and the end of the last one."""
        return self.floor.first_slots(crossbars_of(group) * copies[group[0].name] for group in self.groups)


def lay_down(demand: ChipDemand, rules: Rules, copies: Mapping[str, int], segment: int = 0) -> dict[str, Placed]:
    """Put the copies of every layer onto the chips.

    Args:
        demand: of the model, or of one segment of it.
        rules: by which the copies were chosen.
        copies: by layer.
        segment: which.
    """
    placed = {}
    for group, start in zip(demand.groups, demand.starts(copies), strict=False):
        row = column = 0
        for layer in group:
            placed[layer.name] = Placed(
                rules=rules,
                first_slot=start,
                copies=copies[layer.name],
                crossbars_per_copy=crossbars_of(group),
                row=row,
                column=column,
                segment=segment,
            )
            if layer.part is not None:
                row, column = row + layer.part.rows, column + layer.part.columns
    return placed


def _fits(group: Sequence[LayerDemand], layer: LayerDemand) -> bool:
    """Whether a layer finds room on the crossbars of a group."""
    parts = [each.part for each in (*group, layer) if each.part is not None]
    return (
        len(parts) == len(group) + 1
        and len({(part.of_rows, part.of_columns, part.planes) for part in parts}) == 1
        and sum(part.rows for part in parts) <= parts[0].of_rows
        and sum(part.columns for part in parts) <= parts[0].of_columns
    )


def crossbars_of(group: Sequence[LayerDemand]) -> int:
    """Places that one copy of a group takes."""
    shared = group[0].part if len(group) > 1 else None
    return group[0].crossbars if shared is None else shared.planes
