"""Areas of whole units of a design, each with all that is within it."""

from bsc.hardware.target import AreaBasis, Level, Target


def unit_areas_m2(target: Target) -> dict[str, float]:
    """Area of one unit of every level but the last, in m², by the level's name; converters at their own resolution."""
    areas: dict[str, float] = {}
    within = 0.0
    for level in target.level[:-1]:
        areas[level.name] = within + _own_area(level, target)
        within = (level.count or 1) * areas[level.name]
    return areas


def _own_area(level: Level, target: Target) -> float:
    """Area in m² of one of a level without the level within it."""
    crossbar = target.crossbar
    numbers: dict[AreaBasis, float] = {
        "one": 1,
        "converter": target.adc.installed / (2 if target.adc.of_pairs else 1),
        "row": crossbar.rows,
        "column": crossbar.cols,
        "cell": crossbar.rows * crossbar.cols,
    }
    return sum(numbers[part.per] * part.area_m2.value for part in level.area.values())
