from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bsc.compiler.column_observer import observe
from bsc.compiler.sensitivity import measure_sensitivity
from bsc.ir.adc_pass import Observation
from bsc.replay.dataset import Dataset
from tests.bsc.plans import coded, mapped

WANTED = Observation(
    granularity="column", vectors=1000, seed=0, squared_error=True, mean=False, sensitivity=True, prices=False
)


def dataset(inputs: NDArray[Any]) -> Dataset:
    return Dataset(inputs={"x": inputs.astype(np.float32)}, labels=None, batch=64, sha256="", free_batch=True)


@pytest.mark.parametrize("encoding", ["differential", "centre"])
def test_pairs_pass_on_the_damage_that_is_predicted(encoding: Any) -> None:
    random = np.random.default_rng(0)
    plan = mapped(
        coded(random.integers(-255, 256, (60, 8))), rows=32, subtraction="analog", encoding=encoding, cut="4-2-2"
    )
    data = dataset(random.integers(0, 256, (200, 60)))
    seen = observe(plan, data, WANTED)
    (factors,) = measure_sensitivity(plan, data, seen).values()
    own = 1 / (seen["fc"].variance * 8)
    assert factors[1:] == pytest.approx((own,) * 2, rel=0.25)


def test_one_layer_passes_on_the_squared_error_that_is_predicted() -> None:
    """Of random inputs, whose bits are independent: noise over signal is squared error over variance, of all columns.

    The lowest slice is worth so little that all of it is lost. Then the mean errors of both polarities cancel, which
    the prediction does not know and the measurement does.
    """
    random = np.random.default_rng(0)
    plan = mapped(coded(random.integers(-255, 256, (60, 8))), rows=32)
    data = dataset(random.integers(0, 256, (200, 60)))
    seen = observe(plan, data, WANTED)
    (factors,) = measure_sensitivity(plan, data, seen).values()
    own = 1 / (seen["fc"].variance * 8)
    assert len(factors) == 4
    assert factors[0] < 0.2 * own
    assert factors[1:] == pytest.approx((own,) * 3, rel=0.1)


def test_a_layer_behind_which_values_grow_is_as_sensitive() -> None:
    """Twice the weights behind a layer make four times the noise of four times the signal, and so the same ratio."""
    random = np.random.default_rng(1)
    first = coded(random.integers(0, 256, (20, 4)), name="a", output="h")
    data = dataset(random.integers(0, 4, (100, 20)))
    found = []
    for factor in (20, 40):
        second = coded(np.eye(4) * factor, name="b", input="h", input_bits=16)
        plan = mapped(first, second)
        done: list[int] = []
        measured = measure_sensitivity(plan, data, observe(plan, data, WANTED), advance=done.append)
        assert done == [1] * 8
        found.append(measured["a"])
    assert found[0] == pytest.approx(found[1], rel=1e-6)


def test_a_layer_that_cannot_be_degraded() -> None:
    plan = mapped(coded(np.zeros((3, 2))), eliminate=True)
    data = dataset(np.ones((4, 3)))
    assert measure_sensitivity(plan, data, observe(plan, data, WANTED)) == {"fc": (0.0,) * 4}
