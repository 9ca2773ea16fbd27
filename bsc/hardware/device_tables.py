"""Numbers of a device that follow the conductance of a cell: curves and tables, read at the cell's target.

Conductances, deviations and errors are fractions of the on conductance. Between two entries a table is a straight line,
outside them it stays level.
"""

import math
from itertools import pairwise
from typing import Annotated, Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from bsc.toml_record import Kind, Record, Text

Share = Annotated[float, Field(ge=0, le=1)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]

_Point = Annotated[tuple[Share, NotNegative], Field(strict=False)]
_SignedPoint = Annotated[tuple[Share, Finite], Field(strict=False)]
_DriftPoint = Annotated[tuple[Share, Finite, NotNegative], Field(strict=False)]
_Errors = Annotated[tuple[Finite, ...], Field(strict=False)]


class DeviceTable(Record):
    """What all tables say beside their numbers.

    Attributes:
        kind: how far it can be trusted.
        source: citation key, then table and row or the arithmetic.
        note: what a reader should know before using it.
    """

    kind: Kind
    source: Text
    note: Text | None = None

    @property
    def largest(self) -> float:
        """Largest magnitude of what it gives."""
        raise NotImplementedError

    @property
    def size(self) -> str:
        """How many numbers there are, in words."""
        raise NotImplementedError

    def times(self, factor: float) -> Self:
        """The table with everything that it gives times a factor."""
        changed = {"kind": "derived", "source": f"{self.source}; times {factor:g}", **self._scaled(factor)}
        return self.model_copy(update=changed)

    def _scaled(self, factor: float) -> dict[str, Any]:
        raise NotImplementedError


class _Points(DeviceTable):
    """Points by ascending conductance, each a tuple that begins with it; subclasses say what follows it."""

    points: Any

    @model_validator(mode="after")
    def _ascends(self) -> Self:
        if not _ascending([point[0] for point in self.points]):
            raise ValueError("give the points in ascending order of conductance")
        return self

    @property
    def largest(self) -> float:
        """Largest magnitude of what it gives."""
        return float(max(abs(value) for point in self.points for value in point[1:]))

    @property
    def size(self) -> str:
        """How many numbers there are, in words."""
        return f"{len(self.points)} points"

    def at(self, conductance: NDArray[np.float64], column: int = 1) -> NDArray[np.float64]:
        """What the points say at each conductance over the on conductance; same shape."""
        known = np.array(self.points, np.float64)
        return np.asarray(np.interp(conductance, known[:, 0], known[:, column]))

    def _scaled(self, factor: float) -> dict[str, Any]:
        return {"points": tuple((first, *(value * factor for value in rest)) for first, *rest in self.points)}


class Curve(_Points):
    """A standard deviation that follows the conductance.

    Attributes:
        points: conductance and standard deviation, conductance ascending from 0 to 1.
    """

    points: Annotated[tuple[_Point, ...], Field(strict=False, min_length=2)]


class SignedCurve(_Points):
    """Something of either sign that follows the conductance.

    Attributes:
        points: conductance and value, conductance ascending from 0 to 1.
    """

    points: Annotated[tuple[_SignedPoint, ...], Field(strict=False, min_length=2)]


class DriftTable(_Points):
    """Drift exponents that follow the conductance; those below 0 are gains.

    Attributes:
        points: conductance, mean exponent and its standard deviation over cells; conductance ascending from 0 to 1.
    """

    points: Annotated[tuple[_DriftPoint, ...], Field(strict=False, min_length=2)]


class ErrorTable(DeviceTable):
    """Errors as they were measured, whatever their distribution: what a standard normal deviate comes to.

    A normal error of deviation s has s times the deviates in its row.

    Attributes:
        deviates: standard normal deviates, ascending; the first and last one bound the errors.
        conductances: of the rows, ascending from 0 to 1.
        errors: for each conductance the error at each deviate, never falling.
    """

    deviates: Annotated[tuple[Finite, ...], Field(strict=False, min_length=2)]
    conductances: Annotated[tuple[Share, ...], Field(strict=False, min_length=2)]
    errors: Annotated[tuple[_Errors, ...], Field(strict=False)]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if not (_ascending(self.deviates) and _ascending(self.conductances)):
            raise ValueError("give deviates and conductances in ascending order")
        if len(self.errors) != len(self.conductances) or any(len(row) != len(self.deviates) for row in self.errors):
            raise ValueError("give one row of errors for each conductance, with one error for each deviate")
        if any(left > right for row in self.errors for left, right in pairwise(row)):
            raise ValueError("errors must not fall along a row")
        return self

    @property
    def largest(self) -> float:
        """Largest magnitude of what it gives."""
        return max(abs(error) for row in self.errors for error in row)

    @property
    def size(self) -> str:
        """How many numbers there are, in words."""
        return f"{len(self.conductances)} x {len(self.deviates)} errors"

    def at(self, conductance: NDArray[np.float64], deviates: NDArray[np.float64]) -> NDArray[np.float64]:
        """Errors of cells at each conductance, drawn by standard normal deviates; both and the result of one shape."""
        errors = np.array(self.errors)
        row, row_part = _between(np.array(self.conductances), conductance)
        column, column_part = _between(np.array(self.deviates), deviates)
        lower = errors[row, column] * (1 - column_part) + errors[row, column + 1] * column_part
        upper = errors[row + 1, column] * (1 - column_part) + errors[row + 1, column + 1] * column_part
        return np.asarray(lower * (1 - row_part) + upper * row_part)

    def _scaled(self, factor: float) -> dict[str, Any]:
        return {"errors": tuple(tuple(error * factor for error in row) for row in self.errors)}


def _ascending(values: Any) -> bool:
    return all(left < right for left, right in pairwise(values))


def _between(known: NDArray[np.float64], values: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """The entry at or below each value, never the last one, and what part of the way to the next the value is."""
    below = np.clip(np.searchsorted(known, values, side="right") - 1, 0, len(known) - 2)
    part = (values - known[below]) / (known[below + 1] - known[below])
    return below, np.clip(part, 0.0, 1.0)


def magnitude(number: Any) -> float:
    """Largest magnitude of a quantity or table; 0 for one that is left out."""
    if number is None:
        return 0.0
    return number.largest if isinstance(number, DeviceTable) else math.fabs(number.value)
