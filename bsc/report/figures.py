"""The figures of the reports for programs: plain dictionaries that become JSON. Unknown figures are null."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bsc.cost.compare import Comparison
from bsc.cost.price import ADC_ACTION, Cost, ratio
from bsc.cost.side_by_side import PlanFigures, pipeline_difference
from bsc.plan.document import PlanDocument
from bsc.plan.summary import RULE_OF_THREE, LayerSummary
from bsc.replay.proofs import LayerProof
from bsc.replay.simulation import Simulation
from bsc.replay.tally import ColumnTally
from bsc.replay.trials import MeanInterval
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
        "adc_not_offered": list(comparison.not_offered),
        "adc_laws": {
            each.law.name: {"adc_ratio": each.adc, "total_ratio": each.total, "extrapolated": each.extrapolated}
            for each in comparison.spread
        },
    }


def side_by_side_json(plans: Sequence[PlanFigures], law: str, paper_law: str) -> dict[str, Any]:
    """What `bsc compare --json` prints; ratios say how many times less than the first plan."""
    return {"adc_law": law, "paper_adc_law": paper_law, "plans": [_beside(plan, plans[0]) for plan in plans]}


def summary_json(document: PlanDocument, summaries: Sequence[LayerSummary]) -> dict[str, Any]:
    """What `bsc inspect --json` prints."""
    return {"plan": document.model_dump(mode="json"), "layers": {s.layer.name: layer_json(s) for s in summaries}}


def layer_json(summary: LayerSummary) -> dict[str, Any]:
    """One layer; histograms map a resolution to its number of conversions: of slice columns, or of their pairs.

    One that lost nothing in N observed conversions loses something in at most `overflow_bound_95` of further ones like
    them, with 95 % confidence.
    """
    return {
        "row_tiles": summary.layer.row_tiles,
        "column_tiles": summary.column_tiles,
        "crossbars": summary.crossbars,
        "possible_crossbars": summary.possible_crossbars,
        "unread_crossbars": summary.unread_crossbars,
        "utilisation": summary.utilisation,
        "observed": None
        if summary.layer.observed is None
        else {
            **summary.layer.observed.model_dump(),
            "overflow_bound_95": RULE_OF_THREE / summary.layer.observed.conversions,
        },
        "slices": [
            {
                "density": part.density,
                "columns": part.columns,
                "conversions": part.conversions,
                "lossless": part.lossless,
                "largest_sum": part.largest_sum,
                "proved_bits": _histogram(part.proved),
                "assigned_bits": _histogram(part.assigned),
                "observed_bits": None if part.observed is None else _histogram(part.observed),
                "observed_lossless_columns": part.covered,
            }
            for part in summary.slices
        ],
    }


def verification_json(found: Verification, proofs: Mapping[str, LayerProof] | None = None) -> dict[str, Any]:
    """What `bsc verify --json` prints; `proofs` is null unless they were checked."""
    return {
        "samples": found.samples,
        "data": found.source,
        "exact": found.exact,
        "layers": {name: asdict(tally) for name, tally in found.tallies.items()},
        "float_difference_max": found.difference_max,
        "float_difference_relative_rms": found.difference_rms,
        "accuracy": None if found.accuracy is None else asdict(found.accuracy),
        "proofs": None if proofs is None else {name: asdict(proof) for name, proof in proofs.items()},
        "accuracy_drop": None
        if found.paired is None
        else {**asdict(found.paired), "drop": found.paired.drop, "drop_bound_95": found.paired.drop_bound},
        "layer_differences": None
        if found.layers is None
        else {name: asdict(each) for name, each in found.layers.items()},
    }


def simulation_json(found: Simulation) -> dict[str, Any]:
    """What `bsc simulate --json` prints."""
    trials = None
    if found.device is not None:
        trials = {
            "device": found.device.name,
            "effects": list(found.device.effects),
            "seed": found.seed,
            "accuracy": _interval(found.trial_accuracy),
            "relative_rms_error": _interval(found.trial_error),
            "each": [asdict(trial) for trial in found.trials],
        }
    return {
        "samples": found.samples,
        "data": found.source,
        "accuracy": found.accuracy,
        "layers": {name: asdict(tally) for name, tally in found.tallies.items()},
        "column_sums": {name: _column_sums(tally) for name, tally in found.columns.items()},
        "trials": trials,
    }


def _beside(plan: PlanFigures, first: PlanFigures) -> dict[str, Any]:
    added, removed = pipeline_difference(first.document.pipeline, plan.document.pipeline)
    ours, reference = plan.comparison.plan, first.comparison.plan
    return {
        "name": plan.name,
        "model": plan.document.model.model_dump(mode="json"),
        "same_model": plan.document.model.sha256 == first.document.model.sha256,
        "target": plan.comparison.target.name,
        "pipeline": plan.document.pipeline,
        "pipeline_added": added,
        "pipeline_removed": removed,
        "accuracy": plan.accuracy,
        "figures": asdict(plan.whole),
        "cost": _cost(ours),
        "paper_cost": _cost(plan.paper),
        "saving_over_uniform_8_bit": {
            each.law.name: {"adc_ratio": each.adc, "total_ratio": each.total} for each in plan.comparison.spread
        },
        "ratios": {
            "conversions": ratio(first.whole.conversions, plan.whole.conversions),
            "adc_energy": ratio(first.whole.adc_energy_j, plan.whole.adc_energy_j),
            "energy": ratio(first.whole.energy_j, plan.whole.energy_j),
            "paper_adc_energy": ratio(first.paper.action_energy_j(ADC_ACTION), plan.paper.action_energy_j(ADC_ACTION)),
            "paper_energy": ratio(first.paper.total_energy_j, plan.paper.total_energy_j),
            "latency": ratio(first.whole.latency_s, plan.whole.latency_s),
            "area": ratio(reference.total_area_m2, ours.total_area_m2),
        },
        "layers": {name: asdict(layer) for name, layer in plan.layers.items()},
    }


def _interval(interval: MeanInterval | None) -> dict[str, Any] | None:
    """A single trial has neither deviation nor interval."""
    if interval is None:
        return None
    one = interval.trials < 2
    return {
        "mean": interval.mean,
        "deviation": None if one else interval.deviation,
        "low_95": None if one else interval.low,
        "high_95": None if one else interval.high,
    }


def _column_sums(tally: ColumnTally) -> dict[str, Any]:
    """Histograms by slice, polarity and input cycle, trailing zeros cut; a key of each level is its number."""
    return {
        "origin": tally.origin,
        "bin_width": tally.bin_width,
        "lowest_by_slice": tally.lowest.min(axis=(0, 2, 3), initial=0).tolist(),
        "highest_by_slice": tally.highest.max(axis=(0, 2, 3), initial=0).tolist(),
        "clipped_by_slice": tally.clipped.sum(axis=(0, 2, 3)).tolist(),
        "histogram": [
            [[np.trim_zeros(bins, "b").tolist() for bins in cycles] for cycles in polarities]
            for polarities in tally.histogram
        ],
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
