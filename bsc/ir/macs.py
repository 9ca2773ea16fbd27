"""Multiply-accumulates of one inference: how much of a network's arithmetic is on crossbars, and how much is not.

Counted is what matrix products and convolutions do, digital ones too; an element-wise operator has none. A count that
cannot be told from the shapes is None and never 0.
"""

import math
import re
from collections.abc import Callable, Mapping

from bsc.ir.graph import DigitalOp, Graph
from bsc.ir.layer import CrossbarLayer

Shape = tuple[int, ...]
_Count = Callable[[DigitalOp, list[Shape], Shape], int | None]


def layer_macs(layer: CrossbarLayer) -> int:
    """Of a crossbar layer."""
    return layer.vectors * layer.rows * layer.columns


def digital_macs(graph: Graph, op: DigitalOp) -> int | None:
    """Of a digital operator; None if the shapes do not tell, or if it is one that is not counted, such as a loop."""
    kind = None if op.domain else _PRODUCTS.get(op.op_type)
    if kind is None:
        return None if _MAY_MULTIPLY.search(op.op_type) else 0
    count, operands = kind
    shapes = [
        _shape(graph, name) for name in (op.inputs[position] for position in operands if position < len(op.inputs))
    ]
    result = _shape(graph, op.outputs[0]) if op.outputs else None
    known = [shape for shape in shapes if shape is not None]
    if result is None or len(known) != len(operands):
        return None
    try:
        return count(op, known, result)
    except (IndexError, KeyError, ValueError, ZeroDivisionError):  # shapes that contradict the operator
        return None


def multiplies_activations(graph: Graph, op: DigitalOp) -> bool:
    """Whether it is a product of two tensors that are both computed at run time: no crossbar can hold either."""
    if op.op_type == "Attention":
        return True
    _, operands = (None, ()) if op.domain else _PRODUCTS.get(op.op_type, (None, ()))
    names = [op.inputs[position] for position in operands if position < len(op.inputs)]
    return len(names) > 1 and not any(graph.has_array(name) for name in names)


def _shape(graph: Graph, name: str) -> Shape | None:
    if graph.has_array(name):
        return graph.constant(name).shape
    return graph.tensors[name].shape if name in graph.tensors else None


def _matmul(_op: DigitalOp, operands: list[Shape], result: Shape) -> int:
    return math.prod(result) * operands[0][-1]


def _gemm(op: DigitalOp, operands: list[Shape], result: Shape) -> int:
    return math.prod(result) * operands[0][0 if op.attributes.get("transA") else 1]


def _conv(_op: DigitalOp, operands: list[Shape], result: Shape) -> int:
    return math.prod(result) * math.prod(operands[1][1:])


def _conv_transpose(_op: DigitalOp, operands: list[Shape], _result: Shape) -> int:
    return math.prod(operands[0]) * math.prod(operands[1][1:])


def _recurrent(_op: DigitalOp, operands: list[Shape], _result: Shape) -> int:
    x, weights, recurrence = operands
    return x[0] * x[1] * (math.prod(weights) + math.prod(recurrence))


def _einsum(op: DigitalOp, operands: list[Shape], _result: Shape) -> int | None:
    """A product of two operands; of more it depends on the order in which they are taken."""
    terms = str(op.attributes["equation"]).replace(" ", "").partition("->")[0].split(",")
    if len(terms) != 2 or any(len(term) != len(shape) for term, shape in zip(terms, operands, strict=True)):
        return None
    return math.prod(dict(zip("".join(terms), operands[0] + operands[1], strict=True)).values())


def _attention(op: DigitalOp, operands: list[Shape], result: Shape) -> int | None:
    """Query times keys and scores times values; operands (batch, heads, length, size) or (batch, length, all sizes)."""
    if any(op.inputs[4:6]):  # keys of the past, whose number may differ from run to run
        return None
    query, key, value = operands
    lengths = query[-2] * key[-2]
    if len(query) == 4:
        return math.prod(query[:2]) * lengths * (query[3] + value[3])
    return query[0] * lengths * (query[2] + result[2])


# Operator: how its multiply-accumulates follow from the shapes of these inputs and of its result.
_PRODUCTS: Mapping[str, tuple[_Count, tuple[int, ...]]] = {
    "MatMul": (_matmul, (0, 1)),
    "MatMulInteger": (_matmul, (0, 1)),
    "QLinearMatMul": (_matmul, (0, 3)),
    "Gemm": (_gemm, (0, 1)),
    "Conv": (_conv, (0, 1)),
    "ConvInteger": (_conv, (0, 1)),
    "QLinearConv": (_conv, (0, 3)),
    "ConvTranspose": (_conv_transpose, (0, 1)),
    "Einsum": (_einsum, (0, 1)),
    "LSTM": (_recurrent, (0, 1, 2)),
    "GRU": (_recurrent, (0, 1, 2)),
    "RNN": (_recurrent, (0, 1, 2)),
    "Attention": (_attention, (0, 1, 2)),
}
# Operators that multiply matrices, or hold others that may, and are in no row above.
_MAY_MULTIPLY = re.compile(r"MatMul|Gemm|Conv|Attention|LSTM|GRU|RNN|DFT|FFT|^(If|Loop|Scan|SequenceMap)$")
