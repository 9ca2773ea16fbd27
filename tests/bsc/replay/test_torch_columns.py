"""Columns read through PyTorch on the processor, and on a graphics card where there is one."""

import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bsc.errors import UsageError
from bsc.replay.engine import LayerEngine, ReplayOptions
from bsc.replay.torch_columns import torch_reader
from tests.bsc.replay.test_engine import Case, lossless_cases, lossy_cases, plainly

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no card"))]


@pytest.mark.parametrize("device", DEVICES)
@settings(deadline=None, max_examples=100)
@given(case=st.one_of(lossy_cases(), lossless_cases()), statistics=st.booleans())
def test_it_equals_the_reference(device: str, case: Case, *, statistics: bool) -> None:
    expected, counted = plainly(case)
    options = ReplayOptions(every_conversion=True, statistics=statistics, reader=torch_reader(device))
    engine = LayerEngine(case.layer, case.arrays, options)
    np.testing.assert_array_equal(engine.results(case.inputs), expected)
    assert (engine.tally.conversions, engine.tally.clipped) == (counted.conversions, counted.clipped)
    if statistics:
        own = LayerEngine(case.layer, case.arrays, ReplayOptions(statistics=True))
        own.results(case.inputs)
        assert own.columns is not None
        assert engine.columns is not None
        for name in ("histogram", "highest", "clipped"):
            np.testing.assert_array_equal(getattr(engine.columns, name), getattr(own.columns, name))


def test_words_for_a_device_that_is_not_there() -> None:
    with pytest.raises(UsageError) as caught:
        torch_reader("abacus")
    lines = str(caught.value).splitlines()
    assert lines[0] == "[BSC201] --device abacus cannot be used"
    assert lines[2] == "  fix:  name a device that PyTorch finds here, or leave --device out"


def test_words_for_a_device_that_cannot_compute() -> None:
    with pytest.raises(UsageError) as caught:
        torch_reader("meta")
    lines = str(caught.value).splitlines()
    assert lines[0] == "[BSC201] --device meta cannot be used"
    assert lines[1] == "  seen: Cannot copy out of meta tensor; no data!"


def test_words_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UsageError) as caught:
        torch_reader("cuda")
    assert str(caught.value) == (
        "[BSC201] --device cuda needs PyTorch\n"
        "  seen: no module 'torch'\n"
        "  fix:  install it with pip install 'bsc-toolchain[train]', or leave --device out"
    )
