"""Reports as text: tables of a plan and its cost, of one layer, of one crossbar, and of a replay.

Everything here takes finished figures and only lays them out; `bsc.report.figures` has the same figures for programs.
"""

import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from bsc.cost.compare import Comparison
from bsc.cost.price import ADC_ACTION, Cost, ratio
from bsc.hardware.target import Target
from bsc.plan.cells import CrossbarIndex, crossbar_cells, crossbar_columns
from bsc.plan.document import LayerArrays, Plan, PlanDocument, PlanLayer
from bsc.plan.summary import LayerSummary, SliceSummary, total
from bsc.replay.paired import CONFIDENCE
from bsc.replay.per_layer import LayerDifference
from bsc.replay.proofs import LayerProof
from bsc.replay.verification import Verification
from bsc.report.basis import basis_notes
from bsc.units import UNKNOWN, format_ratio, format_si

ACTION_LABELS = {
    "adc_conversion": "ADC conversions",
    "dac_row": "DAC row drives",
    "crossbar_cell": "crossbar reads",
    "sample_hold": "sample and hold",
    "shift_add": "shift and add",
    "input_register_bit": "input register",
    "output_register_word": "output register",
    "edram_bit": "eDRAM buffer",
    "bus_bit": "bus",
}
AREA_LABELS = {
    "adc": "ADC area",
    "dac": "DAC area",
    "crossbar": "crossbar area",
    "sample_hold": "sample-and-hold area",
    "ima_rest": "rest of the IMAs",
    "tile_rest": "rest of the tiles",
}
UNITS = {"_j": "J", "_w": "W", "_m2": "m²", "_s": "s", "_hz": "Hz", "_m": "m"}
Resolutions = Literal["assigned", "observed", "proved"]
RESOLUTION_TITLES = {
    "assigned": "assigned",
    "observed": "that hold what calibration data showed",
    "proved": "proved to be enough",
}
NOT_MODELLED = "off-tile routing, digital operators, idle power, programming of cells"


@dataclass(frozen=True, eq=False, kw_only=True)
class PlanReport:
    """The report that `bsc compile` prints.

    Attributes:
        document: of the plan.
        summaries: of every layer.
        comparison: cost beside the baselines.
    """

    document: PlanDocument
    summaries: Sequence[LayerSummary]
    comparison: Comparison

    def __rich__(self) -> RenderableType:
        return Group(
            _heading(self.document),
            _layer_table(self.summaries),
            _resolution_table(self.summaries),
            _cost_table(self.comparison),
            _layer_cost_table(self.comparison),
            _law_table(self.comparison),
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

    layer: PlanLayer
    arrays: LayerArrays
    index: CrossbarIndex

    def __rich__(self) -> RenderableType:
        levels = crossbar_cells(self.layer, self.arrays, self.index)
        columns = np.array(crossbar_columns(self.layer, self.index.column_tile))
        groups = self.layer.groups_per_tile
        first = self.index.row_tile * groups
        conversion = min(self.index.polarity, self.layer.cells.conversions - 1)
        cells, reads = (
            np.s_[first : first + groups, self.index.slice, place, columns]
            for place in (self.index.polarity, conversion)
        )
        model_columns = columns if self.arrays.kept_columns is None else self.arrays.kept_columns[columns]
        names = ("bitline", "model column", "non-zero cells", "sum of levels", "ADC bits", "ADC step")
        title = "Bitlines" if groups == 1 else f"Bitlines; largest of the {groups} row groups"
        table = new_table(title, names, 0)
        shown = [array[cells] for array in (self.arrays.nonzeros, self.arrays.sums)]
        shown += [array[reads] for array in (self.arrays.adc_bits, self.arrays.adc_step)]
        largest = (array.max(axis=0) for array in shown)
        for bitline, row in enumerate(zip(model_columns, *largest, strict=True)):
            add_row(table, str(bitline), *map(str, row))
        density = np.count_nonzero(levels) / max(1, levels.size)
        head = (
            f"crossbar   {self.layer.name} {self.index} (row tile, column tile, slice, sign)\n"
            f"cells      {levels.shape[0]} rows x {levels.shape[1]} columns in use, {density:.1%} non-zero\n"
        )
        return Group(Text(head), table)


@dataclass(frozen=True, eq=False, kw_only=True)
class VerificationReport:
    """What `bsc verify` prints.

    Attributes:
        plan: the plan that was replayed.
        found: the findings.
        proofs: what was checked of every layer's proofs, or None.
    """

    plan: Plan
    found: Verification
    proofs: Mapping[str, LayerProof] | None = None

    def __rich__(self) -> RenderableType:
        found = self.found
        results = sum(tally.results for tally in found.tallies.values())
        differing = sum(tally.differing for tally in found.tallies.values())
        conversions = sum(tally.conversions for tally in found.tallies.values())
        clipped = sum(tally.clipped for tally in found.tallies.values())
        proved = sum(tally.proved for tally in found.tallies.values())
        skipped = f", {proved} of which are proved lossless and not carried out" if proved else ""
        lines = [
            f"model      {self.plan.document.model.file}",
            f"data       {found.source}, {found.samples} samples",
            f"exact: {'yes' if found.exact else 'no'}",
            f"           {differing} of {results} layer results differ from the quantised integer model",
            f"clipped    {clipped} of {conversions} conversions{skipped}",
        ]
        if found.difference_max is None:
            lines.append(f"float      {UNKNOWN}: needs the model with --model, and outputs that are finite")
        else:
            relative = UNKNOWN if found.difference_rms is None else f"{found.difference_rms:.3g}"
            lines.append(f"float      largest difference {found.difference_max:.3g}, relative RMS {relative}")
        if found.accuracy is not None:
            shares = [("quantised", found.accuracy.quantised), ("replayed", found.accuracy.replayed)]
            if found.accuracy.float_model is not None:
                shares.insert(0, ("float", found.accuracy.float_model))
            lines.append("accuracy   " + ", ".join(f"{name} {share:.2%}" for name, share in shares))
        if found.paired is not None and not found.exact:
            paired = found.paired
            lines.append(
                f"drop       {100 * paired.drop:.2f} points: {paired.lost} samples lost, {paired.gained} gained; "
                f"below {100 * paired.drop_bound:.2f} points with {CONFIDENCE:.0%} confidence"
            )
        if self.proofs is not None:
            lines += self._proofs(self.proofs.values())
        text = Text("\n".join(lines))
        return text if found.layers is None else Group(text, _difference_table(found.layers))

    def _proofs(self, checked: Iterable[LayerProof]) -> Iterator[str]:
        conversions, lossless, vectors, attacked = np.sum([astuple(each) for each in checked], axis=0).tolist()
        pairs = any(layer.subtraction == "analog" for layer in self.plan.layers)
        yield (
            f"proofs     {conversions} {'pairs' if pairs else 'slice columns'} derived again from the cells, all as "
            f"recorded; {lossless} lossless for any input"
        )
        if vectors:
            yield f"attacks    {attacked} conversions under {vectors} inputs made against them, nothing lost"


@dataclass(frozen=True, eq=False, kw_only=True)
class TargetReport:
    """What `bsc hw show` prints.

    Attributes:
        target: the hardware description.
    """

    target: Target

    def __rich__(self) -> RenderableType:
        target = self.target
        sizes = (
            f"{target.crossbar.rows}x{target.crossbar.cols} crossbars of {target.crossbar.bits_per_cell}-bit cells, "
            f"{target.dac.bits}-bit DACs, {target.adc.per_crossbar} ADC of {target.adc.bits} bit each"
        )
        offer = target.adc.granularity
        one = "is fixed" if offer.value == "fixed" else f"can be set for each {offer.value}"
        resolution = f"ADC resolution {one} ({offer.kind}: {offer.source})"
        table = new_table("Numbers", ("key", "value", "kind", "source"), 4)
        table.columns[1].justify = "right"
        for key, quantity in target.sources().items():
            unit = next((unit for suffix, unit in UNITS.items() if key.endswith(suffix)), "")
            add_row(table, key, format_si(quantity.value, unit), quantity.kind, quantity.source)
        return Group(Text(f"{target.name}: {target.description}\n{sizes}\n{resolution}\n{target.citation}\n"), table)


def to_text(report: RenderableType, width: int = 110) -> str:
    """The report without colours, lines stripped on the right."""
    console = Console(width=width, file=io.StringIO(), color_system=None, force_terminal=False, legacy_windows=False)
    with console.capture() as capture:
        console.print(report)
    return "".join(f"{line.rstrip()}\n" for line in capture.get().splitlines())


def _difference_table(layers: Mapping[str, LayerDifference]) -> RenderableType:
    table = new_table("Difference from the float model", ("layer", "largest", "relative RMS"), 1)
    for name, each in layers.items():
        values = (each.largest, each.relative_rms)
        add_row(table, name, *(UNKNOWN if value is None else f"{value:.3g}" for value in values))
    return table


def new_table(title: str, columns: Sequence[str], left: int = 1) -> Table:
    """A table whose first `left` columns are text and the others numbers."""
    table = Table(title=Text(title), title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for position, name in enumerate(columns):
        table.add_column(name, justify="left" if position < left else "right", overflow="fold")
    return table


def add_row(table: Table, *cells: str) -> None:
    """Add cells as they are: names and citation keys may hold brackets, which rich would read as markup."""
    table.add_row(*map(Text, cells))


def _heading(document: PlanDocument) -> Text:
    batch = ", for a batch of one" if document.model.dynamic_batch else ""
    operators = sum((Counter(step.operators) for step in document.steps), Counter[str]())
    digital = ", ".join(f"{name} ×{count}" for name, count in sorted(operators.items()))
    sizes = ", ".join(
        f"{tensor.name} {'x'.join(map(str, tensor.shape)) if tensor.shape is not None else '?'}"
        for tensor in document.inputs
    )
    return Text(
        f"bsc {document.bsc_version}: {document.model.file} on {document.target}\n"
        f"pipeline   {document.pipeline}\n"
        f"input      {sizes}{batch}; {_ranges(document)}\n"
        f"digital    {digital or 'nothing'}\n"
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


def _cost_table(comparison: Comparison) -> Table:
    plan, uniform, offset = comparison.plan, comparison.uniform, comparison.offset
    names = ("one inference", "this plan", "uniform 8 bit", "ratio", "ISAAC offset 8 bit", "ratio")
    table = new_table(f"Cost, ADC law '{comparison.law.name}'", names)

    def row(name: str, values: tuple[float | None, float | None, float | None], unit: str) -> None:
        ours, flat, shifted = values
        add_row(
            table,
            name,
            format_si(ours, unit),
            format_si(flat, unit),
            format_ratio(ratio(flat, ours)),
            format_si(shifted, unit),
            format_ratio(ratio(shifted, ours)),
        )

    costs = (plan, uniform, offset)
    for action in plan.actions:
        values = [cost.action_energy_j(action) for cost in costs]
        row(ACTION_LABELS[action], (values[0], values[1], values[2]), "J")
    table.add_section()
    row("energy", (plan.total_energy_j, uniform.total_energy_j, offset.total_energy_j), "J")
    row("latency", (plan.total_latency_s, uniform.total_latency_s, offset.total_latency_s), "s")
    table.add_section()
    for part in plan.area_m2 or {}:
        areas = [_area(cost, part) for cost in costs]
        row(AREA_LABELS[part], (areas[0], areas[1], areas[2]), "m²")
    row("area", (plan.total_area_m2, uniform.total_area_m2, offset.total_area_m2), "m²")
    counts = ((cost.crossbars, cost.imas, cost.tiles) for cost in costs)
    shown = [f"{crossbars} / {imas} / {tiles}" for crossbars, imas, tiles in counts]
    add_row(table, "crossbars / IMAs / tiles", shown[0], shown[1], "", shown[2], "")
    return table


def _layer_cost_table(comparison: Comparison) -> Table:
    plan, uniform = comparison.plan, comparison.uniform
    table = new_table("Cost by layer", ("layer", "ADC energy", "energy", "uniform 8 bit", "ratio", "latency"))
    for name, actions in plan.energy_j.items():
        ours, flat = plan.layer_energy_j(name), uniform.layer_energy_j(name)
        add_row(
            table,
            name,
            format_si(actions[ADC_ACTION], "J"),
            format_si(ours, "J"),
            format_si(flat, "J"),
            format_ratio(ratio(flat, ours)),
            format_si(plan.latency_s[name], "s"),
        )
    return table


def _area(cost: Cost, part: str) -> float | None:
    return None if cost.area_m2 is None else cost.area_m2[part]


def _law_table(comparison: Comparison) -> Table:
    names = ("ADC law", "energy of N bits", "vouched for", "ADC only", "total")
    table = new_table("Saving over uniform 8 bit under every ADC law", names, 3)
    for each in comparison.spread:
        low, high = each.law.valid_bits
        extrapolated = ", extrapolated here" if each.extrapolated else ""
        add_row(
            table,
            each.law.name,
            each.law.formula,
            f"{low}..{high} bit{extrapolated}",
            format_ratio(each.adc),
            format_ratio(each.total),
        )
    return table


def _notes(document: PlanDocument, summaries: Sequence[LayerSummary], comparison: Comparison) -> Text:
    conversions = sum(summary.conversions for summary in summaries)
    lossless = sum(summary.lossless for summary in summaries)
    by_kind = comparison.energy_by_kind()
    known = sum(by_kind.values())
    basis = ", ".join(f"{kind} {energy / known:.1%}" for kind, energy in sorted(by_kind.items()) if energy)
    policies = ", ".join(_unique(_assignment(summary.layer) for summary in summaries))
    return Text(
        f"ADC assignment    {policies}; {lossless} of {conversions} {_converted(summaries)} are "
        f"proved lossless for any input\n"
        f"{basis_notes(summaries, document.budget)}{_offer(comparison)}"
        f"free ADCs         and no other change would save {format_ratio(comparison.free_adc_bound)} of the total\n"
        f"prices rest on    {basis or UNKNOWN} ({comparison.target.citation})\n"
        f"not modelled      {NOT_MODELLED}{_wider_cells(summaries, comparison.target)}"
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


def _assignment(layer: PlanLayer) -> str:
    """The ADC policy in words; resolutions that are the same for all are not shared over something."""
    alike = layer.adc_policy in ("isaac", "fixed")
    return layer.adc_policy if alike else f"{layer.adc_policy} per {layer.adc_granularity}"


def _slices(layer: PlanLayer) -> str:
    """How weights are cut and held, in words."""
    bits = sorted(set(layer.slice_bits))
    text = f"{layer.slices} slices of {' and '.join(map(str, bits))} bit"
    text += ", flipped where that is smaller" if layer.flip else ""
    return text + (", pairs subtracted before the ADC" if layer.subtraction == "analog" else "")


def _unique(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))
