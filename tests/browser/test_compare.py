"""The comparison: the divider shows either picture, and zoom and pan keep both in step."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page

from tests.browser.conftest import OpenPage

TRANSFORMS = "() => [...document.querySelectorAll('.layer img')].map((image) => image.style.transform)"


@pytest.fixture
def page(open_page: OpenPage) -> Page:
    """Return a page with a black picture as sent and a white one as denoised, 320 by 180."""
    page = open_page()
    page.wait_for_selector("#download[href]")
    page.evaluate(
        """async () => {
          const { Compare } = await import("./static/playground/compare.js");
          const box = document.querySelector("#compare");
          const fresh = box.cloneNode(true);
          box.replaceWith(fresh);
          const url = (color) => {
            const canvas = Object.assign(document.createElement("canvas"), { width: 320, height: 180 });
            const context = canvas.getContext("2d");
            context.fillStyle = color;
            context.fillRect(0, 0, 320, 180);
            return canvas.toDataURL();
          };
          window.compare = new Compare(fresh, (scale) => (window.scale = scale));
          await window.compare.show(url("#000"), url("#fff"));
        }"""
    )
    return page


def row(page: Page) -> np.ndarray:
    """Return the gray values of a row in the lower part of the comparison."""
    with Image.open(BytesIO(page.locator("#compare").screenshot())) as picture:
        pixels = np.asarray(picture.convert("L"))
    return pixels[int(len(pixels) * 0.8)]


def share_of_white(page: Page) -> float:
    return float((row(page) > 200).mean())


@pytest.mark.parametrize("share", [0.25, 0.8])
def test_divider_follows_the_pointer(page: Page, share: float) -> None:
    box = page.locator("#compare").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * share, box["y"] + 60)
    page.mouse.up()
    assert share_of_white(page) == pytest.approx(1 - share, abs=0.02)


def test_divider_follows_the_keyboard(page: Page) -> None:
    page.focus("#compare .divider-range")
    for _ in range(20):
        page.keyboard.press("ArrowRight")
    assert share_of_white(page) == pytest.approx(0.3, abs=0.02)


def test_zoom_and_pan_keep_both_pictures_in_step(page: Page) -> None:
    box = page.locator("#compare").bounding_box()
    assert box is not None
    fit = page.evaluate(TRANSFORMS)
    assert fit[0] == fit[1]
    page.mouse.dblclick(box["x"] + box["width"] * 0.75, box["y"] + box["height"] * 0.5)
    zoomed = page.evaluate(TRANSFORMS)
    assert zoomed[0] == zoomed[1] != fit[0]
    page.mouse.move(box["x"] + 40, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + 90, box["y"] + 75)
    page.mouse.up()
    panned = page.evaluate(TRANSFORMS)
    assert panned[0] == panned[1] != zoomed[0]
    moved = page.evaluate("() => [window.compare.view.x, window.compare.view.y]")
    before = [float(part) for part in zoomed[0].removeprefix("translate(").split(")")[0].replace("px", "").split(",")]
    assert np.subtract(moved, before) == pytest.approx([50, 35], abs=1)


def test_point_under_the_wheel_stays_in_place(page: Page) -> None:
    box = page.locator("#compare").bounding_box()
    assert box is not None
    at = [box["width"] * 0.6, box["height"] * 0.4]
    where = """([x, y]) => {
      const { view } = window.compare;
      return [(x - view.x) / view.scale, (y - view.y) / view.scale];
    }"""
    before = page.evaluate(where, at)
    page.mouse.move(box["x"] + at[0], box["y"] + at[1])
    page.keyboard.down("Control")
    page.mouse.wheel(0, -100)
    page.keyboard.up("Control")
    page.wait_for_function("() => window.compare.zoomed")
    assert page.evaluate(where, at) == pytest.approx(before, abs=0.5)
    page.evaluate("() => window.compare.fit()")
    assert page.evaluate("() => window.compare.zoomed") is False
