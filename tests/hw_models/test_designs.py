"""Every shipped design gives back what its publication prints, and no longer does once a number is a tenth off."""

import tomllib
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import pytest
from pydantic import ValidationError

import hw_models
from bsc.hardware.check import check
from bsc.hardware.target import Target

PLANTED = ("energy_j", "power_w", "area_m2", "rate_hz", "bit_s", "read_s")
UNDETECTED = {
    ("isaac", "adc.rate_hz"): "bit_s tells the time of a conversion",
    ("puma", "adc.rate_hz"): "conversions end before the read does",
    ("isaac-se", "timing.read_s"): "64 arrays take turns with an ADC, which takes longer",
    ("neurram", "adc.rate_hz"): "bit_s tells the time of a conversion",
    ("neurram", "adc.bit_s"): "conversions end before the read does",
}
"""Numbers that nothing printed follows from, and why."""


def description(name: str) -> dict[str, Any]:
    return tomllib.loads(files("hw_models").joinpath(f"{name}.toml").read_text(encoding="utf-8"))


def constants(table: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths of all prices, powers, areas and times."""
    if isinstance(table, dict):
        for key, value in table.items():
            if key in PLANTED and isinstance(value, dict):
                yield (*path, key)
            else:
                yield from constants(value, (*path, key))
    elif isinstance(table, list):
        for number, value in enumerate(table):
            yield from constants(value, (*path, number))


CASES = [(name, path) for name in hw_models.names() for path in constants(description(name))]


def failed(table: dict[str, Any]) -> list[str]:
    return [line.name for line in check(Target.model_validate(table)) if not line.ok]


@pytest.mark.parametrize("name", hw_models.names())
def test_re_adds(name: str) -> None:
    assert failed(description(name)) == []
    assert any(entry.startswith(("power", "area")) for entry in (line.name for line in check(hw_models.load(name))))


@pytest.mark.parametrize(("name", "path"), CASES, ids=[f"{name} {'.'.join(map(str, path))}" for name, path in CASES])
def test_a_constant_that_is_a_tenth_off_is_found(name: str, path: tuple[Any, ...]) -> None:
    found = []
    for factor in (0.9, 1.1):
        table = description(name)
        quantity = table
        for key in path:
            quantity = quantity[key]
        quantity["value"] *= factor
        try:
            found.append(bool(failed(table)))
        except ValidationError:  # less power than the component draws at rest
            found.append(True)
    if (name, ".".join(map(str, path))) in UNDETECTED or quantity["value"] == 0:
        assert not any(found)
    elif path[-1] in ("rate_hz", "bit_s", "read_s"):
        assert any(found)  # the faster of array and converters waits for the other
    else:
        assert all(found)


def test_isaac_se_by_hand() -> None:
    """32 ADCs of a tile, each 1.28 G conversions a second of 256 products, 128 of which are one of 16 bits."""
    target = hw_models.load("isaac-se")
    rate = next(line for line in check(target) if line.name.startswith("density of operations"))
    assert pytest.approx(163.84e9) == 32 * 1.28e9 * 256 * 2 / 128
    chip_m2 = 54 * 32 * 2**23 / (27.59 * 2**23 / 1e-6) + 2.288e-5
    assert rate.computed == pytest.approx(54 * 163.84e9 / chip_m2)


def test_puma_by_hand() -> None:
    """Table 3's power for the time of section 7.4.3 is the energy that it prints."""
    (energy,) = [line for line in check(hw_models.load("puma")) if line.name.startswith("energy of")]
    assert energy.computed == pytest.approx(19.09e-3 * 2304e-9)
    assert energy.published == 43.97e-9


def test_raella_by_hand() -> None:
    """Three slices of a weight, converted in each of eight cycles for 512 rows."""
    (conversions,) = [line for line in check(hw_models.load("raella")) if line.name.startswith("conversions")]
    assert conversions.computed == 3 * 8 / 512


def test_neurram_by_hand() -> None:
    """The energies that were read off one figure give the efficiency that another one prints."""
    lines = {line.name.partition(" of ")[0]: line for line in check(hw_models.load("neurram"))}
    assert lines["efficiency"].computed == pytest.approx(1 / ((21.75618 + 29.10842 + 11.50741) * 1e-15), rel=1e-6)
    assert lines["efficiency"].published == pytest.approx(15.954e12, rel=1e-4)
