"""The printed report and plan.json of the example and of tiny models, as files whose diffs a person can read."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

from bsc.api.pricing import plan_report
from bsc.cli import main
from bsc.plan.folder import read_plan
from bsc.report.plan import PlanReport
from bsc.report.reading import read_report
from bsc.report.text import to_text
from bsc.testing import conv_model, mlp_model, random_weights, save, tiny_model
from tests.bsc.report.views import WIDE, unexplained, views

EXAMPLE = Path(__file__).parent.parent / "examples" / "mnist"


@dataclass(frozen=True)
class Case:
    model: Callable[[], onnx.ModelProto]
    options: tuple[str, ...] = ()


def residual() -> onnx.ModelProto:
    """Two branches that meet, a batch norm to fold, pooling and a classifier."""
    weights = {
        "w0": random_weights(8, 3, 3, 3),
        "w1": random_weights(8, 8, 3, 3, seed=1),
        "w2": random_weights(8, 5, seed=2),
        "gamma": np.linspace(0.5, 1.5, 8, dtype=np.float32),
        "beta": np.linspace(-1, 1, 8, dtype=np.float32),
        "mean": np.linspace(-0.5, 0.5, 8, dtype=np.float32),
        "var": np.linspace(0.5, 2, 8, dtype=np.float32),
    }
    return tiny_model(
        """(float[N,3,8,8] image) => (float[N,5] scores) {
            [stem] a = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (image, w0)
            [norm] b = BatchNormalization (a, gamma, beta, mean, var)
            [relu] c = Relu (b)
            [body] d = Conv <auto_pad = "SAME_UPPER"> (c, w1)
            [join] e = Add (c, d)
            [pool] f = GlobalAveragePool (e)
            [flat] g = Flatten (f)
            [head] scores = MatMul (g, w2)
        }""",
        weights,
    )


def pruned() -> onnx.ModelProto:
    """Dead rows and columns, and weights so few that whole crossbars are empty."""
    weight = np.zeros((300, 40), np.float32)
    weight[5, 3], weight[6, 3], weight[250, 3], weight[250, 20], weight[299, 39] = 1, 0.75, -0.5, 0.01, -0.25
    return tiny_model("(float[N,300] x) => (float[N,40] y) { [sparse] y = MatMul (x, w) }", {"w": weight})


def sequence() -> onnx.ModelProto:
    """A projection of a sequence; the product of two activations stays digital."""
    return tiny_model(
        """(float[N,6,16] tokens) => (float[N,6,6] scores) {
            [query] q = MatMul (tokens, wq)
            [key] k = MatMul (tokens, wk)
            [turn] kt = Transpose <perm = [0, 2, 1]> (k)
            [attend] s = MatMul (q, kt)
            [soft] scores = Softmax <axis = -1> (s)
        }""",
        {"wq": random_weights(16, 12), "wk": random_weights(16, 12, seed=1)},
    )


def depthwise() -> onnx.ModelProto:
    return conv_model(channels=20, filters=20, groups=20, attributes=("pads = [1, 1, 1, 1]",))


CASES = {
    "mlp": Case(lambda: mlp_model(200, 150, 10)),
    "mlp-256x64": Case(lambda: mlp_model(200, 150, 10), ("--xbar", "256x64")),
    "residual": Case(residual),
    "depthwise": Case(depthwise, ("--xbar", "64x64")),
    "pruned": Case(pruned),
    "pruned-isaac": Case(pruned, ("--adc", "isaac")),
    "sequence-tile": Case(sequence, ("--granularity", "tile")),
    "mlp-pairs": Case(
        lambda: mlp_model(200, 150, 10), ("--subtract", "analog", "--encoding", "centre", "--cut", "4-2-2")
    ),
    "mlp-flipped": Case(lambda: mlp_model(200, 150, 10), ("--encoding", "offset", "--flip")),
    "mlp-1-bit-cells": Case(
        lambda: mlp_model(30, 20, 4),
        (
            "--passes",
            "quantize{bits=6 scale=max-abs per=channel},slice-bits{bits-per-cell=1 dac-bits=2},tile{rows=16 cols=16},"
            "assign-adc{policy=fixed bits=3}",
        ),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_tiny_model(name: str, tmp_path: Path, golden: Callable[[str, str], None]) -> None:
    case = CASES[name]
    model = save(case.model(), tmp_path / f"{name}.onnx")
    _check(name, [str(model), *case.options], tmp_path / "plan.bsc", golden)


def test_example(tmp_path: Path, golden: Callable[[str, str], None]) -> None:
    data = EXAMPLE / "test_images.npz"
    plan = tmp_path / "plan.bsc"
    _check("mnist", [str(EXAMPLE / "model.onnx"), "--xbar", "128x128", "--calib", str(data)], plan, golden)
    arguments = ["verify", str(plan), "--data", str(data), "--model", str(EXAMPLE / "model.onnx")]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    golden("mnist/verify.txt", result.stdout)


PAIRS = ("--subtract", "analog", "--encoding", "centre", "--cut", "4-2-2")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("mnist-calibrated", ("--adc", "calibrated")),
        ("mnist-budgeted", ("--max-accuracy-drop", "1.5")),
        ("mnist-calibrated-pairs", ("--adc", "calibrated", *PAIRS)),
        ("mnist-budgeted-pairs", ("--max-accuracy-drop", "1.5", *PAIRS)),
    ],
)
def test_policies_that_rest_on_data(
    name: str, options: tuple[str, ...], tmp_path: Path, golden: Callable[[str, str], None]
) -> None:
    data, plan = EXAMPLE / "test_images.npz", tmp_path / "plan.bsc"
    _check(name, [str(EXAMPLE / "model.onnx"), "--calib", str(data), *options], plan, golden)
    inspected = CliRunner().invoke(main, ["inspect", str(plan), "--layer", "fc2"])
    golden(f"{name}/fc2.txt", inspected.stdout)


def _check(name: str, arguments: list[str], plan: Path, golden: Callable[[str, str], None]) -> None:
    result = CliRunner().invoke(main, ["compile", *arguments, "--output", str(plan)])
    assert result.exit_code == 0, result.output
    assert result.stdout == (plan / "report.txt").read_text(encoding="utf-8")
    golden(f"{name}/report.txt", result.stdout)
    golden(f"{name}/plan.json", (plan / "plan.json").read_text(encoding="utf-8"))
    _check_views(plan)


def _check_views(folder: Path) -> None:
    """Views of report.json are those of the plan, and their numbers are figures of it."""
    plan = read_plan(folder)
    fresh, read = plan_report(plan, plan.target, None), read_report(folder / "report.json")
    assert read == fresh
    # Something to compare with whose costs are others, under the name of the same law.
    other = plan_report(plan, plan.target, "linear")
    other = other.model_copy(update={"cost": other.cost.model_copy(update={"adc_law": fresh.cost.adc_law})})
    found = views(plan, read, other)
    assert found == views(plan, fresh, other)
    assert found["text"] == (folder / "report.txt").read_text(encoding="utf-8")
    assert unexplained(to_text(PlanReport(report=read, whole=True), WIDE), read) == []
