import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bsc.errors import GateError, UsageError
from bsc.hardware.adc_law import AdcLaw
from bsc.hardware.check import check, require_consistent, total
from bsc.hardware.target import Target

SMALL = """
name = "small"
description = "two arrays of 4 x 2 cells"
citation = "made up"
node_m = { value = 32e-9, kind = "assumed", source = "made up" }
[crossbar]
rows = 4
cols = 2
bits_per_cell = 2
source = "made up"
[dac]
bits = 1
source = "made up"
[adc]
per_crossbar = 1
bits = 8
law = "isaac"
rate_hz = { value = 20, kind = "derived", source = "2 columns in 0.1 s" }
source = "made up"
[timing]
read_s = { value = 0.1, kind = "assumed", source = "made up" }
[hierarchy]
crossbars_per_ima = 2
imas_per_tile = 3
tiles_per_chip = 5
source = "made up"
[action.adc_conversion]
energy_j = { value = 0.25, kind = "derived", source = "10 W / 40 a second" }
per = "one conversion"
at_full_rate = { component = "ima.adc", per_s = 40, source = "2 x 20 Hz" }
[component.ima.adc]
count = 2
spec = "8 bit"
power_w = { value = 10, kind = "assumed", source = "made up" }
area_m2 = { value = 1, kind = "assumed", source = "made up" }
[component.tile.router]
count = 1
shared_by = 4
spec = "router"
power_w = { value = 8, kind = "assumed", source = "made up" }
area_m2 = { value = 4, kind = "assumed", source = "made up" }
[component.chip.link]
count = 1
spec = "link"
power_w = { value = 100, kind = "assumed", source = "made up" }
area_m2 = { value = 7, kind = "assumed", source = "made up" }
[[published]]
name = "the chip"
scope = "chip"
power_w = 260
area_m2 = 27
tolerance = 1e-6
source = "made up"
"""


def read(text: str) -> Target:
    return Target.from_toml(text, "small.toml")


def changed(old: str, new: str) -> str:
    assert SMALL.count(old) == 1, old
    return SMALL.replace(old, new)


def test_totals_by_hand() -> None:
    target = read(SMALL)
    assert total(target, "ima", "power_w") == 10
    assert total(target, "imas", "power_w") == 3 * 10
    assert total(target, "tile_peripherals", "power_w") == 8 / 4
    assert total(target, "tile", "power_w") == 30 + 2
    assert total(target, "tiles", "power_w") == 5 * 32
    assert total(target, "chip", "power_w") == 160 + 100
    assert total(target, "chip", "area_m2") == 5 * (3 * 1 + 1) + 7


def test_check_compares_every_published_value_and_full_rate() -> None:
    lines = check(read(SMALL))
    assert [(line.name, line.unit, line.published, line.computed, line.ok) for line in lines] == [
        ("power of the chip", "W", 260, 260, True),
        ("area of the chip", "m²", 27, 27, True),
        ("adc_conversion at full rate", "W", 10, 10, True),
    ]


def test_check_of_areas_that_follow_the_arrays() -> None:
    # One converter, 4 row drivers, 8 cells and 2 sample-and-holds an array: 2 x (0.2 + 0.1 + 0.04 + 0.02) + 0.28 = 1.
    area = """
[area]
adc_m2 = { value = 0.2, kind = "assumed", source = "made up" }
dac_row_m2 = { value = 0.025, kind = "assumed", source = "made up" }
crossbar_cell_m2 = { value = 0.005, kind = "assumed", source = "made up" }
sample_hold_column_m2 = { value = 0.01, kind = "assumed", source = "made up" }
ima_fixed_m2 = { value = 0.28, kind = "assumed", source = "made up" }
tile_fixed_m2 = { value = 1.1, kind = "assumed", source = "made up" }
"""
    ima, tile = check(read(SMALL + area))[-2:]
    assert (ima.name, ima.published, ima.ok) == ("[area] of ima", 1, True)
    assert ima.computed == pytest.approx(1)
    assert (tile.name, tile.published, tile.computed, tile.ok) == ("[area] of tile_peripherals", 1, 1.1, False)


def test_a_target_that_does_not_re_add_is_refused() -> None:
    with pytest.raises(GateError) as caught:
        require_consistent(read(changed("power_w = 260", "power_w = 260.1")))
    assert str(caught.value) == (
        "[BSC502] target 'small': power of the chip does not re-add (1 such in all)\n"
        "  seen: 260 W from the parts, 260 W published, 100 mW apart where 260 µW is allowed\n"
        "  fix:  correct the part or the published value in the hardware description"
    )


@pytest.mark.parametrize(("published", "ok"), [(260 / (1 + 0.9e-6), True), (260 / (1 + 1.1e-6), False)])
def test_tolerance_is_relative_to_the_published_value(published: float, ok: bool) -> None:
    assert check(read(changed("power_w = 260", f"power_w = {published!r}")))[0].ok is ok


def test_sources_lists_every_quantity() -> None:
    sources = read(SMALL).sources()
    assert list(sources) == [
        "node_m",
        "adc.rate_hz",
        "timing.read_s",
        "action.adc_conversion.energy_j",
        "component.ima.adc.power_w",
        "component.ima.adc.area_m2",
        "component.tile.router.power_w",
        "component.tile.router.area_m2",
        "component.chip.link.power_w",
        "component.chip.link.area_m2",
    ]
    assert sources["action.adc_conversion.energy_j"].kind == "derived"


def test_an_action_left_out_has_no_price() -> None:
    target = read(SMALL)
    assert target.action.dac_row is None
    assert list(target.action.priced()) == ["adc_conversion"]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            "rows = 4\n",
            "",
            "small.toml: key 'crossbar.rows' is missing\n"
            "  seen: {'bits_per_cell': 2, 'cols': 2, 'source': 'made up'}\n"
            "  fix:  add the key to this table",
        ),
        (
            "cols = 2",
            "cols = 2\ncolumns = 2",
            "small.toml: key 'crossbar.columns' is not known\n  seen: 2\n  fix:  remove it or correct its spelling",
        ),
        (
            "rows = 4",
            'rows = "4"',
            "small.toml: key 'crossbar.rows' cannot be used\n  seen: '4'\n  fix:  Input should be a valid integer",
        ),
        (
            "value = 0.1, kind",
            "value = -0.1, kind",
            "small.toml: key 'timing.read_s.value' cannot be used\n"
            "  seen: -0.1\n"
            "  fix:  Input should be greater than or equal to 0",
        ),
        (
            'value = 32e-9, kind = "assumed", source = "made up"',
            'value = 32e-9, kind = "assumed"',
            "small.toml: key 'node_m.source' is missing\n"
            "  seen: {'kind': 'assumed', 'value': 3.2e-08}\n"
            "  fix:  add the key to this table",
        ),
        (
            'component = "ima.adc"',
            'component = "ima.adx"',
            "small.toml: key 'action.adc_conversion.at_full_rate.component' names no component\n"
            "  seen: 'ima.adx'\n"
            "  fix:  add the table [component.ima.adx] or name one that is there",
        ),
        (
            "rows = 4",
            "rows = ",
            "small.toml: not TOML\n  seen: Invalid value (at line 7, column 8)\n  fix:  correct the syntax there",
        ),
    ],
)
def test_words_for_a_bad_description(old: str, new: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(changed(old, new))
    assert str(caught.value) == f"[BSC206] {words}"


@pytest.mark.parametrize("value", ["nan", "inf", "true"])
def test_only_finite_numbers_are_quantities(value: str) -> None:
    with pytest.raises(UsageError, match=r"timing\.read_s\.value"):
        read(changed("value = 0.1, kind", f"value = {value}, kind"))


@pytest.mark.parametrize("blank", ["", "  "])
def test_a_blank_source_is_no_source(blank: str) -> None:
    with pytest.raises(UsageError, match=r"node_m\.source"):
        read(
            changed(
                'value = 32e-9, kind = "assumed", source = "made up"',
                f'value = 32e-9, kind = "assumed", source = "{blank}"',
            )
        )


@pytest.mark.parametrize(("bits", "accepted"), [(0, False), (1, True), (16, True), (17, False)])
def test_limits_of_the_anchor_resolution(bits: int, accepted: bool) -> None:
    text = changed("bits = 8\n", f"bits = {bits}\n")
    if accepted:
        assert read(text).adc.bits == bits
    else:
        with pytest.raises(UsageError, match=r"adc\.bits"):
            read(text)


SQUARE = AdcLaw(
    name="square",
    formula="N²",
    source="made up",
    kind="assumed",
    valid_bits=(4, 10),
    energy=tuple(n**2 / 64 for n in range(17)),
)


@given(st.lists(st.integers(0, 16)))
def test_relative_energy_looks_each_resolution_up(bits: list[int]) -> None:
    assert SQUARE.relative_energy(np.array(bits, dtype=np.uint8)).tolist() == [n**2 / 64 for n in bits]


def test_relative_energy_keeps_the_shape() -> None:
    assert SQUARE.relative_energy(np.full((2, 3, 4), 8)).shape == (2, 3, 4)


@pytest.mark.parametrize(
    ("bits", "extrapolated"), [(0, False), (1, True), (3, True), (4, False), (10, False), (11, True)]
)
def test_extrapolated_on_both_sides_of_the_range(bits: int, extrapolated: bool) -> None:
    assert SQUARE.extrapolated(np.array([8, bits])) is extrapolated


@pytest.mark.parametrize("bits", [-1, 17])
def test_words_for_a_resolution_outside_the_law(bits: int) -> None:
    with pytest.raises(UsageError) as caught:
        SQUARE.relative_energy(np.array([8, bits]))
    assert str(caught.value) == (
        f"[BSC207] ADC law 'square' has no energy for {bits} bits\n"
        "  seen: a law for 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 bits\n"
        "  fix:  use another law, or a table of your own that has this resolution"
    )


def test_an_adc_must_convert() -> None:
    """Latency divides by the rate."""
    rate = next(line for line in SMALL.splitlines() if line.startswith("rate_hz"))
    still = rate.replace(rate.split("value = ")[1].split(",")[0], "0.0")
    with pytest.raises(UsageError) as caught:
        read(SMALL.replace(rate, still))
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("[BSC206] ")
    assert lines[0].endswith("key 'adc' cannot be used")
    assert lines[2] == "  fix:  rate_hz must be above 0"


OFFER = 'granularity = { value = "tile", kind = "paper", source = "table 2" }'


def test_what_the_converters_offer() -> None:
    said = read(changed('law = "isaac"\n', f'law = "isaac"\n{OFFER}\n')).adc
    assert (said.granularity.value, said.granularity.kind, said.granularity.source) == ("tile", "paper", "table 2")
    assert [said.offers(each) for each in ("column", "tile", "slice", "fixed")] == [False, True, True, True]
    silent = read(SMALL).adc.granularity
    assert (silent.value, silent.kind, silent.source) == ("column", "assumed", "the description does not say")


def test_words_for_an_unknown_offer() -> None:
    with pytest.raises(UsageError) as caught:
        read(changed('law = "isaac"\n', f'law = "isaac"\n{OFFER.replace("tile", "cell")}\n'))
    assert str(caught.value) == (
        "[BSC206] small.toml: key 'adc.granularity.value' cannot be used\n"
        "  seen: 'cell'\n"
        "  fix:  Input should be 'column', 'tile', 'slice' or 'fixed'"
    )
