"""What a hardware description must say: the sizes and prices of one design, each with its source.

A description is a TOML file in SI units, the unit being the suffix of the key; hw_models/isaac.toml is a
complete one. Its levels are nested, the arrays first and the whole last; names and number of levels are the
description's own. Citation keys in brackets, here and in the files, are in hw_models/SOURCES.md.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Annotated, Any, Final, Literal, Self, get_args

from pydantic import Field, StringConstraints, model_validator

from bsc.hardware.adc_law import MAX_ADC_BITS
from bsc.toml_record import Kind, Record, Text, fault, leaves, read_record

AdcFlexibility = Literal["column", "tile", "slice", "fixed"]
"""What can have an ADC resolution of its own, finest first: a slice column, a crossbar, a slice of a layer, nothing."""

Covers = Literal["one", "all", "rest"]
"""What a published sub-total adds up: one of a level, all that make one of the next larger level, or what one has
besides the level within it."""

AreaBasis = Literal["one", "converter", "row", "column", "cell"]
"""What an area is repeated for: one of its level or, on the level of the arrays, a converter, row, column or cell."""

Topology = Literal["bus", "mesh"]
"""How a link joins: all that is on it, or each with its neighbours in a square."""

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")]
MAX_LEVELS: Final = 16
MAX_NUMBER: Final = 1_000_000_000
MAX_AMOUNT: Final = 1e30
MIN_DIVISOR: Final = 1e-30
"""In any unit; the latter of what others are divided by.

No product over all levels of numbers and amounts within these is past all floats.
"""

Number = Annotated[int, Field(ge=1, le=MAX_NUMBER)]
Amount = Annotated[float, Field(ge=0, le=MAX_AMOUNT, allow_inf_nan=False)]
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

    rows: Number
    cols: Number
    bits_per_cell: Number
    source: Text


class Dac(Record):
    """Row drivers; `bits` is what one row takes in one input cycle."""

    bits: Number
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

    value: AdcFlexibility
    kind: Kind
    source: Text
    note: Text | None = None


class Adc(Record):
    """Converters.

    Attributes:
        per_crossbar: how many share the columns of one array.
        arrays_each: arrays that take turns with them.
        of_pairs: they are of two arrays, whose columns are subtracted before their conversion.
        bits: the resolution that the prices hold for.
        law: how prices follow other resolutions, by default.
        rate_hz: conversions a second of one converter.
        bit_s: time of one bit decision; a conversion then takes its resolution times that in place of 1 / `rate_hz`.
        granularity: what can have a resolution of its own.
        source: citation key and where it is said.
    """

    per_crossbar: Number
    arrays_each: Number = 1
    of_pairs: bool = False
    bits: Annotated[int, Field(ge=1, le=MAX_ADC_BITS)]
    law: Text
    rate_hz: Quantity
    bit_s: Quantity | None = None
    granularity: Offer = Offer(value="column", kind="assumed", source="the description does not say")
    source: Text

    @property
    def installed(self) -> float:
        """Converters for each array that is read, or for each pair of them."""
        return self.per_crossbar / self.arrays_each

    def offers(self, granularity: AdcFlexibility) -> bool:
        """Whether each `granularity` can have a resolution of its own; a coarser one always can where a finer can."""
        finest_first: tuple[AdcFlexibility, ...] = get_args(AdcFlexibility)
        return finest_first.index(self.granularity.value) <= finest_first.index(granularity)

    @model_validator(mode="after")
    def _converts(self) -> Self:
        if self.rate_hz.value < MIN_DIVISOR:
            raise ValueError(f"rate_hz must be at least {MIN_DIVISOR:g}")
        return self


class Timing(Record):
    """Durations; `read_s` is one input cycle of an array, conversions of all its columns included."""

    read_s: Quantity


class Component(Record):
    """One row of a published component table.

    Attributes:
        count: how many the row covers; its power and area are those of all of them.
        shared_by: how many of its level the row is divided over.
        spec: the row's description.
        power_w: power of the row at full activity.
        static_w: what it draws whatever it does, a part of `power_w`; what its actions cost does not have it. None
            where nobody published it: it is then in what actions cost.
        area_m2: area of the row.
    """

    count: Number
    shared_by: Number = 1
    spec: Text
    power_w: Quantity
    static_w: Quantity | None = None
    area_m2: Quantity


class FullRate(Record):
    """The activity at which an action spends its component's published power, alone or with others that name it.

    Attributes:
        per_s: actions a second in one of the component's level.
        source: the arithmetic.
    """

    per_s: Amount
    source: Text


class CellBits(Record):
    """Cells that a price holds for beyond the target's own, with its origin as in `Quantity`.

    Attributes:
        value: most bits of a cell.
        kind: how far it can be trusted.
        source: citation key and where it is said.
        note: what a reader should know before using it.
    """

    value: Number
    kind: Kind
    source: Text
    note: Text | None = None


class Action(Record):
    """Something that takes energy.

    Attributes:
        counter: what tells how often it happens in one inference, a name in `bsc.cost.counters.COUNTERS`.
        per: what one action is, in words.
        label: what reports call it; by default its name.
        component: level and name of the row whose power it spends, such as `tile.edram`.
        energy_j: of one action, at `Adc.bits` for conversions; None is unknown, and so is every sum with it.
        energy_as: name of the action whose `energy_j` it has, as where a part is used for several purposes.
        up_to_cell_bits: cells that the price of reading cells holds for; by default those of `Crossbar` or less.
        at_full_rate: activity that spends all of the component's power.
    """

    counter: Text
    per: Text
    label: Text | None = None
    component: Text | None = None
    energy_j: Quantity | None = None
    energy_as: Name | None = None
    up_to_cell_bits: CellBits | None = None
    at_full_rate: FullRate | None = None


class AreaPart(Record):
    """An area that follows from how many crossbars there are, and how large they are.

    Attributes:
        per: what it is repeated for.
        label: what reports call it; by default its name.
        area_m2: of one; of a converter at `Adc.bits`.
    """

    per: AreaBasis = "one"
    label: Text | None = None
    area_m2: Quantity


class Buffer(Record):
    """A memory of one of its level.

    Attributes:
        capacity_bit: what it holds.
        banks: that can be accessed at the same time.
        bandwidth_bit_per_s: of all accesses together.
    """

    capacity_bit: Quantity
    banks: Number = 1
    bandwidth_bit_per_s: Quantity | None = None


class Link(Record):
    """A connection that one of its level has.

    Attributes:
        joins: what with what, in words.
        topology: `bus`, it joins what is within one of its level; `mesh`, it is one of the links of a router to its
            neighbours in a square mesh, which is shared by as many of its level as the link; None, it is a fact and
            nothing follows from it.
        count: how many alike.
        shared_by: how many of its level have them together.
        bandwidth_bit_per_s: of one.
    """

    joins: Text
    topology: Topology | None = None
    count: Number = 1
    shared_by: Number = 1
    bandwidth_bit_per_s: Quantity


class Level(Record):
    """One level of the hierarchy; everything in it belongs to one such unit.

    Attributes:
        name: of one.
        plural: of several; by default the name and an s.
        count: how many make one of the next larger level; the last level has none.
        source: where that is said.
        component: rows of published tables.
        action: what takes energy, and how often.
        area: areas that follow the number and size of the arrays; none on any level where they are unknown.
        buffer: memories.
        link: connections.
    """

    name: Name
    plural: Text | None = None
    count: Number | None = None
    source: Text
    component: Mapping[Name, Component] = {}
    action: Mapping[Name, Action] = {}
    area: Mapping[Name, AreaPart] = {}
    buffer: Mapping[Name, Buffer] = {}
    link: Mapping[Name, Link] = {}

    @property
    def several(self) -> str:
        """What several are called."""
        return self.plural or f"{self.name}s"


class Published(Record):
    """A sub-total the publication prints, for `bsc.hardware.check` to re-add.

    Attributes:
        name: what it is called.
        level: of which it is a total.
        covers: what it adds up.
        power_w: as printed.
        area_m2: as printed.
        tolerance: largest relative difference that rounding explains.
        source: where it is printed.
        note: what a reader should know before using it.
    """

    name: Text
    level: Name
    covers: Covers = "one"
    power_w: Amount
    area_m2: Amount
    tolerance: Tolerance
    source: Text
    note: Text | None = None


class Peak(Record):
    """What the publication prints of arrays that are all read all the time, for `bsc.hardware.peak` to derive again.

    Operations are two for each multiplication of an input with a weight. None is not printed.

    Attributes:
        name: what is multiplied by what.
        level: of one of which it is.
        input_bits: of an input, the sign left out where it costs no cycle.
        weight_cells: cells that hold one weight, on all arrays together.
        seconds: for one vector of inputs.
        array_energy_j: of actions of that level and the levels within it for one vector.
        ops_per_s: operations a second.
        ops_per_j: operations for the energy of `array_energy_j`, or of all component rows of the level.
        of_rows: `ops_per_j` is that of the component rows at full activity.
        ops_per_s_m2: operations a second on an area of the component rows.
        weights_bit_per_m2: storage on that area, of weights of `weight_bits`.
        weight_bits: of a weight.
        conversions_per_mac: conversions for each multiplication.
        tolerance: largest relative difference that rounding, or what the note says, explains.
        source: where it is printed.
        note: what a reader should know before using it.
    """

    name: Text
    level: Name
    input_bits: Number
    weight_cells: Number
    weight_bits: Number
    seconds: Amount | None = None
    array_energy_j: Amount | None = None
    ops_per_s: Amount | None = None
    ops_per_j: Amount | None = None
    of_rows: bool = False
    ops_per_s_m2: Amount | None = None
    weights_bit_per_m2: Amount | None = None
    conversions_per_mac: Amount | None = None
    tolerance: Tolerance
    source: Text
    note: Text | None = None


class Target(Record):
    """One hardware design; its first level is that of the arrays, its last the whole.

    Prices hold for the design's own node, `node_m`. Nothing scales them: published rules for logic [stillmaker17] say
    nothing of cells, converters and row drivers, which is most of what they are.
    """

    name: Text
    description: Text
    citation: Text
    node_m: Quantity
    crossbar: Crossbar
    dac: Dac
    adc: Adc
    timing: Timing
    level: Annotated[tuple[Level, ...], Field(strict=False, min_length=2, max_length=MAX_LEVELS)]
    published: Annotated[tuple[Published, ...], Field(strict=False)] = ()
    peak: Annotated[tuple[Peak, ...], Field(strict=False)] = ()

    @classmethod
    def from_toml(cls, text: str, where: str) -> Self:
        """Read a description.

        Args:
            text: the TOML text.
            where: file name for messages.

        Raises:
            UsageError: BSC206, for the first thing that is wrong with the text.
        """
        return read_record(cls, text, where=where, code="BSC206")

    @model_validator(mode="before")
    @classmethod
    def _has_levels(cls, table: Any) -> Any:
        old = [key for key in _BEFORE_LEVELS if isinstance(table, Mapping) and key in table]
        if old:
            raise fault(
                "this is the form that descriptions had before they had levels",
                seen=f"the tables {', '.join(f'[{key}]' for key in old)}",
                fix="write [[level]] for each level, arrays first, with its count in the next one, and move the tables "
                "below it: [component.tile.edram] to [level.component.edram], [action.X] to [level.action.X] with the "
                "name of a counter, areas to [level.area.X]; [[published]] names a level. hw_models/isaac.toml is an "
                "example",
            )
        return table

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        for wrong in (*_wrong_levels(self), *_wrong_names(self), *_wrong_areas(self), *_wrong_powers(self)):
            raise wrong
        return self

    def actions(self) -> dict[str, Action]:
        """Every action by name, those of the arrays first, with the energy of the one that it names."""
        written = {name: action for level in self.level for name, action in level.action.items()}
        return {
            name: action
            if action.energy_as is None
            else action.model_copy(update={"energy_j": written[action.energy_as].energy_j})
            for name, action in written.items()
        }

    def areas(self) -> dict[str, AreaPart]:
        """Every area by name, those of the arrays first."""
        return {name: part for level in self.level for name, part in level.area.items()}

    def components(self) -> dict[str, Component]:
        """Every component row by level and name, such as `tile.edram`."""
        return {f"{level.name}.{name}": row for level in self.level for name, row in level.component.items()}

    def sources(self) -> dict[str, Quantity]:
        """Every quantity by its key path, such as `tile.action.bus_bit.energy_j`, in the order of the file."""
        return {key.removeprefix("level."): quantity for key, quantity in leaves(self, (Quantity,))}


_BEFORE_LEVELS: Final = ("hierarchy", "component", "action", "area")
"""Tables of the form that knew crossbars, IMAs, tiles and a chip by name."""


def label(name: str, part: Action | AreaPart) -> str:
    """What reports call an action or an area."""
    return part.label or name.replace("_", " ")


def _wrong_levels(target: Target) -> Iterator[Exception]:
    """Levels that cannot be nested."""
    last = target.level[-1]
    for level, larger in pairwise(target.level):
        if level.count is None:
            yield fault(
                f"level '{level.name}' does not say how many make one {larger.name}",
                seen="no key 'count'",
                fix="add it; the last [[level]] is the whole and the only one without",
            )
    if last.count is not None:
        yield fault(
            f"level '{last.name}' is the last and has a count",
            seen=f"count = {last.count}",
            fix="remove it, or add a [[level]] for what that many of them make",
        )
    levels = Counter(level.name for level in target.level)
    yield from (_twice("level", name) for name, times in levels.items() if times > 1)


def _wrong_names(target: Target) -> Iterator[Exception]:
    """Names that are there twice, or that nothing has."""
    for kind, names in (
        ("action", [name for level in target.level for name in level.action]),
        ("area", [name for level in target.level for name in level.area]),
    ):
        yield from (_twice(kind, name) for name, times in Counter(names).items() if times > 1)
    components = target.components()
    actions = {name: action for level in target.level for name, action in level.action.items()}
    for name, action in actions.items():
        if action.energy_as is not None:
            yield from _wrong_price(name, action, actions)
        if action.at_full_rate is not None and action.component is None:
            yield fault(
                f"action '{name}' has a full rate, but of no component",
                seen="at_full_rate, and no key 'component'",
                fix="name the component whose power it spends, such as tile.edram",
            )
        if action.component is not None and action.component not in components:
            yield fault(
                f"action '{name}' names no component of this description",
                seen=repr(action.component),
                fix=f"name a level and a component of it{_listed(components)}",
            )
    levels = [level.name for level in target.level]
    for kind, name, level in (
        *(("published", entry.name, entry.level) for entry in target.published),
        *(("peak", entry.name, entry.level) for entry in target.peak),
    ):
        if level not in levels:
            yield fault(
                f"{kind} '{name}' is of no level of this description",
                seen=repr(level),
                fix=f"name a level{_listed(levels)}",
            )
    for entry in target.published:
        if entry.covers == "all" and entry.level == levels[-1]:
            yield fault(
                f"published '{entry.name}' covers all of the last level",
                seen=f"level = '{entry.level}', covers = 'all'",
                fix="write covers = 'one': it is the whole",
            )


def _wrong_price(name: str, action: Action, actions: Mapping[str, Action]) -> Iterator[Exception]:
    """An action that has the energy of none, or of another that has that of a third."""
    named = actions.get(action.energy_as or "")
    if action.energy_j is not None or action.at_full_rate is not None:
        yield fault(
            f"action '{name}' has the energy of another, and one of its own",
            seen=f"energy_as = '{action.energy_as}', and energy_j or at_full_rate",
            fix="remove one of them",
        )
    if named is None or named.energy_as is not None:
        yield fault(
            f"action '{name}' has the energy of no action that has one of its own",
            seen=f"energy_as = '{action.energy_as}'",
            fix=f"name one of these{_listed([each for each, other in actions.items() if other.energy_as is None])}",
        )


def _wrong_areas(target: Target) -> Iterator[Exception]:
    """Areas that cannot be counted on their level."""
    for level in target.level[1:]:
        for name, part in level.area.items():
            if part.per != "one":
                yield fault(
                    f"area '{name}' of level '{level.name}' is for each {part.per}",
                    seen=f"per = '{part.per}'",
                    fix=f"move it to level '{target.level[0].name}', which has {part.per}s, or give the area of "
                    f"one {level.name}",
                )


def _wrong_powers(target: Target) -> Iterator[Exception]:
    """Components that draw more at rest than at full activity."""
    for name, row in target.components().items():
        if row.static_w is not None and row.static_w.value > row.power_w.value:
            yield fault(
                f"component '{name}' draws more at rest than at full activity",
                seen=f"static_w {row.static_w.value:g}, power_w {row.power_w.value:g}",
                fix="static_w is a part of power_w: correct one of them",
            )


def _twice(kind: str, name: str) -> Exception:
    return fault(f"{kind} '{name}' is there twice", seen="the same name again", fix="give each a name of its own")


def _listed(names: Mapping[str, object] | list[str]) -> str:
    return f": {', '.join(names)}" if names else ""
