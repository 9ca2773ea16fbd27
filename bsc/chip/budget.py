"""Tiles that an area has room for."""

import math

from bsc.errors import UsageError
from bsc.hardware.areas import unit_areas_m2
from bsc.hardware.target import Target


def tile_area_m2(target: Target) -> float | None:
    """Area of one unit of the level below the chip, all of its places filled; None where the target gives no areas."""
    return unit_areas_m2(target)[target.level[-2].name] if target.areas() else None


def tiles_within(area_m2: float, target: Target) -> int:
    """Tiles that fit into an area.

    Raises:
        UsageError: BSC206 if the target gives no areas, BSC201 if not even one fits or the area is not a finite number.
    """
    if not math.isfinite(area_m2):
        raise UsageError(
            "BSC201",
            "--area is not a finite number",
            seen=f"{area_m2:g}",
            fix="leave --area out to fill all tiles",
        )
    tile = tile_area_m2(target)
    if not tile:
        raise UsageError(
            "BSC206",
            f"--area needs a target that gives areas, and '{target.name}' does not",
            seen="no area in any of its levels",
            fix="give --tiles, or add the areas to the hardware description",
        )
    tiles = int(area_m2 / tile)
    if not tiles:
        raise UsageError(
            "BSC201",
            "--area is smaller than a tile",
            seen=f"{area_m2 * 1e6:g} mm², a tile has {tile * 1e6:.3g} mm²",
            fix=f"give at least --area {tile * 1e6 * 1.001:.3g}",
        )
    return tiles
