"""The layers of a report as CSV, one row a layer in the order of the plan.

RFC 4180 but for lines, which end in a newline alone. Unknown figures are empty cells. Names are written as they are: a
spreadsheet may take one that starts with = + - or @ for a formula.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from bsc.cost.counters import CONVERSIONS
from bsc.report.csv_line import Cell, csv_line
from bsc.report.document import COUNTS, PLAN, PRICES, PROOF, ReportDocument, SliceFigures
from bsc.report.layer_rows import LayerRow, largest_bits, layer_rows, mean_bits


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column.

    Attributes:
        name: in the header; of a column of slices its beginning, which the slice's number follows.
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
class SliceColumn(Column):
    """Columns with one value for each slice, least significant first; empty where a layer has fewer slices."""

    value: Callable[[SliceFigures], Cell]


def _layer(name: str, unit: str, includes: str, source: str, value: Callable[[LayerRow], Cell]) -> LayerColumn:
    return LayerColumn(name=name, unit=unit, includes=includes, source=source, value=value)


def _slice(name: str, unit: str, includes: str, source: str, value: Callable[[SliceFigures], Cell]) -> SliceColumn:
    return SliceColumn(name=name, unit=unit, includes=includes, source=source, value=value)


ACTION_COLUMNS = Column(
    name="action_energy_j",
    unit="J",
    includes="one column for each other action of the target, its name in place of `action`",
    source=PRICES,
)
"""Stands for the columns that a report's own target decides."""

MEAN = "mean over all columns or pairs, 0 for those that are never converted"

LAYER_COLUMNS = (
    _layer("layer", "", "name of the layer, as it is", PLAN, lambda row: row.layer.name),
    _layer("operator", "", "ONNX type of the layer", PLAN, lambda row: row.layer.op_type),
    _layer("rows", "rows", "K of one group's weight matrix", PLAN, lambda row: row.layer.rows),
    _layer("columns", "columns", "N of all groups together", PLAN, lambda row: row.layer.columns),
    _layer("groups", "groups", "groups of a convolution", PLAN, lambda row: row.layer.groups),
    _layer("vectors", "vectors", "input vectors of one inference", PLAN, lambda row: row.layer.vectors),
    _layer("row_tiles", "crossbars", "crossbars that its rows fill", PLAN, lambda row: row.figures.row_tiles),
    _layer("column_tiles", "crossbars", "crossbars that its columns fill", PLAN, lambda row: row.figures.column_tiles),
    _layer("crossbars", "crossbars", "of all slices and signs", PLAN, lambda row: row.figures.crossbars),
    _layer(
        "possible_crossbars", "crossbars", "if none were left out", PLAN, lambda row: row.figures.possible_crossbars
    ),
    _layer(
        "unread_crossbars",
        "crossbars",
        "hold weights but are not worth driving",
        PLAN,
        lambda row: row.figures.unread_crossbars,
    ),
    _layer(
        "utilisation",
        "1",
        "cells that hold a slice of a weight over all cells",
        PLAN,
        lambda row: row.figures.utilisation,
    ),
    _layer(
        "conversions", "conversions", "of one inference, unit columns included", COUNTS, lambda row: row.conversions
    ),
    _layer("mean_adc_bits", "bit", MEAN, PLAN, lambda row: row.mean_bits),
    _layer("largest_adc_bits", "bit", "largest assigned", PLAN, lambda row: row.largest_bits),
    _layer(
        "proved_share",
        "1",
        "of all columns, or pairs, proved lossless",
        PROOF,
        lambda row: row.proved_share,
    ),
    _layer("energy_j", "J", "of one inference, all actions", PRICES, lambda row: row.spend.energy_j),
    _layer("adc_energy_j", "J", "its conversions alone", PRICES, lambda row: row.adc_energy_j),
    ACTION_COLUMNS,
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
)

SLICE_COLUMNS = (
    _slice("density_slice_", "1", "cells above 0 over the weights of the layer", PLAN, lambda part: part.density),
    _slice("largest_sum_slice_", "cells", "largest sum that any input can cause", PROOF, lambda part: part.largest_sum),
    _slice("mean_adc_bits_slice_", "bit", MEAN, PLAN, lambda part: mean_bits([part])),
    _slice("largest_adc_bits_slice_", "bit", "largest assigned", PLAN, lambda part: largest_bits([part])),
)


def layer_csv(report: ReportDocument) -> str:
    """One row a layer; there are as many columns of slices as the layer with most has."""
    count = max((len(layer.slices) for layer in report.layers.values()), default=0)
    columns = list(_layer_columns(report))
    names: list[Cell] = [column.name for column in columns]
    names += [f"{column.name}{index}" for column in SLICE_COLUMNS for index in range(count)]
    lines = [csv_line(names)]
    for row in layer_rows(report):
        parts = [*row.figures.slices, *[None] * (count - len(row.figures.slices))]
        cells: list[Cell] = [column.value(row) for column in columns]
        cells += [None if part is None else column.value(part) for column in SLICE_COLUMNS for part in parts]
        lines.append(csv_line(cells))
    return "".join(lines)


def _layer_columns(report: ReportDocument) -> Iterator[LayerColumn]:
    """The columns of a report, with one for each action of its target that is no conversion."""
    for column in LAYER_COLUMNS:
        if isinstance(column, LayerColumn):
            yield column
        else:
            for action in report.cost.actions:
                if action.counter != CONVERSIONS:
                    value = partial(_action, action=action.name)
                    yield _layer(f"{action.name}_energy_j", "J", action.label, PRICES, value)


def _action(row: LayerRow, action: str) -> float | None:
    return row.spend.energy_by_action_j.get(action)
