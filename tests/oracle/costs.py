"""Counts and prices of one inference, from the cells, the ADCs and target.json."""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.oracle.plan import Folder, Layer, column_tiles, parts

BASELINE_BITS = 8
MOST_BITS = 16

ENERGY: dict[str, Callable[[int], float]] = {
    "isaac": lambda n: 0.194878 * n + 4.2005e-4 * 2**n,
    "saberi": lambda n: 2**n / (n + 1),
    "linear": lambda n: n / 8,
    "puma": lambda n: n**2,
    "neurosim": lambda n: (1.1294 * n + 8.8998) * (n + 1),
    "exponential": lambda n: 2.0 ** (n - 8),
}
"""Energy of an N-bit conversion, as FIGURES.md prints it; in proportion."""

AREA: dict[str, Callable[[int], float]] = {
    "isaac": lambda n: 81.73 * n + 2.1335 * 2**n,
    "puma": lambda _: 1,
    "neurosim": lambda n: 269 + 109 * (n - 1),
    "exponential": lambda n: 2.0**n,
}
"""Area of an N-bit converter, likewise."""


@dataclass
class Spent:
    """What a layer does in one inference.

    Attributes:
        conversions: by resolution.
        counters: by the names that targets give.
        crossbars: by the largest resolution of their ADC, 0 for one without.
        reads: of a crossbar, one after another.
        converted: most conversions of one crossbar in one read, and most bits.
        cell_bits: most bits of a cell.
    """

    conversions: Counter[int] = field(default_factory=Counter)
    counters: dict[str, int] = field(default_factory=dict)
    crossbars: Counter[int] = field(default_factory=Counter)
    reads: int = 0
    converted: int = 0
    converted_bits: int = 0
    cell_bits: int = 0


@dataclass
class Cycle:
    """What all crossbars of a layer do in one input cycle of one vector.

    Attributes:
        conversions: by resolution.
        rows: wordlines driven.
        sampled: bitlines held for their conversion.
        row_groups: read one after another.
    """

    conversions: Counter[int] = field(default_factory=Counter)
    rows: int = 0
    sampled: int = 0
    row_groups: int = 1


def spent(layer: Layer) -> Spent:
    """Of the plan: crossbar by crossbar, row group by row group."""
    found, bits, exists = Spent(), layer.arrays["adc_bits"], layer.arrays["allocated"]
    found.cell_bits = max(layer["slice_bits"])
    unit_bits = min((layer["active_rows"] * layer.highest_digit).bit_length(), MOST_BITS)
    cycle = Cycle(row_groups=0)
    summing = _summing(layer)
    for tile, rows in enumerate(layer.tiles):
        groups = layer.groups_of(tile)
        cycle.row_groups = max(cycle.row_groups, len(groups))
        for part, columns in enumerate(layer.column_tiles):
            on_it = len(layer.on_crossbar(columns))
            units = on_it if layer.summed else 0
            for index in range(len(layer["slice_bits"])):
                here = exists[tile, part, index]
                pair = layer.paired and any(here.tolist())
                for polarity in range(layer.polarities):
                    if not here[polarity]:
                        continue
                    cycle.rows += len(rows) * on_it
                    cycle.sampled += units * len(groups)
                    cycle.conversions[unit_bits] += units * len(groups)
                    adc = polarity == 0 or not layer.paired or not here[0]  # a pair has one, on its first crossbar
                    largest = max(
                        int(bits[group, index, min(polarity, layer.conversions - 1), column])
                        for group in groups
                        for column in columns
                    )
                    if units:
                        largest = max(largest, unit_bits)
                    found.crossbars[largest if adc else 0] += 1
                    if not layer.paired:
                        cycle.sampled += len(columns) * len(groups)
                if pair:  # what is held is their difference
                    cycle.sampled += len(columns) * len(groups)
                for polarity in range(layer.conversions):
                    for group in groups:
                        used = [int(bits[group, index, polarity, column]) for column in columns]
                        cycle.conversions.update(each for each in used if each)
                        more = max(units - 1, 0)  # the first is read beside a full crossbar [isaac16]
                        found.converted = max(found.converted, sum(each > 0 for each in used) + more)
                        found.converted_bits = max(found.converted_bits, sum(used) + more * unit_bits)
            if (tile, part) in summing:
                cycle.rows += len(rows) * on_it
                cycle.sampled += units * len(groups)
                cycle.conversions[unit_bits] += units * len(groups)
                found.crossbars[unit_bits] += 1
    numbers = sum(
        len(layer.arrays[name]) * bits_for(layer[size])
        for name, size in (("kept_rows", "rows"), ("kept_columns", "columns"))
        if name in layer.arrays
    )
    return _counted(layer, found, cycle, layer.rows, numbers)


def _summing(layer: Layer) -> set[tuple[int, int]]:
    """Row and column tiles where nothing is programmed, but the sum of the inputs is needed all the same."""
    if not layer.summed:
        return set()
    needed: set[tuple[int, int]] = set()
    exists = layer.arrays["allocated"]
    for tile in range(len(layer.tiles)):
        for part, columns in enumerate(layer.column_tiles):
            same = [
                other
                for other, each in enumerate(layer.column_tiles)
                if set(layer.on_crossbar(each)) & set(layer.on_crossbar(columns))
            ]
            if exists[tile, same].any() or any((tile, other) in needed for other in same):
                continue
            if any(_added(layer, group, column) for group in layer.groups_of(tile) for column in columns):
                needed.add((tile, part if layer["groups"] > 1 else 0))
    return needed


def _added(layer: Layer, group: int, column: int) -> int:
    """What a column adds for each unit of the inputs of a row group: its centre, and the tops of flipped columns."""
    added = layer.centre(layer.row_groups[group].start, column)
    if "flipped" in layer.arrays:
        for index, (place, bits) in enumerate(zip(layer.places, layer["slice_bits"], strict=True)):
            for polarity in range(layer.polarities):
                if layer.arrays["flipped"][group, index, polarity, column]:
                    added += (-1) ** polarity * 2**place * (2**bits - 1)
    return added


def bits_for(numbers: int) -> int:
    """Bits that tell so many numbers apart."""
    bits = 0
    while 2**bits < numbers:
        bits += 1
    return bits


def _counted(layer: Layer, found: Spent, cycle: Cycle, mapped: int, numbers: int) -> Spent:
    """From one input cycle to an inference; `mapped` rows, and bits of the line numbers of every vector."""
    cycles = layer["vectors"] * len(layer.cycles)
    found.conversions = Counter({bits: count * cycles for bits, count in cycle.conversions.items() if count})
    moved = layer["vectors"] * layer["input_bits"] * (layer["groups"] * mapped + layer["columns"])
    found.counters = {
        "conversions": found.conversions.total(),
        "rows_driven": cycle.rows * cycles,
        "cells_read": found.crossbars.total() * layer["tile_rows"] * layer["tile_cols"] * cycles,
        "columns_sampled": cycle.sampled * cycles,
        "partial_results": found.conversions.total(),
        "driver_bits": cycle.rows * cycles * layer["dac_bits"],
        "buffer_bits": moved + layer["vectors"] * numbers,
        "moved_bits": moved,
    }
    found.reads = cycles * cycle.row_groups
    return found


def baseline(layer: Layer, encoding: str, cell_bits: int) -> Spent:
    """All rows and columns, all rows driven at once, everything read at 8 bits; in even slices but for RAELLA's."""
    found, cut = Spent(), layer["slice_bits"]
    paired, bits = encoding == "raella", 7 if encoding == "raella" else BASELINE_BITS
    even = all(each == cut[0] for each in cut[:-1]) and cut[-1] <= cut[0]
    stored = layer["weight_bits"] + (encoding == "offset")
    sizes = [len(part) for part in parts(stored, cut[0] if even else cell_bits)]
    if paired and stored == 8 and cell_bits >= 4:
        sizes = [2, 2, 4]
    found.cell_bits = max(sizes)
    slices = len(sizes) * (1 if encoding == "offset" else 2)
    reading = len(sizes) if paired else slices  # conversions of a column
    cycle = Cycle()
    for rows in parts(layer["rows"], layer["tile_rows"]):
        for columns in column_tiles(
            layer["rows"], layer["columns"], layer["groups"], layer["tile_rows"], layer["tile_cols"]
        ):
            width = layer["columns"] // layer["groups"]
            on_it = len({column // width for column in columns})
            units = 0 if encoding == "differential" else on_it
            cycle.rows += len(rows) * on_it * slices
            cycle.sampled += len(columns) * reading + units * slices
            found.crossbars[bits] += reading
            found.crossbars[0] += slices - reading
            found.converted = max(found.converted, len(columns) + max(units - 1, 0))
    found.converted_bits = found.converted * bits
    cycle.conversions[bits] = cycle.sampled
    return _counted(layer, found, cycle, layer["rows"], 0)


def total(values: Any) -> float | None:
    """Sum of what may be unknown."""
    known = list(values)
    return None if any(value is None for value in known) else math.fsum(known)


def over(part: float | None, whole: float | None) -> float | None:
    """A ratio; None where it is not known or there is none."""
    return part / whole if part is not None and whole else None


OF_CHIPS = (
    *("repeated_bits", "partial_bits", "merges", "arriving_bits", "router_bits", "chip_link_bits"),
    *("products", "additions", "comparisons", "interpolations"),
)


def actions(target: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Of crossbars and their tiles."""
    found = {name: action for level in target["level"] for name, action in level.get("action", {}).items()}
    return {name: action for name, action in found.items() if action["counter"] not in OF_CHIPS}


def energies(target: dict[str, Any], layer: Layer, counts: Spent, law: str) -> dict[str, float | None]:
    """Energy of a layer by action."""
    found: dict[str, float | None] = {}
    for name, action in actions(target).items():
        other_dac = action["counter"] == "rows_driven" and layer["dac_bits"] != target["dac"]["bits"]
        wider = action["counter"] == "cells_read" and counts.cell_bits > max(
            target["crossbar"]["bits_per_cell"], action.get("up_to_cell_bits", {"value": 0})["value"]
        )
        if "energy_j" not in action or other_dac or wider:
            found[name] = None
        elif action["counter"] == "conversions":
            own = ENERGY[law](target["adc"]["bits"])
            found[name] = action["energy_j"]["value"] * math.fsum(
                count * ENERGY[law](bits) / own for bits, count in counts.conversions.items()
            )
        else:
            found[name] = action["energy_j"]["value"] * counts.counters[action["counter"]]
    return found


def latency(target: dict[str, Any], counts: Spent) -> float:
    """Of all reads, each as long as the array or its converters need."""
    adc = target["adc"]
    if "bit_s" in adc:
        converting = counts.converted_bits * adc["bit_s"]["value"]
    else:
        converting = counts.converted / adc["rate_hz"]["value"]
    return float(
        counts.reads
        * max(target["timing"]["read_s"]["value"], converting / adc["per_crossbar"] * adc.get("arrays_each", 1))
    )


def cost(folder: Folder, counts: dict[str, Spent], law: str) -> dict[str, Any]:
    """What `cost.plan` and the baselines of a report say."""
    target, layers = folder.target, folder.layers
    by_layer = {name: energies(target, layers[name], each, law) for name, each in counts.items()}
    adc = [name for name, action in actions(target).items() if action["counter"] == "conversions"]
    by_action = {name: total(each[name] for each in by_layer.values()) for name in actions(target)}
    crossbars = sum(each.crossbars.total() for each in counts.values())
    units, number = {}, crossbars
    for level in target["level"]:
        units[level["name"]] = number
        number = -(-number // level.get("count", 1))
    own, shared = _areas(folder, counts, law, units)
    known = own is not None and shared is not None
    return {
        "conversions": sum(each.conversions.total() for each in counts.values()),
        "adc_energy_j": total(by_action[name] for name in adc),
        "energy_j": total(by_action.values()),
        "latency_s": math.fsum(latency(target, each) for each in counts.values()),
        "area_m2": math.fsum([*(sum(each.values()) for each in own.values()), *shared.values()]) if known else None,
        "crossbars": crossbars,
        "units": units,
        "energy_by_action_j": by_action,
        "area_by_part_m2": {name: math.fsum(each.values()) for name, each in own.items()} | shared if known else None,
        "layers": {
            name: {
                "conversions": each.conversions.total(),
                "adc_energy_j": total(by_layer[name][action] for action in adc),
                "energy_j": total(by_layer[name].values()),
                "latency_s": latency(target, each),
                "area_m2": math.fsum(part[name] for part in own.values())
                + sum(shared.values()) * each.crossbars.total() / max(crossbars, 1)
                if known
                else None,
                "energy_by_action_j": by_layer[name],
            }
            for name, each in counts.items()
        },
    }


def _areas(folder: Folder, counts: dict[str, Spent], law: str, units: dict[str, int]) -> Any:
    """Areas on the level of the crossbars, by part and layer, and those of other levels, by part."""
    target = folder.target
    area_law = next((each for each in (law, target["adc"]["law"]) if each in AREA), None)
    other_dac = any(layer["dac_bits"] != target["dac"]["bits"] for layer in folder.layers.values())
    by_converter = any(part.get("per") == "converter" for part in target["level"][0].get("area", {}).values())
    if (area_law is None and by_converter) or other_dac or not any("area" in level for level in target["level"]):
        return None, None
    own: dict[str, dict[str, float]] = {}
    for name, part in target["level"][0].get("area", {}).items():
        own[name] = {}
        area = AREA[area_law] if area_law is not None else AREA["puma"]  # where no converter has an area of its own
        for layer_name, each in counts.items():
            layer, crossbars = folder.layers[layer_name], each.crossbars.total()
            rows, cols = layer["tile_rows"], layer["tile_cols"]
            converters = (
                target["adc"]["per_crossbar"]
                / target["adc"].get("arrays_each", 1)
                * math.fsum(
                    count * area(bits) / area(target["adc"]["bits"]) for bits, count in each.crossbars.items() if bits
                )
            )
            number = {"one": 1, "row": rows, "column": cols, "cell": rows * cols}.get(part.get("per", "one"))
            amount = converters if number is None else crossbars * number
            own[name][layer_name] = amount * part["area_m2"]["value"]
    shared = {
        name: units[level["name"]] * part["area_m2"]["value"]
        for level in target["level"][1:]
        for name, part in level.get("area", {}).items()
    }
    return own, shared
