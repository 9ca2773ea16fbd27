"""--set: inputs that become constants, so that what depends on them alone is known before the model runs."""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from bsc.errors import UsageError
from bsc.frontend.shapes import Size, format_sizes
from bsc.ir.graph import SetInput

WORDS: Mapping[str, int] = {"true": 1, "false": 0}


def parse_set(text: str) -> tuple[str, tuple[int | float, ...]]:
    """Read "sample_rate=16000", "training=false" or "scale=0.5,0.25".

    Raises:
        UsageError: BSC201 for any other form.
    """
    name, equals, values = text.partition("=")
    try:
        numbers = tuple(_number(word) for word in values.split(","))
    except ValueError:
        numbers = ()
    if not (equals and name and numbers):
        raise UsageError(
            "BSC201",
            "--set cannot be read",
            seen=repr(text),
            fix="write NAME=VALUE, such as sample_rate=16000, training=false or scale=0.5,0.25",
        )
    return name, numbers


def format_set(name: str, values: Sequence[int | float]) -> str:
    """The text that `parse_set` reads as that."""
    return f"{name}={','.join(map(repr, values))}"


def _number(word: str) -> int | float:
    word = word.strip().lower()
    if word in WORDS:
        return WORDS[word]
    try:
        return int(word)
    except ValueError:
        value = float(word)
    if not np.isfinite(value):
        raise ValueError(word)
    return value


def set_inputs(
    model: ir.Model, constants: Mapping[str, tuple[int | float, ...]], sizes: Mapping[str, tuple[Size, ...] | None]
) -> tuple[SetInput, ...]:
    """Make inputs constants.

    Args:
        model: changed in place.
        constants: all values of an input in order, or one for all, by name.
        sizes: of every input.

    Raises:
        UsageError: BSC201 for a name that is no input, an input whose sizes are open or that holds no numbers, or
            values that do not fit it.
    """
    inputs = {value.name or "": value for value in model.graph.inputs}
    made = tuple(_set_input(name, values, inputs, sizes) for name, values in sorted(constants.items()))
    for each in made:
        value = inputs[each.name]
        value.const_value = ir.tensor(each.array(), dtype=value.dtype, name=each.name)
        value.shape = ir.Shape(each.shape)
        model.graph.inputs.remove(value)
        model.graph.register_initializer(value)
    return made


def _set_input(
    name: str,
    values: tuple[int | float, ...],
    inputs: Mapping[str, ir.Value],
    sizes: Mapping[str, tuple[Size, ...] | None],
) -> SetInput:
    if name not in inputs:
        raise UsageError(
            "BSC201",
            f"--set names no input of the model: '{name}'",
            seen=f"inputs {', '.join(sorted(inputs))}",
            fix="use one of these names",
        )
    shape = sizes[name]
    given = ",".join(map(str, values))
    if shape is None and len(values) == 1:
        shape = ()
    if shape is None or not all(isinstance(size, int) and size >= 0 for size in shape):
        raise UsageError(
            "BSC201",
            f"--set needs the sizes of input '{name}'",
            seen=format_sizes(shape),
            fix=f"give them with --input-shape {name}:SIZE,SIZE,...",
        )
    known = tuple(size for size in shape if isinstance(size, int))
    dtype = None if inputs[name].dtype is None else inputs[name].dtype
    kind = np.dtype(np.float32) if dtype is None else np.dtype(dtype.numpy())
    if len(values) not in (1, int(np.prod(known))) or not _holds(kind, values):
        raise UsageError(
            "BSC201",
            f"--set does not fit input '{name}'",
            seen=f"{given} for {kind} of shape {known}",
            fix="give one value that its type can hold, or one for each element in order",
        )
    return SetInput(name=name, dtype=str(kind), shape=known, values=values)


def _holds(kind: np.dtype[np.generic], values: tuple[int | float, ...]) -> bool:
    """Whether a type holds numbers, integers and booleans all of them exactly."""
    if kind.kind == "f" or kind.name in ("bfloat16", "float8_e4m3fn", "float8_e5m2"):
        return True
    if kind.kind not in "biu":
        return False
    low, high = (0, 1) if kind.kind == "b" else (int(np.iinfo(str(kind)).min), int(np.iinfo(str(kind)).max))
    return all(float(value).is_integer() and low <= value <= high for value in values)
