import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from bsc.errors import UsageError
from bsc.hardware.device import EFFECTS, Device
from bsc.hardware.device_tables import ErrorTable
from bsc.hardware.target import Quantity

FULL = """
name = "full"
description = "every effect"
citation = "made up"
[programming_error]
independent = { value = 0.3, kind = "assumed", source = "[a] i" }
proportional = { value = 0.4, kind = "paper", source = "[a] p" }
[programming_error.by_conductance]
points = [[0, 0.1], [0.5, 0.2], [1, 0]]
kind = "survey"
source = "[a] c"
[chip_error]
proportional = { value = 0.6, kind = "assumed", source = "[a] chip" }
[row_error]
independent = { value = 0.7, kind = "assumed", source = "[a] row" }
[column_error]
independent = { value = 0.8, kind = "assumed", source = "[a] column" }
[read_noise]
independent = { value = 0.01, kind = "assumed", source = "[a] r" }
[stuck_at]
on = { value = 0.2, kind = "assumed", source = "[a] on" }
off = { value = 0.5, kind = "assumed", source = "[a] off" }
[drift]
nu = { value = 0.05, kind = "assumed", source = "[a] nu" }
nu_spread = { value = 0.01, kind = "assumed", source = "[a] spread" }
start_s = { value = 20, kind = "assumed", source = "[a] t0" }
read_s = { value = 2000, kind = "assumed", source = "[a] t" }
[temperature]
reference_k = { value = 300, kind = "assumed", source = "[a] T0" }
read_k = { value = 350, kind = "assumed", source = "[a] T" }
[temperature.coefficient]
points = [[0, 0.002], [1, -0.001]]
kind = "assumed"
source = "[a] alpha"
[off_current]
on_off_ratio = { value = 10, kind = "assumed", source = "[a] ratio" }
reference_column = false
[ir_drop]
on_ohm = { value = 1e4, kind = "assumed", source = "[a] on" }
wordline_ohm = { value = 1, kind = "assumed", source = "[a] w" }
bitline_ohm = { value = 2, kind = "assumed", source = "[a] b" }
[adc_gain]
sigma = { value = 0.01, kind = "assumed", source = "[a] gain" }
shared = true
[adc_offset]
sigma_cells = { value = 0.5, kind = "assumed", source = "[a] o" }
[adc_noise]
sigma_cells = { value = 0.25, kind = "assumed", source = "[a] n" }
"""


def read(text: str = FULL) -> Device:
    return Device.from_toml(text, "full.toml")


def changed(old: str, new: str) -> str:
    assert FULL.count(old) == 1, old
    return FULL.replace(old, new)


def test_effects_in_the_order_of_the_record() -> None:
    device = read()
    assert EFFECTS == (
        "programming_error",
        "chip_error",
        "row_error",
        "column_error",
        "read_noise",
        "stuck_at",
        "drift",
        "temperature",
        "off_current",
        "ir_drop",
        "adc_gain",
        "adc_offset",
        "adc_noise",
    )
    assert device.effects == EFFECTS
    assert not device.is_ideal


@pytest.mark.parametrize("effect", EFFECTS)
def test_one_effect_alone(effect: str) -> None:
    device = read()
    alone = device.only(effect)
    assert alone.effects == (effect,)
    assert getattr(alone, effect) == getattr(device, effect)
    assert alone.scaled(effect, 0).is_ideal
    assert alone.scaled(effect, 1) == alone


def test_without_effects_it_is_ideal() -> None:
    assert read().only().is_ideal
    assert Device(name="x", description="x", citation="x").is_ideal


def test_an_effect_of_size_0_is_none() -> None:
    zero = "independent = { value = 0, kind = 'assumed', source = 'x' }"
    text = f"name = 'x'\ndescription = 'x'\ncitation = 'x'\n[read_noise]\n{zero}\n[programming_error]\n{zero}"
    device = Device.from_toml(text, "x.toml")
    assert device.is_ideal


def test_drift_read_at_its_start_is_none() -> None:
    drifting = read().only("drift")
    assert drifting.read_at(20).is_ideal
    assert not drifting.read_at(20.1).is_ideal
    assert read().only("read_noise").read_at(1) == read().only("read_noise")


def test_variance_by_hand() -> None:
    spread = read().programming_error
    assert spread is not None
    # On 2, off 1: independent (0.3 * 1)^2; proportional (0.4 g)^2; the curve at g / 2 = 0.75 and 1 is 0.1 and 0 of 2.
    variance = spread.variance(np.array([1.5, 2.0, 3.0]), on=2.0, off=1.0)
    assert variance.tolist() == pytest.approx([0.09 + 0.36 + 0.04, 0.09 + 0.64, 0.09 + 1.44])


def test_a_table_of_errors_by_hand() -> None:
    table = ErrorTable(
        deviates=(-2.0, 0.0, 2.0),
        conductances=(0.0, 1.0),
        errors=((0.0, 0.0, 0.4), (-0.2, 0.1, 0.2)),
        kind="assumed",
        source="made up",
    )
    # At half the on conductance rows are averaged: -0.1, 0.05, 0.3; between deviates and beyond them along that.
    found = table.at(np.full(5, 0.5), np.array([-3.0, -2, -1, 1, 9]))
    assert found.tolist() == pytest.approx([-0.1, -0.1, -0.025, 0.175, 0.3])
    assert table.at(np.array([0.0, 1.0]), np.array([2.0, 2.0])).tolist() == [0.4, 0.2]
    assert (table.largest, table.times(-2).errors[1]) == (0.4, (0.4, -0.2, -0.4))


@pytest.mark.parametrize(
    ("changed", "fix"),
    [
        ({"deviates": (0.0, 0.0, 2.0)}, "give deviates and conductances in ascending order"),
        ({"conductances": (1.0, 0.0)}, "give deviates and conductances in ascending order"),
        (
            {"errors": ((0.0, 0.0, 0.4),)},
            "give one row of errors for each conductance, with one error for each deviate",
        ),
        (
            {"errors": ((0.0, 0.0), (0.0, 0.0))},
            "give one row of errors for each conductance, with one error for each deviate",
        ),
        ({"errors": ((0.0, 0.1, 0.0), (0.0, 0.0, 0.0))}, "errors must not fall along a row"),
    ],
)
def test_impossible_tables_of_errors_are_refused(changed: dict[str, Any], fix: str) -> None:
    good = {"deviates": (-2.0, 0.0, 2.0), "conductances": (0.0, 1.0), "errors": ((0.0, 0.0, 0.4), (-0.2, 0.1, 0.2))}
    ErrorTable.model_validate({**good, "kind": "assumed", "source": "x"})
    with pytest.raises(ValidationError, match=fix):
        ErrorTable.model_validate({**good, **changed, "kind": "assumed", "source": "x"})


def test_a_temperature_that_the_device_does_not_know() -> None:
    assert read().read_at_temperature(300).only("temperature").is_ideal
    with pytest.raises(UsageError) as caught:
        read().only("drift").read_at_temperature(300)
    assert str(caught.value) == (
        "[BSC206] device 'full' does not say what temperature changes\n"
        "  seen: effects drift\n"
        "  fix:  leave the temperature out, or add the table 'temperature' to a device file of your own"
    )


def numbers(device: Device) -> dict[str, object]:
    return {
        path: number.value if isinstance(number, Quantity) else number.model_dump()["points"]
        for path, number in device.sources().items()
    }


@pytest.mark.parametrize(
    ("effect", "factor", "expected"),
    [
        (
            "programming_error",
            2,
            {
                "programming_error.independent": 0.6,
                "programming_error.proportional": 0.8,
                "programming_error.by_conductance": ((0, 0.2), (0.5, 0.4), (1, 0)),
            },
        ),
        ("chip_error", 2, {"chip_error.proportional": 1.2}),
        ("row_error", 2, {"row_error.independent": 1.4}),
        ("column_error", 2, {"column_error.independent": 1.6}),
        (
            "temperature",
            2,
            {
                "temperature.coefficient": ((0, 0.004), (1, -0.002)),
                "temperature.reference_k": 300,
                "temperature.read_k": 350,
            },
        ),
        ("read_noise", 0.5, {"read_noise.independent": 0.005}),
        ("stuck_at", 0.5, {"stuck_at.on": 0.1, "stuck_at.off": 0.25}),
        ("drift", 2, {"drift.nu": 0.1, "drift.nu_spread": 0.02, "drift.start_s": 20, "drift.read_s": 2000}),
        # Twice the off conductance.
        ("off_current", 2, {"off_current.on_off_ratio": 5}),
        ("ir_drop", 3, {"ir_drop.on_ohm": 1e4, "ir_drop.wordline_ohm": 3, "ir_drop.bitline_ohm": 6}),
        ("adc_gain", 2, {"adc_gain.sigma": 0.02}),
        ("adc_offset", 2, {"adc_offset.sigma_cells": 1}),
        ("adc_noise", 2, {"adc_noise.sigma_cells": 0.5}),
    ],
)
def test_scaling_by_hand(effect: str, factor: float, expected: dict[str, object]) -> None:
    device = read().scaled(effect, factor)
    assert numbers(device.only(effect)) == expected
    others = [name for name in EFFECTS if name != effect]
    assert device.only(*others) == read().only(*others)


def test_a_scaled_number_says_where_it_comes_from() -> None:
    scaled = read().scaled("programming_error", 2).sources()
    assert scaled["programming_error.proportional"].kind == "derived"
    assert scaled["programming_error.proportional"].source == "[a] p; times 2"
    assert scaled["programming_error.by_conductance"].source == "[a] c; times 2"


def test_sources_lists_every_number() -> None:
    assert list(read().sources()) == [
        "programming_error.independent",
        "programming_error.proportional",
        "programming_error.by_conductance",
        "chip_error.proportional",
        "row_error.independent",
        "column_error.independent",
        "read_noise.independent",
        "stuck_at.on",
        "stuck_at.off",
        "drift.nu",
        "drift.nu_spread",
        "drift.start_s",
        "drift.read_s",
        "temperature.coefficient",
        "temperature.reference_k",
        "temperature.read_k",
        "off_current.on_off_ratio",
        "ir_drop.on_ohm",
        "ir_drop.wordline_ohm",
        "ir_drop.bitline_ohm",
        "adc_gain.sigma",
        "adc_offset.sigma_cells",
        "adc_noise.sigma_cells",
    ]


@pytest.mark.parametrize(
    ("old", "new", "key", "fix"),
    [
        (
            "value = 0.2,",
            "value = 0.51,",
            "stuck_at",
            "the shares of cells stuck on and stuck off must not add up to more than 1",
        ),
        ("value = 10,", "value = 1,", "off_current", "on_off_ratio must be above 1"),
        ("value = 20,", "value = 0,", "drift", "start_s must be above 0"),
        ("value = 2000,", "value = 19.9,", "drift", "read_s must not be before start_s"),
        ("value = 1e4,", "value = 0,", "ir_drop", "on_ohm must be above 0"),
        (
            "value = 0.3,",
            "value = -0.3,",
            "programming_error.independent.value",
            "Input should be greater than or equal to 0",
        ),
        ("value = 0.25,", "value = inf,", "adc_noise.sigma_cells.value", "Input should be a finite number"),
        (
            'nu_spread = { value = 0.01, kind = "assumed", source = "[a] spread" }',
            'by_conductance = { points = [[0, 0, 0], [1, 0, 0]], kind = "assumed", source = "x" }',
            "drift",
            "give either nu or by_conductance",
        ),
        (
            'nu = { value = 0.05, kind = "assumed", source = "[a] nu" }',
            'by_conductance = { points = [[0, 0, 0], [1, 0, 0]], kind = "assumed", source = "x" }',
            "drift",
            "give nu_spread in the points of by_conductance",
        ),
        (
            'proportional = { value = 0.4, kind = "paper", source = "[a] p" }',
            'empirical = { deviates = [-1, 1], conductances = [0, 1], errors = [[0, 0], [-1, 1]], kind = "paper", '
            'source = "x" }',
            "programming_error",
            "leave out independent, proportional and by_conductance where empirical is given",
        ),
        (
            "[0.5, 0.2]",
            "[1, 0.2]",
            "programming_error.by_conductance",
            "give the points in ascending order of conductance",
        ),
        (
            "[0.5, 0.2]",
            "[1.5, 0.2]",
            "programming_error.by_conductance.points.1.0",
            "Input should be less than or equal to 1",
        ),
        (
            "[0.5, 0.2]",
            "[0.5, -0.2]",
            "programming_error.by_conductance.points.1.1",
            "Input should be greater than or equal to 0",
        ),
        (
            ", [0.5, 0.2], [1, 0]",
            "",
            "programming_error.by_conductance.points",
            "give 2 or more",
        ),
    ],
)
def test_impossible_values_are_refused(old: str, new: str, key: str, fix: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(changed(old, new))
    lines = str(caught.value).splitlines()
    problem = "has too few values" if fix == "give 2 or more" else "cannot be used"
    assert lines[0] == f"[BSC206] full.toml: key '{key}' {problem}"
    assert lines[2] == f"  fix:  {fix}"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("value = 0.2,", "value = 0.5,"),
        ("value = 10,", "value = 1.001,"),
        ("value = 2000,", "value = 20,"),
        (", [0.5, 0.2], [1, 0]", ", [1, 0]"),
    ],
)
def test_values_at_the_limit_are_accepted(old: str, new: str) -> None:
    read(changed(old, new))


def test_words_for_a_ratio_below_the_limit() -> None:
    text = """
name = "x"
description = "x"
citation = "x"
[off_current]
on_off_ratio = { value = 0.5, kind = "paper", source = "s" }
reference_column = true
"""
    with pytest.raises(UsageError) as caught:
        Device.from_toml(text, "x.toml")
    assert str(caught.value) == (
        "[BSC206] x.toml: key 'off_current' cannot be used\n"
        "  seen: {'on_off_ratio': {'kind': 'paper', 'source': 's', 'value': 0.5}, 'reference_column': True}\n"
        "  fix:  on_off_ratio must be above 1"
    )


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (
            lambda device: device.scaled("stuck_at", 1.5),
            "device 'full': stuck_at cannot be scaled\n"
            "  seen: factor 1.5\n"
            "  fix:  the shares of cells stuck on and stuck off must not add up to more than 1",
        ),
        (
            lambda device: device.scaled("off_current", 10),
            "device 'full': off_current cannot be scaled\n  seen: factor 10\n  fix:  on_off_ratio must be above 1",
        ),
        (
            lambda device: device.scaled("adc_noise", -1),
            "device 'full': adc_noise cannot be scaled\n  seen: factor -1\n  fix:  give a factor of 0 or more",
        ),
        (
            lambda device: device.scaled("adc_noise", math.inf),
            "device 'full': adc_noise cannot be scaled\n  seen: factor inf\n  fix:  give a factor of 0 or more",
        ),
        (
            lambda device: device.scaled("adc_noise", math.nan),
            "device 'full': adc_noise cannot be scaled\n  seen: factor nan\n  fix:  give a factor of 0 or more",
        ),
        (
            lambda device: device.scaled("read_noise", 1e300),
            "device 'full': read_noise cannot be scaled\n"
            "  seen: factor 1e+300\n"
            "  fix:  independent must be at most 1e+06",
        ),
        (
            lambda device: device.only("drift", "ir_drop").scaled("adc_noise", 2),
            "device 'full' has no adc_noise to scale\n"
            "  seen: effects drift, ir_drop\n"
            "  fix:  scale one of them, or add the table to a device file of your own",
        ),
        (
            lambda device: device.only().scaled("adc_noise", 2),
            "device 'full' has no adc_noise to scale\n"
            "  seen: effects none\n"
            "  fix:  scale one of them, or add the table to a device file of your own",
        ),
        (
            lambda device: device.only("drift").only("ir_drop"),
            "device 'full' has no ir_drop to leave\n"
            "  seen: effects drift\n"
            "  fix:  name one of them, or add the table to a device file of your own",
        ),
        (
            lambda device: device.only("drfit"),
            f"no effect of that name\n  seen: 'drfit'\n  fix:  did you mean 'drift'? effects: {', '.join(EFFECTS)}",
        ),
        (
            lambda device: device.scaled("name", 2),
            f"no effect of that name\n  seen: 'name'\n  fix:  effects: {', '.join(EFFECTS)}",
        ),
        (
            lambda device: device.read_at_temperature(0),
            "device 'full' cannot be read at that temperature\n"
            "  seen: 0 K\n"
            "  fix:  give a temperature above 0 in kelvin, such as 358 for 85 degrees Celsius",
        ),
        (
            lambda device: device.read_at(19.9),
            "device 'full' cannot be read before its drift starts\n"
            "  seen: 19.9 s after programming\n"
            "  fix:  read it 20 s after programming or later",
        ),
    ],
)
def test_words_for_a_sweep_that_cannot_be(act: Callable[[Device], Device], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        act(read())
    assert str(caught.value) == f"[BSC206] {words}"
