"""The layers of a report as CSV, one row a layer in the order of the plan.

RFC 4180 but for lines, which end in a newline alone. Unknown figures are empty cells.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from bsc.report.csv_line import Cell, csv_table
from bsc.report.document import COUNTS, PLAN, PRICES, PROOF, ReportDocument, SliceTotals
from bsc.report.layer_rows import LayerRow, layer_rows


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column, or several of one kind.

    Attributes:
        name: in the header; `{}` stands for the name of an action or the number of a slice.
        unit: SI, or what is counted; empty for text.
        includes: what it is.
        source: what it is taken or computed from.
    """

    name: str
    unit: str
    includes: str
    source: str


@dataclass(frozen=True, kw_only=True)
class LayerColumn(Column):
    """A column with one value a layer."""

    value: Callable[[LayerRow], Cell]


@dataclass(frozen=True, kw_only=True)
class ActionColumn(Column):
    """Columns with one value for each hardware action that is no conversion."""

    value: Callable[[str, LayerRow], Cell]


@dataclass(frozen=True, kw_only=True)
class SliceColumn(Column):
    """Columns with one value for each slice, least significant first; empty where a layer has fewer slices."""

    value: Callable[[SliceTotals], Cell]


def _layer(name: str, unit: str, includes: str, source: str, value: Callable[[LayerRow], Cell]) -> LayerColumn:
    return LayerColumn(name=name, unit=unit, includes=includes, source=source, value=value)


def _slice(name: str, unit: str, includes: str, source: str, value: Callable[[SliceTotals], Cell]) -> SliceColumn:
    return SliceColumn(name=name, unit=unit, includes=includes, source=source, value=value)


MEAN = "mean over all columns or pairs, 0 for those that are never converted"

COLUMNS: tuple[LayerColumn | ActionColumn | SliceColumn, ...] = (
    _layer(
        "layer",
        "",
        "name of the layer, invisible characters as \\x1b; a quote before one that could be a formula",
        PLAN,
        lambda row: row.layer.name,
    ),
    _layer("operator", "", "ONNX type of the layer", PLAN, lambda row: row.layer.op_type),
    _layer("rows", "rows", "K of one group's weight matrix", PLAN, lambda row: row.layer.rows),
    _layer("columns", "columns", "N of all groups together", PLAN, lambda row: row.layer.columns),
    _layer("groups", "groups", "groups of a convolution", PLAN, lambda row: row.layer.groups),
    _layer("vectors", "vectors", "input vectors of one inference", PLAN, lambda row: row.layer.vectors),
    _layer("row_tiles", "crossbars", "crossbars that its rows fill", PLAN, lambda row: row.totals.row_tiles),
    _layer("column_tiles", "crossbars", "crossbars that its columns fill", PLAN, lambda row: row.totals.column_tiles),
    _layer("crossbars", "crossbars", "of all slices and signs", PLAN, lambda row: row.totals.crossbars),
    _layer("possible_crossbars", "crossbars", "if none were left out", PLAN, lambda row: row.totals.possible_crossbars),
    _layer(
        "unread_crossbars",
        "crossbars",
        "hold weights but are not worth driving",
        PLAN,
        lambda row: row.totals.unread_crossbars,
    ),
    _layer(
        "utilisation",
        "1",
        "cells that hold a slice of a weight over all cells",
        PLAN,
        lambda row: row.totals.utilisation,
    ),
    _layer(
        "conversions",
        "conversions",
        "of one inference, unit columns included",
        COUNTS,
        lambda row: row.spend.conversions,
    ),
    _layer("mean_adc_bits", "bit", MEAN, PLAN, lambda row: row.totals.mean_adc_bits),
    _layer("largest_adc_bits", "bit", "largest assigned", PLAN, lambda row: row.totals.largest_adc_bits),
    _layer(
        "proved_share", "1", "of all columns, or pairs, proved lossless", PROOF, lambda row: row.totals.proved_share
    ),
    _layer("energy_j", "J", "of one inference, all actions", PRICES, lambda row: row.spend.energy_j),
    _layer("adc_energy_j", "J", "ADC conversions alone", PRICES, lambda row: row.spend.adc_energy_j),
    ActionColumn(
        name="{}_energy_j",
        unit="J",
        includes="one action alone; conversions are above",
        source=PRICES,
        value=lambda action, row: row.spend.energy_by_action_j.get(action),
    ),
    _layer("latency_s", "s", "its input vectors one after another", PRICES, lambda row: row.spend.latency_s),
    _layer("area_m2", "m²", "its crossbars, and its part of what they share", PRICES, lambda row: row.spend.area_m2),
    _layer("uniform_8_bit_energy_j", "J", "of the uniform 8-bit baseline", PRICES, lambda row: row.uniform.energy_j),
    _layer(
        "uniform_8_bit_adc_energy_j",
        "J",
        "its ADC conversions alone",
        PRICES,
        lambda row: row.uniform.adc_energy_j,
    ),
    _layer(
        "isaac_offset_8_bit_energy_j",
        "J",
        "of the same weights in ISAAC's offset encoding",
        PRICES,
        lambda row: row.offset.energy_j,
    ),
    _layer(
        "isaac_offset_8_bit_adc_energy_j",
        "J",
        "its ADC conversions alone",
        PRICES,
        lambda row: row.offset.adc_energy_j,
    ),
    _slice("density_slice_{}", "1", "cells above 0 over the weights of the layer", PLAN, lambda part: part.density),
    _slice(
        "largest_sum_slice_{}", "cells", "largest sum that any input can cause", PROOF, lambda part: part.largest_sum
    ),
    _slice("mean_adc_bits_slice_{}", "bit", MEAN, PLAN, lambda part: part.mean_adc_bits),
    _slice("largest_adc_bits_slice_{}", "bit", "largest assigned", PLAN, lambda part: part.largest_adc_bits),
)


@dataclass(frozen=True, eq=False, kw_only=True)
class ReportedColumn:
    """A column of one report.

    Attributes:
        name: in the header.
        unit: SI, or what is counted; empty for text.
        cells: one a layer, in the order of the plan.
    """

    name: str
    unit: str
    cells: list[Cell]


def layer_columns(report: ReportDocument) -> list[ReportedColumn]:
    """All columns, those of slices as often as the layer with most slices has them."""
    rows = layer_rows(report)
    actions = [action.name for action in report.cost.actions if not action.converts]
    return [
        ReportedColumn(name=name, unit=column.unit, cells=[value(row) for row in rows])
        for column in COLUMNS
        for name, value in _written_out(column, actions, len(report.totals.slices))
    ]


def layer_csv(report: ReportDocument) -> str:
    """One row a layer."""
    return csv_table({column.name: column.cells for column in layer_columns(report)})


def _written_out(
    column: LayerColumn | ActionColumn | SliceColumn, actions: list[str], slices: int
) -> list[tuple[str, Callable[[LayerRow], Cell]]]:
    """The columns that a report has of one kind: header and value of each."""
    match column:
        case LayerColumn():
            return [(column.name, column.value)]
        case ActionColumn():
            return [(column.name.format(name), partial(column.value, name)) for name in actions]
        case SliceColumn():
            return [(column.name.format(number), partial(_of_slice, column, number)) for number in range(slices)]


def _of_slice(column: SliceColumn, number: int, row: LayerRow) -> Cell:
    slices = row.totals.slices
    return column.value(slices[number]) if number < len(slices) else None
