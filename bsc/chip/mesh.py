"""The way of bits between tiles and chips: routers of a mesh, links between them, and the links of chips.

Tiles share routers, and the routers of a chip are a square mesh, numbered back and forth so that tiles that follow each
other are neighbours. Bits go along a row of it first, then along a column. The links of a chip are along its first
row, as in figure 2 of [isaac16]: bits enter and leave in the column of their tile. Chips are a square mesh too. Whoever
needs a value is sent it: of several tiles on one chip each by itself, while the links of the chip carry it once for all
of them.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Literal

Place = tuple[int, int]
Step = tuple[Place, Place]
Bits = Mapping[int, float]
"""Bits, or a share of them, by tile."""


@dataclass(frozen=True, kw_only=True)
class Network:
    """The routers of chips of one design.

    Attributes:
        tiles: of a chip.
        tiles_per_router: that share a router.
    """

    tiles: int
    tiles_per_router: int

    @cached_property
    def width(self) -> int:
        """Routers in a row of a chip."""
        return _side(-(-self.tiles // self.tiles_per_router))

    def chip(self, tile: int) -> int:
        """The chip of a tile."""
        return tile // self.tiles

    def router(self, tile: int) -> Place:
        """The router of a tile, on its chip."""
        return _back_and_forth(tile % self.tiles // self.tiles_per_router, self.width)


def edge(router: Place) -> Place:
    """The router at which bits for or of another one enter or leave a chip."""
    return 0, router[1]


def _side(places: int) -> int:
    """The side of a square that has so many places."""
    return math.isqrt(max(places - 1, 0)) + 1


def _back_and_forth(number: int, width: int) -> Place:
    row, column = divmod(number, width)
    return row, column if row % 2 == 0 else width - 1 - column


@lru_cache(maxsize=1 << 14)
def steps(start: Place, end: Place) -> tuple[Step, ...]:
    """The links on the way from one router to another: along the row first."""
    found, (row, column) = [], start
    while (row, column) != end:
        if column != end[1]:
            beside = (row, column + (1 if end[1] > column else -1))
        else:
            beside = (row + (1 if end[0] > row else -1), column)
        found.append(((row, column), beside))
        row, column = beside
    return tuple(found)


def chips_between(start: int, end: int, chips: int) -> tuple[Step, ...]:
    """The links on the way from one chip to another, of so many."""
    side = _side(chips)
    return steps(_back_and_forth(start, side), _back_and_forth(end, side))


@dataclass(eq=False, kw_only=True)
class Loads:
    """Bits of one inference that have been sent, by what they go through.

    Attributes:
        network: that they go through.
        chips: in use.
        router_bits: once for each router.
        link_bits: over links of chips, once for each.
        arriving_bits: that tiles take in from elsewhere, into their buffers.
        mesh: by chip and link, each direction for itself.
        ports: by tile and direction, between a tile and its router.
        links: by chip, in and out.
        arriving: by tile.
        leaving: by tile.
    """

    network: Network
    chips: int
    router_bits: float = 0.0
    link_bits: float = 0.0
    arriving_bits: float = 0.0
    mesh: defaultdict[tuple[int, Step], float] = field(default_factory=lambda: defaultdict(float))
    ports: defaultdict[tuple[int, Literal["in", "out"]], float] = field(default_factory=lambda: defaultdict(float))
    links: defaultdict[Place, float] = field(default_factory=lambda: defaultdict(float))
    arriving: defaultdict[int, float] = field(default_factory=lambda: defaultdict(float))
    leaving: defaultdict[int, float] = field(default_factory=lambda: defaultdict(float))

    def send(self, source: Bits | None, sinks: Bits, whole_bits: float, *, stored: bool = True) -> None:
        """Send values to tiles.

        Args:
            source: share of them that each tile has; None where they come from outside the chips.
            sinks: bits that each tile needs.
            whole_bits: of all values: no more cross the links of a chip on their way to its tiles.
            stored: tiles that they arrive at put them into their buffers.
        """
        for chip, there in self._by_chip(sinks):
            inside = {} if source is None else dict(source)
            here = {tile: share for tile, share in inside.items() if self.network.chip(tile) == chip}
            away = {tile: share for tile, share in inside.items() if tile not in here}
            for tile, share in here.items():
                for sink, bits in there.items():
                    if sink != tile:
                        self._on_chip(tile, sink, bits * share)
                        self._arrive(sink, bits * share, stored=stored)
            outside = 1.0 if source is None else math.fsum(away.values())
            if not outside:
                continue
            for sink, bits in there.items():
                self._enter(sink, bits * outside)
                self._arrive(sink, bits * outside, stored=stored)
            entering = min(math.fsum(there.values()), whole_bits)
            if source is None:
                self._over_edge(chip, entering)
            for tile, share in away.items():
                self._leave(tile, entering * share)
                self._between(self.network.chip(tile), chip, entering * share)

    def send_out(self, source: Bits, bits: float) -> None:
        """Send values out of the chips."""
        for tile, share in source.items():
            self._leave(tile, bits * share)
            self._over_edge(self.network.chip(tile), bits * share)

    def _by_chip(self, tiles: Bits) -> Iterator[tuple[int, dict[int, float]]]:
        chips: dict[int, dict[int, float]] = {}
        for tile, bits in tiles.items():
            chips.setdefault(self.network.chip(tile), {})[tile] = bits
        yield from chips.items()

    def _on_chip(self, tile: int, sink: int, bits: float) -> None:
        self._route(self.network.chip(tile), self.network.router(tile), self.network.router(sink), bits)
        self._out_of(tile, bits)
        self.ports[sink, "in"] += bits

    def _enter(self, sink: int, bits: float) -> None:
        router = self.network.router(sink)
        self._route(self.network.chip(sink), edge(router), router, bits)
        self.ports[sink, "in"] += bits

    def _leave(self, tile: int, bits: float) -> None:
        router = self.network.router(tile)
        self._route(self.network.chip(tile), router, edge(router), bits)
        self._out_of(tile, bits)

    def _out_of(self, tile: int, bits: float) -> None:
        self.ports[tile, "out"] += bits
        self.leaving[tile] += bits

    def _arrive(self, sink: int, bits: float, *, stored: bool) -> None:
        if stored:
            self.arriving[sink] += bits
            self.arriving_bits += bits

    def _route(self, chip: int, start: Place, end: Place, bits: float) -> None:
        way = steps(start, end)
        self.router_bits += bits * (len(way) + 1)
        for step in way:
            self.mesh[chip, step] += bits

    def _between(self, start: int, end: int, bits: float) -> None:
        """From chip to chip: each link is one of two chips, and routers of those in between are passed."""
        way = chips_between(start, end, self.chips)
        self.link_bits += bits * len(way)
        self.router_bits += bits * (len(way) - 1)
        for one, other in way:
            self.links[one] += bits
            self.links[other] += bits

    def _over_edge(self, chip: int, bits: float) -> None:
        """Between a chip and what is outside of all."""
        self.link_bits += bits
        self.links[_back_and_forth(chip, _side(self.chips))] += bits
