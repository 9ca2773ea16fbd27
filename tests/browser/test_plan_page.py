"""The report of a plan as a user meets it: in a browser, with a mouse, with a keyboard, on a phone."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

from bsc.cli import main
from bsc.plan.cells import CrossbarIndex, crossbar_cells
from bsc.plan.folder import read_plan
from bsc.units import format_ratio, format_si
from tests.benchmarks.models import resnet50
from tests.browser.pages import DESKTOP, PHONE, POINTED, Watched, browser, needs_chromium, opened

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "mnist" / "model.onnx"

pytestmark = needs_chromium


# Of each tile of the first chip but the last, how far the next one lies to the side and below, in tiles.
TILE_STEPS = """() => {
    const floor = document.getElementById("floor"), pointed = document.getElementById("pointed");
    const box = floor.getBoundingClientRect(), first = new Map();
    for (let y = 1; y < box.height; y += 2) for (let x = 1; x < box.width; x += 2) {
        pointed.textContent = "";
        floor.dispatchEvent(new PointerEvent("pointermove", { clientX: box.left + x, clientY: box.top + y }));
        const tile = pointed.textContent.match(/chip 0, tile (\\d+)/);
        if (tile && !first.has(Number(tile[1]))) first.set(Number(tile[1]), [x, y]);
    }
    const xs = [...new Set([...first.values()].map(([x]) => x))].sort((a, b) => a - b);
    const ys = [...new Set([...first.values()].map(([, y]) => y))].sort((a, b) => a - b);
    const places = [...first.entries()].sort((a, b) => a[0] - b[0]).map(([, [x, y]]) => [xs.indexOf(x), ys.indexOf(y)]);
    return places.slice(1).map(([x, y], tile) => [x - places[tile][0], y - places[tile][1]]);
}"""


def compiled(model: Path, folder: Path, *options: str) -> Path:
    """The plan folder, with its page."""
    plan = folder / "model.bsc"
    result = CliRunner().invoke(main, ["compile", str(model), "-o", str(plan), "--html", *options])
    assert result.exit_code == 0, result.output
    return plan


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled(EXAMPLE, tmp_path_factory.mktemp("example"))


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("large")
    onnx.save(resnet50(), folder / "resnet50.onnx")
    return compiled(folder / "resnet50.onnx", folder)


@pytest.fixture
def page(chromium: Any, example: Path) -> Iterator[Watched]:
    with opened(chromium, example / "report.html") as watched:
        watched.page.wait_for_selector("html[data-ready]")
        yield watched
        watched.assert_quiet()


def figures(plan: Path) -> Any:
    return json.loads((plan / "report.json").read_text(encoding="utf-8"))


def column(page: Any, table: str, number: int) -> list[str]:
    """What the visible rows of a table sort by."""
    script = """([table, number]) => [...document.querySelector(table).tBodies[0].rows].filter((row) => !row.hidden)
        .map((row) => row.cells[number].dataset.value ?? row.cells[number].textContent.trim())"""
    return list(page.evaluate(script, [table, number]))


def assert_numbers_of(page: Any, report: Any) -> None:
    cost, layers = report["cost"], [layer["name"] for layer in report["plan"]["layers"]]
    law = cost["adc_laws"][cost["adc_law"]]
    shown, on = [tile.inner_text() for tile in page.query_selector_all(".tile b")], report["chip"]["plan"]
    assert shown == [
        format_si(on["energy"]["total_j"], "J"),
        format_si(on["energy"]["layers_j"], "J"),
        format_si(on["latency_s"], "s"),
        format_si(on["inferences_per_s"], "/s"),
        format_si(on["power_w"], "W"),
        format_si(on["ops_per_j"], "OPS/W"),
        format_si(on["area_m2"], "m²"),
        format_ratio(law["adc_ratio"]),
        f"{cost['plan']['crossbars']:,}",
        f"{on['crossbars']:,}",
    ]
    for number, key in ((1, "copies"), (2, "crossbars"), (3, "first_slot"), (6, "busy_s"), (7, "held_bits")):
        shown = [float(value) for value in column(page, "#on-chip", number)]
        assert shown == [report["chip"]["layers"][name][key] for name in layers]
    assert column(page, "#mapping", 0) == layers
    assert column(page, "#mapping", 5) == [str(report["layers"][name]["crossbars"]) for name in layers]
    assert list(map(float, column(page, "#mapping", 6))) == [report["layers"][name]["utilisation"] for name in layers]
    for number, key in ((2, "energy_j"), (4, "latency_s"), (5, "area_m2")):
        assert list(map(float, column(page, "#costs", number))) == [
            cost["plan"]["layers"][name][key] for name in layers
        ]
    conversions = [sum(cost["conversions"][name].values()) for name in layers]
    assert list(map(int, column(page, "#costs", 1))) == conversions


def test_numbers_are_those_of_the_json(page: Watched, example: Path) -> None:
    assert_numbers_of(page.page, figures(example))


def test_tables_sort_both_ways(page: Watched, example: Path) -> None:
    energies = figures(example)["cost"]["plan"]["layers"]
    by_energy = sorted(energies, key=lambda name: energies[name]["energy_j"])
    head = page.page.locator("#costs th", has_text="energy")
    head.locator("button").click()
    assert column(page.page, "#costs", 0) == by_energy[::-1]
    assert head.get_attribute("aria-sort") == "descending"
    head.locator("button").focus()
    page.page.keyboard.press("Enter")
    assert column(page.page, "#costs", 0) == by_energy
    assert head.get_attribute("aria-sort") == "ascending"


def test_filter_leaves_rows_that_have_all_words(page: Watched) -> None:
    box = page.page.locator("input[type=search]")
    box.fill("FC2")
    assert column(page.page, "#mapping", 0) == column(page.page, "#costs", 0) == ["fc2"]
    assert page.page.locator("#found").inner_text() == "1 of 2"
    box.fill("gemm fc")
    assert column(page.page, "#mapping", 0) == ["fc1", "fc2"]
    box.fill("conv")
    assert column(page.page, "#mapping", 0) == []


def test_a_click_opens_a_crossbar_with_the_cells_of_the_plan(page: Watched, example: Path) -> None:
    page.page.locator("#floor").click(position={"x": 30, "y": 60})
    dialog = page.page.locator("dialog")
    assert dialog.locator("h3").inner_text() == "fc1, crossbar 0,0,0,+"
    plan = read_plan(example)
    layer = plan.mapping.layer("fc1")
    arrays = plan.mapping.arrays(layer)
    cells = crossbar_cells(layer, arrays, CrossbarIndex.parse("0,0,0,+", layer, arrays))
    assert f"{np.count_nonzero(cells)} of {cells.size}" in dialog.inner_text()
    levels = dialog.locator("#cell-levels")
    levels.wait_for()
    box = levels.bounding_box()
    for row, bitline in ((0, 0), (17, 42), (127, 99)):
        x = box["x"] + (bitline + 0.5) * box["width"] / cells.shape[1]
        y = box["y"] + (row + 0.5) * box["height"] / cells.shape[0]
        levels.dispatch_event("pointermove", {"clientX": x, "clientY": y})
        assert dialog.locator("#cell").inner_text() == (
            f"wordline {row}, bitline {bitline}: level {cells[row, bitline]}; "
            f"the column is read at {arrays.adc_bits[0, 0, 0, bitline]} bit, step {arrays.adc_lsb[0, 0, 0, bitline]}"
        )
    page.page.keyboard.press("Escape")
    assert not dialog.is_visible()


def test_the_keyboard_reaches_every_crossbar(page: Watched) -> None:
    floor = page.page.locator("#floor")
    floor.focus()
    assert page.page.locator("#pointed").inner_text().startswith("fc1 0,0,0,+: 8 bit at most")
    assert page.page.locator("#pointed").inner_text().endswith("; chip 0, tile 0, IMA 0, crossbar 0")
    page.page.keyboard.press("ArrowRight")
    assert page.page.locator("#pointed").inner_text().startswith("fc1 0,0,0,-:")
    page.page.keyboard.press("ArrowDown")
    page.page.keyboard.press("ArrowLeft")
    page.page.keyboard.press("Enter")
    assert page.page.locator("dialog h3").inner_text() == "fc1, crossbar 0,0,2,+"
    page.page.keyboard.press("Escape")
    page.page.locator("#layer").select_option(label="fc2")
    assert page.page.locator("#pointed").inner_text().startswith("fc2 0,0,0,+:")


def test_colours_follow_what_is_chosen_and_the_theme(page: Watched) -> None:
    def picture() -> str:
        return str(page.page.evaluate("() => document.getElementById('floor').toDataURL()"))

    layers = picture()
    assert page.page.locator("#layer-colours").inner_text().split() == ["fc1", "fc2", "empty"]
    assert not page.page.locator("#scale").is_visible()
    page.page.locator("#colour").select_option("bits")
    bits = picture()
    assert bits != layers
    assert not page.page.locator("#layer-colours").is_visible()
    page.page.locator("#colour").select_option("density")
    assert page.page.locator("#high").inner_text() == "100 %"
    assert picture() != bits
    background = "() => getComputedStyle(document.body).backgroundColor"
    light = page.page.evaluate(background)
    page.page.locator("#theme").click()
    assert page.page.evaluate(background) != light


def test_names_of_a_hostile_plan_run_nothing(chromium: Any, tmp_path: Path) -> None:
    model = onnx.load(EXAMPLE)
    for node in model.graph.node:
        node.name = f"</script><img src=http://localhost/{node.name} onerror=document.title='run'>"
    onnx.save(model, tmp_path / "hostile.onnx")
    plan = compiled(tmp_path / "hostile.onnx", tmp_path)
    with opened(chromium, plan / "report.html") as watched:
        watched.page.wait_for_selector("html[data-ready]")
        assert "run" not in watched.page.title()
        assert watched.page.query_selector("img") is None
        watched.assert_quiet()


def test_long_names_do_not_widen_the_page(chromium: Any, tmp_path: Path) -> None:
    model = onnx.load(EXAMPLE)
    for node in model.graph.node:
        node.name = node.name + "/long" * 80
    onnx.save(model, tmp_path / "long.onnx")
    plan = compiled(tmp_path / "long.onnx", tmp_path)
    with opened(chromium, plan / "report.html", width=PHONE) as watched:
        watched.page.wait_for_selector("html[data-ready]")
        assert watched.page.evaluate("() => document.documentElement.scrollWidth") == PHONE


def with_floorplan(example: Path, file: Path, change: Callable[[Any], None]) -> Path:
    """The example's page with other data of its floorplan."""

    def changed(match: re.Match[str]) -> str:
        data = json.loads(match[1])
        change(data)
        return match[0].replace(match[1], json.dumps(data))

    text = (example / "report.html").read_text(encoding="utf-8")
    file.write_text(re.sub(r'id="floorplan-data">(.*?)</script>', changed, text, count=1), encoding="utf-8")
    return file


@pytest.mark.parametrize("slots", [80_000, 10**6, 10**12], ids=["five chips", "a million", "far too many"])
@pytest.mark.parametrize("width", [PHONE, DESKTOP])
def test_any_number_of_crossbars_is_drawn(chromium: Any, example: Path, tmp_path: Path, slots: int, width: int) -> None:
    """Copies of the first layer, and one of the second behind them."""
    per_copy = figures(example)["chip"]["layers"]["fc1"]["crossbars_per_copy"]
    last = slots // per_copy * per_copy

    def change(data: Any) -> None:
        data["layers"][0]["copies"] = slots // per_copy
        data["layers"][1]["first_slot"] = last

    with opened(chromium, with_floorplan(example, tmp_path / "huge.html", change), width=width) as watched:
        page = watched.page
        page.wait_for_selector("html[data-ready]")
        assert page.evaluate("() => document.documentElement.scrollWidth") == width
        page.locator("#colour").select_option("bits")
        assert page.locator("#high").inner_text() == "8 bit"
        assert not page.locator("#trouble").is_visible()
        assert page.locator("#undrawn").is_visible() == (slots > 10**6)
        page.locator("#layer").select_option(label="fc2")
        pointed = page.locator("#pointed").inner_text()
        assert f"chip {last // 16128}, tile {last // 96 % 168}" in pointed
        assert "fc2" in pointed
        watched.assert_quiet()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [PHONE, DESKTOP])
def test_pages_are_no_wider_than_screens(chromium: Any, example: Path, large: Path, width: int, scheme: str) -> None:
    for plan in (example, large):
        with opened(chromium, plan / "report.html", width=width, scheme=scheme) as watched:
            watched.page.wait_for_selector("html[data-ready]")
            assert watched.page.evaluate("() => document.documentElement.scrollWidth") == width
            watched.assert_quiet()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast(chromium: Any, example: Path, scheme: str) -> None:
    """WCAG AA: 4.5 to 1 for the colours of text on both backgrounds."""
    script = """() => ["--fg", "--muted", "--accent", "--bg", "--raised"].map((name) => {
        const probe = document.body.appendChild(document.createElement("i"));
        probe.style.color = `var(${name})`;
        return getComputedStyle(probe).color.match(/[0-9.]+/g).slice(0, 3).map(Number);
    })"""
    with opened(chromium, example / "report.html", scheme=scheme) as watched:
        *texts, page, raised = (luminance(colour) for colour in watched.page.evaluate(script))
    for text in texts:
        for background in (page, raised):
            low, high = sorted((text, background))
            assert (high + 0.05) / (low + 0.05) >= 4.5


def luminance(colour: list[float]) -> float:
    """Relative luminance of sRGB, as WCAG 2 defines it."""
    shares = [channel / 255 for channel in colour]
    linear = [share / 12.92 if share <= 0.03928 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def click_a_crossbar(page: Any) -> None:
    """The first one met going down from the top left of the floorplan; there are gaps and labels between them."""
    floor = page.locator("#floor")
    floor.scroll_into_view_if_needed()
    box = floor.bounding_box()
    for down in range(20, 120, 3):
        page.mouse.move(box["x"] + 60, box["y"] + down)
        if ", crossbar " in page.locator("#pointed").inner_text():
            page.mouse.click(box["x"] + 60, box["y"] + down)
            return


def test_a_page_of_a_resnet_50(chromium: Any, large: Path) -> None:
    file = large / "report.html"
    assert file.stat().st_size <= 1_000_000
    report = figures(large)
    with opened(chromium, file) as watched:
        page = watched.page
        page.wait_for_selector("html[data-ready]")
        assert_numbers_of(page, report)
        page.locator("#mapping th", has_text="crossbars").locator("button").click()
        most = [int(count) for count in column(page, "#mapping", 5)]
        assert most == sorted(most, reverse=True)
        page.locator("input[type=search]").fill("gemm")
        assert len(column(page, "#mapping", 0)) == 1
        click_a_crossbar(page)
        page.locator("dialog").wait_for()
        page.keyboard.press("Escape")
        last = report["plan"]["layers"][-1]["name"]
        page.locator("#layer").select_option(label=last)
        page.locator("#floor").focus()
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Enter")
        assert page.locator("dialog h3").inner_text() == f"{last}, crossbar 0,0,0,-"
        watched.assert_quiet()


def test_copies_are_drawn_and_found(chromium: Any, tmp_path: Path) -> None:
    """Every place of the tiles in use is found once: crossbars of all copies by name, and those that are empty."""
    plan = compiled(EXAMPLE, tmp_path, "--copies", "throughput", "--tiles", "3")
    report = figures(plan)
    with opened(chromium, plan / "report.html") as watched:
        watched.page.wait_for_selector("html[data-ready]")
        found = watched.page.evaluate(POINTED)
        assert len(found) == report["chip"]["plan"]["tiles"] * 96
        for name, layer in report["chip"]["layers"].items():
            assert layer["copies"] > 1
            mine = [each for each in found if each.startswith(f"{name} ")]
            assert len(mine) == layer["crossbars"]
            assert (
                sum(f", copy {layer['copies']} of {layer['copies']}:" in each for each in mine)
                == layer["crossbars_per_copy"]
            )
        watched.page.locator("#layer").select_option(label="fc2")
        assert watched.page.locator("#pointed").inner_text().startswith("fc2 0,0,0,+, copy 1 of ")
        watched.assert_quiet()


def test_tiles_follow_each_other_in_rows_that_turn(chromium: Any, large: Path) -> None:
    """From the first tile one can go on to the next ones by steps to the side and, at the end of a row, down."""
    with opened(chromium, large / "report.html") as watched:
        watched.page.wait_for_selector("html[data-ready]")
        steps = watched.page.evaluate(TILE_STEPS)
        assert len(steps) > 100
        assert all(abs(x) + abs(y) == 1 for x, y in steps)


def test_a_timeline_has_a_bar_for_every_layer(page: Watched, example: Path) -> None:
    report = figures(example)["chip"]
    rows = page.page.locator(".timeline tbody tr")
    assert rows.locator("th").all_inner_texts() == ["fc1", "fc2"]
    slowest = page.page.locator(".timeline tr.slowest th").all_inner_texts()
    assert slowest == [report["plan"]["bottleneck"]]
    box = page.page.locator(".timeline td.span svg").first.bounding_box()
    span = max(layer["end_s"] for layer in report["layers"].values())
    for bar, layer in zip(rows.locator("rect.from").all(), report["layers"].values(), strict=True):
        x, wide = bar.bounding_box()["x"], bar.bounding_box()["width"]
        assert (x - box["x"]) / box["width"] == pytest.approx(layer["start_s"] / span, abs=0.01)
        assert wide / box["width"] == pytest.approx((layer["end_s"] - layer["start_s"]) / span, abs=0.01)


def test_print_shows_everything_on_white(chromium: Any, example: Path) -> None:
    with opened(chromium, example / "report.html", scheme="dark") as watched:
        watched.page.emulate_media(media="print", color_scheme="dark")
        style = "() => getComputedStyle(document.querySelector('{}')).{}"
        assert watched.page.evaluate(style.format("body", "backgroundColor")) == "rgb(255, 255, 255)"
        assert watched.page.evaluate(style.format("nav", "display")) == "none"
