"""The floorplan of hardware that nests other levels than ISAAC's: every crossbar is where a pointer finds it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bsc.cli import main
from bsc.testing import mlp_model, save
from tests.browser.pages import POINTED, browser, needs_chromium, opened
from tests.hw_models.test_other_hierarchies import PUMA, SMALLEST

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as started:
        yield started


def with_count(hardware: Path, count: int, folder: Path) -> Path:
    """The smallest hardware with as many arrays."""
    changed = folder / "mine.toml"
    text = hardware.read_text(encoding="utf-8")
    assert "count = 64" in text
    changed.write_text(text.replace("count = 64", f"count = {count}"), encoding="utf-8")
    return changed


@pytest.mark.parametrize(
    ("hardware", "count"),
    [(PUMA, None), (SMALLEST, None), (SMALLEST, 53), (SMALLEST, 7)],
    ids=["puma", "smallest", "prime", "blocks of a prime"],
)
def test_every_crossbar_is_found(chromium: Any, hardware: Path, count: int | None, tmp_path: Path) -> None:
    """5 row tiles of 4 slices and 2 signs, and as many slices and signs of 30 x 10 weights: 48 crossbars."""
    hardware = hardware if count is None else with_count(hardware, count, tmp_path)
    plan = tmp_path / "model.bsc"
    command = ["compile", str(save(mlp_model(150, 30, 10), tmp_path / "mlp.onnx")), "--granularity", "tile", "--html"]
    result = CliRunner().invoke(main, [*command, "--xbar", "32x32", "--hw", str(hardware), "-o", str(plan)])
    assert result.exit_code == 0, result.output
    with opened(chromium, plan / "report.html") as watched:
        watched.page.wait_for_selector("html[data-ready]")
        names = [text.split(":")[0] for text in watched.page.evaluate(POINTED) if not text.startswith("empty: ")]
        assert len(names) == len(set(names)) == 48
        watched.assert_quiet()
