"""Cells and DACs of 8 bits: column sums that need more bits than an ADC has are refused or compiled by every policy."""

from pathlib import Path

import numpy as np
import pytest

from bsc.compiler.driver import compile_model
from bsc.compiler.options import CompileOptions
from bsc.errors import DoesNotFitError
from bsc.plan.document import Plan
from bsc.replay.engine import Replayer
from bsc.testing import save, tiny_model
from tests.bsc.plans import ISAAC
from tests.bsc.report.reports import report_of

WIDE = "quantize{bits=8},slice-bits{bits-per-cell=8 dac-bits=8},tile{rows=16384 cols=128},"
WORDS = "[BSC401] layer 'mm': a lossless conversion needs more than 16 bits"


def compiled(folder: Path, adc: str, rows: int = 2) -> Plan:
    """A layer of a single column, whose sums need 17 bits with 2 rows; its weights are almost 1."""
    weights = {"w": np.linspace(0.97, 0.997, rows, dtype=np.float32).reshape(-1, 1)}
    model = tiny_model(f"(float[N,{rows}] x) => (float[] y) {{ [mm] y = MatMul(x, w) }}", weights)
    x = np.random.default_rng(0).random((40, rows)).astype(np.float32)
    np.savez(folder / "calib.npz", allow_pickle=False, x=x)
    options = CompileOptions(pipeline=WIDE + adc, calibration=folder / "calib.npz")
    plan = compile_model(save(model, folder / "model.onnx"), ISAAC, options).plan
    assert plan is not None
    return plan


@pytest.mark.parametrize("adc", ["assign-adc", "calibrate-adc"])
def test_what_must_lose_nothing_is_refused(adc: str, tmp_path: Path) -> None:
    with pytest.raises(DoesNotFitError) as caught:
        compiled(tmp_path, adc)
    assert str(caught.value).splitlines()[0] == WORDS


@pytest.mark.parametrize(
    "adc", ["assign-adc{policy=isaac}", "assign-adc{policy=fixed bits=16}", "calibrate-adc{most-bits=16}", "budget-adc"]
)
def test_what_may_lose_something_compiles_and_says_what_is_proved(adc: str, tmp_path: Path) -> None:
    plan = compiled(tmp_path, adc)
    assert Replayer(plan.mapping).replayed({"x": np.ones((2, 2), np.float32)})["y"].shape == (2, 1)
    (part,) = [part for part in report_of(plan).layers["mm"].slices if part.largest_sum]
    assert part.proved_bits["17"] == 1


def test_sums_that_are_too_large_to_be_counted_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DoesNotFitError) as caught:
        compiled(tmp_path, "budget-adc", rows=300)
    assert str(caught.value) == (
        "[BSC401] layer 'mm': its column sums are too large to be counted one by one\n"
        "  seen: 25 bits for 8-bit cells, 8-bit DAC, 16384 rows\n"
        "  fix:  use fewer rows, fewer bits per cell or a narrower DAC"
    )
