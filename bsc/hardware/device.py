"""What a device description must say: how far the cells and converters of one technology are from ideal.

Every effect is a table of a TOML file and optional; one that is left out is zero. Numbers that follow the conductance
are in `bsc.hardware.device_tables`; `bsc.fit` makes descriptions from measurements. What the effects do to a crossbar
is in `bsc.replay.analog`. Citation keys in brackets, in the files, are in hw_models/SOURCES.md.
"""

import difflib
import math
from collections.abc import Iterator
from typing import ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError, model_validator

from bsc.errors import UsageError
from bsc.hardware.cells import Reading, Writing
from bsc.hardware.device_tables import Curve, DeviceTable, DriftTable, ErrorTable, SignedCurve, magnitude
from bsc.hardware.target import Quantity
from bsc.toml_record import Record, Text, leaves, read_record

MAX_MAGNITUDE: Final = 1e6
"""Of deviations over a cell's range, exponents, ohms and cell units: far above what any device has."""


class Effect(Record):
    """One departure from the ideal; `MAGNITUDES` names the fields that vanish with it."""

    MAGNITUDES: ClassVar[tuple[str, ...]] = ()

    @model_validator(mode="after")
    def _is_of_this_world(self) -> Self:
        for name in self.MAGNITUDES:
            if magnitude(getattr(self, name)) > MAX_MAGNITUDE:
                raise ValueError(f"{name} must be at most {MAX_MAGNITUDE:g}")
        return self

    @property
    def is_zero(self) -> bool:
        """Whether it changes nothing."""
        return not any(magnitude(getattr(self, name)) for name in self.MAGNITUDES)

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

    MAGNITUDES: ClassVar[tuple[str, ...]] = ("independent", "proportional", "by_conductance")

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
        variance = np.full(conductance.shape, (magnitude(self.independent) * (on - off)) ** 2)
        variance += (magnitude(self.proportional) * conductance) ** 2
        if self.by_conductance is not None:
            variance += (self.by_conductance.at(conductance / on) * on) ** 2
        return variance


class ProgrammingError(Spread):
    """Deviation of a cell from its target, drawn once when it is programmed.

    Attributes:
        shift: mean deviation as a curve.
        empirical: errors about that mean as they were measured, in place of the three normal parts.
    """

    MAGNITUDES: ClassVar = (*Spread.MAGNITUDES, "shift", "empirical")

    shift: SignedCurve | None = None
    empirical: ErrorTable | None = None

    @model_validator(mode="after")
    def _has_one_distribution(self) -> Self:
        if self.empirical is not None and any(getattr(self, name) is not None for name in Spread.MAGNITUDES):
            raise ValueError("leave out independent, proportional and by_conductance where empirical is given")
        return self

    def deviations(
        self,
        ladder: NDArray[np.float64],
        levels: NDArray[np.intp],
        deviates: NDArray[np.float64],
        *,
        on: float,
        off: float,
    ) -> NDArray[np.float64]:
        """Deviation of each cell.

        Args:
            ladder: target conductance of each level (L,), any unit.
            levels: of the cells, any shape.
            deviates: standard normal ones, same shape.
            on: on conductance, in that unit.
            off: off conductance, in that unit.

        Returns:
            Shape of `levels`, in that unit.
        """
        if self.empirical is None:
            deviations = np.sqrt(self.variance(ladder, on=on, off=off))[levels] * deviates
        else:
            deviations = self.empirical.at(ladder[levels] / on, deviates) * on
        return deviations if self.shift is None else deviations + (self.shift.at(ladder / on) * on)[levels]


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
        if magnitude(self.on) + magnitude(self.off) > 1:
            raise ValueError("the shares of cells stuck on and stuck off must not add up to more than 1")
        return self


class Drift(Effect):
    """Conductance that falls as (t / start_s)^-nu after programming; nu differs from cell to cell.

    Attributes:
        nu: mean drift exponent; with `nu_spread`, exponents below 0 count as 0.
        nu_spread: its standard deviation over cells.
        by_conductance: both as a table, in place of the two.
        start_s: time after programming at which the programmed conductance holds.
        read_s: time after programming at which the crossbar is read; `start_s` if left out.
        compensated: whether the read voltage of each crossbar is raised by what its cells have lost together.
    """

    MAGNITUDES: ClassVar = ("nu", "nu_spread", "by_conductance")

    nu: Quantity | None = None
    nu_spread: Quantity | None = None
    by_conductance: DriftTable | None = None
    start_s: Quantity
    read_s: Quantity | None = None
    compensated: bool = False

    @model_validator(mode="after")
    def _is_read_after_the_start(self) -> Self:
        if (self.nu is None) == (self.by_conductance is None):
            raise ValueError("give either nu or by_conductance")
        if self.by_conductance is not None and self.nu_spread is not None:
            raise ValueError("give nu_spread in the points of by_conductance")
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

    def exponents(
        self, ladder: NDArray[np.float64], levels: NDArray[np.intp], deviates: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Drift exponent of each cell.

        Args:
            ladder: target of each level (L,) over the on conductance.
            levels: of the cells, any shape.
            deviates: standard normal ones, same shape.
        """
        if self.by_conductance is not None:
            table = self.by_conductance
            return np.asarray(table.at(ladder)[levels] + table.at(ladder, 2)[levels] * deviates)
        assert self.nu is not None
        return np.maximum(self.nu.value + magnitude(self.nu_spread) * deviates, 0)


class Temperature(Effect):
    """Conductance that follows the temperature: times 1 + coefficient (read_k - reference_k).

    Attributes:
        coefficient: change per kelvin over the conductance at `reference_k`, as a curve.
        reference_k: temperature at which everything else holds.
        read_k: temperature at which the crossbar is read; `reference_k` if left out.
    """

    MAGNITUDES: ClassVar = ("coefficient",)

    coefficient: SignedCurve
    reference_k: Quantity
    read_k: Quantity | None = None

    @property
    def difference_k(self) -> float:
        """How much warmer it is than at the reference; may be below 0."""
        return 0.0 if self.read_k is None else self.read_k.value - self.reference_k.value

    @property
    def is_zero(self) -> bool:
        """Whether it changes nothing."""
        return super().is_zero or self.difference_k == 0

    def factors(self, conductance: NDArray[np.float64]) -> NDArray[np.float64]:
        """What the conductance of each cell is multiplied by, from targets over the on conductance; never below 0."""
        return np.asarray(np.maximum(1 + self.coefficient.at(conductance) * self.difference_k, 0))


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
    """A normal error of a conversion.

    It is given in cell units, the column sum of one driven cell at level 1, and not in steps of the converter:
    sample-and-hold and comparator are the same whatever resolution a column is assigned, so a coarser step makes
    neither worse. Where one step is one cell unit, as in ISAAC, both are the same number.

    Attributes:
        sigma_cells: standard deviation in cell units.
    """

    MAGNITUDES: ClassVar = ("sigma_cells",)

    sigma_cells: Quantity


class AdcOffset(Effect):
    """A static error of a converter, drawn once.

    Attributes:
        sigma_cells: standard deviation in cell units, as of `AdcError`.
        shared: whether one converter with one error reads all columns of a crossbar; else each column has its own.
    """

    MAGNITUDES: ClassVar = ("sigma_cells",)

    sigma_cells: Quantity
    shared: bool = False


class AdcGain(Effect):
    """A static error of a converter that is proportional to what it reads, drawn once.

    Attributes:
        sigma: standard deviation over the reading.
        shared: whether one converter reads all columns of a crossbar, as in `AdcOffset`.
    """

    MAGNITUDES: ClassVar = ("sigma",)

    sigma: Quantity
    shared: bool = False


class Device(Record):
    """One technology. An effect that is None is zero.

    Attributes:
        name: what the command line calls it.
        description: one line.
        citation: key and full reference, or why there is none.
        programming_error: deviation of a cell from its level, drawn once when it is programmed.
        chip_error: deviation that all cells of a chip have in common, in units of each cell's own spread.
        row_error: likewise of the cells of a wordline.
        column_error: likewise of the cells of a bitline.
        read_noise: deviation of a cell, drawn anew at every read.
        stuck_at: cells that cannot be programmed.
        drift: loss of conductance between programming and read.
        temperature: change of conductance between two temperatures.
        off_current: conductance of level 0.
        ir_drop: resistance of the wires.
        adc_gain: relative error of each converter, drawn once.
        adc_offset: error of each converter, drawn once.
        adc_noise: error of each conversion.
        reading: what reading a cell takes; no effect.
        writing: what programming a cell takes; no effect.
    """

    name: Text
    description: Text
    citation: Text
    programming_error: ProgrammingError | None = None
    chip_error: Spread | None = None
    row_error: Spread | None = None
    column_error: Spread | None = None
    read_noise: Spread | None = None
    stuck_at: StuckAt | None = None
    drift: Drift | None = None
    temperature: Temperature | None = None
    off_current: OffCurrent | None = None
    ir_drop: IrDrop | None = None
    adc_gain: AdcGain | None = None
    adc_offset: AdcOffset | None = None
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

    def read_at_temperature(self, kelvin: float) -> Self:
        """The device read at another temperature.

        Raises:
            UsageError: BSC206, for one that cannot be, or a device that does not say what temperature changes.
        """
        if not 0 < kelvin < math.inf:
            raise UsageError(
                "BSC206",
                f"device '{self.name}' cannot be read at that temperature",
                seen=f"{kelvin:g} K",
                fix="give a temperature above 0 in kelvin, such as 358 for 85 degrees Celsius",
            )
        if self.temperature is None:
            raise UsageError(
                "BSC206",
                f"device '{self.name}' does not say what temperature changes",
                seen=f"effects {', '.join(self.effects) or 'none'}",
                fix="leave the temperature out, or add the table 'temperature' to a device file of your own",
            )
        read_k = Quantity(value=kelvin, kind="assumed", source="chosen for this run")
        return self.model_copy(update={"temperature": self.temperature.model_copy(update={"read_k": read_k})})

    def sources(self) -> dict[str, Quantity | DeviceTable]:
        """Every number by its key path, such as `drift.nu`, in the order of the fields."""
        numbers: Iterator[tuple[str, Quantity | DeviceTable]] = leaves(self, (Quantity, DeviceTable))
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


def _times(number: Quantity | DeviceTable | None, factor: float) -> Quantity | DeviceTable | None:
    if isinstance(number, Quantity):
        changed = {"value": number.value * factor, "kind": "derived", "source": f"{number.source}; times {factor:g}"}
        return number.model_copy(update=changed)
    return None if number is None else number.times(factor)
