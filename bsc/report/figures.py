"""The figures of comparisons, verifications and simulations for programs: plain dictionaries that become JSON.

Unknown figures are null. Those of a plan are in `bsc.report.document`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from bsc.cost.price import ratio
from bsc.cost.side_by_side import PlanFigures, pipeline_difference
from bsc.replay.proofs import LayerProof
from bsc.replay.simulation import Simulation
from bsc.replay.tally import ColumnTally
from bsc.replay.trials import MeanInterval
from bsc.replay.verification import Verification
from bsc.report.document import spend


def side_by_side_json(plans: Sequence[PlanFigures], law: str, paper_law: str) -> dict[str, Any]:
    """What `bsc compare --json` prints; ratios say how many times less than the first plan."""
    return {"adc_law": law, "paper_adc_law": paper_law, "plans": [_beside(plan, plans[0]) for plan in plans]}


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
        "cost": spend(ours).model_dump(mode="json"),
        "paper_cost": spend(plan.paper).model_dump(mode="json"),
        "saving_over_uniform_8_bit": {
            each.law.name: {"adc_ratio": each.adc, "total_ratio": each.total} for each in plan.comparison.spread
        },
        "ratios": {
            "conversions": ratio(first.whole.conversions, plan.whole.conversions),
            "adc_energy": ratio(first.whole.adc_energy_j, plan.whole.adc_energy_j),
            "energy": ratio(first.whole.energy_j, plan.whole.energy_j),
            "paper_adc_energy": ratio(first.paper.total_adc_energy_j, plan.paper.total_adc_energy_j),
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
