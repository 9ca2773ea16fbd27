"""The error for inputs whose sizes a model leaves open, with an --input-shape for each that can be pasted."""

import contextlib
import shlex
from collections.abc import Iterator, Mapping, Sequence

import onnx_ir as ir

from bsc.errors import ModelError
from bsc.frontend.attributes import integer, integers, text
from bsc.frontend.constants import is_constant, known_shape, sizes_of
from bsc.frontend.shapes import FREE, Size, format_input_shape, format_sizes, infer_shapes

IMAGE_SIZE = 224
OTHER_SIZES = (16, 128, 1024, 8192)
"""Of anything else: the first that the windows of the model's convolutions fit into."""
SPATIAL = ("height", "width", "h", "w")
SEQUENCE = ("seq", "len", "time", "frame")
PAST = ("past", "cache")
"""Parts of names of sizes that may be 0, as nothing has gone before."""
LEAST_AXES = {"Conv": 2, "Gemm": 2}
"""Axes of weights that sizes of inputs follow from; a file can have fewer."""
CARRIED = frozenset({"Cast", "Identity", "Relu", "Clip", "Sub", "Add", "Mul", "Div", "Neg", "Abs", "Sqrt", "Log"})
"""Operators that hand their first input on in its shape, as far as one step is concerned."""


def open_sizes(
    model: ir.Model, sizes: Mapping[str, tuple[Size, ...] | None], axes: Mapping[str, int], missing: Sequence[str]
) -> ModelError:
    """The error for the inputs named in `missing`; `axes` are those known to be the batch. The model is used up."""
    inputs = {value.name or "": value for value in model.graph.inputs}
    axes = {**{name: axis for name in missing if axes and (axis := _state_axis(sizes[name])) is not None}, **axes}
    for other in OTHER_SIZES:
        shapes = {name: _proposed(inputs[name], sizes[name], axes.get(name), other) for name in missing}
        if _fit(model, {name: shapes.get(name, sizes[name]) for name in inputs}):
            break
    else:
        shapes = {name: _proposed(inputs[name], sizes[name], axes.get(name), OTHER_SIZES[0]) for name in missing}
    options = [shlex.join(["--input-shape", format_input_shape(name, shape)]) for name, shape in shapes.items()]
    what = f"input '{missing[0]}' has" if len(missing) == 1 else f"{len(missing)} inputs have"
    batch = "" if any(FREE in shape for shape in shapes.values()) else ", N for a size that is the batch"
    return ModelError(
        "BSC305",
        f"{what} axes of unknown size",
        seen="; ".join(f"{name} {format_sizes(sizes[name])}" for name in missing),
        fix=f"give them as numbers{batch}, for example: {' '.join(options)}",
    )


def _state_axis(sizes: tuple[Size, ...] | None) -> int | None:
    """What may well be the batch of a state that is carried along: the only open axis, not the first, and nameless."""
    if not sizes or not isinstance(sizes[0], int) or sizes.count(None) != 1:
        return None
    return sizes.index(None) if not any(isinstance(size, str) for size in sizes) else None


def _fit(model: ir.Model, shapes: Mapping[str, tuple[Size, ...] | None]) -> bool:
    """Whether every window of the model's convolutions and pools fits into what it goes over."""
    for value in model.graph.inputs:
        sizes = shapes[value.name or ""]
        if sizes is not None:
            value.shape = ir.Shape([1 if size in (FREE, None) else size for size in sizes])
    infer_shapes(model)
    return all(map(_window_fits, model.graph))


def _window_fits(node: ir.Node) -> bool:
    """Whether a window finds room; so does one that makes no sense, which is for others to refuse."""
    with contextlib.suppress(Exception):
        return _fits(node)
    return True


def _fits(node: ir.Node) -> bool:
    shape = known_shape(node.inputs[0]) if node.op_type in ("Conv", "MaxPool", "AveragePool") else None
    weight = node.inputs[1] if len(node.inputs) > 1 else None
    window = sizes_of(weight)[2:] if is_constant(weight) else integers(node, "kernel_shape", ())
    if shape is None or len(shape) != 2 + len(window):
        return True
    pads, ones = integers(node, "pads", (0,) * 2 * len(window)), (1,) * len(window)
    around = [sum(pads[axis :: len(window)]) for axis in range(len(window))]
    reach = [1 + (size - 1) * step for size, step in zip(window, integers(node, "dilations", ones), strict=True)]
    same = text(node, "auto_pad", "NOTSET").startswith("SAME")
    return same or all(size + pad >= wide for size, pad, wide in zip(shape[2:], around, reach, strict=True))


def _proposed(value: ir.Value, sizes: tuple[Size, ...] | None, batch: int | None, other: int) -> tuple[int, ...]:
    """Sizes that the operators behind an input can take."""
    demanded = _demanded(value)
    if sizes is None:
        rank = max((rank for rank, _, _ in demanded), default=0) or 2
        sizes, batch = (None,) * rank, 0
    known = {axis % len(sizes): size for rank, axis, size in demanded if rank in (0, len(sizes))}
    proposed: list[int] = []
    for axis, size in enumerate(sizes):
        if axis == batch:
            proposed.append(FREE)
        elif isinstance(size, int):
            proposed.append(size)
        else:
            proposed.append(known.get(axis, _guess(size, (axis, len(sizes)), value.name or "", other)))
    return tuple(proposed)


def _guess(size: Size, place: tuple[int, int], name: str, other: int) -> int:
    """A size for an axis; `place` is its number and that of all axes."""
    terms = [term.strip().lower() for term in str(size or "").split("+")]
    if len(terms) > 1:  # as "past_sequence_length + sequence_length"
        return sum(int(term) if term.isdecimal() else _guess(term, place, "", other) for term in terms)
    if any(word in terms[0] or word in name.lower() for word in PAST):
        return 0
    axis, rank = place
    image = rank == 4 and axis >= 2 and not any(word in terms[0] for word in SEQUENCE)
    return IMAGE_SIZE if terms[0] in SPATIAL or image else other


def _demanded(value: ir.Value) -> list[tuple[int, int, int]]:
    """Sizes that weights demand of an input: axes it must have, 0 for any number, and size of one of them."""
    found = []
    for product, order in _products(value):
        weight = product.inputs[1] if len(product.inputs) > 1 else None
        shape = sizes_of(weight) if is_constant(weight) else ()
        if len(shape) < LEAST_AXES.get(product.op_type, 1):
            continue
        if product.op_type == "Conv":
            rank, axis, size = len(shape), 1, shape[1] * integer(product, "group", 1)
        elif product.op_type == "Gemm":
            rank, axis, size = 2, 1, shape[1 if integer(product, "transB", 0) else 0]
        else:
            rank, axis, size = 0, -1, shape[-2] if len(shape) > 1 else shape[0]
        if order is None:
            found.append((rank, axis, size))
        elif order and rank in (0, len(order)):
            found.append((len(order), order[axis], size))
    return found


def _products(value: ir.Value) -> Iterator[tuple[ir.Node, tuple[int, ...] | None]]:
    """Products that read an input, and how its axes were ordered anew before: the product's axis i is order[i]."""
    waiting: list[tuple[ir.Value, tuple[int, ...] | None]] = [(value, None)]
    seen: set[int] = set()
    while waiting:
        current, order = waiting.pop()
        for node, position in current.uses():
            if id(node) in seen or position:
                continue
            seen.add(id(node))
            if node.op_type in ("Conv", "Gemm", "MatMul"):
                yield node, order
            elif node.op_type == "Transpose" and (perm := integers(node, "perm", ())):
                waiting.append((node.outputs[0], perm if order is None else tuple(order[axis] for axis in perm)))
            elif node.op_type in CARRIED:
                waiting.append((node.outputs[0], order))
