"""Models to cover: of the onnx package's own tests, of both exporters of PyTorch, and quantised by onnxruntime."""

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from tests.coverage.networks import NETWORKS, network

Feeds = Mapping[str, NDArray[Any]]

DATA = Path(onnx.__file__).parent / "backend" / "test" / "data"
LIGHT = ("bvlc_alexnet", "densenet121", "inception_v1", "inception_v2", "resnet50", "shufflenet", "squeezenet")
LIGHT_LARGE = ("vgg19", "zfnet512")
CROSSBAR_OPS = frozenset({
    "Conv", "ConvInteger", "ConvTranspose", "Einsum", "GRU", "Gemm", "LSTM", "MatMul", "MatMulInteger", "QLinearConv",
    "QLinearMatMul", "RNN",
})  # fmt: skip
SCRIPT_OPSETS = (11, 13, 15, 17, 18, 20)
DYNAMO_OPSETS = (18, 20, 22, 24, 25)
NEWEST_OPSET = 25
BATCH = 2


@dataclass(frozen=True, eq=False, kw_only=True)
class Case:
    """A model and inputs for it.

    Attributes:
        name: unique.
        model: serialised.
        feeds: a value for every input.
        expected: stored outputs, or None to ask onnxruntime.
        options: of its compilation, as `CompileOptions` has them.
    """

    name: str
    model: onnx.ModelProto
    feeds: Feeds
    expected: Sequence[NDArray[Any]] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


def light_cases(names: Sequence[str] = (*LIGHT, *LIGHT_LARGE)) -> Iterator[Case]:
    """The full-size networks of the onnx package; their weights are constants of one value."""
    for name in names:
        model = onnx.load(DATA / "light" / f"light_{name}.onnx")
        taken = {tensor.name for tensor in model.graph.initializer}
        (value,) = (value for value in model.graph.input if value.name not in taken)
        shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        yield Case(name=f"light {name}", model=model, feeds={value.name: x})


def stored_cases() -> Iterator[Case]:
    """Models converted from PyTorch, with inputs and outputs, that contain an operator for crossbars."""
    for path in sorted(DATA.glob("pytorch-*/*/model.onnx")):
        model = onnx.load(path)
        if CROSSBAR_OPS & {node.op_type for node in model.graph.node}:
            folder = path.parent / "test_data_set_0"
            taken = {tensor.name for tensor in model.graph.initializer}
            names = [value.name for value in model.graph.input if value.name not in taken]
            inputs = [_tensor(folder / f"input_{at}.pb") for at in range(len(names))]
            outputs = [_tensor(folder / f"output_{at}.pb") for at in range(len(model.graph.output))]
            feeds = dict(zip(names, inputs, strict=True))
            yield Case(name=f"{path.parent.parent.name} {path.parent.name}", model=model, feeds=feeds, expected=outputs)


def _tensor(path: Path) -> NDArray[Any]:
    return numpy_helper.to_array(onnx.load_tensor(path))


def node_cases() -> Iterator[Case]:
    """Single operators of the onnx package's tests; all inputs but one activation become constants."""
    from onnx.backend.test.case.node import collect_testcases

    with quiet():
        found = collect_testcases("")
    for test in found:
        if test.model is None:
            continue
        ops = {node.op_type for node in test.model.graph.node}
        if not (ops & CROSSBAR_OPS and test.data_sets) or "expanded" in test.name:
            continue
        inputs, outputs = test.data_sets[0]
        for activation in (0, 1) if ops & {"MatMul", "Einsum"} else (0,):
            model = onnx.ModelProto.FromString(test.model.SerializeToString())
            for entry in model.opset_import:  # the package's newest opset is ahead of any exporter's
                entry.version = min(entry.version, NEWEST_OPSET)
            feeds: dict[str, NDArray[Any]] = {}
            for at, (value, array) in enumerate(zip(list(model.graph.input), inputs, strict=True)):
                if at == activation:
                    feeds[value.name] = np.asarray(array)
                else:
                    model.graph.initializer.append(numpy_helper.from_array(np.asarray(array), value.name))
                    model.graph.input.remove(value)
            if feeds:
                name = f"node {test.name}" + (", constant left" if activation else "")
                yield Case(name=name, model=model, feeds=feeds, expected=[np.asarray(array) for array in outputs])


def torch_cases(names: Sequence[str] = tuple(NETWORKS)) -> Iterator[Case]:
    """Every network by both exporters, if they can; the batch is free."""
    from torch.onnx.errors import UnsupportedOperatorError

    for name in names:
        for dynamo, opsets in ((False, SCRIPT_OPSETS), (True, DYNAMO_OPSETS)):
            for opset in opsets:
                try:
                    case = exported(name, opset=opset, dynamo=dynamo)
                except UnsupportedOperatorError:  # an operator that the exporter has from a later opset on
                    continue
                yield case


def exported(name: str, *, opset: int, dynamo: bool) -> Case:
    """A network of `NETWORKS` as ONNX, and two samples."""
    import torch

    x = NETWORKS[name][1]
    path = Path(tempfile.mkdtemp()) / "model.onnx"
    options: dict[str, Any] = {"dynamic_axes": {"x": {0: "N"}}}
    sample = x
    if dynamo:
        options = {"dynamic_shapes": ({0: torch.export.Dim.DYNAMIC},), "verbose": False}
        sample = x.repeat(2, *(1,) * (x.ndim - 1))
    with quiet():
        torch.onnx.export(
            network(name), (sample,), path, input_names=["x"], opset_version=opset, dynamo=dynamo, **options
        )
        model = onnx.load(path)
    rng = np.random.default_rng(0)
    shape = (BATCH, *x.shape[1:])
    feed = rng.integers(0, 20, shape) if x.dtype == torch.int64 else rng.standard_normal(shape).astype(np.float32)
    label = "dynamo" if dynamo else "script"
    return Case(name=f"torch {name}, {label}, opset {opset}", model=model, feeds={"x": feed})


def quantised_cases(names: Sequence[str] = tuple(NETWORKS)) -> Iterator[Case]:
    """Every network quantised by onnxruntime in each of its ways."""
    for name in names:
        for how in ("QDQ", "QDQ per channel", "QDQ 16 bit", "QOperator", "QOperator per channel", "dynamic"):
            yield quantised(exported(name, opset=17 if "16" not in how else 21, dynamo="16" in how), how)


def quantised(case: Case, how: str) -> Case:
    """A case quantised by onnxruntime."""
    from onnxruntime import quantization as q
    from onnxruntime.quantization.shape_inference import quant_pre_process

    folder = Path(tempfile.mkdtemp())
    first, ready, last = (folder / f"{step}.onnx" for step in ("float", "ready", "quantised"))
    onnx.save(case.model, first)

    class Reader(q.CalibrationDataReader):  # type: ignore[misc]
        """The case's own inputs, once."""

        def __init__(self) -> None:
            self._feeds = iter([dict(case.feeds)])

        def get_next(self) -> dict[str, NDArray[Any]] | None:
            """The next inputs."""
            return next(self._feeds, None)

    with quiet():
        quant_pre_process(first, ready, skip_symbolic_shape=True)
        if how == "dynamic":
            q.quantize_dynamic(ready, last)
        else:
            wide = {"activation_type": q.QuantType.QUInt16, "weight_type": q.QuantType.QInt8} if "16" in how else {}
            q.quantize_static(
                ready,
                last,
                Reader(),
                quant_format=q.QuantFormat.QDQ if "QDQ" in how else q.QuantFormat.QOperator,
                per_channel="per channel" in how,
                **wide,
            )
    return Case(name=f"{case.name}, {how}", model=onnx.load(last), feeds=case.feeds)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep exporters and quantisers off the terminal."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


GROUPS: Mapping[str, Any] = {
    "light": light_cases,
    "stored": stored_cases,
    "node": node_cases,
    "torch": torch_cases,
    "quantised": quantised_cases,
}
