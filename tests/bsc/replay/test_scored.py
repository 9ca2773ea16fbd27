"""The one loop over a data set that accuracies and differences come from."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bsc.errors import ModelError
from bsc.replay.dataset import Dataset
from bsc.replay.scored import batches_for, scored_outputs
from tests.bsc.plans import coded, mapped

MAPPING = mapped(coded(np.ones((3, 2))))


def dataset(samples: int, labels: list[int] | None = None) -> Dataset:
    x = np.arange(samples * 3, dtype=np.float32).reshape(samples, 3)
    classes = None if labels is None else np.array(labels)
    return Dataset(inputs={"x": x}, labels=classes, batch=2, sha256="", free_batch=True)


def doubled(batch: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {"y": 2 * batch["x"][:, :2], "other": batch["x"]}


def test_outputs_of_every_batch_in_order() -> None:
    done: list[int] = []
    outputs = scored_outputs(MAPPING, dataset(5), doubled, advance=done.append)
    assert done == [2, 2, 1]
    np.testing.assert_array_equal(np.concatenate(outputs), 2 * dataset(5).inputs["x"][:, :2])
    assert [len(batch["x"]) for batch in batches_for(MAPPING, dataset(5))] == done


@pytest.mark.parametrize(("labels", "fits"), [([0, 1], True), ([0, 2], False)])
def test_a_label_is_a_class(labels: list[int], *, fits: bool) -> None:
    if fits:
        assert len(scored_outputs(MAPPING, dataset(2, labels), doubled)) == 1
        return
    with pytest.raises(ModelError, match="BSC308"):
        scored_outputs(MAPPING, dataset(2, labels), doubled)


def test_an_output_that_is_no_tensor_has_no_score() -> None:
    with pytest.raises(ModelError, match="BSC308"):
        scored_outputs(MAPPING, dataset(2), lambda batch: {"y": [batch["x"]]})
