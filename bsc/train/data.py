"""Training data: a .npz file, a folder of MNIST IDX files, one of CIFAR-10 binary files, or a Python function.

train.npz            arrays named like the model's inputs, and labels (`bsc.replay.dataset`)
DIR                  train-images-idx3-ubyte ... (MNIST) or data_batch_1.bin ... (CIFAR-10), pixels / 255
module:function      called without arguments; returns (inputs, labels) or inputs alone, where inputs is an
                     array or a dictionary by model input
"""

import importlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bsc.errors import ModelError, UsageError
from bsc.ir.input_values import InputSpec
from bsc.replay.dataset import dataset_of, load_dataset

Split = Literal["train", "test"]
CIFAR_RECORD = 1 + 3 * 32 * 32


@dataclass(frozen=True, eq=False, kw_only=True)
class Samples:
    """Inputs and what they should give.

    Attributes:
        inputs: by model input, first axis samples.
        labels: class of each sample, int64 (samples,); None to learn from the float model's outputs.
        source: what to call them.
    """

    inputs: Mapping[str, NDArray[Any]]
    labels: NDArray[np.int64] | None
    source: str

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))


def load_samples(source: str | Mapping[str, NDArray[Any]], specs: Sequence[InputSpec], split: Split) -> Samples:
    """Read training or test data.

    Args:
        source: as in the module docstring; or arrays as in a .npz file.
        specs: the model's inputs.
        split: which half of a folder that holds both.

    Raises:
        UsageError: BSC202 for data that cannot be opened, or a function that cannot be called.
        ModelError: BSC308 for data that does not fit the model, or a model whose samples do not come first.
    """
    for spec in specs:
        if spec.batch_axis != 0:
            raise _samples_elsewhere(spec)
    if isinstance(source, Mapping):
        found = dataset_of(source, specs, dynamic_batch=True)
        return Samples(inputs=found.inputs, labels=found.labels, source="arrays")
    path = Path(source)
    if path.is_dir():
        images, labels = _folder(path, split)
        return Samples(inputs=_as_input(images, specs, source), labels=labels, source=f"{path.name}, {split} split")
    module, colon, function = source.rpartition(":")
    if colon and not path.exists() and module.replace(".", "").isidentifier() and function.isidentifier():
        return _from_function(source, module, function, specs)
    data = load_dataset(path, specs, dynamic_batch=True)
    return Samples(inputs=data.inputs, labels=data.labels, source=path.name)


def has_test_split(source: str | Mapping[str, NDArray[Any]]) -> bool:
    """Whether the source is a folder, which holds a test split beside the training data."""
    return isinstance(source, str) and Path(source).is_dir()


def _folder(path: Path, split: Split) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    prefix = {"train": "train", "test": "t10k"}[split]
    images = path / f"{prefix}-images-idx3-ubyte"
    if images.is_file():
        pixels = _read_idx(images, axes=3)
        labels = _read_idx(path / f"{prefix}-labels-idx1-ubyte", axes=1)
        if len(pixels) != len(labels):
            raise _unfit(path, f"{len(pixels)} images and {len(labels)} labels", "fetch the files again")
        return _scaled(pixels[:, None]), labels.astype(np.int64)
    names = [f"data_batch_{number}.bin" for number in range(1, 6)] if split == "train" else ["test_batch.bin"]
    if not (path / names[0]).is_file():
        raise UsageError(
            "BSC202",
            f"data folder '{path.name}' holds no data set that is known",
            seen=f"neither {images.name} nor {names[0]}",
            fix="give a folder of unpacked MNIST IDX files or of CIFAR-10 binary files",
        )
    records = np.concatenate([_read_cifar(path / name) for name in names])
    return _scaled(records[:, 1:].reshape(-1, 3, 32, 32)), records[:, 0].astype(np.int64)


def _scaled(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    return pixels.astype(np.float32) / np.float32(255)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(
            "BSC202",
            f"data file '{path.name}' cannot be opened",
            seen=error.strerror or str(error),
            fix="unpack the whole data set into the folder",
        ) from None


def _read_idx(path: Path, *, axes: int) -> NDArray[np.uint8]:
    content, start = _bytes(path), 4 + 4 * axes
    if len(content) < start or content[:4] != bytes([0, 0, 8, axes]):
        raise _unfit(path, "no IDX header of unsigned bytes", "unpack the file, or fetch it again")
    shape = np.frombuffer(content[4:start], ">u4").tolist()
    if len(content) - start != math.prod(shape):
        raise _unfit(path, f"{len(content) - start} values, the header says {shape}", "fetch the file again")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _read_cifar(path: Path) -> NDArray[np.uint8]:
    content = _bytes(path)
    if not content or len(content) % CIFAR_RECORD:
        raise _unfit(path, f"{len(content)} bytes", f"give records of {CIFAR_RECORD} bytes: a label, 3x32x32 pixels")
    return np.frombuffer(content, np.uint8).reshape(-1, CIFAR_RECORD)


def _from_function(source: str, module: str, function: str, specs: Sequence[InputSpec]) -> Samples:
    try:
        result = getattr(importlib.import_module(module), function)()
    except Exception as error:  # whatever the user's own code raises
        raise UsageError(
            "BSC202",
            f"data function '{source}' cannot be called",
            seen=f"{type(error).__name__}: {error}",
            fix="give MODULE:FUNCTION that Python can import and call without arguments",
        ) from error
    inputs, labels = result if isinstance(result, tuple) and len(result) == 2 else (result, None)
    if not isinstance(inputs, Mapping):
        inputs = {spec.name: inputs for spec in specs[:1]}
    checked = {spec.name: _fit(np.asarray(inputs.get(spec.name)), spec, source) for spec in specs}
    classes = None if labels is None else np.asarray(labels)
    if classes is not None and (classes.dtype.kind not in "iu" or classes.ndim != 1):
        raise _unfit(source, f"labels {classes.dtype} of shape {classes.shape}", "give whole numbers, one a sample")
    counts = {len(values) for values in checked.values()} | (set() if classes is None else {len(classes)})
    if len(counts) != 1 or 0 in counts:
        raise _unfit(
            source, f"{sorted(counts)} samples", "give every input and the labels the same number, at least one"
        )
    return Samples(inputs=checked, labels=None if classes is None else classes.astype(np.int64), source=source)


def _as_input(images: NDArray[np.float32], specs: Sequence[InputSpec], source: str) -> dict[str, NDArray[Any]]:
    """Images under the name of the model's input; a model may want their pixels in another shape."""
    if len(specs) != 1:
        raise _unfit(source, f"images, the model has {len(specs)} inputs", "give a .npz file with all of them")
    wanted = (specs[0].shape or images.shape)[1:]
    if math.prod(wanted) == math.prod(images.shape[1:]):
        images = images.reshape(len(images), *wanted)
    return {specs[0].name: _fit(images, specs[0], source)}


def _fit(values: NDArray[Any], spec: InputSpec, source: str) -> NDArray[Any]:
    if values.ndim == 0 or (spec.shape is not None and values.shape[1:] != spec.shape[1:]):
        sizes = ", ".join(map(str, (spec.shape or ())[1:]))
        raise _unfit(source, f"shape {values.shape} for input '{spec.name}'", f"give shape (samples, {sizes})")
    if values.dtype.kind not in "biuf" or (values.dtype.kind == "f" and not np.isfinite(values).all()):
        raise _unfit(source, f"{values.dtype} with values that are not finite numbers", "remove those samples")
    return values.astype(spec.dtype, copy=False)


def _samples_elsewhere(spec: InputSpec) -> ModelError:
    sizes = "" if spec.shape is None else f" of shape {spec.shape}"
    where = "none, it goes whole with every sample" if spec.batch_axis is None else f"along axis {spec.batch_axis}"
    return ModelError(
        "BSC308",
        "fine-tuning needs samples along the first axis of every input",
        seen=f"samples of input '{spec.name}'{sizes}: {where}",
        fix=f"make it a constant with --set {spec.name}=VALUE, or change the model so that its samples come first",
    )


def _unfit(source: str | Path, seen: str, fix: str) -> ModelError:
    name = source.name if isinstance(source, Path) else source
    return ModelError("BSC308", f"data '{name}' does not fit", seen=seen, fix=fix)
