"""The order in which a mapped model runs: crossbar layers, and between them segments of digital operators.

A segment is a small ONNX model of all the digital operators that can run once the same crossbar layers are
done. Segments travel inside the plan folder, so that a replay needs nothing else.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper, numpy_helper

from bsc.errors import DoesNotFitError, ModelError
from bsc.ir.graph import SEQUENCE, UNKNOWN_DTYPE, DigitalOp, Graph
from bsc.ir.layer import CrossbarLayer, LayerUse
from bsc.mapping.model import LayerStep, Segment, Step

NOT_CARRIED = ("bfloat16", "float8_", "float6_", "float4_", "int4", "uint4", "int2", "uint2")
"""Types that NumPy lacks: onnxruntime takes and gives them in Python not at all, or as bytes."""
MAX_SEGMENT_BYTES = (1 << 31) - (1 << 20)
"""Of a protobuf message, with room for names."""


@dataclass(frozen=True, eq=False, kw_only=True)
class DigitalPart:
    """Digital operators that run together, not yet a model.

    Attributes:
        graph: that has them.
        ops: in the order they run.
        constants: that they read.
        inputs: other tensors that they read.
        outputs: tensors that later steps or the user read.
    """

    graph: Graph
    ops: Sequence[DigitalOp]
    constants: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @property
    def operators(self) -> Mapping[str, int]:
        """Number of operators by ONNX type."""
        return Counter(op.op_type for op in self.ops)

    def model(self) -> bytes:
        """The operators as a serialised ONNX model."""
        graph = self.graph
        opsets = [helper.make_opsetid(domain, version) for domain, version in graph.info.opsets.items()]
        model = helper.make_model(
            helper.make_graph(
                [onnx.NodeProto.FromString(op.node) for op in self.ops],
                "segment",
                [_value_info(graph, name) for name in self.inputs],
                [onnx.ValueInfoProto(name=name) for name in self.outputs],
                [numpy_helper.from_array(np.asarray(graph.constant(name), order="C"), name) for name in self.constants],
            ),
            opset_imports=opsets,
            ir_version=helper.find_min_ir_version_for(opsets, ignore_unknown=True),
        )
        serialised: bytes = model.SerializeToString(deterministic=True)
        return serialised


def schedule(graph: Graph) -> Iterator[Step]:
    """The steps that `planned` gives, ready to run; each segment is made when its turn comes. Raises as `planned`."""
    for step in planned(graph):
        if isinstance(step, LayerStep):
            yield step
        else:
            yield Segment(model=step.model(), inputs=step.inputs, outputs=step.outputs, operators=step.operators)


def planned(graph: Graph) -> Iterator[LayerStep | DigitalPart]:
    """Put a graph's operators into an order of layers and digital segments.

    Raises:
        ModelError: BSC305 when a segment reads a tensor of unknown element type, BSC304 for a type that cannot be
            carried from one step to the next.
        DoesNotFitError: BSC402 when the constants of a segment do not fit into an ONNX file.
    """
    depth = _crossbar_depths(graph)
    deepest = max(depth.values(), default=0)
    drives: list[list[CrossbarLayer | LayerUse]] = [[] for _ in range(deepest + 1)]
    digital: list[list[DigitalOp]] = [[] for _ in range(deepest + 1)]
    last_read = dict.fromkeys(graph.outputs, deepest + 1)  # the last level at which a tensor is read
    for op in graph.ops():
        level = depth[op.name]
        if isinstance(op, DigitalOp):
            digital[level].append(op)
        else:
            drives[level].append(op)
        for name in op.inputs:
            last_read[name] = max(level, last_read.get(name, 0))
    for level in range(deepest + 1):
        for op in drives[level]:
            layer = op.layer if isinstance(op, LayerUse) else op.name
            yield LayerStep(layer=layer, inputs=op.inputs, outputs=op.outputs)
        if digital[level]:
            later = {name for op in digital[level] for name in op.outputs if last_read.get(name, 0) > level}
            yield _part(graph, digital[level], wanted=later)


def _crossbar_depths(graph: Graph) -> dict[str, int]:
    """For each operator, the most crossbar layers on a path to it, itself included."""
    depth: dict[str, int] = {}
    behind: dict[str, int] = {}  # of the operator that makes a tensor
    for op in graph.ops():
        reached = max([behind.get(name, 0) for name in op.inputs], default=0)
        depth[op.name] = reached = reached + (not isinstance(op, DigitalOp))
        for name in op.outputs:
            behind[name] = reached
    return depth


def _part(graph: Graph, ops: list[DigitalOp], wanted: set[str]) -> DigitalPart:
    """One part. Raises as `planned`."""
    made = {name for op in ops for name in op.outputs}
    read = dict.fromkeys(name for op in ops for name in op.inputs if name and name not in made)
    part = DigitalPart(
        graph=graph,
        ops=ops,
        constants=tuple(name for name in read if graph.has_array(name)),
        inputs=tuple(name for name in read if not graph.has_array(name)),
        outputs=tuple(name for op in ops for name in op.outputs if name and name in wanted),
    )
    for name in (*part.inputs, *part.outputs):
        _check_carried(graph, name)
    size = sum(len(op.node) for op in ops) + sum(graph.constant(name).nbytes for name in part.constants)
    if size > MAX_SEGMENT_BYTES:
        raise DoesNotFitError(
            "BSC402",
            f"digital operators before tensor '{part.outputs[-1]}' do not fit into an ONNX file",
            seen=f"{size} bytes of constants",
            fix="keep large tables, such as embeddings, out of the model that is compiled",
        )
    for name in part.inputs:
        _check_typed(graph, name)
    return part


def _value_info(graph: Graph, name: str) -> onnx.ValueInfoProto:
    """Element type only: sizes may change with the batch."""
    dtype = graph.tensors[name].dtype
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype.removeprefix(SEQUENCE)))
    if dtype.startswith(SEQUENCE):
        return helper.make_tensor_sequence_value_info(name, kind, None)
    return helper.make_tensor_value_info(name, kind, None)


def _check_typed(graph: Graph, name: str) -> None:
    """Refuse a tensor that a segment cannot declare. Raises `ModelError` BSC305."""
    if graph.tensors[name].dtype == UNKNOWN_DTYPE:
        raise ModelError(
            "BSC305",
            f"the element type of tensor '{name}' is unknown",
            seen="an operator before it that ONNX's shape inference does not know",
            fix="replace the operators that make it by standard ONNX operators",
        )


def _check_carried(graph: Graph, name: str) -> None:
    """Refuse a tensor that a replay cannot carry from one step to the next. Raises `ModelError` BSC304."""
    known = graph.tensors.get(name)
    if known is not None and known.dtype.removeprefix(SEQUENCE).startswith(NOT_CARRIED):
        raise ModelError(
            "BSC304",
            f"tensor '{name}' goes from one step of the plan to another in a type that onnxruntime does not hand out",
            seen=known.dtype,
            fix="cast it to float32 or int8 behind the operator that makes it, and back in front of those that read it",
        )
