"""Makes the report of a plan: the one place where its figures are computed.

A new figure is a field of `bsc.report.document` and a line here; a view shows it. What a layer, a slice of all layers
and the whole plan come to is added up from the slices of layers, so that each mean and share is computed in one place.
"""

import hashlib
from collections.abc import Container, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bsc.chip.buffers import buffer_bits
from bsc.chip.dataflow import Dataflow
from bsc.chip.energy import static_w_by_kind
from bsc.chip.performance import Performance, chip_comparison, energy_by_kind, work_around
from bsc.chip.segments import waiting_values
from bsc.chip.work import KINDS, NOTHING, Work
from bsc.cost.compare import BASELINE_BITS, RAELLA_BITS, Comparison, LawCosts
from bsc.cost.counters import CHIP_COUNTERS, CONVERSIONS, COUNTERS, WRITING_CELLS, counted, not_modelled
from bsc.cost.counts import LayerCounts
from bsc.cost.crossbars import CrossbarTable, crossbar_table
from bsc.cost.device import DeviceCost
from bsc.cost.price import Cost, add
from bsc.hardware.target import Target, label
from bsc.mapping.arrays import LayerArrays
from bsc.mapping.layer import MappedLayer, Observed
from bsc.mapping.lossless import layer_sum_range, observed_lossless, observed_lows, proved_lossless
from bsc.numeric.column_stats import lossless_bits
from bsc.numeric.tiles import column_tiles, crossbars_with_weights, per_column, per_row_group
from bsc.numeric.tolerance import share_beyond
from bsc.plan.document import Plan
from bsc.plan.folder import target_json
from bsc.report.document import (
    PROVED,
    SCHEMA_VERSION,
    BitCounts,
    CellCosts,
    CellReads,
    CellWrites,
    ChipFigures,
    ChipReport,
    InferenceEnergy,
    LawSaving,
    LayerOnChip,
    LayerSpend,
    LayerTotals,
    MappingTotals,
    Observation,
    ObservationTotals,
    OperatorTotals,
    PlanCost,
    PlanTotals,
    ReloadFigures,
    ReportDocument,
    SegmentFigures,
    SliceTotals,
    Spend,
    TargetAction,
    TargetArea,
    TargetLevel,
)
from bsc.units import ratio

_ADDED = (
    "weights",
    "nonzero_cells",
    "crossbars",
    "cells",
    "cells_in_use",
    "nonzero_cells_in_use",
    "columns",
    "conversions",
    "lossless",
    "observed_lossless_columns",
)
"""Counts of slices that add up to those of layers and plans."""
_ADDED_BITS = ("crossbars_by_adc_bits", "proved_bits", "assigned_bits")


def report_document(
    plan: Plan, comparison: Comparison, on_device: DeviceCost | None = None, updates_per_day: float = 1.0
) -> ReportDocument:
    """The report of a plan.

    Args:
        plan: the plan; its arrays are read once.
        comparison: its cost beside the baselines.
        on_device: what a device says of it, or None.
        updates_per_day: times that the plan is written anew.
    """
    layers = {layer.name: layer_totals(layer, plan.mapping.arrays(layer)) for layer in plan.mapping.layers}
    chip = chip_report(plan, comparison)
    cost = plan_cost(comparison, chip)
    cells = None if on_device is None else cell_costs(on_device, chip.plan.energy.total_j, updates_per_day)
    not_modelled = [
        each if each != WRITING_CELLS else f"programming of {_cells_to_write(plan, layers)} cells (--cells)"
        for each in cost.not_modelled
        if each != WRITING_CELLS or not (chip.plan.energy.writing_j or (cells is not None and cells.writes is not None))
    ]
    return ReportDocument(
        schema_version=SCHEMA_VERSION,
        plan=plan.document,
        totals=plan_totals(plan.mapping.layers, layers),
        layers=layers,
        cost=cost.model_copy(update={"cells": cells, "not_modelled": not_modelled}),
        chip=chip,
    )


def _cells_to_write(plan: Plan, layers: Mapping[str, LayerTotals]) -> int:
    """Cells that hold a slice of a weight, of all copies."""
    return sum(
        layers[layer.name].cells_in_use * (1 if layer.placed is None else layer.placed.copies)
        for layer in plan.mapping.layers
    )


def layer_totals(layer: MappedLayer, arrays: LayerArrays) -> LayerTotals:
    """One layer."""
    _, starts = layer.column_tiles()
    dense_tiles = len(column_tiles(layer.rows, layer.columns, layer.groups, layer.active_rows, layer.tile_cols)[1])
    holds_weights = crossbars_with_weights(arrays.sums, starts, layer.groups_per_tile)
    slices = _slices(layer, arrays)
    return LayerTotals(
        **_added(slices),
        slices=slices,
        possible_crossbars=-(-layer.rows // layer.tile_rows) * dense_tiles * layer.slices * layer.cells.polarities,
        unread_crossbars=int(np.count_nonzero(holds_weights & ~arrays.allocated)),
        rests_on=_rests_on([(layer.adc_policy, part) for part in slices]),
        row_tiles=layer.row_tiles,
        column_tiles=len(starts),
        observed=None if layer.observed is None else observation(layer.observed, signed=layer.cells.analog_pairs),
    )


def plan_totals(records: Sequence[MappedLayer], layers: Mapping[str, LayerTotals]) -> PlanTotals:
    """All layers together.

    Args:
        records: of the layers, in the order of the plan.
        layers: their totals, by name.
    """
    totals = [layers[record.name] for record in records]
    most = max((len(each.slices) for each in totals), default=0)
    by_slice = [[each.slices[i] for each in totals if i < len(each.slices)] for i in range(most)]
    return PlanTotals(
        **_added(totals),
        slices=[SliceTotals(**_added(parts)) for parts in by_slice],
        possible_crossbars=sum(each.possible_crossbars for each in totals),
        unread_crossbars=sum(each.unread_crossbars for each in totals),
        rests_on=_rests_on([(record.adc_policy, layers[record.name]) for record in records]),
        observed=_observation_totals(totals),
    )


def plan_cost(comparison: Comparison, chip: ChipReport) -> PlanCost:
    """Cost of a plan and its baselines.

    Args:
        comparison: what crossbar layers cost.
        chip: what more the same take on chips.
    """
    assert (BASELINE_BITS, RAELLA_BITS) == (8, 7)  # the names of the fields say so
    target = comparison.target
    return PlanCost(
        target=target.name,
        target_sha256=target_sha256(target),
        citation=target.citation,
        node_m=target.node_m.value,
        cell_bits=target.crossbar.bits_per_cell,
        adc_bits=target.adc.bits,
        adc_flexibility=target.adc.granularity.value,
        levels=_levels(target),
        actions=_actions(target, COUNTERS),
        areas=_areas(target),
        not_modelled=list(not_modelled(target)),
        adc_law=comparison.law.name,
        plan=_spend(comparison.plan, comparison.counts),
        uniform_8_bit=_spend(comparison.uniform, comparison.uniform_counts),
        isaac_offset_8_bit=_spend(comparison.offset, comparison.offset_counts),
        raella_7_bit=_spend(comparison.raella, comparison.raella_counts),
        free_adc_bound=comparison.free_adc_bound,
        adc_not_offered=list(comparison.not_offered),
        adc_law_names=[each.law.name for each in comparison.spread],
        adc_laws={each.law.name: _law_saving(each, chip) for each in comparison.spread},
        conversions={layer.name: _bit_counts(layer.conversions) for layer in comparison.counts},
    )


def cell_costs(cost: DeviceCost, inference_j: float | None, updates_per_day: float) -> CellCosts:
    """What a device says of a plan.

    Args:
        cost: its energies.
        inference_j: all energy of an inference, `InferenceEnergy.total_j`.
        updates_per_day: times that the plan is written anew.
    """
    reads, writing = cost.reads, cost.writing
    return CellCosts(
        device=cost.device.name,
        citation=cost.device.citation,
        samples=cost.samples,
        reads=None
        if reads is None
        else CellReads(
            energy_j=reads.energy_j,
            uniform_8_bit_j=reads.uniform_j,
            isaac_offset_8_bit_j=reads.offset_j,
            average_j=reads.average_j,
            rest_j=reads.rest_j,
            pulse_s=reads.cell.pulse_s,
            mean_cell_j=reads.cell.mean_j,
            cell_price_j=reads.cell_price_j,
            over_price=reads.over_price,
            contradicts=reads.contradicts,
            layers=reads.layers,
        ),
        writes=None
        if writing is None
        else CellWrites(
            cells=writing.cells,
            pulses=writing.pulses,
            energy_j=writing.energy_j,
            time_s=writing.time_s,
            parallel_s=writing.parallel_s,
            inferences=writing.inferences(inference_j),
            updates=writing.updates,
            updates_per_day=updates_per_day,
            lifetime_s=writing.lifetime_s(updates_per_day),
        ),
    )


def chip_report(plan: Plan, comparison: Comparison) -> ChipReport:
    """The plan and its baselines on chips."""
    mapping, target = plan.mapping, comparison.target
    found = chip_comparison(mapping, plan.target, comparison)
    critical = found.critical_s
    starts: dict[str, float] = {}
    ends: dict[str, float] = {}
    for use, time in zip(found.dataflow.uses, found.plan.timing.uses, strict=True):
        starts[use.layer] = min(starts.get(use.layer, time.start_s), time.start_s)
        ends[use.layer] = max(ends.get(use.layer, time.end_s), time.end_s)
    floor = found.plan.demand.floor
    by_kind = energy_by_kind(found.plan, comparison)
    known = sum(by_kind.values())

    def on_chip(layer: MappedLayer) -> LayerOnChip:
        placed, buffer = found.plan.placed[layer.name], found.buffers[layer.name]
        return LayerOnChip(
            copies=placed.copies,
            crossbars_per_copy=placed.crossbars_per_copy,
            crossbars=placed.copies * placed.crossbars_per_copy,
            segment=placed.segment,
            first_slot=placed.first_slot,
            first_place=list(floor.position(placed.first_slot)),
            start_s=starts[layer.name],
            end_s=ends[layer.name],
            critical_s=critical.get(layer.name, 0.0),
            busy_s=found.plan.timing.busy_s[layer.name],
            line_bits=buffer.line_values * layer.input_bits,
            skip_bits=buffer.skip_values * layer.input_bits,
            kept_bits=buffer.kept_values * layer.input_bits,
            held_bits=buffer.values * layer.input_bits,
            buffer_bits=buffer_bits(placed, floor, target),
        )

    return ChipReport(
        plan=_chip_figures(found.plan, found.dataflow),
        filled=_chip_figures(found.filled, found.dataflow),
        uniform_8_bit=_chip_figures(found.uniform, found.dataflow),
        isaac_offset_8_bit=_chip_figures(found.offset, found.dataflow),
        raella_7_bit=_chip_figures(found.raella, found.dataflow),
        layers={layer.name: on_chip(layer) for layer in mapping.layers},
        actions=_actions(target, CHIP_COUNTERS),
        operators=_operators(mapping.layers, found.dataflow),
        energy_by_kind_j=by_kind,
        energy_share_by_kind={kind: energy / known for kind, energy in by_kind.items()} if known else {},
        static_w_by_kind=static_w_by_kind(target, tiles=found.plan.tiles, chips=found.plan.chips),
    )


def _chip_figures(found: Performance, dataflow: Dataflow) -> ChipFigures:
    return ChipFigures(
        copies_policy=found.rules.policy,
        chips=found.chips,
        tiles=found.tiles,
        slots_at_hand=found.rules.slots,
        power_budget_w=found.rules.power_w,
        slots_taken=found.slots_taken,
        crossbars=found.crossbars,
        area_m2=found.area_m2,
        latency_s=found.latency_s,
        interval_s=found.interval_s,
        links_s={str(link): seconds for link, seconds in found.links_s.items()},
        stall_s=found.stall_s,
        busiest_link=found.busiest_link,
        bottleneck=found.timing.bottleneck,
        batch_s=found.batch_s(16),
        inferences_per_s=found.inferences_per_s,
        inferences_per_s_bound=ratio(1.0, found.interval_bound_s),
        busy_share=found.busy_share,
        power_w=found.power_w,
        ops_per_s=found.ops_per_s,
        ops_per_j=found.ops_per_j,
        ops_per_s_m2=found.ops_per_s_m2,
        energy_delay_js=found.energy_delay_js,
        energy=_inference_energy(found),
        reload=_reload_figures(found, dataflow),
    )


def _reload_figures(found: Performance, dataflow: Dataflow) -> ReloadFigures | None:
    reload = found.rules.reload
    if reload is None:
        return None
    segments = {name: placed.segment for name, placed in found.placed.items()}
    return ReloadFigures(
        batch=reload.batch,
        device=reload.device,
        segments=[
            SegmentFigures(
                first_layer=each.load.layers[0],
                last_layer=each.load.layers[-1],
                layers=len(each.load.layers),
                crossbars=each.load.crossbars,
                write_s=each.write_s,
                write_j=each.write_j,
                latency_s=each.load.timing.latency_s,
                interval_s=each.interval_s,
                batch_s=each.batch_s,
                port_bits=each.load.demand.io_bits,
            )
            for each in found.segments
        ],
        cycle_s=found.cycle_s,
        writing_share=found.writing_share,
        writing_j=(found.writing_j or 0.0) * reload.batch,
        waiting_bits=waiting_values(dataflow, segments) * found.demand.value_bits * reload.batch,
        updates=reload.updates,
        lifetime_s=found.lifetime_s,
    )


def _inference_energy(found: Performance) -> InferenceEnergy:
    energy = found.energy
    return InferenceEnergy(
        total_j=energy.total_j,
        layers_j=energy.layers_j,
        traffic_j=energy.traffic_j,
        work_j=energy.work_j,
        active_j=energy.active_j,
        static_j=energy.static_j,
        static_w=energy.static_w,
        writing_j=energy.writing_j,
        at_rest_1_percent_j=energy.at_rest(0.01),
        at_rest_5_percent_j=energy.at_rest(0.05),
        idle_share=found.idle_share,
        by_action_j=dict(energy.by_action_j),
        counters=dict(found.counters),
    )


AROUND_CROSSBARS: Final = "scales and steps of layers"
"""What stands in place of an operator for the digital work around crossbars."""


def _operators(layers: Sequence[MappedLayer], dataflow: Dataflow) -> list[OperatorTotals]:
    """Digital work by type of operator, in the order in which types are met."""
    found: dict[tuple[str, str], list[Work | None]] = {(AROUND_CROSSBARS, ""): [work_around(each) for each in layers]}
    for each in dataflow.work:
        found.setdefault((each.op_type, each.reason), []).append(each.work)
    totals = []
    for (op_type, reason), parts in found.items():
        work = None if None in parts else sum((part for part in parts if part is not None), NOTHING)
        kinds = {kind: None if work is None else getattr(work, kind) for kind in KINDS}
        totals.append(OperatorTotals(op_type=op_type, times=len(parts), reason=reason, **kinds))
    return totals


def target_sha256(target: Target) -> str:
    """What reports tell hardware descriptions apart by."""
    return hashlib.sha256(target_json(target).encode()).hexdigest()


def _slices(layer: MappedLayer, arrays: LayerArrays) -> list[SliceTotals]:
    _, starts = layer.column_tiles()
    existing = per_row_group(
        per_column(arrays.allocated, starts, layer.mapped_columns), layer.row_groups, layer.groups_per_tile
    )  # (R, S, P, N)
    paired = layer.cells.conversions < existing.shape[2]
    converted = np.asarray(existing.any(axis=2, keepdims=True)) if paired else existing
    bounds = layer_sum_range(layer, arrays)
    proved = lossless_bits((bounds.high - bounds.low).astype(np.uint32), bounds.step)
    lossless, covered = proved_lossless(layer, arrays), observed_lossless(layer, arrays)
    spans = None if arrays.observed_sums is None else arrays.observed_sums - observed_lows(arrays)
    table = crossbar_table(layer, arrays)
    slices = []
    for index in range(layer.slices):
        here = converted[:, index]
        observed = None
        if spans is not None:
            observed = _bits_of(lossless_bits(spans[:, index].astype(np.uint32), bounds.step[:, index])[here])
        counts = {
            **_crossbars(table, index),
            "weights": layer.rows * layer.columns,
            "nonzero_cells": int(arrays.nonzeros[:, index].sum()),
            "columns": int(existing[:, index].sum()),
            "conversions": int(here.sum()),
            "lossless": int(lossless[:, index][here].sum()),
            "observed_lossless_columns": int((covered & ~lossless)[:, index][here].sum()),
            "largest_sum": int(max(bounds.high[:, index].max(initial=0), -bounds.low[:, index].min(initial=0))),
            "proved_bits": _bits_of(proved[:, index][here]),
            "assigned_bits": _bits_of(arrays.adc_bits[:, index][here]),
            "observed_bits": observed,
        }
        slices.append(SliceTotals(**_with_shares(counts)))
    return slices


def _crossbars(table: CrossbarTable, index: int) -> dict[str, Any]:
    """What the crossbars of a slice hold."""
    here = table.index[:, 2] == index
    crossbars = int(np.count_nonzero(here))
    return {
        "crossbars": crossbars,
        "crossbars_by_adc_bits": _bits_of(table.adc_bits[here]),
        "cells": crossbars * table.capacity,
        "cells_in_use": int(table.weights[here].sum()),
        "nonzero_cells_in_use": int(table.nonzeros[here].sum()),
    }


def _added(parts: Sequence[MappingTotals]) -> dict[str, Any]:
    """The fields of `MappingTotals` of parts together."""
    counts: dict[str, Any] = {name: sum(getattr(part, name) for part in parts) for name in _ADDED}
    counts |= {name: _sum_of_bits([getattr(part, name) for part in parts]) for name in _ADDED_BITS}
    observed = [part.observed_bits for part in parts if part.observed_bits is not None]
    counts["observed_bits"] = _sum_of_bits(observed) if observed else None
    counts["largest_sum"] = max((part.largest_sum for part in parts), default=0)
    return _with_shares(counts)


def _with_shares(counts: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `MappingTotals`: its counts, and the means and shares that follow from them."""
    conversions = counts["conversions"]
    return {
        **counts,
        "density": share(counts["nonzero_cells"], counts["weights"]) or 0.0,
        "utilisation": share(counts["cells_in_use"], counts["cells"]) or 0.0,
        "nonzero_share": share(counts["nonzero_cells_in_use"], counts["cells_in_use"]),
        "proved_share": share(counts["lossless"], conversions),
        "observed_lossless_share": share(counts["observed_lossless_columns"], conversions),
        "mean_proved_bits": mean_bits(counts["proved_bits"]),
        "mean_adc_bits": mean_bits(counts["assigned_bits"]),
        "mean_observed_bits": mean_bits(counts["observed_bits"]),
        "largest_adc_bits": max(map(int, counts["assigned_bits"]), default=0),
    }


def mean_bits(counts: BitCounts | None) -> float | None:
    """Mean of a histogram of resolutions; None where it counts nothing."""
    return (
        None
        if counts is None
        else share(sum(int(bits) * count for bits, count in counts.items()), sum(counts.values()))
    )


def share(part: int, whole: int) -> float | None:
    """`part` over `whole`; None over 0."""
    return part / whole if whole else None


def _rests_on(parts: Iterable[tuple[str, MappingTotals]]) -> dict[str, float]:
    """Shares of conversions that are proved, and of the others by policy; `parts` has the policy of each."""
    counts, conversions = {PROVED: 0}, 0
    for policy, part in parts:
        counts[PROVED] += part.lossless
        counts[policy] = counts.get(policy, 0) + part.conversions - part.lossless
        conversions += part.conversions
    return {basis: count / conversions for basis, count in counts.items() if count}


def observation(record: Observed, *, signed: bool) -> Observation:
    """What is recorded of a layer, and what follows from it; both ends of a signed conversion are taken from data."""
    return Observation(
        samples=record.samples,
        vectors=record.vectors,
        conversions=record.conversions,
        overflow_bound_95=share_beyond(record.vectors, ends=2 if signed else 1),
    )


def _observation_totals(layers: Sequence[LayerTotals]) -> ObservationTotals | None:
    seen = [(each, each.observed.conversions) for each in layers if each.observed is not None]
    if not seen:
        return None
    covered = [(each, count) for each, count in seen if each.observed_lossless_columns]
    return ObservationTotals(
        lossless_conversions=sum(each.observed_lossless_columns * count for each, count in covered),
        fewest_conversions=min((count for _, count in covered), default=None),
        overflow_bound_95=max((each.observed.overflow_bound_95 for each, _ in covered if each.observed), default=None),
        losing=sum(each.conversions - each.lossless - each.observed_lossless_columns for each, _ in seen),
    )


def _levels(target: Target) -> list[TargetLevel]:
    return [TargetLevel(name=level.name, plural=level.several, count=level.count) for level in target.level]


def _actions(target: Target, counters: Container[str]) -> list[TargetAction]:
    """Those that such counters count."""
    return [
        TargetAction(
            name=name,
            label=label(name, action),
            level=level.name,
            per=action.per,
            counter=action.counter,
            counts=counted(action.counter),
            converts=action.counter == CONVERSIONS,
        )
        for level in target.level
        for name, action in level.action.items()
        if action.counter in counters
    ]


def _areas(target: Target) -> list[TargetArea]:
    return [
        TargetArea(name=name, label=label(name, part), level=level.name)
        for level in target.level
        for name, part in level.area.items()
    ]


def _spend(cost: Cost, counts: Sequence[LayerCounts]) -> Spend:
    conversions = {layer.name: int(layer.conversions.sum()) for layer in counts}
    return Spend(
        conversions=sum(conversions.values()),
        adc_energy_j=cost.total_adc_energy_j,
        energy_j=cost.total_energy_j,
        latency_s=cost.total_latency_s,
        area_m2=cost.total_area_m2,
        crossbars=cost.crossbars,
        units=dict(cost.units),
        energy_by_action_j={action: cost.action_energy_j(action) for action in cost.actions},
        area_by_part_m2=None if cost.area_m2 is None else dict(cost.area_m2),
        layers={
            name: LayerSpend(
                conversions=conversions[name],
                adc_energy_j=cost.layer_adc_energy_j(name),
                energy_j=cost.layer_energy_j(name),
                latency_s=cost.latency_s[name],
                area_m2=None if cost.layer_area_m2 is None else cost.layer_area_m2[name],
                energy_by_action_j=dict(actions),
            )
            for name, actions in cost.energy_j.items()
        },
    )


def _law_saving(costs: LawCosts, chip: ChipReport) -> LawSaving:
    beside = [_beside_layers_j(each.energy) for each in (chip.plan, chip.uniform_8_bit)]
    ours, theirs = (
        add((cost.total_energy_j, more)) for cost, more in zip((costs.plan, costs.uniform), beside, strict=True)
    )
    return LawSaving(
        adc_energy_j=costs.plan.total_adc_energy_j,
        energy_j=costs.plan.total_energy_j,
        adc_ratio=costs.adc,
        total_ratio=costs.total,
        full_ratio=ratio(theirs, ours),
        formula=costs.law.formula,
        source=costs.law.source,
        valid_bits=costs.law.valid_bits,
        extrapolated=costs.extrapolated,
    )


def _beside_layers_j(energy: InferenceEnergy) -> float | None:
    """What an inference takes besides crossbar layers, which is the same under every ADC law."""
    return add((*energy.by_action_j.values(), energy.static_j or 0.0, energy.writing_j or 0.0))


def _bits_of(bits: NDArray[np.integer]) -> BitCounts:
    return _bit_counts(np.bincount(bits.astype(np.int64).ravel()))


def _bit_counts(counts: NDArray[np.int64]) -> BitCounts:
    """A histogram whose keys are the resolutions that occur."""
    return {str(bits): int(counts[bits]) for bits in np.flatnonzero(counts)}


def _sum_of_bits(histograms: Sequence[BitCounts]) -> BitCounts:
    """Histograms together, keys in the order of their resolutions."""
    bits = sorted(set(chain.from_iterable(histograms)), key=int)
    return {key: sum(counts.get(key, 0) for counts in histograms) for key in bits}
