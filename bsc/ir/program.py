"""The order in which a mapped model runs: crossbar layers, and between them digital segments in onnxruntime.

A segment is a small ONNX model of all the digital operators that can run once the same crossbar layers are
done. Segments travel inside the plan folder, so that a replay needs nothing else.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from bsc.errors import DoesNotFitError, ModelError
from bsc.ir.graph import UNKNOWN_DTYPE, DigitalOp, Graph
from bsc.ir.layer import CrossbarLayer, Reuse
from bsc.limits import bounded_memory

GROWTH = 1000
"""Bytes that a run may take for each byte of its inputs."""

MAX_SEGMENT_BYTES = (1 << 31) - (1 << 20)
"""Of a protobuf message, with room for names."""

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


def schedule(graph: Graph) -> Iterator[Step]:
    """Put a graph's operators into an order of layers and digital segments; each segment is made when its turn comes.

    Raises:
        ModelError: BSC305 when a segment reads a tensor of unknown element type.
        DoesNotFitError: BSC402 when the constants of a segment do not fit into an ONNX file.
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
    for level in range(deepest + 1):
        for op in drives[level]:
            layer = op.layer if isinstance(op, Reuse) else op.name
            yield LayerStep(layer=layer, inputs=op.inputs, outputs=op.outputs)
        if digital[level]:
            later = {name for op in digital[level] for name in op.outputs if last_read.get(name, 0) > level}
            yield _segment(graph, digital[level], wanted=later)


def _crossbar_depths(graph: Graph) -> dict[str, int]:
    """For each operator, the most crossbar layers on a path to it, itself included."""
    depth: dict[str, int] = {}
    for op in graph.ops():
        before = (graph.producer(name) for name in op.inputs)
        reached = max((depth[source.name] for source in before if source is not None), default=0)
        depth[op.name] = reached + (not isinstance(op, DigitalOp))
    return depth


def _segment(graph: Graph, ops: list[DigitalOp], wanted: set[str]) -> Segment:
    """One segment. Raises `DoesNotFitError` BSC402 if its constants do not fit into an ONNX file."""
    made = {name for op in ops for name in op.outputs}
    read = list(dict.fromkeys(name for op in ops for name in op.inputs if name and name not in made))
    constants = [name for name in read if graph.has_array(name)]
    inputs = [name for name in read if not graph.has_array(name)]
    outputs = [name for op in ops for name in op.outputs if name and name in wanted]
    size = sum(len(op.node) for op in ops) + sum(graph.constant(name).nbytes for name in constants)
    if size > MAX_SEGMENT_BYTES:
        raise DoesNotFitError(
            "BSC402",
            f"digital operators before tensor '{outputs[-1]}' do not fit into an ONNX file",
            seen=f"{size} bytes of constants",
            fix="keep large tables, such as embeddings, out of the model that is compiled",
        )
    opsets = [helper.make_opsetid(domain, version) for domain, version in graph.info.opsets.items()]
    model = helper.make_model(
        helper.make_graph(
            [onnx.NodeProto.FromString(op.node) for op in ops],
            "segment",
            [_value_info(graph, name) for name in inputs],
            [onnx.ValueInfoProto(name=name) for name in outputs],
            [numpy_helper.from_array(np.asarray(graph.constant(name), order="C"), name) for name in constants],
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


def _tensor(value: Any, layer: str) -> NDArray[Any]:
    """What onnxruntime gave, if it is an array: digital operators can make sequences and maps too."""
    if not isinstance(value, np.ndarray):
        raise ModelError(
            "BSC304",
            f"layer '{layer}': its input is no tensor",
            seen=f"a {type(value).__name__}",
            fix="check the model with onnx.checker.check_model(full_check=True)",
        )
    return value


def tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Tensors wherever a model holds them: initialisers and attributes, in bodies and functions too."""
    graphs = [model.graph]
    nodes = [node for function in model.functions for node in function.node]
    while graphs or nodes:
        if graphs:
            graph = graphs.pop()
            nodes += graph.node
            yield from graph.initializer
            yield from (part for sparse in graph.sparse_initializer for part in (sparse.values, sparse.indices))
        else:
            for attr in nodes.pop().attribute:
                graphs += [*attr.graphs, *([attr.g] if attr.HasField("g") else [])]
                yield from attr.tensors
                yield from [attr.t] if attr.HasField("t") else []
                every = [*attr.sparse_tensors, *([attr.sparse_tensor] if attr.HasField("sparse_tensor") else [])]
                yield from (part for sparse in every for part in (sparse.values, sparse.indices))


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
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception:  # some of its optimisations break models, such as that of a Pad that makes the weights of a Conv
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def run_session(session: Any, outputs: list[str], feeds: Mapping[str, NDArray[Any]]) -> list[Any]:
    """Run an onnxruntime session so that an interrupt stops it, in the middle of an endless `Loop` too.

    Raises:
        Exception: what onnxruntime raises.
    """
    import onnxruntime

    options = onnxruntime.RunOptions()
    with ThreadPoolExecutor(1) as pool:  # Python does not handle signals while its main thread is in native code
        try:
            results: list[Any] = pool.submit(session.run, outputs, dict(feeds), options).result()
        finally:
            options.terminate = True
    return results


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
        self,
        feeds: Mapping[str, NDArray[Any]],
        run_layer: RunLayer,
        keep: Collection[str] = (),
        *,
        layer_bytes: int = 0,
    ) -> dict[str, NDArray[Any]]:
        """Run one batch.

        Args:
            feeds: every model input.
            run_layer: given a layer's name and its activation, returns its result.
            keep: further tensors that steps read or write, to return as well.
            layer_bytes: memory that it may take beside what the inputs account for.

        Returns:
            The outputs by name, and what was to be kept.

        Raises:
            ModelError: BSC304 when onnxruntime cannot run a digital operator; BSC312 when the batch takes far more
                memory than it has values.
        """
        size = sum(np.asarray(value).nbytes for value in feeds.values())
        try:
            with bounded_memory(GROWTH * size + layer_bytes):
                return self._run(feeds, run_layer, keep)
        except MemoryError:
            raise ModelError(
                "BSC312",
                "running the model takes more memory than its inputs account for",
                seen=f"inputs of {size} bytes",
                fix="check the model's shapes, such as pads, and run fewer samples at a time",
            ) from None

    def _run(
        self, feeds: Mapping[str, NDArray[Any]], run_layer: RunLayer, keep: Collection[str]
    ) -> dict[str, NDArray[Any]]:
        last_use = {name: index for index, step in enumerate(self._steps) for name in step.inputs}
        wanted = {*self._outputs, *keep}
        tensors = dict(feeds)
        for index, step in enumerate(self._steps):
            if isinstance(step, LayerStep):
                tensors[step.outputs[0]] = run_layer(step.layer, _tensor(tensors[step.inputs[0]], step.layer))
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
            results = run_session(self._sessions[index], list(segment.outputs), feeds)
        except Exception as error:  # onnxruntime raises a kind of its own for each failure
            raise ModelError(
                "BSC304",
                f"digital operators before tensor '{segment.outputs[-1]}' cannot be run",
                seen=str(error).strip().splitlines()[0][:200],
                fix="check the model in onnxruntime and that the data has the model's input shape",
            ) from None
        return dict(zip(segment.outputs, results, strict=True))
