"""Reading slice columns through PyTorch, on a graphics card or on the processor: the same as `read_numpy`.

PyTorch is an optional part of bsc; nothing else of the replay needs it.
"""

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bsc.errors import UsageError
from bsc.numeric.exact import EXACT_FLOAT32
from bsc.replay.columns import Cycles, LaneCounts, Lanes, Reader

CHUNK_VALUES = 1 << 26


def torch_reader(device: str) -> Reader:
    """A reader that computes on a PyTorch device, such as "cuda" or "cpu".

    Raises:
        UsageError: BSC201 if PyTorch or the device is missing.
    """
    try:
        import torch
    except ImportError:
        raise UsageError(
            "BSC201",
            f"--device {device} needs PyTorch",
            seen="no module 'torch'",
            fix="install it with pip install 'bsc-toolchain[train]', or leave --device out",
        ) from None
    try:
        (torch.ones(1, device=device, dtype=torch.float64) + 1).cpu()  # some devices cannot compute, or not this
    except (RuntimeError, AssertionError, TypeError) as error:  # what PyTorch raises differs from build to build
        raise UsageError(
            "BSC201",
            f"--device {device} cannot be used",
            seen=str(error).splitlines()[0],
            fix="name a device that PyTorch finds here, or leave --device out",
        ) from None
    return partial(_read, torch, torch.device(device))


def _read(  # noqa: PLR0917
    torch: Any,
    device: Any,
    lanes: Lanes,
    codes: NDArray[np.int32],
    cycles: Cycles,
    results: NDArray[np.int64],
    counts: LaneCounts,
) -> None:
    dtype = torch.float32 if lanes.quotient_bound(cycles) <= EXACT_FLOAT32 else torch.float64
    torch.backends.cuda.matmul.allow_tf32 = False  # its ten bits do not hold column sums
    cells = torch.from_numpy(lanes.cells).to(device, dtype)
    low, top, step, place_values, column, plane = (
        torch.from_numpy(values.astype(np.int64)).to(device)
        for values in (lanes.low, lanes.top, lanes.step, lanes.place_values, lanes.column, lanes.plane)
    )
    clipped = torch.zeros(len(lanes.column), dtype=torch.int64, device=device)
    chunk = max(1, CHUNK_VALUES // max(1, len(lanes.column)))
    for start in range(0, len(codes), chunk):
        driven = torch.from_numpy(codes[start : start + chunk]).to(device)
        total = torch.zeros((len(driven), len(lanes.column)), dtype=torch.int64, device=device)
        for cycle, (shift, width, sign) in enumerate(cycles):
            digits = (driven >> shift) & ((1 << width) - 1)
            sums = digits.to(dtype) @ cells
            if counts.histogram is not None:
                _count_sums(torch, sums.to(torch.int64), plane, counts, cycle)
            code = torch.round(sums / step.to(dtype)).to(torch.int64)
            clipped += ((code > top) | (code < low)).sum(dim=0)
            total += sign * ((torch.clamp(code, low, top) * step) << shift)
        added = torch.zeros((len(driven), results.shape[1]), dtype=torch.int64, device=device)
        added.index_add_(1, column, total * place_values)
        results[start : start + chunk] += added.cpu().numpy()
    counts.clipped[:] += clipped.cpu().numpy()


def _count_sums(torch: Any, sums: Any, plane: Any, counts: LaneCounts, cycle: int) -> None:
    assert counts.histogram is not None
    assert counts.lowest is not None
    assert counts.highest is not None
    lowest, highest = sums.amin(dim=0).cpu().numpy(), sums.amax(dim=0).cpu().numpy()
    np.minimum(counts.lowest, lowest, out=counts.lowest, casting="same_kind")
    np.maximum(counts.highest, highest, out=counts.highest, casting="same_kind")
    planes, _, bins = counts.histogram.shape
    places = (plane * bins + (sums - counts.origin) // counts.bin_width).ravel()
    counted = torch.bincount(places, minlength=planes * bins).cpu().numpy()
    counts.histogram[:, cycle] += counted.reshape(planes, bins)
