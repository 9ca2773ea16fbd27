"""Sizes of inputs, given by the model or the user, and the shapes that follow from them."""

import contextlib
from collections.abc import Mapping, Sequence

import onnx
import onnx_ir as ir
from onnx_ir.passes import common

from bsc.errors import ModelError, UsageError
from bsc.execution.session import quiet_session
from bsc.frontend.bounds import may_fold
from bsc.frontend.constants import known_shape
from bsc.frontend.ml_shapes import learn_shapes
from bsc.frontend.model_file import quiet

FREE_BATCH = "N"
BATCH_AXES = "bsc.batch-axes"
"""Key of a value's metadata: the axes that grow with the free batch."""
SMALL_CONSTANT = 1 << 10
"""Bytes up to which a constant may decide about a shape."""


def parse_input_shape(text: str) -> tuple[str, tuple[int, ...]]:
    """Read "image:1,3,224,224", or "image:N,3,224,224", which leaves the batch free: 0 in the result.

    Raises:
        UsageError: BSC201 for any other form or a size below 1.
    """
    name, colon, sizes = text.rpartition(":")
    first, comma, others = sizes.partition(",")
    free = first == FREE_BATCH
    try:
        shape = tuple(int(size) for size in (others if free else sizes).split(",")) if comma or not free else ()
    except ValueError:
        shape, free = (), False
    if not (colon and name and (shape or free) and min(shape, default=1) >= 1):
        raise UsageError(
            "BSC201",
            "--input-shape cannot be read",
            seen=repr(text),
            fix="write NAME:SIZE,SIZE,... with sizes of 1 or more, such as image:1,3,224,224; "
            f"{FREE_BATCH} for the first leaves the batch free",
        )
    return name, (0, *shape) if free else shape


def format_input_shape(name: str, shape: Sequence[int]) -> str:
    """The text that `parse_input_shape` reads as that."""
    sizes = [FREE_BATCH if at == size == 0 else str(size) for at, size in enumerate(shape)]
    return f"{name}:{','.join(sizes)}"


def give_shapes(model: ir.Model, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Apply --input-shape; a size given for a symbol holds in every input that uses the symbol.

    Raises:
        UsageError: BSC201 for a shape that names no input or contradicts the model.
    """
    symbols: dict[str | None, int] = {}
    values = {value.name: value for value in model.graph.inputs}
    for name, shape in shapes.items():
        if name not in values:
            raise UsageError(
                "BSC201",
                f"--input-shape names no input of model: '{name}'",
                seen=f"inputs {', '.join(sorted(str(key) for key in values))}",
                fix="use one of these names",
            )
        declared = values[name].shape
        fits = declared is None or (
            len(declared) == len(shape)
            and all(not isinstance(old, int) or old == new for old, new in zip(declared, shape, strict=True))
        )
        sizes = [new or FREE_BATCH for new in shape]
        if not fits:
            raise UsageError(
                "BSC201",
                f"--input-shape contradicts the model for input '{name}'",
                seen=f"[{', '.join(map(str, sizes))}] given, model declares {declared}",
                fix="change only the sizes that the model leaves open",
            )
        given = zip(declared or (), shape, strict=False)
        symbols |= {old.value: new for old, new in given if new and not isinstance(old, int)}
        values[name].shape = ir.Shape(sizes)
    symbols.pop(None, None)
    for value in values.values():
        if value.shape is not None:
            value.shape = ir.Shape(
                size if isinstance(size, int) else symbols.get(size.value, size) for size in value.shape
            )


def fix_batch(model: ir.Model) -> list[ir.Value]:
    """Set a free first axis to 1; every other free axis is the user's to give.

    Returns:
        The inputs that have a free first axis.

    Raises:
        ModelError: BSC305 for other free axes.
    """
    free: list[ir.Value] = []
    for value in model.graph.inputs:
        if value.shape is None:
            raise _open_shape(value, "no shape at all")
        sizes = list(value.shape)
        if sizes and not isinstance(sizes[0], int):
            free.append(value)
            sizes[0] = 1
        if not all(isinstance(size, int) and size >= 0 for size in sizes):
            raise _open_shape(value, f"shape {value.shape}")
        value.shape = ir.Shape(sizes)
    return free


def _open_shape(value: ir.Value, seen: str) -> ModelError:
    if value.shape is None:
        sizes = "SIZE,SIZE,..."
    else:
        names = [str(size) if isinstance(size, int) or size.value else "SIZE" for size in value.shape]
        sizes = ",".join(names if isinstance(value.shape[0], int) else [FREE_BATCH, *names[1:]])
    return ModelError(
        "BSC305",
        f"input '{value.name}' has axes of unknown size",
        seen=seen,
        fix=f"give them as numbers: --input-shape {value.name}:{sizes}",
    )


def infer_shapes(model: ir.Model) -> None:
    """Infer all shapes anew for the inputs' sizes; a value that no inference can tell keeps none."""
    for node in model.graph:
        for value in node.outputs:
            value.shape = None
    with quiet(), contextlib.suppress(Exception):
        common.ShapeInferencePass(check_type=False, strict_mode=False, data_prop=True)(model)
    while learn_shapes(model):
        with quiet(), contextlib.suppress(Exception):
            common.ShapeInferencePass(check_type=False, strict_mode=False, data_prop=True)(model)
    unknown = [value for node in model.graph for value in node.outputs if value.name and known_shape(value) is None]
    if unknown:
        with quiet(), contextlib.suppress(Exception):
            _ask_onnxruntime(model, unknown)


def _ask_onnxruntime(model: ir.Model, unknown: list[ir.Value]) -> None:
    """Shapes and types behind operators that ONNX's own inference does not know; raises what onnxruntime raises.

    Large constants take part as inputs, of which only the sizes matter. So does what operators make of constants that
    must not be folded: onnxruntime would compute it, of whatever size it is.
    """
    graph = onnx.GraphProto(name="shapes")
    inputs = {id(value): value for value in model.graph.inputs}
    for node in model.graph:
        if _makes_any_size(node):
            inputs |= {id(value): value for value in node.outputs if value.name}
        else:
            graph.node.append(ir.serde.serialize_node(node))
    for value in model.graph.initializers.values():
        tensor = value.const_value
        if tensor is not None and tensor.nbytes <= SMALL_CONSTANT:
            graph.initializer.append(ir.serde.serialize_tensor(ir.tensor(tensor.numpy(), name=value.name)))
        elif tensor is not None:
            inputs[id(value)] = ir.Value(
                name=value.name, shape=ir.Shape(tensor.shape.numpy()), type=ir.TensorType(tensor.dtype)
            )
    graph.input.extend(ir.serde.serialize_value(value) for value in inputs.values())
    unknown = [value for value in unknown if id(value) not in inputs]
    graph.output.extend(onnx.ValueInfoProto(name=value.name) for value in unknown)
    opsets = [onnx.helper.make_opsetid(domain, version) for domain, version in model.opset_imports.items()]
    proto = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=model.ir_version)
    told = {output.name: output for output in quiet_session(proto.SerializeToString()).get_outputs()}
    for value in unknown:
        output = told[value.name or ""]
        sizes = [size if isinstance(size, int) and size >= 0 else None for size in output.shape]
        if sizes and (value.shape is None or None not in sizes):  # no sizes may mean that they are unknown
            value.shape = ir.Shape(sizes)
        element = output.type.removeprefix("tensor(").removesuffix(")")
        if value.dtype is None and element.upper() in ir.DataType.__members__:
            value.dtype = ir.DataType[element.upper()]


def _makes_any_size(node: ir.Node) -> bool:
    """Whether an operator of constants was left because of what it makes, which has a type all the same."""
    read = [value for value in node.inputs if value is not None]
    constant = bool(read) and all(value.const_value is not None for value in read)
    typed = all(value.dtype is not None for value in node.outputs if value.name)
    return constant and typed and node.domain in ("", "ai.onnx") and may_fold(node) is False


def mark_batch_axes(model: ir.Model, free: list[ir.Value]) -> None:
    """Note at every value which of its axes grow with the batch; shapes are as `infer_shapes` leaves them."""
    values = [value for node in model.graph for value in node.outputs]
    of_one = [known_shape(value) for value in values]
    for value in free:
        value.meta[BATCH_AXES] = (0,)
        value.shape = ir.Shape([2, *(value.shape or ())[1:]])
    infer_shapes(model)
    for value, one in zip(values, of_one, strict=True):
        two = known_shape(value)
        if one is not None and two is not None and len(one) == len(two):
            value.meta[BATCH_AXES] = tuple(
                axis for axis, sizes in enumerate(zip(one, two, strict=True)) if len(set(sizes)) > 1
            )
    for value in free:
        value.shape = ir.Shape([1, *(value.shape or ())[1:]])
    infer_shapes(model)
