import re
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

import hw_models
from bsc.errors import UsageError
from bsc.hardware.device import EFFECTS, Spread

SOURCES = files("hw_models").joinpath("SOURCES.md").read_text(encoding="utf-8")
NAMES = hw_models.device_names()


def text(name: str) -> str:
    return files("hw_models").joinpath("devices", f"{name}.toml").read_text(encoding="utf-8")


def test_shipped_devices() -> None:
    assert NAMES == [
        "generic",
        "ideal",
        "pcm-nandakumar19",
        "reram-falcone25",
        "reram-isaac-model",
        "reram-milo21",
        "reram-puma19",
        "reram-wan22",
        "reram-wan22-2d",
    ]


@pytest.mark.parametrize("name", NAMES)
def test_every_file_has_its_device_and_every_citation_key_is_explained(name: str) -> None:
    device = hw_models.load_device(name)
    assert device.name == name
    explained = set(re.findall(r"^## (\S+)$", SOURCES, flags=re.MULTILINE))
    assert set(re.findall(r"\[([a-z][\w-]*)\]", re.sub(r"(?m)^\[.*\]$", "", text(name)))) <= explained
    for number in device.sources().values():
        assert re.match(r"\[[\w-]+\]", number.source) or (
            number.kind == "assumed" and number.source.startswith("bsc: ")
        )


def test_ideal_has_no_effect_and_generic_has_all_that_have_a_source() -> None:
    assert hw_models.load_device("ideal").is_ideal
    without_source = {"chip_error", "row_error", "column_error", "temperature", "adc_gain"}
    assert set(hw_models.load_device("generic").effects) == set(EFFECTS) - without_source


def points(spread: Spread | None) -> np.ndarray:
    assert spread is not None
    assert spread.by_conductance is not None
    return np.array(spread.by_conductance.points)


# The polynomials of the sources; x is the conductance over the on conductance.
@pytest.mark.parametrize(
    ("name", "polynomial_us", "on_us"),
    [
        ("reram-wan22", [-16.815, 45.393, -43.853, 16.030, 0.348], 40),
        ("reram-wan22-2d", [-11.934, 37.062, -43.507, 20.274, 0.782], 40),
        ("pcm-nandakumar19", [-1.1731, 1.9650, 0.26348], 25),
        ("reram-milo21", [-0.009107 * 225, 4.782321], 225),
    ],
)
def test_programming_errors_meet_the_fits_they_were_read_from(
    name: str, polynomial_us: list[float], on_us: float
) -> None:
    x, sigma = points(hw_models.load_device(name).programming_error).T
    assert sigma == pytest.approx(np.polyval(polynomial_us, x) / on_us, abs=6e-5)


def test_read_noise_meets_the_formulas_it_was_read_from() -> None:
    x, sigma = points(hw_models.load_device("pcm-nandakumar19").read_noise).T
    assert sigma == pytest.approx(0.0088 * x**0.35 * np.sqrt(np.log((20 + 250e-9) / 500e-9)), abs=6e-5)
    x, sigma = points(hw_models.load_device("reram-falcone25").read_noise).T
    assert sigma == pytest.approx(
        0.0277316483 * np.log10(88.19 * x) * np.sqrt(np.log((1 + 1e-6) / 2e-6)) / 88.19, abs=6e-5
    )


def test_numbers_by_hand() -> None:
    sources = hw_models.load_device("reram-wan22").sources()
    wordline, bitline = (sources[f"ir_drop.{line}_ohm"] for line in ("wordline", "bitline"))
    copper = 2.01e-8 / (1.6 * 175e-9 * 175e-9)
    assert wordline.value == pytest.approx(copper * 4 * 175e-9, rel=2e-3)  # type: ignore[union-attr]
    assert bitline.value == pytest.approx(copper * 12 * 175e-9, rel=2e-3)  # type: ignore[union-attr]
    sources = hw_models.load_device("generic").sources()
    # 6.24 effective bits of 8: errors are 2**1.76 times those of quantisation alone, whose variance is 1/12.
    noise = np.sqrt((4**1.76 - 1) / 12)
    assert sources["adc_noise.sigma_cells"].value == pytest.approx(noise, abs=5e-3)  # type: ignore[union-attr]
    sigma_us = -0.009107 * np.linspace(50, 225, 100_001) + 4.782321
    independent = sources["programming_error.independent"].value  # type: ignore[union-attr]
    assert independent == pytest.approx(np.sqrt(np.mean(sigma_us**2)) / 175, abs=5e-4)
    sources = hw_models.load_device("reram-falcone25").sources()
    assert sources["drift.nu"].value == pytest.approx(0.08900206 / 50, abs=5e-6)  # type: ignore[union-attr]
    assert sources["drift.nu_spread"].value == pytest.approx(0.04201137 / 50, abs=5e-6)  # type: ignore[union-attr]


def test_a_device_of_the_users(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text("generic"), encoding="utf-8")
    assert hw_models.load_device(str(path)) == hw_models.load_device("generic")


@pytest.mark.parametrize(("name", "hint"), [("reram-wan", "did you mean 'reram-wan22'? "), ("zzz", "")])
def test_words_for_an_unknown_name(name: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        hw_models.load_device(name)
    assert str(caught.value) == (
        "[BSC206] no device of that name\n"
        f"  seen: '{name}'\n"
        f"  fix:  {hint}shipped: {', '.join(NAMES)}; for your own give a path that ends in .toml"
    )


def test_words_for_a_missing_file() -> None:
    with pytest.raises(UsageError) as caught:
        hw_models.load_device("no/such.toml")
    assert str(caught.value).startswith("[BSC202] no/such.toml: cannot be read\n")
