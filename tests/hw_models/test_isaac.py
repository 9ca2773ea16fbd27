import re
import tomllib
from collections.abc import Iterator
from importlib.resources import files
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hw_models
from bsc.cost.counters import ALL_COUNTERS, not_modelled, require_counters
from bsc.errors import UsageError
from bsc.hardware.check import check, require_consistent, total
from bsc.hardware.target import Target

TEXT = files("hw_models").joinpath("isaac.toml").read_text(encoding="utf-8")
SOURCES = files("hw_models").joinpath("SOURCES.md").read_text(encoding="utf-8")


def test_re_adds_to_what_was_published() -> None:
    target = hw_models.load("isaac")
    require_consistent(target)
    assert [line.name for line in check(target)] == [
        "power of one IMA",
        "area of one IMA",
        "power of 12 IMAs",
        "area of 12 IMAs",
        "power of tile peripherals",
        "area of tile peripherals",
        "power of the rows of a tile's peripherals",
        "area of the rows of a tile's peripherals",
        "power of one tile",
        "area of one tile",
        "power of 168 tiles",
        "area of 168 tiles",
        "power of chip with links",
        "area of chip with links",
        *[f"{name} at full rate" for name, action in target.actions().items() if action.at_full_rate][:-1],
        "chip_link_bit + static at full rate",
        "areas of one IMA",
        "areas of one tile",
        "efficiency of 16-bit operations at the peak",
        "density of operations of 16-bit operations at the peak",
        "density of weights of 16-bit operations at the peak",
    ]


def test_by_hand() -> None:
    target = hw_models.load("isaac")
    adc = target.actions()["adc_conversion"].energy_j
    assert adc is not None
    # 8 converters of 2 mW, each for 128 columns in 100 ns.
    assert adc.value == pytest.approx(2e-3 / (128 / 100e-9))
    assert target.adc.rate_hz.value == pytest.approx(target.crossbar.cols / target.timing.read_s.value)
    tile_w = total(target, "tile", "power_w")
    assert tile_w / (tile_w - 12 * 16e-3) == pytest.approx(2.39, abs=0.005)


def test_every_counter_is_priced_and_every_price_proved_at_full_rate() -> None:
    actions = hw_models.load("isaac").actions()
    assert {action.counter for action in actions.values()} == set(ALL_COUNTERS)
    product = actions.pop("product")  # ISAAC has no unit for it
    assert (product.energy_j, product.component) == (None, None)
    assert all(action.energy_j is not None for action in actions.values())
    own = [action for action in actions.values() if action.energy_as is None]
    assert all(action.at_full_rate is not None for action in own)


def test_buffers_and_links_are_those_of_table_i() -> None:
    levels = {level.name: level for level in hw_models.load("isaac").level}
    buffers = {
        f"{level.name} {name}": (buffer.capacity_bit.value / 8192, buffer.banks)
        for level in levels.values()
        for name, buffer in level.buffer.items()
    }
    assert buffers == {
        "IMA input_register": (2, 1),
        "IMA output_register": (0.25, 1),
        "tile edram": (64, 2),
        "tile output_register": (3, 1),
    }
    links = {name: link for level in levels.values() for name, link in level.link.items()}
    assert links["mesh"].bandwidth_bit_per_s.value == 32 * 1e9
    assert (links["hyper_transport"].count, links["hyper_transport"].bandwidth_bit_per_s.value) == (4, 6.4e9 * 8)


IMA_ROWS = ["adc", "dac", "sample_hold", "crossbar", "shift_add", "input_register", "output_register"]


@pytest.mark.parametrize("measure", ["power_w", "area_m2"])
@pytest.mark.parametrize(
    ("level", "row", "name"),
    [("IMA", row, "one IMA") for row in IMA_ROWS]
    + [("tile", row, "tile peripherals") for row in ("edram", "bus", "router")]
    + [("chip", "hyper_transport", "chip with links")],
)
def test_a_component_that_is_off_by_a_tenth_is_found(level: str, row: str, name: str, measure: str) -> None:
    description: dict[str, Any] = tomllib.loads(TEXT)
    next(each for each in description["level"] if each["name"] == level)["component"][row][measure]["value"] *= 1.1
    failed = [line.name for line in check(Target.model_validate(description)) if not line.ok]
    assert f"{measure.partition('_')[0]} of {name}" in failed


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, action in hw_models.load("isaac").actions().items()
        if action.at_full_rate and action.energy_j and action.energy_j.value
    ],
)
def test_a_price_that_is_off_by_a_hundredth_is_found(name: str) -> None:
    description: dict[str, Any] = tomllib.loads(TEXT)
    level = next(each for each in description["level"] if name in each.get("action", {}))
    level["action"][name]["energy_j"]["value"] *= 1.01
    failed = [line.name for line in check(Target.model_validate(description)) if not line.ok]
    assert failed == [f"{name} at full rate"]


LINES = TEXT.splitlines()
OTHER = ["", "0", "-1", "1e999", '"x"', "[]", "[[1]]", "{}", "true", '"tile"', '"IMA.adc"', "9" * 400, "1e300"]


@settings(deadline=None, max_examples=300)
@given(st.lists(st.tuples(st.integers(0, len(LINES) - 1), st.sampled_from([None, *OTHER])), min_size=1, max_size=3))
def test_whatever_a_line_is_replaced_by_the_answer_is_a_description_or_one_error(changes: list[Any]) -> None:
    lines = list(LINES)
    for number, other in changes:
        key = lines[number].partition(" = ")[0]
        lines[number] = "" if other is None else f"{key} = {other}" if " = " in lines[number] else other
    refused: UsageError | None = None
    try:
        target = Target.from_toml("\n".join(lines), "mine.toml")
        require_counters(target)
    except UsageError as error:
        refused = error
    if refused is not None:
        assert refused.code == "BSC206"
        assert refused.problem.startswith(("mine.toml: ", "target 'isaac'"))
        return
    assert not_modelled(target)
    assert len(check(target)) >= 2
    assert Target.model_validate_json(target.model_dump_json()) == target


def texts(table: object) -> Iterator[str]:
    if isinstance(table, dict):
        for value in table.values():
            yield from texts(value)
    elif isinstance(table, list):
        for value in table:
            yield from texts(value)
    elif isinstance(table, str):
        yield table


def test_every_citation_key_is_explained() -> None:
    explained = set(re.findall(r"^## (\S+)$", SOURCES, flags=re.MULTILINE))
    laws = [law.source for law in hw_models.laws().values()]
    designs = [files("hw_models").joinpath(f"{name}.toml").read_text(encoding="utf-8") for name in hw_models.names()]
    everything = [*chain.from_iterable(texts(tomllib.loads(each)) for each in designs), *laws]
    cited = {key for text in everything for key in re.findall(r"\[([\w-]+)\]", text)}
    assert cited <= explained
    for name in hw_models.names():
        assert all(
            "[" in quantity.source or (quantity.kind, quantity.source[:5]) == ("assumed", "bsc: ")
            for quantity in hw_models.load(name).sources().values()
        )
    assert all("[" in source for source in laws)


def test_every_shipped_description_is_consistent_and_uses_a_shipped_law() -> None:
    assert "isaac" in hw_models.names()
    for name in hw_models.names():
        target = hw_models.load(name)
        require_consistent(target)
        assert target.name == name
        assert target.adc.law in hw_models.laws()


def test_a_description_of_the_users(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(TEXT, encoding="utf-8")
    assert hw_models.load(str(path)) == hw_models.load("isaac")


@pytest.mark.parametrize(("name", "hint"), [("isac", "did you mean 'isaac'? "), ("zzz", "")])
def test_words_for_an_unknown_name(name: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        hw_models.load(name)
    assert str(caught.value) == (
        "[BSC206] no hardware description of that name\n"
        f"  seen: '{name}'\n"
        f"  fix:  {hint}shipped: {', '.join(hw_models.names())}; for your own give a path that ends in .toml"
    )


def test_words_for_a_missing_file() -> None:
    with pytest.raises(UsageError) as caught:
        hw_models.load("no/such.toml")
    assert str(caught.value) == (
        "[BSC202] no/such.toml: cannot be read\n"
        "  seen: [Errno 2] No such file or directory: 'no/such.toml'\n"
        "  fix:  give the path of a UTF-8 text file"
    )
