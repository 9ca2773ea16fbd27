import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import hw_models
from bsc.errors import UsageError
from bsc.hardware.device import EFFECTS, Device
from bsc.replay import analog, analog_sums, nodal
from bsc.replay.analog import ProgrammedCrossbar, convert, program, streams
from bsc.replay.nodal import Network

GENERIC = hw_models.load_device("generic")
IDEAL = hw_models.load_device("ideal")


def number(value: float) -> dict[str, Any]:
    return {"value": value, "kind": "assumed", "source": "made up"}


def device(**effects: Mapping[str, Any]) -> Device:
    """A device with these effects; bare numbers become quantities."""
    tables = {
        name: {
            key: number(v) if isinstance(v, int | float) and not isinstance(v, bool) else v for key, v in table.items()
        }
        for name, table in effects.items()
    }
    return Device.model_validate({"name": "test", "description": "test", "citation": "test", **tables})


# Effects that `generic` has not, since no publication at hand gives numbers for them.
SHARED: dict[str, dict[str, Any]] = {
    "chip_error": {"proportional": 0.05},
    "row_error": {"independent": 0.02},
    "column_error": {"independent": 0.02},
    "adc_gain": {"sigma": 0.05, "shared": True},
    "temperature": {
        "coefficient": {"points": ((0, 0.001), (1, 0.002)), "kind": "assumed", "source": "made up"},
        "reference_k": 300,
        "read_k": 350,
    },
}
EVERYTHING = GENERIC.model_copy(update={name: getattr(device(**SHARED), name) for name in SHARED})


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


# --- the ideal device


@settings(deadline=None)
@given(
    shape=st.tuples(st.integers(0, 8), st.integers(1, 140), st.integers(1, 20)),
    cell_bits=st.integers(1, 8),
    dac_bits=st.integers(1, 8),
    seed=st.integers(0, 2**32),
    data=st.data(),
)
def test_without_effects_it_is_integer_arithmetic(
    shape: tuple[int, int, int], cell_bits: int, dac_bits: int, seed: int, data: st.DataObject
) -> None:
    vectors, rows, columns = shape
    random, top = rng(seed), (1 << cell_bits) - 1
    levels = random.integers(0, top + 1, (rows, columns), np.uint8)
    digits = random.integers(0, 1 << dac_bits, (vectors, rows))
    crossbar = program(levels, top, IDEAL, rng(1), max_digit=(1 << dac_bits) - 1)
    before = random.bit_generator.state
    sums = crossbar.sums(digits, random)
    exact = digits @ levels.astype(np.int64)
    np.testing.assert_array_equal(sums, exact)
    bits = np.array(data.draw(st.lists(st.integers(0, 16), min_size=columns, max_size=columns)))
    step = np.array(data.draw(st.lists(st.integers(1, 9), min_size=columns, max_size=columns)))
    read = crossbar.convert(sums, bits, step, random)
    assert random.bit_generator.state == before  # nothing was drawn
    # What bsc.replay.engine computes, in whole numbers: halves to even, then clipped.
    quotient, rest = np.divmod(exact, step)
    rounded = quotient + ((2 * rest > step) | ((2 * rest == step) & (quotient % 2 == 1)))
    np.testing.assert_array_equal(read, step * np.minimum(rounded, (1 << bits) - 1))


@pytest.mark.parametrize("effect", EFFECTS)
def test_an_effect_scaled_to_0_changes_no_bit(effect: str) -> None:
    levels, digits = rng(1).integers(0, 4, (50, 7)), rng(2).integers(0, 2, (9, 50))
    crossbar = program(levels, 3, EVERYTHING.only(effect).scaled(effect, 0), rng(3), chip=1.0)
    codes = crossbar.convert(crossbar.sums(digits, rng(4)), 8, 1, rng(5))
    assert codes.tobytes() == (digits @ levels).astype(np.float32).tobytes()


# --- programming


def test_moments_of_the_programming_error() -> None:
    # sigma^2 = (0.02 * 3)^2 + (0.05 g)^2: at levels 0, which is cut off at 0, 2 and 3.
    cells = program(
        np.tile(np.array([0, 2, 3], np.uint8), (40_000, 1)),
        3,
        device(programming_error={"independent": 0.02, "proportional": 0.05}),
        rng(),
    ).cells
    sigma = np.sqrt(0.06**2 + (0.05 * np.array([2, 3])) ** 2)
    assert cells[:, 1:].mean(axis=0) == pytest.approx([2, 3], abs=4 * sigma.max() / 200)
    assert cells[:, 1:].std(axis=0) == pytest.approx(sigma, rel=0.02)
    assert cells.min() == 0
    assert np.mean(cells[:, 0] == 0) == pytest.approx(0.5, abs=0.01)
    assert cells[:, 0].mean() == pytest.approx(0.06 / np.sqrt(2 * np.pi), rel=0.03)  # of a normal cut off at 0


def test_programming_error_follows_a_curve() -> None:
    points = ((0.0, 0.0), (0.5, 0.1), (1.0, 0.0))
    curve = {"points": points, "kind": "assumed", "source": "made up"}
    spread = {"programming_error": {"by_conductance": curve}}
    levels = np.tile(np.array([0, 1, 2], np.uint8), (40_000, 1))
    cells = program(levels, 2, device(**spread), rng()).cells
    assert cells.std(axis=0) == pytest.approx([0, 0.2, 0], rel=0.02)  # a tenth of the on conductance 2


def test_cells_are_on_the_grid() -> None:
    cells = program(rng(1).integers(0, 4, (30, 5)), 3, GENERIC, rng()).cells
    steps = cells.astype(np.float64) / analog.CELL_GRID
    np.testing.assert_array_equal(steps, np.rint(steps))


def test_shares_of_stuck_cells() -> None:
    levels = np.full((300, 300), 1, np.uint8)
    cells = program(levels, 3, device(stuck_at={"on": 0.02, "off": 0.1}), rng()).cells
    assert sorted(np.unique(cells)) == [0, 1, 3]
    assert np.mean(cells == 3) == pytest.approx(0.02, abs=3 * np.sqrt(0.02 / 90_000))
    assert np.mean(cells == 0) == pytest.approx(0.1, abs=3 * np.sqrt(0.1 / 90_000))


@pytest.mark.parametrize(("on", "off", "level"), [(1, 0, 3), (0, 1, 0)])
def test_every_cell_may_be_stuck(on: float, off: float, level: int) -> None:
    cells = program(np.full((9, 9), 1), 3, GENERIC.only().model_copy(), rng()).cells
    assert np.unique(cells).tolist() == [1]
    cells = program(np.full((9, 9), 1), 3, device(stuck_at={"on": on, "off": off}), rng()).cells
    assert np.unique(cells).tolist() == [level]


def test_more_faults_are_the_same_ones_and_others() -> None:
    faulty = GENERIC.only("stuck_at")
    few, more = (program(np.full((200, 50), 1), 3, faulty.scaled("stuck_at", f), rng()).cells for f in (1, 5))
    assert np.count_nonzero(few != 1) > 0
    np.testing.assert_array_equal(more[few != 1], few[few != 1])


def test_known_faults_hold_their_level_whatever_else_happens() -> None:
    """Ratio 4 of 3 levels: level c conducts c + 1. Cells that are known to be stuck neither drift nor deviate."""
    effects: dict[str, dict[str, Any]] = {
        "off_current": off_current(4, reference=True),
        "programming_error": {"proportional": 0.1},
        "drift": {"nu": 0.1, "start_s": 1, "read_s": 1e6},
    }
    stuck = np.full((20, 3), -1)
    stuck[3, 1], stuck[4, 2] = 2, 0
    cells = program(np.full((20, 3), 3), 3, device(**effects), rng(), stuck_levels=stuck).cells
    assert (cells[3, 1], cells[4, 2]) == (3, 1)
    others = program(np.full((20, 3), 3), 3, device(**effects), rng()).cells
    assert (cells != others).sum() == 2  # no deviate of another cell moves


def drifting(read_s: float, spread: float = 0.0) -> Device:
    return device(drift={"nu": 0.05, "nu_spread": spread, "start_s": 20, "read_s": read_s})


def test_drift_by_hand() -> None:
    # 100 times the start: 100^-0.05 = 0.7943 of the conductance is left.
    cells = program(np.array([[0, 1, 3]]), 3, drifting(2000), rng()).cells
    assert cells[0].tolist() == pytest.approx([0, 0.7943, 3 * 0.7943], abs=2e-4)


def test_drift_at_its_start_changes_nothing() -> None:
    cells = program(np.array([[0, 1, 3]]), 3, drifting(20, 0.01), rng()).cells
    assert cells.tolist() == [[0, 1, 3]]


def test_drift_spreads_from_cell_to_cell_and_never_gains() -> None:
    cells = program(np.full((40_000, 1), 3), 3, drifting(2000, 0.05), rng()).cells
    assert cells.max() == 3
    logs = np.log(cells.astype(np.float64) / 3)
    median = -0.05 * np.log(100)
    assert np.median(logs) == pytest.approx(median, rel=0.03)
    assert np.quantile(logs, 0.1587) == pytest.approx(2 * median, rel=0.03)  # one spread of 0.05 more


@given(st.lists(st.floats(20, 1e9), min_size=2, max_size=5))
@settings(deadline=None)
def test_conductance_never_grows_with_time(times: list[float]) -> None:
    levels = rng(1).integers(0, 4, (6, 6))
    earlier, *later = (program(levels, 3, drifting(time, 0.01), rng()).cells for time in sorted(times))
    for cells in later:
        assert (cells <= earlier).all()
        earlier = cells


def test_drift_by_conductance_by_hand() -> None:
    """Levels 0, 1 and 3 of 3: exponents 0.1, 0.05 and -0.05, of which the last one is a gain."""
    points = ((0.0, 0.1, 0.0), (1 / 3, 0.05, 0.0), (1.0, -0.05, 0.0))
    table = {"points": points, "kind": "assumed", "source": "made up"}
    drifts = device(drift={"by_conductance": table, "start_s": 20, "read_s": 2000})
    cells = program(np.array([[0, 1, 3]]), 3, drifts, rng()).cells
    assert cells[0].tolist() == pytest.approx([0, 100**-0.05, 3 * 100**0.05], abs=2e-4)


def test_moments_of_drift_by_conductance() -> None:
    table = {"points": ((0.0, 0.0, 0.0), (1.0, 0.02, 0.03)), "kind": "assumed", "source": "made up"}
    drifts = device(drift={"by_conductance": table, "start_s": 1, "read_s": np.e**2})
    cells = program(np.full((40_000, 1), 3), 3, drifts, rng()).cells
    exponents = -np.log(cells[:, 0].astype(np.float64) / 3) / 2
    assert abs(exponents.mean() - 0.02) < 4 * 0.03 / 200
    assert abs(exponents.std() - 0.03) < 4 * 0.03 / np.sqrt(2 * 40_000)


def test_compensated_drift_restores_the_sum_of_all_cells() -> None:
    table = {"points": ((0.0, 0.0, 0.0), (1.0, 0.1, 0.0)), "kind": "assumed", "source": "made up"}
    effects = {"drift": {"by_conductance": table, "start_s": 1, "read_s": 1e6, "compensated": True}}
    levels = rng(1).integers(0, 4, (128, 40))
    cells = program(levels, 3, device(**effects), rng()).cells.astype(np.float64)
    assert cells.sum() == pytest.approx(levels.sum(), rel=1e-4)
    # Level 1 drifts by a third of the exponent of level 3, so that it is now too high, and level 3 too low.
    assert cells[levels == 1].min() > 1.1
    assert cells[levels == 3].max() < 2.9


def test_compensation_raises_read_noise_and_leaves_the_loss_of_wires() -> None:
    """Half of everything is left and the voltage twice as high: noise is what it was."""
    effects: dict[str, dict[str, Any]] = {
        "drift": {"nu": 1, "start_s": 1, "read_s": 2, "compensated": True},
        "read_noise": {"proportional": 0.02},
        "ir_drop": {"on_ohm": 1e4, "bitline_ohm": 500},
    }
    alone = program(np.array([[3]]), 3, device(**effects), rng())
    # 20 kohm of cell behind 500 ohm of wire, read by twice the voltage.
    assert alone.sums(np.ones((1, 1)), rng())[0, 0] == pytest.approx(3 * 20 / 20.5, abs=0.2)
    assert alone.variances is not None
    assert np.sqrt(alone.variances[0, 0]) == pytest.approx(0.02 * 3, rel=0.001)
    silent = program(np.array([[3]]), 3, device(drift=effects["drift"], ir_drop=effects["ir_drop"]), rng())
    assert silent.sums(np.ones((1, 1)), rng())[0, 0] == pytest.approx(3 * 20 / 20.5, abs=1e-3)


# --- errors that cells share, errors as measured, temperature


def test_moments_of_shared_errors() -> None:
    """1000 chips of 6 x 5 cells at 3 of 3: a chip's deviation is 0.3, a row's 0.2, a column's 0.1 cell units."""
    effects = {
        "chip_error": {"proportional": 0.1},
        "row_error": {"independent": 0.2 / 3},
        "column_error": {"independent": 0.1 / 3},
    }
    chips = rng(3).standard_normal(1000)
    errors = np.array(
        [
            program(np.full((6, 5), 3), 3, device(**effects), rng(seed), chip=chip).cells - 3
            for seed, chip in enumerate(chips)
        ],
        np.float64,
    )
    rest = errors - 0.3 * chips[:, None, None]
    rows, columns = rest.mean(axis=2), rest.mean(axis=1)
    within = rest - rows[:, :, None] - columns[:, None, :] + rest.mean(axis=(1, 2))[:, None, None]
    assert np.abs(within).max() < 4 * analog.CELL_GRID  # nothing is left
    for variance, expected, count in (
        ((rows - rows.mean(axis=1, keepdims=True)).var(axis=1, ddof=1).mean(), 0.2**2, 5 * 1000),
        ((columns - columns.mean(axis=1, keepdims=True)).var(axis=1, ddof=1).mean(), 0.1**2, 4 * 1000),
    ):
        assert abs(variance / expected - 1) < 4 * np.sqrt(2 / count)
    assert abs(rest.mean()) < 4 * np.sqrt((0.2**2 / 6 + 0.1**2 / 5) / 1000)


def test_moments_of_errors_as_measured() -> None:
    """An exponential tail upwards at level 3, nothing at level 0, and a shift of -0.1 of the on conductance there."""
    deviates = tuple(np.linspace(-3, 3, 61).tolist())
    quantiles = [-0.1 * np.log(0.5 * math.erfc(z / math.sqrt(2))) - 0.1 for z in deviates]  # exponential, mean 0
    table = {
        "deviates": deviates,
        "conductances": (0.0, 1.0),
        "errors": (tuple(0.0 for _ in deviates), tuple(quantiles)),
        "kind": "assumed",
        "source": "made up",
    }
    shift = {"points": ((0.0, 0.0), (1.0, -0.1)), "kind": "assumed", "source": "made up"}
    measured = device(programming_error={"empirical": table, "shift": shift})
    cells = program(np.tile([0, 3], (40_000, 1)), 3, measured, rng()).cells.astype(np.float64)
    assert not cells[:, 0].any()
    errors = cells[:, 1] / 3 - 1
    assert abs(errors.mean() + 0.1) < 4 * 0.1 / 200
    # Of an exponential: deviation 0.1, fourth moment 9 times its square, skewness 2; cut off at 3 deviates.
    assert abs(errors.var() / 0.01 - 1) < 0.01 + 4 * np.sqrt(8 / 40_000)
    assert ((errors + 0.1) ** 3).mean() / 0.001 == pytest.approx(2, abs=0.3)


def test_temperature_by_hand() -> None:
    # 50 K more. Ratio 4: level 0 is 1 of 4 units, where the curve is at 0.00125 per kelvin; at level 3 it is 0.002.
    effects = {"temperature": SHARED["temperature"], "off_current": off_current(4, reference=False)}
    cells = program(np.array([[0, 3]]), 3, device(**effects), rng()).cells
    assert cells[0].tolist() == pytest.approx([1 + 50 * 0.00125, 4 * (1 + 50 * 0.002)], abs=2e-4)
    assert device(**effects).read_at_temperature(300).effects == ("off_current",)


# --- off current


def off_current(ratio: float, *, reference: bool) -> dict[str, Any]:
    return {"on_off_ratio": ratio, "reference_column": reference}


def test_off_current_by_hand() -> None:
    # Ratio 4 of 3 levels: one cell unit for every driven cell, whatever its level.
    levels, digits = np.array([[0, 3], [2, 1], [3, 0]]), np.array([[1, 1, 0], [0, 0, 0], [1, 1, 1]])
    pedestal = program(levels, 3, device(off_current=off_current(4, reference=False)), rng())
    assert pedestal.sums(digits, rng()).tolist() == [[2 + 2, 4 + 2], [0, 0], [5 + 3, 4 + 3]]
    assert pedestal.columns == 2
    subtracted = program(levels, 3, device(off_current=off_current(4, reference=True)), rng())
    assert subtracted.sums(digits, rng()).tolist() == (digits @ levels).tolist()
    assert subtracted.columns == 2


def test_a_reference_column_subtracts_any_off_current_exactly() -> None:
    levels, digits = rng(1).integers(0, 4, (90, 8)), rng(2).integers(0, 4, (20, 90))
    crossbar = program(levels, 3, device(off_current=off_current(7.3, reference=True)), rng(), max_digit=3)
    np.testing.assert_array_equal(crossbar.sums(digits, rng()), digits @ levels)


def test_a_reference_column_has_errors_of_its_own_that_all_columns_share() -> None:
    effects = {"off_current": off_current(4, reference=True), "programming_error": {"independent": 0.1}}
    levels, digits = np.full((64, 200), 3), np.ones((1, 64))
    errors = np.array(
        [program(levels, 3, device(**effects), rng(seed)).sums(digits, rng())[0] - 192 for seed in range(200)]
    )
    # sigma = 0.3 a cell, 2.4 a column; the reference's 2.4 are common to all columns of a trial.
    assert errors.std(axis=0).mean() == pytest.approx(2.4 * np.sqrt(2), rel=0.1)
    assert errors.mean(axis=1).std() == pytest.approx(2.4, rel=0.15)


# --- read noise


@pytest.mark.parametrize("max_digit", [1, 3])
def test_moments_of_the_read_noise(max_digit: int) -> None:
    levels = np.array([[0, 3], [2, 3], [3, 3], [1, 0]])
    digits = np.array([max_digit, 1, 0, 1])
    crossbar = program(
        levels, 3, device(read_noise={"independent": 0.02, "proportional": 0.05}), rng(), max_digit=max_digit
    )
    sums = crossbar.sums(np.tile(digits, (60_000, 1)), rng())
    variance = (digits[:, None] ** 2 * (0.06**2 + (0.05 * levels) ** 2)).sum(axis=0)
    assert sums.mean(axis=0) == pytest.approx(digits @ levels, abs=0.005)
    assert sums.std(axis=0) == pytest.approx(np.sqrt(variance), rel=0.01)
    assert abs(np.corrcoef(sums.T)[0, 1]) < 0.02


def test_rows_that_are_not_driven_make_no_noise() -> None:
    crossbar = program(np.full((9, 4), 3), 3, GENERIC.only("read_noise"), rng())
    assert not crossbar.sums(np.zeros((5, 9)), rng()).any()


# --- converters


@pytest.mark.parametrize(
    ("y", "bits", "step", "expected"),
    [
        (0.5, 8, 1, 0),
        (1.5, 8, 1, 2),
        (2.5, 8, 1, 2),
        (5, 8, 2, 4),
        (7, 8, 2, 8),
        (-0.6, 8, 1, 0),
        (255.4, 8, 1, 255),
        (300, 8, 1, 255),
        (3, 1, 1, 1),
        (9, 2, 4, 8),
        (90, 2, 4, 12),
        (1, 0, 1, 0),
    ],
)
def test_conversion_by_hand(y: float, bits: int, step: int, expected: float) -> None:
    assert convert(np.array([[float(y)]]), bits, step).tolist() == [[expected]]


def test_conversion_with_an_offset_by_hand() -> None:
    offset = np.array([0.6, -0.6, 0.4])
    assert convert(np.array([[3.0, 3.0, 3.0], [0.0, 0.0, 0.0]]), 8, 1, offset=offset).tolist() == [[4, 2, 3], [1, 0, 0]]


def test_moments_of_the_converters_errors() -> None:
    effects = {"adc_offset": {"sigma_cells": 2.0}, "adc_noise": {"sigma_cells": 0.5}}
    crossbar = program(np.ones((50, 4000), np.uint8), 1, device(**effects), rng())
    assert crossbar.adc_offset.std() == pytest.approx(2, rel=0.03)
    assert crossbar.adc_offset.mean() == pytest.approx(0, abs=0.1)
    errors = crossbar.convert(np.full((200, 4000), 50.0), 8, 1, rng()) - 50
    assert errors.mean(axis=0) == pytest.approx(crossbar.adc_offset, abs=0.2)
    # Noise and rounding together.
    assert errors.std(axis=0).mean() == pytest.approx(np.sqrt(0.25 + 1 / 12), rel=0.02)


@pytest.mark.parametrize("shared", [False, True])
def test_moments_of_a_converter_s_offset_and_gain(*, shared: bool) -> None:
    """2000 crossbars of 4 columns: y + 0.02 y g + 1.5 o, one g and o a crossbar or a column."""
    effects = {"adc_gain": {"sigma": 0.02, "shared": shared}, "adc_offset": {"sigma_cells": 1.5, "shared": shared}}
    y = np.array([[0.0, 100.0, 100.0, 200.0]])
    # Steps of 1e-4 and 2^24 codes from -2^23 on: neither rounding nor the ends of the range count.
    errors = np.concatenate(
        [
            program(np.ones((1, 4), np.uint8), 1, device(**effects), rng(seed)).convert(
                y, 24, 1e-4, rng(), low=-(1 << 23)
            )
            - y
            for seed in range(2000)
        ]
    )
    expected = 1.5**2 + (0.02 * y[0]) ** 2
    assert np.abs(errors.mean(axis=0) / np.sqrt(expected / 2000)).max() < 4
    assert np.abs((errors.var(axis=0) / expected - 1) / np.sqrt(2 / 2000)).max() < 4
    correlation = np.corrcoef(errors.T)[1, 2]
    assert abs(correlation - shared) < 4 / np.sqrt(2000)


@pytest.mark.parametrize("effect", ["adc_gain", "adc_offset"])
def test_a_shared_converter_errs_alike_in_all_columns(effect: str) -> None:
    size = "sigma" if effect == "adc_gain" else "sigma_cells"
    own, shared = (
        program(np.ones((3, 5), np.int64), 1, device(**{effect: {size: 0.5, "shared": shared}}), rng(3))
        for shared in (False, True)
    )
    errors = [crossbar.adc_offset if effect == "adc_offset" else crossbar.adc_gain for crossbar in (own, shared)]
    assert errors[0] is not None
    assert errors[1] is not None
    assert len(np.unique(errors[0])) == 5
    assert errors[1].tolist() == [errors[0][0]] * 5


# --- IR drop


def nodal_analysis(
    conductance: NDArray[np.float64], volts: NDArray[Any], wordline_ohm: float, bitline_ohm: float
) -> NDArray[np.float64]:
    """Column currents of the whole network, every node solved for; rows at 0 V are cut off by their transistors."""
    rows, columns = conductance.shape
    size = rows * columns
    word = np.arange(size).reshape(rows, columns)
    bit = word + size
    network, injected = np.zeros((2 * size, 2 * size)), np.zeros(2 * size)

    def connect(one: int, other: int, siemens: float) -> None:
        network[[one, other], [one, other]] += siemens
        network[[one, other], [other, one]] -= siemens

    for row in range(rows):
        network[word[row, 0], word[row, 0]] += 1 / wordline_ohm
        injected[word[row, 0]] += volts[row] / wordline_ohm
        for column in range(columns):
            if volts[row] > 0:
                connect(word[row, column], bit[row, column], conductance[row, column])
            if column > 0:
                connect(word[row, column - 1], word[row, column], 1 / wordline_ohm)
            if row > 0:
                connect(bit[row - 1, column], bit[row, column], 1 / bitline_ohm)
    network[bit[-1], bit[-1]] += 1 / bitline_ohm  # the converters hold the ends of the bitlines at 0 V
    nodes = np.linalg.solve(network, injected)
    return np.asarray(nodes[bit[-1]] / bitline_ohm)


NEXT_TO_NOTHING = 1e-6


def wires(wordline_ohm: float, bitline_ohm: float, on_ohm: float = 1e4) -> Device:
    return device(ir_drop={"on_ohm": on_ohm, "wordline_ohm": wordline_ohm, "bitline_ohm": bitline_ohm})


def worst_error(monkeypatch: pytest.MonkeyPatch, ohm: tuple[float, float], max_digit: int) -> tuple[float, float]:
    """Largest difference from the nodal analysis and largest loss, both over the largest sum without loss."""
    monkeypatch.setattr(analog, "TOLERANCE", math.inf)
    monkeypatch.setattr(analog, "CELL_GRID", 2.0**-30)
    levels, digits = rng(1).integers(0, 4, (20, 9)), rng(2).integers(0, max_digit + 1, (1, 20))
    crossbar = program(levels, 3, wires(*ohm), rng(), max_digit=max_digit)
    siemens = 1 / (1e4 * 3)
    solved = nodal_analysis(np.asarray(levels * siemens), digits[0], *ohm) / siemens
    exact = (digits @ levels)[0]
    sums = crossbar.sums(digits, rng())[0]
    return np.abs(sums - solved).max() / exact.max(), np.abs(exact - solved).max() / exact.max()


@pytest.mark.parametrize("max_digit", [1, 3])
@pytest.mark.parametrize("lines", [(1, NEXT_TO_NOTHING), (NEXT_TO_NOTHING, 1), (1, 1), (0.5, 2)])
def test_ir_drop_is_exact_to_first_order(
    monkeypatch: pytest.MonkeyPatch, lines: tuple[float, float], max_digit: int
) -> None:
    errors, losses = zip(
        *(worst_error(monkeypatch, (lines[0] * ohm, lines[1] * ohm), max_digit) for ohm in (4, 2, 1)), strict=True
    )
    # Half the resistance: half the loss, but a quarter of the error.
    assert losses[0] / losses[1] == pytest.approx(2, rel=0.1)
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.12)
    assert errors[1] / errors[2] == pytest.approx(4, rel=0.12)
    assert errors[0] < 0.06 * losses[0]


@pytest.mark.parametrize("seed", range(10))
def test_wires_are_solved_exactly(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Ten crossbars with 10 to 500 ohm a segment and 10 kohm cells, against a dense solution of the network."""
    random = rng(seed)
    shape = random.integers(4, 17, 2)
    ohm = 10 ** random.uniform(1, 2.7, 2)
    max_digit = 1 + 2 * (seed % 2)
    levels, digits = random.integers(0, 4, shape), random.integers(0, max_digit + 1, (5, shape[0]))
    siemens = 1 / (1e4 * 3)
    solved = np.array([nodal_analysis(np.asarray(levels * siemens), each, *ohm) / siemens for each in digits])
    judged = program(levels, 3, wires(*ohm), rng(), max_digit=max_digit).sums(digits, rng())
    assert np.abs(judged - solved).max() < nodal.TOLERANCE
    monkeypatch.setattr(analog, "TOLERANCE", 0.0)  # whatever was driven is solved
    always = program(levels, 3, wires(*ohm), rng(), max_digit=max_digit).sums(digits, rng())
    assert np.abs(always - solved).max() < 0.01


@pytest.mark.parametrize("off_ratio", [1e9, 5.0])
def test_the_first_order_is_left_before_it_errs_by_a_tenth_of_a_step(off_ratio: float) -> None:
    """300 random reads of 20 x 20 cells, with steps of 1 and 2, whatever their wires and reference column."""
    taken = 0
    for seed in range(60):
        random = rng(seed)
        levels = random.integers(1, 4, (20, 20)) * (random.random((20, 20)) < random.random())
        digits = random.integers(0, 2, (5, 20))
        effects = wires(*10 ** random.uniform(-1, 2, 2)).model_copy(
            update={"off_current": device(off_current=off_current(off_ratio, reference=False)).off_current}
        )
        step = float(random.integers(1, 3))
        crossbar = program(levels, 3, effects, rng(), step=step)
        exact = program(levels, 3, effects, rng(), step=1e-9).network
        assert exact is not None
        errors = np.abs(crossbar.sums(digits, rng()) - exact.sums(digits))
        taken += int((errors > 1e-3).sum())
        assert errors.max() < 0.1 * step
    assert taken > 100  # the first order was good enough for many


@pytest.mark.parametrize(("wordline", "bitline"), [(1e-9, 1e-9), (1e-9, 0), (0, 1e-9)])
def test_wires_without_resistance_lose_nothing(wordline: float, bitline: float) -> None:
    levels, digits = rng(1).integers(0, 4, (64, 30)), rng(2).integers(0, 4, (9, 64))
    network = Network(
        cells=levels.astype(np.float64), wordline=wordline, bitline=bitline, voltage=1.0, tolerance=np.zeros(30)
    )
    np.testing.assert_allclose(network.sums(digits), digits @ levels, rtol=1e-5)
    # Off by far less than half a step: converters read what they read without wires.
    np.testing.assert_array_equal(convert(network.sums(digits), 16, 1), digits @ levels)


@pytest.mark.parametrize("lines", [(1e-4, 2e-4), (0.02, 0.05), (0, 0.01), (0.01, 0)])
@pytest.mark.parametrize("shape", [(20, 9), (1, 1), (64, 130), (5, 1), (1, 7), (0, 3)])
def test_the_kernel_reads_as_numpy_does(
    monkeypatch: pytest.MonkeyPatch, lines: tuple[float, float], shape: tuple[int, int]
) -> None:
    if analog_sums.kernel is None:
        pytest.skip("installed without a C compiler")
    random = rng(1)
    cells = np.rint(random.random(shape) * 3 / analog.CELL_GRID) * analog.CELL_GRID
    digits = (random.integers(0, 4, (7, shape[0])) * (random.random((7, shape[0])) < 0.5)).astype(np.float32)
    variances = cells.astype(np.float32)
    for typed in (cells.astype(np.float32), cells):
        for noise in (variances, None):
            compiled = analog_sums._compiled(digits, typed, noise, lines[1])
            plain = analog_sums._numpy(digits, typed, noise, lines[1])
            for one, other in zip(compiled, plain, strict=True):
                np.testing.assert_array_equal(one, other)
                assert one is None or other is None or one.dtype == other.dtype
    network = Network(cells=cells, wordline=lines[0], bitline=lines[1], voltage=1.1, tolerance=np.zeros(shape[1]))
    compiled_sums = network.sums(digits)
    monkeypatch.setattr(nodal, "kernel", None)
    assert network.sums(digits).tobytes() == compiled_sums.tobytes()


def test_the_kernel_refuses_arrays_that_do_not_fit() -> None:
    if analog_sums.kernel is None:
        pytest.skip("installed without a C compiler")
    digits, cells, out = np.zeros((2, 3), np.float32), np.zeros((3, 4)), np.zeros((2, 4))
    with pytest.raises(ValueError, match="do not fit together"):
        analog_sums.kernel.sums(8, (2, 3, 5), 0.0, digits, cells, None, out, None, None)
    with pytest.raises(ValueError, match="do not fit together"):
        analog_sums.kernel.nodal((2, 3, 4), (0.1, 0.1, 1.0, 1e-5), 9, digits, cells, cells[:2], out)


def test_ir_drop_of_one_cell_is_exact() -> None:
    # 10 kohm at level 3 behind 500 ohm of wordline and 500 of bitline, however large that is: 10 of 11 parts are left.
    levels, digits = np.array([[3]]), np.array([[1], [0]])
    sums = program(levels, 3, wires(500, NEXT_TO_NOTHING), rng()).sums(digits, rng())
    assert sums.ravel().tolist() == pytest.approx([3 * 10 / 10.5, 0], abs=2e-4)
    sums = program(levels, 3, wires(NEXT_TO_NOTHING, 500), rng()).sums(digits, rng())
    assert sums.ravel().tolist() == pytest.approx([3 * 10 / 10.5, 0], abs=2e-4)


def test_ir_drop_of_off_cells_by_hand() -> None:
    # Ratio 4: level 0 is 1 of 4 cell units and 40 kohm, level 3 all 4 and 10 kohm, each behind 500 ohm.
    effects: dict[str, dict[str, Any]] = {
        "off_current": off_current(4, reference=False),
        "ir_drop": {"on_ohm": 1e4, "wordline_ohm": NEXT_TO_NOTHING, "bitline_ohm": 500},
    }
    sums = program(np.array([[0, 3]]), 3, device(**effects), rng()).sums(np.ones((1, 1)), rng())
    assert sums.ravel().tolist() == pytest.approx([40 / 40.5, 4 * 10 / 10.5], abs=2e-4)


def test_read_noise_shrinks_with_the_current_of_a_wordline() -> None:
    # 100 ohm of cell behind 100 ohm of wire: half the current, half the noise of 0.02 * 3.
    effects: dict[str, dict[str, Any]] = {
        "read_noise": {"independent": 0.02},
        "ir_drop": {"on_ohm": 100, "wordline_ohm": 100},
    }
    sums = program(np.array([[3]]), 3, device(**effects), rng()).sums(np.ones((40_000, 1)), rng())
    assert sums.mean() == pytest.approx(1.5, abs=1e-3)
    assert sums.std() == pytest.approx(0.03, rel=0.02)


@pytest.mark.parametrize("line", ["wordline", "bitline"])
def test_the_far_end_loses_more(line: str) -> None:
    ohm = (5, NEXT_TO_NOTHING) if line == "wordline" else (NEXT_TO_NOTHING, 5)
    crossbar = program(np.full((32, 32), 3), 3, wires(*ohm), rng())
    sums = crossbar.sums(np.eye(32), rng())
    along = sums[0] if line == "wordline" else sums[::-1, 0]
    assert (np.diff(along) < 0).all()


@settings(deadline=None)
@given(st.floats(0, 50), st.floats(0, 50), st.integers(0, 1000))
def test_more_resistance_never_gives_more_current(ohm: float, further: float, seed: int) -> None:
    levels, digits = rng(seed).integers(0, 4, (20, 5)), rng(seed + 1).integers(0, 2, (4, 20))
    less, more = (program(levels, 3, wires(r, r), rng()).sums(digits, rng()) for r in (ohm, ohm + further))
    assert (more >= 0).all()
    assert (more <= less + 20 * analog.CELL_GRID).all()
    assert (less <= digits @ levels).all()


# --- reproducible


def everything(max_digit: int = 1) -> tuple[ProgrammedCrossbar, NDArray[Any]]:
    levels = rng(1).integers(0, 4, (128, 33))
    digits = rng(2).integers(0, max_digit + 1, (70, 128))
    return program(levels, 3, GENERIC, rng(3), max_digit=max_digit), digits


@pytest.mark.parametrize("max_digit", [1, 3])
def test_the_same_seed_gives_the_same_bytes(max_digit: int) -> None:
    results = []
    for _ in range(2):
        crossbar, digits = everything(max_digit)
        random = streams(7, 0, 1)
        results.append(crossbar.convert(crossbar.sums(digits, random.read), 8, 1, random.adc).tobytes())
    assert results[0] == results[1]
    crossbar, digits = everything(max_digit)
    other = streams(7, 0, 2)
    assert crossbar.convert(crossbar.sums(digits, other.read), 8, 1, other.adc).tobytes() != results[0]


@pytest.mark.parametrize("values", [1, 200, 1 << 16])
@pytest.mark.parametrize("vectors", [1, 7, 70])
def test_results_do_not_depend_on_how_vectors_are_split(
    monkeypatch: pytest.MonkeyPatch, vectors: int, values: int
) -> None:
    crossbar, digits = everything()
    random = streams(7, 0)
    whole = crossbar.convert(crossbar.sums(digits, random.read), 8, 1, random.adc)
    monkeypatch.setattr(analog, "_CHUNK_VALUES", values)
    random = streams(7, 0)
    parts = [
        crossbar.convert(crossbar.sums(digits[start : start + vectors], random.read), 8, 1, random.adc)
        for start in range(0, len(digits), vectors)
    ]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_results_do_not_depend_on_the_order_of_summation() -> None:
    crossbar, digits = everything()
    assert crossbar.cells.dtype == np.float32
    assert crossbar.variances is not None
    for matrix in (crossbar.cells, crossbar.variances):
        in_order = digits.astype(np.float32) @ matrix
        np.testing.assert_array_equal(in_order, digits[:, ::-1].astype(np.float32) @ matrix[::-1])
        np.testing.assert_array_equal(in_order, digits.astype(np.float64) @ matrix.astype(np.float64))


@pytest.mark.parametrize("effect", [effect for effect in EFFECTS if effect != "stuck_at"])
def test_no_effect_shifts_the_deviates_of_another(effect: str) -> None:
    # Level 1 becomes the on or the off conductance in stuck cells and stays apart from both in all others.
    faulty = EVERYTHING.scaled("stuck_at", 10)
    levels = np.full((30, 6), 1, np.uint8)
    alone = program(levels, 3, faulty.only("stuck_at"), rng(2)).cells
    both = program(levels, 3, faulty.only("stuck_at", effect), rng(2)).cells[:, :6]
    assert {0, 3} < set(np.unique(alone).tolist())
    np.testing.assert_array_equal(both > 2, alone == 3)
    np.testing.assert_array_equal(both < 0.5, alone == 0)


def test_a_reference_column_does_not_shift_read_noise() -> None:
    levels, digits = rng(1).integers(0, 4, (40, 6)), np.eye(40)
    noisy = GENERIC.only("read_noise")
    plain = program(levels, 3, noisy, rng()).sums(digits, rng(2)) - levels
    tiny = device(off_current=off_current(1e9, reference=True)).off_current
    referred = program(levels, 3, noisy.model_copy(update={"off_current": tiny}), rng())
    errors = referred.sums(digits, rng(2)) - levels
    # The reference's own noise is the same in all columns.
    assert np.ptp(errors - plain, axis=1) == pytest.approx(0, abs=1e-6)


def test_streams_are_independent_and_repeatable() -> None:
    first = [generator.random() for generator in streams(1, 2, 3)]
    assert first == [generator.random() for generator in streams(1, 2, 3)]
    others = [generator.random() for key in ((1, 2), (1, 2, 4), (1, 3, 3), (2, 2, 3)) for generator in streams(*key)]
    assert len({*first, *others}) == len(first) + len(others)


@pytest.mark.parametrize(("levels", "dtype"), [(3, np.float32), (255, np.float64)])
def test_type_follows_the_largest_sum(levels: int, dtype: type) -> None:
    assert program(np.full((200, 2), levels), levels, GENERIC.only("drift"), rng(), max_digit=3).cells.dtype == dtype


def test_an_empty_crossbar() -> None:
    crossbar = program(np.zeros((0, 3), np.uint8), 3, GENERIC, rng())
    assert crossbar.sums(np.zeros((2, 0)), rng()).tolist() == [[0, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize("name", hw_models.device_names())
def test_every_shipped_device_runs(name: str) -> None:
    levels, digits = rng(1).integers(0, 4, (128, 20)), rng(2).integers(0, 2, (10, 128))
    crossbar = program(levels, 3, hw_models.load_device(name), rng())
    codes = crossbar.convert(crossbar.sums(digits, rng()), 9, 1, rng())
    exact = digits @ levels
    assert np.abs(codes - exact).mean() < 0.25 * exact.mean()
    assert np.array_equal(codes, exact) == (name == "ideal")


def test_words_for_cells_that_conduct_too_much() -> None:
    """An off current of 1e13 cell units is above 2**40, beyond which sums of 2**-12 are not exact."""
    leaky = device(off_current={"on_off_ratio": 1 + 1e-13, "reference_column": False})
    with pytest.raises(UsageError) as caught:
        program(np.zeros((2, 1), np.uint8), 1, leaky, rng())
    assert str(caught.value) == (
        "[BSC206] the device's cells conduct too much to be added up\n"
        "  seen: column sums of 2e+13 cell units\n"
        "  fix:  make its programming error smaller or its on/off ratio larger"
    )
