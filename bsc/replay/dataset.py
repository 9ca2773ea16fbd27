"""Data for calibration and replay: a .npz file of model inputs by name, and labels if there are any."""

import errno
import hashlib
import io
import math
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bsc.errors import ModelError, UsageError
from bsc.ir.input_values import MAX_MADE_VALUES, InputSpec, Values, made_up
from bsc.limits import bounded_memory

LABEL_NAMES = ("label", "labels", "y")
DEFAULT_BATCH = 256
MAX_BATCH_VALUES = 1 << 25
GROWTH = 1000  # bytes of arrays for a byte of a .npz file; zlib makes nothing smaller than that


@dataclass(frozen=True, eq=False, kw_only=True)
class Dataset:
    """Inputs, and the classes they belong to.

    Attributes:
        inputs: by model input.
        labels: class of each sample, int64 (samples,), or None.
        batch: samples that are run together; a divisor of their number if the model fixes it.
        sha256: of the file; "" for data that are in none.
        free_batch: fewer samples may be run together.
        axes: the axis that samples lie along, of inputs where it is not the first.
        shared: inputs that are not samples: the whole array goes with every batch.
        single: inputs without a batch axis that have an entry for every run along a first axis of their own.
    """

    inputs: Mapping[str, NDArray[Any]]
    labels: NDArray[np.int64] | None
    batch: int
    sha256: str
    free_batch: bool = False
    axes: Mapping[str, int] = field(default_factory=dict)
    shared: frozenset[str] = frozenset()
    single: frozenset[str] = frozenset()

    @property
    def samples(self) -> int:
        """Number of samples."""
        return self.rows(self.inputs) if self.batched else self._runs()

    @property
    def batched(self) -> tuple[str, ...]:
        """The inputs that hold several samples in a run."""
        return tuple(name for name in self.inputs if name not in self.shared | self.single)

    def rows(self, batch: Mapping[str, NDArray[Any]]) -> int:
        """Number of samples of a batch."""
        return next((batch[name].shape[self.axes.get(name, 0)] for name in self.batched), 1)

    def batches(self, values_per_sample: int = 1) -> Iterator[dict[str, NDArray[Any]]]:
        """The samples in order, `batch` at a time, or fewer if that many would need too much memory.

        Args:
            values_per_sample: values that the input vectors of the largest layer hold for one sample.
        """
        bounded = max(1, MAX_BATCH_VALUES // values_per_sample)
        size = min(self.batch, bounded) if self.free_batch else self.batch
        for run, start in enumerate(range(0, self.samples, size)):
            part = np.s_[start : start + size]
            yield {
                name: values[run] if name in self.single else self._taken(name, values, part)
                for name, values in self.inputs.items()
            }

    def spread(self, samples: int) -> "Dataset":
        """About so many samples, evenly spread; whole batches if the model fixes their size."""
        size = self._block
        blocks = self.samples // size
        chosen = np.unique(np.linspace(0, blocks - 1, min(blocks, max(1, samples // size))).astype(np.int64))
        return self._blocks(chosen, size)

    def first(self, samples: int) -> "Dataset":
        """The first samples; whole batches if the model fixes their size."""
        return self if samples == self.samples else self._blocks(np.arange(samples // self._block), self._block)

    def repeated(self, row: int) -> "Dataset":
        """As many samples, all of them that one."""
        return self._blocks(np.full(self.samples, row), 1)

    def one_at_a_time(self) -> "Dataset":
        """The same samples for a model that does not take several at once."""
        return replace(self, batch=1, free_batch=False)

    def halves(self) -> tuple["Dataset", "Dataset"]:
        """Every other sample, and the others; whole batches if the model fixes their size.

        Raises:
            ModelError: BSC308 if there are too few samples.
        """
        size = self._block
        blocks = np.arange(self.samples // size)
        if len(blocks) < 2:
            raise ModelError(
                "BSC308",
                "the calibration data cannot be split into two halves",
                seen=f"{self.samples} samples, {size} of which the model takes at a time",
                fix="give more samples, or a file of its own with --held-out",
            )
        return self._blocks(blocks[::2], size), self._blocks(blocks[1::2], size)

    @property
    def _block(self) -> int:
        return 1 if self.free_batch else self.batch

    def _runs(self) -> int:
        return next((len(self.inputs[name]) for name in self.inputs if name in self.single), 1)

    def _taken(self, name: str, values: NDArray[Any], part: Any) -> NDArray[Any]:
        """Some samples of an input that is one for each, all of another."""
        return values if name in self.shared else values[(*(np.s_[:],) * self.axes.get(name, 0), part)]

    def _blocks(self, blocks: NDArray[np.int64], size: int) -> "Dataset":
        rows = (blocks[:, None] * size + np.arange(size)).ravel()
        return replace(
            self,
            inputs={
                name: values[blocks] if name in self.single else self._taken(name, values, rows)
                for name, values in self.inputs.items()
            },
            labels=None if self.labels is None else self.labels[rows],
        )


def load_dataset(
    path: Path,
    specs: Sequence[InputSpec],
    *,
    dynamic_batch: bool,
    limit: int | None = None,
    given: Mapping[str, Values] | None = None,
) -> Dataset:
    """Read a .npz file.

    Args:
        path: arrays named like the model's inputs; a lone array serves a lone input under any name. An input without a
            batch axis has an array of its own shape, which goes with every sample, or of one axis more in front, with
            an entry for each run. Labels are an integer array called label, labels or y.
        specs: the model's inputs.
        dynamic_batch: the model takes any number of samples at once.
        limit: use only the first so many samples.
        given: values of inputs that the file lacks, where lowest and highest are one.

    Raises:
        UsageError: BSC202 if the file cannot be opened.
        ModelError: BSC308 if it does not fit the model.
    """
    data = dataset_of(
        _read(path),
        specs,
        dynamic_batch=dynamic_batch,
        limit=limit,
        given=given,
        called=f"data file '{path.name}'",
    )
    with path.open("rb") as stream:
        return replace(data, sha256=hashlib.file_digest(stream, "sha256").hexdigest())


def dataset_of(
    arrays: Mapping[str, NDArray[Any]],
    specs: Sequence[InputSpec],
    *,
    labels: NDArray[Any] | None = None,
    dynamic_batch: bool,
    limit: int | None = None,
    given: Mapping[str, Values] | None = None,
    called: str = "the data",
) -> Dataset:
    """Arrays as a data set, without a digest.

    Args:
        arrays: as in the file of `load_dataset`.
        specs: the model's inputs.
        labels: class of each sample; None for those that the arrays have, if any.
        dynamic_batch: the model takes any number of samples at once.
        limit: use only the first so many samples.
        given: values of inputs that are not there, where lowest and highest are one.
        called: what messages call the arrays.

    Raises:
        ModelError: BSC308 if they do not fit the model.
    """
    arrays, taken = dict(arrays), {spec.name for spec in specs}
    name = next((each for each in LABEL_NAMES if each in arrays and each not in taken), None)
    own = None if name is None else arrays.pop(name)
    labels = own if labels is None else labels
    if len(specs) == 1 and len(arrays) == 1 and specs[0].name not in arrays:
        arrays = {specs[0].name: next(iter(arrays.values()))}
    for spec in specs:
        low, high = (given or {}).get(spec.name, (0.0, 1.0))
        if spec.name not in arrays and low == high and spec.batch_axis is None and spec.shape is not None:
            arrays[spec.name] = np.full(spec.shape, low).astype(spec.dtype)
    inputs = {spec.name: _fit(called, spec, arrays) for spec in specs}
    axes = {spec.name: spec.batch_axis for spec in specs if spec.batch_axis is not None}
    single = frozenset(
        spec.name
        for spec in specs
        if spec.batch_axis is None and spec.shape is not None and inputs[spec.name].ndim > len(spec.shape)
    )
    sizes = [spec.shape[axes[spec.name]] for spec in specs if spec.name in axes and spec.shape]
    size = 1 if dynamic_batch else max(sizes, default=1)
    counts = {name: inputs[name].shape[axis] for name, axis in axes.items()}
    counts |= {name: len(inputs[name]) * size for name in single}
    samples = next(iter(counts.values()), 1)
    if labels is not None:
        counts["labels"] = labels.shape[0] if labels.ndim else 0
        if labels.dtype.kind not in "iu" or labels.ndim != 1 or (labels.size and labels.min() < 0):
            seen = f"{labels.dtype} of shape {labels.shape}"
            raise _unfit(called, "array of labels", seen, "give class numbers from 0, one a sample")
    if len(set(counts.values())) > 1 or 0 in counts.values():
        listing = ", ".join(f"{name}: {count}" for name, count in counts.items())
        raise _unfit(called, "numbers of samples", listing, "give every array the same number of samples, at least one")
    keep = min(limit or samples, samples)
    if keep % size:
        fix = f"use a multiple of {size} samples, or export the model with a free batch axis"
        raise _unfit(called, "number of samples", f"{keep} samples, the model takes {size} at a time", fix)
    free = dynamic_batch and not single
    whole = Dataset(
        inputs=inputs,
        labels=None if labels is None else labels.astype(np.int64),
        batch=DEFAULT_BATCH if free else size,
        sha256="",
        free_batch=free,
        axes=axes,
        shared=frozenset(inputs) - axes.keys() - single,
        single=single,
    )
    return whole.first(keep)


def random_dataset(
    specs: Sequence[InputSpec],
    *,
    dynamic_batch: bool,
    samples: int,
    seed: int,
    given: Mapping[str, Values] | None = None,
) -> Dataset:
    """Made-up inputs (`bsc.ir.input_values`): fewer samples than asked for where one is large.

    Args:
        specs: the model's inputs.
        dynamic_batch: the model takes any number of samples at once.
        samples: how many; whole batches are made if the model fixes their size.
        seed: the same one makes the same inputs.
        given: ranges of values by input name, in place of those that are known.

    Raises:
        ModelError: BSC308 for an input of unknown sizes, or that is neither of numbers nor of booleans.
    """
    generator = np.random.default_rng(seed)
    axes = {spec.name: spec.batch_axis for spec in specs if spec.batch_axis is not None}
    shapes = {spec.name: _known_sizes(spec) for spec in specs}
    size = 1 if dynamic_batch else max((shapes[name][axis] for name, axis in axes.items()), default=1)
    values = sum(math.prod(shapes[name]) for name in axes)
    blocks = max(1, min(-(-samples // size), MAX_MADE_VALUES // max(1, values)))
    inputs: dict[str, NDArray[Any]] = {}
    room = MAX_MADE_VALUES
    for spec in specs:
        axis = axes.get(spec.name)
        shape = tuple(
            (blocks if dynamic_batch else blocks * old) if at == axis else old
            for at, old in enumerate(shapes[spec.name])
        )
        inputs[spec.name] = made_up(spec, shape, generator, (given or {}).get(spec.name), room=room)
        room -= inputs[spec.name].size
    return Dataset(
        inputs=inputs,
        labels=None,
        batch=DEFAULT_BATCH if dynamic_batch else size,
        sha256="",
        free_batch=dynamic_batch,
        axes=axes,
        shared=frozenset(inputs) - axes.keys(),
    )


def _known_sizes(spec: InputSpec) -> tuple[int, ...]:
    if spec.shape is None:
        raise ModelError(
            "BSC308",
            f"input '{spec.name}' cannot be made up",
            seen="its sizes are not known",
            fix="give real inputs with --data FILE.npz",
        )
    return spec.shape


def npz_bytes(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Arrays as `numpy.savez` writes them, whatever they are called; texts get a width, as pickles are not read."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, values in arrays.items():
            plain = values.astype(str) if values.dtype.kind == "O" else values
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(plain), allow_pickle=False)
    return stream.getvalue()


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
        # NumPy leaves a file of its own open when it is not an archive
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
        raise _unfit(
            f"data file '{path.name}'", "format", seen, "write it with numpy.savez, without object arrays"
        ) from None


def _fit(called: str, spec: InputSpec, arrays: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    """The array of an input: of any number of samples, of its own shape, or of that with a first axis of runs."""
    if spec.name not in arrays:
        seen = f"arrays {', '.join(sorted(arrays)) or 'none'}"
        raise _unfit(called, f"input '{spec.name}'", seen, "name the arrays like the inputs")
    values = arrays[spec.name]
    if not _can_cast(values.dtype, spec.dtype):
        seen = f"type {values.dtype}, the model takes {spec.dtype}"
        raise _unfit(called, f"input '{spec.name}'", seen, "convert the array")
    shape, axis = spec.shape, spec.batch_axis
    if shape is None:
        fits = axis is None or values.ndim > axis
    elif axis is None:
        fits = values.shape in (shape, (*values.shape[:1], *shape))
    else:
        fits = values.ndim == len(shape) and all(
            at == axis or values.shape[at] == size for at, size in enumerate(shape)
        )
    if not fits:
        sizes = [str(size) for size in shape or ()] if shape is not None else ["..."]
        if axis is not None:
            sizes = [*sizes[:axis], "samples", *sizes[axis + (shape is not None) :]]
        fix = f"give shape ({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"
        if axis is None:
            fix += ": it has no batch; or one axis more in front, with an entry for every run"
        raise _unfit(called, f"input '{spec.name}'", f"shape {values.shape}", fix)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise _unfit(called, f"input '{spec.name}'", "NaN or infinity", "remove the samples that are not finite")
    return values.astype(spec.dtype, copy=False)


def _can_cast(dtype: np.dtype[Any], name: str) -> bool:
    try:
        return np.can_cast(dtype, name, "same_kind")
    except TypeError:  # no NumPy type of that name
        return False


def _unfit(called: str, what: str, seen: str, fix: str) -> ModelError:
    return ModelError("BSC308", f"{called}: {what} does not fit", seen=seen, fix=fix)
