"""The shipped ResNet-20 keeps what its README says of it."""

import re
from pathlib import Path

import numpy as np
import pytest

import hw_models
from bsc.compiler.driver import compile_model
from bsc.compiler.options import CompileOptions, default_pipeline
from bsc.plan.document import Plan
from bsc.replay.dataset import load_dataset
from bsc.replay.verification import verify
from bsc.report.build import layer_totals, plan_totals

CIFAR = Path(__file__).parents[2] / "examples" / "cifar10"


@pytest.fixture(scope="module")
def plan() -> Plan:
    target = hw_models.load("isaac")
    pipeline = default_pipeline(target, rows=128, cols=128, policy="lossless", granularity="column")
    options = CompileOptions(pipeline=pipeline, calibration=CIFAR / "calibration_images.npz")
    found = compile_model(CIFAR / "adc.onnx", target, options).plan
    assert found is not None
    return found


def test_bits_are_proved(plan: Plan) -> None:
    """3/4/4/4, the top slice first."""
    layers = plan.mapping.layers
    totals = plan_totals(layers, {layer.name: layer_totals(layer, plan.mapping.arrays(layer)) for layer in layers})
    assert [max(map(int, part.proved_bits)) for part in reversed(totals.slices)] == [3, 4, 4, 4]


def test_replay_is_exact(plan: Plan) -> None:
    data = load_dataset(CIFAR / "test_images.npz", plan.document.inputs, dynamic_batch=True, limit=25)
    found = verify(plan, data, "test_images.npz", CIFAR / "adc.onnx")
    assert found.exact
    assert found.accuracy is not None
    assert found.accuracy.replayed >= 0.8


def test_files_are_as_described() -> None:
    text = (CIFAR / "README.md").read_text(encoding="utf-8")
    sizes = {name: int(size.replace(",", "")) for name, size in re.findall(r"^\| `([^`]+)` \| ([\d,]+) \|", text, re.M)}
    assert sizes == {name: (CIFAR / name).stat().st_size for name in sizes}
    with np.load(CIFAR / "test_images.npz") as found:
        assert (found["image"].shape, found["label"].shape) == ((500, 3, 32, 32), (500,))
