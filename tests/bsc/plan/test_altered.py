"""Every leaf of plan.json and every array is altered in turn: refused, caught by the proofs, or listed here as free."""

import copy
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file

import hw_models
from bsc.compiler.driver import compile_model
from bsc.compiler.options import CompileOptions, default_pipeline
from bsc.errors import BscError
from bsc.ir.input_values import parse_input
from bsc.plan.document import Plan, layer_file
from bsc.plan.folder import read_plan, write_plan
from bsc.replay.dataset import random_dataset
from bsc.replay.proofs import check_proofs, check_records, check_vectors
from bsc.testing import mlp_model, random_weights, save, tiny_model
from tests.bsc.plans import CNN, ISAAC, document_of, model_plan, replace_arrays, write_document

FREE: Final = {
    # Names and words: nothing follows from them.
    r"bsc_version": "a name",
    r"model\.(file|notes.*)": "words",
    r"layers\.\d+\.op_type": "a name",
    r"pipeline": "says what was done, and is not done again",
    # What only the model, or the data, could tell: recorded.
    r"model\.(sha256|opsets\..*|check.*|constants.*)": "of the model file, which `verify --model` holds it against",
    r"calibration(\..*)?": "of a file that a plan does not have",
    r"inputs\.\d+\.values.*": "what made-up inputs are drawn from",
    r"(inputs|outputs)\.\d+\.dtype": "refused when inputs are read, or told by what is computed",
    r"outputs\.\d+\.(shape|batch_axis).*": "told by what is computed",
    r"inputs\.\d+\.(batch_axis|shape\.\d)": "data of another shape do not run, or make as many vectors",
    r"free_batch": "a plan for a fixed batch may be run a sample at a time",
    r"budget\.(max_drop|split|adc_law|held_out_sha256|device)": "of data, and of chips, that a plan does not have",
    r"layers\.\d+\.observed\.samples": "of the calibration data, and no more than those",
    r"layers\.\d+\.placed\.rules\..*": "what the copies were chosen by",
    r"layers\.\d+\.placed\.copies": "of the last layer, if somebody chose them; those of others move what is behind",
    # What the plan is: another value is another model or mapping, with proofs, replay and prices of its own.
    r"layers\.\d+\.(input_scale|input_zero_point|input_signed|input_bits)": "the value of a code, and their number",
    r"layers\.\d+\.(permuted|dac_bits|tile_rows|tile_cols|active_rows)": "another mapping",
    r"layers\.\d+\.conv\..*": "another operator, if its vectors and rows stay",
    r"layers\.\d+\.(adc_policy|adc_granularity)": "who chose the resolutions; a claim to be lossless is proved",
    r"arrays\.\w+\.(weight_scale|bias|kept_rows|kept_columns|correction)": "part of the model",
    r"arrays\.\w+\.(observed_sums|observed_lows)": "of calibration data, and no more than the cells allow",
    r"arrays\.(calibrated|budgeted)\.(adc_bits|adc_lsb|adc_low)": "chosen by a policy that proves nothing",
    r"arrays\.lossless\.(adc_bits|adc_lsb)": "more bits than are needed lose nothing, and are priced",
    r"arrays\.budgeted\.allocated": "whether a crossbar that nothing reads is there",
}
"""By what a path must be like, why a change there may stay unnoticed."""


def plans(folder: Path) -> Iterator[Any]:
    images = np.random.default_rng(0).standard_normal((4, 3, 8, 8)).astype(np.float32)
    rows = np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32)
    yield model_plan(CNN, folder)
    yield model_plan(CNN, folder, calibration={"image": images}, policy="calibrated")
    yield model_plan(mlp_model(6, 5, 3), folder, calibration={"x": rows})
    yield budgeted(folder)
    yield placed(folder)
    yield moved(folder)


def budgeted(folder: Path) -> Plan:
    """Pairs with few bits, their mean error made up for, tested on chips with half of the data; an input was set."""
    rows = np.random.default_rng(0).standard_normal((24, 6)).astype(np.float32)
    np.savez(folder / "labelled.npz", allow_pickle=False, x=rows, labels=np.arange(24) % 3)
    pipeline = default_pipeline(
        ISAAC,
        rows=16,
        cols=8,
        policy="budgeted",
        granularity="column",
        encoding="centre",
        subtraction="analog",
        cut="4-4",
    )
    options = CompileOptions(
        pipeline=pipeline.replace("budget-adc{", "budget-adc{correct=bias noise-price=0.001 "),
        calibration=folder / "labelled.npz",
        test_accuracy=True,
        noise=hw_models.load_device("generic"),
        constants={"scale": (2,)},
        input_values=dict([parse_input("x=-4..4")]),
    )
    model = tiny_model(
        """(float[N,6] x, float scale) => (float[N,3] y) {
            [fc] a = MatMul (x, w)
            y = Mul (a, scale)
        }""",
        {"w": random_weights(6, 3)},
    )
    plan = compile_model(save(model, folder / "set.onnx"), ISAAC, options).plan
    assert plan is not None
    assert plan.provenance.budget is not None
    assert plan.provenance.budget.device is not None
    assert plan.mapping.arrays(plan.mapping.layers[0]).correction is not None
    return plan


def placed(folder: Path) -> Plan:
    """Copies within a power budget; three layers, two of which share crossbars."""
    pipeline = default_pipeline(ISAAC, rows=16, cols=16, policy="lossless", granularity="column")
    options = CompileOptions(pipeline=f"{pipeline},place{{copies=throughput chips=1 power=20.0 pack=yes}}")
    model = tiny_model(
        """(float[N,6] x) => (float[N,20] y) {
            [a] h = MatMul (x, u)
            [b] i = MatMul (h, v)
            [c] y = MatMul (i, w)
        }""",
        {"u": random_weights(6, 5), "v": random_weights(5, 4, seed=1), "w": random_weights(4, 20, seed=2)},
    )
    plan = compile_model(save(model, folder / "placed.onnx"), ISAAC, options).plan
    assert plan is not None
    places = [layer.placed for layer in plan.mapping.layers if layer.placed is not None]
    assert [bool(each.row) for each in places] == [False, True, False]
    assert places[0].copies > 1
    return plan


def moved(folder: Path) -> Plan:
    """Rows and columns moved off stuck cells, as a note says."""
    (folder / "map.csv").write_text("crossbar,row,column,stuck\n0,0,0,on\n2,3,1,on\n3,1,2,off\n")
    pipeline = default_pipeline(ISAAC, rows=16, cols=16, policy="lossless", granularity="column")
    options = CompileOptions(pipeline=f"{pipeline},place", faults=folder / "map.csv")
    plan = compile_model(save(mlp_model(6, 5, 3), folder / "moved.onnx"), ISAAC, options).plan
    assert plan is not None
    assert any(layer.permuted for layer in plan.mapping.layers)
    assert any(note.startswith("stuck cells of map.csv") for note in plan.document.model.notes)
    return plan


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    found = []
    for index, plan in enumerate(plans(tmp_path_factory.mktemp("model"))):
        found.append(tmp_path_factory.mktemp("plans") / str(index))
        write_plan(plan, found[-1])
    return found


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if items is None:
        yield path
        return
    for key, each in items:
        yield from leaves(each, (*path, key))


def at(document: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        document = document[key]
    return document


def other(value: Any) -> list[Any]:
    """What a leaf might be instead."""
    match value:
        case bool():
            return [not value]
        case int():
            return [value + 1, value - 1, value * 1000 + 7]
        case float():
            return [value * 1.5 + 1]
        case "throughput":
            return ["none", "latency"]
        case str():
            return [value + "x", "lossless"] if value != "lossless" else ["fixed"]
        case _:
            return [1]


def noticed(folder: Path) -> str | None:
    """How opening a plan and checking its proofs end."""
    try:
        plan = read_plan(folder)
        for step in plan.mapping.program():
            assert step is not None
        check_proofs(plan.mapping)
        check_records(plan)
        data = random_dataset(plan.mapping.inputs, dynamic_batch=plan.mapping.free_batch, samples=1, seed=0, given={})
        check_vectors(plan.mapping, next(data.batches()))
    except BscError as error:
        return error.code
    return None


def believed_leaves(folder: Path, place: Path) -> Iterator[str]:
    """Leaves of plan.json that can be altered so that nobody notices."""
    shutil.copytree(folder, place)
    document = document_of(folder)
    for path in leaves(document):
        value = at(document, path)
        for each in other(value):
            altered = copy.deepcopy(document)
            at(altered, path[:-1])[path[-1]] = each
            if "rules" in path:  # which all layers have together
                for layer in altered["layers"]:
                    layer["placed"]["rules"][path[-1]] = each
            write_document(place, altered)
            if noticed(place) is None:
                yield ".".join(map(str, path))


def believed_arrays(folder: Path, place: Path) -> Iterator[str]:
    """Arrays of a plan that can be altered so that nobody notices: in their first, middle or last value."""
    layers = document_of(folder)["layers"]
    policies = {Path(layer_file(at)).name: each["adc_policy"] for at, each in enumerate(layers)}
    for file in sorted((folder / "layers").iterdir()):
        for name, array in load_file(file).items():
            for index in {0, array.size // 2, array.size - 1} if array.size else ():
                shutil.copytree(folder, place)
                replace_arrays(place, f"layers/{file.name}", **{name: changed(array, index)})
                if noticed(place) is None:
                    yield f"arrays.{policies[file.name]}.{name}"
                shutil.rmtree(place)


def test_every_leaf_and_array_of_a_plan_is_checked_or_free(folders: list[Path], tmp_path: Path) -> None:
    believed: set[str] = set()
    for folder in folders:
        assert noticed(folder) is None
        believed.update(believed_leaves(folder, tmp_path / folder.name))
        believed.update(believed_arrays(folder, tmp_path / "arrays"))
    assert [path for path in sorted(believed) if not any(re.fullmatch(pattern, path) for pattern in FREE)] == []
    stale = [pattern for pattern in FREE if not any(re.fullmatch(pattern, path) for path in believed)]
    assert stale == []


def changed(array: NDArray[Any], index: int) -> NDArray[Any]:
    array = array.copy()
    array.flat[index] = not array.flat[index] if array.dtype == bool else array.flat[index] + 1
    return array
