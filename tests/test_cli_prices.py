"""Prices at the ends of what descriptions may say, and names that would stand for two values."""

import json
import math
import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from bsc.cli import main
from bsc.testing import mlp_model, save

ISAAC = files("hw_models").joinpath("isaac.toml").read_text(encoding="utf-8")
LAW = """[adc_law]
name = "{name}"
source = "me"
kind = "assumed"
valid_bits = [1, 8]
energy_j = {{ {costs} }}
area_m2 = {{ {costs} }}
"""


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a plan."""
    monkeypatch.chdir(tmp_path)
    save(mlp_model(6, 5, 3), tmp_path / "mlp.onnx")
    assert run("compile", "mlp.onnx").exit_code == 0
    return tmp_path


def priced(keys: str, value: str, text: str = ISAAC) -> str:
    """A description in which these keys have another value."""
    changed, count = re.subn(rf"(({keys}) = {{ value = )[0-9.e+-]+", rf"\g<1>{value}", text)
    assert count
    return changed


def law(name: str, **costs: str) -> str:
    """A table of costs by resolution, 1 for those not named."""
    listed = ", ".join(f'"{bits}" = {costs.get(f"b{bits}", "1.0")}' for bits in range(1, 17))
    return LAW.format(name=name, costs=listed)


def numbers(value: Any) -> Iterator[float]:
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from numbers(each)
    elif isinstance(value, float):
        yield value


@pytest.mark.parametrize("prices", ["1e30", "1e-30", "1e-308", "0"])
@pytest.mark.parametrize("rate", ["1e30", "1e-30"])
@pytest.mark.parametrize(("few", "own"), [("1e30", "1e-30"), ("1e-30", "1e30")])
def test_figures_at_the_ends_are_finite_and_short(folder: Path, prices: str, rate: str, few: str, own: str) -> None:
    hardware = priced("energy_j|area_m2|power_w|static_w|read_s", prices, priced("rate_hz", rate))
    (folder / "hw.toml").write_text(hardware.replace("bit_s =", "# bit_s ="), encoding="utf-8")
    (folder / "law.toml").write_text(law("mine", b1=few, b2=few, b3=few, b8=own), encoding="utf-8")
    arguments = ("cost", "mlp.bsc", "--hw", "hw.toml", "--adc-law", "law.toml")
    printed, as_json = run(*arguments), run(*arguments, "--json")
    assert (printed.exit_code, printed.stderr, as_json.exit_code) == (0, "", 0)
    assert not re.search(r"\b(inf|nan)\b", printed.stdout)
    assert all(len(line) <= 110 for line in printed.stdout.splitlines())
    assert all(map(math.isfinite, numbers(json.loads(as_json.stdout))))
    page = run("report", "mlp.bsc", *arguments[2:], "--html", "-")
    assert (page.exit_code, page.stderr) == (0, "")


@pytest.mark.parametrize("keys", ["energy_j", "area_m2", "read_s", "rate_hz"])
def test_prices_past_all_floats_are_one_clear_error(folder: Path, keys: str) -> None:
    (folder / "hw.toml").write_text(priced(keys, "1e308"), encoding="utf-8")
    result = run("cost", "mlp.bsc", "--hw", "hw.toml")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("error [BSC206] hw.toml: key '")
    assert result.stderr.endswith(f"  seen: 1e+308\n  fix:  Input should be less than or equal to {10**30}\n")


def test_two_laws_of_one_name_are_refused(folder: Path) -> None:
    (folder / "own.toml").write_text(law("mine"), encoding="utf-8")
    (folder / "other.toml").write_text(law("mine", b3="2.0"), encoding="utf-8")
    hardware = ISAAC.replace('law = "isaac"', 'law = "own.toml"')
    assert hardware != ISAAC
    (folder / "hw.toml").write_text(hardware, encoding="utf-8")
    assert run("cost", "mlp.bsc", "--hw", "hw.toml").exit_code == 0
    assert run("cost", "mlp.bsc", "--hw", "hw.toml", "--adc-law", "own.toml").exit_code == 0
    result = run("cost", "mlp.bsc", "--hw", "hw.toml", "--adc-law", "other.toml")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        "error [BSC207] two ADC laws are called 'mine'\n"
        "  seen: table in own.toml of the target, and table in other.toml\n"
        "  fix:  give one of them another name\n"
    )
