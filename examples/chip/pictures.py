"""The pictures of this folder: ResNet-18's timeline and floorplan, from the page of its report in Chromium.

python -m examples.chip.pictures     # writes timeline.png and floorplan.png beside this file
"""

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx

from examples.chip.shapes import NETWORKS

HERE = Path(__file__).parent
NETWORK, WIDTH = "ResNet-18", 1120


def main(chromium: str = "/usr/bin/chromium") -> None:
    from playwright.sync_api import sync_playwright

    with TemporaryDirectory() as folder, sync_playwright() as playwright:
        page_file = compiled(Path(folder))
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": WIDTH, "height": 900}, color_scheme="light")
        page.goto(page_file.as_uri())
        page.wait_for_selector("html[data-ready]")
        page.locator(".timeline").screenshot(path=HERE / "timeline.png")
        page.locator(".floor").screenshot(path=HERE / "floorplan.png")
        browser.close()


def compiled(folder: Path) -> Path:
    """The page of the network with the copies that make the most inferences a second on one chip."""
    onnx.save(NETWORKS[NETWORK](), folder / "model.onnx")
    command: list[str | Path] = [sys.executable, "-m", "bsc", "compile", folder / "model.onnx", "--no-import-check"]
    command += ["--copies", "throughput", "--html", "-o", folder / "model.bsc"]
    subprocess.run(command, check=True, capture_output=True)
    return folder / "model.bsc" / "report.html"


if __name__ == "__main__":
    main(*sys.argv[1:])
