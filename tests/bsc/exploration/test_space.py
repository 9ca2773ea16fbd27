"""Design spaces: numbers and values, both sides of every limit, and the literal text of errors."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bsc.compiler.options import MappingOptions
from bsc.errors import UsageError
from bsc.exploration.space import Grid, Space, choices, designs, max_accuracy_drop, needing_data

TWO_AXES = '[axes]\nxbar = ["64x64", "128x128"]\nflip = [true, false]\nactive-rows = ["all", 16]\n'


def space(text: str) -> Space:
    return Space.from_toml(text, "space.toml")


def test_the_last_axis_is_the_fastest() -> None:
    grid = Grid(space(TWO_AXES), "m.onnx")
    assert len(grid) == 8
    assert [grid.texts(number) for number in (0, 1, 2, 7)] == [
        {"model": "m.onnx", "xbar": "64x64", "flip": "yes", "active-rows": "all"},
        {"model": "m.onnx", "xbar": "64x64", "flip": "yes", "active-rows": "16"},
        {"model": "m.onnx", "xbar": "64x64", "flip": "no", "active-rows": "all"},
        {"model": "m.onnx", "xbar": "128x128", "flip": "no", "active-rows": "16"},
    ]
    assert choices(grid.values(1)) == MappingOptions(xbar="64x64", flip=True, active_rows="16")
    assert choices(grid.values(2)) == MappingOptions(xbar="64x64")


@given(st.lists(st.integers(1, 3), min_size=3, max_size=3), st.data())
def test_numbers_and_places_agree(sizes: list[int], data: st.DataObject) -> None:
    cells, dacs, weights = (list(range(1, size + 1)) for size in sizes)
    grid = Grid(space(f"[axes]\ncell-bits = {cells}\ndac-bits = {dacs}\nweight-bits = {weights}\n"), "m.onnx")
    number = data.draw(st.integers(0, len(grid) - 1))
    assert grid.number(grid.places(number)) == number


def test_an_empty_space_has_the_default_design() -> None:
    grid = Grid(space(""), "m.onnx")
    assert (len(grid), grid.texts(0), choices(grid.values(0))) == (1, {"model": "m.onnx"}, MappingOptions())


def test_random_designs_are_different_and_the_same_every_time() -> None:
    drawn = space('method = "random"\npoints = 5\nseed = 3\n' + TWO_AXES)
    numbers = list(designs(drawn, Grid(drawn, "m.onnx")))
    assert len(set(numbers)) == 5
    assert numbers == list(designs(drawn, Grid(drawn, "m.onnx")))
    more = space('method = "random"\npoints = 9\n' + TWO_AXES)
    assert sorted(designs(more, Grid(more, "m.onnx"))) == list(range(8))


def test_a_grid_may_be_too_large() -> None:
    bits, rows = list(range(1, 9)), list(range(1, 106))
    axes = f"[axes]\nweight-bits = {list(range(1, 16))}\ncell-bits = {bits}\ndac-bits = {bits}\nactive-rows = {rows}\n"
    huge = space(axes)
    with pytest.raises(UsageError) as caught:
        designs(huge, Grid(huge, "m.onnx"))
    assert str(caught.value) == (
        "[BSC209] the grid has more than 100000 designs\n"
        "  seen: 100800\n"
        '  fix:  write method = "random" or "search" and a number of points, or leave values out'
    )
    fits = space(axes.replace(", 105]", "]"))
    assert len(designs(fits, Grid(fits, "m.onnx"))) == 99840


MALFORMED = {
    "[axes]\nxbar = ['128']": (
        "[BSC209] space.toml: key 'axes.xbar' cannot be used\n"
        "  seen: ['128']\n"
        "  fix:  write ROWSxCOLS, each 1 or more, as 128x128"
    ),
    "[axes]\nadc = ['best']": (
        "[BSC209] space.toml: key 'axes.adc' cannot be used\n"
        "  seen: ['best']\n"
        "  fix:  write lossless, isaac, fixed=N, calibrated, calibrated=N, budgeted or raella; N is 1 or more"
    ),
    "[axes]\nadc = ['budgeted']": (
        "[BSC209] space.toml: key 'axes.adc' cannot be used\n"
        "  seen: ['budgeted']\n"
        '  fix:  write the points of accuracy that may be lost, as "budgeted=0.5"'
    ),
    "[axes]\nactive-rows = ['some']": (
        "[BSC209] space.toml: key 'axes.active-rows' cannot be used\n"
        "  seen: ['some']\n"
        '  fix:  write how many rows to drive at a time, "all" or "search"'
    ),
    "[axes]\ncell-bits = [2, 2]": (
        "[BSC209] space.toml: key 'axes.cell-bits' cannot be used\n"
        "  seen: [2, 2]\n"
        "  fix:  write each value once, and not 2 twice"
    ),
    "[axes]\ncellbits = [2]": (
        "[BSC209] space.toml: key 'axes.cellbits' is not known\n  seen: [2]\n  fix:  remove it or correct its spelling"
    ),
    "method = 'random'": (
        "[BSC209] space.toml: key 'points' cannot be used\n"
        "  seen: None\n"
        "  fix:  say how many designs method 'random' tries"
    ),
    "points = 3": (
        "[BSC209] space.toml: key 'points' cannot be used\n"
        "  seen: 3\n"
        "  fix:  leave it out, since a grid has all designs, or choose another method"
    ),
    "axes = [": (
        "[BSC209] space.toml: not TOML\n  seen: Invalid value (at end of document)\n  fix:  correct the syntax there"
    ),
}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[axes]\nxbar = []", "key 'axes.xbar' has too few values\n  seen: []\n  fix:  give 1 or more"),
        (
            "[axes]\nxbar = '8x8'",
            "key 'axes.xbar' is not a list\n  seen: '8x8'\n  fix:  write values in brackets, as [1, 2]",
        ),
        (
            "objectives = ['energy', 'energy']",
            "key 'objectives' cannot be used\n  seen: ['energy', 'energy']\n"
            "  fix:  write each value once, and not 'energy' twice",
        ),
        (
            "[axes]\nxbar = ['64x64', '064x064']",
            "key 'axes.xbar' cannot be used\n  seen: ['64x64', '064x064']\n"
            "  fix:  write each value once, and not '064x064' twice",
        ),
        (
            "[axes]\nactive-rows = [0]",
            "key 'axes.active-rows' cannot be used\n  seen: [0]\n"
            '  fix:  write how many rows to drive at a time, "all" or "search"',
        ),
        (
            f"axes = {'[' * 3000}",
            "not TOML\n  seen: tables or lists in each other, too deep to read\n  fix:  correct the syntax there",
        ),
        (
            f"seed = {'9' * 5000}",
            "not TOML\n  seen: a number of too many digits\n  fix:  correct the syntax there",
        ),
    ],
)
def test_words_for_malformed_spaces(text: str, problem: str) -> None:
    with pytest.raises(UsageError) as caught:
        space(text)
    assert str(caught.value) == f"[BSC209] space.toml: {problem}"


@pytest.mark.parametrize("text", MALFORMED)
def test_malformed_spaces(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        space(text)
    assert str(caught.value) == MALFORMED[text]


@pytest.mark.parametrize(
    ("inside", "outside"),
    [
        ("cell-bits = [1]", "cell-bits = [0]"),
        ("cell-bits = [8]", "cell-bits = [9]"),
        ("dac-bits = [8]", "dac-bits = [9]"),
        ("weight-bits = [15]", "weight-bits = [16]"),
        ("xbar = ['64x64', '64x65']", "xbar = ['64x64', '064x064']"),
        ("xbar = ['64x64']", "xbar = ['\N{FULLWIDTH DIGIT SIX}4x64']"),
        ("active-rows = [1, 'all']", "active-rows = [1.5]"),
        ("active-rows = [2, 'search']", "active-rows = [true]"),
        ("adc = ['budgeted=1']", "adc = ['budgetedfoo=1']"),
        ("adc = ['calibrated=1']", "adc = ['budgeted']"),
        ("cell-bits = [1]", "cell-bits = [1.0]"),
        ("cell-bits = [1]", "cell-bits = []"),
        ("active-rows = [1]", "active-rows = [0]"),
        ("flip = [true]", "flip = [1]"),
        ("adc = ['budgeted=100']", "adc = ['budgeted=101']"),
        ("adc = ['budgeted=0']", "adc = ['budgeted=nan']"),
        ("encoding = ['offset']", "encoding = 'offset'"),
    ],
)
def test_both_sides_of_limits(inside: str, outside: str) -> None:
    space(f"[axes]\n{inside}")
    with pytest.raises(UsageError, match=r"\[BSC209\] space.toml: key 'axes\."):
        space(f"[axes]\n{outside}")


def test_budgets() -> None:
    assert [max_accuracy_drop(adc) for adc in ("lossless", "budgeted=0.5")] == [None, 0.005]
    assert choices(Grid(space("[axes]\nadc = ['budgeted=0.5']"), "m.onnx").values(0)).adc == "budgeted"


def test_what_needs_data() -> None:
    explicit_values = {
        "adc = ['lossless', 'calibrated=4']": "calibrated=4",
        "adc = ['budgeted=1']": "budgeted=1",
        "adc = ['raella']": "raella",
        "adc = ['raella']\ncut = ['even']": None,
        "cut = ['4-2-2', 'adaptive']": "adaptive",
        "adc = ['isaac']": None,
    }
    assert {text: needing_data(space(f"[axes]\n{text}")) for text in explicit_values} == explicit_values
