"""The report of a plan as text, section by section, and that of one of its layers."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from rich.console import Group, RenderableType

from bsc.ir.graph import ImportCheck
from bsc.mapping.layer import MappedLayer
from bsc.plan.document import PlanDocument
from bsc.report.basis import basis_notes, recorded
from bsc.report.cells import cells_section
from bsc.report.chip import chip_section, layer_chip_table
from bsc.report.costs import cost_table, law_table, layer_cost_table
from bsc.report.crossbars import slice_table
from bsc.report.document import BitCounts, LayerTotals, PlanCost, ReportDocument, SlicedTotals, SliceTotals
from bsc.report.energy import action_table, operator_table, unpriced_actions
from bsc.report.network import digital_operators, network_table, operators_text
from bsc.report.places import Places
from bsc.report.table import Table
from bsc.report.text import new_table, plain_text
from bsc.report.timeline import timeline_text
from bsc.report.verdict import verdict_section
from bsc.units import UNKNOWN, format_ratio, format_si

Resolutions = Literal["assigned", "observed", "proved"]

RESOLUTION_TITLES: Final = {
    "assigned": "assigned",
    "observed": "that hold what calibration data showed, as recorded",
    "proved": "proved to be enough",
}


@dataclass(frozen=True, eq=False, kw_only=True)
class PlanReport:
    """What `bsc compile` prints, and with `whole` what `bsc report` does.

    Attributes:
        report: all that is shown.
        whole: steps of the network and crossbars by slice are shown too.
    """

    report: ReportDocument
    whole: bool = False

    def __rich__(self) -> RenderableType:
        sections = [section for section in SECTIONS if self.whole or section not in ONLY_WHOLE]
        return Group(*(section(self.report) for section in sections))


@dataclass(frozen=True, eq=False, kw_only=True)
class LayerReport:
    """One layer in full.

    Attributes:
        layer: its record in the plan.
        totals: its figures.
        places: names of places; None to leave out where it lies.
    """

    layer: MappedLayer
    totals: LayerTotals
    places: Places | None = None

    def __rich__(self) -> RenderableType:
        layer, seen = self.layer, self.totals.observed
        sign = "signed" if layer.input_signed else "unsigned"
        step = "a step for each vector" if layer.input_scale is None else f"step {layer.input_scale:g}"
        step += f", zero is code {layer.input_zero_point}" if layer.input_zero_point else ""
        lines = [
            f"layer      {layer.name} ({layer.op_type})",
            f"weights    {layer.weight_bits} bit + sign, {layer.encoding}, {_slices(layer)}",
            f"inputs     {layer.input_bits} bit {sign}, {step}, {layer.dac_bits}-bit DAC",
            f"mapped     {layer.mapped_rows} of {layer.rows} rows, {layer.mapped_columns} of {layer.columns} columns",
            f"driven     {min(layer.active_rows, layer.mapped_rows)} rows at a time",
            f"ADC        {_assignment(layer)}",
        ]
        if self.places is not None:
            lines.append(f"placed     {self.places.of_layer(layer.placed)}")
        kinds: list[Resolutions] = ["assigned", "proved"]
        if seen is not None:
            what = "pair of slice columns" if layer.cells.analog_pairs else "slice column"
            lines.append(
                f"observed   {seen.conversions} conversions of every {what}: {seen.vectors} input vectors of "
                f"{seen.samples} samples, as recorded"
            )
            kinds.insert(1, "observed")
        tables = [_resolution_table(self.totals, _converted([layer]), kind) for kind in kinds]
        return Group(plain_text(*lines), _layer_table([layer], [self.totals]), *tables)


def _heading(report: ReportDocument) -> RenderableType:
    plan = report.plan
    batch = ", for a batch of one" if plan.free_batch else ""
    sizes = ", ".join(
        f"{tensor.name} {'x'.join(map(str, tensor.shape)) if tensor.shape is not None else '?'}"
        for tensor in plan.inputs
    )
    return plain_text(
        f"bsc {plan.bsc_version}: {plan.model.file} on {plan.target}",
        f"pipeline   {plan.pipeline}",
        f"input      {sizes}{batch}; {_ranges(plan)}",
        f"digital    {operators_text(digital_operators(plan)) or 'nothing'}",
        *_import(plan),
        "",
    )


def _import(plan: PlanDocument) -> list[str]:
    """How the model was read: constants, what the check against its file was, and what else is worth a line."""
    lines = [f"constant   {each.name} = {', '.join(map(str, each.values))}" for each in plan.model.constants]
    if plan.model.check is not None:
        lines.append(f"import     {ImportCheck(**dict(plan.model.check))}")
    return [*lines, *(f"note       {note}" for note in plan.model.notes)]


def _ranges(plan: PlanDocument) -> str:
    """Where the steps of input codes come from."""
    if plan.calibration is not None:
        return f"steps from {plan.calibration.samples} calibration samples"
    given = sum(layer.input_scale is not None for layer in plan.layers)
    if given == len(plan.layers):
        return "steps of the model"
    others = "a step for each input vector, without --calib data"
    return f"steps of the model in {given} layers, else {others}" if given else others


def _layers(report: ReportDocument) -> Table:
    return _layer_table(report.plan.layers, [report.layers[layer.name] for layer in report.plan.layers])


def _layer_table(layers: Sequence[MappedLayer], totals: Sequence[LayerTotals]) -> Table:
    slices = max(len(each.slices) for each in totals)
    densities = f"% non-zero, slice {slices - 1}..0" if slices > 1 else "% non-zero"
    names = ("layer", "operator", "K×N", "vectors", "tiles", "crossbars", "utilised", densities)
    table = new_table("Crossbars", names, 2)
    for layer, each in zip(layers, totals, strict=True):
        groups = f" /{layer.groups}" if layer.groups > 1 else ""
        table.add_row(
            layer.name,
            layer.op_type,
            f"{layer.rows}×{layer.columns}{groups}",
            str(layer.vectors),
            f"{each.row_tiles}×{each.column_tiles}",
            f"{each.crossbars} of {each.possible_crossbars}",
            f"{each.utilisation:.1%}",
            " ".join(f"{100 * part.density:>5.3g}" for part in reversed(each.slices)),
        )
    return table


def _resolutions(report: ReportDocument) -> Table:
    return _resolution_table(report.totals, _converted(report.plan.layers), "assigned")


def _resolution_table(totals: SlicedTotals, converted: str, kind: Resolutions) -> Table:
    """Conversions by resolution, most significant slice first."""
    histograms = [_by_bits(part, kind) for part in totals.slices]
    highest = max((int(bits) for counts, _ in histograms for bits in counts), default=0)
    bits = [str(resolution) for resolution in range(highest + 1)]
    observed = kind == "assigned" and totals.observed_bits is not None
    bases = ("lossless", "observed") if observed else () if kind == "observed" else ("lossless",)
    title = f"{converted.capitalize()} by ADC bits {RESOLUTION_TITLES[kind]}"
    table = new_table(title, ("slice", *bits, "mean", "largest sum", *bases), 1)
    for number, part in reversed(list(enumerate(totals.slices))):
        counts, mean = histograms[number]
        # Every conversion has enough of the bits that are proved to be enough.
        lossless = 1.0 if kind == "proved" and part.conversions else part.proved_share
        shares = (lossless, part.observed_lossless_share)[: len(bases)]
        table.add_row(
            str(number),
            *(str(counts[each]) if each in counts else "." for each in bits),
            UNKNOWN if mean is None else f"{mean:.2f}",
            str(part.largest_sum),
            *(UNKNOWN if share is None else f"{share:.1%}" for share in shares),
        )
    return table


def _by_bits(part: SliceTotals, kind: Resolutions) -> tuple[BitCounts, float | None]:
    """Conversions by resolution, and their mean."""
    return {
        "assigned": (part.assigned_bits, part.mean_adc_bits),
        "observed": (part.observed_bits or {}, part.mean_observed_bits),
        "proved": (part.proved_bits, part.mean_proved_bits),
    }[kind]


def _notes(report: ReportDocument) -> RenderableType:
    layers, totals, cost = report.plan.layers, report.totals, report.cost
    shares = sorted(report.chip.energy_share_by_kind.items())
    basis = ", ".join(f"{kind} {share:.1%}" for kind, share in shares if share)
    basis += " of all but static power" if basis else ""
    unknown = unpriced_actions(report)
    static = [kind for kind, power_w in sorted(report.chip.static_w_by_kind.items()) if power_w]
    basis += f" that is known, without {', '.join(unknown)}" if basis and unknown else ""
    basis += f"; static power on {', '.join(static)}" if static else ""
    policies = ", ".join(_unique(map(_assignment, layers)))
    return plain_text(
        f"ADC assignment    {policies}; {totals.lossless} of {totals.conversions} {_converted(layers)} are "
        f"proved lossless for any input",
        *basis_notes(report),
        *_offer(cost),
        f"free ADCs         and no other change would save {format_ratio(cost.free_adc_bound)} of the total",
        f"prices rest on    {basis or UNKNOWN} ({cost.citation})",
        f"node              {format_si(cost.node_m, 'm')}: prices hold for it, and are scaled to no other",
        f"not modelled      {', '.join(cost.not_modelled)}",
        f"as recorded       {recorded([report.plan])}",
    )


def _converted(layers: Iterable[MappedLayer]) -> str:
    """What the ADCs convert."""
    pairs = any(layer.cells.analog_pairs for layer in layers)
    return "slice columns" if not pairs else "pairs of slice columns"


def _offer(cost: PlanCost) -> list[str]:
    """A line where the hardware cannot do what the plan asks of its converters, else nothing."""
    if not cost.adc_not_offered:
        return []
    layers, flexibility = cost.adc_not_offered, cost.adc_flexibility
    offered = f"{cost.adc_bits} bits alone" if flexibility == "fixed" else f"one for each {flexibility}"
    first = layers[0] if len(layers) == 1 else f"{layers[0]} and {len(layers) - 1} more"
    return [
        f"NOT OFFERED       the resolutions of {first}: ADCs of {cost.target} have {offered}; "
        "energies hold for ADCs that can"
    ]


def _assignment(layer: MappedLayer) -> str:
    """The ADC policy in words; resolutions that are the same for all are not shared over something."""
    alike = layer.adc_policy in ("isaac", "fixed")
    return layer.adc_policy if alike else f"{layer.adc_policy} per {layer.adc_granularity}"


def _slices(layer: MappedLayer) -> str:
    """How weights are cut and held, in words."""
    bits = sorted(set(layer.slice_bits))
    text = f"{layer.slices} slices of {' and '.join(map(str, bits))} bit"
    text += ", flipped where that is smaller" if layer.flip else ""
    return text + (", pairs subtracted before the ADC" if layer.cells.analog_pairs else "")


def _unique(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))


def _network(report: ReportDocument) -> Table:
    return network_table(report.plan)


def _costs(report: ReportDocument) -> Table:
    return cost_table(report.cost)


def _laws(report: ReportDocument) -> Table:
    return law_table(report.cost)


SECTIONS: Final[tuple[Callable[[ReportDocument], RenderableType], ...]] = (
    _heading,
    _network,
    _layers,
    slice_table,
    _resolutions,
    _costs,
    layer_cost_table,
    cells_section,
    chip_section,
    action_table,
    operator_table,
    layer_chip_table,
    timeline_text,
    _laws,
    _notes,
    verdict_section,
)
"""What reports show, in this order."""

ONLY_WHOLE: Final[frozenset[Callable[[ReportDocument], RenderableType]]] = frozenset(
    {_network, slice_table, action_table, operator_table, layer_chip_table, timeline_text}
)
"""Sections of the longer report alone."""
