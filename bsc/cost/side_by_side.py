"""Plans side by side: the figures of each, whole and by layer, and where their pipelines part."""

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bsc.cost.compare import Comparison
from bsc.cost.price import Cost, price
from bsc.hardware.adc_law import AdcLaw
from bsc.plan.document import PlanDocument
from bsc.plan.summary import LayerSummary, total

PROVED = "proved"
_BETWEEN_STEPS = re.compile(r",(?![^{}]*\})")


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What a layer or a whole plan comes to in one inference; None is unknown.

    Attributes:
        crossbars: crossbars allocated.
        columns: slice columns on them, counted once for each row group.
        mean_bits: assigned resolution, mean over `columns`; a column that is never converted counts as 0.
        largest_bits: largest resolution assigned.
        rests_on: share of the columns whose conversion is proved to lose nothing, under `PROVED`, and of the others
            by the policy that chose their resolution; the shares add up to 1.
        conversions: of all columns and input cycles.
        adc_energy_j: energy of the conversions.
        energy_j: energy of everything that is modelled.
        latency_s: time of one inference.
    """

    crossbars: int
    columns: int
    mean_bits: float | None
    largest_bits: int
    rests_on: dict[str, float]
    conversions: int
    adc_energy_j: float | None
    energy_j: float | None
    latency_s: float


@dataclass(frozen=True, eq=False, kw_only=True)
class PlanFigures:
    """One plan among others.

    Attributes:
        name: what to call it, unique.
        document: of the plan.
        comparison: its cost under the chosen law, beside the baselines.
        paper: its cost under the law of the paper.
        whole: all layers together.
        layers: by name.
        accuracy: share of labelled samples that the replay gets right; None where nothing was replayed.
    """

    name: str
    document: PlanDocument
    comparison: Comparison
    paper: Cost
    whole: Figures
    layers: dict[str, Figures]
    accuracy: float | None


def plan_figures(
    name: str,
    document: PlanDocument,
    summaries: Sequence[LayerSummary],
    comparison: Comparison,
    *,
    paper_law: AdcLaw,
    accuracy: float | None,
) -> PlanFigures:
    """Gather the figures of one plan.

    Args:
        name: what to call it.
        document: of the plan.
        summaries: of its layers.
        comparison: of the plan.
        paper_law: 2^N / (N + 1), which the paper's ratios rest on.
        accuracy: from a replay, or None.
    """
    cost = comparison.plan
    conversions = {counts.name: int(counts.conversions.sum()) for counts in comparison.counts}
    layers = {
        summary.layer.name: _figures(
            [summary],
            conversions=conversions[summary.layer.name],
            adc_energy_j=cost.layer_adc_energy_j(summary.layer.name),
            energy_j=cost.layer_energy_j(summary.layer.name),
            latency_s=cost.latency_s[summary.layer.name],
        )
        for summary in summaries
    }
    return PlanFigures(
        name=name,
        document=document,
        comparison=comparison,
        paper=price(comparison.counts, comparison.target, paper_law, None),
        whole=_figures(
            summaries,
            conversions=sum(conversions.values()),
            adc_energy_j=cost.total_adc_energy_j,
            energy_j=cost.total_energy_j,
            latency_s=cost.total_latency_s,
        ),
        layers=layers,
        accuracy=accuracy,
    )


def pipeline_difference(reference: str, other: str) -> tuple[list[str], list[str]]:
    """Steps of a pipeline text that another one lacks.

    Returns:
        Steps that only `other` has, and steps that only `reference` has, each in its order.
    """
    ours, theirs = _BETWEEN_STEPS.split(reference), _BETWEEN_STEPS.split(other)
    added: list[str] = []
    removed: list[str] = []
    for kind, first, last, start, stop in difflib.SequenceMatcher(None, ours, theirs, autojunk=False).get_opcodes():
        if kind != "equal":
            removed += ours[first:last]
            added += theirs[start:stop]
    return added, removed


def _figures(
    summaries: Sequence[LayerSummary],
    *,
    conversions: int,
    adc_energy_j: float | None,
    energy_j: float | None,
    latency_s: float,
) -> Figures:
    assigned: NDArray[np.int64] = total(part.assigned for summary in summaries for part in summary.slices)
    columns = int(assigned.sum())
    return Figures(
        crossbars=sum(summary.crossbars for summary in summaries),
        columns=columns,
        mean_bits=float(assigned @ np.arange(len(assigned))) / columns if columns else None,
        largest_bits=int(np.flatnonzero(assigned).max(initial=0)),
        rests_on=_rests_on(summaries, columns),
        conversions=conversions,
        adc_energy_j=adc_energy_j,
        energy_j=energy_j,
        latency_s=latency_s,
    )


def _rests_on(summaries: Sequence[LayerSummary], columns: int) -> dict[str, float]:
    counts = {PROVED: sum(summary.lossless for summary in summaries)}
    for summary in summaries:
        policy = summary.layer.adc_policy
        counts[policy] = counts.get(policy, 0) + summary.columns - summary.lossless
    return {basis: count / columns for basis, count in counts.items() if count}
