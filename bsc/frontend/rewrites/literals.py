"""Constants behind operators: integer weights keep their codes, and what only rearranges values is done when asked."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from bsc.frontend.attributes import integer, integers
from bsc.frontend.builder import Builder
from bsc.frontend.constants import MAX_MADE_WEIGHTS, Coded, is_constant, known_shape, sizes_of, tensor_of

LAYOUT = ("Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
EVALUATED = (
    "Abs", "Add", "Clip", "Concat", "Div", "Exp", "Gather", "Max", "Min", "Mul", "Neg", "Pow", "QuantizeLinear",
    "ReduceMean", "ReduceSum", "Round", "Sign", "Slice", "Split", "Sqrt", "Sub", "Tanh", "Where",
)  # fmt: skip
PRODUCTS = frozenset({
    "Conv", "ConvInteger", "ConvTranspose", "Einsum", "GRU", "Gemm", "LSTM", "MatMul", "MatMulInteger", "QLinearConv",
    "QLinearMatMul", "RNN",
})  # fmt: skip
"""Operators that weights are for."""
DEQUANTISED = "bsc.dequantised"
"""Key of a value's metadata: what it is dequantised to, by scale, zero point, axis, block and type."""
SMALL = 1 << 16
"""Values up to which a constant may be larger than what it is made of."""


def dequantize(b: Builder) -> Sequence[ir.Value] | str | None:
    """DequantizeLinear of a constant: its codes are the weights."""
    codes, scale, zero = (*b.node.inputs, None)[:3]
    if not is_constant(codes) or not _reaches_product(b.node.outputs[0]):
        return None  # an embedding, which is a quarter of the size as it is
    if not is_constant(scale) or (zero is not None and not is_constant(zero)):
        return "its scale or zero point is computed at run time"
    axis, block = integer(b.node, "axis", 1), integer(b.node, "block_size", 0)
    # Quantisers write one operator for each reader; the readers of one weight are to share its crossbars.
    assert codes is not None
    made: dict[tuple[Any, ...], ir.Value] = codes.meta.setdefault(DEQUANTISED, {})
    key = (scale, zero, axis, block, b.node.outputs[0].dtype)
    if key not in made or not made[key].is_initializer():
        made[key] = dequantized(b, codes, scale, zero, axis=axis, label="dequantised", block=block)
    return [made[key]]


def _reaches_product(value: ir.Value) -> bool:
    """Whether a product reads the value, maybe behind operators that `layout` and `evaluate` do away with."""
    reached, waiting = {id(value)}, [value]

    def is_static(each: ir.Value | None) -> bool:
        source = None if each is None else each.producer()
        dequantised = (
            source is not None and source.op_type == "DequantizeLinear" and all(map(is_constant, source.inputs))
        )
        return each is None or is_constant(each) or id(each) in reached or dequantised

    while waiting:
        for use in waiting.pop().uses():
            if use.node.op_type in PRODUCTS or use.node.domain == "com.microsoft":
                return True
            if use.node.op_type in (*LAYOUT, *EVALUATED) and all(map(is_static, use.node.inputs)):
                waiting += [each for each in use.node.outputs if id(each) not in reached]
                reached.update(map(id, use.node.outputs))
    return False


def dequantized(
    b: Builder,
    codes: ir.Value | None,
    scale: ir.Value | None,
    zero: ir.Value | None,
    *,
    axis: int,
    label: str,
    block: int = 0,
) -> ir.Value:
    """(codes - zero) * scale: a constant that keeps its codes, or an operator where something is computed at run time.

    Args:
        b: builds it.
        codes: integers.
        scale: one, one for each place along `axis`, or one for each block of places.
        zero: of the shape of `scale`, or None.
        axis: of several scales.
        label: of the result.
        block: places along `axis` that share a scale, or 0.

    Raises:
        ValueError: for scales or zero points that do not fit the codes.
    """
    if not all(value is None or is_constant(value) for value in (codes, scale, zero)):
        per_axis: dict[str, Any] = {"axis": axis} if b.opset >= 13 else {}
        inputs = [codes, scale, *([zero] if zero is not None else [])]
        value: ir.Value = b.op("DequantizeLinear", *inputs, label=label, **per_axis)
        return value
    shape = sizes_of(codes)
    stored = tensor_of(codes)

    def spread(values: NDArray[Any]) -> NDArray[Any]:
        """With as many axes as the codes. Raises `ValueError` if it has other sizes."""
        if values.size == 1:
            return values.reshape((1,) * len(shape))
        at = axis % len(shape)
        if values.ndim == 1:
            values = values.reshape(tuple(-1 if place == at else 1 for place in range(len(shape))))
        elif block:
            if values.shape[at] != -(-shape[at] // block):
                raise ValueError("blocks do not cover the codes")
            values = np.repeat(values, min(block, shape[at]), axis=at)[(slice(None),) * at + (slice(shape[at]),)]
        np.broadcast_to(values, shape)
        return values

    zeros = None if zero is None else spread(tensor_of(zero).numpy().astype(np.int32))

    def centred() -> NDArray[np.int32]:
        whole = stored.numpy().astype(np.int32)
        return whole if zeros is None else np.asarray(whole - zeros, np.int32)

    scales = tensor_of(scale)
    kind = ir.DataType(integer(b.node, "output_dtype", 0)) or scales.dtype
    return b.keep(Coded(centred, spread(scales.numpy().astype(np.float64)), shape, kind, stored.dtype.bitwidth), label)


def layout(b: Builder) -> Sequence[ir.Value] | None:
    """Operators that keep the values of a constant and give them another shape or type."""
    if not b.node.inputs or not all(map(is_constant, b.node.inputs)):
        return None
    source = b.node.inputs[0]
    tensor, target = tensor_of(source), known_shape(b.node.outputs[0])
    if b.node.op_type == "Identity":
        return [b.keep(tensor, "constant")] if not b.node.outputs[0].is_graph_output() else None
    if b.node.op_type == "Cast":
        kind = ir.DataType(integer(b.node, "to", 0))
        if isinstance(tensor, Coded) and kind.is_floating_point():
            return [b.keep(Coded(tensor.codes, tensor.scale, sizes_of(source), kind, tensor.bits), "constant")]
        return evaluate(b)
    if b.node.op_type == "Transpose":
        order = integers(b.node, "perm", tuple(reversed(range(len(sizes_of(source))))))
        return [b.rearranged(source, lambda array: array.transpose(order), "constant")]
    return None if target is None else [b.rearranged(source, lambda array: array.reshape(target), "constant")]


def constant_of_shape(b: Builder) -> Sequence[ir.Value] | None:
    """ConstantOfShape that makes weights: one number, spread when somebody asks."""
    (shape,) = b.node.inputs
    if not is_constant(shape):
        return None
    sizes = tuple(int(size) for size in tensor_of(shape).numpy())
    if min(sizes, default=1) < 0 or math.prod(sizes) > (
        MAX_MADE_WEIGHTS if _reaches_product(b.node.outputs[0]) else SMALL
    ):
        return None
    attr = b.node.attributes.get("value")
    value = np.zeros(1, np.float32) if attr is None else attr.as_tensor().numpy()
    kind = ir.DataType.from_numpy(value.dtype)
    spread = ir.LazyTensor(lambda: ir.tensor(np.broadcast_to(value.reshape(()), sizes)), kind, ir.Shape(sizes))
    return [b.keep(spread, "constant")]


def evaluate(b: Builder) -> Sequence[ir.Value] | None:
    """Operators on constants alone, unless they would blow them up; onnxruntime computes them."""
    if not b.node.inputs or not all(value is None or is_constant(value) for value in b.node.inputs):
        return None
    inputs = [value for value in b.node.inputs if value is not None]
    shapes = [known_shape(value) for value in b.node.outputs]
    held = sum(int(np.prod(sizes_of(value))) for value in inputs)
    if any(shape is None or int(np.prod(shape)) > max(SMALL, held) for shape in shapes):
        return None
    arrays = _run(b, inputs)
    if arrays is None:
        return None
    return [b.keep(ir.tensor(array), "constant") for array in arrays]


def _run(b: Builder, inputs: Sequence[ir.Value]) -> list[NDArray[np.generic]] | None:
    """What onnxruntime computes; None if it cannot."""
    from bsc.execution.session import quiet_session

    graph = onnx.GraphProto(name="constant")
    try:
        for value in inputs:
            tensor = ir.serde.serialize_tensor(ir.tensor(tensor_of(value).numpy(), name=value.name))
            graph.initializer.append(tensor)
        graph.node.append(ir.serde.serialize_node(b.node))
        graph.output.extend(onnx.ValueInfoProto(name=value.name) for value in b.node.outputs)
        opset = [onnx.helper.make_opsetid(b.node.domain, b.opset)]
        model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=10)
        results: list[NDArray[np.generic]] = quiet_session(model.SerializeToString()).run(None, {})
    except Exception:  # whatever is wrong with it: then it runs with the model, where onnxruntime says so
        return None
    return results
