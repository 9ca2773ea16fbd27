"""What `bsc explore` and `bsc finetune` can be told of a model's inputs and layers, as `bsc compile` can."""

import json
import shlex
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result

from bsc.cli import main
from bsc.plan.folder import read_plan
from bsc.testing import random_weights, save, tiny_model

W = {"w": random_weights(8, 6), "v": random_weights(8, 6, seed=1), "u": random_weights(6, 3, seed=2)}
SPEECH = tiny_model(
    """(float[N,8] x, int64 rate, float gain) => (float[N,3] y) {
        c = Equal(rate, high)
        p = If(c) <then_branch = t () => (float[] a) { a = MatMul(x, w) },
                   else_branch = e () => (float[] b) { b = MatMul(x, v) }>
        g = Mul(p, gain)
        h = Relu(g)
        [head] y = MatMul(h, u) }""",
    {**W, "high": np.array(16000)},
)
SAID = ("--set", "rate=16000", "--input", "gain=2", "--keep-digital", "head")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    save(SPEECH, tmp_path / "model.onnx")
    (tmp_path / "space.toml").write_text('[axes]\nxbar = ["8x8", "16x16"]\n', encoding="utf-8")
    x = np.random.default_rng(0).standard_normal((12, 8)).astype(np.float32)
    np.savez("data.npz", x=x, label=np.arange(12) % 3)
    return tmp_path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_a_sweep_is_told_what_a_compilation_is_told() -> None:
    explore = ("explore", "model.onnx", "space.toml", "--jobs", 1)
    assert "[BSC306]" in run(*explore, "--keep-digital", "head").output
    result = run(*explore, *SAID, "--calib", "data.npz", "--data", "data.npz", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)["designs"]
    assert [design["error"] for design in found] == [None, None]
    words = shlex.split(found[1]["command"])
    assert words[0] == "bsc"
    assert " ".join(words).endswith("--set rate=16000 --input gain=2.0..2.0 --keep-digital head --output ./model-1.bsc")
    assert run(*words[1:]).exit_code == 0
    plan = read_plan(Path("model-1.bsc"))
    assert [each.name for each in plan.document.inputs] == ["x", "gain"]
    assert len(plan.mapping.layers) == 1  # head is none


@pytest.mark.parametrize(
    ("changed", "part"),
    [
        (("--set", "rate=8000", *SAID[2:]), "--set"),
        ((*SAID[:2], "--input", "gain=3", *SAID[4:]), "--input"),
        (SAID[:4], "--keep-digital"),
        ((*SAID, "--no-import-check"), "--import-check"),
    ],
)
def test_results_of_a_model_that_was_told_otherwise_are_of_another_sweep(changed: tuple[str, ...], part: str) -> None:
    explore = ("explore", "model.onnx", "space.toml", "--jobs", 1)
    assert run(*explore, *SAID).exit_code == 0
    result = run(*explore, *changed)
    assert "[BSC314]" in result.output
    assert part in result.output


QUICK = ("--epochs", 2, "--batch", 4, "--threads", 1, "--objective", "l1")


def initialisers(path: str) -> dict[str, bytes]:
    """By name, those in bodies too."""
    graphs = [onnx.load(path).graph]
    found: dict[str, bytes] = {}
    while graphs:
        graph = graphs.pop()
        found |= {tensor.name: tensor.raw_data for tensor in graph.initializer}
        graphs += [attr.g for node in graph.node for attr in node.attribute if attr.HasField("g")]
    return found


def test_a_training_is_told_of_inputs_and_layers() -> None:
    """The branch that runs is trained, the layer that is kept digital is not, and inputs stay inputs."""
    said = ("--set", "rate=16000", "--set", "gain=2", "--keep-digital", "head")
    result = run("finetune", "model.onnx", "--data", "data.npz", *said, *QUICK, "-o", "new.onnx")
    assert result.exit_code == 0, result.output
    before, after = initialisers("model.onnx"), initialisers("new.onnx")
    assert {name for name in before if before[name] != after[name]} == {"w"}
    assert [value.name for value in onnx.load("new.onnx").graph.input] == ["x", "rate", "gain"]
    assert run("compile", "new.onnx", *said).exit_code == 0


@pytest.mark.parametrize("own", ["initialiser", "constant"])
def test_weights_in_the_body_that_runs_are_trained(own: str) -> None:
    model = onnx.load("model.onnx")
    (branch,) = (attr.g for node in model.graph.node for attr in node.attribute if attr.name == "then_branch")
    weight = next(tensor for tensor in model.graph.initializer if tensor.name == "w")
    inner = branch.initializer.add() if own == "initialiser" else branch.node.add()
    if isinstance(inner, onnx.NodeProto):
        inner.CopyFrom(onnx.helper.make_node("Constant", [], ["w"], value=weight))
        branch.node.reverse()
    else:
        inner.CopyFrom(weight)
    model.graph.initializer.remove(weight)
    save(model, Path("model.onnx"))
    said = ("--set", "rate=16000", "--set", "gain=2", "--keep-digital", "head")
    result = run("finetune", "model.onnx", "--data", "data.npz", *said, *QUICK, "-o", "new.onnx")
    assert result.exit_code == 0, result.output
    assert run("compile", "new.onnx", *said).exit_code == 0
    assert initialisers("new.onnx")["w"] != weight.raw_data


@pytest.mark.parametrize(
    ("text", "seen", "name"),
    [
        ("(float[N,8] x, float gain) => (float[] y) { h = MatMul(x, w)  y = Mul(h, gain) }", "()", "gain"),
        (
            "(float[N,8] x, float[2,N,6] s) => (float[] y) { h = MatMul(x, w)  r = ReduceSum <keepdims = 0> (s, ax)  "
            "y = Add(h, r) }",
            "(2, 1, 6)",
            "s",
        ),
    ],
)
def test_words_for_samples_that_do_not_come_first(text: str, seen: str, name: str) -> None:
    save(tiny_model(text, {"w": W["w"]} | ({"ax": np.array([0])} if name == "s" else {})), Path("model.onnx"))
    where = "none, it goes whole with every sample" if name == "gain" else "along axis 1"
    assert run("finetune", "model.onnx", "--data", "data.npz", *QUICK).stderr == (
        "error [BSC308] fine-tuning needs samples along the first axis of every input\n"
        f"  seen: samples of input '{name}' of shape {seen}: {where}\n"
        f"  fix:  make it a constant with --set {name}=VALUE, or change the model so that its samples come first\n"
    )
