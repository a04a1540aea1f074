"""The page /docs in a real browser: "Try it out" reaches the service below a prefix, directly and through Caddy."""

import shutil
import socket
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from service.config import Settings
from tests.conftest import listening
from tests.support.compatibility import accepts

pytestmark = pytest.mark.browser
DEFAULTS = {f"default_{operation}": "digits" for operation in ("encode", "decode", "reconstruct", "denoise")}


@pytest.fixture(scope="module")
def browser() -> Generator[Any]:
    playwright: Any = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("chromium is not installed")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield opened
        opened.close()


@contextmanager
def serving(models: Path, **settings: Any) -> Generator[str]:
    configuration = {"models_dir": models, "model_watch": "off", **DEFAULTS, **settings}
    with listening(Settings.model_validate(configuration)) as address:
        yield address


@contextmanager
def caddy(folder: Path, address: str) -> Generator[str]:
    """Run Caddy, which removes the prefix /tools/images, and yield its address with the prefix."""
    program = shutil.which("caddy")
    if program is None:
        pytest.skip("caddy is not installed")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    (folder / "Caddyfile").write_text(
        "{\n admin off\n auto_https off\n}\n"
        f"http://127.0.0.1:{port} {{\n handle_path /tools/images/* {{\n"
        f"  reverse_proxy {address.removeprefix('http://')} {{\n"
        "   header_up X-Forwarded-Prefix /tools/images\n  }\n }\n}\n"
    )
    process = subprocess.Popen(
        [program, "run", "--config", folder / "Caddyfile", "--adapter", "caddyfile"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)},
    )
    try:
        for _ in range(1000):
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert process.poll() is None
        yield f"http://127.0.0.1:{port}/tools/images"
    finally:
        process.terminate()
        process.wait(timeout=20)


def try_out(browser: Any, address: str) -> None:
    """Execute GET /models and POST /decode on the page, and check the statuses and the addresses that were asked."""
    page = browser.new_page()
    problems: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{address}/docs")
    for path in ("/models", "/decode"):
        block = page.locator(f'.opblock:has([data-path="{path}"])')
        block.locator(".opblock-summary-control").click()
        block.locator("button.execute").click()
        status = block.locator(".live-responses-table tbody .response-col_status").first
        status.wait_for()
        assert status.inner_text().split()[0] == "200"
        assert f"{address}{path}" in asked
    assert all(url.startswith((address, "data:", "blob:")) for url in asked)
    assert not problems
    page.close()


@accepts(15, '"Try it out" of `/docs` at the root and below a prefix', oracle="Chromium", cases="{root_path}")
@pytest.mark.parametrize("root_path", ["", "/api", "/a/b-c"])
def test_try_it_out_works_below_a_prefix(browser: Any, models: Path, root_path: str) -> None:
    with serving(models, root_path=root_path) as address:
        try_out(browser, f"{address}{root_path}")


@accepts(15, '"Try it out" of `/docs` behind Caddy, which removes the prefix', oracle="Chromium and Caddy")
def test_try_it_out_works_behind_caddy(browser: Any, models: Path, tmp_path: Path) -> None:
    with serving(models) as address, caddy(tmp_path, address) as public:
        try_out(browser, public)
