"""Tiny ONNX models, and the float results that everything quantised is compared with: for tests of passes.

    graph = imported(mlp_model(4, 3, 2), tmp_path)
    feeds = random_feeds(graph, batch=3)
    y = float_outputs(graph, feeds)["y"]        # what the ONNX model computes

All weights are random with a fixed seed: the same call gives the same bytes.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
from numpy.typing import DTypeLike, NDArray
from onnx import helper, numpy_helper

from bsc.execution.program import Program, RunLayer
from bsc.execution.session import with_whole_sums
from bsc.frontend.onnx_import import import_model
from bsc.ir.graph import Graph
from bsc.ir.schedule import schedule
from bsc.replay.calibrate import float_result


def random_weights(*shape: int, seed: int = 0, dtype: DTypeLike = np.float32) -> NDArray[Any]:
    """Normal numbers of standard deviation 1 / sqrt(size of all axes but the first)."""
    values = np.random.default_rng(seed).standard_normal(shape)
    return np.asarray(values / math.sqrt(max(math.prod(shape[1:]), 1)), dtype)


def tiny_model(
    graph: str, weights: Mapping[str, NDArray[Any]] | None = None, *, opset: int = 17, domains: Sequence[str] = ()
) -> onnx.ModelProto:
    """A model from ONNX's text form.

    Args:
        graph: such as `"(float[N,4] x) => (float[N,2] y) { [fc] y = MatMul(x, w) }"`; `[fc]` names the operator
            and `float[]` leaves a shape open.
        weights: initialisers by name.
        opset: version of the standard domain.
        domains: further domains, at version 1.
    """
    parsed = onnx.parser.parse_graph(f"tiny {graph}")
    parsed.initializer.extend(numpy_helper.from_array(array, name) for name, array in (weights or {}).items())
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(parsed, opset_imports=opsets, ir_version=helper.find_min_ir_version_for(opsets, True))


def mlp_model(*sizes: int, batch: int | str = "N", opset: int = 17, seed: int = 0) -> onnx.ModelProto:
    """Gemm layers fc0, fc1, ... with Relu between them: `mlp_model(4, 3, 2)` takes x of (N, 4) to y of (N, 2)."""
    weights: dict[str, NDArray[Any]] = {}
    body, x = "", "x"
    for index, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes)):
        weights[f"w{index}"] = random_weights(fan_in, fan_out, seed=seed + 2 * index)
        weights[f"b{index}"] = random_weights(fan_out, seed=seed + 2 * index + 1)
        last = index == len(sizes) - 2
        body += f"[fc{index}] {'y' if last else f'h{index}'} = Gemm({x}, w{index}, b{index})\n"
        if not last:
            x = f"a{index}"
            body += f"[relu{index}] {x} = Relu(h{index})\n"
    head = f"(float[{batch},{sizes[0]}] x) => (float[{batch},{sizes[-1]}] y)"
    return tiny_model(f"{head} {{ {body} }}", weights, opset=opset)


def conv_model(
    *,
    channels: int = 3,
    spatial: Sequence[int | str] = (8, 8),
    filters: int = 4,
    kernel: Sequence[int] = (3, 3),
    groups: int = 1,
    attributes: Sequence[str] = (),
    batch: int | str = "N",
    seed: int = 0,
) -> onnx.ModelProto:
    """One Conv with bias, named `conv`, from x to y; attributes in ONNX text, such as `"strides = [2, 2]"`."""
    weights = {
        "w": random_weights(filters, channels // groups, *kernel, seed=seed),
        "b": random_weights(filters, seed=seed + 1),
    }
    sizes = ",".join(map(str, (batch, channels, *spatial)))
    options = ", ".join([f"group = {groups}", *attributes])
    return tiny_model(f"(float[{sizes}] x) => (float[] y) {{ [conv] y = Conv <{options}> (x, w, b) }}", weights)


def save(model: onnx.ModelProto, path: Path) -> Path:
    """Write the model, unchecked so that broken ones can be tested; returns `path`."""
    path.write_bytes(model.SerializeToString(deterministic=True))
    return path


def imported(
    model: onnx.ModelProto,
    folder: Path,
    input_shapes: Mapping[str, tuple[int, ...]] | None = None,
    **options: Any,
) -> Graph:
    """The graph of a model, by way of the file `folder / "model.onnx"`; options as `import_model` has them."""
    return import_model(save(model, folder / "model.onnx"), input_shapes, **options)


def random_feeds(graph: Graph, *, batch: int = 1, seed: int = 0) -> dict[str, NDArray[Any]]:
    """A value for every model input; a free batch has as many samples as `batch` says."""
    rng = np.random.default_rng(seed)
    feeds = {}
    for name in graph.inputs:
        tensor = graph.tensors[name]
        sizes = tensor.shape or ()
        if graph.info.dynamic_batch:
            sizes = tuple(batch if axis == tensor.batch_axis else size for axis, size in enumerate(sizes))
        feeds[name] = np.asarray(3 * rng.standard_normal(sizes)).astype(tensor.dtype)
    return feeds


def float_layer(graph: Graph) -> RunLayer:
    """Computes a crossbar layer with its float weights."""
    layers = {layer.name: layer for layer in graph.layers()}
    return lambda name, x: float_result(graph, layers[name], x)


def float_outputs(graph: Graph, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The model's outputs by name, computed through the crossbar view with float weights."""
    return Program(schedule(graph), graph.outputs).run(feeds, float_layer(graph))


def reference_session(model: onnx.ModelProto) -> Any:
    """Onnxruntime's session of a model as the judge of ours: operator by operator, since fused ones round elsewhere.

    Products of 8-bit integers saturate on processors without VNNI unless constants are made unsigned, which is done by
    an optimiser: models that have such products run with it.
    """
    import onnxruntime

    levels = onnxruntime.GraphOptimizationLevel
    saturating = any(node.op_type in _OF_8_BIT_INTEGERS for node in model.graph.node)
    serialised = model.SerializeToString()

    def options() -> Any:
        chosen = onnxruntime.SessionOptions()
        chosen.log_severity_level = 4
        chosen.add_session_config_entry("session.disable_quant_qdq", "1")
        chosen.graph_optimization_level = levels.ORT_ENABLE_EXTENDED if saturating else levels.ORT_DISABLE_ALL
        return chosen

    return with_whole_sums(
        options, lambda chosen: onnxruntime.InferenceSession(serialised, chosen, providers=["CPUExecutionProvider"])
    )


_OF_8_BIT_INTEGERS = frozenset(
    {
        *("ConvInteger", "DynamicQuantizeLSTM", "DynamicQuantizeMatMul", "MatMulInteger", "MatMulIntegerToFloat"),
        *("QAttention", "QGemm", "QLinearConv", "QLinearMatMul"),
    }
)


def assert_same_as_onnxruntime(
    model: onnx.ModelProto, graph: Graph, *, batch: int = 1, tolerance: float = 1e-4
) -> None:
    """The graph of a model, maybe rewritten by passes, must have the model's inputs, outputs and float results."""
    session = reference_session(model)
    assert sorted(graph.inputs) == sorted(value.name for value in session.get_inputs())
    assert list(graph.outputs) == [value.name for value in session.get_outputs()]
    feeds = random_feeds(graph, batch=batch)
    results = float_outputs(graph, feeds)
    for name, expected in zip(graph.outputs, session.run(None, feeds), strict=True):
        assert (results[name].shape, results[name].dtype) == (expected.shape, expected.dtype), name
        scale = float(np.abs(expected).max(initial=0))
        np.testing.assert_allclose(results[name], expected, rtol=tolerance, atol=tolerance * scale, err_msg=name)
