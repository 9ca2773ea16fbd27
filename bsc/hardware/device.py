"""What a device description must say: how far the cells and converters of one technology are from ideal.

Every effect is a table of a TOML file and optional; one that is left out is zero. hw_models/devices/generic.toml
has all of them. What the effects do to a crossbar is in `bsc.replay.analog`. Citation keys in brackets, in the
files, are in hw_models/SOURCES.md.
"""

import difflib
import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError, model_validator

from bsc.errors import UsageError
from bsc.hardware.cells import Reading, Writing
from bsc.hardware.target import Quantity
from bsc.toml_record import Kind, Record, Text, leaves, read_record

_Point = Annotated[
    tuple[Annotated[float, Field(ge=0, le=1)], Annotated[float, Field(ge=0, allow_inf_nan=False)]], Field(strict=False)
]


class Curve(Record):
    """A standard deviation that follows the conductance; both are fractions of the on conductance.

    Attributes:
        points: conductance and standard deviation, conductance ascending from 0 to 1. Between two points the
            curve is a straight line, outside them it stays level.
        kind: how far it can be trusted.
        source: citation key, then table and row or the arithmetic.
        note: what a reader should know before using it.
    """

    points: Annotated[tuple[_Point, ...], Field(strict=False, min_length=2)]
    kind: Kind
    source: Text
    note: Text | None = None

    @model_validator(mode="after")
    def _ascends(self) -> Self:
        if any(left >= right for (left, _), (right, _) in pairwise(self.points)):
            raise ValueError("give the points in ascending order of conductance")
        return self

    def at(self, conductance: NDArray[np.float64]) -> NDArray[np.float64]:
        """Standard deviation at each conductance, both over the on conductance; same shape."""
        known, sigma = zip(*self.points, strict=True)
        return np.asarray(np.interp(conductance, known, sigma))


MAX_MAGNITUDE: Final = 1e6
"""Of deviations over a cell's range, exponents, ohms and cell units: far above what any device has."""


class Effect(Record):
    """One departure from the ideal; `MAGNITUDES` names the fields that vanish with it."""

    MAGNITUDES: ClassVar[tuple[str, ...]] = ()

    @model_validator(mode="after")
    def _is_of_this_world(self) -> Self:
        for name in self.MAGNITUDES:
            if _size(getattr(self, name)) > MAX_MAGNITUDE:
                raise ValueError(f"{name} must be at most {MAX_MAGNITUDE:g}")
        return self

    @property
    def is_zero(self) -> bool:
        """Whether it changes nothing."""
        return not any(_size(getattr(self, name)) for name in self.MAGNITUDES)

    def scaled(self, factor: float) -> Self:
        """The effect with every magnitude times a factor above 0.

        Raises:
            ValueError: if the result is impossible, such as a probability above 1.
        """
        changed = {name: _times(getattr(self, name), factor) for name in self.MAGNITUDES}
        return type(self).model_validate({**dict(self), **changed})


class Spread(Effect):
    """A normal deviation of a cell's conductance. The parts are independent of each other: their variances add.

    Attributes:
        independent: standard deviation over the range from off to on conductance.
        proportional: standard deviation over the cell's own conductance.
        by_conductance: standard deviation as a curve, where a publication has one.
    """

    MAGNITUDES: ClassVar = ("independent", "proportional", "by_conductance")

    independent: Quantity | None = None
    proportional: Quantity | None = None
    by_conductance: Curve | None = None

    def variance(self, conductance: NDArray[np.float64], *, on: float, off: float) -> NDArray[np.float64]:
        """Variance of each cell.

        Args:
            conductance: any shape and unit.
            on: on conductance, in that unit.
            off: off conductance, in that unit.

        Returns:
            Same shape, in the square of that unit.
        """
        variance = np.full(conductance.shape, (_size(self.independent) * (on - off)) ** 2)
        variance += (_size(self.proportional) * conductance) ** 2
        if self.by_conductance is not None:
            variance += (self.by_conductance.at(conductance / on) * on) ** 2
        return variance


class StuckAt(Effect):
    """Cells that cannot be programmed.

    Attributes:
        on: share of cells that stay at the on conductance.
        off: share of cells that stay at the off conductance.
    """

    MAGNITUDES: ClassVar = ("on", "off")

    on: Quantity | None = None
    off: Quantity | None = None

    @model_validator(mode="after")
    def _are_shares(self) -> Self:
        if _size(self.on) + _size(self.off) > 1:
            raise ValueError("the shares of cells stuck on and stuck off must not add up to more than 1")
        return self


class Drift(Effect):
    """Conductance that falls as (t / start_s)^-nu after programming; nu differs from cell to cell.

    Attributes:
        nu: mean drift exponent.
        nu_spread: its standard deviation over cells.
        start_s: time after programming at which the programmed conductance holds.
        read_s: time after programming at which the crossbar is read; `start_s` if left out.
    """

    MAGNITUDES: ClassVar = ("nu", "nu_spread")

    nu: Quantity
    nu_spread: Quantity | None = None
    start_s: Quantity
    read_s: Quantity | None = None

    @model_validator(mode="after")
    def _is_read_after_the_start(self) -> Self:
        if self.start_s.value == 0:
            raise ValueError("start_s must be above 0")
        if self.read_s is not None and self.read_s.value < self.start_s.value:
            raise ValueError("read_s must not be before start_s")
        return self

    @property
    def log_time(self) -> float:
        """Natural logarithm of the time of the read over `start_s`; 0 or more."""
        return 0.0 if self.read_s is None else math.log(self.read_s.value / self.start_s.value)

    @property
    def is_zero(self) -> bool:
        """Whether it changes nothing."""
        return super().is_zero or self.log_time == 0


class OffCurrent(Effect):
    """The current of a cell at level 0.

    Attributes:
        on_off_ratio: conductance of the highest level over that of level 0.
        reference_column: whether every crossbar has one further column of cells at level 0, whose current is
            subtracted from that of the others in front of their converters.
    """

    on_off_ratio: Quantity
    reference_column: bool

    @model_validator(mode="after")
    def _has_a_range(self) -> Self:
        if self.on_off_ratio.value <= 1:
            raise ValueError("on_off_ratio must be above 1")
        return self

    @property
    def is_zero(self) -> bool:
        """Never: without an off current the table is left out."""
        return False

    def scaled(self, factor: float) -> Self:
        """The effect with `factor` times the off conductance."""
        return type(self).model_validate({**dict(self), "on_off_ratio": _times(self.on_off_ratio, 1 / factor)})


class IrDrop(Effect):
    """Voltage lost along the wires of a crossbar.

    Attributes:
        on_ohm: resistance of a cell at the highest level.
        wordline_ohm: wire from one cell to the next in a row.
        bitline_ohm: wire from one cell to the next in a column.
    """

    MAGNITUDES: ClassVar = ("wordline_ohm", "bitline_ohm")

    on_ohm: Quantity
    wordline_ohm: Quantity | None = None
    bitline_ohm: Quantity | None = None

    @model_validator(mode="after")
    def _conducts(self) -> Self:
        if self.on_ohm.value == 0:
            raise ValueError("on_ohm must be above 0")
        return self


class AdcError(Effect):
    """A normal error of a converter.

    It is given in cell units, the column sum of one driven cell at level 1, and not in steps of the converter:
    sample-and-hold and comparator are the same whatever resolution a column is assigned, so a coarser step makes
    neither worse. Where one step is one cell unit, as in ISAAC, both are the same number.

    Attributes:
        sigma_cells: standard deviation in cell units.
    """

    MAGNITUDES: ClassVar = ("sigma_cells",)

    sigma_cells: Quantity


class Device(Record):
    """One technology. An effect that is None is zero.

    Attributes:
        name: what the command line calls it.
        description: one line.
        citation: key and full reference, or why there is none.
        programming_error: deviation of a cell from its level, drawn once when it is programmed.
        read_noise: deviation of a cell, drawn anew at every read.
        stuck_at: cells that cannot be programmed.
        drift: loss of conductance between programming and read.
        off_current: conductance of level 0.
        ir_drop: resistance of the wires.
        adc_offset: error of each column's converter, drawn once.
        adc_noise: error of each conversion.
        reading: what reading a cell takes; no effect.
        writing: what programming a cell takes; no effect.
    """

    name: Text
    description: Text
    citation: Text
    programming_error: Spread | None = None
    read_noise: Spread | None = None
    stuck_at: StuckAt | None = None
    drift: Drift | None = None
    off_current: OffCurrent | None = None
    ir_drop: IrDrop | None = None
    adc_offset: AdcError | None = None
    adc_noise: AdcError | None = None
    reading: Reading | None = None
    writing: Writing | None = None

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

    @property
    def effects(self) -> tuple[str, ...]:
        """Names of the effects that change anything, in the order of `EFFECTS`."""
        present = ((name, getattr(self, name)) for name in EFFECTS)
        return tuple(name for name, effect in present if effect is not None and not effect.is_zero)

    @property
    def is_ideal(self) -> bool:
        """Whether nothing is left of it: a replay then equals the exact one bit for bit."""
        return not self.effects

    def only(self, *effects: str) -> Self:
        """The device with all effects but these set to zero.

        Raises:
            UsageError: BSC206, for a name that is not in `EFFECTS`, or an effect that the device lacks.
        """
        for effect in effects:
            _require_effect(effect)
            if getattr(self, effect) is None:
                raise self._lacks(effect, "leave", "name")
        return self.model_copy(update={name: None for name in EFFECTS if name not in effects})

    def _lacks(self, effect: str, purpose: str, instead: str) -> UsageError:
        return UsageError(
            "BSC206",
            f"device '{self.name}' has no {effect} to {purpose}",
            seen=f"effects {', '.join(self.effects) or 'none'}",
            fix=f"{instead} one of them, or add the table to a device file of your own",
        )

    def scaled(self, effect: str, factor: float) -> Self:
        """The device with one effect made larger or smaller.

        Standard deviations, shares of stuck cells, drift exponents, the off conductance and wire resistances are
        multiplied. Their kind becomes "derived" and their source says so.

        Args:
            effect: one of `EFFECTS`.
            factor: 0 or more.

        Raises:
            UsageError: BSC206, for an unknown effect, one the device lacks, or an impossible result.
        """
        _require_effect(effect)
        current: Effect | None = getattr(self, effect)
        if current is None:
            raise self._lacks(effect, "scale", "scale")
        try:
            if not 0 <= factor < math.inf:
                raise ValueError("give a factor of 0 or more")
            scaled = current if factor == 1 else current.scaled(factor) if factor else None
        except ValueError as error:
            why = str(error.errors()[0]["msg"] if isinstance(error, ValidationError) else error)
            raise UsageError(
                "BSC206",
                f"device '{self.name}': {effect} cannot be scaled",
                seen=f"factor {factor:g}",
                fix=why.removeprefix("Value error, "),
            ) from error
        return self.model_copy(update={effect: scaled})

    def read_at(self, seconds: float) -> Self:
        """The device read at another time after programming; one without drift is the same at any time.

        Raises:
            UsageError: BSC206, for a time before the drift starts.
        """
        if self.drift is None:
            return self
        if not self.drift.start_s.value <= seconds < math.inf:
            raise UsageError(
                "BSC206",
                f"device '{self.name}' cannot be read before its drift starts",
                seen=f"{seconds:g} s after programming",
                fix=f"read it {self.drift.start_s.value:g} s after programming or later",
            )
        read_s = Quantity(value=seconds, kind="assumed", source="chosen for this run")
        return self.model_copy(update={"drift": self.drift.model_copy(update={"read_s": read_s})})

    def sources(self) -> dict[str, Quantity | Curve]:
        """Every number by its key path, such as `drift.nu`, in the order of the fields."""
        numbers: Iterator[tuple[str, Quantity | Curve]] = leaves(self, (Quantity, Curve))
        return dict(numbers)


_NO_EFFECTS: Final = ("name", "description", "citation", "reading", "writing")
EFFECTS: Final = tuple(name for name in Device.model_fields if name not in _NO_EFFECTS)
"""Names of the effects."""


def _require_effect(name: str) -> None:
    if name not in EFFECTS:
        nearest = difflib.get_close_matches(name, EFFECTS, n=1)
        suggestion = f"did you mean '{nearest[0]}'? " if nearest else ""
        raise UsageError(
            "BSC206", "no effect of that name", seen=repr(name), fix=f"{suggestion}effects: {', '.join(EFFECTS)}"
        )


def _size(number: Quantity | Curve | None) -> float:
    """Largest value of a number; 0 for one that is left out."""
    if isinstance(number, Curve):
        return max(sigma for _, sigma in number.points)
    return 0.0 if number is None else number.value


def _times(number: Quantity | Curve | None, factor: float) -> Quantity | Curve | None:
    if number is None:
        return None
    changed: dict[str, Any] = {"kind": "derived", "source": f"{number.source}; times {factor:g}"}
    if isinstance(number, Curve):
        changed["points"] = tuple((conductance, sigma * factor) for conductance, sigma in number.points)
    else:
        changed["value"] = number.value * factor
    return number.model_copy(update=changed)
