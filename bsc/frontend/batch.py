"""Which axis of which input is the batch: found out from names, from what the user says, and from two batch sizes.

An axis is the batch if the user calls it N or its name says so, whichever axis of whichever input it is. A first axis
without a name is taken for it, and so is one with a name that tells nothing, if the outputs grow with it. All other
open sizes are the user's to give. A model of fixed sizes has a batch where the first axes of inputs and outputs agree.
"""

import functools
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import onnx_ir as ir

from bsc.errors import ModelError
from bsc.frontend.attributes import integer, integers
from bsc.frontend.constants import known_shape
from bsc.frontend.open_sizes import open_sizes
from bsc.frontend.rewrites.recurrent_node import RECURRENT
from bsc.frontend.shapes import BATCH_AXES, FREE, Size, infer_shapes

BATCH_NAME = re.compile(r"batch|(^|[^a-z])(n|b|bs)($|[^a-z])")
"""Open sizes that are the batch, in small letters."""
OTHER_NAME = re.compile(
    r"time|seq|len|frame|step|token|past|width|height|audio|wav|channel|feature|position|^[tslhwdck]$"
)
"""Open sizes that are something else."""
PLAIN_AXES = 2
"""Axes of an input whose first axis may well be something else than a batch: a signal, a table, a sequence."""

Source = Literal["said", "named", "nameless", "guessed", "fixed"]
Sizes = Mapping[str, tuple[Size, ...] | None]


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Of a model, whose inputs have all their sizes now.

    Attributes:
        axes: of the inputs that have one, by name.
        free: any number of samples may run at once; shapes are then for one.
        notes: what the user should know of how it was found, one sentence each.
    """

    axes: Mapping[str, int] = field(default_factory=dict)
    free: bool = False
    notes: tuple[str, ...] = ()


def fix_batch(model: ir.Model, declared: Sizes, sizes: Sizes) -> Batch:
    """Find the batch and set it to 1 where it is free; shapes of all values are inferred for that.

    Args:
        model: simplified.
        declared: sizes of its inputs in the file.
        sizes: the same with what the user gave.

    Raises:
        ModelError: BSC305 for other open sizes, BSC301 for inputs of one name.
    """
    inputs = {value.name or "": value for value in model.graph.inputs}
    if renamed := [
        name for name in inputs if name not in sizes
    ]:  # by onnx-ir, which gives each value a name of its own
        raise ModelError(
            "BSC301",
            "two inputs of the model, or an input and another tensor, have one name",
            seen=f"an input that is read as '{renamed[0]}'",
            fix="export the model with a name of its own for every tensor",
        )
    sizes = {name: sizes[name] for name in inputs}
    for value in inputs.values():
        _check_tensor(value)
    axes, sources = _open_batch(declared, sizes, {name for name, value in inputs.items() if _starts_with_steps(value)})
    numbers = [size for name, axis in axes.items() if isinstance(size := _at(sizes[name], axis), int) and size != FREE]
    whole = {
        name: None if each is None else _with_batch(each, axes.get(name), numbers[0] if numbers else 1)
        for name, each in sizes.items()
    }
    if missing := [name for name, each in whole.items() if not _complete(each)]:
        raise open_sizes(model, sizes, axes, missing)
    for name, value in inputs.items():
        value.shape = ir.Shape([size for size in whole[name] or () if isinstance(size, int)])
    if numbers or not axes:
        infer_shapes(model)
        fixed = axes or _fixed_batch(model, declared)
        for name, axis in fixed.items():
            inputs[name].meta[BATCH_AXES] = (axis,)
        return Batch(axes=fixed)
    grow = _mark(model, axes)
    guesses = [name for name, source in sources.items() if source in ("nameless", "guessed")]
    if guesses and _runs_along_steps(model):
        raise open_sizes(model, sizes, {}, guesses)
    notes = tuple(
        f"axis {axes[name]} of input '{name}', '{declared_name(declared, name, axes[name])}', is taken for the batch"
        for name, source in sources.items()
        if source == "guessed"
    )
    if any(grow) or (None in grow and "guessed" not in sources.values()):
        return Batch(axes=axes, free=True, notes=notes)
    if doubtful := [name for name in guesses if sources[name] == "guessed" or len(sizes[name] or ()) <= PLAIN_AXES]:
        raise open_sizes(model, sizes, {}, doubtful)
    for name in axes:
        inputs[name].meta[BATCH_AXES] = ()
    return Batch(axes=axes, notes=("the model takes one sample at a time: no output grows with the batch",))


def declared_name(declared: Sizes, name: str, axis: int) -> str:
    """What the file calls the size of an axis."""
    size = _at(declared.get(name), axis)
    return "?" if size is None else str(size)


def _check_tensor(value: ir.Value) -> None:
    if value.type is not None and not isinstance(value.type, ir.TensorType):
        raise ModelError(
            "BSC304",
            f"input '{value.name}' is not a tensor",
            seen=str(value.type),
            fix="export the model with tensors as inputs",
        )


def _open_batch(
    declared: Sizes, sizes: Sizes, steps_first: Collection[str]
) -> tuple[dict[str, int], dict[str, Source]]:
    """The axes of inputs that the file leaves open and that are, or may be, the batch; and how that is known."""
    said = {name: each.index(FREE) for name, each in sizes.items() if each is not None and FREE in each}
    twice = {size for each in declared.values() for size in each or () if each and each.count(size) > 1}
    names = {_at(declared[name], axis) for name, axis in said.items()}
    names |= {size for size in _names(declared.values()) if BATCH_NAME.search(size.lower()) and size not in twice}
    axes: dict[str, int] = {}
    sources: dict[str, Source] = {}

    def take(source: Source, which: Callable[[str, tuple[Size, ...]], int | None]) -> None:
        for name, each in declared.items():
            axis = None if each is None or name in axes else which(name, each)
            if axis is not None:
                axes[name], sources[name] = axis, source

    axes |= said
    sources |= dict.fromkeys(said, "said")
    given = {name for name in sizes if sizes[name] != declared[name]}
    take("named", lambda _, each: next((at for at, size in enumerate(each) if size in names - {None}), None))
    take("nameless", lambda name, each: _nameless(each, name in steps_first) if name not in given else None)
    unclear = {each[0] for name, each in declared.items() if each and isinstance(each[0], str) and name not in given}
    unclear = {size for size in unclear if size not in twice and not OTHER_NAME.search(str(size).lower())}
    take("guessed", lambda _, each: next((at for at, size in enumerate(each) if size in unclear), None))
    return axes, sources


def _nameless(sizes: tuple[Size, ...], second: bool) -> int | None:
    """The first axis, or the second, if its size is open and has no name."""
    axis = int(second)
    return axis if len(sizes) > axis and sizes[axis] is None else None


def _starts_with_steps(value: ir.Value) -> bool:
    """Whether an input goes right into a recurrent operator, whose first axis are steps unless its layout says else."""
    return any(
        node.op_type in RECURRENT and position == 0 and not integer(node, "layout", 0)
        for node, position in value.uses()
    )


def _names(shapes: Iterable[tuple[Size, ...] | None]) -> Iterator[str]:
    return (size for each in shapes for size in each or () if isinstance(size, str))


def _at(sizes: tuple[Size, ...] | None, axis: int) -> Size:
    return sizes[axis] if sizes is not None and axis < len(sizes) else None


def _with_batch(sizes: tuple[Size, ...], axis: int | None, batch: int) -> tuple[Size, ...]:
    """The sizes with that of an open batch axis."""
    return tuple(
        batch if at == axis and (not isinstance(size, int) or size == FREE) else size for at, size in enumerate(sizes)
    )


def _complete(sizes: tuple[Size, ...] | None) -> bool:
    return sizes is not None and all(isinstance(size, int) and size >= 0 for size in sizes)


def _fixed_batch(model: ir.Model, declared: Sizes) -> dict[str, int]:
    """First axes that are a batch of fixed size: of one, or of as many as every output has."""
    first = {}
    for value in model.graph.inputs:
        name, shape = value.name or "", known_shape(value)
        called = _at(declared.get(name), 0)
        other = isinstance(called, str) and OTHER_NAME.search(called.lower()) is not None
        if shape and value.const_value is None and not other:
            first[name] = shape[0]
    outputs = [shape[0] for value in model.graph.outputs if (shape := known_shape(value))]
    batch = 1 if 1 in first.values() else next((size for size in first.values() if {*outputs} <= {size}), None)
    return {name: 0 for name, size in first.items() if size == batch}


def _mark(model: ir.Model, axes: Mapping[str, int]) -> list[bool | None]:
    """Note at every value which of its axes grow with the batch.

    Returns:
        Whether each output grows; None where it is not known.
    """
    values = [value for node in model.graph for value in node.outputs]
    shapes: list[list[tuple[int, ...] | None]] = []
    inference = None
    for batch in (2, 1):
        for value in model.graph.inputs:
            axis = axes.get(value.name or "")
            if axis is not None:
                value.meta[BATCH_AXES] = (axis,)
                value.shape = ir.Shape(_with_size(list(value.shape or ()), axis, batch))
        inference = infer_shapes(model, inference)
        shapes.append([known_shape(value) for value in values])
    grown = functools.cache(_grown)
    for value, two, one in zip(values, *shapes, strict=True):
        marks, found = value.meta, grown(one, two)
        if found is None:
            marks.pop(BATCH_AXES, None)
        else:
            marks[BATCH_AXES] = found
    made = [value.meta.get(BATCH_AXES) if value.producer() is not None else None for value in model.graph.outputs]
    return [None if axes is None else bool(axes) for axes in made]


def _grown(one: tuple[int, ...] | None, two: tuple[int, ...] | None) -> tuple[int, ...] | None:
    """The axes that differ between two shapes; None where a shape is unknown, or there are more axes in one of them."""
    if one is None or two is None or (one != two and len(one) != len(two)):
        return None
    return tuple(axis for axis, sizes in enumerate(zip(one, two, strict=True)) if len(set(sizes)) > 1)


def _with_size(sizes: Sequence[int | ir.SymbolicDim], axis: int, size: int) -> list[int | ir.SymbolicDim]:
    return [size if at == axis else old for at, old in enumerate(sizes)]


def _runs_along_steps(model: ir.Model) -> bool:
    """Whether a recurrent operator or a Scan goes along what is taken for the batch."""
    for node in model.graph:
        if node.op_type in RECURRENT and node.inputs:
            steps = [(node.inputs[0], int(bool(integer(node, "layout", 0))))]
        elif node.op_type == "Scan":
            count = integer(node, "num_scan_inputs", 0)
            axes = integers(node, "scan_input_axes", (0,) * count)
            steps = list(zip(node.inputs[-count:] if count else (), axes, strict=False))
        else:
            continue
        for value, axis in steps:
            shape = known_shape(value)
            if value is not None and shape and axis % len(shape) in value.meta.get(BATCH_AXES, ()):
                return True
    return False
