"""examples/adc: one row of each kind on few images, and the files it shipped."""

import json
import tomllib
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

from bsc.frontend.onnx_import import import_model
from bsc.train.options import FinetuneOptions
from examples.adc import encodings, lenet, policies

ADC = Path(__file__).parents[2] / "examples" / "adc"
MNIST = ADC.parent / "mnist"


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """The three data files, all cut from the shipped images."""
    with np.load(MNIST / "test_images.npz") as shipped:
        parts = {"calibration": slice(0, 200), "held-out": slice(200, 1500), "report": slice(1500, 1600)}
        for name, part in parts.items():
            np.savez(tmp_path / f"{name}.npz", **{key: values[part] for key, values in shipped.items()})
    return {name: tmp_path / f"{name}.npz" for name in parts}


def test_rows(files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = ("uniform 8 bit", "lossless, column", "calibrated=4, bias", "budgeted 1")
    monkeypatch.setattr(policies, "POLICIES", [each for each in policies.POLICIES if each.name in chosen])
    results = list(policies.rows(MNIST / "model.onnx", files))
    assert [each["policy"] for each in results] == list(chosen)
    savings = [each["laws"]["saberi"]["saving"]["saberi"]["adc"] for each in results]
    assert savings == sorted(savings)
    budget = results[-1]["laws"]["saberi"]["budget"]
    assert budget["drop_bound"] <= 0.01
    assert (results[1]["laws"]["isaac"]["report"]["lost"], results[1]["laws"]["isaac"]["clipped"]) == (0, 0)
    assert len(list(policies.table(results))) == 2 + len(chosen)
    assert policies.picture(results).count("<rect") == 1 + 2 * 2 + 2  # the paper, two policies by two laws, a legend


def test_a_budget_that_cannot_be_kept_is_a_row_too(files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    tight = policies.Policy("budgeted 0.01", "budgeted", max_drop=0.01)
    monkeypatch.setattr(policies, "POLICIES", [policies.Policy("lossless, column", "lossless"), tight])
    results = list(policies.rows(MNIST / "model.onnx", files))
    assert "0.01 points" in results[1]["laws"]["isaac"]["refused"]
    assert "refused" in list(policies.table(results))[-1]


@pytest.mark.parametrize(
    "folder", [path.parent for path in sorted(ADC.rglob("results.json"))], ids=lambda path: path.name
)
def test_the_shipped_tables_are_those_of_the_shipped_results(folder: Path) -> None:
    rows = json.loads((folder / "results.json").read_text(encoding="utf-8"))["rows"]
    for model in {each["model"] for each in rows}:
        names = [each["policy"] for each in rows if each["model"] == model]
        assert names == [each.name for each in policies.POLICIES]
    lines = list(policies.table(rows))
    assert lines == (folder / "table.md").read_text(encoding="utf-8").splitlines()
    readme = (ADC / "README.md").read_text(encoding="utf-8")
    assert all(line in readme for line in lines[2:])
    assert policies.picture(rows) == (folder / "adc.svg").read_text(encoding="utf-8")


def test_the_shipped_configuration_is_valid() -> None:
    options = FinetuneOptions.model_validate(tomllib.loads((ADC / "pruned.toml").read_text(encoding="utf-8")))
    assert options.sparsity == 0.9


def test_lenet_is_imported(tmp_path: Path) -> None:
    result = CliRunner().invoke(lenet.main, [str(tmp_path / "lenet.onnx")])
    assert result.exit_code == 0, result.output
    onnx.checker.check_model(onnx.load(tmp_path / "lenet.onnx"), full_check=True)
    assert [layer.name for layer in import_model(tmp_path / "lenet.onnx").layers()] == ["conv1", "conv2", "fc"]


def test_ways_to_hold_weights(files: dict[str, Path]) -> None:
    chosen = [each for each in encodings.policies() if each.name in ("lossless, column", "lossless, pairs", "raella")]
    plain, pairs, raella = policies.rows(MNIST / "model.onnx", files, chosen)
    savings = [each["laws"]["isaac"]["saving"]["isaac"]["adc"] for each in (plain, pairs)]
    assert savings[1] > 1.5 * savings[0]
    assert [each["laws"]["isaac"]["clipped"] for each in (plain, pairs)] == [0, 0]
    assert "encoding=centre subtraction=analog" in raella["laws"]["isaac"]["pipeline"]


def test_the_shipped_encodings_are_those_of_the_shipped_results() -> None:
    record = json.loads((ADC / "encodings.json").read_text(encoding="utf-8"))
    assert [each["policy"] for each in record["rows"]] == 2 * [each.name for each in encodings.policies()]
    page = (ADC / "encodings.md").read_text(encoding="utf-8")
    assert all(line in page for line in list(policies.table(record["rows"]))[2:])
