import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bsc.errors import GateError, UsageError
from bsc.hardware.adc_law import AdcLaw
from bsc.hardware.check import check, require_consistent, total
from bsc.hardware.target import MAX_AMOUNT, MAX_LEVELS, MAX_NUMBER, Target, label
from bsc.plan.folder import target_json

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
[[level]]
name = "array"
count = 2
source = "made up"
[level.action.convert]
counter = "conversions"
energy_j = { value = 0.25, kind = "derived", source = "10 W / 40 a second" }
per = "one conversion"
component = "core.adc"
at_full_rate = { per_s = 40, source = "2 x 20 Hz" }
[[level]]
name = "core"
count = 3
source = "made up"
[level.component.adc]
count = 2
spec = "8 bit"
power_w = { value = 10, kind = "assumed", source = "made up" }
area_m2 = { value = 1, kind = "assumed", source = "made up" }
[[level]]
name = "cluster"
count = 5
source = "made up"
[level.component.router]
count = 1
shared_by = 4
spec = "router"
power_w = { value = 8, kind = "assumed", source = "made up" }
area_m2 = { value = 4, kind = "assumed", source = "made up" }
[[level]]
name = "die"
source = "made up"
[level.component.link]
count = 1
spec = "link"
power_w = { value = 100, kind = "assumed", source = "made up" }
area_m2 = { value = 7, kind = "assumed", source = "made up" }
[[published]]
name = "the die"
level = "die"
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
    assert total(target, "array", "power_w") == 0
    assert total(target, "core", "power_w") == 10
    assert total(target, "core", "power_w", "all") == 3 * 10
    assert total(target, "core", "power_w", "rest") == 10
    assert total(target, "cluster", "power_w", "rest") == 8 / 4
    assert total(target, "cluster", "power_w") == 30 + 2
    assert total(target, "cluster", "power_w", "all") == 5 * 32
    assert total(target, "die", "power_w") == 160 + 100
    assert total(target, "die", "area_m2") == 5 * (3 * 1 + 1) + 7


@pytest.mark.parametrize("covers", ["one", "all", "rest"])
def test_published_totals_name_a_level_and_what_they_cover(covers: Any) -> None:
    entry = f'level = "cluster"\ncovers = "{covers}"'
    line = check(read(changed('level = "die"', entry)))[0]
    assert line.computed == {"one": 32, "all": 160, "rest": 2}[covers]


def test_check_compares_every_published_value_and_full_rate() -> None:
    lines = check(read(SMALL))
    assert [(line.name, line.unit, line.published, line.computed, line.ok) for line in lines] == [
        ("power of the die", "W", 260, 260, True),
        ("area of the die", "m²", 27, 27, True),
        ("convert at full rate", "W", 10, 10, True),
    ]


def test_actions_of_one_component_spend_its_power_together() -> None:
    other = """
[level.action.hold]
counter = "columns_sampled"
per = "one column"
component = "core.adc"
energy_j = { value = 0.05, kind = "assumed", source = "made up" }
at_full_rate = { per_s = 40, source = "2 x 20 Hz" }
[[level]]
name = "core"
"""
    text = changed('[[level]]\nname = "core"\n', other).replace("value = 0.25", "value = 0.2")
    (line,) = check(read(text))[2:]
    assert (line.name, line.published) == ("convert + hold at full rate", 10)
    assert line.computed == pytest.approx(0.2 * 40 + 0.05 * 40)


# One converter, 4 row drivers, 8 cells and 2 sample-and-holds an array: 2 x (0.2 + 0.1 + 0.04 + 0.02) + 0.28 = 1.
AREAS = {
    "array": """
[level.area.converters]
per = "converter"
area_m2 = { value = 0.2, kind = "assumed", source = "made up" }
[level.area.drivers]
per = "row"
area_m2 = { value = 0.025, kind = "assumed", source = "made up" }
[level.area.cells]
per = "cell"
area_m2 = { value = 0.005, kind = "assumed", source = "made up" }
[level.area.holds]
per = "column"
area_m2 = { value = 0.01, kind = "assumed", source = "made up" }
""",
    "core": """
[level.area.core_rest]
area_m2 = { value = 0.28, kind = "assumed", source = "made up" }
""",
    "cluster": """
[level.area.cluster_rest]
area_m2 = { value = 1.1, kind = "assumed", source = "made up" }
""",
}


def with_areas(*levels: str) -> str:
    text = SMALL
    for level in levels:
        count = {"array": 2, "core": 3, "cluster": 5}[level]
        head = f'name = "{level}"\ncount = {count}\nsource = "made up"\n'
        assert text.count(head) == 1
        text = text.replace(head, head + AREAS[level])
    return text


def test_check_of_areas_that_follow_the_arrays() -> None:
    core, cluster = check(read(with_areas("array", "core", "cluster")))[-2:]
    assert (core.name, core.published, core.ok) == ("areas of one core", 1, True)
    assert core.computed == pytest.approx(1)
    assert (cluster.name, cluster.published, cluster.ok) == ("areas of one cluster", 4, False)
    assert cluster.computed == pytest.approx(3 * 1 + 1.1)


def test_a_level_whose_area_was_forgotten_is_found() -> None:
    core, cluster = check(read(with_areas("array", "cluster")))[-2:]
    assert (core.name, core.ok, cluster.ok) == ("areas of one core", False, False)


def test_a_target_that_does_not_re_add_is_refused() -> None:
    with pytest.raises(GateError) as caught:
        require_consistent(read(changed("power_w = 260", "power_w = 260.1")))
    assert str(caught.value) == (
        "[BSC502] target 'small': power of the die does not re-add (1 such in all)\n"
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
        "array.action.convert.energy_j",
        "core.component.adc.power_w",
        "core.component.adc.area_m2",
        "cluster.component.router.power_w",
        "cluster.component.router.area_m2",
        "die.component.link.power_w",
        "die.component.link.area_m2",
    ]
    assert sources["array.action.convert.energy_j"].kind == "derived"


def test_an_action_may_have_no_price() -> None:
    price = 'energy_j = { value = 0.25, kind = "derived", source = "10 W / 40 a second" }\n'
    target = read(changed(price, ""))
    assert target.actions()["convert"].energy_j is None
    assert [line.name for line in check(target)] == ["power of the die", "area of the die"]


def test_labels_are_names_unless_they_are_given() -> None:
    target = read(with_areas("core"))
    (area,), (action,) = target.areas().items(), target.actions().items()
    assert (label(*area), label(*action)) == ("core rest", "convert")
    assert label("convert", action[1].model_copy(update={"label": "SAR steps"})) == "SAR steps"
    assert [level.several for level in target.level] == ["arrays", "cores", "clusters", "dies"]
    dice = read(changed('name = "die"\n', 'name = "die"\nplural = "dice"\n'))
    assert dice.level[-1].several == "dice"


def test_json_keeps_the_order_of_the_file() -> None:
    target = read(with_areas("array", "core"))
    again = Target.model_validate_json(target_json(target))
    assert again == target
    assert list(again.areas()) == list(target.areas()) == ["converters", "drivers", "cells", "holds", "core_rest"]


LEVEL = '[[level]]\nname = "cluster"\ncount = 5\nsource = "made up"\n'


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
            "count = 2\nspec",
            "count = 2.5\nspec",
            "small.toml: key 'level.core.component.adc.count' cannot be used\n"
            "  seen: 2.5\n"
            "  fix:  Input should be a valid integer",
        ),
        (
            'name = "core"',
            'name = "a core"',
            "small.toml: key 'level.a core.name' cannot be used\n"
            "  seen: 'a core'\n"
            "  fix:  String should match pattern '^[A-Za-z][A-Za-z0-9_-]*$'",
        ),
        (
            'component = "core.adc"',
            'component = "core.adx"',
            "small.toml: action 'convert' names no component of this description\n"
            "  seen: 'core.adx'\n"
            "  fix:  name a level and a component of it: core.adc, cluster.router, die.link",
        ),
        (
            'component = "core.adc"\n',
            "",
            "small.toml: action 'convert' has a full rate, but of no component\n"
            "  seen: at_full_rate, and no key 'component'\n"
            "  fix:  name the component whose power it spends, such as tile.edram",
        ),
        (
            "count = 5\n",
            "",
            "small.toml: level 'cluster' does not say how many make one die\n"
            "  seen: no key 'count'\n"
            "  fix:  add it; the last [[level]] is the whole and the only one without",
        ),
        (
            'name = "die"\n',
            'name = "die"\ncount = 1\n',
            "small.toml: level 'die' is the last and has a count\n"
            "  seen: count = 1\n"
            "  fix:  remove it, or add a [[level]] for what that many of them make",
        ),
        (
            'name = "cluster"',
            'name = "core"',
            "small.toml: level 'core' is there twice\n  seen: the same name again\n  fix:  give each a name of its own",
        ),
        (
            LEVEL,
            LEVEL + "[level.action.convert]\n" + 'counter = "moved_bits"\nper = "bit"\n',
            "small.toml: action 'convert' is there twice\n"
            "  seen: the same name again\n"
            "  fix:  give each a name of its own",
        ),
        (
            LEVEL,
            LEVEL + AREAS["array"].replace("converter", "row"),
            "small.toml: area 'rows' of level 'cluster' is for each row\n"
            "  seen: per = 'row'\n"
            "  fix:  move it to level 'array', which has rows, or give the area of one cluster",
        ),
        (
            'level = "die"',
            'level = "tile"',
            "small.toml: published 'the die' is of no level of this description\n"
            "  seen: 'tile'\n"
            "  fix:  name a level: array, core, cluster, die",
        ),
        (
            'level = "die"',
            'level = "die"\ncovers = "all"',
            "small.toml: published 'the die' covers all of the last level\n"
            "  seen: level = 'die', covers = 'all'\n"
            "  fix:  write covers = 'one': it is the whole",
        ),
        (
            "[timing]",
            "[hierarchy]\n[component.ima.adc]\n[timing]",
            "small.toml: this is the form that descriptions had before they had levels\n"
            "  seen: the tables [hierarchy], [component]\n"
            "  fix:  write [[level]] for each level, arrays first, with its count in the next one, and move the tables "
            "below it: [component.tile.edram] to [level.component.edram], [action.X] to [level.action.X] with the name "
            "of a counter, areas to [level.area.X]; [[published]] names a level. hw_models/isaac.toml is an example",
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


@pytest.mark.parametrize(
    ("levels", "words"),
    [(1, "has too few values"), (2, None), (MAX_LEVELS, None), (MAX_LEVELS + 1, "has too many values")],
)
def test_limits_of_levels(levels: int, words: str | None) -> None:
    inner = [f'[[level]]\nname = "l{number}"\ncount = 2\nsource = "made up"\n' for number in range(levels - 1)]
    text = "".join([SMALL[: SMALL.index("[[level]]")], *inner, '[[level]]\nname = "die"\nsource = "made up"\n'])
    if words is None:
        assert len(read(text).level) == levels
    else:
        with pytest.raises(UsageError, match=f"key 'level' {words}"):
            read(text)


@pytest.mark.parametrize(
    ("old", "new", "accepted"),
    [
        ("count = 5\n", f"count = {MAX_NUMBER}\n", True),
        ("count = 5\n", f"count = {MAX_NUMBER + 1}\n", False),
        ("count = 5\n", "count = 0\n", False),
        ("power_w = { value = 100,", f"power_w = {{ value = {MAX_AMOUNT},", True),
        ("power_w = { value = 100,", "power_w = { value = 1.001e30,", False),
    ],
)
def test_limits_of_numbers(old: str, new: str, accepted: bool) -> None:
    if accepted:
        assert len(check(read(changed(old, new)))) == 3
    else:
        with pytest.raises(UsageError, match="cannot be used"):
            read(changed(old, new))


def test_the_largest_numbers_of_all_levels_add_up() -> None:
    """Nothing is past all floats."""
    level = '[[level]]\nname = "l{}"\ncount = {}\nsource = "made up"\n'
    row = """[level.component.x]
count = 1
spec = "x"
power_w = { value = 1e30, kind = "assumed", source = "made up" }
area_m2 = { value = 1e30, kind = "assumed", source = "made up" }
"""
    inner = "".join(level.format(number, MAX_NUMBER) + row for number in range(MAX_LEVELS - 1))
    die = '[[level]]\nname = "die"\nsource = "made up"\n'
    published = SMALL[SMALL.index("[[published]]") :]
    target = read(SMALL[: SMALL.index("[[level]]")] + inner + die + published)
    assert all(math.isfinite(line.computed) and str(line) for line in check(target))


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


@pytest.mark.parametrize("value", ["0.0", "9.99e-31", "1e-308"])
def test_an_adc_must_convert(value: str) -> None:
    """Latency divides by the rate."""
    rate = next(line for line in SMALL.splitlines() if line.startswith("rate_hz"))
    slowest = rate.replace(rate.split("value = ")[1].split(",")[0], "1e-30")
    assert read(SMALL.replace(rate, slowest)).adc.rate_hz.value == 1e-30
    still = rate.replace(rate.split("value = ")[1].split(",")[0], value)
    with pytest.raises(UsageError) as caught:
        read(SMALL.replace(rate, still))
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("[BSC206] ")
    assert lines[0].endswith("key 'adc' cannot be used")
    assert lines[2] == "  fix:  rate_hz must be at least 1e-30"


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
