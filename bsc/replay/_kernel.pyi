from typing import Any

import numpy as np
from numpy.typing import NDArray

def read_lanes(lane_bits: int, sizes: tuple[int, ...], bins: tuple[int, int, int], /, *arrays: Any) -> None: ...
def quantise(
    values: NDArray[np.float32], step: float, low: float, high: float, codes: NDArray[np.float32], /
) -> bool: ...
