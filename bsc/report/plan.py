"""Reports of a plan and its cost, of one layer, and of one crossbar."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from bsc.cost.compare import Comparison
from bsc.cost.counters import not_modelled
from bsc.cost.crossbars import CrossbarTable
from bsc.hardware.target import Target
from bsc.mapping.arrays import LayerArrays
from bsc.mapping.layer import MappedLayer
from bsc.plan.cells import CrossbarIndex, crossbar_cells, crossbar_columns, crossbar_part
from bsc.plan.document import PlanDocument
from bsc.plan.summary import LayerSummary, SliceSummary, total
from bsc.report.basis import basis_notes
from bsc.report.costs import action_labels, cost_table, law_table, layer_cost_table
from bsc.report.crossbars import slice_table
from bsc.report.network import digital_operators, network_table, operators_text
from bsc.report.text import add_row, new_table
from bsc.units import UNKNOWN, format_ratio

Resolutions = Literal["assigned", "observed", "proved"]


RESOLUTION_TITLES = {
    "assigned": "assigned",
    "observed": "that hold what calibration data showed",
    "proved": "proved to be enough",
}


@dataclass(frozen=True, eq=False, kw_only=True)
class PlanReport:
    """The report that `bsc compile` prints, and with `crossbars` the longer one of `bsc report`.

    Attributes:
        document: of the plan.
        summaries: of every layer.
        comparison: cost beside the baselines.
        crossbars: of every layer; None leaves them and the steps of the network out.
    """

    document: PlanDocument
    summaries: Sequence[LayerSummary]
    comparison: Comparison
    crossbars: Sequence[CrossbarTable] | None = None

    def __rich__(self) -> RenderableType:
        network, crossbars = [], []
        if self.crossbars is not None:
            network, crossbars = [network_table(self.document)], [slice_table(self.crossbars)]
        return Group(
            _heading(self.document),
            *network,
            _layer_table(self.summaries),
            *crossbars,
            _resolution_table(self.summaries),
            cost_table(self.comparison),
            layer_cost_table(self.comparison),
            law_table(self.comparison),
            _notes(self.document, self.summaries, self.comparison),
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class LayerReport:
    """One layer in full.

    Attributes:
        summary: of the layer.
    """

    summary: LayerSummary

    def __rich__(self) -> RenderableType:
        layer = self.summary.layer
        sign = "signed" if layer.input_signed else "unsigned"
        step = "a step for each vector" if layer.input_step is None else f"step {layer.input_step:g}"
        step += f", zero is code {layer.input_zero}" if layer.input_zero else ""
        lines = [
            f"layer      {layer.name} ({layer.op_type})",
            f"weights    {layer.weight_bits} bit + sign, {layer.encoding}, {_slices(layer)}",
            f"inputs     {layer.input_bits} bit {sign}, {step}, {layer.dac_bits}-bit DAC",
            f"mapped     {layer.mapped_rows} of {layer.rows} rows, {layer.mapped_columns} of {layer.columns} columns",
            f"driven     {min(layer.active_rows, layer.mapped_rows)} rows at a time",
            f"ADC        {_assignment(layer)}",
        ]
        if layer.observed is not None:
            seen, what = layer.observed, "pair of slice columns" if layer.subtraction == "analog" else "slice column"
            lines.append(
                f"observed   {seen.conversions} conversions of every {what}: {seen.vectors} input vectors of "
                f"{seen.samples} samples"
            )
        tables = [_resolution_table([self.summary], kind) for kind in _resolutions(self.summary)]
        return Group(Text("\n".join(lines)), _layer_table([self.summary]), *tables)


@dataclass(frozen=True, eq=False, kw_only=True)
class CrossbarReport:
    """One crossbar in full.

    Attributes:
        layer: its layer.
        arrays: of the layer.
        index: which crossbar.
    """

    layer: MappedLayer
    arrays: LayerArrays
    index: CrossbarIndex

    def __rich__(self) -> RenderableType:
        levels = crossbar_cells(self.layer, self.arrays, self.index)
        columns = np.array(crossbar_columns(self.layer, self.index.column_tile))
        groups = self.layer.groups_per_tile
        model_columns = columns if self.arrays.kept_columns is None else self.arrays.kept_columns[columns]
        names = ("bitline", "model column", "non-zero cells", "sum of levels", "ADC bits", "ADC step")
        title = "Bitlines" if groups == 1 else f"Bitlines; largest of the {groups} row groups"
        table = new_table(title, names, 0)
        shown = (self.arrays.nonzeros, self.arrays.sums, self.arrays.adc_bits, self.arrays.adc_step)
        largest = (crossbar_part(self.layer, array, self.index).max(axis=0) for array in shown)
        for bitline, row in enumerate(zip(model_columns, *largest, strict=True)):
            add_row(table, str(bitline), *map(str, row))
        density = np.count_nonzero(levels) / max(1, levels.size)
        head = (
            f"crossbar   {self.layer.name} {self.index} (row tile, column tile, slice, sign)\n"
            f"cells      {levels.shape[0]} rows x {levels.shape[1]} columns in use, {density:.1%} non-zero\n"
        )
        return Group(Text(head), table)


def _heading(document: PlanDocument) -> Text:
    batch = ", for a batch of one" if document.free_batch else ""
    sizes = ", ".join(
        f"{tensor.name} {'x'.join(map(str, tensor.shape)) if tensor.shape is not None else '?'}"
        for tensor in document.inputs
    )
    return Text(
        f"bsc {document.bsc_version}: {document.model.file} on {document.target}\n"
        f"pipeline   {document.pipeline}\n"
        f"input      {sizes}{batch}; {_ranges(document)}\n"
        f"digital    {operators_text(digital_operators(document)) or 'nothing'}\n"
    )


def _ranges(document: PlanDocument) -> str:
    """Where the steps of input codes come from."""
    if document.calibration is not None:
        return f"steps from {document.calibration.samples} calibration samples"
    given = sum(layer.input_step is not None for layer in document.layers)
    if given == len(document.layers):
        return "steps of the model"
    others = "a step for each input vector, for want of --calib data"
    return f"steps of the model in {given} layers, else {others}" if given else others


def _layer_table(summaries: Sequence[LayerSummary]) -> Table:
    slices = max(len(summary.slices) for summary in summaries)
    densities = f"% non-zero, slice {slices - 1}..0" if slices > 1 else "% non-zero"
    names = ("layer", "operator", "K×N", "vectors", "tiles", "crossbars", "utilised", densities)
    table = new_table("Crossbars", names, 2)
    for summary in summaries:
        layer = summary.layer
        groups = f" /{layer.groups}" if layer.groups > 1 else ""
        add_row(
            table,
            layer.name,
            layer.op_type,
            f"{layer.rows}×{layer.columns}{groups}",
            str(layer.vectors),
            f"{layer.row_tiles}×{summary.column_tiles}",
            f"{summary.crossbars} of {summary.possible_crossbars}",
            f"{summary.utilisation:.1%}",
            " ".join(f"{100 * part.density:>5.3g}" for part in reversed(summary.slices)),
        )
    return table


def _resolutions(summary: LayerSummary) -> list[Resolutions]:
    """What is known of a layer's resolutions."""
    return ["assigned", "observed", "proved"] if summary.layer.observed is not None else ["assigned", "proved"]


def _counts(part: SliceSummary, kind: Resolutions) -> NDArray[np.int64]:
    if kind == "observed":
        assert part.observed is not None
        return part.observed
    return part.proved if kind == "proved" else part.assigned


def _resolution_table(summaries: Sequence[LayerSummary], kind: Resolutions = "assigned") -> Table:
    """Conversions of all layers by resolution."""
    slices = max(len(summary.slices) for summary in summaries)
    by_slice = [[summary.slices[i] for summary in summaries if i < len(summary.slices)] for i in range(slices)]
    histograms = [total(_counts(part, kind) for part in parts) for parts in by_slice]
    highest = max((int(np.flatnonzero(counts).max(initial=0)) for counts in histograms), default=0)
    observed = kind == "assigned" and any(summary.layer.observed is not None for summary in summaries)
    bits = [str(resolution) for resolution in range(highest + 1)]
    bases = ("lossless", "observed") if observed else () if kind == "observed" else ("lossless",)
    title = f"{_converted(summaries).capitalize()} by ADC bits {RESOLUTION_TITLES[kind]}"
    table = new_table(title, ("slice", *bits, "mean", "largest sum", *bases), 1)
    for index in reversed(range(slices)):
        counts, parts = histograms[index], by_slice[index]
        conversions = int(counts.sum())
        mean = f"{counts @ np.arange(len(counts)) / conversions:.2f}" if conversions else UNKNOWN
        lossless = sum(part.conversions if kind == "proved" else part.lossless for part in parts)
        shares = [lossless, sum(part.covered for part in parts)][: len(bases)]
        add_row(
            table,
            str(index),
            *(str(count) if count else "." for count in counts[: highest + 1]),
            mean,
            str(max(part.largest_sum for part in parts)),
            *(f"{share / conversions:.1%}" if conversions else UNKNOWN for share in shares),
        )
    return table


def _notes(document: PlanDocument, summaries: Sequence[LayerSummary], comparison: Comparison) -> Text:
    conversions = sum(summary.conversions for summary in summaries)
    lossless = sum(summary.lossless for summary in summaries)
    by_kind = comparison.energy_by_kind()
    known = sum(by_kind.values())
    basis = ", ".join(f"{kind} {energy / known:.1%}" for kind, energy in sorted(by_kind.items()) if energy)
    cost = comparison.plan
    labels = action_labels(comparison.target)
    unknown = [labels[name] for name in cost.actions if cost.action_energy_j(name) is None]
    basis += f" of what is known, without {', '.join(unknown)}" if basis and unknown else ""
    policies = ", ".join(_unique(_assignment(summary.layer) for summary in summaries))
    return Text(
        f"ADC assignment    {policies}; {lossless} of {conversions} {_converted(summaries)} are "
        f"proved lossless for any input\n"
        f"{basis_notes(summaries, document.budget)}{_offer(comparison)}"
        f"free ADCs         and no other change would save {format_ratio(comparison.free_adc_bound)} of the total\n"
        f"prices rest on    {basis or UNKNOWN} ({comparison.target.citation})\n"
        f"not modelled      {', '.join(not_modelled(comparison.target))}{_wider_cells(summaries, comparison.target)}"
    )


def _wider_cells(summaries: Sequence[LayerSummary], target: Target) -> str:
    """That cells store more than those the target has prices for."""
    bits = max((summary.layer.bits_per_cell for summary in summaries), default=0)
    if bits <= target.crossbar.bits_per_cell:
        return ""
    return f"; cells of up to {bits} bits have the prices of {target.crossbar.bits_per_cell}-bit cells"


def _converted(summaries: Sequence[LayerSummary]) -> str:
    """What the ADCs convert."""
    pairs = any(summary.layer.subtraction == "analog" for summary in summaries)
    return "slice columns" if not pairs else "pairs of slice columns"


def _offer(comparison: Comparison) -> str:
    """A line where the hardware cannot do what the plan asks of its converters, else nothing."""
    if not comparison.not_offered:
        return ""
    layers, adc = comparison.not_offered, comparison.target.adc
    offered = f"{adc.bits} bits alone" if adc.granularity.value == "fixed" else f"one for each {adc.granularity.value}"
    first = layers[0] if len(layers) == 1 else f"{layers[0]} and {len(layers) - 1} more"
    return (
        f"NOT OFFERED       the resolutions of {first}: ADCs of {comparison.target.name} have {offered}; "
        "energies hold for ADCs that can\n"
    )


def _assignment(layer: MappedLayer) -> str:
    """The ADC policy in words; resolutions that are the same for all are not shared over something."""
    alike = layer.adc_policy in ("isaac", "fixed")
    return layer.adc_policy if alike else f"{layer.adc_policy} per {layer.adc_granularity}"


def _slices(layer: MappedLayer) -> str:
    """How weights are cut and held, in words."""
    bits = sorted(set(layer.slice_bits))
    text = f"{layer.slices} slices of {' and '.join(map(str, bits))} bit"
    text += ", flipped where that is smaller" if layer.flip else ""
    return text + (", pairs subtracted before the ADC" if layer.subtraction == "analog" else "")


def _unique(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))
