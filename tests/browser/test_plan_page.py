"""The report of a plan as a user meets it: in a browser, with a mouse, with a keyboard, on a phone."""

import base64
import json
import re
import zlib
from collections.abc import Iterator
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
from tests.browser.pages import DESKTOP, PHONE, Watched, browser, needs_chromium, opened

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "mnist" / "model.onnx"

pytestmark = needs_chromium


def compiled(model: Path, folder: Path) -> Path:
    """The plan folder, with its page."""
    plan = folder / "model.bsc"
    result = CliRunner().invoke(main, ["compile", str(model), "-o", str(plan), "--html"])
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
    shown = [tile.inner_text() for tile in page.query_selector_all(".tile b")]
    assert shown == [
        format_ratio(law["adc_ratio"]),
        format_ratio(law["total_ratio"]),
        format_si(cost["plan"]["energy_j"], "J"),
        format_si(cost["plan"]["latency_s"], "s"),
        format_si(cost["plan"]["area_m2"], "m²"),
        f"{cost['plan']['crossbars']:,}",
    ]
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
    page.page.locator("#floor").click(position={"x": 30, "y": 30})
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

    bits = picture()
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


def test_a_quarter_of_a_million_crossbars_are_drawn(chromium: Any, example: Path, tmp_path: Path) -> None:
    """As many as a model of several billion weights has: the example's page with its numbers repeated."""
    text, times = (example / "report.html").read_text(encoding="utf-8"), 4100

    def repeated(match: re.Match[str]) -> str:
        data = json.loads(match[1])
        data["layers"] = data["layers"] * times
        data["cells"] = {}
        for each in data["arrays"].values():
            raw = zlib.decompress(base64.b64decode(each["data"]))
            each["data"] = base64.b64encode(zlib.compress(raw * times)).decode("ascii")
        return match[0].replace(match[1], json.dumps(data))

    text = re.sub(r'id="floorplan-data">(.*?)</script>', repeated, text, count=1)
    (tmp_path / "huge.html").write_text(text, encoding="utf-8")
    with opened(chromium, tmp_path / "huge.html") as watched:
        watched.page.wait_for_selector("html[data-ready]")
        assert watched.page.locator("#high").inner_text() == "8 bit"
        assert not watched.page.locator("#trouble").is_visible()
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
        page.locator("#floor").click(position={"x": 60, "y": 60})
        assert page.locator("dialog").is_visible()
        page.keyboard.press("Escape")
        last = report["plan"]["layers"][-1]["name"]
        page.locator("#layer").select_option(label=last)
        page.locator("#floor").focus()
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Enter")
        assert page.locator("dialog h3").inner_text() == f"{last}, crossbar 0,0,0,-"
        watched.assert_quiet()


def test_print_shows_everything_on_white(chromium: Any, example: Path) -> None:
    with opened(chromium, example / "report.html", scheme="dark") as watched:
        watched.page.emulate_media(media="print", color_scheme="dark")
        style = "() => getComputedStyle(document.querySelector('{}')).{}"
        assert watched.page.evaluate(style.format("body", "backgroundColor")) == "rgb(255, 255, 255)"
        assert watched.page.evaluate(style.format("nav", "display")) == "none"
