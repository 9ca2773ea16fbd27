from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bsc.errors import BscError
from bsc.ir.graph import TensorType
from bsc.train.data import has_test_split, load_samples

IMAGE = TensorType(name="image", shape=(1, 1, 2, 2), dtype="float32", batch_axis=0)
ROW = TensorType(name="x", shape=(1, 4), dtype="float32", batch_axis=0)
PHOTO = TensorType(name="photo", shape=(1, 3, 32, 32), dtype="float32", batch_axis=0)


def write_idx(path: Path, values: NDArray[np.uint8]) -> None:
    header = bytes([0, 0, 8, values.ndim]) + b"".join(size.to_bytes(4, "big") for size in values.shape)
    path.write_bytes(header + values.tobytes())


def mnist_folder(folder: Path, labels: int = 3) -> Path:
    for number, prefix in enumerate(("train", "t10k")):
        write_idx(folder / f"{prefix}-images-idx3-ubyte", np.full((3, 2, 2), 51 * (number + 1), np.uint8))
        write_idx(folder / f"{prefix}-labels-idx1-ubyte", np.arange(labels, dtype=np.uint8))
    return folder


def test_npz(tmp_path: Path) -> None:
    np.savez(tmp_path / "train.npz", x=np.ones((2, 4), np.float32), y=np.array([0, 1]))
    samples = load_samples(str(tmp_path / "train.npz"), [ROW], "train")
    assert len(samples) == 2
    assert samples.labels is not None
    assert samples.labels.tolist() == [0, 1]


def test_mnist_folder_has_two_splits(tmp_path: Path) -> None:
    source = str(mnist_folder(tmp_path))
    assert has_test_split(source)
    train, test = (load_samples(source, [IMAGE], split) for split in ("train", "test"))
    assert train.inputs["image"].shape == (3, 1, 2, 2)
    assert float(train.inputs["image"].max()) == pytest.approx(0.2)
    assert float(test.inputs["image"].max()) == pytest.approx(0.4)
    assert train.labels is not None
    assert train.labels.tolist() == [0, 1, 2]


def test_pixels_take_the_shape_the_model_wants(tmp_path: Path) -> None:
    assert load_samples(str(mnist_folder(tmp_path)), [ROW], "train").inputs["x"].shape == (3, 4)


def test_cifar_folder(tmp_path: Path) -> None:
    """A record is its label, then red, green and blue planes."""
    record = np.concatenate([[7], np.repeat([0, 51, 255], 1024)]).astype(np.uint8)
    for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"):
        (tmp_path / f"{name}.bin").write_bytes(record.tobytes() * 2)
    train, test = (load_samples(str(tmp_path), [PHOTO], split) for split in ("train", "test"))
    assert (len(train), len(test)) == (10, 2)
    np.testing.assert_allclose(test.inputs["photo"][0, :, 5, 6], [0, 0.2, 1])
    assert test.labels is not None
    assert test.labels.tolist() == [7, 7]


def write_module(folder: Path, body: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "made_up_data.py").write_text(f"import numpy as np\n\n\ndef load():\n    return {body}\n")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(__import__("sys").modules, "made_up_data", raising=False)


@pytest.mark.parametrize(
    ("body", "labels"),
    [
        ("np.ones((2, 4)), [0, 1]", [0, 1]),
        ("np.ones((2, 4))", None),
        ("{'x': np.ones((2, 4), np.uint8)}, np.array([1, 1])", [1, 1]),
    ],
)
def test_function(body: str, labels: list[int] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_module(tmp_path, body, monkeypatch)
    samples = load_samples("made_up_data:load", [ROW], "train")
    assert samples.inputs["x"].dtype == np.float32
    assert samples.inputs["x"].shape == (2, 4)
    assert (None if samples.labels is None else samples.labels.tolist()) == labels


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "1 / 0",
            "[BSC202] data function 'made_up_data:load' cannot be called\n"
            "  seen: ZeroDivisionError: division by zero\n"
            "  fix:  give MODULE:FUNCTION that Python can import and call without arguments",
        ),
        (
            "np.ones((2, 5))",
            "[BSC308] data 'made_up_data:load' does not fit\n"
            "  seen: shape (2, 5) for input 'x'\n"
            "  fix:  give shape (samples, 4)",
        ),
        (
            "np.ones((2, 4)), [0.5, 1]",
            "[BSC308] data 'made_up_data:load' does not fit\n"
            "  seen: labels float64 of shape (2,)\n"
            "  fix:  give whole numbers, one a sample",
        ),
        (
            "np.ones((2, 4)), [1]",
            "[BSC308] data 'made_up_data:load' does not fit\n"
            "  seen: [1, 2] samples\n"
            "  fix:  give every input and the labels the same number, at least one",
        ),
        (
            "np.full((2, 4), np.nan)",
            "[BSC308] data 'made_up_data:load' does not fit\n"
            "  seen: float64 with values that are not finite numbers\n"
            "  fix:  remove those samples",
        ),
    ],
)
def test_functions_that_cannot_be_used(
    body: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_module(tmp_path, body, monkeypatch)
    with pytest.raises(BscError) as caught:
        load_samples("made_up_data:load", [ROW], "train")
    assert str(caught.value) == message


def test_a_module_that_is_not_there() -> None:
    with pytest.raises(BscError, match=r"BSC202.*'no_such_module:load'(.|\n)*ModuleNotFoundError"):
        load_samples("no_such_module:load", [ROW], "train")


def truncated(folder: Path) -> None:
    path = mnist_folder(folder) / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-1])


def not_idx(folder: Path) -> None:
    (mnist_folder(folder) / "train-images-idx3-ubyte").write_bytes(b"gzip?")


def no_labels(folder: Path) -> None:
    (mnist_folder(folder) / "train-labels-idx1-ubyte").unlink()


def short_record(folder: Path) -> None:
    for number in range(1, 6):
        (folder / f"data_batch_{number}.bin").write_bytes(b"\0" * 3072)


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda folder: None, "[BSC202] data folder '{}' holds no data set that is known"),  # noqa: ARG005
        (
            truncated,
            "[BSC308] data 'train-images-idx3-ubyte' does not fit\n  seen: 11 values, the header says [3, 2, 2]",
        ),
        (not_idx, "[BSC308] data 'train-images-idx3-ubyte' does not fit\n  seen: no IDX header of unsigned bytes"),
        (no_labels, "[BSC202] data file 'train-labels-idx1-ubyte' cannot be opened"),
        (
            lambda folder: mnist_folder(folder, labels=2),
            "[BSC308] data '{}' does not fit\n  seen: 3 images and 2 labels",
        ),
        (short_record, "[BSC308] data 'data_batch_1.bin' does not fit\n  seen: 3072 bytes"),
    ],
)
def test_folders_that_cannot_be_used(spoil: Any, problem: str, tmp_path: Path) -> None:
    spoil(tmp_path)
    with pytest.raises(BscError) as caught:
        load_samples(str(tmp_path), [IMAGE], "train")
    assert str(caught.value).startswith(problem.format(tmp_path.name))


def test_images_for_a_model_of_two_inputs(tmp_path: Path) -> None:
    with pytest.raises(BscError, match="images, the model has 2 inputs"):
        load_samples(str(mnist_folder(tmp_path)), [IMAGE, ROW], "train")
