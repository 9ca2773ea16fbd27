import copy
import ctypes
import errno
import math
import os
import shutil
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from safetensors import SafetensorError

import bsc
import hw_models
from bsc.cost.compare import compare
from bsc.errors import ModelError, UsageError
from bsc.mapping.arrays import LayerArrays
from bsc.plan import folder as plan_folder
from bsc.plan.document import SCHEMA_VERSION, Plan
from bsc.plan.folder import read_plan, to_json, write_plan
from bsc.replay.dataset import random_dataset
from bsc.replay.engine import Replayer
from bsc.report.build import report_document
from passes.calibrate_adc import CalibrateAdc
from tests.bsc.plans import CNN, document_of, model_plan, plan_of, rehash, replace_arrays, write_document
from tests.bsc.plans import coded as layer_of
from tests.passes.observed import plan_from_data

FILES = [
    "digital/0000.onnx",
    "digital/0001.onnx",
    "layers/0000.safetensors",
    "layers/0001.safetensors",
    "layers/0002.safetensors",
    "target.json",
]
HEAD = "layers/0002.safetensors"  # 13 of 16 rows and 4 of 5 columns are left; the only row tile has 2 column tiles
SMALL = plan_of(layer_of([[1, -2]]))


@pytest.fixture(scope="session")
def cnn(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return model_plan(CNN, tmp_path_factory.mktemp("cnn"))


@pytest.fixture(scope="session")
def written(cnn: Plan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plan folder that tests copy."""
    folder = tmp_path_factory.mktemp("plan") / "cnn.bsc"
    write_plan(cnn, folder)
    return folder


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    """A plan folder of the test's own."""
    return Path(shutil.copytree(written, tmp_path / "cnn.bsc"))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def use(folder: Path) -> None:
    """Everything a user can do with a plan."""
    plan = read_plan(folder)
    report_document(plan, compare(plan.mapping, plan.target, hw_models.load_law("isaac"), hw_models.laws()))
    dynamic = plan.document.free_batch
    data = random_dataset(plan.document.inputs, dynamic_batch=dynamic, samples=1, seed=0)
    for batch in data.batches():
        Replayer(plan.mapping).replayed(batch)


def refusal(folder: Path) -> str:
    """The `seen` line of the refusal of an altered plan."""
    with pytest.raises(ModelError) as caught:
        use(folder)
    seen = caught.value.seen
    assert str(caught.value) == (
        f"[BSC307] plan 'cnn.bsc' is malformed or was altered\n  seen: {seen}\n  fix:  compile the model again"
    )
    return seen


def test_what_was_written_is_read(cnn: Plan, folder: Path) -> None:
    plan = read_plan(folder)
    assert plan.document == cnn.document.model_copy(update={"files": plan.document.files})
    assert sorted(plan.document.files) == FILES
    assert plan.target == cnn.target
    for layer in cnn.mapping.layers:
        before, after = cnn.mapping.arrays(layer).by_name(), plan.mapping.arrays(layer).by_name()
        assert before.keys() == after.keys()
        for name, array in before.items():
            assert array.dtype == after[name].dtype
            np.testing.assert_array_equal(array, after[name])
    assert plan.mapping.program() == cnn.mapping.program()
    use(folder)


def test_extra_files_are_not_part_of_the_plan(tmp_path: Path) -> None:
    document = write_plan(SMALL, tmp_path / "a.bsc", views=lambda _: {"report.txt": "µ\n"})
    assert sorted(contents(tmp_path / "a.bsc")) == ["layers/0000.safetensors", "plan.json", "report.txt", "target.json"]
    assert sorted(document.files) == ["layers/0000.safetensors", "target.json"]
    assert (tmp_path / "a.bsc/report.txt").read_text(encoding="utf-8") == "µ\n"


def test_every_file_can_be_read_by_whoever_may_read_new_files(tmp_path: Path) -> None:
    write_plan(SMALL, tmp_path / "a.bsc")
    assert len({path.stat().st_mode for path in (tmp_path / "a.bsc").rglob("*") if path.is_file()}) == 1


def test_json_is_sorted_and_has_no_nan() -> None:
    assert to_json({"b": [1.5, None], "a": "µ"}) == '{\n  "a": "\\u00b5",\n  "b": [\n    1.5,\n    null\n  ]\n}\n'
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_json(float("nan"))


def test_the_same_plan_gives_the_same_bytes(cnn: Plan, written: Path, tmp_path: Path) -> None:
    write_plan(cnn, tmp_path / "other name.bsc")
    assert contents(tmp_path / "other name.bsc") == contents(written)
    write_plan(read_plan(written), tmp_path / "again.bsc")
    assert contents(tmp_path / "again.bsc") == contents(written)


def test_bytes_do_not_depend_on_the_process_or_the_place(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(CNN.SerializeToString(deterministic=True))
    source = str(Path(bsc.__file__).parent.parent)
    outputs = []
    for place, seed in (("here", "0"), ("there/below", "1")):
        (tmp_path / place).mkdir(parents=True)
        model = os.path.relpath(tmp_path / "model.onnx", tmp_path / place)
        subprocess.run(
            [sys.executable, "-m", "bsc", "compile", model, "-o", "out.bsc"],
            cwd=tmp_path / place,
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": source},
            capture_output=True,
            check=True,
        )
        outputs.append(contents(tmp_path / place / "out.bsc"))
    assert outputs[0] == outputs[1]


# --- writing: whole or not at all ---


def fails(error: BaseException, *, at: int = 0) -> Any:
    """A function that raises at one call and works at the others."""

    def wrap(function: Any) -> Any:
        calls = iter(range(1000))

        def failing(*arguments: Any, **options: Any) -> Any:
            if next(calls) == at:
                raise error
            return function(*arguments, **options)

        return failing

    return wrap


FULL = OSError(errno.ENOSPC, "No space left on device")
DENIED = PermissionError(errno.EACCES, "Permission denied")
FAILURES = [
    ((Path, "mkdir"), fails(DENIED), "Permission denied"),
    ((Path, "mkdir"), fails(FULL, at=1), "No space left on device"),
    ((Path, "write_text"), fails(FULL), "No space left on device"),
    ((Path, "write_text"), fails(DENIED, at=1), "Permission denied"),
    ((plan_folder, "save_file"), fails(FULL), "No space left on device"),
    ((plan_folder, "save_file"), fails(SafetensorError("I/O error")), "I/O error"),
    ((Path, "rename"), fails(OSError(errno.EXDEV, "Invalid cross-device link")), "Invalid cross-device link"),
]


@pytest.mark.parametrize("existing", [False, True])
@pytest.mark.parametrize(("function", "failure", "seen"), FAILURES)
def test_a_failed_write_leaves_what_was_there(
    function: tuple[Any, str],
    failure: Any,
    seen: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    *,
    existing: bool,
) -> None:
    folder = tmp_path / "out.bsc"
    if existing:
        write_plan(SMALL, folder, views=lambda _: {"notes.txt": "mine\n"})
    before = contents(tmp_path)
    monkeypatch.setattr(*function, failure(getattr(*function)))
    with pytest.raises(UsageError) as caught:
        write_plan(SMALL, folder, force=True)
    fix = "free some space or choose another --output" if "space" in seen else "choose a folder you may write to"
    assert str(caught.value) == f"[BSC204] output '{folder}' cannot be written\n  seen: {seen}\n  fix:  {fix}"
    assert contents(tmp_path) == before
    assert [path.name for path in tmp_path.iterdir()] == ["out.bsc"] * existing


@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error"), KeyboardInterrupt()])
def test_a_replaced_plan_comes_back_if_the_new_one_cannot_take_its_place(
    error: BaseException, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write_plan(SMALL, tmp_path / "out.bsc", views=lambda _: {"notes.txt": "mine\n"})
    before = contents(tmp_path)
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: object())  # a system that cannot swap folders in one step
    monkeypatch.setattr(Path, "rename", fails(error, at=2)(Path.rename))  # two find the place taken, and clear it
    with pytest.raises((UsageError, KeyboardInterrupt)):
        write_plan(SMALL, tmp_path / "out.bsc", force=True)
    assert contents(tmp_path) == before


def test_force_replaces_the_whole_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "out.bsc"
    write_plan(SMALL, folder, views=lambda _: {"notes.txt": "old\n"})
    write_plan(SMALL, folder, views=lambda _: {"report.txt": "new\n"}, force=True)
    assert sorted(contents(folder)) == ["layers/0000.safetensors", "plan.json", "report.txt", "target.json"]
    monkeypatch.chdir(folder)
    write_plan(SMALL, Path(), force=True)
    assert sorted(contents(folder)) == ["layers/0000.safetensors", "plan.json", "target.json"]
    assert [path.name for path in tmp_path.iterdir()] == ["out.bsc"]


def occupied(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """Paths that are not free, and what is there."""
    plan = tmp_path / "plan.bsc"
    write_plan(SMALL, plan)
    yield plan, "a plan folder"
    other = "something that is not a plan folder, which is never replaced"
    (tmp_path / "empty").mkdir()
    yield tmp_path / "empty", other
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    yield tmp_path / "file", other
    (tmp_path / "link").symlink_to(plan)
    yield tmp_path / "link", other
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    yield tmp_path / "dangling", other


@pytest.mark.parametrize("force", [False, True])
def test_words_for_an_output_that_exists(tmp_path: Path, *, force: bool) -> None:
    for path, seen in occupied(tmp_path):
        if force and seen == "a plan folder":
            continue
        with pytest.raises(UsageError) as caught:
            write_plan(SMALL, path, force=force)
        add = "add --force to replace it, or " if seen == "a plan folder" else ""
        assert str(caught.value) == (
            f"[BSC203] output '{path}' exists already\n  seen: {seen}\n  fix:  {add}choose another --output"
        )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dangling", "empty", "file", "link", "plan.bsc"]


@pytest.mark.parametrize(
    ("name", "seen"), [("no/such/out.bsc", "No such file or directory"), ("x" * 300, "File name too long")]
)
def test_words_for_an_output_that_cannot_be(name: str, seen: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        write_plan(SMALL, tmp_path / name)
    assert str(caught.value) == (
        f"[BSC204] output '{tmp_path / name}' cannot be written\n"
        f"  seen: {seen}\n"
        "  fix:  choose a folder you may write to"
    )


# --- reading: nothing is believed ---


def paths(value: object, at: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Where every value of a JSON document is."""
    if at:
        yield at
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from paths(inner, (*at, key))


def changed(document: Any, at: tuple[str | int, ...], *value: object) -> Any:
    """A copy of the document with another value there, or none."""
    result = copy.deepcopy(document)
    inner = result
    for key in at[:-1]:
        inner = inner[key]
    if value:
        inner[at[-1]] = value[0]
    else:
        del inner[at[-1]]
    return result


def value_at(document: Any, at: tuple[str | int, ...]) -> object:
    for key in at:
        document = document[key]
    return document


# BSC304: the digital operators do not give what the plan says. BSC308: no data has such an input.
REFUSALS = ("BSC304", "BSC307", "BSC308")


def accepted(folder: Path, document: object) -> bool:
    """Whether a changed plan.json still is a plan that can be used; any failure must be one of our own."""
    write_document(folder, document)
    try:
        use(folder)
    except ModelError as error:
        if error.code in REFUSALS:
            return False
        raise
    return True


def test_any_field_may_be_missing(folder: Path) -> None:
    document = document_of(folder)
    optional = {at for at in paths(document) if accepted(folder, changed(document, at))}
    empty = {("steps", index, "layer" if index % 2 else "digital") for index in range(5)}
    for_information = {("model", "opsets", ""), ("outputs", 0, "shape", 0), ("outputs", 0, "shape", 1)}
    operators = {at for at in paths(document) if "operators" in at}
    assert optional == empty | for_information | operators


WRONG: list[object] = [None, True, -1, 0, 1.5, "", "x", "../../etc/passwd", "\ud800", [], {}, [[]], [None]]


@pytest.mark.parametrize("wrong", WRONG, ids=repr)
def test_any_field_may_be_anything(folder: Path, wrong: object) -> None:
    document = document_of(folder)
    for at in paths(document):
        accepted(folder, changed(document, at, wrong))


@pytest.mark.parametrize("huge", [2, 7, 1000, 10**5, 10**9, 2**62, 2**63, 10**30, 1e300])
def test_no_number_fills_the_memory(folder: Path, huge: float) -> None:
    document = document_of(folder)
    numbers = [at for at in paths(document) if isinstance(value_at(document, at), int | float)]
    use(folder)  # imports
    tracemalloc.start()
    try:
        for at in numbers:
            accepted(folder, changed(document, at, huge))
        assert tracemalloc.get_traced_memory()[1] < 128 << 20
    finally:
        tracemalloc.stop()


def test_words_for_a_folder_that_is_no_plan(tmp_path: Path) -> None:
    for path in (tmp_path / "cnn.bsc", tmp_path / "file"):
        with pytest.raises(UsageError) as caught:
            read_plan(path)
        assert str(caught.value) == (
            f"[BSC202] plan '{path.name}' cannot be opened\n"
            "  seen: no such folder\n"
            "  fix:  give the folder that 'bsc compile' wrote, such as model.bsc"
        )
        (tmp_path / "file").touch()
    (tmp_path / "cnn.bsc").mkdir()
    assert refusal(tmp_path / "cnn.bsc") == "no plan.json in the folder"


@pytest.mark.parametrize("name", ["plan.json", "target.json", HEAD, "digital/0000.onnx"])
def test_words_for_a_file_that_may_not_be_read(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    allowed = Path.open

    def refuse(path: Path, *arguments: Any, **options: Any) -> Any:
        if path == folder / name:
            raise DENIED
        return allowed(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(UsageError) as caught:
        use(folder)
    assert str(caught.value) == (
        "[BSC202] plan 'cnn.bsc' cannot be opened\n"
        "  seen: Permission denied\n"
        "  fix:  give the folder that 'bsc compile' wrote, such as model.bsc"
    )


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("", "plan.json: Invalid JSON: EOF while parsing a value at line 1 column 0"),
        ("{", "plan.json: Invalid JSON: EOF while parsing an object at line 1 column 1"),
        ("[]", "plan.json: Input should be an object"),
        ("{}", "plan.json: schema_version: Field required"),
        ("[" * 100_000, "plan.json: Invalid JSON: recursion limit exceeded"),
    ],
)
def test_words_for_a_document_that_is_none(text: str, seen: str, folder: Path) -> None:
    (folder / "plan.json").write_text(text, encoding="utf-8")
    assert refusal(folder).startswith(seen)


@pytest.mark.parametrize(
    ("at", "value", "seen"),
    [
        (("schema_version",), "4", "schema_version: Input should be a valid integer"),
        (("schema_version",), None, "schema_version: Input should be a valid integer"),
        (("layers", 0, "rows"), "27", "layers.0.rows: Input should be a valid integer"),
        (("layers", 0, "dac_bits"), 9, "layers.0.dac_bits: Input should be less than or equal to 8"),
        (("layers", 0, "more"), 1, "layers.0.more: Extra inputs are not permitted"),
        (("layers", 1, "groups"), 3, "layers.1: Value error, rows, columns and groups do not fit together"),
        (
            ("steps", 1, "digital"),
            "digital/../../0000.onnx",
            r"steps.1.digital: String should match pattern '^digital/[0-9]{4,9}\.onnx$'",
        ),
    ],
)
def test_words_for_a_field(at: tuple[str | int, ...], value: object, seen: str, folder: Path) -> None:
    write_document(folder, changed(document_of(folder), at, value))
    assert refusal(folder) == f"plan.json: {seen}"


@pytest.mark.parametrize("version", [SCHEMA_VERSION - 1, SCHEMA_VERSION + 1])
def test_words_for_another_version(version: int, folder: Path) -> None:
    """Whatever else it says."""
    write_document(folder, {"schema_version": version})
    with pytest.raises(ModelError) as caught:
        read_plan(folder)
    assert str(caught.value) == (
        "[BSC307] plan 'cnn.bsc' was written by another version of bsc\n"
        f"  seen: schema version {version}, where this one reads {SCHEMA_VERSION}\n"
        "  fix:  compile the model again with this version"
    )


def test_words_for_another_target(folder: Path) -> None:
    write_document(folder, changed(document_of(folder), ("target",), "other"))
    assert refusal(folder) == "target.json describes 'isaac', plan.json names 'other'"


def test_a_document_too_large_is_not_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_folder, "MAX_JSON_BYTES", 100)
    size = (folder / "plan.json").stat().st_size
    assert refusal(folder) == f"plan.json has {size} bytes, more than 100"


@pytest.mark.parametrize("name", FILES)
def test_any_change_of_a_file_is_noticed(name: str, folder: Path) -> None:
    path = folder / name
    original = path.read_bytes()
    other = f"file '{name}' does not have the SHA-256 that plan.json records"
    for position in (0, len(original) // 2, len(original) - 1):
        altered = bytearray(original)
        altered[position] ^= 1
        path.write_bytes(altered)
        assert refusal(folder) == other
    for other_size in (b"", original[:-1], original + b"\0"):
        path.write_bytes(other_size)
        assert refusal(folder) == other


@pytest.mark.parametrize("name", FILES)
def test_a_file_must_be_there_and_no_link(name: str, folder: Path) -> None:
    path = folder / name
    path.rename(folder / "elsewhere")
    assert refusal(folder) == f"file '{name}' is missing"
    path.symlink_to(folder / "elsewhere")
    assert refusal(folder) == f"file '{name}' is missing"
    path.unlink()
    path.mkdir()
    assert refusal(folder) == f"file '{name}' is missing"


def test_a_file_that_is_not_listed_is_not_opened(folder: Path) -> None:
    document = document_of(folder)
    del document["files"][HEAD]
    write_document(folder, document)
    assert refusal(folder) == f"file '{HEAD}' is missing"


@pytest.mark.parametrize(
    ("name", "content", "seen"),
    [
        ("target.json", b"{}", "target.json: name: Field required"),
        (HEAD, b"", "layer 'head': Error while deserializing header: header too small"),
        (HEAD, b"\xff" * 8, "layer 'head': Error while deserializing header: header too large"),
        (HEAD, b"\x02" + b"\0" * 7 + b"{}", "layer 'head': array 'codes' is missing"),
    ],
)
def test_files_of_another_kind_with_the_right_hash(name: str, content: bytes, seen: str, folder: Path) -> None:
    (folder / name).write_bytes(content)
    rehash(folder, name)
    assert refusal(folder).startswith(seen)


def test_digital_operators_of_another_kind_with_the_right_hash(folder: Path) -> None:
    (folder / "digital/0000.onnx").write_bytes(b"not a model")
    rehash(folder, "digital/0000.onnx")
    assert refusal(folder).startswith("file 'digital/0000.onnx': Error parsing message")


def test_digital_operators_that_onnxruntime_cannot_run(folder: Path) -> None:
    model = onnx.load(folder / "digital/0000.onnx")
    model.graph.node[0].op_type = "Softplus"
    model.graph.node[0].input.append("scores")
    onnx.save(model, folder / "digital/0000.onnx")
    rehash(folder, "digital/0000.onnx")
    with pytest.raises(ModelError, match=r"\[BSC304\] digital operators before tensor 'c' cannot be run"):
        use(folder)


def test_digital_operators_with_functions(folder: Path) -> None:
    """They can unfold to any number of operators, and a segment has none."""
    model = onnx.load(folder / "digital/0000.onnx")
    model.functions.add(name="f", domain="own")
    onnx.save(model, folder / "digital/0000.onnx")
    rehash(folder, "digital/0000.onnx")
    assert refusal(folder) == "file 'digital/0000.onnx' has functions, which the compiler inlines"


@pytest.mark.parametrize("place", ["operator", "tensor", "attribute", "body"])
def test_digital_operators_with_names_that_are_no_text(place: str, folder: Path) -> None:
    model = onnx.load(folder / "digital/0000.onnx")
    node = onnx.helper.make_node("Constant", [], ["w"], value_int=1)
    if place == "operator":
        node.op_type = "@@@@"
    elif place == "tensor":
        model.graph.value_info.add(name="@@@@")
    elif place == "attribute":
        node.attribute[0].name = "@@@@"
    else:
        body = onnx.helper.make_graph([onnx.helper.make_node("Constant", [], ["@@@@"], value_int=1)], "g", [], [])
        node = onnx.helper.make_node("If", ["c"], ["v"], then_branch=body, else_branch=body)
    model.graph.node.append(node)
    (folder / "digital/0000.onnx").write_bytes(model.SerializeToString().replace(b"@@@@", b"\xf5\x85\xff\xc6"))
    rehash(folder, "digital/0000.onnx")
    assert refusal(folder) == "file 'digital/0000.onnx' has a name that is not UTF-8 text"


@pytest.mark.parametrize("place", ["initialiser", "attribute", "body", "sparse"])
def test_digital_operators_that_name_a_file(place: str, folder: Path) -> None:
    """onnxruntime would open it, from wherever bsc was started."""
    model = onnx.load(folder / "digital/0000.onnx")
    outside = onnx.TensorProto(name="w", data_type=1, dims=[1], data_location=onnx.TensorProto.EXTERNAL)
    outside.external_data.add(key="location", value="/etc/passwd")
    if place == "initialiser":
        model.graph.initializer.append(outside)
    elif place == "sparse":
        model.graph.sparse_initializer.add(values=outside)
    else:
        node = onnx.helper.make_node("Constant", [], ["w"], value=outside)
        if place == "body":
            body = onnx.helper.make_graph([node], "g", [], [onnx.ValueInfoProto(name="w")])
            node = onnx.helper.make_node("If", ["c"], ["v"], then_branch=body, else_branch=body)
        model.graph.node.append(node)
    (folder / "digital/0000.onnx").write_bytes(model.SerializeToString())
    rehash(folder, "digital/0000.onnx")
    assert refusal(folder) == "file 'digital/0000.onnx' refers to other files"


# Of the head: 13 x 4 of 16 x 5 weights in 8 bits, four 2-bit slices, one 16 x 8 tile.
LINES = (1, 4, 2, 4)
BAD_ARRAYS: list[tuple[str, NDArray[Any]]] = [
    ("codes", np.zeros((13, 5), np.int16)),
    ("codes", np.zeros((13, 4), np.float32)),
    ("codes", np.full((13, 4), 256, np.int16)),
    ("codes", np.full((13, 4), -256, np.int16)),
    ("weight_scale", np.array([-1.0])),
    ("weight_scale", np.array([np.nan])),
    ("weight_scale", np.array([np.inf])),
    ("weight_scale", np.ones(4)),
    ("weight_scale", np.ones((1, 1))),
    ("weight_scale", np.array([1])),
    ("bias", np.ones(4, np.float32)),
    ("bias", np.ones((5, 1), np.float32)),
    ("bias", np.array([0, 0, np.nan, 0, 0])),
    ("bias", np.ones(5, np.int64)),
    ("kept_rows", np.arange(12, dtype=np.int32)),
    ("kept_rows", np.arange(4, 17, dtype=np.int32)),
    ("kept_rows", np.arange(-1, 12, dtype=np.int32)),
    ("kept_rows", np.zeros(13, np.int32)),
    ("kept_rows", np.arange(13, dtype=np.float32)),
    ("kept_rows", np.array(12, np.int32)),
    ("kept_rows", np.arange(13, dtype=np.int32)[:, None]),
    ("kept_rows", np.ones(13, np.bool_)),
    ("kept_columns", np.array([0, 1, 2, 5], np.int32)),
    ("kept_columns", np.array([3, 2, 2, 0], np.int32)),
    ("sums", np.full(LINES, 16 * 3 + 1, np.uint16)),
    ("sums", np.zeros(LINES, np.int16)),
    ("gcds", np.full(LINES, 4, np.uint8)),
    ("nonzeros", np.full(LINES, 17, np.uint16)),
    ("adc_bits", np.full(LINES, 17, np.uint8)),
    ("adc_bits", np.zeros((1, 4, 1, 4), np.uint8)),
    ("adc_lsb", np.zeros(LINES, np.uint8)),
    ("adc_lsb", np.full(LINES, 256, np.uint16)),
    ("allocated", np.ones((1, 2, 4, 2), np.bool_)),
    ("allocated", np.ones((1, 1, 4, 2), np.uint8)),
]


@pytest.mark.parametrize(("name", "array"), BAD_ARRAYS)
def test_arrays_that_contradict_the_document(name: str, array: NDArray[Any], folder: Path) -> None:
    replace_arrays(folder, HEAD, **{name: array})
    assert refusal(folder).startswith(f"layer 'head': array '{name}' ")


@pytest.mark.parametrize("name", ["kept_rows", "kept_columns"])
def test_lines_that_were_dropped_must_be_told(name: str, folder: Path) -> None:
    replace_arrays(folder, HEAD, **{name: None})
    assert refusal(folder).startswith(f"layer 'head': array '{name}' ")


@pytest.mark.parametrize(
    "codes",
    [np.zeros((3, 2), np.int16), np.zeros(8, np.int16), np.full((4, 2), 256, np.int16), np.zeros((4, 2), np.float32)],
)
def test_codes_that_do_not_fit_their_centres(codes: NDArray[Any], tmp_path: Path) -> None:
    """They are looked at before the centres are taken from them."""
    folder = tmp_path / "cnn.bsc"
    write_plan(plan_of(layer_of([[9, 1], [7, 2], [8, 3], [9, 4]]), encoding="centre"), folder)
    replace_arrays(folder, "layers/0000.safetensors", codes=codes)
    assert refusal(folder).startswith("layer 'fc': array 'codes' ")


@pytest.mark.parametrize("centres", [np.array([[256, 0]], np.int16), np.array([[-255, 0]], np.int16), None])
def test_centres_that_do_not_fit_the_codes(centres: NDArray[Any] | None, tmp_path: Path) -> None:
    folder = tmp_path / "cnn.bsc"
    write_plan(plan_of(layer_of([[9, 1], [7, 2]]), encoding="centre"), folder)
    replace_arrays(folder, "layers/0000.safetensors", centres=centres)
    assert refusal(folder).startswith("layer 'fc': array 'centres' ")


@pytest.mark.parametrize("step", [2.0**-100, 2.0**100])
def test_input_steps_have_limits(step: float, tmp_path: Path) -> None:
    folder = tmp_path / "cnn.bsc"
    write_plan(plan_of(layer_of([[1, -2]], input_scale=step)), folder)
    assert read_plan(folder).mapping.layers[0].input_scale == step
    beyond = float(np.nextafter(step, np.inf if step > 1 else 0))
    for value in (beyond, math.nan, math.inf, 0.0, 1e300, 1e-300):
        write_document(folder, changed(document_of(folder), ("layers", 0, "input_scale"), value))
        assert refusal(folder).startswith("plan.json: ")


def test_arrays_that_do_not_belong_there(folder: Path) -> None:
    replace_arrays(folder, HEAD, more=np.zeros(1))
    assert refusal(folder) == "layer 'head': array 'more' is unknown"
    replace_arrays(folder, HEAD, more=None, codes=None)
    assert refusal(folder) == "layer 'head': array 'codes' is missing"


def test_values_at_their_limits_are_read(folder: Path) -> None:
    largest = float(np.finfo(np.float64).max)
    replace_arrays(
        folder,
        HEAD,
        codes=np.full((13, 4), -255, np.int16),
        weight_scale=np.array([0.0]),
        bias=np.array([-largest, largest, 0, 0, 0]),
        adc_bits=np.full(LINES, 16, np.uint8),
        adc_lsb=np.full(LINES, 255, np.uint8),
        kept_rows=np.arange(3, 16, dtype=np.int64),
        kept_columns=np.arange(1, 5, dtype=np.int8),
    )
    plan = read_plan(folder)
    assert plan.mapping.arrays(plan.mapping.layer("head")).adc_lsb.max() == 255


OBSERVED = (2, 4, 1, 3)
"""A layer of 20 rows and 3 columns of pairs on 16 rows: sums of up to 16 cells of 3."""


@pytest.fixture
def observed_pairs(tmp_path: Path) -> Path:
    """A plan folder of a layer whose pairs were observed."""
    codes = np.random.default_rng(0).integers(-255, 256, (20, 3))
    plan = plan_from_data(codes, np.ones((2, 20)), CalibrateAdc(), subtraction="analog")
    write_plan(plan, tmp_path / "pairs.bsc")
    return tmp_path / "pairs.bsc"


def read_pairs(folder: Path) -> LayerArrays:
    plan = read_plan(folder)
    return plan.mapping.arrays(plan.mapping.layers[0])


def test_observed_pairs_survive(observed_pairs: Path) -> None:
    for highest, lowest in ((0, 0), (48, -48)):
        sums, lows = np.full(OBSERVED, highest, np.uint32), np.full(OBSERVED, lowest, np.int32)
        replace_arrays(observed_pairs, "layers/0000.safetensors", observed_sums=sums, observed_lows=lows)
        arrays = read_pairs(observed_pairs)
        np.testing.assert_array_equal(arrays.observed_sums, sums)
        np.testing.assert_array_equal(arrays.observed_lows, lows)


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("observed_sums", None),
        ("observed_lows", None),
        ("observed_sums", np.full(OBSERVED, 49, np.uint32)),
        ("observed_sums", np.zeros((2, 4, 2, 3), np.uint32)),
        ("observed_lows", np.full(OBSERVED, -49, np.int32)),
        ("observed_lows", np.full(OBSERVED, 1, np.int32)),
        ("observed_lows", np.zeros(OBSERVED, np.uint32)),
        ("observed_lows", np.zeros((2, 4, 2, 3), np.int32)),
    ],
)
def test_observed_pairs_that_contradict_the_document(
    name: str, array: NDArray[Any] | None, observed_pairs: Path
) -> None:
    replace_arrays(observed_pairs, "layers/0000.safetensors", **{name: array})
    with pytest.raises(ModelError) as caught:
        read_pairs(observed_pairs)
    assert caught.value.seen.startswith(f"layer 'fc': array '{name}' ")


def test_single_columns_have_no_lowest_sums(folder: Path) -> None:
    replace_arrays(folder, HEAD, observed_lows=np.zeros(LINES, np.int32))
    assert refusal(folder).startswith("layer 'head': array 'observed_lows' ")
