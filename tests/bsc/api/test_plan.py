"""Plans in Python: the same as those of the commands, to the byte."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

import bsc
from bsc.cli import main
from bsc.execution.session import quiet_session
from bsc.export.onnx_emulation import write_emulation
from bsc.report.layer_csv import layer_csv
from bsc.testing import mlp_model, random_weights, save, tiny_model
from tests.bsc.plans import CNN, coded, mapped, plan_around, plan_of, with_adc


def samples(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


X, Y = samples(40, 12), np.arange(40) % 3


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save(mlp_model(12, 8, 3), tmp_path / "m.onnx")


def command(*arguments: object) -> str:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


OPTIONS: list[tuple[dict[str, Any], list[str]]] = [
    ({}, []),
    ({"xbar": (16, 8), "adc": "fixed=5"}, ["--xbar", "16x8", "--adc", "fixed=5"]),
    (
        {"weight_bits": 5, "activation_bits": 6, "scale": "max-abs", "per_channel": True},
        ["--weight-bits", "5", "--activation-bits", "6", "--scale", "max-abs", "--per-channel"],
    ),
    ({"cell_bits": 4, "dac_bits": 2, "active_rows": 8}, ["--cell-bits", "4", "--dac-bits", "2", "--active-rows", "8"]),
    (
        {"encoding": "centre", "subtract": "analog", "cut": (4, 2, 2), "granularity": "tile", "permute": "sorted"},
        [
            "--encoding",
            "centre",
            "--subtract",
            "analog",
            "--cut",
            "4-2-2",
            "--granularity",
            "tile",
            "--permute",
            "sorted",
        ],
    ),
    ({"copies": "throughput", "tiles": 2, "pack": True}, ["--copies", "throughput", "--tiles", "2", "--pack"]),
    ({"keep_digital": "fc1", "import_check": False}, ["--keep-digital", "fc1", "--no-import-check"]),
    ({"passes": "quantize,slice-bits,tile,assign-adc"}, ["--passes", "quantize,slice-bits,tile,assign-adc"]),
    ({"input_shape": {"x": (None, 12)}}, ["--input-shape", "x:N,12"]),
]


@pytest.mark.parametrize(("options", "words"), OPTIONS, ids=lambda value: ",".join(value) if value else "none")
def test_functions_and_commands_write_the_same_bytes(
    options: dict[str, Any], words: list[str], model: Path, tmp_path: Path
) -> None:
    """Arrays and a file of them too: the plan records the digest of the file."""
    np.savez(tmp_path / "calib.npz", x=X)
    command("compile", model, "--calib", tmp_path / "calib.npz", *words, "-o", tmp_path / "command.bsc")
    plan = bsc.compile(str(model), calib=X, **options)
    plan.save(tmp_path / "function.bsc")
    assert contents(tmp_path / "function.bsc") == contents(tmp_path / "command.bsc")
    opened = bsc.open(tmp_path / "command.bsc")
    assert opened.pipeline == plan.pipeline
    assert str(opened) == str(plan) == (tmp_path / "command.bsc" / "report.txt").read_text().rstrip("\n")


def test_what_options_do(model: Path) -> None:
    plan = bsc.compile(model, weight_bits=5, activation_bits=6, cell_bits=4, dac_bits=2, per_channel=True)
    (first, _) = plan.record.mapping.layers
    assert (first.weight_bits, first.input_bits, first.dac_bits, first.bits_per_cell) == (5, 6, 2, 4)
    assert plan.record.mapping.arrays(first).weight_scale.shape == (8,)
    assert "quantize{bits=5 activation-bits=6 scale=power-of-two per=channel}" in plan.pipeline


def test_accuracy_budgets_take_labels_beside_arrays(model: Path) -> None:
    data: dict[str, NDArray[Any]] = {"x": samples(400, 12), "labels": np.zeros(400, np.int64)}
    with pytest.raises(bsc.BscError) as caught:
        bsc.compile(model, calib={"x": data["x"]}, max_accuracy_drop=5)
    assert caught.value.code == "BSC308"
    plan = bsc.compile(model, calib=data, max_accuracy_drop=20)
    budget = plan.record.provenance.budget
    assert budget is not None
    assert budget.max_drop == 0.2


MODELS = {
    "mlp": (mlp_model(12, 8, 3), {"x": X}),
    "cnn": (CNN, {"image": samples(7, 3, 8, 8)}),
    "batch of two": (mlp_model(12, 8, 3, batch=2), {"x": X[:6]}),
    "batch of one": (mlp_model(12, 8, 3, batch=1), {"x": X[:3]}),
    "batch last": (
        tiny_model("(float[4,N] x) => (float[3,N] y) { [fc] y = MatMul(w, x) }", {"w": random_weights(3, 4)}),
        {"x": samples(4, 9)},
    ),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("batch", [None, 4])
def test_outputs_are_those_of_the_exported_model(name: str, batch: int | None, tmp_path: Path) -> None:
    """Bit for bit, whatever runs together: onnxruntime on a model that shares nothing with the replay is the judge."""
    proto, feeds = MODELS[name]
    plan = bsc.compile(save(proto, tmp_path / "m.onnx"), xbar=(16, 8), adc="fixed=4")
    fixed = not plan.record.mapping.free_batch
    found = plan.run(feeds, batch=None if fixed else batch)
    write_emulation(plan.record, tmp_path / "crossbars.onnx")
    session = quiet_session(tmp_path / "crossbars.onnx")
    size = {"batch of two": 2, "batch of one": 1}.get(name)
    runs = [feeds] if size is None else [{"x": X[at : at + size]} for at in range(0, len(feeds["x"]), size)]
    wanted = [dict(zip((o.name for o in session.get_outputs()), session.run(None, each), strict=True)) for each in runs]
    assert found.keys() == wanted[0].keys()
    for output, values in found.items():
        np.testing.assert_array_equal(values, np.concatenate([each[output] for each in wanted]))


def test_outputs_without_samples_have_an_entry_for_every_run(tmp_path: Path) -> None:
    proto = tiny_model("(float[4,3] x) => (float[5,3] y) { [fc] y = MatMul(w, x) }", {"w": random_weights(5, 4)})
    plan = bsc.compile(save(proto, tmp_path / "m.onnx"))
    x = samples(3, 4, 3)
    each = [plan.run(one)["y"] for one in x]
    assert [values.shape for values in each] == [(1, 5, 3)] * 3
    np.testing.assert_array_equal(plan.run(x)["y"], np.concatenate(each))


def test_outputs_of_many_shapes_are_refused(tmp_path: Path) -> None:
    """How many values are not 0 is another number in every run."""
    body = "[fc] h = MatMul(x, w)\n c = Relu(h)\n y = NonZero(c)"
    plan = bsc.compile(
        save(
            tiny_model(f"(float[N,4] x) => (int64[2,M] y) {{ {body} }}", {"w": random_weights(4, 3)}),
            tmp_path / "m.onnx",
        )
    )
    x = samples(6, 4)
    assert plan.run(x)["y"].shape[:2] == (1, 2)
    with pytest.raises(bsc.BscError) as caught:
        plan.run(x, batch=1)
    assert (caught.value.code, caught.value.problem) == ("BSC308", "output 'y' has another shape in every run")


def test_run_takes_files_arrays_and_names(model: Path, tmp_path: Path) -> None:
    plan = bsc.compile(model)
    np.savez(tmp_path / "x.npz", x=X, labels=Y)
    wanted = plan.run(X)["y"]
    for inputs in (tmp_path / "x.npz", str(tmp_path / "x.npz"), {"x": X}, X.tolist(), {"anything": X}):
        np.testing.assert_array_equal(plan.run(inputs)["y"], wanted)
    np.testing.assert_array_equal(plan.run(X, limit=5)["y"], wanted[:5])


@pytest.mark.parametrize(
    ("inputs", "seen"),
    [
        (samples(4, 11), "shape (4, 11)"),
        ({"x": X, "z": X}, None),
        ({"a": X, "b": X}, "arrays a, b"),
        (np.full((2, 12), np.nan), "NaN or infinity"),
        (X.astype(np.complex64), "type complex64, the model takes float32"),
    ],
)
def test_arrays_that_do_not_fit(inputs: Any, seen: str | None, model: Path) -> None:
    plan = bsc.compile(model)
    if seen is None:
        plan.run(inputs)
        return
    with pytest.raises(bsc.BscError) as caught:
        plan.run(inputs)
    assert (caught.value.code, caught.value.seen) == ("BSC308", seen)
    assert caught.value.problem == "the data: input 'x' does not fit"


def test_verify_is_the_command(model: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x=X, labels=Y)
    bsc.compile(model).save(tmp_path / "m.bsc")
    printed = command("verify", tmp_path / "m.bsc", "--data", tmp_path / "data.npz", "--model", model, "--proofs")
    plan = bsc.open(tmp_path / "m.bsc")
    found = plan.verify(tmp_path / "data.npz", model=model, proofs=True)
    assert f"{found}\n" == printed
    beside = plan.verify(X, Y, model=str(model))
    assert beside.exact
    assert beside.samples == 40
    assert beside.accuracy == found.accuracy
    assert repr(beside).startswith("<bsc.Verified exact on 40 samples, accuracy ")
    assert json.loads(beside.to_json())["data"] == "arrays"
    assert plan.verify(limit=3).accuracy is None


def test_labels_beside_a_file_are_refused(model: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x=X)
    plan = bsc.compile(model)
    for inputs in (tmp_path / "data.npz", None):
        with pytest.raises(bsc.BscError) as caught:
            plan.verify(inputs, Y)
        assert (caught.value.code, caught.value.problem) == ("BSC201", "labels need arrays of inputs beside them")


def test_a_lossless_plan_that_is_not_is_refused() -> None:
    """As the command ends with 5, once it has printed what it found."""
    mapping = mapped(coded(np.full((8, 1), 255)))
    clipped = replace(mapping, arrays=lambda layer: with_adc(mapping.arrays(layer), 1))
    plan = bsc.Plan(plan_around(clipped))
    x = np.full((2, 8), 255, np.float32)
    with pytest.raises(bsc.BscError) as caught:
        plan.verify(x)
    assert caught.value.code == "BSC501"
    assert not plan.verify(x, check=False).exact
    assert repr(plan.verify(x, check=False)) == "<bsc.Verified not exact on 1 sample>"


def test_cells_of_a_crossbar_by_hand() -> None:
    """27 = 01 10 11 and -6 = -(00 01 10) in 2-bit cells, slice 0 the least significant."""
    plan = bsc.Plan(plan_of(coded([[27, -6], [0, 3]], weight_bits=6)))
    assert plan.crossbar("fc", 0, 0, 0, "+").levels.tolist() == [[3, 0], [0, 3]]
    assert plan.crossbar("fc", 0, 0, 1, "+").levels.tolist() == [[2, 0], [0, 0]]
    assert plan.crossbar("fc", 0, 0, 2, "+").levels.tolist() == [[1, 0], [0, 0]]
    below = plan.crossbar("fc", 0, 0, 0, "-")
    assert below.levels.dtype == np.uint8
    assert below.levels.tolist() == [[0, 2], [0, 0]]
    assert below.sums.tolist() == [[0, 2]]
    assert below.adc_bits.tolist() == [[0, 1]]  # 0 or 2: one bit, in steps of two
    assert below.adc_lsb.tolist() == [[1, 2]]
    assert list(below.columns) == [0, 1]
    assert repr(below) == (
        "<bsc.Crossbar of 'fc': row tile 0, column tile 0, slice 0, -; 2×2 cells, 1 ADC bits at most>"
    )
    assert str(below).startswith("crossbar   fc 0,0,0,-")


@pytest.mark.parametrize("index", [("gc", 0, 0, 0), ("fc", 1, 0, 0), ("fc", 0, 0, 3), ("fc", 0, 0, 0, "x")])
def test_crossbars_that_are_not_there(index: Any) -> None:
    plan = bsc.Plan(plan_of(coded([[27, -6], [0, 3]], weight_bits=6)))
    with pytest.raises(bsc.BscError) as caught:
        plan.crossbar(*index)
    assert caught.value.code == "BSC201"


def test_cost_is_the_command(model: Path, tmp_path: Path) -> None:
    plan = bsc.compile(model)
    plan.save(tmp_path / "m.bsc", html=True)
    cases: list[tuple[list[str], dict[str, Any]]] = [
        ([], {}),
        (["--adc-law", "saberi"], {"law": "saberi"}),
        (["--hw", "puma"], {"hw": "puma"}),
    ]
    for words, options in cases:
        cost = plan.cost(**options)
        assert json.loads(cost.to_json()) == json.loads(command("report", tmp_path / "m.bsc", "--json", *words)) | {
            "plan": json.loads(cost.to_json())["plan"]
        }
        assert f"{cost}\n" == command("cost", tmp_path / "m.bsc", *words)
    assert (
        plan.cost().energy_j == json.loads((tmp_path / "m.bsc" / "report.json").read_text())["cost"]["plan"]["energy_j"]
    )
    opened = bsc.open(tmp_path / "m.bsc")
    opened.cost().write_html(tmp_path / "page.html")
    assert (tmp_path / "page.html").read_bytes() == (tmp_path / "m.bsc" / "report.html").read_bytes()
    opened.cost().write_csv(tmp_path / "layers.csv")
    assert (tmp_path / "layers.csv").read_text() == layer_csv(opened.cost().document)


def test_losses_are_called_losses(model: Path) -> None:
    """A dense model loses against ISAAC's encoding, and the line says so; units have their prefixes."""
    cost = bsc.compile(model).cost()
    assert cost.total_saving is not None
    assert cost.total_saving_over_isaac is not None
    assert cost.total_saving > 1 > cost.total_saving_over_isaac
    assert f"{cost.total_saving:.2f}× below uniform 8 bit" in repr(cost)
    assert f"{1 / cost.total_saving_over_isaac:.2f}× above ISAAC offset 8 bit" in repr(cost)


def test_layers_are_the_columns_of_the_csv_file(model: Path) -> None:
    plan = bsc.compile(model)
    assert plan.layers.to_csv() == layer_csv(plan.cost().document)
    assert plan.layers["layer"].tolist() == ["fc0", "fc1"]
    assert plan.layers["energy_j"].sum() == pytest.approx(plan.cost().energy_j)
    assert plan.layers.units["energy_j"] == "J"
    assert plan.layers[1]["rows"] == 8


def test_saving_twice_needs_force(model: Path, tmp_path: Path) -> None:
    plan = bsc.compile(model)
    plan.save(str(tmp_path / "m.bsc"))
    with pytest.raises(bsc.BscError) as caught:
        plan.save(tmp_path / "m.bsc")
    assert caught.value.code == "BSC203"
    before = contents(tmp_path / "m.bsc")
    plan.save(tmp_path / "m.bsc", force=True)
    assert contents(tmp_path / "m.bsc") == before
    bsc.open(tmp_path / "m.bsc").save(tmp_path / "copy.bsc")
    assert contents(tmp_path / "copy.bsc") == before


def test_notebooks_show_no_markup_of_names(tmp_path: Path) -> None:
    """Names are data in cells of notebooks too."""
    proto = mlp_model(12, 8, 3)
    proto.graph.node[0].name = "<script>alert(1)</script>\x1b[31m"
    plan = bsc.compile(save(proto, tmp_path / "<b>.onnx"))
    for shown in (
        plan,
        plan.cost(),
        plan.layers,
        plan.verify(X),
        plan.crossbar(plan.record.mapping.layers[0].name, 0, 0, 0),
    ):
        html = shown._repr_html_()
        assert "<script" not in html
        assert "<b>" not in html
        assert "\x1b" not in html
        assert "\x1b" not in repr(shown)
    assert "&lt;script&gt;" in plan.layers._repr_html_()


def test_a_notebook_gets_the_text_and_nothing_else(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """rich would show what it prints by itself there."""
    plan = bsc.compile(model)
    wanted = str(plan)
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    monkeypatch.setattr("rich.jupyter.display", lambda *_: pytest.fail("rich showed something"))
    assert str(plan) == wanted
    assert capsys.readouterr().out == ""


def test_a_plan_in_a_line(model: Path) -> None:
    assert repr(bsc.compile(model)) == "<bsc.Plan of m.onnx on isaac: 2 layers, 16 crossbars, ADC lossless>"
