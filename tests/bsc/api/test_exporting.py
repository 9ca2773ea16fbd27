"""Plans for other tools: figures of layers where people already look at models."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

import bsc
from bsc.cli import main
from bsc.commands.export import NAMES
from bsc.execution.session import quiet_session
from bsc.report.model_explorer import FIGURES
from bsc.testing import mlp_model, save
from tests.bsc.plans import CNN

X = np.random.default_rng(0).standard_normal((4, 12)).astype(np.float32)


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bsc.Plan:
    monkeypatch.chdir(tmp_path)
    plan = bsc.compile(save(mlp_model(12, 8, 3), tmp_path / "m.onnx"), adc="fixed=4")
    plan.save("m.bsc")
    return plan


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def test_node_data_are_the_columns_of_layers(plan: bsc.Plan) -> None:
    folder = plan.export("model-explorer")
    assert folder == Path("m.model-explorer")
    assert sorted(path.name for path in folder.iterdir()) == sorted(f"{name}.json" for name in FIGURES)
    for name in FIGURES:
        first, second = plan.layers[name]
        assert read(folder / f"{name}.json")["results"] == {
            "fc0": {"value": first},
            "h0": {"value": first},
            "fc1": {"value": second},
            "y": {"value": second},
        }


@pytest.mark.parametrize("name", ["named", "nameless"])
def test_node_data_name_nodes_or_tensors_of_the_file(name: str, tmp_path: Path) -> None:
    """For each layer one of both is there, as Model Explorer looks for them."""
    model = onnx.ModelProto.FromString(CNN.SerializeToString())
    for node in model.graph.node if name == "nameless" else ():
        node.name = ""
    plan = bsc.compile(save(model, tmp_path / "m.onnx"))
    results = read(plan.export("model-explorer", tmp_path / "data") / "energy_j.json")["results"]
    found = [node for node in model.graph.node if {node.name, *node.output} & set(results)]
    values = {results[key]["value"] for node in found for key in (node.name, *node.output) if key in results}
    assert values == set(plan.layers["energy_j"].tolist())


def test_model_explorer_reads_them(plan: bsc.Plan) -> None:
    """Its own records, and its ids of the nodes of an ONNX file."""
    builder = pytest.importorskip("model_explorer.node_data_builder")
    adapter = pytest.importorskip("model_explorer_onnx.main")
    (graph, *_) = adapter.ONNXAdapter().convert("m.onnx", {})["graphs"]
    ids = {node.id for node in graph.nodes}
    for path in plan.export("model-explorer").iterdir():
        data = read(path)
        read_back = builder.GraphNodeData(
            results={key: builder.NodeDataResult(**value) for key, value in data["results"].items()},
            gradient=[builder.GradientItem(**each) for each in data["gradient"]],
        )
        written = json.loads(read_back.to_json_string())
        assert {key: written[key] for key in data} == data
        assert {layer.name for layer in plan.record.mapping.layers} <= ids & data["results"].keys()


def test_exported_models_tell_figures_and_compute_the_same(plan: bsc.Plan) -> None:
    path = plan.export("onnx")
    props = {each.key: each.value for each in onnx.load(path).metadata_props}
    for layer, value in zip(("fc0", "fc1"), plan.layers["mean_adc_bits"], strict=True):
        assert float(props[f"layer {layer}: mean_adc_bits"]) == pytest.approx(value, rel=1e-5)
    assert props["pipeline"] == plan.pipeline
    (y,) = quiet_session(path).run(None, {"x": X})
    np.testing.assert_array_equal(y, plan.run(X)["y"])


def test_tables(plan: bsc.Plan) -> None:
    path = plan.export("csv")
    assert path == Path("m.layers.csv")
    assert path.read_text() == plan.layers.to_csv()
    assert [row["layer"] for row in csv.DictReader(path.read_text().splitlines())] == ["fc0", "fc1"]


def test_parquet(plan: bsc.Plan) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(plan.export("parquet"))
    assert table.column_names == list(plan.layers.columns)
    assert table.to_pylist() == list(plan.layers)
    assert table.schema.field("energy_j").metadata == {b"unit": b"J"}
    first = Path("m.layers.parquet").read_bytes()
    plan.export("parquet", force=True)
    assert Path("m.layers.parquet").read_bytes() == first


def test_without_pyarrow(plan: bsc.Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(bsc.BscError) as caught:
        plan.export("parquet")
    assert caught.value.code == "BSC208"
    assert not Path("m.layers.parquet").exists()


@pytest.mark.parametrize("form", [name for name in NAMES if name != "parquet"])
def test_the_command_writes_what_the_function_writes(form: Any, plan: bsc.Plan) -> None:
    """Replaces what it wrote itself, and nothing else."""

    def contents(path: Path) -> list[bytes]:
        return [each.read_bytes() for each in (sorted(path.rglob("*")) if path.is_dir() else [path]) if each.is_file()]

    path = plan.export(form)
    before = contents(path)
    words = ["export", "m.bsc", "--to", form]
    assert "[BSC203]" in CliRunner().invoke(main, words).stderr
    result = CliRunner().invoke(main, [*words, "--force"])
    assert (result.exit_code, result.stderr) == (0, f"wrote {path}{'/' if path.is_dir() else ''}\n")
    assert contents(path) == before
    Path("mine").mkdir()
    (Path("mine") / "thesis.txt").write_text("years of work")
    assert "[BSC203]" in CliRunner().invoke(main, [*words, "-o", "mine", "--force"]).stderr
    assert "[BSC203]" in CliRunner().invoke(main, [*words, "-o", "m.onnx", "--force"]).stderr
    assert "[BSC204]" in CliRunner().invoke(main, [*words, "-o", "m.bsc/x"]).stderr
