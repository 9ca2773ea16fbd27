"""A headless Chromium that notes what pages complain about and ask the network for."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium; on Debian: apt-get install chromium")

PHONE, DESKTOP = 390, 1280
QUIET = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-sync")

# What is said at each point of the canvas, from the top left in steps of two pixels, once each.
POINTED = """() => {
    const floor = document.getElementById("floor"), pointed = document.getElementById("pointed");
    const box = floor.getBoundingClientRect(), found = new Set();
    for (let y = 1; y < box.height; y += 2) for (let x = 1; x < box.width; x += 2) {
        pointed.textContent = "";
        floor.dispatchEvent(new PointerEvent("pointermove", { clientX: box.left + x, clientY: box.top + y }));
        if (pointed.textContent) found.add(pointed.textContent);
    }
    return [...found];
}"""


@dataclass
class Watched:
    """A page, and what must stay empty.

    Attributes:
        page: Playwright's page.
        complaints: console messages and errors of scripts.
        requests: addresses asked for, the file itself left out.
    """

    page: Any
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def assert_quiet(self) -> None:
        """No console message, no error, no request."""
        assert (self.complaints, self.requests) == ([], [])


@contextmanager
def browser() -> Iterator[Any]:
    """Chromium for some tests; it takes a second to start."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        try:
            yield started
        finally:
            started.close()


@contextmanager
def opened(chromium: Any, file: Path, *, width: int = DESKTOP, scheme: str = "light") -> Iterator[Watched]:
    """A page of a file."""
    page = chromium.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    watched = Watched(page)
    page.on("console", lambda message: watched.complaints.append(message.text))
    page.on("pageerror", lambda error: watched.complaints.append(str(error)))
    address = file.resolve().as_uri()
    page.on(
        "request", lambda request: None if request.url in (address, "data:,") else watched.requests.append(request.url)
    )
    try:
        page.goto(address)
        yield watched
    finally:
        page.close()
