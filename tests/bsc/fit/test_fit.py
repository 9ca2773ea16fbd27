"""A device that is known is drawn from, and must be found again within the errors that the fit states."""

import csv
import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from bsc.cli import main
from bsc.errors import ModelError
from bsc.fit.device import DeviceFit, device_toml, fit_device
from bsc.fit.levels import Estimate
from bsc.fit.measurements import measurements_from_csv
from bsc.hardware.device import Device
from examples.devices import made_up

MADE_UP = Path(made_up.__file__).with_name("made_up.csv")


def fit(rows: list[Any], header: str, **options: Any) -> DeviceFit:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(header.split(","))
    writer.writerows(rows)
    return fit_device(measurements_from_csv(text.getvalue(), "m.csv", "0" * 64), "mine", **options)


def made_up_fit(chips: int, cells: int, seed: int) -> DeviceFit:
    return fit(made_up.measurements(chips, cells, seed), "chip,cell,target_us,conductance_us,time_s,temperature_k")


TRUE: dict[str, tuple[float, ...]] = {
    "shift": tuple(value * 1e-6 for value in made_up.SHIFT_US),
    "spread": tuple(value * 1e-6 for value in made_up.SPREAD_US),
    "chip_spread": tuple(value * 1e-6 for value in made_up.CHIP_US),
    "read_noise": tuple(value * 1e-6 for value in made_up.READ_US),
    "exponent": made_up.EXPONENT,
    "exponent_spread": made_up.EXPONENT_SPREAD,
    "coefficient": made_up.PER_KELVIN,
}


@pytest.fixture(scope="module")
def fits() -> list[DeviceFit]:
    return [made_up_fit(20, 25, seed) for seed in range(12)]


def z_scores(fits: list[DeviceFit], name: str, level: int) -> list[float]:
    found: list[Estimate] = [getattr(each.levels[level], name) for each in fits]
    return [(each.value - TRUE[name][level]) / each.error for each in found]


@pytest.mark.parametrize("name", TRUE)
@pytest.mark.parametrize("level", range(4))
def test_a_known_device_is_found_within_the_stated_errors(fits: list[DeviceFit], name: str, level: int) -> None:
    scores = z_scores(fits, name, level)
    if TRUE[name][level] == 0 and name == "exponent_spread":
        assert min(scores) >= 0  # a spread is never below 0, and its error is that of its variance
        assert max(scores) < 3
        return
    assert max(map(abs, scores)) < 5, scores
    # The mean of 12 scores has a deviation of 0.29; variances estimated from 20 chips lean on the stated error.
    assert abs(np.mean(scores)) < 1.2, scores
    assert 0.3 < np.sqrt(np.mean(np.square(scores))) < 1.9, scores


def test_stuck_cells_are_found_one_by_one(fits: list[DeviceFit]) -> None:
    on = sum(each.stuck.on for each in fits), sum(each.stuck.on_of for each in fits)
    off = sum(each.stuck.off for each in fits), sum(each.stuck.off_of for each in fits)
    for _, of in (on, off):  # cells near the level that they would be stuck at say nothing
        assert 12 * 20 * 50 <= of <= 12 * 20 * 75
    for (count, of), share in ((on, made_up.STUCK_ON), (off, made_up.STUCK_OFF)):
        assert abs(count - of * share) < 4 * math.sqrt(of * share)


def test_the_fitted_device_holds_these_numbers(fits: list[DeviceFit]) -> None:
    found = fits[0]
    device, on = found.device, 40e-6
    assert device.programming_error is not None
    assert device.programming_error.shift is not None
    assert device.drift is not None
    assert device.drift.by_conductance is not None
    for at, level in enumerate(found.levels):
        assert device.programming_error.shift.points[at] == pytest.approx(
            (level.target / on, level.shift.value / on), rel=1e-4
        )
        assert device.drift.by_conductance.points[at] == pytest.approx(
            (level.target / on, level.exponent.value, level.exponent_spread.value), rel=1e-4
        )
    assert device.off_current is not None
    assert device.off_current.on_off_ratio.value == 20
    assert device.drift.start_s.value == 1
    assert device.effects == ("programming_error", "chip_error", "read_noise", "stuck_at", "off_current")
    later = device.read_at(86_400).read_at_temperature(350)
    assert {"drift", "temperature"} < set(later.effects)


def test_its_text_is_read_as_the_same_device(fits: list[DeviceFit]) -> None:
    device = fits[0].device.model_copy(update={"name": 'a "name" \\ of\x7f tabs\tand µ'})
    assert Device.from_toml(device_toml(device), "mine.toml") == device
    skewed = levels_fit(lambda random, size: random.exponential(1e-6, size))
    assert Device.from_toml(device_toml(skewed.device), "mine.toml") == skewed.device


# --- errors that are not normal


def levels_fit(draw: Callable[[np.random.Generator, int], Any], cells: int = 4000, **options: Any) -> DeviceFit:
    """Levels at 10 and 50 µS with errors as drawn, read once."""
    random = np.random.default_rng(0)
    rows = [(target, value * 1e6 + target) for target in (10, 50) for value in np.asarray(draw(random, cells)).tolist()]
    return fit(rows, "target_us,conductance_us", **options)


def test_a_skewed_distribution_becomes_a_table_that_draws_it_again() -> None:
    found = levels_fit(lambda random, size: random.exponential(1e-6, size))
    assert found.empirical
    assert not any(level.normal for level in found.levels)
    error = found.device.programming_error
    assert error is not None
    deviates = np.random.default_rng(1).standard_normal(100_000)
    drawn = error.deviations(np.array([10.0, 50.0]), np.ones(100_000, np.intp), deviates, on=50.0, off=10.0)
    # Exponential of mean and deviation 1 µS: skewness 2, median ln 2. 4000 cells know the mean within 0.016.
    assert abs(drawn.mean() - 1) < 4 * 0.016
    assert abs(drawn.std() - 1) < 4 * math.sqrt(8 / 4 / 4000)
    assert np.median(drawn) == pytest.approx(math.log(2), abs=0.06)
    assert drawn.min() > -0.15
    assert ((drawn - drawn.mean()) ** 3).mean() == pytest.approx(2, abs=0.6)


def test_normal_errors_stay_normal_and_can_be_told_to_be_a_table() -> None:
    found = levels_fit(lambda random, size: random.normal(0, 1e-6, size))
    assert not found.empirical
    assert levels_fit(lambda random, size: random.exponential(1e-6, size), errors="normal").empirical is False
    table = levels_fit(lambda random, size: random.normal(0, 1e-6, size), errors="empirical")
    assert table.device.programming_error is not None
    measured = table.device.programming_error.empirical
    assert measured is not None
    # A normal distribution is a straight line over its deviates; far out a table is chance.
    deviates = np.array(measured.deviates)
    inner = np.abs(deviates) < 2.5
    assert np.array(measured.errors[1])[inner] == pytest.approx(deviates[inner] / 50, abs=0.005)


def test_normality_is_refuted_in_1_of_100_normal_samples() -> None:
    from bsc.fit.levels import _normality

    random = np.random.default_rng(0)
    refuted = sum(not _normality(random.standard_normal(100))[0] for _ in range(2000))
    assert abs(refuted - 20) < 4 * math.sqrt(20)


# --- by hand


def test_levels_without_targets_are_evenly_spaced_between_their_ends() -> None:
    values = {0: 2.0, 1: 12.0, 2: 20.0, 3: 32.0}  # 22 would be the third of even ones
    found = fit([(level, value) for level, value in values.items() for _ in range(10)], "level,conductance_us")
    assert [level.target for level in found.levels] == pytest.approx([2e-6, 12e-6, 22e-6, 32e-6])
    assert [level.shift.value for level in found.levels] == pytest.approx([0, 0, -2e-6, 0], abs=1e-15)
    assert all(level.spread.value < 1e-15 for level in found.levels)
    assert found.device.effects == ("programming_error", "off_current")


def test_cells_without_any_error_drift_by_hand() -> None:
    """Conductance halves in a decade: the exponent is log10(2). Level 0 conducts nothing and says nothing of drift."""
    rows = [
        (cell, target, target * 0.5 ** math.log10(time), time)
        for cell in range(10)
        for target in (0, 10, 40)
        for time in (1, 10, 1000)
    ]
    found = fit(rows, "cell,target_us,conductance_us,time_s")
    assert not found.levels[0].exponent.known
    for level in found.levels[1:]:
        assert level.exponent.value == pytest.approx(math.log10(2), rel=1e-6)
        assert level.exponent_spread.value == pytest.approx(0, abs=1e-6)
    assert found.device.off_current is None  # no ratio where the lowest target is 0
    assert found.device.drift is not None
    assert found.device.drift.by_conductance is not None
    assert [point[0] for point in found.device.drift.by_conductance.points] == [0.25, 1]


def test_two_chips_by_hand() -> None:
    """Chips at 9 and 11 of ten alike cells each: 2 between their means is a variance of 2; the mean is 10."""
    rows = [
        (chip, target, target + (chip - 1) + 0.1 * (cell % 2 - 0.5))
        for chip in (0, 2)
        for target in (10, 50)
        for cell in range(10)
    ]
    level = fit(rows, "chip,target_us,conductance_us").levels[0]
    assert (level.shift.value, level.shift.error) == pytest.approx((0, 1e-6), abs=1e-12)  # 1.41 / sqrt(2)
    within = 20 * 0.05**2 / 18
    assert level.spread.value == pytest.approx(math.sqrt(within) * 1e-6)
    assert level.chip_spread.value == pytest.approx(math.sqrt(2 - within / 10) * 1e-6)


@pytest.mark.parametrize(
    ("rows", "header", "words"),
    [
        (
            [(level, 5 - level) for level in (0, 1) for _ in range(10)],
            "level,conductance_us",
            "m.csv: has a highest level that conducts no more than the lowest\n"
            "  seen: 4e-06 S at level 1, 5e-06 S at level 0",
        ),
        (
            [(cell, 10 * level + 1, level, 300 + cell % 2) for level in (0, 1) for cell in range(20)],
            "cell,conductance_us,level,temperature_k",
            "m.csv: the temperature changes from cell to cell only\n  seen: 2 temperatures",
        ),
        (
            [
                (cell, 10 * level + 1, level, 300 + time, time)
                for level in (0, 1)
                for cell in range(20)
                for time in (1, 60)
            ],
            "cell,conductance_us,level,temperature_k,time_s",
            "m.csv: the temperature changes with the time in every cell\n  seen: 2 temperatures",
        ),
    ],
)
def test_words_for_measurements_that_do_not_tell(rows: list[Any], header: str, words: str) -> None:
    with pytest.raises(ModelError) as caught:
        fit(rows, header)
    assert str(caught.value).startswith(f"[BSC316] {words}\n")


# --- the command


def test_the_command_on_the_example(tmp_path: Path, golden: Callable[[str, str], None]) -> None:
    device, picture = tmp_path / "mine.toml", tmp_path / "fit.svg"
    result = CliRunner().invoke(main, ["hw", "fit", str(MADE_UP), "-o", str(device), "--svg", str(picture)])
    assert result.exit_code == 0, result.output
    golden("hw-fit/report.txt", result.stdout)
    assert Device.from_toml(device.read_text(), "mine.toml").name == "made_up"
    assert picture.read_text().startswith("<svg ")
    assert picture.read_text().count("<circle") > 4 * 50
    shown = CliRunner().invoke(main, ["hw", "devices", str(device)])
    assert "drift.by_conductance" in shown.stdout


def test_the_example_is_what_its_program_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["made_up.py", str(tmp_path / "again.csv")])
    made_up.main()
    assert (tmp_path / "again.csv").read_bytes() == MADE_UP.read_bytes()


def test_measurements_are_never_written_over(tmp_path: Path) -> None:
    copy = tmp_path / "m.csv"
    copy.write_bytes(MADE_UP.read_bytes())
    result = CliRunner().invoke(main, ["hw", "fit", str(copy), "-o", str(copy)])
    assert result.exit_code == 2
    assert "BSC203" in result.stderr
