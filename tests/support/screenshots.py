"""Takes the screenshots of the playground for the README and these pages.

`python -m tests.support.screenshots` serves the shipped models, opens the page in chromium and writes three WebP files.
It needs playwright and chromium; the variable CHROMIUM can name another browser.
"""

import os
import shutil
from io import BytesIO

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from docs.api_pages import DOCS, ROOT
from service.config import Settings
from tests.conftest import listening

SIZE = (1280, 900)
QUALITY = 85
SHOTS = {
    "denoise": ("light", "#download[href]"),
    "latent": ("dark", "#decoded[data-point]"),
    "reconstruct": ("light", "#units button"),
}
"""The theme of a section's screenshot, and what must be on the page first."""


def take(browser: Browser, address: str, section: str) -> bytes:
    """Return the screenshot of a section as PNG."""
    theme, settled = SHOTS[section]
    context = browser.new_context(
        viewport={"width": SIZE[0], "height": SIZE[1]}, color_scheme="dark" if theme == "dark" else "light"
    )
    page = context.new_page()
    page.goto(f"{address}/#{section}")
    page.wait_for_selector(settled, timeout=120_000)
    settle(page, section)
    data = page.screenshot()
    context.close()
    return data


def settle(page: Page, section: str) -> None:
    """Put a section into the state that is shown."""
    if section == "latent":
        box = page.locator("#plane").bounding_box()
        if box:
            page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + box["height"] * 0.73)
    page.wait_for_timeout(2000)


def main() -> None:
    """Write docs/playground-SECTION.webp for each section of SHOTS."""
    defaults = {f"default_{name}": "digits" for name in ("encode", "decode", "reconstruct")}
    settings = Settings.model_validate(
        {"models_dir": ROOT / "models", "model_watch": "off", "default_denoise": "photo", **defaults}
    )
    path = os.environ.get("CHROMIUM") or shutil.which("chromium")
    with listening(settings) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        for section in SHOTS:
            with Image.open(BytesIO(take(browser, address, section))) as shot:
                shot.convert("RGB").save(DOCS / f"playground-{section}.webp", quality=QUALITY, method=6)
        browser.close()


if __name__ == "__main__":
    main()
