"""The figures of the reports for programs: plain dictionaries that become JSON. Unknown figures are null."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bsc.cost.compare import Comparison
from bsc.cost.price import Cost
from bsc.plan.document import PlanDocument
from bsc.plan.summary import LayerSummary
from bsc.replay.verification import Verification


def cost_json(comparison: Comparison) -> dict[str, Any]:
    """Cost of a plan and its baselines; SI units."""
    return {
        "target": comparison.target.name,
        "adc_law": comparison.law.name,
        "plan": _cost(comparison.plan),
        "uniform_8_bit": _cost(comparison.uniform),
        "isaac_offset_8_bit": _cost(comparison.offset),
        "energy_by_kind_j": comparison.energy_by_kind(),
        "free_adc_bound": comparison.free_adc_bound,
        "adc_laws": {
            each.law.name: {"adc_ratio": each.adc, "total_ratio": each.total, "extrapolated": each.extrapolated}
            for each in comparison.spread
        },
    }


def summary_json(document: PlanDocument, summaries: Sequence[LayerSummary]) -> dict[str, Any]:
    """What `bsc inspect --json` prints."""
    return {"plan": document.model_dump(mode="json"), "layers": {s.layer.name: layer_json(s) for s in summaries}}


def layer_json(summary: LayerSummary) -> dict[str, Any]:
    """One layer; histograms map a resolution to its number of slice columns."""
    return {
        "row_tiles": summary.layer.row_tiles,
        "column_tiles": summary.column_tiles,
        "crossbars": summary.crossbars,
        "possible_crossbars": summary.possible_crossbars,
        "utilisation": summary.utilisation,
        "slices": [
            {
                "density": part.density,
                "columns": part.columns,
                "lossless_columns": part.lossless,
                "largest_sum": part.largest_sum,
                "proved_bits": _histogram(part.proved),
                "assigned_bits": _histogram(part.assigned),
            }
            for part in summary.slices
        ],
    }


def verification_json(found: Verification) -> dict[str, Any]:
    """What `bsc verify --json` prints."""
    return {
        "samples": found.samples,
        "data": found.source,
        "exact": found.exact,
        "layers": {name: asdict(tally) for name, tally in found.tallies.items()},
        "float_difference_max": found.difference_max,
        "float_difference_relative_rms": found.difference_rms,
        "accuracy": None if found.accuracy is None else asdict(found.accuracy),
    }


def _cost(cost: Cost) -> dict[str, Any]:
    return {
        "energy_j": cost.total_energy_j,
        "latency_s": cost.total_latency_s,
        "area_m2": cost.total_area_m2,
        "crossbars": cost.crossbars,
        "imas": cost.imas,
        "tiles": cost.tiles,
        "energy_by_action_j": {action: cost.action_energy_j(action) for action in cost.actions},
        "area_by_part_m2": None if cost.area_m2 is None else dict(cost.area_m2),
        "layers": {
            name: {
                "energy_j": cost.layer_energy_j(name),
                "latency_s": cost.latency_s[name],
                "energy_by_action_j": dict(actions),
            }
            for name, actions in cost.energy_j.items()
        },
    }


def _histogram(counts: NDArray[np.int64]) -> dict[str, int]:
    return {str(bits): int(counts[bits]) for bits in np.flatnonzero(counts)}
