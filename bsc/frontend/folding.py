"""Operators on constants alone are computed once, by onnxruntime, so that what they make is a weight like any other.

Whatever the operator: weights that are normalised, standardised, merged, padded or rounded are weights. What is left is
said where the operator stands: random numbers, what would become much larger than the file, and too much arithmetic.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from bsc.execution.session import quiet_session
from bsc.frontend.constants import is_constant, known_shape, serialised, sizes_of, tensor_of, values_of
from bsc.ir.macs import macs_of, may_multiply
from bsc.ir.sidetable import SPILLED_BYTES, SideTable

DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")
RANDOM = frozenset({
    "Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike",
})  # fmt: skip
KEPT = frozenset({"DequantizeLinear", "Identity", "If", "ImageDecoder", "Loop", "NonMaxSuppression", "Scan"})
"""Operators that other rules decide about, and those whose work does not follow from what they read and write."""
CHOOSING = frozenset({"Compress", "NonZero", "StringSplit", "Unique"})
"""Operators whose result has a size that only its values tell; it follows from that of what they read."""
PRODUCTS = frozenset({
    "Conv", "ConvInteger", "ConvTranspose", "Einsum", "GRU", "Gemm", "LSTM", "MatMul", "MatMulInteger", "QLinearConv",
    "QLinearMatMul", "RNN",
})  # fmt: skip
"""Operators that weights are for."""
SEQUENCES = frozenset({"Optional", "SequenceConstruct", "SequenceErase", "SequenceInsert", "SplitToSequence"})
"""Operators whose results are not tensors: they are computed with what reads them."""
SMALL = 1 << 16
"""Values up to which a constant may be larger than what it is made of, unless it is for a product."""
MAX_PART = 64
"""Operators that are computed together, because they make sequences for each other."""
MAX_WORK = 1 << 36
"""Multiply-accumulates and values that folding one model may take: some ten seconds."""
MAX_GROWTH = 1 << 26
"""Values that all results for products may have more than the constants that they are made of."""
FED_BYTES = 1 << 10
"""Larger constants are given to onnxruntime as inputs, which copies none of them."""
CARRIED: Mapping[ir.DataType, ir.DataType] = {
    **dict.fromkeys((ir.DataType.INT4, ir.DataType.INT2), ir.DataType.INT8),
    **dict.fromkeys((ir.DataType.UINT4, ir.DataType.UINT2), ir.DataType.UINT8),
    **dict.fromkeys((kind for kind in ir.DataType if kind.name.startswith(("BFLOAT", "FLOAT8"))), ir.DataType.FLOAT),
}
"""Types that onnxruntime does not hand out in Python: as which type it does."""


class Folder:
    """Computes operators of one model.

    Args:
        opsets: of the model.
    """

    def __init__(self, opsets: Mapping[str, int]) -> None:
        self._opsets = {"" if domain == "ai.onnx" else domain: version for domain, version in opsets.items()}
        self._work, self._growth = MAX_WORK, MAX_GROWTH
        self._files = SideTable()

    def fold(self, node: ir.Node) -> list[ir.TensorProtocol] | str:
        """What an operator makes of constants, or why that is not computed; "" if it is not on constants alone."""
        part = constant_part(node)
        if not part or node.domain not in DOMAINS or node.op_type in KEPT | SEQUENCES:
            return ""
        try:
            why = self._reason(node, part)
            if why:
                return why if reaches_product(node.outputs[0]) else ""
            return [self._kept(value, array) for value, array in zip(node.outputs, self._run(node, part), strict=True)]
        except Exception as error:  # whatever is wrong with it: it then runs with the model, where onnxruntime says so
            seen = (str(error).strip().splitlines() or [""])[0][:100]
            return (
                f"onnxruntime cannot compute it from its constants: {seen}" if reaches_product(node.outputs[0]) else ""
            )

    def _reason(self, node: ir.Node, part: Sequence[ir.Node]) -> str:
        """Why a node on constants is not computed, else ""."""
        if any(each.op_type in RANDOM or _drops(each) for each in part):
            return "it makes random numbers"
        inputs = list(_constants(part))
        shapes = [self._shape(node, value) for value in node.outputs if value.name]
        held = sum(math.prod(sizes_of(value)) for value in inputs)
        if None in shapes and not (node.op_type in CHOOSING or len(part) > 1):
            return "the size of what it makes of constants is unknown"
        made = sum(math.prod(shape) for shape in shapes if shape is not None) if None not in shapes else 8 * held
        growth = made - held if made > max(SMALL, held) else 0
        if growth and (growth > self._growth or not reaches_product(node.outputs[0])):
            return "what it makes of constants is much larger than they are"
        work = _work(node, shapes[0] if shapes else None)
        if work is None or held + made + work > self._work:
            return "it takes more arithmetic than is done before a model runs"
        self._work, self._growth = self._work - held - made - work, self._growth - growth
        return ""

    def _shape(self, node: ir.Node, value: ir.Value) -> tuple[int, ...] | None:
        """The shape of a result: inferred before, or from the values of the constants."""
        known = known_shape(value)
        if known is not None or node.domain not in ("", "ai.onnx"):
            return known
        inputs = [each for each in node.inputs if each is not None and is_constant(each)]
        types, data = {}, {}
        for each in inputs:
            tensor = tensor_of(each)
            types[each.name or ""] = onnx.helper.make_tensor_type_proto(int(tensor.dtype), sizes_of(each))
            if tensor.nbytes <= FED_BYTES:
                data[each.name or ""] = serialised(each)
        try:
            found = onnx.shape_inference.infer_node_outputs(
                onnx.defs.get_schema(node.op_type, self._opsets[""], ""),
                ir.serde.serialize_node(node),
                types,
                data,
                opset_imports=self._opset_ids(),
                ir_version=10,
            )[value.name or ""].tensor_type
        except Exception:  # of the C++ library, for what it does not know
            return None
        known_sizes = found.HasField("shape") and all(size.HasField("dim_value") for size in found.shape.dim)
        return tuple(size.dim_value for size in found.shape.dim) if known_sizes else None

    def _opset_ids(self) -> list[onnx.OperatorSetIdProto]:
        return [onnx.helper.make_opsetid(domain, version) for domain, version in self._opsets.items()]

    def _run(self, node: ir.Node, part: Sequence[ir.Node]) -> list[Any]:
        """The results of `node`, None for those without a name."""
        graph, feeds = onnx.GraphProto(name="constants"), {}
        graph.node.extend(ir.serde.serialize_node(each) for each in part)
        for value in _constants(part):
            tensor = tensor_of(value)
            if tensor.nbytes <= FED_BYTES or tensor.dtype in CARRIED or tensor.dtype.bitwidth < 8:
                graph.initializer.append(serialised(value))
            else:
                graph.input.append(
                    onnx.helper.make_tensor_value_info(value.name or "", int(tensor.dtype), sizes_of(value))
                )
                feeds[value.name or ""] = np.asarray(values_of(tensor), order="C")
        wanted = []
        for value in node.outputs:
            carrier = None if value.dtype is None else CARRIED.get(value.dtype)
            if value.name and carrier:
                name = f"{value.name}/carried"
                graph.node.append(onnx.helper.make_node("Cast", [value.name], [name], to=int(carrier)))
                wanted.append(name)
            else:
                wanted.append(value.name or "")
        names = [name for name in wanted if name]
        graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
        model = onnx.helper.make_model(graph, opset_imports=self._opset_ids(), ir_version=10)
        session = quiet_session(model.SerializeToString(), as_written=True)
        results = dict(zip(names, session.run(names, feeds), strict=True))
        return [results.get(name) for name in wanted]

    def _kept(self, value: ir.Value, result: NDArray[Any] | None) -> ir.TensorProtocol:
        """A result as a constant; a large one lies in a file."""
        if result is None:  # nobody reads it
            return ir.tensor(np.zeros(0, np.float32))
        if not isinstance(result, np.ndarray):
            raise TypeError("no tensor")
        if value.dtype is not None and value.dtype in CARRIED:
            result = result.astype(value.dtype.numpy())
        if result.nbytes < SPILLED_BYTES or result.dtype == object:
            return ir.tensor(result)
        key = str(len(self._files))
        self._files[key] = result
        source, kind = self._files[key], ir.DataType.from_numpy(result.dtype)
        return ir.LazyTensor(lambda: ir.tensor(np.asarray(source), dtype=kind), kind, ir.Shape(result.shape))


def constant_part(node: ir.Node) -> list[ir.Node]:
    """A node that reads constants alone, behind the nodes that make its sequences of them; empty for any other."""
    if not all(value is None or may_be_known(value) for value in node.inputs):
        return []
    part: dict[int, ir.Node] = {}
    waiting = [node]
    while waiting:
        each = waiting.pop()
        if id(each) in part or each.domain not in DOMAINS or any(_is_body(attr) for attr in each.attributes.values()):
            return []
        part[id(each)] = each
        for value in each.inputs:
            if value is None or is_constant(value):
                continue
            source = value.producer()
            if source is None or source.op_type not in SEQUENCES or len(part) > MAX_PART:
                return []
            if id(source) not in part:
                waiting.append(source)
    return list(part.values())[::-1] if any(each.inputs for each in part.values()) else []


def may_be_known(value: ir.Value) -> bool:
    """Whether a value is a constant, or one that an operator on sequences may make of constants."""
    source = None if is_constant(value) else value.producer()
    return is_constant(value) or (source is not None and source.op_type in SEQUENCES)


def reaches_product(value: ir.Value) -> bool:
    """Whether a product reads the value, maybe behind operators whose other inputs are constants too."""
    reached, waiting = {id(value)}, [value]

    def is_static(each: ir.Value | None) -> bool:
        source = None if each is None else each.producer()
        return (
            each is None
            or is_constant(each)
            or id(each) in reached
            or (source is not None and bool(source.inputs) and all(map(is_constant, source.inputs)))
        )

    while waiting:
        for use in waiting.pop().uses():
            node = use.node
            if node.op_type in PRODUCTS or (node.domain == "com.microsoft" and not node.op_type.endswith("eLinear")):
                return True
            if node.op_type not in RANDOM and all(map(is_static, node.inputs)):
                waiting += [each for each in node.outputs if id(each) not in reached]
                reached.update(map(id, node.outputs))
    return False


def _constants(part: Sequence[ir.Node]) -> Iterator[ir.Value]:
    """The constants that nodes read, each once."""
    found = {id(value): value for node in part for value in node.inputs if value is not None and is_constant(value)}
    return iter(found.values())


def _is_body(attr: ir.Attr) -> bool:
    return attr.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)


def _drops(node: ir.Node) -> bool:
    """Whether it is a Dropout that may be in training."""
    return node.op_type == "Dropout" and len(node.inputs) > 2


def _work(node: ir.Node, result: tuple[int, ...] | None) -> int | None:
    """What an operator computes besides reading and writing; None if nobody knows."""
    domain = "" if node.domain == "ai.onnx" else node.domain
    attributes = {attr.name: attr.value for attr in node.attributes.values()}
    inputs = [sizes_of(value) if is_constant(value) else None for value in node.inputs]
    if may_multiply(node.op_type):
        return macs_of(node.op_type, attributes, inputs, [result], domain=domain)
    kernel = attributes.get("kernel_shape", ())
    window = math.prod(kernel) if isinstance(kernel, tuple | list) else 1
    return math.prod(result or ()) * (window + int(attributes.get("sampling_ratio", 0) or 0) ** 2)
