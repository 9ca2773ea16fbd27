"""Tiles that an area has room for."""

import math
from typing import Final

from bsc.errors import UsageError
from bsc.hardware.areas import unit_areas_m2
from bsc.hardware.target import Target

ROUNDING: Final = 1e-9
"""By how much an area may miss a whole number of tiles, relatively."""


def tile_area_m2(target: Target) -> float | None:
    """Area of one unit of the level below the chip, all of its places filled; None where the target gives no areas."""
    return (unit_areas_m2(target)[target.level[-2].name] or None) if target.areas() else None


def tiles_within(area_m2: float, tile_m2: float | None) -> int:
    """Tiles that fit into an area.

    Args:
        area_m2: the area.
        tile_m2: of one tile; None where the target gives none.

    Raises:
        UsageError: BSC206 for no area of a tile, BSC201 for an area that is not a finite number.
    """
    if not math.isfinite(area_m2):
        raise UsageError(
            "BSC201",
            "--area is not a finite number",
            seen=f"{area_m2:g}",
            fix="leave --area out to fill all tiles",
        )
    if tile_m2 is None:
        raise UsageError(
            "BSC206",
            "--area needs a target that gives areas",
            seen="no area in any of its levels",
            fix="give --tiles, or add the areas to the hardware description",
        )
    return int(area_m2 / tile_m2 * (1 + ROUNDING))
