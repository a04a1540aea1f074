"""Fixtures of the browser tests: the service with the shipped models as a process, and pages of Debian's chromium.

The tests are skipped where there is no chromium. CHROMIUM names another one.
"""

import os
import shutil
from collections.abc import Callable, Generator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright

from tests.support.playground import PAGE_SCRIPT
from tests.support.processes import serving

MODELS = Path(__file__).parents[2] / "models"
DEFAULTS = {f"HOURGLASS_DEFAULT_{name}": "digits" for name in ("ENCODE", "DECODE", "RECONSTRUCT")} | {
    "HOURGLASS_DEFAULT_DENOISE": "photo-fast"
}
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
TIMEOUT_MS = 60_000
OpenPage = Callable[..., Page]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all tests of this folder as browser tests, and skip them without a browser."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)
            if CHROMIUM is None:
                item.add_marker(pytest.mark.skip(reason="chromium is not installed; CHROMIUM can name its path"))


@pytest.fixture(scope="session")
def address() -> Generator[str]:
    """Yield the address of a service with the shipped models."""
    with serving(MODELS, **DEFAULTS) as (address, _):
        yield address


@pytest.fixture(scope="module")
def browser() -> Generator[Browser]:
    """Yield a browser without a window.

    It is closed after each module, because Playwright runs an event loop until then, which breaks other tests.
    """
    expect.set_options(timeout=TIMEOUT_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Browser, address: str) -> Generator[OpenPage]:
    """Yield a function that opens a section of the playground.

    Afterwards, no page may have logged an error of its own, or asked another host for anything.
    """
    failures: list[str] = []
    contexts = []

    def note_console(message: ConsoleMessage) -> None:
        if message.type == "error" and "Failed to load resource" not in message.text:  # a 4xx that the page explains
            failures.append(message.text)

    def open_section(
        section: str = "denoise", base: str = address, *, width: int = 1280, theme: str = "light", touch: bool = False
    ) -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme="dark" if theme == "dark" else "light",
            has_touch=touch,
        )
        contexts.append(context)
        context.add_init_script(PAGE_SCRIPT)
        page = context.new_page()
        page.set_default_timeout(TIMEOUT_MS)
        host = urlsplit(base).netloc

        def note_request(request: Request) -> None:
            if urlsplit(request.url).netloc not in (host, ""):  # blobs and data have none
                failures.append(f"asked {request.url}")

        page.on("request", note_request)
        page.on("console", note_console)
        page.on("pageerror", lambda error: failures.append(str(error)))
        page.goto(f"{base}/#{section}")
        return page

    yield open_section
    for context in contexts:
        context.close()
    assert not failures
