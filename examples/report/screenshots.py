"""The pictures of README.md: the report of the MNIST example in Chromium.

python examples/report/screenshots.py     # writes summary.png and floorplan.png beside this file
"""

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
WIDTH, SCALE = 1040, 1.5


def main(chromium: str = "/usr/bin/chromium") -> None:
    from playwright.sync_api import sync_playwright

    with TemporaryDirectory() as folder, sync_playwright() as playwright:
        page_file = compiled(Path(folder))
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": WIDTH, "height": 900}, device_scale_factor=SCALE)
        page.goto(page_file.as_uri())
        page.wait_for_selector("html[data-ready]")
        summary(page)
        floorplan(page)
        browser.close()


def compiled(folder: Path) -> Path:
    """The page of README's first command."""
    example = ROOT / "examples" / "mnist"
    command: list[str | Path] = [sys.executable, "-m", "bsc", "compile", example / "model.onnx", "--xbar", "128x128"]
    command += ["--calib", example / "test_images.npz", "--html", "-o", folder / "model.bsc"]
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
    return folder / "model.bsc" / "report.html"


def summary(page: Any) -> None:
    """From the top down to the timeline, and the resolutions."""
    bottom = page.locator("#timeline").bounding_box()
    clip = {"x": 0, "y": 0, "width": WIDTH, "height": bottom["y"] + bottom["height"] + 12}
    page.screenshot(path=HERE / "summary.png", full_page=True, clip=clip)
    page.locator("#adc").screenshot(path=HERE / "resolutions.png")


def floorplan(page: Any) -> None:
    """One crossbar opened over the floorplan."""
    page.locator("#floorplan").scroll_into_view_if_needed()
    page.locator("#floor").focus()
    page.locator("#floor").click(position={"x": 60, "y": 60})
    page.locator("#cell-levels").wait_for()
    page.mouse.move(WIDTH / 2, 500)
    page.wait_for_timeout(300)
    page.screenshot(path=HERE / "floorplan.png")


if __name__ == "__main__":
    main(*sys.argv[1:])
