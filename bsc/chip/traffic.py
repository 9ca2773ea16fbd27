"""What one inference carries between the parts of chips, from the places of all crossbars.

A tile has a buffer, from which its bus carries inputs to its IMAs, and adds up results of these. So it is counted:

- **Inputs.** A tile takes in every value that its crossbars need once, and keeps it while windows need it. Vectors are
  dealt so that neighbours on a line go to the copies of one tile, whose windows overlap. Where a copy lies on several
  tiles, each of them reads the rows of its own crossbars from its buffer.
- **Partial sums.** A column whose crossbars all lie in one IMA is added up there. Else each of its IMAs sends what it
  has over the bus, wide enough for the largest sum, and from the last of its tiles on each sends its sum to the one
  before it, which adds its own.
- **Results** are where their column is added up, in the tile that has its first crossbar, and go to all tiles that need
  them. A digital operator is carried out where the last of its operands is; the others, such as the skip of a residual
  block, are sent there.
- **Copies** take turns, so that each has its share of inputs and results, also of several inferences.

Values have as many bits as the widest codes of inputs.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bsc.chip.dataflow import PORT, Dataflow, Use
from bsc.chip.mesh import Loads, Network
from bsc.cost.layouts import CopyLayout
from bsc.mapping.layer import MappedLayer
from bsc.mapping.placement import Floor, Placed
from bsc.numeric.im2col import output_sizes

MAX_CROSSBARS: Final = 1 << 19
"""Of all copies of a layer that are followed one by one."""
MAX_PAIRS: Final = 1 << 21
"""Tiles that send, times tiles that are sent to."""
ROUNDING: Final = 1e-9
"""What sums of shares may be off by, relatively."""


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """What one inference carries, in bits but for `merges`.

    Attributes:
        counters: by name, those of `bsc.cost.counters.TRAFFIC`.
        mesh_bits: over the busiest link between routers, or between a router and a tile.
        link_bits: over the links of the busiest chip, in and out.
        bus_bits: over the busiest bus of a tile.
        buffer_bits: into and out of the busiest buffer of a tile.
    """

    counters: Mapping[str, int]
    mesh_bits: float
    link_bits: float
    bus_bits: float
    buffer_bits: float


@dataclass(frozen=True, eq=False, kw_only=True)
class _Seat:
    """Where the copies of a layer take in inputs and give results; numbers are for one vector of each copy.

    Attributes:
        copies: of the layer.
        lines: by tile, how many lines of inputs each number of copies in it needs: (copies, lines).
        rows: by tile, inputs that its copies read.
        repeated_rows: those of them that another tile of the same copy reads too.
        homes: by tile, share of the results that it gives.
        partials: by tile, partial sums that its IMAs send.
        sent_partials: partial sums that a tile sends to another.
        merges: additions of two partial sums.
    """

    copies: int
    lines: Mapping[int, Sequence[tuple[int, int]]]
    rows: Mapping[int, int]
    repeated_rows: int
    homes: Mapping[int, float]
    partials: Mapping[int, int]
    sent_partials: Mapping[tuple[int, int], int]
    merges: int


def traffic_of(
    *,
    dataflow: Dataflow,
    layers: Sequence[MappedLayer],
    layouts: Sequence[CopyLayout],
    placed: Mapping[str, Placed],
    floor: Floor,
    tiles_per_router: int,
) -> Traffic | None:
    """Count what an inference carries; None where shapes are unknown, or there is more than can be followed.

    Args:
        dataflow: of the mapping.
        layers: of the mapping.
        layouts: of the same layers.
        placed: by layer.
        floor: places of a chip.
        tiles_per_router: that share a router.
    """
    if any(each.crossbars_per_copy * each.copies > MAX_CROSSBARS for each in placed.values()):
        return None
    if any(move.values is None for move in dataflow.moves):
        return None
    last = max((each.end_slot for each in placed.values()), default=0)
    seats = {
        layer.name: _seat(layout, placed[layer.name], floor, last)
        for layer, layout in zip(layers, layouts, strict=True)
    }
    network = Network(tiles=floor.levels[-1], tiles_per_router=tiles_per_router)
    loads = Loads(network=network, chips=max(-(-last // floor.slots_per_chip), 1))
    value_bits = max((layer.input_bits for layer in layers), default=0)
    by_name = {layer.name: layer for layer in layers}
    homes = {name: seat.homes for name, seat in seats.items()}
    for alike in _alike_uses(dataflow):
        use, value_bits_of_all = alike[0], value_bits * len(alike)
        home = _layer_at(dataflow, use.home)
        source = None if home is None else homes[home]
        sinks = _needed(use, by_name[use.layer], seats[use.layer])
        if len(sinks) * len(source or (0,)) > MAX_PAIRS:
            return None
        whole = math.prod(use.input_shape) if use.input_shape is not None else math.inf
        needed = {tile: values * value_bits_of_all for tile, values in sinks.items()}
        loads.send(source, needed, whole * value_bits_of_all)
    for (start, end), values in _moved_values(dataflow).items():
        bits = float(values * value_bits)
        if end is None:
            assert start is not None
            loads.send_out(homes[start], bits)
        else:
            sinks = {tile: bits * share for tile, share in homes[end].items()}
            source = None if start is None else homes[start]
            if len(sinks) * len(source or (0,)) > MAX_PAIRS:
                return None
            loads.send(source, sinks, bits)
    return _added(loads, layers, seats)


def _alike_uses(dataflow: Dataflow) -> Iterable[Sequence[Use]]:
    """Uses whose inputs go the same way: of a layer that is used often, each would count every pair of its tiles."""
    found: dict[object, list[Use]] = {}
    for use in dataflow.uses:
        way = (_layer_at(dataflow, use.home), use.layer, use.input_shape, use.vectors)
        found.setdefault(way, []).append(use)
    return found.values()


def _moved_values(dataflow: Dataflow) -> Counter[tuple[str | None, str | None]]:
    """Values that are moved from one layer, or from outside, to another; all of them are known."""
    found: Counter[tuple[str | None, str | None]] = Counter()
    for move in dataflow.moves:
        found[_layer_at(dataflow, move.source), _layer_at(dataflow, move.target)] += move.values or 0
    return found


def _layer_at(dataflow: Dataflow, number: int) -> str | None:
    """The layer of a use; None for what is outside the chips."""
    return None if number == PORT else dataflow.uses[number].layer


def sum_bits(layer: MappedLayer) -> int:
    """Bits that hold any partial sum of a layer, with its sign."""
    largest = layer.rows * layer.max_code * ((1 << layer.input_bits) - 1)
    return largest.bit_length() + 1


def _added(loads: Loads, layers: Sequence[MappedLayer], seats: Mapping[str, _Seat]) -> Traffic:
    """Add what stays within tiles to what was sent between them."""
    partial_bits = merges = repeated_bits = 0.0
    bus: defaultdict[int, float] = defaultdict(float)
    buffers: defaultdict[int, float] = defaultdict(float)
    for layer in layers:
        seat = seats[layer.name]
        turns = layer.vectors / seat.copies
        width = sum_bits(layer)
        for tile, rows in seat.rows.items():
            bus[tile] += rows * layer.input_bits * turns
            buffers[tile] += rows * layer.input_bits * turns
        for tile, partials in seat.partials.items():
            bus[tile] += partials * width * turns
            partial_bits += partials * width * turns
        for tile, share in seat.homes.items():
            results = layer.columns * share * layer.input_bits * layer.vectors
            bus[tile] += results
            buffers[tile] += results
        for (tile, home), partials in seat.sent_partials.items():
            bits = partials * width * turns
            loads.send({tile: 1.0}, {home: bits}, bits, stored=False)
        merges += seat.merges * turns
        repeated_bits += seat.repeated_rows * layer.input_bits * turns
    for table in (loads.arriving, loads.leaving):
        for tile, bits in table.items():
            buffers[tile] += bits
    return Traffic(
        counters={
            "repeated_bits": _whole(repeated_bits),
            "partial_bits": _whole(partial_bits),
            "merges": _whole(merges),
            "arriving_bits": _whole(loads.arriving_bits),
            "router_bits": _whole(loads.router_bits),
            "chip_link_bits": _whole(loads.link_bits),
        },
        mesh_bits=max(max(loads.mesh.values(), default=0.0), max(loads.ports.values(), default=0.0)),
        link_bits=max(loads.links.values(), default=0.0),
        bus_bits=max(bus.values(), default=0.0),
        buffer_bits=max(buffers.values(), default=0.0),
    )


def _whole(count: float) -> int:
    """Rounded up, whatever rounding has added to a whole number."""
    return math.ceil(count * (1 - ROUNDING) - ROUNDING)


def _needed(use: Use, layer: MappedLayer, seat: _Seat) -> dict[int, float]:
    """Values of its input that each tile of a layer takes in."""
    if use.input_shape is None:  # without windows to share, every vector is sent whole
        return {tile: rows * use.vectors / seat.copies for tile, rows in seat.rows.items()}
    channels = use.input_shape[1] if layer.conv is not None else use.input_shape[-1]
    values_per_line = math.prod(use.input_shape) // max(channels, 1)

    def share(copies: int) -> float:
        return _share(layer, use.input_shape or (), copies, seat.copies)

    return {
        tile: math.fsum(lines * values_per_line * share(copies) for copies, lines in needs)
        for tile, needs in seat.lines.items()
    }


def _share(layer: MappedLayer, shape: Sequence[int], copies: int, of_copies: int) -> float:
    """Share of a line of inputs, such as a channel of an image, that some of a layer's copies need.

    Copies are dealt neighbours along the last axis, and then along the one before it.
    """
    if layer.conv is None:
        return copies / of_copies
    geometry = layer.conv.geometry()
    share = 1.0
    for axis in reversed(range(len(geometry.kernel))):
        taps, stride, dilation = geometry.kernel[axis], geometry.strides[axis], geometry.dilations[axis]
        size = output_sizes(geometry, tuple(shape[2:]))[axis]
        mine, all_of_them = min(copies, size), min(of_copies, size)
        share *= min(_covered(mine, taps, stride, dilation) / (all_of_them * stride), 1.0)
        copies, of_copies = -(-copies // size), -(-of_copies // size)
    return share


@lru_cache(maxsize=1 << 12)
def _covered(windows: int, taps: int, stride: int, dilation: int) -> int:
    """Places of a line that neighbouring windows cover."""
    return len(np.unique(np.add.outer(np.arange(windows) * stride, np.arange(taps) * dilation)))


def _seat(layout: CopyLayout, placed: Placed, floor: Floor, last: int) -> _Seat:
    """Where the copies of a layer lie."""
    crossbars, copies = placed.crossbars_per_copy, placed.copies
    if not crossbars or not len(layout.block_rows):  # nothing is computed, and zeros are where the next layer is
        tile = min(placed.first_slot, max(last - 1, 0)) // floor.slots_per_tile
        return _Seat(
            copies=copies,
            lines={},
            rows={},
            repeated_rows=0,
            homes={tile: 1.0},
            partials={},
            sent_partials={},
            merges=0,
        )
    if len(layout.block) != crossbars:
        layout = layout.shared(crossbars)
    slots = placed.first_slot + np.arange(copies * crossbars)
    copy = np.repeat(np.arange(copies), crossbars)
    block, column_tile = np.tile(layout.block, copies), np.tile(layout.column_tile, copies)
    tiles, part = slots // floor.slots_per_tile, slots // floor.shared
    reads = _distinct(copy, tiles, block)
    rows = layout.block_rows[reads[:, 2]]
    of_copies = layout.block_rows[_distinct(copy, block)[:, 1]]
    first = np.unique(copy * len(layout.widths) + column_tile, return_index=True)[1]
    in_parts = _distinct(copy, column_tile, tiles, part)
    in_tiles = _distinct(copy, column_tile, tiles)
    several = _runs(in_parts[:, :2])  # of each row, how many IMAs its column has
    width = layout.widths[in_parts[:, 1]]
    sent: Counter[tuple[int, int]] = Counter()
    for before, after in pairwise(in_tiles.tolist()):
        if before[:2] == after[:2]:  # towards the tile of the column's first crossbar, one after the other
            sent[after[2], before[2]] += int(layout.widths[after[1]])
    merged = several > 1
    results = layout.widths[column_tile[first]]
    whole = int(results.sum())
    return _Seat(
        copies=copies,
        lines=_lines(layout, reads),
        rows=_by_tile(reads[:, 1], rows),
        repeated_rows=int(rows.sum() - of_copies.sum()),
        homes={where: columns / whole for where, columns in _by_tile(tiles[first], results).items()},
        partials=_by_tile(in_parts[merged, 2], width[merged]),
        sent_partials=sent,
        merges=int(width.sum()) - whole,
    )


def _distinct(*columns: NDArray[np.int64]) -> NDArray[np.int64]:
    """Distinct rows of a table, in order; `np.unique` along an axis takes several times as long for short tables."""
    table = np.stack(columns, axis=1)[np.lexsort(columns[::-1])]
    return table[_starts(table)]


def _starts(rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Rows of an ordered table that are not like the one before."""
    starts = np.ones(len(rows), np.bool_)
    starts[1:] = (rows[1:] != rows[:-1]).any(axis=1)
    return starts


def _runs(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Of each row of an ordered table, how many are like it."""
    counts = np.diff(np.append(np.flatnonzero(_starts(rows)), len(rows)))
    return np.repeat(counts, counts)


def _by_tile(tiles: NDArray[np.int64], values: NDArray[np.int64]) -> dict[int, int]:
    names, number = np.unique(tiles, return_inverse=True)
    sums = np.zeros(len(names), np.int64)
    np.add.at(sums, number.ravel(), values)
    return dict(zip(names.tolist(), sums.tolist(), strict=True))


def _lines(layout: CopyLayout, reads: NDArray[np.int64]) -> dict[int, list[tuple[int, int]]]:
    """By tile, how many lines of inputs each number of its copies needs; `reads` is of (copy, tile, block)."""
    blocks: dict[tuple[int, int], list[int]] = {}
    for copy, tile, block in reads.tolist():
        blocks.setdefault((tile, copy), []).append(block)
    alike: dict[int, Counter[tuple[int, ...]]] = {}
    for (tile, _), mine in blocks.items():
        alike.setdefault(tile, Counter())[tuple(mine)] += 1
    known: dict[tuple[int, ...], NDArray[np.int64]] = {}
    most = max((int(lines.max(initial=-1)) for lines in layout.block_lines), default=-1) + 1
    found = {}
    for tile, counts in alike.items():
        copies = np.zeros(most, np.int64)
        for held, times in counts.items():
            if held not in known:
                known[held] = np.unique(np.concatenate([layout.block_lines[block] for block in held]))
            copies[known[held]] += times
        numbers, lines = np.unique(copies[copies > 0], return_counts=True)
        found[tile] = list(zip(numbers.tolist(), lines.tolist(), strict=True))
    return found
