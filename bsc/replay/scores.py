"""How good outputs are: against labels, and against other outputs."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bsc.errors import ModelError


def require_scores(batch: NDArray[Any], labels: NDArray[np.int64] | None) -> None:
    """Refuse outputs that are no tensor, and labels that a batch of outputs has no score for.

    Args:
        batch: outputs of some samples.
        labels: of all samples, or None.

    Raises:
        ModelError: BSC308 if the output is not (samples, classes), or a label is no class.
    """
    if not isinstance(batch, np.ndarray):
        raise ModelError(
            "BSC308",
            "the model's first output is no tensor",
            seen=f"a {type(batch).__name__}",
            fix="compile a model whose first output is a tensor",
        )
    if labels is not None and (batch.ndim != 2 or labels.max() >= batch.shape[1]):
        raise ModelError(
            "BSC308",
            "the labels do not fit the model's first output",
            seen=f"labels 0..{labels.max()}, output of shape {batch.shape} for a batch",
            fix="give class numbers below the number of outputs, or leave the labels out",
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
