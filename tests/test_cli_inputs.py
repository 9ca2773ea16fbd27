"""Inputs of any kind through the commands: made up, constant, with a batch anywhere; and the check of the import."""

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result

from bsc.cli import main
from bsc.plan.folder import read_plan
from bsc.testing import mlp_model, random_weights, save, tiny_model

W = random_weights(8, 6)
SPEECH = tiny_model(
    """(float[N,8] x, int64 rate) => (float[] y) {
        c = Equal(rate, high)
        y = If(c) <then_branch = t () => (float[] p) { p = MatMul(x, w) },
                   else_branch = e () => (float[] q) { q = MatMul(x, v) }> }""",
    {"w": W, "v": random_weights(8, 6, seed=1), "high": np.array(16000)},
)
TEXT = tiny_model(
    """(int64[N,5] ids, bool[N,5] mask) => (float[] y, int64[] best) {
        e = Gather(table, ids)
        f = Cast <to = 1> (mask)
        u = Unsqueeze(f, ax)
        m = Mul(e, u)
        y = MatMul(m, w)
        best = ArgMax <axis = 2> (y) }""",
    {"table": random_weights(50, 8), "w": W, "ax": np.array([2])},
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, list(map(str, arguments)))


def compiled(model: onnx.ModelProto, *options: object) -> Result:
    save(model, Path("model.onnx"))
    result = run("compile", "model.onnx", "--force", *options)
    assert result.exit_code == 0, result.output
    return result


def verified(*options: object) -> Any:
    result = run("verify", "model.bsc", "--json", *options)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_an_if_on_a_constant_lands_on_crossbars_and_no_command_asks_for_it() -> None:
    save(SPEECH, Path("model.onnx"))
    result = run("compile", "model.onnx")
    assert (result.exit_code, result.stderr) == (
        3,
        "error [BSC306] no operator of the model can go onto crossbars\n"
        "  seen: If If_1: which of its branches runs depends on input 'rate'; it holds 2 products with weights\n"
        "  fix:  make that input a constant, as --set NAME=VALUE\n",
    )
    compiled(SPEECH, "--set", "rate=16000")
    plan = read_plan(Path("model.bsc"))
    assert [tensor.name for tensor in plan.document.inputs] == ["x"]
    (layer,) = plan.mapping.layers
    assert layer.rows == 8
    (constant,) = plan.document.model.constants
    assert (constant.name, constant.values) == ("rate", (16000,))
    found = verified("--model", "model.onnx", "--per-layer")
    assert found["exact"]
    assert 0 < found["float_difference_relative_rms"] < 0.05
    np.savez("data.npz", x=random_weights(3, 8))
    assert verified("--data", "data.npz", "--model", "model.onnx")["samples"] == 3
    assert run("check", "model.onnx", "--set", "rate=16000").exit_code == 0


def test_integers_and_booleans_are_made_up_and_all_outputs_compared() -> None:
    compiled(TEXT)
    ids, mask = read_plan(Path("model.bsc")).document.inputs
    assert (ids.values, ids.batch_axis, mask.values) == ((0, 49), 0, None)
    found = verified("--model", "model.onnx")
    assert found["samples"] == 64
    assert set(found["outputs"]) == {"y", "best"}
    assert found["outputs"]["y"]["values"] == 64 * 5 * 6
    assert found["outputs"]["best"]["values"] == 64 * 5
    assert run("simulate", "model.bsc", "--limit", 2, "--noise", "generic", "--trials", 1).exit_code == 0


@pytest.mark.parametrize("command", ["verify", "simulate"])
def test_values_that_the_user_gives(command: str) -> None:
    compiled(TEXT, "--input", "ids=0..9")
    (ids, _) = read_plan(Path("model.bsc")).document.inputs
    assert ids.values == (0, 9)
    assert run(command, "model.bsc", "--limit", 2, "--input", "ids=3", "--input", "mask=true").exit_code == 0
    result = run(command, "model.bsc", "--limit", 2, "--input", "ids=60")
    assert (result.exit_code, "BSC304" in result.stderr) == (3, True)
    result = run(command, "model.bsc", "--input", "idx=3")
    assert result.exit_code == 2
    assert "[BSC201] --input names no input of the model: 'idx'" in result.stderr


def test_values_for_inputs_that_the_data_lack() -> None:
    model = tiny_model("(float[N,8] x, float gain) => (float[] y) { h = MatMul(x, w) y = Mul(h, gain) }", {"w": W})
    compiled(model)
    np.savez("data.npz", x=random_weights(3, 8))
    result = run("verify", "model.bsc", "--data", "data.npz")
    assert (result.exit_code, "input 'gain' does not fit" in result.stderr) == (3, True)
    assert verified("--data", "data.npz", "--input", "gain=0.5", "--model", "model.onnx")["exact"]


def test_a_large_image_is_one_sample() -> None:
    """64 of them would be more than are made up."""
    model = tiny_model(
        "(float[N,3,640,640] x) => (float[] y) { p = AveragePool <kernel_shape = [64,64], strides = [64,64]> (x) "
        "y = Conv(p, k) }",
        {"k": random_weights(2, 3, 3, 3)},
    )
    compiled(model)
    assert verified("--model", "model.onnx")["samples"] == 27


def test_an_empty_past() -> None:
    model = tiny_model(
        """(float[N,S,16] x, float[N,P,8] past) => (float[] y, float[] kk) {
            k = MatMul(x, wk) kk = Concat <axis = 1> (past, k) q = MatMul(x, wq)
            kt = Transpose <perm = [0,2,1]> (kk) s = MatMul(q, kt) p = Softmax(s) y = MatMul(p, kk) }""",
        {"wk": random_weights(16, 8), "wq": random_weights(16, 8, seed=1)},
    )
    save(model, Path("model.onnx"))
    result = run("compile", "model.onnx")
    assert result.exit_code == 3
    line = result.stderr.splitlines()[-1].partition("for example: ")[2]
    compiled(model, *shlex.split(line))
    np.savez("data.npz", x=random_weights(2, 16, 16), past=np.zeros((2, 0, 8), np.float32))
    for options in ((), ("--data", "data.npz")):
        found = verified("--model", "model.onnx", *options)
        assert set(found["outputs"]) == {"y", "kk"}
        assert found["float_difference_relative_rms"] < 0.05


def test_a_batch_of_one_that_is_hard_coded_is_run_sample_by_sample() -> None:
    model = tiny_model(
        "(float[batch,2,6,6] x) => (float[] y) { c = Conv(x, k) f = Reshape(c, sh) y = MatMul(f, w) }",
        {"k": random_weights(1, 2, 3, 3), "sh": np.array([1, 16]), "w": random_weights(16, 3)},
    )
    result = compiled(model)
    assert result.stderr.splitlines()[0] == "note: the model takes one sample at a time: no output grows with the batch"
    np.savez("data.npz", x=random_weights(4, 2, 6, 6))
    found = verified("--data", "data.npz", "--model", "model.onnx")
    assert (found["samples"], found["exact"]) == (4, True)
    assert found["outputs"]["y"]["values"] == 12
    text = run("verify", "model.bsc", "--data", "data.npz").stdout.splitlines()
    assert "note       the model takes one sample at a time: no output grows with the batch" in text
    compiled(model, "--calib", "data.npz")


def test_a_state_whose_batch_is_its_second_axis() -> None:
    model = tiny_model(
        "(float[5,B,4] x, float[1,B,6] h) => (float[] z, float[] n) "
        "{ y, n = GRU <hidden_size = 6> (x, w, r, , , h)  z = MatMul(n, on) }",
        {"w": random_weights(1, 18, 4), "r": random_weights(1, 18, 6), "on": random_weights(6, 2)},
    )
    compiled(model)
    np.savez("data.npz", x=random_weights(5, 7, 4), h=random_weights(1, 7, 6))
    found = verified("--data", "data.npz", "--model", "model.onnx", "--batch", 3)
    assert (found["samples"], found["exact"]) == (7, True)
    assert found["float_difference_relative_rms"] < 0.05


# --- the check of the import ---


def test_what_exact_is_relative_to_is_said() -> None:
    result = compiled(mlp_model(8, 6, 4))
    assert result.stderr.startswith("\nwrote model.bsc/\nnext  bsc verify model.bsc ")
    for printed in (result.stdout, run("inspect", "model.bsc").stdout):
        assert "import     checked in onnxruntime on 2 made-up samples" in printed.splitlines()
    assert (
        "import     equals the file in onnxruntime on 2 made-up samples, but for rounding; as recorded"
        in run("verify", "model.bsc").stdout
    )


def test_no_import_check() -> None:
    result = compiled(mlp_model(8, 6, 4), "--no-import-check")
    assert result.stderr.startswith("note: the import is not checked: --no-import-check\n\nwrote model.bsc/\n")
    said = run("verify", "model.bsc").stdout
    assert "import     not checked: --no-import-check" in run("inspect", "model.bsc").stdout
    assert "import     not checked against the file: --no-import-check" in said


def test_a_file_that_onnxruntime_cannot_run_is_compiled_with_a_word() -> None:
    model = tiny_model("(float[N,8] x) => (float[] y) { h = MatMul(x, w) y = Unheard(h) }", {"w": W})
    model.graph.node[1].domain = "com.microsoft"
    model.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    said = compiled(model).stderr.splitlines()[0]
    assert said.startswith("note: the import is not checked: onnxruntime cannot run the file on made-up inputs: ")


@pytest.mark.parametrize("command", ["compile", "check"])
def test_a_wrong_import_is_refused(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Were Tanh read as Relu, no plan could come of it."""
    from bsc.frontend import rewrite

    def mistaken(b: Any) -> Any:
        return [b.op("Relu", b.node.inputs[0])]

    monkeypatch.setitem(rewrite.STANDARD, "Tanh", mistaken)
    model = tiny_model("(float[N,8] x) => (float[] y) { h = MatMul(x, w) y = Tanh(h) }", {"w": W})
    save(model, Path("model.onnx"))
    result = run(command, "model.onnx")
    assert result.exit_code == 3
    assert (
        "error [BSC315] model 'model.onnx': tensor 'y' (Tanh) is not what onnxruntime gives for the file\n"
        in result.stderr
    )
    assert not Path("model.bsc").exists()
    assert run(command, "model.onnx", "--no-import-check").exit_code == 0
