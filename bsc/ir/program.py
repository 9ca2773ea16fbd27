"""The order in which a mapped model runs: crossbar layers, and between them digital segments in onnxruntime.

A segment is a small ONNX model of all the digital operators that can run once the same crossbar layers are
done. Segments travel inside the plan folder, so that a replay needs nothing else.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from bsc.errors import ModelError
from bsc.ir.graph import UNKNOWN_DTYPE, DigitalOp, Graph
from bsc.ir.layer import CrossbarLayer, Reuse

RunLayer = Callable[[str, NDArray[Any]], NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class Segment:
    """Digital operators that run together.

    Attributes:
        model: serialised ONNX model.
        inputs: tensors it reads.
        outputs: tensors that later steps or the user read.
        operators: number of operators by ONNX type.
    """

    model: bytes
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    operators: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class LayerStep:
    """One crossbar layer.

    Attributes:
        layer: its name.
        inputs: the activation it reads.
        outputs: the tensor it writes.
    """

    layer: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


Step = Segment | LayerStep


def schedule(graph: Graph) -> tuple[Step, ...]:
    """Put a graph's operators into an order of layers and digital segments.

    Raises:
        ModelError: BSC305 when a segment reads a tensor of unknown element type.
    """
    depth = _crossbar_depths(graph)
    deepest = max(depth.values(), default=0)
    drives: list[list[CrossbarLayer | Reuse]] = [[] for _ in range(deepest + 1)]
    digital: list[list[DigitalOp]] = [[] for _ in range(deepest + 1)]
    last_read = dict.fromkeys(graph.outputs, deepest + 1)  # the last level at which a tensor is read
    for op in graph.ops():
        level = depth[op.name]
        if isinstance(op, DigitalOp):
            digital[level].append(op)
        else:
            drives[level].append(op)
        last_read |= {name: max(level, last_read.get(name, 0)) for name in op.inputs}
    steps: list[Step] = []
    for level in range(deepest + 1):
        for op in drives[level]:
            layer = op.layer if isinstance(op, Reuse) else op.name
            steps.append(LayerStep(layer=layer, inputs=op.inputs, outputs=op.outputs))
        if digital[level]:
            later = {name for op in digital[level] for name in op.outputs if last_read.get(name, 0) > level}
            steps.append(_segment(graph, digital[level], wanted=later))
    return tuple(steps)


def _crossbar_depths(graph: Graph) -> dict[str, int]:
    """For each operator, the most crossbar layers on a path to it, itself included."""
    depth: dict[str, int] = {}
    for op in graph.ops():
        before = (graph.producer(name) for name in op.inputs)
        reached = max((depth[source.name] for source in before if source is not None), default=0)
        depth[op.name] = reached + (not isinstance(op, DigitalOp))
    return depth


def _segment(graph: Graph, ops: list[DigitalOp], wanted: set[str]) -> Segment:
    made = {name for op in ops for name in op.outputs}
    read = list(dict.fromkeys(name for op in ops for name in op.inputs if name and name not in made))
    constants = [name for name in read if graph.has_array(name)]
    inputs = [name for name in read if not graph.has_array(name)]
    outputs = [name for op in ops for name in op.outputs if name and name in wanted]
    opsets = [helper.make_opsetid(domain, version) for domain, version in graph.info.opsets.items()]
    model = helper.make_model(
        helper.make_graph(
            [onnx.NodeProto.FromString(op.node) for op in ops],
            "segment",
            [_value_info(graph, name) for name in inputs],
            [onnx.ValueInfoProto(name=name) for name in outputs],
            [numpy_helper.from_array(np.asarray(graph.array(name), order="C"), name) for name in constants],
        ),
        opset_imports=opsets,
        ir_version=helper.find_min_ir_version_for(opsets, ignore_unknown=True),
    )
    serialised = model.SerializeToString(deterministic=True)
    operators = Counter(op.op_type for op in ops)
    return Segment(model=serialised, inputs=tuple(inputs), outputs=tuple(outputs), operators=operators)


def _value_info(graph: Graph, name: str) -> onnx.ValueInfoProto:
    """Element type only: sizes may change with the batch."""
    dtype = graph.tensors[name].dtype
    if dtype == UNKNOWN_DTYPE:
        raise ModelError(
            "BSC305",
            f"the element type of tensor '{name}' is unknown",
            seen="an operator before it that ONNX's shape inference does not know",
            fix="replace the operators that make it by standard ONNX operators",
        )
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), None)


def quiet_session(model: bytes | Path, *, weights: Path | None = None) -> Any:
    """An onnxruntime session on the CPU that leaves the terminal alone; raises what onnxruntime raises.

    Quantised operators are run as they are written: onnxruntime would move and fuse QuantizeLinear and
    DequantizeLinear, which rounds in other places.

    Args:
        model: serialised, or its path.
        weights: folder of the external data of a serialised model.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    if weights is not None:
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(weights))
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


class Program:
    """Runs steps on inputs; the layers are computed by whoever calls it.

    Args:
        steps: in order.
        outputs: tensors to return.
    """

    def __init__(self, steps: Iterable[Step], outputs: tuple[str, ...]) -> None:
        self._steps = tuple(steps)
        self._outputs = outputs
        self._sessions: dict[int, Any] = {}

    def run(
        self, feeds: Mapping[str, NDArray[Any]], run_layer: RunLayer, keep: Collection[str] = ()
    ) -> dict[str, NDArray[Any]]:
        """Run one batch.

        Args:
            feeds: every model input.
            run_layer: given a layer's name and its activation, returns its result.
            keep: further tensors that steps read or write, to return as well.

        Returns:
            The outputs by name, and what was to be kept.

        Raises:
            ModelError: BSC304 when onnxruntime cannot run a digital operator.
        """
        last_use = {name: index for index, step in enumerate(self._steps) for name in step.inputs}
        wanted = {*self._outputs, *keep}
        tensors = dict(feeds)
        for index, step in enumerate(self._steps):
            if isinstance(step, LayerStep):
                tensors[step.outputs[0]] = run_layer(step.layer, tensors[step.inputs[0]])
            else:
                tensors |= self._run_segment(index, step, tensors)
            for name in [name for name in step.inputs if last_use[name] == index and name not in wanted]:
                tensors.pop(name, None)
        return {name: tensors[name] for name in (*self._outputs, *keep)}

    def _run_segment(
        self, index: int, segment: Segment, tensors: Mapping[str, NDArray[Any]]
    ) -> dict[str, NDArray[Any]]:
        try:
            if index not in self._sessions:
                self._sessions[index] = quiet_session(segment.model)
            feeds = {name: tensors[name] for name in segment.inputs}
            results = self._sessions[index].run(list(segment.outputs), feeds)
        except Exception as error:  # onnxruntime raises a kind of its own for each failure
            raise ModelError(
                "BSC304",
                f"digital operators before tensor '{segment.outputs[-1]}' cannot be run",
                seen=str(error).strip().splitlines()[0][:200],
                fix="check the model in onnxruntime and that the data has the model's input shape",
            ) from None
        return dict(zip(segment.outputs, results, strict=True))
