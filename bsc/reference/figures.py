"""FIGURES.md: every figure of a report, from the records and tables that it is made of.

python -m bsc.reference.figures > FIGURES.md
"""

import typing
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import UnionType
from typing import Any, get_args, get_origin

from pydantic.fields import FieldInfo

import hw_models
from bsc.cost.counters import ALL_COUNTERS, counted
from bsc.hardware.adc_law import AdcLaw
from bsc.reference.markdown import table_row
from bsc.report.document import FigureRecord, ReportDocument
from bsc.report.layer_csv import COLUMNS, ActionColumn, Column

WORDS = {
    "slice column": "the cells of one bitline on one crossbar that are driven together: one weight slice, one sign, "
    "one column of one row group",
    "conversion": "one reading of a slice column, or of a pair of them that is subtracted before its ADC: one for "
    "every input vector and input cycle. Figures that say *in one input cycle of one vector* count each slice column "
    "or pair once. One whose ADC has 0 bits never happens",
    "unit column": "a column of ones that reads the sum of the inputs; offsets and centres are subtracted with it",
    "lossless, proved": "no input whatever makes the conversion clip or round: its sums, bounded by the cells, lie "
    "within the codes of the ADC, and the ADC's step divides all of them",
    "observed": "nothing was lost on the calibration data, and no more is claimed",
    "fixed": "a resolution that was chosen without regard to the cells",
    "uniform 8 bit": "first baseline: the same network, sign-magnitude on pairs of crossbars, all rows driven, nothing "
    "left out, every slice column read with 8 bits",
    "ISAAC offset 8 bit": "second baseline: the same weight codes in the encoding of [isaac16]; one crossbar a slice "
    "and none for a second sign, but one bit more and a unit column; read with 8 bits",
    "RAELLA 7 bit": "third baseline: the same weight codes in pairs around centres [raella23], all rows driven, "
    "nothing left out, subtracted before one conversion at 7 bits, which may clip: not as accurate as the others. "
    "Slices are 4-2-2 where cells hold 4 bits, and else the target's; input slices of several bits with recovery are "
    "not in it",
    "ADC law": "how the energy of a conversion follows its resolution; it scales the target's own price of 8 bits, so "
    "that laws differ in shape alone. The paper's is `saberi`",
    "extrapolated": "a resolution in use lies outside what the source of the ADC law vouches for",
    "level": "the hardware is nested: crossbars, arrays of cells with their converters, are parts of larger units, "
    "those of larger ones, up to the whole. A hardware description names its levels, for ISAAC crossbar, IMA, tile and "
    "chip. Crossbars fill whole units of every level, and areas count these",
    "counter": "what tells how often a hardware action happens in one inference. A hardware description gives actions "
    "a price and names a counter for each",
}


def figures() -> str:
    """The whole page, as Markdown."""
    sections = "".join(_section(record, found) for record, found in _records().items())
    columns = "".join(map(_column, COLUMNS))
    words = "".join(table_row(word, meaning) for word, meaning in WORDS.items())
    counters = "".join(table_row(f"`{name}`", counted(name)) for name in ALL_COUNTERS)
    laws = "".join(_law(law) for law in hw_models.laws().values())
    return f"""# What the figures mean

Written by `python -m bsc.reference.figures` from the records that reports are made of; a test keeps it fresh. Keys in
brackets are listed in [hw_models/SOURCES.md](hw_models/SOURCES.md). A figure that is not known is null in JSON, an
empty cell in CSV and n/a in text, never 0.

## Words

| word | what it means |
| --- | --- |
{words}
## Counters

| counter | what it counts, in one inference |
| --- | --- |
{counters}
## ADC laws

| law | energy of N bits | kind | valid range | source |
| --- | --- | --- | --- | --- |
{laws}
## The report document

`bsc report PLAN --json` prints it and `bsc compile` writes it, as report.json, into the plan folder. Its JSON Schema is
[bsc/report/report.schema.json](bsc/report/report.schema.json). In paths `*` is any key or position. `plan` is
plan.json, whole, described in [bsc/plan/plan.schema.json](bsc/plan/plan.schema.json): what was chosen, and no figures.
{sections}
## Columns of the CSV file

`bsc report PLAN --csv FILE` writes one row a layer in the order of the plan, as RFC 4180 has it but with lines that end
in a newline alone. Names are written as they are: a spreadsheet may take one that starts with = + - or @ for a formula.
*i* is the number of a slice, 0 the least significant; a layer with fewer slices has empty cells there. *action* is the
name of one in `cost.hardware.actions`.

| column | unit | what it includes | source |
| --- | --- | --- | --- |
{columns}"""


def figure_fields(record: type[FigureRecord], path: str = "") -> Iterator[tuple[str, type[FigureRecord], FieldInfo]]:
    """Every field of a record of figures and of those within it, down to what is not such a record.

    Yields:
        Path with `*` for keys and positions, the record that has the field, and the field.
    """
    for name, info in record.model_fields.items():
        inner = _figures_within(info.annotation)
        if inner is None:
            yield f"{path}{name}", record, info
        else:
            yield from figure_fields(inner[0], f"{path}{name}{inner[1]}.")


def is_numeric(annotation: Any) -> bool:
    """Whether values of a type hold numbers, truth values left out."""
    if isinstance(annotation, type) and get_origin(annotation) is None:
        return issubclass(annotation, int | float) and not issubclass(annotation, bool)
    return get_origin(annotation) is not typing.Literal and any(map(is_numeric, get_args(annotation)))


def _figures_within(annotation: Any) -> tuple[type[FigureRecord], str] | None:
    """The record of figures that a field holds, maybe one of many, and how its path goes on."""
    if isinstance(annotation, type) and get_origin(annotation) is None:
        return (annotation, "") if issubclass(annotation, FigureRecord) else None
    many = "" if isinstance(annotation, UnionType) else ".*"
    found = [inner for inner in map(_figures_within, get_args(annotation)) if inner is not None]
    return (found[0][0], many + found[0][1]) if found else None


@dataclass
class _Found:
    """The fields that a record has besides those it inherits, and the paths of such records."""

    fields: dict[str, FieldInfo] = field(default_factory=dict)
    places: dict[str, None] = field(default_factory=dict)


def _records() -> dict[type[FigureRecord], _Found]:
    """Every record of the report, in the order in which they are met."""
    found: dict[type[FigureRecord], _Found] = {}
    for path, record, info in figure_fields(ReportDocument):
        place, _, name = path.rpartition(".")
        owner = next(base for base in reversed(record.__mro__) if name in vars(base).get("__annotations__", {}))
        entry = found.setdefault(owner, _Found())
        entry.fields[name] = info
        entry.places[place] = None
    return found


def _section(record: type[FigureRecord], found: _Found) -> str:
    rows = ""
    for name, info in found.fields.items():
        extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
        rows += table_row(f"`{name}`", str(extra.get("unit", "")), info.description or "", str(extra.get("source", "")))
    title = (record.__doc__ or "").splitlines()[0].rstrip(".")
    places = ", ".join(f"`{place}`" for place in found.places if place)
    text = f"\n### {title}\n\n" + (f"At {places}.\n\n" if places else "")
    return f"{text}| field | unit | what it includes | source |\n| --- | --- | --- | --- |\n{rows}"


def _column(column: Column) -> str:
    stands_for = "*action*" if isinstance(column, ActionColumn) else "*i*"
    name = stands_for.join(f"`{part}`" if part else "" for part in column.name.split("{}"))
    return table_row(name, column.unit, column.includes, column.source)


def _law(law: AdcLaw) -> str:
    low, high = law.valid_bits
    return table_row(law.name, law.formula, law.kind, f"{low} to {high} bit", law.source)


if __name__ == "__main__":
    print(figures(), end="")
