"""Design spaces: what a sweep tries, read from a TOML file.

A design is one value on every axis. Designs are numbered in the order of the whole grid, the last axis fastest, so that
a number means the same design in every method and on every run.
"""

import math
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, TypeVar

from pydantic import ConfigDict, Field, StrictBool, ValidationInfo, field_validator

from bsc.compiler.options import ADAPTIVE, SEARCH, MappingOptions, Placing, parse_xbar
from bsc.compiler.policies import PRESETS, budget_words, parse_policy
from bsc.errors import UsageError
from bsc.exploration.designs import CHIP_FIGURES
from bsc.file_kinds import refuse_mistaken
from bsc.mapping.placement import CopiesPolicy
from bsc.numeric.encoding import Encoding, Subtraction
from bsc.numeric.quantizer import Scale
from bsc.toml_record import Record, Text, read_record, record_of

MAX_DESIGNS = 100_000
"""Designs of one sweep."""

ALL = "all"

CHIP_AXES: Final = ("copies", "chips", "tiles", "area", "power", "pack")
"""Axes that say how a mapping is placed; it is the same for all of their values."""

WeightBits = Annotated[int, Field(ge=1, le=15)]
ActivationBits = Annotated[int, Field(ge=2, le=16)]
LineBits = Annotated[int, Field(ge=1, le=8)]
Budget = Annotated[float, Field(gt=0, allow_inf_nan=False, strict=False)]
Value = str | int | float | bool


T = TypeVar("T")
Values = Annotated[tuple[T, ...], Field(strict=False, min_length=1)]


Objective = Literal[
    "adc-energy",
    "energy",
    "latency",
    "area",
    "crossbars",
    "accuracy",
    "throughput",
    "chip-latency",
    "average-power",
    "chip-energy",
    "efficiency",
    "energy-delay",
    "chip-area",
    "tiles-in-use",
    "chips-in-use",
]
"""Names in `bsc.exploration.designs.FIGURES`."""


class Axes(Record):
    """Values to try; an axis that is left out has the default of `bsc compile`.

    Attributes:
        variants: further models, tried beside the one that is named on the command line; paths from the space file.
        xbar: crossbar sizes, as "128x128".
        weight_bits: bits of a weight code beside its sign.
        activation_bits: bits of an input code with its sign.
        scale: how scales of codes are chosen.
        per_channel: whether each output channel has a weight scale of its own.
        cell_bits: bits one cell stores.
        dac_bits: input bits a DAC drives at a time; prices of rows hold for those of the hardware alone.
        encoding: how cells hold the sign of a weight.
        subtract: where the columns of a pair are subtracted.
        flip: whether columns may hold top - level.
        cut: "even", the bits of each slice as "4-2-2", or "adaptive".
        active_rows: rows driven together, "all" or "search".
        permute: orders of rows.
        adc: policies as for `bsc compile --adc`; "budgeted=POINTS" stands for --max-accuracy-drop POINTS.
        granularity: what shares one resolution.
        hw: hardware descriptions, by name or path from the space file.
        adc_law: ADC laws, likewise.
        copies: who chooses the copies of layers.
        chips: how many there are.
        tiles: how many of their tiles may be filled.
        area: mm² of the tiles that may be filled.
        power: W of crossbar layers that copies must not exceed.
        pack: whether small layers may share crossbars.
    """

    model_config = ConfigDict(alias_generator=lambda name: name.replace("_", "-"))

    variants: Annotated[tuple[Text, ...], Field(strict=False)] = ()
    xbar: Values[Text] | None = None
    weight_bits: Values[WeightBits] | None = None
    activation_bits: Values[ActivationBits] | None = None
    scale: Values[Scale] | None = None
    per_channel: Values[StrictBool] | None = None
    cell_bits: Values[LineBits] | None = None
    dac_bits: Values[LineBits] | None = None
    encoding: Values[Encoding] | None = None
    subtract: Values[Subtraction] | None = None
    flip: Values[StrictBool] | None = None
    cut: Values[Text] | None = None
    active_rows: Values[Any] | None = None
    permute: Values[Literal["auto", "none", "sorted", "balanced"]] | None = None
    adc: Values[Text] | None = None
    granularity: Values[Literal["column", "tile", "slice"]] | None = None
    hw: Values[Text] | None = None
    adc_law: Values[Text] | None = None
    copies: Values[CopiesPolicy] | None = None
    chips: Values[Annotated[int, Field(ge=1, le=1_000_000)]] | None = None
    tiles: Values[Annotated[int, Field(ge=1, le=1_000_000_000)]] | None = None
    area: Values[Budget] | None = None
    power: Values[Budget] | None = None
    pack: Values[StrictBool] | None = None

    @field_validator("*")
    @classmethod
    def _different(cls, values: Any) -> Any:
        return _once(values)

    @field_validator("xbar")
    @classmethod
    def _sizes(cls, values: tuple[str, ...] | None) -> tuple[str, ...] | None:
        _once([_readable(parse_xbar, value) for value in values or ()], values)
        return values

    @field_validator("active_rows")
    @classmethod
    def _rows(cls, values: tuple[int | str, ...] | None) -> tuple[int | str, ...] | None:
        for value in values or ():
            number = isinstance(value, int) and not isinstance(value, bool) and value >= 1
            if number or value in (ALL, SEARCH):
                continue
            raise ValueError(f'write how many rows to drive at a time, "{ALL}" or "{SEARCH}"')
        return values

    @field_validator("adc")
    @classmethod
    def _policies(cls, values: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for value in values or ():
            if is_budgeted(value):
                max_accuracy_drop(value)
            else:
                _readable(parse_policy, value)
        return values


class Space(Record):
    """What a sweep tries.

    Attributes:
        method: `grid` tries all designs, `random` some of them, `search` those that promise most (optuna).
        points: how many designs `random` and `search` try.
        seed: of their choices.
        generation: designs that `search` chooses at a time, and tries side by side.
        objectives: figures that designs are judged by; None for energy and area, or accuracy where there are data.
        noise: devices, by name or path from the space file: accuracy is then the lower end of its interval on the worst
            of them.
        trials: chips of each device that every design is tried on.
        read_at: time of the read after programming in seconds, for drift.
        axes: values to try.
    """

    method: Literal["grid", "random", "search"] = "grid"
    points: Annotated[int, Field(ge=1, le=MAX_DESIGNS)] | None = Field(default=None, validate_default=True)
    seed: Annotated[int, Field(ge=0, lt=1 << 32)] = 0
    generation: Annotated[int, Field(ge=2, le=1000)] = 8
    objectives: Values[Objective] | None = None
    noise: Values[Text] | None = None
    trials: Annotated[int, Field(ge=2, le=10_000)] | None = None
    read_at: Annotated[float, Field(gt=0, allow_inf_nan=False, strict=False)] | None = None
    axes: Axes = Axes()

    @field_validator("trials", "read_at")
    @classmethod
    def _has_devices(cls, value: float | None, info: ValidationInfo) -> float | None:
        if value is not None and "noise" in info.data and info.data["noise"] is None:
            raise ValueError('say of which devices, as noise = ["reram-wan22"]')
        return value

    @field_validator("objectives", "noise")
    @classmethod
    def _different(cls, values: Any) -> Any:
        return _once(values)

    @field_validator("points")
    @classmethod
    def _wanted(cls, points: int | None, info: ValidationInfo) -> int | None:
        method = info.data.get("method", "grid")
        if (points is None) == (method == "grid"):
            return points
        if method == "grid":
            raise ValueError("leave it out, since a grid has all designs, or choose another method")
        raise ValueError(f"say how many designs method '{method}' tries")

    @property
    def on_chips(self) -> bool:
        """Whether designs are placed: an axis says how, or an objective asks for what comes of it."""
        placed = any(getattr(self.axes, name) is not None for name in CHIP_AXES)
        return placed or any(name in CHIP_FIGURES for name in self.objectives or ())

    @classmethod
    def from_toml(cls, text: str, where: str) -> Self:
        """Read a design space.

        Args:
            text: the TOML text.
            where: file name for messages.

        Raises:
            UsageError: BSC209 for the first thing that is wrong with the text.
        """
        return read_record(cls, text, where=where, code="BSC209")


def read_space(source: Path | Mapping[str, Any]) -> Space:
    """Read a design space from its file, or from a table like that of a file.

    Raises:
        UsageError: BSC202 for a file that cannot be read; BSC209 for what is wrong with its text.
    """
    if isinstance(source, Mapping):
        return record_of(Space, source, where="the space", code="BSC209")
    path = source
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:  # not UTF-8, or a zero byte in the path
        refuse_mistaken(path, "space")
        seen = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise UsageError(
            "BSC202", f"space '{path.name}' cannot be read", seen=seen, fix="give the path of a TOML file"
        ) from None
    return Space.from_toml(text, path.name)


class Grid:
    """All designs of a space, by number.

    Attributes:
        axes: values on each axis, the last axis fastest; None where the space does not say.
    """

    def __init__(self, space: Space, model: str) -> None:
        """A grid over a space for a model of that file name."""
        explicit_values = {name: values for name, values in space.axes if name != "variants"}
        self.axes: Mapping[str, Sequence[Value | None]] = {
            "model": (model, *space.axes.variants),
            **{name.replace("_", "-"): values or (None,) for name, values in explicit_values.items()},
        }
        self._sizes = [len(values) for values in self.axes.values()]

    def __len__(self) -> int:
        return math.prod(self._sizes)

    @property
    def explicit_values(self) -> dict[str, list[str]]:
        """Values as text on each axis that the space speaks of."""
        return {name: [_text(each) for each in values] for name, values in self.axes.items() if values[0] is not None}

    def places(self, number: int) -> dict[str, int]:
        """Which value a design has on each axis."""
        places = []
        for size in reversed(self._sizes):
            number, place = divmod(number, size)
            places.append(place)
        return dict(zip(self.axes, reversed(places), strict=True))

    def number(self, places: Mapping[str, int]) -> int:
        """The design with these values; the first on axes that are left out."""
        number = 0
        for name, values in self.axes.items():
            number = number * len(values) + places.get(name, 0)
        return number

    def values(self, number: int) -> dict[str, Value | None]:
        """The values of a design; None where the space does not say."""
        return {name: self.axes[name][place] for name, place in self.places(number).items()}

    def texts(self, number: int) -> dict[str, str]:
        """The values of a design as text, of the axes that the space speaks of."""
        return {name: _text(value) for name, value in self.values(number).items() if value is not None}


def designs(space: Space, grid: Grid) -> Sequence[int]:
    """Numbers of the designs that `grid` or `random` tries, in order.

    Raises:
        UsageError: BSC209 for a grid that is too large to be tried as a whole.
    """
    if space.method == "grid":
        if len(grid) > MAX_DESIGNS:
            raise UsageError(
                "BSC209",
                f"the grid has more than {MAX_DESIGNS} designs",
                seen=str(len(grid)),
                fix='write method = "random" or "search" and a number of points, or leave values out',
            )
        return range(len(grid))
    assert space.points is not None
    return random.Random(space.seed).sample(range(len(grid)), min(space.points, len(grid)))


def choices(values: Mapping[str, Value | None]) -> MappingOptions:
    """The mapping that the values of a design ask for, wherever it is placed."""
    elsewhere = ("model", "hw", "adc-law", *CHIP_AXES)
    explicit_values = {name.replace("-", "_"): value for name, value in values.items() if name not in elsewhere}
    rows, adc = explicit_values["active_rows"], explicit_values["adc"]
    explicit_values["active_rows"] = None if rows in (None, ALL) else str(rows)
    if isinstance(adc, str) and is_budgeted(adc):
        explicit_values["adc"] = adc.partition("=")[0]
    for switch in ("flip", "per_channel"):
        explicit_values[switch] = bool(explicit_values[switch])
    return MappingOptions(**explicit_values)  # type: ignore[arg-type]


def placing(values: Mapping[str, Value | None]) -> Placing:
    """The chips that the values of a design ask for."""
    return Placing(
        copies=values["copies"] or "none",  # type: ignore[arg-type]
        chips=values["chips"],  # type: ignore[arg-type]
        tiles=values["tiles"],  # type: ignore[arg-type]
        area_mm2=values["area"],  # type: ignore[arg-type]
        power_w=values["power"],  # type: ignore[arg-type]
        pack=bool(values["pack"]),
    )


def is_budgeted(adc: str) -> bool:
    """Whether a policy is "budgeted=POINTS", or another that an accuracy budget can be kept with."""
    return adc.partition("=")[0] in budget_words()


def max_accuracy_drop(adc: str) -> float | None:
    """The share of samples that a policy "budgeted=POINTS" may lose; None for other policies.

    Raises:
        ValueError: for a budget that cannot be read.
    """
    if not is_budgeted(adc):
        return None
    try:
        drop = float(adc.partition("=")[2])
    except ValueError:
        drop = math.nan
    if not 0 <= drop <= 100:
        raise ValueError('write the points of accuracy that may be lost, as "budgeted=0.5"')
    return drop / 100


def needing_data(space: Space) -> str | None:
    """The first value that means nothing without calibration data, or None."""
    axes = space.axes
    for value in axes.adc or ():
        cut = PRESETS[value].options.get("cut") if value in PRESETS and axes.cut is None else None
        policy = parse_policy(value.partition("=")[0] if is_budgeted(value) else value)
        if cut == ADAPTIVE or policy.needs_data:
            return value
    return ADAPTIVE if ADAPTIVE in (axes.cut or ()) else None


def _once(values: Any, written: Any = None) -> Any:
    """Refuse values that are there twice; `written` is how they are spelled."""
    twice = [at for at, value in enumerate(values or ()) if value in values[:at]]
    if twice:
        raise ValueError(f"write each value once, and not {(written or values)[twice[0]]!r} twice")
    return values


def _readable(parse: Callable[[str], T], value: str) -> T:
    try:
        return parse(value)
    except UsageError as error:
        raise ValueError(error.fix) from None


def _text(value: Value | None) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
