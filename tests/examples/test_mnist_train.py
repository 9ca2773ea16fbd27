"""examples/mnist: the training script on made-up digits, and the files it shipped."""

import gzip
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from examples.mnist.train import load_split

SHIPPED = Path(__file__).parents[2] / "examples" / "mnist"
FILES = ("model.onnx", "test_images.npz", "train_images.npz")

MODEL_TEXT = """\
<
   ir_version: 10,
   opset_import: ["" : 20],
   producer_name: "bsc examples/mnist/train.py"
>
mnist (float[N,1,28,28] image) => (float[N,10] logits) {
   [flatten] pixels = Flatten (image)
   [fc1] fc1_out = Gemm <transB: int = 1> (pixels, "fc1.weight", "fc1.bias")
   [relu] hidden = Relu (fc1_out)
   [fc2] logits = Gemm <transB: int = 1> (hidden, "fc2.weight", "fc2.bias")
}"""


def write_idx(path: Path, values: NDArray[np.uint8]) -> None:
    header = bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">u4").tobytes()
    path.write_bytes(header + values.tobytes())


def write_split(folder: Path, prefix: str, count: int) -> None:
    """Digit d is a bright band over rows 2d to 2d + 3, on noise."""
    labels = np.arange(count, dtype=np.uint8) % 10
    images = np.random.default_rng(count).integers(0, 64, (count, 28, 28), np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[2 * label : 2 * label + 4] = 255
    write_idx(folder / f"{prefix}-images-idx3-ubyte", images)
    write_idx(folder / f"{prefix}-labels-idx1-ubyte", labels)


def run_script(data: Path, out: Path, seed: int = 0) -> subprocess.CompletedProcess[str]:
    options: tuple[str | Path, ...] = ("--out", out, "--epochs", "1", "--seed", str(seed))
    command = (sys.executable, SHIPPED / "train.py", data, *options)
    return subprocess.run(command, capture_output=True, text=True, check=False)


def run_model(folder: Path, images: NDArray[np.float32]) -> NDArray[np.float32]:
    (logits,) = onnxruntime.InferenceSession(folder / "model.onnx").run(["logits"], {"image": images})
    return np.asarray(logits)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mnist")
    write_split(folder, "train", 6400)
    write_split(folder, "t10k", 100)
    return folder


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Output folder of one run."""
    out = tmp_path_factory.mktemp("runs") / "first"
    done = run_script(data, out)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("onnxruntime  100.00% of 20 shipped\n")
    return out


@pytest.mark.parametrize("folder", ["trained", "shipped"])
def test_model_is_four_plain_nodes(folder: str, trained: Path) -> None:
    model = onnx.load({"trained": trained, "shipped": SHIPPED}[folder] / "model.onnx")
    onnx.checker.check_model(model, full_check=True)
    shapes = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    assert shapes == {"fc1.weight": [100, 784], "fc1.bias": [100], "fc2.weight": [10, 100], "fc2.bias": [10]}
    del model.graph.initializer[:]
    assert onnx.printer.to_text(model) == MODEL_TEXT


def test_model_computes_relu_between_two_matmuls(trained: Path) -> None:
    with np.load(trained / "test_images.npz") as shipped:
        images = shipped["image"]
    model = onnx.load(trained / "model.onnx")
    weights = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    hidden = np.maximum(images.reshape(-1, 784) @ weights["fc1.weight"].T + weights["fc1.bias"], 0)
    expected = hidden @ weights["fc2.weight"].T + weights["fc2.bias"]
    np.testing.assert_allclose(run_model(trained, images), expected, rtol=0, atol=1e-5)


def test_npz_is_every_fifth_test_image(data: Path, trained: Path) -> None:
    pixels = np.fromfile(data / "t10k-images-idx3-ubyte", np.uint8, offset=16).reshape(100, 1, 28, 28)
    with np.load(trained / "test_images.npz") as shipped:
        assert shipped.files == ["image", "label"]
        assert (shipped["image"].dtype, shipped["label"].dtype) == (np.float32, np.int64)
        np.testing.assert_array_equal(shipped["image"] * 255, pixels[::5])
        np.testing.assert_array_equal(shipped["label"], np.arange(0, 100, 5) % 10)


def test_same_seed_same_bytes(data: Path, trained: Path, tmp_path: Path) -> None:
    run_script(data, tmp_path)
    for name in FILES:
        assert (tmp_path / name).read_bytes() == (trained / name).read_bytes()


def test_other_seed_other_weights(data: Path, trained: Path, tmp_path: Path) -> None:
    run_script(data, tmp_path, seed=1)
    assert (tmp_path / "model.onnx").read_bytes() != (trained / "model.onnx").read_bytes()


def test_truncated_file_is_named(tmp_path: Path) -> None:
    write_split(tmp_path, "train", 10)
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-100])
    done = run_script(tmp_path, tmp_path / "out")
    assert done.returncode == 2
    assert f"Error: {path} holds 7740 values, its header says [10, 28, 28]: fetch it again\n" in done.stderr
    assert not (tmp_path / "out").exists()


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(click.UsageError, match=r"^cannot read .*/t10k-images-idx3-ubyte: No such file or directory$"):
        load_split(tmp_path, "t10k")


def test_packed_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(gzip.compress(bytes(8000)))
    with pytest.raises(click.UsageError, match=r"is not an unpacked IDX file of unsigned bytes with 3 dimensions$"):
        load_split(tmp_path, "t10k")


@pytest.mark.parametrize("labels", [[], [1, 2, 3], [1, 10]], ids=["none", "one too many", "not a digit"])
def test_labels_must_belong_to_the_images(labels: list[int], tmp_path: Path) -> None:
    write_split(tmp_path, "t10k", 2)
    write_idx(tmp_path / "t10k-labels-idx1-ubyte", np.array(labels, np.uint8))
    with pytest.raises(click.UsageError, match=r"are not 28x28 images with one label 0\.\.9 each$"):
        load_split(tmp_path, "t10k")


def test_shipped_files_agree() -> None:
    with np.load(SHIPPED / "test_images.npz") as shipped:
        images, labels = shipped["image"], shipped["label"]
    assert images.shape == (2000, 1, 28, 28)
    assert (run_model(SHIPPED, images).argmax(axis=1) == labels).mean() >= 0.97


def test_shipped_files_are_small() -> None:
    assert sum((SHIPPED / name).stat().st_size for name in FILES) <= 2_500_000
