import hashlib
import os
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bsc.errors import ModelError, UsageError
from bsc.ir.graph import TensorType
from bsc.ir.input_values import MAX_MADE_VALUES
from bsc.replay.dataset import Dataset, load_dataset, random_dataset

X = TensorType(name="x", shape=(1, 2), dtype="float32", batch_axis=0)
U = TensorType(name="u", shape=(1, 3), dtype="int64", batch_axis=0)


def rows(count: int, width: int = 2) -> NDArray[np.float32]:
    return np.arange(count * width, dtype=np.float32).reshape(count, width)


def saved(folder: Path, **arrays: Any) -> Path:
    np.savez(folder / "data.npz", **arrays)
    return folder / "data.npz"


def loaded(folder: Path, *specs: TensorType, limit: int | None = None, fixed: bool = False, **arrays: Any) -> Dataset:
    return load_dataset(saved(folder, **arrays), specs or (X,), dynamic_batch=not fixed, limit=limit)


def test_an_input_without_batch_goes_whole_with_every_batch(tmp_path: Path) -> None:
    fixed = TensorType(name="f", shape=(3, 2), dtype="float32")
    data = loaded(tmp_path, fixed, X, f=rows(3), x=rows(300))
    assert (data.samples, data.shared) == (300, frozenset({"f"}))
    for batch, count in zip(data.batches(), (256, 44), strict=True):
        assert (batch["f"].shape, batch["x"].shape, data.rows(batch)) == ((3, 2), (count, 2), count)
    assert str(refusal(lambda: loaded(tmp_path, fixed, X, f=rows(4), x=rows(300)))) == (
        "[BSC308] data file 'data.npz': input 'f' does not fit\n"
        "  seen: shape (4, 2)\n"
        "  fix:  give shape (3, 2): it has no batch; or one axis more in front, with an entry for every run"
    )
    made = random_dataset([fixed, X], dynamic_batch=True, samples=5, seed=0)
    assert (made.samples, made.inputs["f"].shape, made.inputs["x"].shape) == (5, (3, 2), (5, 2))


def test_inputs_by_name_in_batches(tmp_path: Path) -> None:
    data = loaded(tmp_path, X, U, x=rows(300), u=np.zeros((300, 3), np.int64), y=np.arange(300))
    assert (data.samples, data.batch) == (300, 256)
    assert data.sha256 == hashlib.sha256((tmp_path / "data.npz").read_bytes()).hexdigest()
    assert [len(batch["x"]) for batch in data.batches()] == [256, 44]
    np.testing.assert_array_equal(np.concatenate([batch["x"] for batch in data.batches()]), rows(300))
    assert data.labels is not None
    assert (data.labels == np.arange(300)).all()
    assert data.labels.dtype == np.int64


@pytest.mark.parametrize("name", ["x", "images", "arr_0"])
def test_a_lone_array_serves_a_lone_input(name: str, tmp_path: Path) -> None:
    arrays: dict[str, Any] = {name: rows(3)}
    assert list(loaded(tmp_path, **arrays).inputs) == ["x"]


@pytest.mark.parametrize("name", ["label", "labels", "y"])
def test_names_of_labels(name: str, tmp_path: Path) -> None:
    arrays: dict[str, Any] = {"images": rows(2), name: np.array([1, 0], np.uint8)}
    data = loaded(tmp_path, **arrays)
    assert data.labels is not None
    assert data.labels.tolist() == [1, 0]
    assert loaded(tmp_path, x=rows(2)).labels is None


def test_an_input_that_is_called_y_is_no_label(tmp_path: Path) -> None:
    data = loaded(tmp_path, replace(X, name="y"), y=rows(2))
    np.testing.assert_array_equal(data.inputs["y"], rows(2))
    assert data.labels is None


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.uint8])
def test_types_that_fit_are_converted(dtype: type[np.generic], tmp_path: Path) -> None:
    assert loaded(tmp_path, x=rows(2).astype(dtype)).inputs["x"].dtype == np.float32


def test_the_shape_of_a_sample_may_be_unknown(tmp_path: Path) -> None:
    assert loaded(tmp_path, replace(X, shape=None), x=np.zeros((4, 9, 9), np.float32)).samples == 4


@pytest.mark.parametrize(("limit", "samples"), [(1, 1), (3, 3), (9, 4), (None, 4)])
def test_limit(limit: int | None, samples: int, tmp_path: Path) -> None:
    data = loaded(tmp_path, x=rows(4), y=np.arange(4), limit=limit)
    assert data.samples == samples
    assert data.labels is not None
    assert len(data.labels) == samples


@pytest.mark.parametrize(("samples", "limit"), [(2, None), (4, None), (5, 4)])
def test_a_fixed_batch_takes_its_multiples(samples: int, limit: int | None, tmp_path: Path) -> None:
    spec = replace(X, shape=(2, 2))
    data = loaded(tmp_path, spec, x=rows(samples), limit=limit, fixed=True)
    assert [len(batch["x"]) for batch in data.batches()] == [2] * (data.samples // 2)


NAMES = "name the arrays like the inputs"
COUNTS = "give every array the same number of samples, at least one"
LABELS = "give class numbers from 0, one a sample"
MULTIPLE = "use a multiple of 2 samples, or export the model with a free batch axis"
FINITE = "remove the samples that are not finite"
MISFITS: dict[str, tuple[dict[str, Any], str, str, str]] = {
    "no array": ({}, "input 'x'", "arrays none", NAMES),
    "labels alone": ({"y": np.zeros(2, np.int64)}, "input 'x'", "arrays none", NAMES),
    "other names": ({"a": rows(2), "b": rows(2)}, "input 'x'", "arrays a, b", NAMES),
    "type": (
        {"x": rows(2).astype(complex)},
        "input 'x'",
        "type complex128, the model takes float32",
        "convert the array",
    ),
    "text": ({"x": np.array([["a", "b"]])}, "input 'x'", "type <U1, the model takes float32", "convert the array"),
    "width": ({"x": rows(2, 3)}, "input 'x'", "shape (2, 3)", "give shape (samples, 2)"),
    "no samples axis": ({"x": np.float32(1)}, "input 'x'", "shape ()", "give shape (samples, 2)"),
    "axes": ({"x": np.zeros((2, 2, 1), np.float32)}, "input 'x'", "shape (2, 2, 1)", "give shape (samples, 2)"),
    "NaN": ({"x": np.array([[0, np.nan]], np.float32)}, "input 'x'", "NaN or infinity", FINITE),
    "infinity": ({"x": np.array([[0, -np.inf]], np.float32)}, "input 'x'", "NaN or infinity", FINITE),
    "empty": ({"x": rows(0)}, "numbers of samples", "x: 0", COUNTS),
    "labels too few": ({"x": rows(3), "y": np.zeros(2, int)}, "numbers of samples", "x: 3, labels: 2", COUNTS),
    "labels as floats": ({"x": rows(2), "y": rows(2)[:, 0]}, "array of labels", "float32 of shape (2,)", LABELS),
    "labels one-hot": ({"x": rows(2), "y": np.eye(2, dtype=int)}, "array of labels", "int64 of shape (2, 2)", LABELS),
    "a lone label": ({"x": rows(1), "y": np.int64(0)}, "array of labels", "int64 of shape ()", LABELS),
    "labels negative": ({"x": rows(2), "y": np.array([0, -1])}, "array of labels", "int64 of shape (2,)", LABELS),
}


def refusal(load: Callable[[], object]) -> str:
    with pytest.raises(ModelError) as caught:
        load()
    return str(caught.value)


def words(what: str, seen: str, fix: str) -> str:
    return f"[BSC308] data file 'data.npz': {what} does not fit\n  seen: {seen}\n  fix:  {fix}"


@pytest.mark.parametrize(("arrays", "what", "seen", "fix"), MISFITS.values(), ids=MISFITS)
def test_words_for_data_that_does_not_fit(
    arrays: dict[str, Any], what: str, seen: str, fix: str, tmp_path: Path
) -> None:
    assert refusal(lambda: loaded(tmp_path, **arrays)) == words(what, seen, fix)


@pytest.mark.parametrize(("samples", "limit", "kept"), [(3, None, 3), (4, 1, 1)])
def test_words_for_a_fixed_batch(samples: int, limit: int | None, kept: int, tmp_path: Path) -> None:
    spec = replace(X, shape=(2, 2))
    seen = f"{kept} samples, the model takes 2 at a time"
    text = refusal(lambda: loaded(tmp_path, spec, x=rows(samples), limit=limit, fixed=True))
    assert text == words("number of samples", seen, MULTIPLE)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"dtype": "int32"}, words("input 'x'", "type float32, the model takes int32", "convert the array")),
        ({"dtype": "nonsense"}, words("input 'x'", "type float32, the model takes nonsense", "convert the array")),
    ],
)
def test_words_for_a_model_that_takes_something_else(change: dict[str, Any], text: str, tmp_path: Path) -> None:
    assert refusal(lambda: loaded(tmp_path, replace(X, **change), x=rows(2), fixed=True)) == text


def pickled(path: Path) -> None:
    np.savez(path, x=np.array([[{}, print]]))


def lone_array(path: Path) -> None:
    with path.open("wb") as stream:
        np.save(stream, rows(2))


def truncated(path: Path) -> None:
    np.savez_compressed(path, x=rows(100))
    path.write_bytes(path.read_bytes()[:-30])


def corrupted(path: Path) -> None:
    np.savez_compressed(path, x=rows(1000))
    content = bytearray(path.read_bytes())
    content[60:80] = bytes(20)
    path.write_bytes(content)


def boasting(path: Path) -> None:
    """An array whose header promises more than any memory holds."""
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1, 99999999999999), }\n"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "object array": (pickled, "Object arrays cannot be loaded when allow_pickle=False"),
    "not an archive": (lone_array, "a single array, not a .npz archive"),
    "truncated": (truncated, "File is not a zip file"),
    "corrupted": (corrupted, "Error -3 while decompressing data"),
    "header too large": (boasting, "Unable to allocate 364. TiB for an array with shape (99999999999999,)"),
    "text": (lambda path: path.write_text("x,y\n1,2\n"), "This file contains pickled (object) data"),
    "empty file": (lambda path: path.write_bytes(b""), "No data left in file"),
}


@pytest.mark.parametrize(("write", "seen"), BROKEN.values(), ids=BROKEN)
def test_files_that_are_no_archives_of_arrays(write: Callable[[Path], object], seen: str, tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    write(path)
    text = refusal(lambda: load_dataset(path, (X,), dynamic_batch=True))
    assert text.startswith(f"[BSC308] data file 'data.npz': format does not fit\n  seen: {seen}")
    assert text.endswith("\n  fix:  write it with numpy.savez, without object arrays")
    assert len(text.splitlines()) == 3


@pytest.mark.parametrize(
    ("name", "seen"),
    [("none.npz", "No such file or directory"), (".", "Is a directory"), ("pipe", "Not a plain file")],
)
def test_words_for_a_file_that_cannot_be_opened(name: str, seen: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    path = tmp_path / name
    with pytest.raises(UsageError) as caught:
        load_dataset(path, (X,), dynamic_batch=True)
    assert str(caught.value) == (
        f"[BSC202] data file '{path.name}' cannot be opened\n  seen: {seen}\n  fix:  give the path of a .npz file"
    )


def test_halves_are_every_other_sample(tmp_path: Path) -> None:
    data = loaded(tmp_path, x=rows(5), y=np.arange(5))
    first, second = data.halves()
    for half, numbers in ((first, [0, 2, 4]), (second, [1, 3])):
        assert half.labels is not None
        assert half.labels.tolist() == numbers
        np.testing.assert_array_equal(half.inputs["x"], rows(5)[numbers])
        assert half.sha256 == data.sha256
    batches = [half.inputs["x"] for half in loaded(tmp_path, fixed=True, x=rows(6)).halves()]
    np.testing.assert_array_equal(batches[0], rows(6)[::2])


def test_halves_keep_batches_whole(tmp_path: Path) -> None:
    wide = replace(X, shape=(2, 2))
    first, second = loaded(tmp_path, wide, fixed=True, x=rows(6)).halves()
    np.testing.assert_array_equal(first.inputs["x"], rows(6)[[0, 1, 4, 5]])
    np.testing.assert_array_equal(second.inputs["x"], rows(6)[[2, 3]])
    with pytest.raises(ModelError) as caught:
        loaded(tmp_path, wide, fixed=True, x=rows(2)).halves()
    assert str(caught.value) == (
        "[BSC308] the calibration data cannot be split into two halves\n"
        "  seen: 2 samples, 2 of which the model takes at a time\n"
        "  fix:  give more samples, or a file of its own with --held-out"
    )


@pytest.mark.parametrize(
    ("wanted", "numbers"), [(1, [0]), (3, [0, 4, 9]), (10, list(range(10))), (99, list(range(10)))]
)
def test_spread_samples(wanted: int, numbers: list[int], tmp_path: Path) -> None:
    np.testing.assert_array_equal(loaded(tmp_path, x=rows(10)).spread(wanted).inputs["x"], rows(10)[numbers])


def test_random_data() -> None:
    half = replace(X, name="h", dtype="float16", shape=(1, 3))
    data = random_dataset([X, half], dynamic_batch=True, samples=5, seed=1)
    assert {name: (values.shape, str(values.dtype)) for name, values in data.inputs.items()} == {
        "x": ((5, 2), "float32"),
        "h": ((5, 3), "float16"),
    }
    again = random_dataset([X, half], dynamic_batch=True, samples=5, seed=1)
    np.testing.assert_array_equal(data.inputs["x"], again.inputs["x"])
    other = random_dataset([X], dynamic_batch=True, samples=5, seed=2)
    assert (data.inputs["x"] != other.inputs["x"]).any()


@pytest.mark.parametrize(("samples", "made"), [(1, 2), (2, 2), (3, 4)])
def test_random_data_fills_whole_batches(samples: int, made: int) -> None:
    data = random_dataset([replace(X, shape=(2, 2))], dynamic_batch=False, samples=samples, seed=0)
    assert (data.samples, data.batch) == (made, 2)


def test_texts_are_made_up() -> None:
    data = random_dataset([replace(X, dtype="object")], dynamic_batch=True, samples=3, seed=0)
    assert all(text.startswith("text ") for text in data.inputs["x"].ravel())


@pytest.mark.parametrize(
    ("change", "seen"),
    [
        ({"dtype": "floaty"}, "floaty of shape (2, 2)"),
        ({"dtype": "complex64"}, "complex64 of shape (2, 2)"),
        ({"dtype": "<U1"}, "<U1 of shape (2, 2)"),
        ({"shape": None}, "its sizes are not known"),
        ({"shape": (1, MAX_MADE_VALUES + 1)}, "float32 of shape (1, 33554433)"),
    ],
)
@pytest.mark.parametrize("dynamic_batch", [False, True])
def test_words_for_inputs_that_cannot_be_made_up(change: dict[str, Any], seen: str, *, dynamic_batch: bool) -> None:
    spec = replace(X, **change)
    text = refusal(lambda: random_dataset([spec], dynamic_batch=dynamic_batch, samples=2, seed=0))
    assert text.startswith(f"[BSC308] input 'x' cannot be made up\n  seen: {seen}\n  fix:  give real inputs")


@pytest.mark.parametrize("dynamic_batch", [False, True])
def test_fewer_samples_are_made_where_one_is_large(*, dynamic_batch: bool) -> None:
    """2**25 values, and always one sample: an image of 3x640x640 is no reason to refuse."""
    wide = replace(X, shape=(1, 3, 640, 640))
    data = random_dataset([wide], dynamic_batch=dynamic_batch, samples=64, seed=0)
    assert data.samples == MAX_MADE_VALUES // (3 * 640 * 640) == 27
    larger = replace(X, shape=(1, 1 << 24)), replace(U, shape=(1, 1 << 24))
    assert random_dataset(larger, dynamic_batch=dynamic_batch, samples=64, seed=0).samples == 1
    too_large = (*larger, replace(X, name="z", shape=(1, 1)))
    assert "input 'z' cannot be made up" in refusal(
        lambda: random_dataset(too_large, dynamic_batch=dynamic_batch, samples=64, seed=0)
    )


def test_made_up_inputs_of_any_kind() -> None:
    """Integers in the range that is known, a scalar, a state whose batch is its second axis, nothing at all."""
    specs = [
        TensorType(name="ids", shape=(1, 50), dtype="int64", batch_axis=0, values=(3, 5)),
        TensorType(name="mask", shape=(1, 50), dtype="bool", batch_axis=0),
        TensorType(name="rate", shape=(), dtype="int32"),
        TensorType(name="state", shape=(2, 1, 4), dtype="float32", batch_axis=1),
        TensorType(name="past", shape=(1, 0, 4), dtype="float16", batch_axis=0),
    ]
    data = random_dataset(specs, dynamic_batch=True, samples=6, seed=0, given={"rate": (16000, 16000)})
    assert {name: values.shape for name, values in data.inputs.items()} == {
        "ids": (6, 50),
        "mask": (6, 50),
        "rate": (),
        "state": (2, 6, 4),
        "past": (6, 0, 4),
    }
    assert set(data.inputs["ids"].ravel().tolist()) == {3, 4, 5}
    assert set(data.inputs["mask"].ravel().tolist()) == {False, True}
    assert data.inputs["rate"] == 16000
    assert (data.samples, data.shared) == (6, frozenset({"rate"}))


# --- where the batch is ---


STATE = TensorType(name="h", shape=(2, 1, 4), dtype="float32", batch_axis=1)
RATE = TensorType(name="rate", shape=(), dtype="int64")


def states(count: int) -> NDArray[np.float32]:
    return np.arange(2 * count * 4, dtype=np.float32).reshape(2, count, 4)


def test_each_input_is_cut_along_its_own_batch(tmp_path: Path) -> None:
    data = loaded(tmp_path, X, STATE, x=rows(300), h=states(300))
    assert data.samples == 300
    for batch, part in zip(data.batches(), (np.s_[:256], np.s_[256:]), strict=True):
        np.testing.assert_array_equal(batch["h"], states(300)[:, part])
        np.testing.assert_array_equal(batch["x"], rows(300)[part])
        assert data.rows(batch) == len(batch["x"])
    np.testing.assert_array_equal(data.halves()[1].inputs["h"], states(300)[:, 1::2])
    text = refusal(lambda: loaded(tmp_path, X, STATE, x=rows(3), h=states(2)))
    assert "seen: x: 3, h: 2" in text
    text = refusal(lambda: loaded(tmp_path, X, STATE, x=rows(3), h=rows(3)))
    assert text == words("input 'h'", "shape (3, 2)", "give shape (2, samples, 4)")


def test_an_input_without_batch_may_have_an_entry_for_every_run(tmp_path: Path) -> None:
    """The model is then run one sample at a time, or a batch of its own at a time."""
    rates = np.array([8000, 16000, 8000])
    data = loaded(tmp_path, X, RATE, x=rows(3), rate=rates)
    assert (data.samples, data.batch, data.free_batch, data.single) == (3, 1, False, frozenset({"rate"}))
    for batch, rate, row in zip(data.batches(), rates, rows(3), strict=True):
        assert (batch["rate"].shape, batch["rate"]) == ((), rate)
        np.testing.assert_array_equal(batch["x"], [row])
    assert [int(batch["rate"]) for batch in data.halves()[0].batches()] == [8000, 8000]
    pair = replace(X, shape=(2, 2))
    fixed = loaded(tmp_path, pair, RATE, fixed=True, x=rows(6), rate=rates)
    assert [(len(batch["x"]), int(batch["rate"])) for batch in fixed.batches()] == [(2, 8000), (2, 16000), (2, 8000)]
    assert "seen: x: 4, rate: 3" in refusal(lambda: loaded(tmp_path, X, RATE, x=rows(4), rate=rates))


@pytest.mark.parametrize(("values", "samples"), [(rows(5), 1), (np.stack([rows(5), rows(5) + 1]), 2)])
def test_a_model_without_any_batch(values: NDArray[Any], samples: int, tmp_path: Path) -> None:
    signal = TensorType(name="s", shape=(5, 2), dtype="float32")
    data = loaded(tmp_path, signal, fixed=True, s=values)
    assert data.samples == samples
    assert [batch["s"].shape for batch in data.batches()] == [(5, 2)] * samples
    np.testing.assert_array_equal(list(data.batches())[-1]["s"], values.reshape(-1, 5, 2)[-1])
    assert [data.rows(batch) for batch in data.batches()] == [1] * samples


def test_values_given_for_inputs_that_the_file_lacks(tmp_path: Path) -> None:
    path = saved(tmp_path, x=rows(3))
    data = load_dataset(path, (X, RATE), dynamic_batch=True, given={"rate": (16000, 16000)})
    assert (data.samples, int(data.inputs["rate"]), str(data.inputs["rate"].dtype)) == (3, 16000, "int64")
    text = refusal(lambda: load_dataset(path, (X, RATE), dynamic_batch=True, given={"rate": (1, 2)}))
    assert text == words("input 'rate'", "arrays x", NAMES)


def test_a_file_that_promises_more_than_it_holds(tmp_path: Path) -> None:
    """A header of 2**40 values in a file of 300 bytes."""
    path = tmp_path / "data.npz"
    with zipfile.ZipFile(path, "w") as archive:
        array = np.lib.format.magic(1, 0) + (118).to_bytes(2, "little")
        text = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776, 2), }"
        archive.writestr("x.npy", array + text + b" " * (117 - len(text)) + b"\n" + bytes(8))
    with pytest.raises(ModelError) as caught:
        load_dataset(path, [X], dynamic_batch=True)
    assert caught.value.code == "BSC308"
    assert caught.value.seen.startswith("Unable to allocate 8.00 TiB")
