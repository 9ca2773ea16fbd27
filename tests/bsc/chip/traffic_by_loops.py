"""Traffic of a placed plan, one crossbar, copy, tile and router after the other; it shares no code with `bsc.chip`.

Everything is a fraction until it is rounded up at the end, and bits go from router to router one step at a time.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from typing import Any, Literal

import onnx
from onnx import helper, numpy_helper

from bsc.mapping.layer import MappedLayer
from bsc.mapping.model import MappedModel
from bsc.mapping.placement import Placed

Baseline = Literal["differential", "offset", "raella"] | None


@dataclass(frozen=True)
class Chip:
    """Crossbars of an IMA, IMAs of a tile, tiles of a chip, tiles that share a router."""

    crossbars: int
    imas: int
    tiles: int
    shared: int

    def ima(self, slot: int) -> int:
        return slot // self.crossbars

    def tile(self, slot: int) -> int:
        return slot // self.crossbars // self.imas

    def chip(self, tile: int) -> int:
        return tile // self.tiles

    def router(self, tile: int) -> tuple[int, int]:
        """Row and column of a router; rows are walked back and forth."""
        row = column = 0
        routers = math.ceil(self.tiles / self.shared)
        width = next(side for side in range(1, routers + 1) if side * side >= routers)
        for number in range(tile % self.tiles // self.shared):
            if (number + 1) % width == 0:
                row += 1
            else:
                column += 1 if row % 2 == 0 else -1
        return row, column


@dataclass
class Found:
    """What was carried."""

    counters: Counter[str] = field(default_factory=Counter)
    wires: defaultdict[Any, Fraction] = field(default_factory=lambda: defaultdict(Fraction))
    links: defaultdict[int, Fraction] = field(default_factory=lambda: defaultdict(Fraction))
    buses: defaultdict[int, Fraction] = field(default_factory=lambda: defaultdict(Fraction))
    buffers: defaultdict[int, Fraction] = field(default_factory=lambda: defaultdict(Fraction))

    def rounded_up(self) -> dict[str, int]:
        names = ("repeated_bits", "partial_bits", "merges", "arriving_bits", "router_bits", "chip_link_bits")
        return {name: math.ceil(self.counters[name]) for name in names}

    def busiest(self) -> tuple[float, ...]:
        tables: tuple[Mapping[Any, Fraction], ...] = (self.wires, self.links, self.buses, self.buffers)
        return tuple(float(max(table.values(), default=Fraction(0))) for table in tables)


@dataclass
class Layer:
    """A layer on its crossbars: of each of them its rows, its columns, and where every copy of it lies."""

    record: MappedLayer
    rows: list[list[tuple[int, int]]]
    columns: list[list[int]]
    slots: list[list[int]]
    zeros_at: int

    @property
    def copies(self) -> int:
        return len(self.slots)


def crossbars_of(mapping: MappedModel, layer: MappedLayer, baseline: Baseline) -> Iterator[tuple[int, int, Any, int]]:
    """Row tile and column tile of every crossbar of a copy, the rows of the model that are mapped, and columns."""
    arrays = mapping.arrays(layer)
    if baseline is None:
        kept = range(layer.rows) if arrays.kept_rows is None else arrays.kept_rows.tolist()
        tiles, columns = arrays.allocated.shape, layer.mapped_columns
        for row_tile in range(tiles[0]):
            for column_tile in range(tiles[1]):
                for part in range(tiles[2]):
                    for sign in range(tiles[3]):
                        if arrays.allocated[row_tile, column_tile, part, sign]:
                            yield row_tile, column_tile, kept, columns
        return
    stored = layer.weight_bits + (baseline == "offset")  # pairs around centres hold signed differences
    planes = math.ceil(stored / layer.slice_bits[0]) * (1 if baseline == "offset" else 2)
    for row_tile in range(math.ceil(layer.rows / layer.tile_rows)):
        for column_tile in range(math.ceil(layer.columns / layer.tile_cols)):
            for _ in range(planes):
                yield row_tile, column_tile, range(layer.rows), layer.columns


def seated(mapping: MappedModel, layer: MappedLayer, places: Mapping[str, Placed], baseline: Baseline) -> Layer:
    """A layer without groups; the zeros of one without crossbars come from its place, or the last one in use."""
    placed = places[layer.name]
    last = max(each.end_slot for each in places.values()) - 1
    assert layer.groups == 1
    rows, columns = [], []
    taps = math.prod(layer.conv.kernel) if layer.conv is not None else 1
    for row_tile, column_tile, kept, width in crossbars_of(mapping, layer, baseline):
        mine = list(kept)[row_tile * layer.tile_rows : (row_tile + 1) * layer.tile_rows]
        rows.append([(row, row // taps) for row in mine])
        columns.append(list(range(column_tile * layer.tile_cols, min((column_tile + 1) * layer.tile_cols, width))))
    assert len(rows) == placed.crossbars_per_copy
    slots = [
        [placed.first_slot + copy * len(rows) + number for number in range(len(rows))] for copy in range(placed.copies)
    ]
    return Layer(layer, rows, columns, slots, min(placed.first_slot, max(last, 0)))


def tensors_of(mapping: MappedModel) -> Iterator[Any]:
    """Uses of layers, (layer, input, output), and operators, (None, inputs, outputs), with all shapes at the end."""
    shapes = {tensor.name: tuple(tensor.shape or ()) for tensor in mapping.inputs}
    for step in mapping.program():
        if hasattr(step, "layer"):
            layer = mapping.layer(step.layer)
            shape = shapes[step.inputs[0]]
            if layer.conv is None:
                out = (*shape[:-1], layer.columns)
            else:
                sizes = []
                for axis, size in enumerate(shape[2:]):
                    places = 0
                    position = -layer.conv.pads[axis][0]
                    reach = (layer.conv.kernel[axis] - 1) * layer.conv.dilations[axis]
                    while position + reach < size + layer.conv.pads[axis][1]:
                        places, position = places + 1, position + layer.conv.strides[axis]
                    sizes.append(places)
                out = (shape[0], layer.columns, *sizes)
            shapes[step.outputs[0]] = out
            yield layer, step.inputs[0], step.outputs[0]
            continue
        model = onnx.load_from_string(step.model)
        for value in model.graph.input:
            kind = value.type.tensor_type.elem_type
            value.CopyFrom(helper.make_tensor_value_info(value.name, kind, shapes[value.name]))
        graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
        constants = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
        for value in (*graph.value_info, *graph.output):
            shapes[value.name] = tuple(each.dim_value for each in value.type.tensor_type.shape.dim)
        for node in graph.node:
            if node.op_type == "Constant":
                constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
            else:
                yield None, [name for name in node.input if name and name not in constants], list(node.output)
    yield shapes


def traffic(mapping: MappedModel, placed: Mapping[str, Placed], chip: Chip, baseline: Baseline = None) -> Found:
    """Everything that one inference carries."""
    (found,) = traffic_in_segments(mapping, placed, chip, baseline)
    return found


def traffic_in_segments(
    mapping: MappedModel, placed: Mapping[str, Placed], chip: Chip, baseline: Baseline = None
) -> list[Found]:
    """The same segment by segment: what a later one reads goes out, and comes in from there."""
    *steps, shapes = tensors_of(mapping)
    segments: defaultdict[int, dict[str, Placed]] = defaultdict(dict)
    for name, each in placed.items():
        segments[each.segment][name] = each
    layers = {
        each.name: seated(mapping, each, segments[placed[each.name].segment], baseline) for each in mapping.layers
    }
    bits = max(layer.input_bits for layer in mapping.layers)
    per_chip = chip.crossbars * chip.imas * chip.tiles
    chips_of = [
        math.ceil(max(each.end_slot for each in segments[number].values()) / per_chip) for number in sorted(segments)
    ]
    results = [Found() for _ in segments]
    uses: list[Layer] = []
    at: dict[str, int | None] = {tensor.name: None for tensor in mapping.inputs}  # None: outside
    moved: set[tuple[str, int | None]] = set()
    left: set[tuple[str, int]] = set()

    def of(number: int) -> int:
        return placed[uses[number].record.name].segment

    def take_out(name: str, source: int) -> None:
        """To where outputs of the model go, once."""
        if (name, source) in left:
            return
        left.add((name, source))
        for tile, share in homes(uses[source], chip).items():
            size = Fraction(math.prod(shapes[name]) * bits) * share
            leave(results[of(source)], chip, tile, size)
            outside(results[of(source)], chip.chip(tile), size)

    def fetch(name: str, source: int | None, segment: int) -> dict[int, Fraction] | None:
        """The tiles that a segment finds a tensor in; None outside."""
        if source is None or of(source) == segment:
            return None if source is None else homes(uses[source], chip)
        take_out(name, source)
        return None

    for layer, read, written in steps:
        if layer is None:
            known = [at[name] for name in read if at[name] is not None]
            place = max(known, default=None)  # type: ignore[type-var]
            for name in read:
                if at[name] != place and (name, place) not in moved:
                    moved.add((name, place))
                    assert place is not None
                    size = Fraction(math.prod(shapes[name]) * bits)
                    sinks = {tile: size * share for tile, share in homes(uses[place], chip).items()}
                    from_where = fetch(name, at[name], of(place))
                    send(results[of(place)], chip, chips_of[of(place)], from_where, sinks, whole=size)
            at |= dict.fromkeys(written, place)
            continue
        use = layers[layer.name]
        segment = placed[layer.name].segment
        from_where = fetch(read, at[read], segment)
        sinks = {tile: values * bits for tile, values in needed(use, chip, shapes[read]).items()}
        whole = Fraction(math.prod(shapes[read]) * bits)
        send(results[segment], chip, chips_of[segment], from_where, sinks, whole=whole)
        at[written] = len(uses)
        uses.append(use)
    for tensor in mapping.outputs:
        source = at[tensor.name]
        if source is not None:
            take_out(tensor.name, source)
    for name, use in layers.items():
        within(results[placed[name].segment], chip, chips_of[placed[name].segment], use)
    return results


def homes(use: Layer, chip: Chip) -> dict[int, Fraction]:
    """Share of the results of a layer by the tile that has the first crossbar of their column."""
    tiles: Counter[int] = Counter()
    for slots in use.slots:
        first: dict[int, int] = {}
        for columns, slot in zip(use.columns, slots, strict=True):
            for column in columns:
                first.setdefault(column, chip.tile(slot))
        tiles.update(first.values())
    if not tiles:
        return {chip.tile(use.zeros_at): Fraction(1)}
    return {tile: Fraction(count, tiles.total()) for tile, count in tiles.items()}


def needed(use: Layer, chip: Chip, shape: tuple[int, ...]) -> dict[int, Fraction]:
    """Values of a tensor that each tile must have."""
    conv = use.record.conv
    copies: defaultdict[tuple[int, int], set[int]] = defaultdict(set)  # that need a line in a tile
    for copy, slots in enumerate(use.slots):
        for rows, slot in zip(use.rows, slots, strict=True):
            for _, line in rows:
                copies[chip.tile(slot), line].add(copy)
    lines = shape[1] if conv is not None else shape[-1]
    values = Fraction(math.prod(shape), lines)
    total: defaultdict[int, Fraction] = defaultdict(Fraction)
    for (tile, _), mine in copies.items():
        share = Fraction(len(mine), use.copies)
        if conv is not None:
            share, some, all_of_them = Fraction(1), len(mine), use.copies
            for axis in reversed(range(len(conv.kernel))):
                size = shape[2 + axis] + sum(conv.pads[axis]) - (conv.kernel[axis] - 1) * conv.dilations[axis]
                places = math.ceil(size / conv.strides[axis])
                covered = {
                    window * conv.strides[axis] + tap * conv.dilations[axis]
                    for window in range(min(some, places))
                    for tap in range(conv.kernel[axis])
                }
                share *= min(Fraction(len(covered), min(all_of_them, places) * conv.strides[axis]), Fraction(1))
                some, all_of_them = math.ceil(some / places), math.ceil(all_of_them / places)
        total[tile] += values * share
    return dict(total)


def within(found: Found, chip: Chip, chips: int, use: Layer) -> None:
    """What one layer carries besides its inputs and results."""
    layer = use.record
    turns = Fraction(layer.vectors, use.copies)
    largest = layer.rows * ((1 << layer.weight_bits) - 1) * ((1 << layer.input_bits) - 1)
    wide = len(f"{largest:b}") + 1
    for slots in use.slots:
        read: set[tuple[int, int]] = set()
        imas: defaultdict[int, dict[int, None]] = defaultdict(dict)
        tiles: defaultdict[int, dict[int, None]] = defaultdict(dict)
        for rows, columns, slot in zip(use.rows, use.columns, slots, strict=True):
            read |= {(chip.tile(slot), row) for row, _ in rows}
            for column in columns:
                imas[column][chip.ima(slot)] = None
                tiles[column][chip.tile(slot)] = None
        for tile, _ in read:
            found.buses[tile] += layer.input_bits * turns
            found.buffers[tile] += layer.input_bits * turns
        again = len(read) - len({row for _, row in read})
        found.counters["repeated_bits"] += again * layer.input_bits * turns  # type: ignore[assignment]
        for column, parts in imas.items():
            for ima in parts if len(parts) > 1 else ():
                found.counters["partial_bits"] += wide * turns  # type: ignore[assignment]
                found.buses[ima // chip.imas] += wide * turns
            found.counters["merges"] += (len(parts) - 1) * turns  # type: ignore[assignment]
            in_order = sorted(tiles[column])
            for before, after in pairwise(in_order):
                whole = wide * turns
                send(found, chip, chips, {after: Fraction(1)}, {before: whole}, whole=whole, stored=False)
    for tile, share in homes(use, chip).items():
        results = layer.columns * share * layer.input_bits * layer.vectors
        found.buses[tile] += results
        found.buffers[tile] += results


def send(
    found: Found,
    chip: Chip,
    chips: int,
    source: Mapping[int, Fraction] | None,
    sinks: Mapping[int, Fraction],
    *,
    whole: Fraction,
    stored: bool = True,
) -> None:
    """From tiles, or from outside, to tiles."""
    for sink, size in sinks.items():
        for tile, share in source.items() if source is not None else ():
            if tile == sink:
                continue
            if stored:
                found.counters["arriving_bits"] += size * share  # type: ignore[assignment]
                found.buffers[sink] += size * share
            if chip.chip(tile) == chip.chip(sink):
                found.buffers[tile] += size * share
                found.wires["out", tile] += size * share
                found.wires["in", sink] += size * share
                walk(found, chip.chip(tile), chip.router(tile), chip.router(sink), size * share)
            else:
                enter(found, chip, sink, size * share)
        if source is None:
            found.counters["arriving_bits"] += size  # type: ignore[assignment]
            found.buffers[sink] += size
            enter(found, chip, sink, size)
    for number in {chip.chip(sink) for sink in sinks}:
        entering = min(sum(size for sink, size in sinks.items() if chip.chip(sink) == number), whole)
        if source is None:
            outside(found, number, Fraction(entering))
        for tile, share in source.items() if source is not None else ():
            if chip.chip(tile) != number:
                leave(found, chip, tile, entering * share)
                between(found, chips, chip.chip(tile), number, entering * share)


def enter(found: Found, chip: Chip, sink: int, size: Fraction) -> None:
    found.wires["in", sink] += size
    row, column = chip.router(sink)
    walk(found, chip.chip(sink), (0, column), (row, column), size)


def leave(found: Found, chip: Chip, tile: int, size: Fraction) -> None:
    found.buffers[tile] += size
    found.wires["out", tile] += size
    row, column = chip.router(tile)
    walk(found, chip.chip(tile), (row, column), (0, column), size)


def walk(found: Found, chip: int, start: tuple[int, int], end: tuple[int, int], size: Fraction) -> None:
    """From router to router, along the row first."""
    here = start
    found.counters["router_bits"] += size  # type: ignore[assignment]
    while here != end:
        (row, column), (to_row, to_column) = here, end
        if column != to_column:
            beside = row, column + (1 if to_column > column else -1)
        else:
            beside = row + (1 if to_row > row else -1), column
        found.wires[chip, here, beside] += size
        found.counters["router_bits"] += size  # type: ignore[assignment]
        here = beside


def outside(found: Found, chip: int, size: Fraction) -> None:
    found.counters["chip_link_bits"] += size  # type: ignore[assignment]
    found.links[chip] += size


def between(found: Found, chips: int, start: int, end: int, size: Fraction) -> None:
    """From chip to chip, numbered back and forth in a square; the routers of chips in between are passed once."""
    side = next(side for side in range(1, chips + 1) if side * side >= chips)
    places = {}
    for number in range(side * side):
        row, column = number // side, number % side
        places[row, column if row % 2 == 0 else side - 1 - column] = number
    where = {number: place for place, number in places.items()}
    (row, column), goal = where[start], where[end]
    here = start
    while here != end:
        if column != goal[1]:
            column += 1 if goal[1] > column else -1
        else:
            row += 1 if goal[0] > row else -1
        beside = places[row, column]
        found.links[here] += size
        found.links[beside] += size
        found.counters["chip_link_bits"] += size  # type: ignore[assignment]
        if beside != end:
            found.counters["router_bits"] += size  # type: ignore[assignment]
        here = beside
