"""The imported graph against the file: what is refused, what is rounding, and what cannot be compared."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from bsc.errors import ModelError
from bsc.frontend.onnx_import import import_model
from bsc.ir.graph import DigitalOp, Graph, ImportCheck, Op
from bsc.replay import import_check
from bsc.replay.calibrate import float_result
from bsc.replay.dataset import Dataset
from bsc.replay.import_check import STEP_TOLERANCE, TOLERANCE, _difference, check_import
from bsc.testing import conv_model, mlp_model, random_weights, save, tiny_model
from tests.bsc.frontend.declared import declared
from tests.coverage.cases import quiet

W = random_weights(8, 6)
V = random_weights(6, 4, seed=1)


def checked_graph(graph: Graph, path: Path, data: Dataset | None) -> Graph:
    return check_import(graph, path, data)[0]


def checked(model: onnx.ModelProto, folder: Path, data: Dataset | None = None, **options: Any) -> Graph:
    path = save(model, folder / "model.onnx")
    return checked_graph(import_model(path, **options), path, data)


def check_of(graph: Graph) -> ImportCheck:
    assert graph.info.check is not None
    return graph.info.check


# --- what is right ---


def test_a_right_import_says_what_it_was_checked_on(tmp_path: Path) -> None:
    check = check_of(checked(mlp_model(8, 6, 4), tmp_path))
    assert (check.inputs, check.samples, check.reason) == ("made-up", 2, "")
    assert str(check) == "checked in onnxruntime on 2 made-up samples"
    fixed = check_of(checked(mlp_model(8, 6, 4, batch=1), tmp_path))
    assert str(fixed) == "checked in onnxruntime on 1 made-up sample"
    rows = np.random.default_rng(0).standard_normal((5, 8)).astype(np.float32)
    data = Dataset(inputs={"x": rows}, labels=None, batch=256, sha256="", free_batch=True)
    assert str(check_of(checked(mlp_model(8, 6, 4), tmp_path, data))) == "checked in onnxruntime on 2 samples"


def test_the_data_given_are_what_is_run(tmp_path: Path) -> None:
    """The import is wrong only where x is 7, which no made-up input is."""
    model = tiny_model(
        "(float[N,8] x) => (float[] y) { d = Sub(x, seven) q = Sign(d) r = Abs(q) h = MatMul(r, w) y = Relu(h) }",
        {"w": W, "seven": np.full((1, 8), 7, np.float32)},
    )
    graph = altered(import_model(save(model, tmp_path / "model.onnx")), "Sign", "Cosh")
    ones = {"x": np.full((2, 8), 7, np.float32)}
    for inputs in (ones, {"x": np.zeros((2, 8), np.float32)}):
        data = Dataset(inputs=inputs, labels=None, batch=2, sha256="", free_batch=True)
        with pytest.raises(ModelError, match="tensor 'q'"):
            check_import(graph, tmp_path / "model.onnx", data)


def test_a_size_of_0_in_the_file_is_an_open_one(tmp_path: Path) -> None:
    check = check_of(checked(declared(mlp_model(8, 6), x=[0, 8]), tmp_path))
    assert (check.inputs, check.samples) == ("made-up", 2)


def test_weights_beside_the_model(tmp_path: Path) -> None:
    onnx.save(mlp_model(8, 6), tmp_path / "model.onnx", save_as_external_data=True, size_threshold=0)
    path = tmp_path / "model.onnx"
    assert check_of(checked_graph(import_model(path), path, None)).inputs == "made-up"


def test_a_large_file_is_opened_where_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bsc.replay.original.LARGE_FILE", 0)
    path = save(mlp_model(8, 6, 4), tmp_path / "model.onnx")
    assert check_of(checked_graph(import_model(path), path, None)).inputs == "made-up"
    with pytest.raises(ModelError, match="tensor 'y' is not what"):
        check_import(wrong_weight(import_model(path), "w0"), path, None)


def test_inputs_that_were_made_constants_are_given_to_the_file(tmp_path: Path) -> None:
    model = tiny_model(
        """(float[N,8] x, int64 rate) => (float[] y) {
            c = Equal(rate, high)
            y = If(c) <then_branch = t () => (float[] p) { p = MatMul(x, w) },
                       else_branch = e () => (float[] q) { q = MatMul(x, v) }> }""",
        {"w": W, "v": random_weights(8, 6, seed=2), "high": np.array(16000)},
    )
    for rate in (16000, 8000):
        graph = checked(model, tmp_path, constants={"rate": (rate,)})
        assert [graph.tensors[name].name for name in graph.inputs] == ["x"]
        assert check_of(graph).inputs == "made-up"


# --- what is wrong ---


def altered(graph: Graph, operator: str, other: str) -> Graph:
    """The graph with another operator in place of one, which an import might mistake it for."""
    ops: list[Op] = []
    for op in graph.ops():
        if isinstance(op, DigitalOp) and op.op_type == operator:
            node = onnx.NodeProto.FromString(op.node)
            node.op_type = other
            ops.append(replace(op, op_type=other, node=node.SerializeToString()))
        else:
            ops.append(op)
    arrays = {name: graph.array(name) for name in _constants(graph)}
    return Graph(
        info=graph.info, ops=ops, tensors=graph.tensors, inputs=graph.inputs, outputs=graph.outputs, arrays=arrays
    )


def wrong_weight(graph: Graph, name: str, factor: float = 1.01) -> Graph:
    arrays = {key: graph.array(key) * (factor if key == name else 1) for key in _constants(graph)}
    return Graph(
        info=graph.info,
        ops=graph.ops(),
        tensors=graph.tensors,
        inputs=graph.inputs,
        outputs=graph.outputs,
        arrays=arrays,
    )


def _constants(graph: Graph) -> list[str]:
    names = {name for op in graph.ops() if isinstance(op, DigitalOp) for name in op.inputs}
    names |= {key for layer in graph.layers() for key in (layer.weight, layer.bias) if key is not None}
    return [name for name in names if graph.has_array(name)]


def refused(graph: Graph, path: Path, data: Dataset | None = None) -> ModelError:
    with pytest.raises(ModelError) as caught:
        check_import(graph, path, data)
    assert caught.value.code == "BSC315"
    return caught.value


def test_words_for_a_wrong_import(tmp_path: Path) -> None:
    """A weight of the second layer is 1 % too large: everything before it is right."""
    path = save(mlp_model(8, 6, 5, 4), tmp_path / "model.onnx")
    error = refused(wrong_weight(import_model(path), "w1"), path)
    assert error.problem == "model 'model.onnx': tensor 'h1' (Gemm fc1) is not what onnxruntime gives for the file"
    assert error.seen.startswith("a difference of 0.0")
    assert error.fix == "report it, for the model was read wrongly; --no-import-check compiles it all the same"


SEGMENT = "(float[N,8] x) => (float[] y) { a = MatMul(x, w) b = Tanh(a) c = Sigmoid(b) d = Exp(c) y = MatMul(d, v) }"


@pytest.mark.parametrize(("operator", "other", "tensor"), [("Tanh", "Relu", "b"), ("Sigmoid", "HardSigmoid", "c")])
def test_the_first_wrong_tensor_inside_a_segment_is_named(
    operator: str, other: str, tensor: str, tmp_path: Path
) -> None:
    path = save(tiny_model(SEGMENT, {"w": W, "v": V}), tmp_path / "model.onnx")
    graph = altered(import_model(path), operator, other)
    assert f"tensor '{tensor}' ({operator}" in refused(graph, path).problem


def test_a_wrong_layer_that_an_argmax_hides(tmp_path: Path) -> None:
    """One column in five is the largest all the same; the layer's own result tells."""
    weights = {"w": W, "v": np.eye(6, dtype=np.float32)}
    model = tiny_model(
        "(float[N,8] x) => (int64[] y) { h = MatMul(x, w) g = MatMul(h, v) y = ArgMax <axis = 1> (g) }", weights
    )
    path = save(model, tmp_path / "model.onnx")
    graph = wrong_weight(import_model(path), "w", 1.5)
    assert "tensor 'h' (MatMul" in refused(graph, path).problem


def test_another_type_or_shape_is_wrong(tmp_path: Path) -> None:
    text = "(float[N,8] x) => (int64[] y) {{ h = MatMul(x, w) y = {} <axis = 1> (h) }}"
    path = save(tiny_model(text.format("ArgMax"), {"w": W}), tmp_path / "model.onnx")
    assert "values differ" in refused(altered(import_model(path), "ArgMax", "ArgMin"), path).seen


def test_integers_are_exact(tmp_path: Path) -> None:
    text = "(float[N,8] x) => (float[] h, uint8[] q) { h = MatMul(x, w) q = QuantizeLinear(h, s, z) }"
    path = save(
        tiny_model(text, {"w": W, "s": np.array(0.01, np.float32), "z": np.array(128, np.uint8)}),
        tmp_path / "model.onnx",
    )
    assert check_of(checked_graph(import_model(path), path, None)).inputs == "made-up"
    assert "of 12 values differ" in refused(wrong_weight(import_model(path), "s", 1.02), path).seen


# --- what is rounding ---


def chaotic() -> onnx.ModelProto:
    """Codes of 1/4096 on a sum, then a gain of 4096: a code that rounds to its neighbour changes results by 1."""
    return tiny_model(
        """(float[N,64] x) => (float[] y) {
            a = MatMul(x, w)
            q = QuantizeLinear(a, step, zero)
            b = DequantizeLinear(q, step, zero)
            y = MatMul(b, v) }""",
        {
            "w": random_weights(64, 512),
            "v": random_weights(512, 4),
            "step": np.array(1e-4, np.float32),
            "zero": np.array(0, np.int16),
        },
        opset=21,
    )


def test_rounding_that_a_quantiser_makes_large_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With no room for rounding at the end, every step is looked at, and none of them is wrong."""
    path = save(chaotic(), tmp_path / "model.onnx")
    steps: list[object] = []
    first = import_check._first_wrong_step

    def noted(*arguments: Any) -> Any:
        steps.append(first(*arguments))
        return steps[-1]

    exact = float_result  # some processors add like onnxruntime to the last bit
    monkeypatch.setattr("bsc.replay.calibrate.float_result", lambda *given: exact(*given) * np.float32(1 + 2**-22))
    monkeypatch.setattr(import_check, "TOLERANCE", 0.0)
    monkeypatch.setattr(import_check, "_first_wrong_step", noted)
    assert check_of(checked_graph(import_model(path), path, None)).inputs == "made-up"
    assert steps == [None]
    refused(wrong_weight(import_model(path), "v"), path)


LARGE = np.linspace(-1, 1, 5000, dtype=np.float32)


@pytest.mark.parametrize(
    ("got", "wanted", "tolerance", "wrong"),
    [
        (LARGE * (1 + 0.9 * TOLERANCE), LARGE, TOLERANCE, ""),
        (LARGE * (1 + 1.1 * TOLERANCE), LARGE, TOLERANCE, "a difference of 0.00011, where the largest value is 1"),
        (LARGE * (1 + 0.9 * STEP_TOLERANCE), LARGE, STEP_TOLERANCE, ""),
        (LARGE.astype(np.float16) * np.float16(1.01), LARGE.astype(np.float16), TOLERANCE, ""),
        (LARGE * 0, LARGE * 0, TOLERANCE, ""),
        (LARGE * 0 + 1e-30, LARGE * 0, TOLERANCE, "a difference of 1e-30, where the largest value is 0"),
        (np.array([np.nan, 1], np.float32), np.array([np.nan, 1], np.float32), TOLERANCE, ""),
        (np.array([0, 1], np.float32), np.array([np.nan, 1], np.float32), TOLERANCE, "NaN or infinity in other places"),
        (np.array([np.inf], np.float32), np.array([-np.inf], np.float32), TOLERANCE, "NaN or infinity in other places"),
        (np.arange(5000), np.arange(5000), TOLERANCE, ""),
        (np.arange(5000) + (np.arange(5000) < 1), np.arange(5000), TOLERANCE, "1 of 5000 values differ"),
        (np.arange(5000) + (np.arange(5000) < 5), np.arange(5000), STEP_TOLERANCE, ""),
        (np.arange(5000) + (np.arange(5000) < 6), np.arange(5000), STEP_TOLERANCE, "6 of 5000 values differ"),
        (np.arange(5000) + 2 * (np.arange(5000) < 1), np.arange(5000), STEP_TOLERANCE, "1 of 5000 values differ"),
        (np.array([True]), np.array([False]), STEP_TOLERANCE, "1 of 1 values differ"),
        (np.array(["a", "b"]), np.array(["a", "c"]), TOLERANCE, "1 of 2 values differ"),
        (np.zeros(2), np.zeros((2, 1)), TOLERANCE, "float64 of shape (2,) in place of float64 of shape (2, 1)"),
        (np.zeros(2), np.zeros(2, np.float32), TOLERANCE, "float64 of shape (2,) in place of float32 of shape (2,)"),
        ([np.zeros(2), np.ones(2)], [np.zeros(2), np.ones(2)], TOLERANCE, ""),
        ([np.zeros(2)], [np.ones(2)], TOLERANCE, "a difference of 1, where the largest value is 1"),
        ([np.zeros(2)], [np.zeros(2), np.ones(2)], TOLERANCE, "another value"),
        ({"a": 0.5}, {"a": 0.5}, TOLERANCE, ""),
        ({"a": 0.5, "b": 1.0}, {"a": 0.5, "b": 0.5}, TOLERANCE, "a difference of 0.5, where the largest value is 0.5"),
        ({"a": 0.5}, {"b": 0.5}, TOLERANCE, "another value"),
    ],
)
def test_what_counts_as_a_difference(got: Any, wanted: Any, tolerance: float, wrong: str) -> None:
    assert _difference(got, wanted, tolerance) == wrong


def test_a_layer_whose_sums_cancel_may_differ_by_more_than_its_results(tmp_path: Path) -> None:
    """Every column of weights adds up to nothing but for 1e-6, and the inputs are alike."""
    column = np.tile(np.array([1, -1], np.float32), 32)[:, None] * np.linspace(1, 900, 4, dtype=np.float32)
    model = tiny_model("(float[N,64] x) => (float[] y) { y = MatMul(x, w) }", {"w": column + np.float32(1e-6)})
    inputs = {"x": np.full((2, 64), 1 / 3, np.float32)}
    data = Dataset(inputs=inputs, labels=None, batch=2, sha256="", free_batch=True)
    assert check_of(checked(model, tmp_path, data)).inputs == "data"


# --- what cannot be compared ---


def test_a_file_that_onnxruntime_cannot_run(tmp_path: Path) -> None:
    model = tiny_model("(float[N,8] x) => (float[] y) { h = MatMul(x, w) y = Trunc2(h) }", {"w": W})
    model.graph.node[1].domain = "com.microsoft"
    model.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    check = check_of(checked(model, tmp_path))
    assert check.inputs == "none"
    assert check.reason.startswith("onnxruntime cannot run the file on made-up inputs: ")
    assert str(check).startswith("not checked: onnxruntime cannot run")


def test_made_up_inputs_that_the_file_does_not_take(tmp_path: Path) -> None:
    """What is added to them before they are row numbers is not followed."""
    model = tiny_model(
        "(float[N,8] x, int64[3] at) => (float[] y) { r = Sub(far, at) g = GatherElements <axis = 0> (t, r) "
        "h = Mul(x, g2) s = ReduceSum <keepdims = 0> (g) m = Add(h, s) y = MatMul(m, w) }",
        {"w": W, "far": np.array([90]), "t": random_weights(5), "g2": np.array(1, np.float32)},
    )
    check = check_of(checked(model, tmp_path))
    assert check.inputs == "none"
    assert "while running GatherElements node" in check.reason


def test_a_layer_too_large_to_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = conv_model(spatial=[9, 9])
    for limit, inputs in ((49 * 27, "made-up"), (49 * 27 - 1, "none")):
        monkeypatch.setattr(import_check, "MOST_VALUES", limit)
        check = check_of(checked(model, tmp_path))
        assert check.inputs == inputs
    assert check.reason == "a layer of 1323 input values for one sample is more than is run"
    for limit, samples in ((2 * 49 * 27, 2), (2 * 49 * 27 - 1, 1)):
        monkeypatch.setattr(import_check, "MOST_VALUES", 1 << 28)
        monkeypatch.setattr(import_check, "PAIR_VALUES", limit)
        assert check_of(checked(model, tmp_path)).samples == samples


def test_nothing_runs_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model(
        """(float[N,8] x) => (float[] y) {
            h = MatMul(x, w)
            y = Loop(, yes, h) <body = b (int64 n, bool more, float[N,6] old) => (bool go, float[N,6] new) {
                                  go = Identity(more) new = Cos(old) }> }""",
        {"w": W, "yes": np.array(True)},
    )
    monkeypatch.setattr(import_check, "SECONDS", 0.2)
    check = check_of(checked(model, tmp_path))
    assert check.reason == "onnxruntime cannot run the file on made-up inputs: it runs for more than 0 s"


def test_tensors_are_held_in_lots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With room for one tensor only, the steps are still looked at one after another."""
    monkeypatch.setattr(import_check, "COMPARED_BYTES", 1)
    path = save(mlp_model(8, 6, 5, 4), tmp_path / "model.onnx")
    assert check_of(checked_graph(import_model(path), path, None)).inputs == "made-up"
    assert "tensor 'h1' (Gemm fc1)" in refused(wrong_weight(import_model(path), "w1"), path).problem


@pytest.mark.parametrize(("most", "compared"), [(2 * 5 * 4, True), (2 * 5 * 4 - 1, False)])
def test_outputs_of_which_two_would_take_too_much(
    most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, compared: bool
) -> None:
    """Two samples of five floats."""
    monkeypatch.setattr(import_check, "MOST_OUTPUT_BYTES", most)
    path = save(mlp_model(8, 5), tmp_path / "model.onnx")
    check = check_of(checked_graph(import_model(path), path, None))
    assert check.inputs == ("made-up" if compared else "none")
    assert compared or check.reason == "40 bytes of outputs are more than are compared"


@pytest.mark.parametrize(("factor", "wrong"), [(1.0, False), (1.5, True)])
def test_an_operator_that_onnxruntime_computes_in_a_way_of_its_own(factor: float, wrong: bool, tmp_path: Path) -> None:
    """It quantises the states of DynamicQuantizeLSTM: outputs are compared as closely as that allows."""
    from onnxruntime.quantization import quantize_dynamic

    model = tiny_model(
        "(float[5,N,8] x) => (float[] y) { z, h = LSTM <hidden_size = 8> (x, w, r)  y = MatMul(h, on) }",
        {"w": random_weights(1, 32, 8), "r": random_weights(1, 32, 8, seed=1), "on": random_weights(8, 3)},
        opset=13,
    )
    save(model, tmp_path / "float.onnx")
    with quiet():
        quantize_dynamic(tmp_path / "float.onnx", tmp_path / "model.onnx", op_types_to_quantize=["LSTM"])
    graph = wrong_weight(import_model(tmp_path / "model.onnx"), "on", factor)
    if wrong:
        assert "tensor 'y' (MatMul" in refused(graph, tmp_path / "model.onnx").problem
    else:
        assert check_of(checked_graph(graph, tmp_path / "model.onnx", None)).inputs == "made-up"


def test_a_fixed_batch_that_the_file_does_not_run_with(tmp_path: Path) -> None:
    model = tiny_model("(float[4,8] x) => (float[] y) { h = MatMul(x, w) y = Unheard(h) }", {"w": W})
    model.graph.node[1].domain = "com.microsoft"
    model.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    assert check_of(checked(model, tmp_path)).inputs == "none"


# --- the batch ---


def test_a_model_that_does_not_run_with_two_samples(tmp_path: Path) -> None:
    """Sizes do not tell: the outputs grow with the batch, and a mask of one row is cut out of them at run time."""
    model = tiny_model(
        """(float[N,8] x) => (float[] y) {
            n = Shape(x) first = Gather(n, zero) ones = Unsqueeze(first, zeros) d = Sub(ones, one) ok = Gather(table, d)
            a = MatMul(x, w) y = Add(a, ok) }""",
        {
            "w": W,
            "zero": np.array(0),
            "zeros": np.array([0]),
            "one": np.array([1]),
            "table": np.zeros(1, np.float32),
        },
    )
    graph = checked(model, tmp_path)
    assert (graph.info.dynamic_batch, graph.tensors["x"].batch_axis) == (False, 0)
    assert graph.info.notes == ("the model takes one sample at a time: it does not run with two",)
    assert check_of(graph).samples == 1


@pytest.mark.parametrize(
    ("body", "coupled"),
    [
        ("h = MatMul(x, w) m = ReduceMean <axes = [0]> (h) y = Sub(h, m)", True),
        ("h = MatMul(x, w) m = ReduceMean <axes = [1]> (h) y = Sub(h, m)", False),
    ],
)
def test_samples_that_influence_each_other(body: str, coupled: bool, tmp_path: Path) -> None:
    graph = checked(tiny_model(f"(float[N,8] x) => (float[] y) {{ {body} }}", {"w": W}), tmp_path)
    assert graph.info.dynamic_batch
    note = "the result of a sample depends on the samples that it is run with"
    assert graph.info.notes == ((note,) if coupled else ())


def test_weights_that_links_lead_to(tmp_path: Path) -> None:
    """As model hubs lay them out: onnxruntime itself follows no link out of the folder."""
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "abc"
    for folder in (blobs, snapshot):
        folder.mkdir(parents=True)
    onnx.save(mlp_model(8, 6), tmp_path / "m.onnx", save_as_external_data=True, size_threshold=0, location="m.data")
    for name, blob in (("m.onnx", "1111"), ("m.data", "2222")):
        (tmp_path / name).rename(blobs / blob)
        (snapshot / name).symlink_to(blobs / blob)
    path = snapshot / "m.onnx"
    assert check_of(checked_graph(import_model(path), path, None)).inputs == "made-up"


def test_no_folder_of_this_machine_gets_into_a_reason() -> None:
    said = 'External data path does not exist: "/home/me/m.data", at /src/core/x.cc:150 Check of a/b failed'
    assert import_check.PLACES.sub("", said) == "External data path does not exist: , at Check of a/b failed"


def test_inputs_that_are_too_many_to_make_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bsc.replay.import_check.MAX_MADE_VALUES", 7)
    monkeypatch.setattr("bsc.replay.dataset.MAX_MADE_VALUES", 7)
    monkeypatch.setattr("bsc.ir.input_values.MAX_MADE_VALUES", 7)
    path = save(mlp_model(8, 5), tmp_path / "model.onnx")
    check = check_of(checked_graph(import_model(path), path, None))
    assert (check.inputs, check.reason) == ("none", "input 'x' cannot be made up: float32 of shape (1, 8)")
