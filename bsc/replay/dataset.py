"""Data for calibration and replay: a .npz file of model inputs by name, and labels if there are any."""

import errno
import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bsc.errors import ModelError, UsageError
from bsc.limits import bounded_memory

LABEL_NAMES = ("label", "labels", "y")
DEFAULT_BATCH = 256
MAX_BATCH_VALUES = 1 << 25
FLOATS = ("float16", "float32", "float64")
MAX_RANDOM_VALUES = 1 << 26
GROWTH = 1000  # bytes of arrays for a byte of a .npz file; zlib makes nothing smaller than that


class InputSpec(Protocol):
    """A model input: shape for one batch, or None where it is not known, and NumPy type name."""

    @property
    def name(self) -> str:
        """ONNX value name."""
        ...

    @property
    def shape(self) -> tuple[int, ...] | None:
        """Sizes for one batch."""
        ...

    @property
    def dtype(self) -> str:
        """NumPy type name."""
        ...


@dataclass(frozen=True, eq=False, kw_only=True)
class Dataset:
    """Inputs, and the classes they belong to.

    Attributes:
        inputs: by model input, first axis samples.
        labels: class of each sample, int64 (samples,), or None.
        batch: samples that are run together; a divisor of their number if the model fixes it.
        sha256: of the file; "" for made-up data.
        free_batch: fewer samples may be run together.
        shared: inputs that are no samples: the whole array goes with every batch.
    """

    inputs: Mapping[str, NDArray[Any]]
    labels: NDArray[np.int64] | None
    batch: int
    sha256: str
    free_batch: bool = False
    shared: frozenset[str] = frozenset()

    @property
    def samples(self) -> int:
        """Number of samples."""
        return self.rows(self.inputs)

    def rows(self, batch: Mapping[str, NDArray[Any]]) -> int:
        """Number of samples of a batch."""
        return next(len(values) for name, values in batch.items() if name not in self.shared)

    def batches(self, values_per_sample: int = 1) -> Iterator[dict[str, NDArray[Any]]]:
        """The samples in order, `batch` at a time, or fewer if that many would need too much memory.

        Args:
            values_per_sample: values that the input vectors of the largest layer hold for one sample.
        """
        bounded = max(1, MAX_BATCH_VALUES // values_per_sample)
        size = min(self.batch, bounded) if self.free_batch else self.batch
        for start in range(0, self.samples, size):
            part = np.s_[start : start + size]
            yield {name: values if name in self.shared else values[part] for name, values in self.inputs.items()}

    def spread(self, samples: int) -> "Dataset":
        """About so many samples, evenly spread; whole batches if the model fixes their size."""
        size = 1 if self.free_batch else self.batch
        blocks = self.samples // size
        chosen = np.unique(np.linspace(0, blocks - 1, min(blocks, max(1, samples // size))).astype(np.int64))
        return self._blocks(chosen, size)

    def halves(self) -> tuple["Dataset", "Dataset"]:
        """Every other sample, and the others; whole batches if the model fixes their size.

        Raises:
            ModelError: BSC308 if there are too few samples.
        """
        size = 1 if self.free_batch else self.batch
        blocks = np.arange(self.samples // size)
        if len(blocks) < 2:
            raise ModelError(
                "BSC308",
                "the calibration data cannot be split into two halves",
                seen=f"{self.samples} samples, {size} of which the model takes at a time",
                fix="give more samples, or a file of its own with --held-out",
            )
        return self._blocks(blocks[::2], size), self._blocks(blocks[1::2], size)

    def _blocks(self, blocks: NDArray[np.int64], size: int) -> "Dataset":
        rows = (blocks[:, None] * size + np.arange(size)).ravel()
        return replace(
            self,
            inputs={name: values if name in self.shared else values[rows] for name, values in self.inputs.items()},
            labels=None if self.labels is None else self.labels[rows],
        )


def load_dataset(path: Path, specs: Sequence[InputSpec], *, dynamic_batch: bool, limit: int | None = None) -> Dataset:
    """Read a .npz file.

    Args:
        path: arrays named like the model's inputs; a lone array serves a lone input under any name. Labels are
            an integer array called label, labels or y.
        specs: the model's inputs.
        dynamic_batch: the model takes any number of samples at once.
        limit: use only the first so many samples.

    Raises:
        UsageError: BSC202 if the file cannot be opened.
        ModelError: BSC308 if it does not fit the model.
    """
    arrays = _read(path)
    taken = {spec.name for spec in specs}
    labels = next((arrays.pop(name) for name in LABEL_NAMES if name in arrays and name not in taken), None)
    if len(specs) == 1 and len(arrays) == 1 and specs[0].name not in arrays:
        arrays = {specs[0].name: next(iter(arrays.values()))}
    shared = _shared(specs) if dynamic_batch else frozenset()
    inputs = {spec.name: _fit(path, spec, arrays, whole=spec.name in shared) for spec in specs}
    counts = {name: len(values) for name, values in inputs.items() if name not in shared}
    if labels is not None:
        counts["labels"] = labels.shape[0] if labels.ndim else 0
        if labels.dtype.kind not in "iu" or labels.ndim != 1 or (labels.size and labels.min() < 0):
            seen = f"{labels.dtype} of shape {labels.shape}"
            raise _unfit(path, "array of labels", seen, "give class numbers from 0, one a sample")
    if len(set(counts.values())) > 1 or 0 in counts.values():
        listing = ", ".join(f"{name}: {count}" for name, count in counts.items())
        raise _unfit(path, "numbers of samples", listing, "give every array the same number of samples, at least one")
    fixed = None if dynamic_batch else max(1, *(spec.shape[0] for spec in specs if spec.shape))
    batch = DEFAULT_BATCH if fixed is None else fixed
    samples = next(iter(counts.values()))
    keep = min(limit or samples, samples)
    if fixed is not None and keep % fixed:
        fix = f"use a multiple of {fixed} samples, or export the model with a free batch axis"
        raise _unfit(path, "number of samples", f"{keep} samples, the model takes {fixed} at a time", fix)
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return Dataset(
        inputs={name: values if name in shared else values[:keep] for name, values in inputs.items()},
        labels=None if labels is None else labels[:keep].astype(np.int64),
        batch=batch,
        sha256=digest,
        free_batch=dynamic_batch,
        shared=shared,
    )


def _shared(specs: Sequence[InputSpec]) -> frozenset[str]:
    """Inputs of fixed size beside those with a free batch, which have one row each; one at least is free."""
    fixed = frozenset(spec.name for spec in specs if spec.shape is not None and spec.shape[:1] != (1,))
    return fixed if len(fixed) < len(specs) else frozenset()


def random_dataset(specs: Sequence[InputSpec], *, dynamic_batch: bool, samples: int, seed: int) -> Dataset:
    """Standard normal inputs for models whose inputs are floats.

    Raises:
        ModelError: BSC308 for other inputs.
    """
    generator = np.random.default_rng(seed)
    shared = _shared(specs) if dynamic_batch else frozenset()
    inputs: dict[str, NDArray[Any]] = {}
    room = MAX_RANDOM_VALUES
    for spec in specs:
        sizes = (spec.shape or ()) if spec.name in shared else (spec.shape or (0,))
        if spec.name not in shared:
            count = samples if dynamic_batch else math.ceil(samples / max(1, sizes[0])) * sizes[0]
            filled = (count, *sizes[1:])
        else:
            filled = sizes
        if spec.dtype not in FLOATS or min(sizes, default=1) < 1 or math.prod(filled) > room:
            raise ModelError(
                "BSC308",
                f"input '{spec.name}' cannot be filled with random numbers",
                seen=f"{spec.dtype} of shape {spec.shape}",
                fix="give real inputs with --data FILE.npz",
            )
        inputs[spec.name] = generator.standard_normal(filled).astype(spec.dtype)
        room -= inputs[spec.name].size
    batch = DEFAULT_BATCH if dynamic_batch else (specs[0].shape or (1,))[0]
    return Dataset(inputs=inputs, labels=None, batch=batch, sha256="", free_batch=dynamic_batch, shared=shared)


def require_finite(values: NDArray[Any], what: str) -> None:
    """Refuse NaN and infinity, which no code stands for.

    Raises:
        ModelError: BSC308 naming `what`.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        finite = bool(np.isfinite(values.sum()))  # one pass; a sum can only be finite if all of it is
    if not finite and not np.isfinite(values).all():
        raise ModelError(
            "BSC308",
            f"{what} is not finite",
            seen="NaN or infinity from the operators before it",
            fix="leave out samples on which the model itself does not give finite results",
        )


def _read(path: Path) -> dict[str, NDArray[Any]]:
    try:
        if path.exists() and not path.is_file() and not path.is_dir():  # opening a pipe would wait for someone to write
            raise OSError(errno.ENODEV, "Not a plain file")
        # NumPy leaves a file of its own open when it is no archive
        with path.open("rb") as stream, bounded_memory(GROWTH * path.stat().st_size):
            archive = np.load(stream, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise ValueError("a single array, not a .npz archive")
            return {name: archive[name] for name in archive.files}
    except OSError as error:
        raise UsageError(
            "BSC202",
            f"data file '{path.name}' cannot be opened",
            seen=error.strerror or str(error),
            fix="give the path of a .npz file",
        ) from None
    except Exception as error:  # zipfile, zlib and NumPy each raise their own kinds on hostile bytes
        seen = (str(error).splitlines() or [type(error).__name__])[0]
        raise _unfit(path, "format", seen, "write it with numpy.savez, without object arrays") from None


def _fit(path: Path, spec: InputSpec, arrays: Mapping[str, NDArray[Any]], *, whole: bool) -> NDArray[Any]:
    """The array of an input, of its whole shape or of any number of samples."""
    if spec.name not in arrays:
        seen = f"arrays {', '.join(sorted(arrays)) or 'none'}"
        raise _unfit(path, f"input '{spec.name}'", seen, "name the arrays like the inputs")
    values = arrays[spec.name]
    if not _can_cast(values.dtype, spec.dtype):
        seen = f"type {values.dtype}, the model takes {spec.dtype}"
        raise _unfit(path, f"input '{spec.name}'", seen, "convert the array")
    if whole and values.shape != spec.shape:
        raise _unfit(path, f"input '{spec.name}'", f"shape {values.shape}", f"give shape {spec.shape}: it has no batch")
    if not whole and (values.ndim == 0 or (spec.shape is not None and values.shape[1:] != spec.shape[1:])):
        sizes = "..." if spec.shape is None else ", ".join(map(str, spec.shape[1:]))
        raise _unfit(path, f"input '{spec.name}'", f"shape {values.shape}", f"give shape (samples, {sizes})")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise _unfit(path, f"input '{spec.name}'", "NaN or infinity", "remove the samples that are not finite")
    return values.astype(spec.dtype, copy=False)


def _can_cast(dtype: np.dtype[Any], name: str) -> bool:
    try:
        return np.can_cast(dtype, name, "same_kind")
    except TypeError:  # no NumPy type of that name
        return False


def _unfit(path: Path, what: str, seen: str, fix: str) -> ModelError:
    return ModelError("BSC308", f"data file '{path.name}': {what} does not fit", seen=seen, fix=fix)
