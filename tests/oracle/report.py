"""The figures of a report, recomputed: everything in `totals`, `layers` and `cost` that is a count or a price."""

import math
from collections import Counter
from typing import Any

from tests.oracle.bounds import Bounds, bounds, keeps
from tests.oracle.costs import ENERGY, baseline, cost, over, spent
from tests.oracle.plan import Folder, Layer, column_tiles, parts

VALID_BITS = {"isaac": (4, 10), "saberi": (4, 10), "linear": (1, 9), "puma": (1, 9), "neurosim": (4, 10)}
VALID_BITS |= {"exponential": (4, 10)}

COUNTS = ("weights", "nonzero_cells", "columns", "conversions", "lossless", "observed_lossless_columns")
ADDED = (*COUNTS, "crossbars", "cells", "cells_in_use", "nonzero_cells_in_use")
HISTOGRAMS = ("crossbars_by_adc_bits", "proved_bits", "assigned_bits", "observed_bits")


def figures(folder: Folder, law: str) -> dict[str, Any]:
    """What report.json must say, but for names and words.

    Args:
        folder: the plan.
        law: the ADC law of the main figures.
    """
    layers = {name: _layer(layer, bounds(layer)) for name, layer in folder.layers.items()}
    policies = {name: layer["adc_policy"] for name, layer in folder.layers.items()}
    most = max((len(each["slices"]) for each in layers.values()), default=0)
    totals = _together(list(layers.values()), [policies[name] for name in layers])
    totals["slices"] = [
        _added([each["slices"][index] for each in layers.values() if index < len(each["slices"])])
        for index in range(most)
    ]
    return {"totals": totals, "layers": layers, "cost": _cost(folder, law)}


def _layer(layer: Layer, found: Bounds) -> dict[str, Any]:
    slices = [_slice(layer, found, index) for index in range(len(layer["slice_bits"]))]
    together = _together(slices, [layer["adc_policy"]] * len(slices))
    exists, holds = layer.arrays["allocated"], found.holds_cells
    dense = column_tiles(layer["rows"], layer["columns"], layer["groups"], layer["active_rows"], layer["tile_cols"])
    together["possible_crossbars"] = (
        len(parts(layer["rows"], layer["tile_rows"])) * len(dense) * len(slices) * layer.polarities
    )
    together["unread_crossbars"] = int((holds & ~exists).sum())
    return together | {"slices": slices, "row_tiles": len(layer.tiles), "column_tiles": len(layer.column_tiles)}


def _slice(layer: Layer, found: Bounds, index: int) -> dict[str, Any]:
    arrays, counts = layer.arrays, dict.fromkeys(ADDED, 0)
    histograms: dict[str, Counter[int]] = {name: Counter() for name in HISTOGRAMS}
    observed = "observed_sums" in arrays
    tile_cells = layer["tile_rows"] * layer["tile_cols"]
    counts["weights"] = layer["rows"] * layer["columns"]
    counts["nonzero_cells"] = int(found.nonzeros[:, index].sum())
    unit_bits = min((layer["active_rows"] * layer.highest_digit).bit_length(), 16) if layer.summed else 0
    for tile, rows in enumerate(layer.tiles):
        for part, columns in enumerate(layer.column_tiles):
            exists = arrays["allocated"][tile, part, index].tolist()
            places = [(group, column) for group in layer.groups_of(tile) for column in columns]
            for polarity in range(layer.polarities):
                if not exists[polarity]:
                    continue
                counts["crossbars"] += 1
                counts["cells"] += tile_cells
                counts["cells_in_use"] += len(rows) * len(columns)
                counts["columns"] += len(places)
                counts["nonzero_cells_in_use"] += sum(int(found.nonzeros[g, index, polarity, n]) for g, n in places)
                read = min(polarity, layer.conversions - 1)
                largest = max(int(arrays["adc_bits"][g, index, read, n]) for g, n in places)
                histograms["crossbars_by_adc_bits"][max(largest, unit_bits)] += 1
            for polarity in range(layer.conversions):
                if not (any(exists) if layer.paired else exists[polarity]):
                    continue
                for group, column in places:
                    here = (group, index, polarity, column)
                    counts["conversions"] += 1
                    counts["lossless"] += bool(found.lossless[here])
                    histograms["proved_bits"][int(found.bits[here])] += 1
                    histograms["assigned_bits"][int(arrays["adc_bits"][here])] += 1
                    if observed:
                        high = int(arrays["observed_sums"][here])
                        low = int(arrays["observed_lows"][here]) if layer.paired else 0
                        divisor = int(found.divisor[here])
                        counts["observed_lossless_columns"] += not found.lossless[here] and keeps(
                            layer, here, low, high, divisor
                        )
                        needed = 0
                        while 2**needed < (high - low) // (divisor or 1) + 1:
                            needed += 1
                        histograms["observed_bits"][needed] += 1
    reach = [*found.high[:, index].ravel().tolist(), *(-found.low[:, index]).ravel().tolist()]
    return _shares(
        counts
        | {name: histogram(each) for name, each in histograms.items()}
        | {"largest_sum": max(reach, default=0)}
        | ({} if observed else {"observed_bits": None})
    )


def histogram(counts: Counter[int]) -> dict[str, int]:
    return {str(bits): count for bits, count in sorted(counts.items()) if count}


def _added(parts_: list[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {name: sum(each[name] for each in parts_) for name in ADDED}
    for name in HISTOGRAMS:
        together: Counter[int] = Counter()
        for each in parts_:
            together.update({int(bits): count for bits, count in (each[name] or {}).items()})
        known = [each for each in parts_ if each[name] is not None]
        found[name] = histogram(together) if known or name != "observed_bits" else None
    found["largest_sum"] = max((each["largest_sum"] for each in parts_), default=0)
    return _shares(found)


def _together(parts_: list[dict[str, Any]], policies: list[str]) -> dict[str, Any]:
    found = _added(parts_)
    basis: Counter[str] = Counter()
    for policy, each in zip(policies, parts_, strict=True):
        basis["proved"] += each["lossless"]
        basis[policy] += each["conversions"] - each["lossless"]
    found["rests_on"] = {name: count / found["conversions"] for name, count in basis.items() if count}
    for name in ("possible_crossbars", "unread_crossbars"):
        found[name] = sum(each.get(name, 0) for each in parts_)
    return found


def _mean(bits: dict[str, int] | None) -> float | None:
    return over(sum(int(key) * count for key, count in bits.items()), sum(bits.values())) if bits else None


def _shares(found: dict[str, Any]) -> dict[str, Any]:
    return found | {
        "density": over(found["nonzero_cells"], found["weights"]) or 0,
        "utilisation": over(found["cells_in_use"], found["cells"]) or 0,
        "nonzero_share": over(found["nonzero_cells_in_use"], found["cells_in_use"]),
        "proved_share": over(found["lossless"], found["conversions"]),
        "observed_lossless_share": over(found["observed_lossless_columns"], found["conversions"]),
        "mean_proved_bits": _mean(found["proved_bits"]),
        "mean_adc_bits": _mean(found["assigned_bits"]),
        "mean_observed_bits": _mean(found["observed_bits"]),
        "largest_adc_bits": max(map(int, found["assigned_bits"]), default=0),
    }


def _cost(folder: Folder, law: str) -> dict[str, Any]:
    target, layers = folder.target, folder.layers
    cell_bits = target["crossbar"]["bits_per_cell"]
    counts = {name: spent(layer) for name, layer in layers.items()}
    uniform = {name: baseline(layer, "differential", cell_bits) for name, layer in layers.items()}
    offset = {name: baseline(layer, "offset", cell_bits) for name, layer in layers.items()}
    raella = {name: baseline(layer, "raella", cell_bits) for name, layer in layers.items()}
    plan, beside = cost(folder, counts, law), cost(folder, uniform, law)
    without_adc = None
    if beside["energy_j"] is not None and beside["adc_energy_j"] is not None:
        without_adc = beside["energy_j"] - beside["adc_energy_j"]
    used = {bits for each in counts.values() for bits, count in each.conversions.items() if count and bits}
    laws = {}
    for name in ENERGY:
        own, other = cost(folder, counts, name), cost(folder, uniform, name)
        low, high = VALID_BITS[name]
        laws[name] = {
            "adc_energy_j": own["adc_energy_j"],
            "energy_j": own["energy_j"],
            "adc_ratio": over(other["adc_energy_j"], own["adc_energy_j"]),
            "total_ratio": over(other["energy_j"], own["energy_j"]),
            "valid_bits": [low, high],
            "extrapolated": any(not low <= bits <= high for bits in used),
        }
    return {
        "plan": plan,
        "uniform_8_bit": beside,
        "isaac_offset_8_bit": cost(folder, offset, law),
        "raella_7_bit": cost(folder, raella, law),
        "free_adc_bound": over(beside["energy_j"], without_adc),
        "adc_laws": laws,
        "conversions": {name: histogram(each.conversions) for name, each in counts.items()},
    }


def differences(expected: Any, found: Any, path: str = "") -> list[str]:
    """Where a document does not say what is expected; integers equal, floats to 1e-9. It may say more."""
    if isinstance(expected, dict) and isinstance(found, dict):
        missing = [f"{path}.{key} is missing" for key in expected if key not in found]
        return missing + [
            line for key in expected if key in found for line in differences(expected[key], found[key], f"{path}.{key}")
        ]
    if isinstance(expected, list) and isinstance(found, list):
        if len(expected) != len(found):
            return [f"{path} has {len(found)} entries, not {len(expected)}"]
        pairs = enumerate(zip(expected, found, strict=True))
        return [line for index, (a, b) in pairs for line in differences(a, b, f"{path}.{index}")]
    if isinstance(expected, float) and isinstance(found, int | float):
        same = math.isclose(expected, found, rel_tol=1e-9)
    else:
        same = expected == found
    return [] if same else [f"{path} is {found}, not {expected}"]
