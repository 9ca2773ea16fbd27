import pytest

import hw_models
from bsc.chip.budget import tile_area_m2, tiles_within
from bsc.errors import UsageError
from tests.bsc.plans import ISAAC
from tests.bsc.targets import without_areas


def test_a_tile_has_the_area_that_the_paper_prints() -> None:
    # [isaac16] Table I: 0.372 mm² a tile.
    assert tile_area_m2(ISAAC) == pytest.approx(0.372e-6, rel=2e-3)


@pytest.mark.parametrize(("tiles", "area"), [(0, 0.9999), (1, 1.0), (2, 2.9999), (3, 3.0)])
def test_whole_tiles(tiles: int, area: float) -> None:
    one = tile_area_m2(ISAAC)
    assert one is not None
    assert tiles_within(area * one, one) == tiles


@pytest.mark.parametrize("area", [float("nan"), float("inf")])
def test_an_area_that_is_no_finite_number(area: float) -> None:
    with pytest.raises(UsageError, match="--area is not a finite number"):
        tiles_within(area, 1e-6)


def test_a_target_without_areas() -> None:
    with pytest.raises(UsageError, match="--area needs a target that gives areas"):
        tiles_within(1.0, tile_area_m2(without_areas(ISAAC)))


def test_every_shipped_target_has_a_tile_of_some_area_or_none() -> None:
    for name in hw_models.names():
        area = tile_area_m2(hw_models.load(name))
        assert area is None or 0 < area < 1e-4
