"""What a hardware description must say: the sizes and prices of one design, each with its source.

A description is a TOML file in SI units, the unit being the suffix of the key; hw_models/isaac.toml is a
complete one. Citation keys in brackets, here and in the files, are in hw_models/SOURCES.md.
"""

from collections.abc import Mapping
from typing import Annotated, Literal, Self, get_args

from pydantic import Field, PositiveInt, model_validator

from bsc.errors import UsageError
from bsc.hardware.adc_law import MAX_ADC_BITS
from bsc.record import Kind, Record, Text, leaves, read_record

Scope = Literal["ima", "imas", "tile_peripherals", "tile", "tiles", "chip"]
"""A part of the chip that a publication gives a sub-total for; `imas` are those of a tile, `tiles` those of a chip."""

Granularity = Literal["column", "tile", "slice", "fixed"]
"""What can have an ADC resolution of its own, finest first: a slice column, a crossbar, a slice of a layer, nothing."""

Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Tolerance = Annotated[float, Field(gt=0, lt=1)]


class Quantity(Record):
    """A number with its origin.

    Attributes:
        value: in the SI unit that the suffix of its key names, finite and not negative.
        kind: how far it can be trusted.
        source: citation key, then table and row or the arithmetic.
        note: what a reader should know before using it.
    """

    value: Amount
    kind: Kind
    source: Text
    note: Text | None = None


class Crossbar(Record):
    """Size of one array: rows take inputs, columns give sums."""

    rows: PositiveInt
    cols: PositiveInt
    bits_per_cell: PositiveInt
    source: Text


class Dac(Record):
    """Row drivers; `bits` is what one row takes in one input cycle."""

    bits: PositiveInt
    source: Text


class Offer(Record):
    """What the converters can do, with its origin as in `Quantity`.

    Attributes:
        value: `column`, the resolution changes from one conversion to the next, as in a SAR that stops early; `tile`,
            it is set once for each crossbar; `slice`, once for each slice of a layer; `fixed`, it is always `Adc.bits`.
        kind: how far it can be trusted.
        source: citation key and where it is said.
        note: what a reader should know before using it.
    """

    value: Granularity
    kind: Kind
    source: Text
    note: Text | None = None


class Adc(Record):
    """Converters.

    Attributes:
        per_crossbar: how many share the columns of one array.
        bits: the resolution that the prices hold for.
        law: how prices follow other resolutions, by default.
        rate_hz: conversions a second of one converter.
        bit_s: time of one bit decision; a conversion then takes its resolution times that in place of 1 / `rate_hz`.
        granularity: what can have a resolution of its own.
        source: citation key and where it is said.
    """

    per_crossbar: PositiveInt
    bits: Annotated[int, Field(ge=1, le=MAX_ADC_BITS)]
    law: Text
    rate_hz: Quantity
    bit_s: Quantity | None = None
    granularity: Offer = Offer(value="column", kind="assumed", source="the description does not say")
    source: Text

    def offers(self, granularity: Granularity) -> bool:
        """Whether each `granularity` can have a resolution of its own; a coarser one always can where a finer can."""
        finest_first: tuple[Granularity, ...] = get_args(Granularity)
        return finest_first.index(self.granularity.value) <= finest_first.index(granularity)

    @model_validator(mode="after")
    def _converts(self) -> Self:
        if self.rate_hz.value == 0:
            raise ValueError("rate_hz must be above 0")
        return self


class Timing(Record):
    """Durations; `read_s` is one input cycle of an array, conversions of all its columns included."""

    read_s: Quantity


class Hierarchy(Record):
    """How many parts make the next larger one."""

    crossbars_per_ima: PositiveInt
    imas_per_tile: PositiveInt
    tiles_per_chip: PositiveInt
    source: Text


class Component(Record):
    """One row of a published component table.

    Attributes:
        count: how many the row covers; its power and area are those of all of them.
        shared_by: owners (IMAs, tiles or chips) that the row is divided over.
        spec: the row's description.
        power_w: power of the row at full activity.
        area_m2: area of the row.
    """

    count: PositiveInt
    shared_by: PositiveInt = 1
    spec: Text
    power_w: Quantity
    area_m2: Quantity


class Components(Record):
    """Component tables by level; a row belongs to one IMA, one tile or the chip."""

    ima: Mapping[str, Component] = {}
    tile: Mapping[str, Component] = {}
    chip: Mapping[str, Component] = {}


class Published(Record):
    """A sub-total the publication prints, for `bsc.hardware.check` to re-add."""

    name: Text
    scope: Scope
    power_w: Amount
    area_m2: Amount
    tolerance: Tolerance
    source: Text


class FullRate(Record):
    """The activity at which an action spends all of a component's published power.

    Attributes:
        component: level and name, such as `ima.adc`.
        per_s: actions a second of one owner (IMA, tile or chip).
        source: the arithmetic.
    """

    component: Text
    per_s: Amount
    source: Text


class Action(Record):
    """The price of one action; `per` says in words what one action is."""

    energy_j: Quantity
    per: Text
    at_full_rate: FullRate | None = None


class Actions(Record):
    """Every action the cost model charges; one that is left out has an unknown price.

    Attributes:
        adc_conversion: one conversion at `adc.bits`.
        dac_row: one row driven for one input cycle.
        crossbar_cell: one cell of an activated array for one read.
        sample_hold: one column sampled.
        shift_add: one partial result accumulated.
        input_register_bit: one bit read by a row driver.
        output_register_word: one partial result stored.
        edram_bit: one bit read from or written to the tile buffer.
        bus_bit: one bit carried between tile buffer and IMA.
    """

    adc_conversion: Action | None = None
    dac_row: Action | None = None
    crossbar_cell: Action | None = None
    sample_hold: Action | None = None
    shift_add: Action | None = None
    input_register_bit: Action | None = None
    output_register_word: Action | None = None
    edram_bit: Action | None = None
    bus_bit: Action | None = None

    def priced(self) -> dict[str, Action]:
        """The actions that have a price, by name, in the order of the fields."""
        return {name: action for name, action in self if action is not None}


class Area(Record):
    """Areas that follow the number and size of the arrays, and those that do not.

    Attributes:
        adc_m2: one converter at `adc.bits`.
        dac_row_m2: the driver of one row.
        crossbar_cell_m2: one cell.
        sample_hold_column_m2: the sample-and-hold of one column.
        ima_fixed_m2: the rest of an IMA.
        tile_fixed_m2: what a tile has besides its IMAs.
    """

    adc_m2: Quantity
    dac_row_m2: Quantity
    crossbar_cell_m2: Quantity
    sample_hold_column_m2: Quantity
    ima_fixed_m2: Quantity
    tile_fixed_m2: Quantity


class Target(Record):
    """One hardware design; `area` is None where areas are unknown."""

    name: Text
    description: Text
    citation: Text
    node_m: Quantity
    crossbar: Crossbar
    dac: Dac
    adc: Adc
    timing: Timing
    hierarchy: Hierarchy
    action: Actions
    area: Area | None = None
    component: Components = Components()
    published: Annotated[tuple[Published, ...], Field(strict=False)] = ()

    @classmethod
    def from_toml(cls, text: str, where: str) -> Self:
        """Read a description.

        Args:
            text: the TOML text.
            where: file name for messages.

        Raises:
            UsageError: BSC206, for the first thing that is wrong with the text.
        """
        target = read_record(cls, text, where=where, code="BSC206")
        for name, action in target.action.priced().items():
            full_rate = action.at_full_rate
            if full_rate is not None and full_rate.component not in target.components():
                raise UsageError(
                    "BSC206",
                    f"{where}: key 'action.{name}.at_full_rate.component' names no component",
                    seen=repr(full_rate.component),
                    fix=f"add the table [component.{full_rate.component}] or name one that is there",
                )
        return target

    def components(self) -> dict[str, Component]:
        """Every component row by level and name, such as `ima.adc`."""
        return {f"{level}.{name}": row for level, rows in self.component for name, row in rows.items()}

    def sources(self) -> dict[str, Quantity]:
        """Every quantity by its key path, such as `action.dac_row.energy_j`, in the order of the fields."""
        return dict(leaves(self, (Quantity,)))
