"""The sections with digits: every picture and number is that of the API for the same code or digit."""

import base64
import json
import os
import re
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from playwright.sync_api import Page, Request, expect

from service.codec.npy import read_npy
from service.http.pages import PLAYGROUND_DIR
from tests.browser.conftest import MODELS, OpenPage
from tests.support.playground import Array, call, call_json, canvas_digit, canvas_pixels
from tests.support.processes import serving

FRAMES = 30  # pictures a second that the plane shows at least
BUSY = 2.0  # load for each processor above which a speed says nothing


def split_strip(strip: Array) -> Array:
    """Return the digits of a strip: uint8 N,28,28."""
    return strip.reshape(28, -1, 28).swapaxes(0, 1)


def decoded_point(page: Page) -> Array:
    """Return the code of the digit that is shown: float32 2."""
    return np.array((page.get_attribute("#decoded", "data-point") or "").split(","), np.float32)


def plane_of(page: Page) -> Page:
    """Wait until the plane and its first line are drawn."""
    page.wait_for_selector("#decoded[data-point]")
    expect(page.locator("#latent-strip-note")).to_contain_text("even steps")
    return page


@pytest.mark.parametrize("model", ["digits-2d", "digits-vae-2d"])
def test_digit_at_the_cursor_is_that_of_the_api(open_page: OpenPage, address: str, model: str) -> None:
    page = plane_of(open_page("latent"))
    page.select_option("#plane-model", model)
    expect(page.locator("#plane-note")).to_contain_text("10,000 digits")
    box = page.locator("#plane").bounding_box()
    assert box is not None
    for x, y in ((0.3, 0.4), (0.55, 0.6)):
        shown = page.inner_text('[data-plane="point"]')
        page.mouse.move(box["x"] + box["width"] * x, box["y"] + box["height"] * y)
        expect(page.locator('[data-plane="point"]')).not_to_have_text(shown)
        point = page.inner_text('[data-plane="point"]')
        page.wait_for_function(
            """(text) => {
              const numbers = document.querySelector("#decoded").dataset.point.split(",").map(Number);
              return numbers.map((value) => value.toFixed(2)).join(", ") === text;
            }""",
            arg=point,
        )
        code = decoded_point(page)[np.newaxis]
        assert (canvas_digit(page, "#decoded") == call(address, "decode", code, model=model)[0, ..., 0]).all()


@pytest.mark.skipif(os.getloadavg()[0] > BUSY * (os.cpu_count() or 1), reason="the machine is busy with other work")
def test_digit_follows_the_cursor_30_times_a_second(open_page: OpenPage) -> None:
    page = plane_of(open_page("latent"))
    rate = page.evaluate(
        """async () => {
          const plane = document.querySelector("#plane");
          const { left, top, width, height } = plane.getBoundingClientRect();
          const shown = () => parseInt(document.querySelector('[data-plane="rate"]').textContent) || 0;
          let best = 0;
          for (let step = 0; step < 400; step++) {
            await new Promise((resolve) => setTimeout(resolve, 10));
            const angle = step / 20;
            const clientX = left + width * (0.5 + 0.3 * Math.cos(angle));
            const clientY = top + height * (0.5 + 0.3 * Math.sin(angle));
            plane.dispatchEvent(new PointerEvent("pointermove", { clientX, clientY, bubbles: true }));
            best = Math.max(best, shown());
          }
          return best;
        }"""
    )
    assert rate >= FRAMES


def test_line_becomes_a_strip_of_even_steps(open_page: OpenPage, address: str) -> None:
    page = plane_of(open_page("latent"))
    page.focus("#plane")
    ends: list[Array] = []
    for key in ("ArrowRight", "ArrowDown"):
        for _ in range(4):
            page.keyboard.press(f"Shift+{key}")
        page.keyboard.press("Enter")
        page.wait_for_timeout(300)
        ends.append(decoded_point(page))
    shares = np.linspace(0, 1, 11)[:, None]
    codes = (ends[0] * (1 - shares) + ends[1] * shares).astype(np.float32)
    expected = call(address, "decode", codes, model="digits-2d")[..., 0].astype(int)
    page.wait_for_timeout(500)
    assert np.abs(split_strip(canvas_digit(page, "#latent-strip")) - expected).max() <= 1  # rounding of the codes


def test_dragged_line_becomes_a_strip(open_page: OpenPage, address: str) -> None:
    page = plane_of(open_page("latent"))
    box = page.locator("#plane").bounding_box()
    assert box is not None
    ends: list[Array] = []
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.7 * box["height"])
    page.mouse.down()
    for x, y in ((0.3, 0.7), (0.8, 0.45)):
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=5)
        page.wait_for_timeout(500)
        ends.append(decoded_point(page))
    page.mouse.up()
    shares = np.linspace(0, 1, 11)[:, None]
    codes = (ends[0] * (1 - shares) + ends[1] * shares).astype(np.float32)
    expected = call(address, "decode", codes, model="digits-2d")[..., 0].astype(int)
    page.wait_for_timeout(500)
    assert np.abs(split_strip(canvas_digit(page, "#latent-strip")) - expected).max() <= 1


def shipped_digits(page: Page) -> tuple[Array, Array]:
    """Return the test digits of the page (uint8 N,28,28,1) and their classes."""
    digits, labels = page.evaluate(
        """async () => {
          const { loadDigits } = await import("./static/playground/digits.js");
          const { digits, labels } = await loadDigits();
          return [window.toBase64(digits), [...labels]];
        }"""
    )
    return np.frombuffer(base64.b64decode(digits), np.uint8).reshape(-1, 28, 28, 1), np.array(labels)


def test_points_lie_at_the_codes_of_the_api(open_page: OpenPage, address: str) -> None:
    """Only the ones are shown: each lies where the cursor would have its code, in the colour of its class."""
    page = plane_of(open_page("latent"))
    page.select_option("#plane-ground", "none")
    for label in range(10):
        if label != 1:
            page.click(f"#plane-classes button:nth-child({label + 1})")
    digits, labels = shipped_digits(page)
    codes = call(address, "encode", digits[labels == 1], model="digits-2d")
    box = page.locator("#plane").bounding_box()
    assert box is not None
    corners: list[Array] = []
    for share in (0.01, 0.99):
        page.mouse.move(box["x"] + share * box["width"], box["y"] + share * box["height"])
        page.wait_for_timeout(500)
        corners.append(decoded_point(page))
    shares = 0.01 + 0.98 * (codes - corners[0]) / (corners[1] - corners[0])
    pixels = canvas_pixels(page, "#plane")
    height, width = pixels.shape[:2]
    shares = shares[(shares > 0.02).all(1) & (shares < 0.98).all(1)]
    columns, rows = (shares * (width, height)).astype(int).T
    colours = pixels[rows, columns]
    covered = colours[:, 3] > 204  # by the line or the label, which are opaque; a point has an opacity of 0.8
    assert len(shares) > 20
    assert covered.mean() < 0.25
    assert (np.abs(colours[~covered].astype(int) - (242, 142, 43, 204)) <= 1).all()


def test_codes_of_another_graph_are_made_anew(open_page: OpenPage) -> None:
    """The stored codes carry the hash of the graph that made them. If the card has another one, they are not shown."""
    page = open_page("models")
    page.wait_for_selector("#cards article")
    stored = json.loads((PLAYGROUND_DIR / "codes-digits-2d.json").read_text())
    page.route("**/codes-digits-2d.json", lambda route: route.fulfill(json=stored | {"encode_sha256": "0" * 64}))
    page.goto(page.url.replace("#models", "#latent"))
    expect(plane_of(page).locator("#plane-note")).to_have_text(
        "The points are 400 test digits, which digits-2d 1 has just encoded."
    )


def test_gaps_are_hatched_and_named(open_page: OpenPage) -> None:
    page = plane_of(open_page("latent"))
    box = page.locator("#plane").bounding_box()
    assert box is not None
    with page.expect_response(re.compile("/decode")):
        page.mouse.move(box["x"] + 4, box["y"] + 4)
    expect(page.locator('[data-plane="near"]')).to_contain_text("a gap")
    page.wait_for_timeout(500)  # the decoded digit is drawn over the plane
    hatched = canvas_pixels(page, "#plane")
    page.select_option("#plane-ground", "none")
    page.wait_for_timeout(500)
    plain = canvas_pixels(page, "#plane")
    assert 0.01 < (hatched != plain).any(-1).mean() < 0.3
    assert (hatched == plain).all(-1)[plain[..., 3] > 0].mean() > 0.99  # the points do not lie in gaps


def test_decoded_digits_can_stand_behind_the_points(open_page: OpenPage) -> None:
    page = plane_of(open_page("latent"))
    assert (canvas_pixels(page, "#plane")[..., 3] == 255).mean() < 0.5
    with page.expect_response(re.compile("/decode")):
        page.select_option("#plane-ground", "digits")
    page.wait_for_timeout(2000)
    assert (canvas_pixels(page, "#plane")[..., 3] == 255).all()


def test_other_models_encode_the_digits_of_the_page(open_page: OpenPage, tmp_path: Path) -> None:
    """A copy of the model with another name has no stored codes: the page asks for those of its own digits."""
    folder = tmp_path / "plane" / "1"
    folder.mkdir(parents=True)
    for file in (MODELS / "digits-2d" / "1").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    card = (folder / "card.json").read_text().replace('"name":"digits-2d"', '"name":"plane"', 1)
    card = card.replace('"name": "digits-2d"', '"name": "plane"', 1)
    (folder / "card.json").write_text(card)
    with serving(tmp_path) as (address, _):
        page = plane_of(open_page("latent", address))
        expect(page.locator("#plane-note")).to_have_text(
            "The points are 400 test digits, which plane 1 has just encoded."
        )


def draw_stroke(page: Page, selector: str, points: list[tuple[float, float]]) -> None:
    """Draw on a pad with the mouse; the points are shares of its sides."""
    page.locator(selector).scroll_into_view_if_needed()
    box = page.locator(selector).bounding_box()
    assert box is not None
    place = [(box["x"] + box["width"] * x, box["y"] + box["height"] * y) for x, y in points]
    page.mouse.move(*place[0])
    page.mouse.down()
    for at in place[1:]:
        page.mouse.move(*at, steps=6)
    page.mouse.up()


def record_arrays(page: Page, path: str) -> list[Array]:
    """Return a list to which every array is added that the page sends to an operation from now on."""
    arrays: list[Array] = []

    def note(request: Request) -> None:
        if urlsplit(request.url).path == f"/{path}" and request.post_data_buffer:
            arrays.append(read_npy(request.post_data_buffer))

    page.on("request", note)
    return arrays


def test_drawn_digit_is_reconstructed_as_by_the_api(open_page: OpenPage, address: str) -> None:
    page = open_page("reconstruct")
    expect(page.locator('[data-rebuilt="mse"]')).not_to_have_text("–")
    page.select_option("#reconstruct-model", "digits-deep")
    page.click("#pad-clear")
    sent = record_arrays(page, "reconstruct")
    draw_stroke(page, "#pad", [(0.3, 0.2), (0.7, 0.2), (0.45, 0.85)])
    page.wait_for_timeout(1500)
    digit = sent[-1]
    assert digit.max() > 128
    rows, columns = np.nonzero(digit[0, ..., 0] > 40)
    assert max(np.ptp(rows), np.ptp(columns)) + 1 in range(18, 22)  # as MNIST fits digits into 20 by 20
    rebuilt = call(address, "reconstruct", digit, model="digits-deep")[0, ..., 0]
    assert (canvas_digit(page, "#rebuilt") == rebuilt).all()
    mse = np.mean((digit[0, ..., 0] / 255 - rebuilt / 255) ** 2)
    assert float(page.inner_text('[data-rebuilt="mse"]')) == pytest.approx(mse, rel=0.01)
    shown = re.fullmatch(
        r"more unusual than ([\d.]+) % of the test digits", page.inner_text('[data-rebuilt="percentile"]')
    )
    assert shown
    percentile = call_json(address, "reconstruct", digit, model="digits-deep")["results"][0]["error_percentile"]
    assert float(shown[1]) == pytest.approx(min(99.9, percentile), abs=0.5)
    assert "32 numbers" in page.inner_text("#code-note")
    check_bars(page, call(address, "encode", digit, model="digits-deep")[0])


def check_bars(page: Page, code: Array) -> None:
    """Check that the bars are as high as the numbers of a code, which is read in the middle of each bar."""
    bars = canvas_pixels(page, "#code-bars")[..., 3] > 0
    height, width = bars.shape
    low, high = min(0, code.min()), max(0, code.max())
    zero = 1 + high * (height - 2) / (high - low)
    columns = ((np.arange(len(code)) + 0.4) * width / len(code)).astype(int)
    above = bars[: round(zero) - 1, columns].sum(0)
    below = bars[round(zero) + 1 :, columns].sum(0)
    expected = code * (height - 2) / (high - low)
    assert np.abs(above - below - expected).max() <= 2


def test_digit_is_drawn_with_a_finger(open_page: OpenPage, address: str) -> None:
    page = open_page("reconstruct", width=360, touch=True)
    expect(page.locator('[data-rebuilt="mse"]')).not_to_have_text("–")
    page.tap("#pad-clear")
    assert page.locator("#pad + .pad-hint").is_visible()
    sent = record_arrays(page, "reconstruct")
    page.locator("#pad").scroll_into_view_if_needed()
    box = page.locator("#pad").bounding_box()
    assert box is not None
    scrolled = page.evaluate("() => scrollY")
    fingers = page.context.new_cdp_session(page)
    x = box["x"] + box["width"] / 2
    for step in range(11):
        kind = "touchMove" if step else "touchStart"
        y = box["y"] + box["height"] * (0.1 + 0.08 * step)
        fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y}]})
    fingers.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    page.wait_for_timeout(1500)
    assert page.evaluate("() => scrollY") == scrolled
    assert not page.locator("#pad + .pad-hint").is_visible()
    rows, columns = np.nonzero(sent[-1][0, ..., 0] > 40)
    assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == (pytest.approx(20, abs=1), pytest.approx(2, abs=2))
    expected = call(address, "reconstruct", sent[-1], model="digits-sparse")[0, ..., 0]
    assert (canvas_digit(page, "#rebuilt") == expected).all()


def test_noise_is_more_unusual_than_a_digit(open_page: OpenPage) -> None:
    page = open_page("reconstruct")
    expect(page.locator('[data-rebuilt="percentile"]')).not_to_have_text("–")
    page.click("#pad-noise")
    expect(page.locator('[data-rebuilt="percentile"]')).to_have_text("more unusual than 99.9 % of the test digits")


def test_unit_that_is_switched_off_is_left_out(open_page: OpenPage, address: str) -> None:
    page = open_page("reconstruct")
    page.wait_for_selector("#units button")
    digit = shipped_digits(page)[0][:1]
    code = call(address, "encode", digit, model="digits-sparse")
    first = page.locator("#units button").first
    unit = int(first.get_attribute("data-unit") or "-1")
    assert unit == int(np.abs(code[0]).argmax())
    active = int((np.abs(code) > 1e-3 * np.abs(code).max()).sum())
    assert f"{active} of 1,024 units are active" in page.inner_text("#units-note")
    assert page.locator("#units button:visible").count() == 48
    page.click("#units-more")
    assert page.locator("#units button:visible").count() == min(active, 120)
    check_unit(page, address, code, unit)
    before = canvas_digit(page, "#rebuilt")
    first.click()
    page.wait_for_timeout(800)
    code = code.copy()
    code[0, unit] = 0
    expected = call(address, "decode", code, model="digits-sparse")[0, ..., 0]
    assert (canvas_digit(page, "#rebuilt") == expected).all()
    assert (expected != before).any()
    page.click("#units-all")
    page.wait_for_timeout(800)
    assert (canvas_digit(page, "#rebuilt") == before).all()


def check_unit(page: Page, address: str, code: Array, unit: int) -> None:
    """Check that the picture of a unit is orange where it adds light to the digit of a code of zeros, else blue."""
    codes = np.zeros((2, code.shape[1]), np.float32)
    codes[1, unit] = code[0, unit]
    nothing, alone = call(address, "decode", codes, model="digits-sparse")[..., 0].astype(int)
    change = alone - nothing
    shown = canvas_pixels(page, f"#units button[data-unit='{unit}'] canvas").astype(int)
    expected = (
        np.where(change[..., None] > 0, (224, 138, 46), (63, 143, 210))
        * np.abs(change[..., None])
        / np.abs(change).max()
    )
    assert np.abs(shown[..., :3] - expected).max() <= 1


@pytest.mark.parametrize("model", ["digits-vae", "digits-vae-2d"])
def test_sliders_are_the_code_of_the_digit(open_page: OpenPage, address: str, model: str) -> None:
    page = open_page("generate")
    page.select_option("#generate-model", model)
    expect(page.locator("#drawn canvas")).to_have_count(24)
    page.click("#code-random")
    page.wait_for_timeout(800)
    page.locator("#sliders input").nth(1).focus()
    page.keyboard.press("End")
    page.wait_for_timeout(800)
    values = page.locator("#sliders input").evaluate_all("(inputs) => inputs.map((input) => Number(input.value))")
    assert values[1] == 3
    page.click("#code-zero")
    page.wait_for_timeout(800)
    zero = np.zeros((1, len(values)), np.float32)
    assert (canvas_digit(page, "#generated") == call(address, "decode", zero, model=model)[0, ..., 0]).all()
    page.locator("#sliders input").nth(1).focus()
    page.keyboard.press("End")
    page.wait_for_timeout(800)
    zero[0, 1] = 3
    assert (canvas_digit(page, "#generated") == call(address, "decode", zero, model=model)[0, ..., 0]).all()


def test_random_digit_lends_its_code_to_the_sliders(open_page: OpenPage) -> None:
    page = open_page("generate")
    expect(page.locator("#drawn canvas")).to_have_count(24)
    pictures = {canvas_digit(page, f"#drawn button:nth-child({index}) canvas").tobytes() for index in range(1, 25)}
    assert len(pictures) == 24
    page.click("#drawn button:nth-child(5)")
    page.wait_for_timeout(800)
    assert (canvas_digit(page, "#generated") == canvas_digit(page, "#drawn button:nth-child(5) canvas")).all()


def test_digits_between_two_drawn_ones(open_page: OpenPage, address: str) -> None:
    page = open_page("generate")
    page.wait_for_function("() => document.querySelector('#between').width === 28 * 9")
    page.click("[data-clear='a']")
    sent = record_arrays(page, "encode")
    draw_stroke(page, "#pad-a", [(0.5, 0.15), (0.5, 0.85)])
    page.wait_for_timeout(1500)
    assert sent[-1].shape == (2, 28, 28, 1)
    assert (sent[-1][0].astype(bool).sum(1) <= 8).all()  # a straight stroke
    codes = call(address, "encode", sent[-1], model="digits-vae")
    shares = np.linspace(0, 1, 9)[:, None]
    steps = (codes[:1] * (1 - shares) + codes[1:] * shares).astype(np.float32)
    expected = call(address, "decode", steps, model="digits-vae")[..., 0].astype(int)
    assert np.abs(split_strip(canvas_digit(page, "#between")) - expected).max() <= 1
