"""The page of a sweep in a browser."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bsc.cli import main
from bsc.testing import mlp_model, save
from tests.browser.pages import DESKTOP, PHONE, browser, needs_chromium, opened

SPACE = """
objectives = ["energy", "area"]
[axes]
xbar = ["8x8", "16x16"]
cell-bits = [1, 2]
encoding = ["differential", "offset"]
flip = [false, true]
"""

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("designs")
    model, space = save(mlp_model(20, 9, 4), folder / "mlp.onnx"), folder / "space.toml"
    space.write_text(SPACE, encoding="utf-8")
    arguments = ["explore", model, space, "-o", folder / "r.sqlite", "--html", folder / "designs.html", "--jobs", 1]
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return folder / "designs.html"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as started:
        yield started


def values(table: Any, column: int) -> list[str]:
    script = "(table, column) => [...table.tBodies[0].rows].map((row) => row.cells[column].dataset.value)"
    return list(table.evaluate(script, column))


def test_designs_sort_and_refusals_say_why(chromium: Any, page_file: Path) -> None:
    with opened(chromium, page_file) as watched:
        page = watched.page
        page.locator("summary", has_text="All 12 designs").click()
        table = page.locator("table.sorts").nth(1)
        assert values(table, 0) == sorted(values(table, 0), key=int)
        head = table.locator("th", has_text="energy").last
        column = head.evaluate("(cell) => cell.cellIndex")
        head.locator("button").click()
        energies = list(map(float, values(table, column)))
        assert energies == sorted(energies, reverse=True)
        page.locator("summary", has_text="4 designs that cannot exist").click()
        assert page.locator("table.sorts").nth(2).inner_text().count("[BSC205]") == 4
        watched.assert_quiet()


def test_every_dot_says_what_it_chose(chromium: Any, page_file: Path) -> None:
    with opened(chromium, page_file) as watched:
        titles = watched.page.locator(".plot circle title").all_text_contents()
        assert len(titles) == 12
        assert all(title.startswith("design ") and "xbar" in title for title in titles)
        on_front = watched.page.locator(".plot .best").count()
        assert on_front == watched.page.locator("table.sorts").first.locator("tbody tr").count() > 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [PHONE, DESKTOP])
def test_the_page_is_no_wider_than_the_screen(chromium: Any, page_file: Path, width: int, scheme: str) -> None:
    with opened(chromium, page_file, width=width, scheme=scheme) as watched:
        for each in watched.page.locator("summary").all():
            each.click()
        assert watched.page.evaluate("() => document.documentElement.scrollWidth") == width
        watched.assert_quiet()
