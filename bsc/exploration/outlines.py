"""Outlines of mappings as text, which a results file keeps beside their counts.

Numbers of crossbars and rows mostly rise evenly, or stay: a table of them is written as its first number, and then by
how much it rises and how often, again and again: 0 1 2 3 3 3 is [0, 1, 3, 0, 2].
"""

import math
from collections.abc import Iterable, Sequence
from typing import Annotated, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, NonNegativeInt, ValidationError

from bsc.chip.dataflow import MAX_ROWS, MAX_VALUES, PORT, Dataflow, Move, Read, Use
from bsc.chip.outline import Outline
from bsc.chip.work import OperatorWork, Work
from bsc.cost.counts import LayerCounts
from bsc.cost.layouts import CopyLayout
from bsc.mapping.layer import MAX_PRODUCTS, MappedLayer
from bsc.mapping.model import MappingRecord
from bsc.numeric.im2col import output_sizes
from bsc.toml_record import Record, first_mistake

MOST_NUMBERS: Final = 1 << 26
"""Of all tables of an outline together: what a text of some bytes can say must not fill the memory."""

Number = Annotated[int, Field(ge=-MAX_PRODUCTS, le=MAX_PRODUCTS)]
Runs = tuple[Number, ...]
Values = Annotated[int, Field(ge=0, le=MAX_PRODUCTS)]
Place = Annotated[int, Field(ge=PORT)]
Rows = Annotated[int, Field(ge=1, le=MAX_ROWS)]


class _Read(Record):
    source: NonNegativeInt
    first: Runs
    last: Runs


class _Use(Record):
    layer: str
    vectors: Annotated[int, Field(ge=1, le=MAX_PRODUCTS)]
    rows: Rows
    row_values: Values
    reads: tuple[_Read, ...]
    window_rows: Values
    input_row_values: Values
    input_shape: tuple[Rows, ...] | None
    home: Place
    tensor: str


class _Move(Record):
    values: Values | None
    source: Place
    target: Place
    tensor: str


class _Work(Record):
    products: NonNegativeInt
    additions: NonNegativeInt
    comparisons: NonNegativeInt
    interpolations: NonNegativeInt


class _OperatorWork(Record):
    op_type: str
    work: _Work | None
    reason: str


class _Factor(Record):
    use: NonNegativeInt
    values: Values


class _Layout(Record):
    block: Runs
    column_tile: Runs
    block_rows: Runs
    block_lines: tuple[Runs, ...]
    widths: Runs


class _Outline(Record):
    mapping: MappingRecord
    uses: tuple[_Use, ...]
    outputs: tuple[NonNegativeInt, ...]
    moves: tuple[_Move, ...]
    work: tuple[_OperatorWork, ...]
    results: tuple[tuple[_Read, ...], ...]
    factors: tuple[_Factor, ...]
    layouts: tuple[_Layout, ...]


def outline_to_json(outline: Outline) -> str:
    """An outline as text."""
    flow = outline.dataflow
    assert outline.layouts is not None  # of a mapping, no baseline
    record = _Outline(
        mapping=outline.record,
        uses=tuple(
            _Use(
                layer=use.layer,
                vectors=use.vectors,
                rows=use.rows,
                row_values=use.row_values,
                reads=_read_records(use.reads),
                window_rows=use.window_rows,
                input_row_values=use.input_row_values,
                input_shape=use.input_shape,
                home=use.home,
                tensor=use.tensor,
            )
            for use in flow.uses
        ),
        outputs=flow.outputs,
        moves=tuple(_Move(**{name: getattr(move, name) for name in _Move.model_fields}) for move in flow.moves),
        work=tuple(
            _OperatorWork(
                op_type=each.op_type,
                work=None if each.work is None else _Work(**{name: getattr(each.work, name) for name in _WORK}),
                reason=each.reason,
            )
            for each in flow.work
        ),
        results=tuple(map(_read_records, flow.results)),
        factors=tuple(_Factor(use=use, values=values) for use, values in flow.factors.items()),
        layouts=tuple(
            _Layout(
                block=_runs(layout.block),
                column_tile=_runs(layout.column_tile),
                block_rows=_runs(layout.block_rows),
                block_lines=tuple(map(_runs, layout.block_lines)),
                widths=_runs(layout.widths),
            )
            for layout in outline.layouts
        ),
    )
    return record.model_dump_json()


def outline_from_json(text: str, counts: Sequence[LayerCounts]) -> Outline:
    """The outline that a text holds.

    Args:
        text: as `outline_to_json` writes it.
        counts: of the same mapping.

    Raises:
        ValueError: for a text that holds none, or that of another mapping.
    """
    try:
        record = _Outline.model_validate_json(text)
    except ValidationError as error:
        raise ValueError(f"an outline that cannot be read: {first_mistake(error)}") from None
    layers = {layer.name: layer for layer in record.mapping.layers}
    _require([each.name for each in counts] == list(layers), "of other layers than the counts")
    _require(len(record.layouts) == len(layers), "of other layers than its layouts")
    tables = _Tables()
    layouts = tuple(
        _layout(tables, each, layer, int(counted.crossbars.sum()))
        for each, layer, counted in zip(record.layouts, layers.values(), counts, strict=True)
    )
    return Outline(record=record.mapping, dataflow=_dataflow(tables, record, layers), layouts=layouts)


_WORK: Final = tuple(_Work.model_fields)


class _Tables:
    """Tables of numbers, as many as there is room for."""

    def __init__(self) -> None:
        self._left = MOST_NUMBERS

    def read(self, runs: Runs, low: int, high: int) -> NDArray[np.int64]:
        """The table that is written so, every number of it within two bounds."""
        if not runs:
            return np.zeros(0, np.int64)
        first, steps, times = runs[0], runs[1::2], runs[2::2]
        _require(len(steps) == len(times) and min(times, default=1) >= 1, "with a table that ends too early")
        self._left -= 1 + sum(times)
        _require(self._left >= 0, f"with tables of more than {MOST_NUMBERS} numbers")
        reached = [first]  # at the ends of all runs, in whole numbers of any size
        for step, often in zip(steps, times, strict=True):
            reached.append(reached[-1] + step * often)
        _require(low <= min(reached) and max(reached) <= high, f"with a table beyond {low} to {high}")
        rises = np.repeat(np.array(steps, np.int64), np.array(times, np.int64))
        return np.cumsum(np.concatenate([np.array([first], np.int64), rises]))


def _runs(table: NDArray[np.int64]) -> Runs:
    """A table as its first number, and steps with how often each is taken."""
    if not len(table):
        return ()
    rises = np.diff(table)
    starts = np.flatnonzero(np.diff(rises, prepend=rises[:1] - 1)) if len(rises) else np.zeros(0, np.int64)
    times = np.diff(starts, append=len(rises))
    pairs = np.stack([rises[starts], times], axis=1).ravel() if len(starts) else starts
    return (int(table[0]), *pairs.tolist())


def _read_records(reads: Iterable[Read]) -> tuple[_Read, ...]:
    return tuple(_Read(source=read.source, first=_runs(read.first), last=_runs(read.last)) for read in reads)


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise ValueError(f"an outline {what}")


def _layout(tables: _Tables, found: _Layout, layer: MappedLayer, crossbars: int) -> CopyLayout:
    """The layout of a layer that has so many crossbars."""
    lines = min(layer.rows * layer.groups, MOST_NUMBERS)
    block_rows = tables.read(found.block_rows, 0, layer.rows * layer.groups)
    widths = tables.read(found.widths, 1, layer.columns)
    layout = CopyLayout(
        block=tables.read(found.block, 0, len(block_rows) - 1),
        column_tile=tables.read(found.column_tile, 0, len(widths) - 1),
        block_rows=block_rows,
        block_lines=tuple(tables.read(each, 0, lines) for each in found.block_lines),
        widths=widths,
    )
    _require(len(layout.block) == len(layout.column_tile) == crossbars, "of other crossbars than the counts")
    _require(len(layout.block_lines) == len(block_rows), "with blocks without lines")
    return layout


def _dataflow(tables: _Tables, found: _Outline, layers: dict[str, MappedLayer]) -> Dataflow:
    rows = [use.rows for use in found.uses]

    def reads(records: Sequence[_Read], before: int, length: int | None) -> tuple[Read, ...]:
        """What some rows need of earlier uses; where nobody says how many rows, all tables are of one length."""
        _require(all(each.source < before for each in records), "with a use that waits for a later one")
        read = tuple(
            Read(
                source=each.source,
                first=tables.read(each.first, 0, rows[each.source]),
                last=tables.read(each.last, 0, rows[each.source]),
            )
            for each in records
        )
        lengths = {len(table) for each in read for table in (each.first, each.last)}
        _require(lengths <= ({length} if length is not None else lengths) and len(lengths) <= 1, "with missing rows")
        return read

    uses = []
    for number, use in enumerate(found.uses):
        _require(use.layer in layers, f"with a use of '{use.layer}', which is no layer")
        _require(use.home < number and use.vectors % use.rows == 0, "with a use that cannot be")
        _require(_fits(layers[use.layer], use.input_shape), f"with an input that does not fit '{use.layer}'")
        uses.append(Use(**dict(use) | {"reads": reads(use.reads, number, use.rows)}))
    for move in found.moves:
        _require(max(move.source, move.target) < len(uses) and move.source != move.target, "with a move to nowhere")
    _require(max(found.outputs, default=0) < max(len(uses), 1), "with an output of no use")
    _require(all(each.use < len(uses) for each in found.factors), "with a factor of no use")
    return Dataflow(
        uses=tuple(uses),
        outputs=found.outputs,
        moves=tuple(Move(**dict(move)) for move in found.moves),
        work=tuple(
            OperatorWork(
                op_type=each.op_type, work=None if each.work is None else Work(**dict(each.work)), reason=each.reason
            )
            for each in found.work
        ),
        results=tuple(reads(each, len(uses), None) for each in found.results),
        factors={each.use: each.values for each in found.factors},
    )


def _fits(layer: MappedLayer, shape: tuple[int, ...] | None) -> bool:
    """Whether a tensor can be the input of a layer; one of unknown shape can."""
    if shape is None:
        return True
    if math.prod(shape) > MAX_VALUES:
        return False
    if layer.conv is None:
        return len(shape) > 0
    if len(shape) != len(layer.conv.kernel) + 2:
        return False
    return min(output_sizes(layer.conv.geometry(), shape[2:])) > 0
