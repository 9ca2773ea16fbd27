"""How good outputs are: against labels, and against other outputs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bsc.errors import ModelError
from bsc.ir.input_values import FLOATS, InputSpec

MAX_RELATIVE_RMS = 0.05
"""Difference of an output from the float model's above which it is said where it comes from and what may help."""

CHUNK = 1 << 22
"""Numbers that are compared at a time: an output may be as large as a run allows."""


@dataclass(frozen=True, kw_only=True)
class OutputDifference:
    """How far one output is from a reference, over all samples.

    Attributes:
        values: numbers of it that were compared, or things of another kind.
        differing: how many of them are not the same.
        largest: largest difference; None where a value is not finite, or no numbers were compared.
        relative_rms: root mean square of the difference over that of the reference; None there too, and where the
            reference is zero.
    """

    values: int
    differing: int
    largest: float | None
    relative_rms: float | None


class DifferenceSum:
    """Adds up how far an output is from a reference, batch by batch; sequences and maps are taken apart."""

    def __init__(self) -> None:
        self._values = self._differing = self._others = 0
        self._largest = self._error = self._reference = 0.0

    def add(self, got: Any, wanted: Any) -> None:
        """Take in one batch of an output."""
        if isinstance(wanted, list | dict) and type(got) is type(wanted) and len(got) == len(wanted):
            for key in wanted if isinstance(wanted, dict) else range(len(wanted)):
                self.add(got[key] if isinstance(got, list) or key in got else None, wanted[key])
            return
        one, other = np.asarray(got), np.asarray(wanted)
        if one.shape != other.shape:
            one = np.broadcast_to(np.asarray(np.nan), other.shape)
        self._values += other.size
        self._others += other.dtype.kind in "OUS"
        one, other = one.ravel(), other.ravel()
        for start in range(0, other.size, CHUNK):
            self._add(one[start : start + CHUNK], other[start : start + CHUNK])

    def _add(self, got: NDArray[Any], wanted: NDArray[Any]) -> None:
        self._differing += int(np.count_nonzero(got != wanted))
        if wanted.dtype.kind in "OUS":
            return
        with np.errstate(invalid="ignore", over="ignore"):
            exact = wanted.astype(np.float64)
            error = got.astype(np.float64) - exact
            self._largest = max(self._largest, float(np.abs(error).max(initial=0)))
            self._error += float(np.sum(error**2))
            self._reference += float(np.sum(exact**2))

    def found(self) -> OutputDifference:
        """All batches so far."""
        numbers = self._values > 0 and not self._others and bool(np.isfinite(self._error + self._reference))
        rms = float(np.sqrt(self._error / self._reference)) if numbers and self._reference else None
        return OutputDifference(
            values=self._values,
            differing=self._differing,
            largest=self._largest if numbers else None,
            relative_rms=rms,
        )


def scored_output(outputs: Iterable[InputSpec]) -> str:
    """The output that accuracies are of: the first one of floats with two axes, or else the first one."""
    every = tuple(outputs)
    scores = (each for each in every if each.dtype in FLOATS and each.shape is not None and len(each.shape) == 2)
    return next(scores, every[0]).name


def require_scores(batch: NDArray[Any], labels: NDArray[np.int64] | None) -> None:
    """Refuse labels that a batch of outputs has no score for.

    Args:
        batch: outputs of some samples.
        labels: of all samples, or None.

    Raises:
        ModelError: BSC308 if the output is not (samples, classes), or a label is not a class.
    """
    if labels is None:
        return
    if not isinstance(batch, np.ndarray):
        raise no_tensor(batch)
    if batch.ndim != 2 or labels.max() >= batch.shape[1]:
        raise ModelError(
            "BSC308",
            "the labels do not fit the model's first output",
            seen=f"labels 0..{labels.max()}, output of shape {batch.shape} for a batch",
            fix="give class numbers below the number of outputs, or leave the labels out",
        )


def no_tensor(output: object) -> ModelError:
    """The error for an output that is to be scored or compared and is a sequence or a map."""
    return ModelError(
        "BSC308",
        "the model's first output is not a tensor",
        seen=f"a {type(output).__name__}",
        fix="compile a model whose first output is a tensor",
    )


def accuracy(outputs: Sequence[NDArray[Any]], labels: NDArray[np.int64]) -> float:
    """Share of samples whose largest output is their label, 0 to 1.

    Args:
        outputs: batches of (samples, classes).
        labels: class of every sample.

    Raises:
        ModelError: BSC308 as `require_scores`, or if there are not as many outputs as labels.
    """
    for batch in outputs:
        require_scores(batch, labels)
    chosen = np.concatenate([batch.argmax(axis=1) for batch in outputs])
    if len(chosen) != len(labels):
        raise ModelError(
            "BSC308",
            "the labels do not fit the model's first output",
            seen=f"{len(labels)} labels, {len(chosen)} rows of output",
            fix="give one label for every row of the output, or leave the labels out",
        )
    return float(np.mean(chosen == labels))


def difference(outputs: Sequence[NDArray[Any]], reference: Sequence[NDArray[Any]]) -> tuple[float | None, float | None]:
    """How far outputs are from a reference.

    Returns:
        Largest difference, and root mean square of the difference over that of the reference. None where there is
        no reference, a value is not finite, or the reference is zero.
    """
    if not reference:
        return None, None
    wanted = np.concatenate([batch.ravel() for batch in reference]).astype(np.float64)
    got = np.concatenate([batch.ravel() for batch in outputs]).astype(np.float64)
    if not (np.isfinite(wanted).all() and np.isfinite(got).all()):
        return None, None
    error = got - wanted
    scale = float(np.sqrt(np.mean(wanted**2)))
    return float(np.abs(error).max(initial=0)), float(np.sqrt(np.mean(error**2))) / scale if scale else None
