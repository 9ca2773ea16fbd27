"""Inputs that are made up: of a type, a shape and a range of values, for checks that need any input at all."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bsc.errors import ModelError, UsageError

FLOATS = frozenset({"bfloat16", "float16", "float32", "float64"})
MAX_MADE_VALUES = 1 << 25
"""Of all inputs and samples: 512 MB of float64, which a generator makes first."""

Values = tuple[float, float]
"""Lowest and highest value."""


class InputSpec(Protocol):
    """A model input: `bsc.ir.graph.TensorType` and the plan's record of one."""

    @property
    def name(self) -> str:
        """ONNX value name."""
        ...

    @property
    def shape(self) -> tuple[int, ...] | None:
        """Sizes for one batch, or for one sample of a free one; None where they are not known."""
        ...

    @property
    def dtype(self) -> str:
        """NumPy type name."""
        ...

    @property
    def batch_axis(self) -> int | None:
        """The axis that samples lie along, None without one."""
        ...

    @property
    def values(self) -> Values | None:
        """Lowest and highest value, None where nothing is known."""
        ...


def parse_input(text: str) -> tuple[str, Values]:
    """Read "sample_rate=16000" or "ids=0..50256": the lowest and highest value of an input.

    Raises:
        UsageError: BSC201 for any other form.
    """
    name, equals, given = text.partition("=")
    low, dots, high = given.partition("..")
    words = {"true": "1", "false": "0"}
    try:
        values = float(words.get(low.lower(), low)), float(words.get(high.lower(), high) if dots else "nan")
    except ValueError:
        values = math.nan, math.nan
    values = (values[0], values[1] if dots else values[0])
    if not (equals and name and all(map(math.isfinite, values)) and values[0] <= values[1]):
        raise UsageError(
            "BSC201",
            "--input cannot be read",
            seen=repr(text),
            fix="write NAME=VALUE or NAME=LOWEST..HIGHEST, such as sample_rate=16000 or ids=0..50256",
        )
    return name, values


def format_input(name: str, values: Values) -> str:
    """The text that `parse_input` reads as that."""
    return f"{name}={values[0]!r}..{values[1]!r}"


def require_inputs(given: Mapping[str, Values], names: Sequence[str]) -> None:
    """Refuse ranges for what is no input. Raises `UsageError` BSC201."""
    for name in given:
        if name not in names:
            raise UsageError(
                "BSC201",
                f"--input names no input of the model: '{name}'",
                seen=f"inputs {', '.join(names)}",
                fix="use one of these names",
            )


def made_up(
    spec: InputSpec,
    shape: tuple[int, ...],
    generator: np.random.Generator,
    given: Values | None = None,
    *,
    room: int = MAX_MADE_VALUES,
) -> NDArray[Any]:
    """Values for an input: standard normal floats, integers and booleans evenly spread over their range.

    Integers of unknown range are 0 or 1, as masks are; those of 8 bits anything that they can be, as images are. Texts
    are two words.

    Args:
        spec: the input.
        shape: sizes, which may be more than those of `spec`.
        generator: gives random numbers.
        given: lowest and highest value, in place of the input's own.
        room: values that may still be made.

    Raises:
        ModelError: BSC308 for an input of another type or of too many values.
    """
    if spec.dtype == TEXT and math.prod(shape) <= MAX_MADE_VALUES:
        return np.array([f"text {number}" for number in generator.integers(0, 9, math.prod(shape))], object).reshape(
            shape
        )
    kind = _kind(spec.dtype)
    if kind is None or math.prod(shape) > room:
        raise ModelError(
            "BSC308",
            f"input '{spec.name}' cannot be made up",
            seen=f"{spec.dtype} of shape {shape}",
            fix="give real inputs, with --data FILE.npz, or with --calib FILE.npz when compiling",
        )
    values = given or spec.values
    if values is None and spec.dtype in FLOATS:
        return generator.standard_normal(shape).astype(kind)
    low, high = values or _usual_values(kind)
    if spec.dtype in FLOATS:
        return generator.uniform(low, high, shape).astype(kind)
    return generator.integers(math.ceil(low), math.floor(high), shape, endpoint=True).astype(kind)


TEXT = "object"
"""NumPy's name for the type of texts."""


def _kind(dtype: str) -> "np.dtype[Any] | None":
    """The NumPy type of that name, if numbers can be made up of it."""
    try:
        kind = np.dtype(dtype)
    except TypeError:
        return None
    return kind if dtype in FLOATS or kind.kind in "biu" else None


def _usual_values(kind: "np.dtype[Any]") -> Values:
    if kind.kind in "iu" and kind.itemsize == 1:  # an image
        limits = np.iinfo(kind)
        return limits.min, limits.max
    return 0, 1
