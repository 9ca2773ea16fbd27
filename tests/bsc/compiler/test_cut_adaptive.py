"""`bsc compile --cut adaptive` and `--adc raella`."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from bsc.cli import main
from bsc.testing import mlp_model, save


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, list(map(str, arguments)))


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    data = tmp_path / "calib.npz"
    np.savez(data, allow_pickle=False, x=np.random.default_rng(0).standard_normal((20, 200)).astype(np.float32))
    return save(mlp_model(200, 30, 20, 5), tmp_path / "m.onnx"), data


def test_every_layer_has_a_cut_of_its_own(files: tuple[Path, Path], tmp_path: Path) -> None:
    model, data = files
    plan = tmp_path / "a.bsc"
    assert run("compile", model, "--adc", "raella", "--calib", data, "-o", plan).exit_code == 0
    document = json.loads((plan / "plan.json").read_text())
    layers = {layer["name"]: layer for layer in document["layers"]}
    assert layers["fc2"]["slice_bits"] == [1] * 8
    assert len(layers["fc0"]["slice_bits"]) < 5
    assert max(layers["fc0"]["slice_bits"]) <= 4
    assert {(layer["encoding"], layer["subtraction"], layer["adc_policy"]) for layer in layers.values()} == {
        ("centre", "analog", "fixed")
    }
    assert "assign-adc{policy=fixed granularity=column bits=7}" in document["pipeline"]
    # The recorded line is the whole recipe: no search, the same bytes.
    again = tmp_path / "b.bsc"
    assert run("compile", model, "--passes", document["pipeline"], "--calib", data, "-o", again).exit_code == 0
    for file in ("plan.json", *document["files"]):
        assert (plan / file).read_bytes() == (again / file).read_bytes(), file


def test_what_the_user_says_counts_more(files: tuple[Path, Path], tmp_path: Path) -> None:
    model, data = files
    options = ("--adc", "raella", "--encoding", "differential", "--cut", "4-4")
    assert run("compile", model, *options, "--calib", data, "-o", tmp_path / "a.bsc").exit_code == 0
    (first, *_) = json.loads((tmp_path / "a.bsc" / "plan.json").read_text())["layers"]
    assert (first["encoding"], first["subtraction"], first["slice_bits"]) == ("differential", "analog", [4, 4])


def test_lossless_with_cuts_of_their_own_is_lossless(files: tuple[Path, Path], tmp_path: Path) -> None:
    model, data = files
    plan = tmp_path / "a.bsc"
    assert run("compile", model, "--cut", "adaptive", "--calib", data, "-o", plan).exit_code == 0
    result = run("verify", plan, "--proofs")
    assert result.exit_code == 0
    assert "exact: yes" in result.stdout


def test_words_without_data(files: tuple[Path, Path], tmp_path: Path) -> None:
    result = run("compile", files[0], "--cut", "adaptive", "-o", tmp_path / "a.bsc")
    assert (result.exit_code, result.stderr) == (
        2,
        "error [BSC201] --cut adaptive needs calibration data\n"
        "  seen: no --calib\n"
        "  fix:  add --calib FILE.npz, or give the bits of each slice, as --cut 4-2-2\n",
    )
