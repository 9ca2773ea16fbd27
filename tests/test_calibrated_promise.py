"""What `--adc calibrated` promises, over whole compilations: on further inputs few vectors make a column clip.

Each compilation has calibration data of its own; how often each of its columns then clips is counted on many further
samples of the same kind, by NumPy alone. The bound may be exceeded for 5 % of columns.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bsc.compiler.driver import compile_model
from bsc.compiler.options import CompileOptions
from bsc.numeric.tolerance import share_beyond
from bsc.testing import mlp_model, save
from hw_models import load

SAMPLES = 40
FURTHER = 4000
COMPILATIONS = 30


def drawn(random: np.random.Generator, count: int) -> NDArray[np.float32]:
    return random.gamma(1.0, size=(count, 24)).astype(np.float32)


def clipping(plan: Any, inputs: NDArray[np.float32], *, signed: bool) -> NDArray[np.float64]:
    """Share of vectors for which each column that is not proved clips in any input cycle."""
    layer = plan.mapping.layers[0]
    arrays = plan.mapping.arrays(layer)
    codes = np.clip(np.rint(inputs / layer.input_scale), 0, (1 << layer.input_bits) - 1).astype(np.int64)
    planes = (codes[:, :, None] >> np.arange(layer.input_bits)) & 1  # (V, K, cycles)
    magnitudes = np.abs(arrays.codes.astype(np.int64))
    levels = [(magnitudes >> (2 * each)) & 3 for each in range(4)]
    found = []
    for each, level in enumerate(levels):
        pair = np.stack([level * (arrays.codes > 0), level * (arrays.codes < 0)])  # (P, K, N)
        cells = (pair[0] - pair[1])[None] if signed else pair
        sums = np.einsum("vkc,pkn->pnvc", planes, cells)
        bits, lsb = arrays.adc_bits[0, each].astype(int), arrays.adc_lsb[0, each].astype(int)  # (Q, N)
        low = np.zeros_like(bits) if arrays.adc_low is None else arrays.adc_low[0, each].astype(int)
        top = low + (1 << bits) - 1
        outside = (sums < (low * lsb)[..., None, None]) | (sums > (top * lsb)[..., None, None])
        most = np.where(cells > 0, cells, 0).sum(axis=1), np.where(cells < 0, cells, 0).sum(axis=1)
        proved = (most[1] >= low * lsb) & (most[0] <= top * lsb)
        found.append(outside.any(axis=-1).mean(axis=-1)[~proved & (bits > 0)])
    return np.concatenate(found)


@pytest.mark.parametrize("signed", [False, True])
def test_the_bound_holds_for_95_percent_of_columns(tmp_path: Path, signed: bool) -> None:
    random = np.random.default_rng(5)
    target = load("isaac")
    save(mlp_model(24, 16, 3), tmp_path / "m.onnx")
    shares = []
    for number in range(COMPILATIONS):
        np.savez(tmp_path / f"{number}.npz", x=drawn(random, SAMPLES))
        pipeline = (
            "quantize{bits=8},slice-bits{bits-per-cell=2 dac-bits=1 "
            f"subtraction={'analog' if signed else 'digital'}}},tile{{rows=32 cols=32}},calibrate-adc"
        )
        options = CompileOptions(pipeline=pipeline, calibration=tmp_path / f"{number}.npz")
        shares.append(
            clipping(compile_model(tmp_path / "m.onnx", target, options).plan, drawn(random, FURTHER), signed=signed)
        )
    found = np.concatenate(shares)
    assert len(found) > 300
    # Columns of one compilation share their data, so that what is counted varies more than 5 % of as many would.
    assert 0 < np.mean(found > share_beyond(SAMPLES, ends=2 if signed else 1)) < 0.05
