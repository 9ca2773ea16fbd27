"""Multiply-accumulates of one inference: how much of a network's arithmetic is on crossbars, and how much is not.

Counted is what matrix products and convolutions do, digital ones too; an element-wise operator has none. A count that
cannot be told from the shapes is None and never 0.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx

from bsc.ir.bodies import BODIES, Known, inside, runs_of
from bsc.ir.einsum import letters
from bsc.ir.graph import SEQUENCE, UNKNOWN_DTYPE, DigitalOp, Graph
from bsc.ir.layer import CrossbarLayer

Shape = tuple[int, ...]
Attributes = Mapping[str, Any]
_Count = Callable[[Attributes, Sequence[Shape], Shape], int | None]


def layer_macs(layer: CrossbarLayer) -> int:
    """Of a crossbar layer."""
    return layer.vectors * layer.rows * layer.columns


def digital_macs(graph: Graph, op: DigitalOp) -> int | None:
    """Of a digital operator; None if the shapes do not tell.

    An `If` counts as its larger branch, a `Loop` as often as it runs at most.
    """
    if op.op_type in BODIES and not op.domain:
        outer = {name: _known(graph, name) for name in op.inputs if name}
        return _with_bodies(onnx.NodeProto.FromString(op.node), outer, graph.info.opsets)
    if any(op.inputs[at] for at in _PAST.get((op.domain, op.op_type), ()) if at < len(op.inputs)):
        return None
    inputs, outputs = ([_known(graph, name).shape for name in names] for names in (op.inputs, op.outputs))
    return macs_of(op.op_type, op.attributes, inputs, outputs, domain=op.domain)


def macs_of(
    op_type: str,
    attributes: Attributes,
    inputs: Sequence[Shape | None],
    outputs: Sequence[Shape | None],
    *,
    domain: str = "",
) -> int | None:
    """Of an operator without bodies, from its shapes; None if they do not tell, or if nobody has counted its kind.

    Args:
        op_type: ONNX operator.
        attributes: by name.
        inputs: the shapes of all its inputs, None where unknown.
        outputs: likewise.
        domain: of the operator.
    """
    kind = PRODUCTS.get(domain, {}).get(op_type)
    if kind is None:
        return None if may_multiply(op_type) else 0
    count, operands = kind
    known = [inputs[at] for at in operands if at < len(inputs)]
    result = outputs[0] if outputs else None
    if result is None or None in known or len(known) != len(operands):
        return None
    try:
        return count(attributes, [shape for shape in known if shape is not None], result)
    except (IndexError, KeyError, ValueError, ZeroDivisionError):  # shapes that contradict the operator
        return None


def may_multiply(op_type: str) -> bool:
    """Whether an operator multiplies matrices or holds others that may, as far as its name tells."""
    return bool(_MAY_MULTIPLY.search(op_type))


def multiplies_activations(graph: Graph, op: DigitalOp) -> bool:
    """Whether it is a product of two tensors that are both computed at run time: no crossbar can hold either."""
    if op.op_type.endswith("Attention"):
        return True
    _, operands = PRODUCTS.get(op.domain, {}).get(op.op_type, (None, ()))
    names = [op.inputs[position] for position in operands if position < len(op.inputs)]
    return len(names) > 1 and not any(graph.has_array(name) for name in names)


def _known(graph: Graph, name: str) -> Known:
    if graph.has_array(name):
        values = graph.constant(name)
        return Known(shape=values.shape, kind=onnx.helper.np_dtype_to_tensor_dtype(values.dtype), values=values)
    tensor = graph.tensors.get(name)
    if tensor is None:
        return Known(shape=None)
    typed = tensor.dtype != UNKNOWN_DTYPE and not tensor.dtype.startswith(SEQUENCE)
    kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(tensor.dtype)) if typed else 0
    return Known(shape=tensor.shape, kind=kind)


def _with_bodies(node: onnx.NodeProto, outer: Mapping[str, Known], opsets: Mapping[str, int]) -> int | None:
    """Of an operator with bodies: what one run of the largest body multiplies, times the runs."""
    counts: list[int | None] = []
    for body in (attr.g for attr in node.attribute if attr.HasField("g")):
        known = inside(node, body, outer, opsets)
        counts += [_added(_of_node(child, known, opsets) for child in body.node)]
    if None in counts:
        return None
    largest, runs = max((count for count in counts if count is not None), default=0), runs_of(node, outer)
    return 0 if largest == 0 else None if runs is None else runs * largest


def _of_node(node: onnx.NodeProto, known: Mapping[str, Known], opsets: Mapping[str, int]) -> int | None:
    if node.op_type in BODIES:
        return _with_bodies(node, known, opsets)
    domain = "" if node.domain == "ai.onnx" else node.domain
    if any(node.input[at] for at in _PAST.get((domain, node.op_type), ()) if at < len(node.input)):
        return None
    nothing = Known(shape=None)
    inputs, outputs = ([known.get(name, nothing).shape for name in names] for names in (node.input, node.output))
    attributes = {attr.name: onnx.helper.get_attribute_value(attr) for attr in node.attribute if not attr.ref_attr_name}
    return macs_of(node.op_type, attributes, inputs, outputs, domain=domain)


def _added(counts: Iterable[int | None]) -> int | None:
    """The sum, None if one of them is unknown."""
    total = 0
    for count in counts:
        if count is None:
            return None
        total += count
    return total


def _matmul(_attributes: Attributes, operands: Sequence[Shape], result: Shape) -> int:
    return math.prod(result) * operands[0][-1]


def _gemm(attributes: Attributes, operands: Sequence[Shape], result: Shape) -> int:
    return math.prod(result) * operands[0][0 if attributes.get("transA") else 1]


def _conv(_attributes: Attributes, operands: Sequence[Shape], result: Shape) -> int:
    return math.prod(result) * math.prod(operands[1][1:])


def _conv_transpose(_attributes: Attributes, operands: Sequence[Shape], _result: Shape) -> int:
    return math.prod(operands[0]) * math.prod(operands[1][1:])


def _recurrent(_attributes: Attributes, operands: Sequence[Shape], _result: Shape) -> int:
    x, weights, recurrence = operands
    return x[0] * x[1] * (math.prod(weights) + math.prod(recurrence))


def _einsum(attributes: Attributes, operands: Sequence[Shape], _result: Shape) -> int | None:
    """A product of two operands; of more it depends on the order in which they are taken."""
    equation = attributes["equation"]
    text = equation.decode() if isinstance(equation, bytes) else str(equation)
    if text.partition("->")[0].count(",") != 1:
        return None
    terms, _ = letters(text, [len(shape) for shape in operands])
    sizes: dict[str, int] = {}
    for term, shape in zip(terms, operands, strict=True):
        for letter, size in zip(term, shape, strict=True):
            sizes[letter] = max(size, sizes.get(letter, 1))
    return math.prod(sizes.values())


def _attention(_attributes: Attributes, operands: Sequence[Shape], result: Shape) -> int | None:
    """Query times keys and scores times values; operands (batch, heads, length, size) or (batch, length, all sizes)."""
    query, key, value = operands
    lengths = query[-2] * key[-2]
    if len(query) == 4:
        return math.prod(query[:2]) * lengths * (query[3] + value[3])
    return query[0] * lengths * (query[2] + result[2])


def _linear(_attributes: Attributes, operands: Sequence[Shape], result: Shape) -> int:
    """One product of each feature with each score."""
    return math.prod(operands[0]) * result[-1]


def _dft(_attributes: Attributes, operands: Sequence[Shape], result: Shape) -> int | None:
    """As a product with the matrix of the transform; of several axes the shapes do not tell which one is meant."""
    return None if len(operands[0]) != 3 else math.prod(result) * operands[0][-2] * operands[0][-1]


def _stft(_attributes: Attributes, operands: Sequence[Shape], result: Shape) -> int:
    return math.prod(result) * operands[0][0]


def _determinant(_attributes: Attributes, operands: Sequence[Shape], _result: Shape) -> int:
    return math.prod(operands[0]) * operands[0][-1] // 3


def _by_last_axis(_attributes: Attributes, operands: Sequence[Shape], result: Shape) -> int:
    return math.prod(result) * operands[0][-1]


def _fused_matmul(attributes: Attributes, operands: Sequence[Shape], result: Shape) -> int:
    return math.prod(result) * operands[0][-2 if attributes.get("transA") else -1]


Counted = Mapping[str, tuple[_Count, tuple[int, ...]]]
STANDARD: Counted = {
    "AffineGrid": (_by_last_axis, (0,)),
    "Attention": (_attention, (0, 1, 2)),
    "Conv": (_conv, (0, 1)),
    "ConvInteger": (_conv, (0, 1)),
    "ConvTranspose": (_conv_transpose, (0, 1)),
    "DeformConv": (_conv, (0, 1)),
    "DFT": (_dft, (0,)),
    "Det": (_determinant, (0,)),
    "Einsum": (_einsum, (0, 1)),
    "GRU": (_recurrent, (0, 1, 2)),
    "Gemm": (_gemm, (0, 1)),
    "LSTM": (_recurrent, (0, 1, 2)),
    "MatMul": (_matmul, (0, 1)),
    "MatMulInteger": (_matmul, (0, 1)),
    "QLinearConv": (_conv, (0, 3)),
    "QLinearMatMul": (_matmul, (0, 3)),
    "RNN": (_recurrent, (0, 1, 2)),
    "STFT": (_stft, (2,)),
}
MICROSOFT: Counted = {
    "DynamicQuantizeLSTM": (_recurrent, (0, 1, 2)),
    "DynamicQuantizeMatMul": (_matmul, (0, 1)),
    "FusedConv": (_conv, (0, 1)),
    "FusedGemm": (_gemm, (0, 1)),
    "FusedMatMul": (_fused_matmul, (0, 1)),
    "MatMulIntegerToFloat": (_matmul, (0, 1)),
    "MatMulNBits": (_by_last_axis, (0,)),
    "MultiHeadAttention": (_attention, (0, 1, 2)),
    "QGemm": (_gemm, (0, 3)),
    "QLinearConv": (_conv, (0, 3)),
    "TransposeMatMul": (_fused_matmul, (0, 1)),
}
MACHINE_LEARNING: Counted = {"LinearRegressor": (_linear, (0,))}
PRODUCTS: Mapping[str, Counted] = {"": STANDARD, "com.microsoft": MICROSOFT, "ai.onnx.ml": MACHINE_LEARNING}
"""By domain and operator: how its multiply-accumulates follow from the shapes of these inputs and of its result."""
_PAST: Mapping[tuple[str, str], tuple[int, ...]] = {
    ("", "Attention"): (4, 5),
    ("com.microsoft", "MultiHeadAttention"): (6, 7),
}
"""Inputs that hold keys and values of the past, whose number may differ from run to run."""
_MAY_MULTIPLY = re.compile(
    r"MatMul|Gemm|Conv|Attention|LSTM|GRU|RNN|DFT|FFT|Rfft|MoE|Inverse|CDist|Search|Sampling|Det$"
    r"|^(If|Loop|Scan|SequenceMap|Einsum|AffineGrid|STFT)$|^(Linear|SVM)(Classifier|Regressor)$"
)
"""Operators that multiply matrices, or hold others that may."""
