"""The section Denoise: what it shows and saves is what the API answers to what it sends."""

import re
import shlex
import subprocess
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenPage
from tests.support.playground import denoise_file, image_file, open_image, picture

BEFORE, AFTER = ".before img", ".after img"
READY = "#download[href]"
GRAY = Image.new("RGB", (200, 150), (128, 128, 128))


def figure(page: Page, name: str) -> str:
    """Return the text of a figure below the picture."""
    return page.locator(f'[data-figure="{name}"]').inner_text()


def choose(page: Page, data: bytes, name: str = "photo.png", kind: str = "image/png") -> None:
    """Choose a file, and wait for its denoised picture."""
    page.set_input_files("#file", [{"name": name, "mimeType": kind, "buffer": data}])
    page.wait_for_function("(name) => document.querySelector('#download[href]')?.download === name", arg=name)


def set_noise(page: Page, kind: str, level: int = 0) -> None:
    """Choose the noise, and wait until the picture is denoised anew."""
    before = page.get_attribute(AFTER, "src")
    page.evaluate(
        """([kind, level]) => {
          document.querySelector("#noise-level").value = level;
          const select = document.querySelector("#noise-kind");
          select.value = kind;
          for (const type of ["input", "change"]) select.dispatchEvent(new Event(type));
        }""",
        [kind, level],
    )
    expect(page.locator(AFTER)).not_to_have_attribute("src", before or "")


def gray_file() -> bytes:
    """Return a gray picture as PNG."""
    out = BytesIO()
    GRAY.save(out, "PNG")
    return out.getvalue()


def test_sample_is_denoised_as_by_the_api(open_page: OpenPage, address: str) -> None:
    page = open_page()
    page.wait_for_selector(READY)
    expect(page.locator('[data-figure="psnr"]')).to_contain_text("dB")
    sent, shown = image_file(page, BEFORE), image_file(page, AFTER)
    answer = denoise_file(address, sent, "image/png")
    assert shown == answer.content
    assert figure(page, "size") == "600 × 338"
    assert figure(page, "sigma") == f"σ {float(answer.headers['x-noise-sigma']) * 255:.3g} of 255"
    clean = open_image((Path(__file__).parents[2] / "service/http/static/playground/sample.jpg").read_bytes())
    values = [10 * np.log10(255**2 / np.mean((open_image(data) - clean) ** 2.0)) for data in (sent, shown)]
    words = figure(page, "psnr").split()
    assert [float(words[0]), float(words[2])] == pytest.approx(values, abs=0.3)  # two JPEG decoders
    assert values[1] > values[0] + 5


def test_time_is_split_as_server_timing_says(open_page: OpenPage) -> None:
    page = open_page()
    page.wait_for_selector(READY)
    with page.expect_response("**/denoise*") as answered:
        page.select_option("#metadata", "strip")
    header = answered.value.all_headers()["server-timing"]
    stages = {name: float(value) for name, value in re.findall(r"(\w+);dur=([\d.]+)", header)}
    expect(page.locator("#timing-legend")).to_contain_text(f"decode {stages['decode']:.3g} ms")
    legend = dict(re.findall(r"([a-z ]+) ([\d.,]+) ms", page.inner_text("#timing-legend")))
    shown = {name.strip(): float(value.replace(",", "")) for name, value in legend.items()}
    assert list(shown) == ["decode", "queue", "run", "encode", "network and browser"]
    assert [shown[name] for name in stages] == pytest.approx(list(stages.values()), rel=0.006)
    total = float(re.sub(r" ms|,", "", figure(page, "time")))
    assert sum(shown.values()) == pytest.approx(total, rel=0.02)
    widths = page.locator("#timing i").evaluate_all(
        "(parts) => parts.map((part) => part.getBoundingClientRect().width)"
    )
    assert widths[2] / sum(widths) == pytest.approx(stages["run"] / total, abs=0.03)


@pytest.mark.parametrize(
    ("kind", "level", "expected"), [("gaussian", 25, 25.0), ("gaussian", 10, 10.0), ("poisson", 40, 31.9)]
)
def test_added_noise_has_the_chosen_deviation(open_page: OpenPage, kind: str, level: int, expected: float) -> None:
    page = open_page()
    page.wait_for_selector(READY)
    choose(page, gray_file())
    set_noise(page, kind, level)
    noise = open_image(image_file(page, BEFORE)) - 128
    assert noise.std() == pytest.approx(expected, rel=0.05)
    assert abs(noise.mean()) < 0.5
    assert abs(np.corrcoef(noise[..., 0].ravel(), noise[..., 1].ravel())[0, 1]) < 0.03


@pytest.mark.parametrize(("kind", "values"), [("salt", {0, 128, 255}), ("masking", {0, 128})])
def test_added_noise_hits_the_chosen_share(open_page: OpenPage, kind: str, values: set[int]) -> None:
    page = open_page()
    page.wait_for_selector(READY)
    choose(page, gray_file())
    set_noise(page, kind, 30)
    pixels = open_image(image_file(page, BEFORE))
    assert set(np.unique(pixels)) == values
    assert (pixels[..., 0] != 128).mean() == pytest.approx(0.3, abs=0.02)


def test_parameters_are_those_of_the_request(open_page: OpenPage, address: str) -> None:
    page = open_page()
    page.wait_for_selector(READY)
    data = picture(160, 120, "JPEG", quality=90, exif=exif())
    choose(page, data, "holiday.jpg", "image/jpeg")
    assert image_file(page, AFTER) == denoise_file(address, data, "image/jpeg").content
    with Image.open(BytesIO(image_file(page, AFTER))) as kept:
        assert kept.getexif()[271] == "Maker"
    assert figure(page, "bytes") == f"{len(data) / 1000:.0f} kB → {len(image_file(page, AFTER)) / 1000:.0f} kB"
    for selector, value, name in (("#metadata", "strip", "metadata"), ("#denoise-model", "photo", "model")):
        before = page.get_attribute(AFTER, "src")
        page.select_option(selector, value)
        expect(page.locator(AFTER)).not_to_have_attribute("src", before or "")
        assert f"{name}={value}" in page.inner_text("#curl")
    assert image_file(page, AFTER) == denoise_file(address, data, "image/jpeg", metadata="strip", model="photo").content
    with Image.open(BytesIO(image_file(page, AFTER))) as stripped:
        assert not stripped.getexif()


def exif() -> bytes:
    """Return EXIF data with a maker."""
    data = Image.Exif()
    data[271] = "Maker"
    return data.tobytes()


def test_strength_0_returns_what_was_sent(open_page: OpenPage) -> None:
    page = open_page()
    page.wait_for_selector(READY)
    choose(page, picture(90, 70))
    before = page.get_attribute(AFTER, "src")
    page.focus("#strength")
    page.keyboard.press("Home")
    expect(page.locator(AFTER)).not_to_have_attribute("src", before or "")
    assert (open_image(image_file(page, AFTER)) == open_image(image_file(page, BEFORE))).all()


def test_strength_is_that_of_the_request(open_page: OpenPage, address: str) -> None:
    page = open_page()
    page.wait_for_selector(READY)
    data = picture(90, 70)
    choose(page, data)
    before = page.get_attribute(AFTER, "src")
    page.focus("#strength")
    for _ in range(6):
        page.keyboard.press("ArrowRight")
    expect(page.locator("#strength-text")).to_have_text("130 %")
    expect(page.locator(AFTER)).not_to_have_attribute("src", before or "")
    assert "strength=1.3" in page.inner_text("#curl")
    assert image_file(page, AFTER) == denoise_file(address, data, "image/png", strength="1.3").content


def test_parameters_belong_to_their_picture(open_page: OpenPage) -> None:
    page = open_page()
    page.wait_for_selector(READY)
    choose(page, picture(40, 30))
    assert page.input_value("#noise-kind") == "none"
    before = page.get_attribute(AFTER, "src")
    page.select_option("#metadata", "strip")
    expect(page.locator(AFTER)).not_to_have_attribute("src", before or "")
    page.click("#sample")
    expect(page.locator("#queue li")).to_have_count(2)  # the sample is there already
    assert [page.input_value(selector) for selector in ("#noise-kind", "#metadata")] == ["gaussian", "keep"]
    assert "metadata" not in page.inner_text("#curl")
    page.click("#queue .pick:has-text('photo.png')")
    assert [page.input_value(selector) for selector in ("#noise-kind", "#metadata")] == ["none", "strip"]


def test_zoom_buttons(open_page: OpenPage) -> None:
    page = open_page()
    page.wait_for_selector(READY)
    box = page.locator("#compare").bounding_box()
    assert box is not None
    fit = box["width"] / 600
    level = page.locator("#zoom-level")
    for button, scale in (("in", fit * 1.5), ("full", 1.0), ("fit", fit), ("in", fit * 1.5), ("out", fit)):
        page.click(f"[data-zoom='{button}']")
        expect(level).to_have_text(f"{round(100 * max(scale, fit))} %")


def test_download_has_the_name_of_the_original(open_page: OpenPage, tmp_path: Path) -> None:
    page = open_page()
    page.wait_for_selector(READY)
    choose(page, picture(60, 50, "JPEG"), "Ferien am See.jpg", "image/jpeg")
    with page.expect_download() as started:
        page.click("#download")
    assert started.value.suggested_filename == "Ferien am See.jpg"
    started.value.save_as(tmp_path / "saved.jpg")
    assert (tmp_path / "saved.jpg").read_bytes() == image_file(page, AFTER)


def test_curl_line_does_the_same(open_page: OpenPage, tmp_path: Path) -> None:
    page = open_page()
    page.wait_for_selector(READY)
    name, data = "it's a $HOME & more.png", picture(64, 48)
    choose(page, data, name)
    (tmp_path / name).write_bytes(data)
    line = page.inner_text("#curl")
    assert shlex.split(line.replace("\\\n", " "))[:5] == ["curl", "-o", f"denoised-{name}", "--data-binary", f"@{name}"]
    subprocess.run(["bash", "-c", f"{line} -sSf"], check=True, cwd=tmp_path, timeout=60)
    assert (tmp_path / f"denoised-{name}").read_bytes() == image_file(page, AFTER)


def test_curl_line_sends_the_noisy_picture(open_page: OpenPage, tmp_path: Path) -> None:
    """The page has added noise to the sample: the file that it sends can be saved, and curl sends that."""
    page = open_page()
    page.wait_for_selector(READY)
    with page.expect_download() as started:
        page.click("#sent-link")
    assert started.value.suggested_filename == "coffee-noisy.png"
    started.value.save_as(tmp_path / "coffee-noisy.png")
    assert (tmp_path / "coffee-noisy.png").read_bytes() == image_file(page, BEFORE)
    subprocess.run(["bash", "-c", f"{page.inner_text('#curl')} -sSf"], check=True, cwd=tmp_path, timeout=60)
    assert (tmp_path / "denoised-coffee-noisy.png").read_bytes() == image_file(page, AFTER)


@pytest.mark.parametrize("way", ["drop", "paste"])
def test_files_are_taken_by_drop_and_paste(open_page: OpenPage, address: str, way: str) -> None:
    page = open_page("models")  # a drop on any section goes to this one
    page.wait_for_selector("#cards article")
    data = picture(40, 30)
    page.evaluate(
        """([way, bytes]) => {
          const transfer = new DataTransfer();
          transfer.items.add(new File([new Uint8Array(bytes)], "moved.png", { type: "image/png" }));
          const event = way === "drop"
            ? new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true })
            : new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true });
          document.body.dispatchEvent(event);
        }""",
        [way, list(data)],
    )
    page.wait_for_function("() => document.querySelector('#download').download === 'moved.png'")
    assert page.locator("#section-denoise").is_visible()
    assert image_file(page, AFTER) == denoise_file(address, data, "image/png").content
    assert image_file(page, BEFORE) == data
    assert figure(page, "size") == "40 × 30"


def test_several_photos_queue_up(open_page: OpenPage, address: str) -> None:
    page = open_page()
    page.wait_for_selector(READY)
    files = {f"{seed}.png": picture(50 + seed, 40, seed=seed) for seed in range(3)}
    page.set_input_files(
        "#file", [{"name": name, "mimeType": "image/png", "buffer": data} for name, data in files.items()]
    )
    expect(page.locator('#queue li[data-state="done"]')).to_have_count(4)
    for name, data in files.items():
        page.click(f"#queue .pick:has-text('{name}')")
        page.wait_for_function("(name) => document.querySelector('#download').download === name", arg=name)
        assert image_file(page, BEFORE) == data
        assert image_file(page, AFTER) == denoise_file(address, data, "image/png").content
    page.click("#queue button[aria-label='Remove 1.png']")
    expect(page.locator("#queue li")).to_have_count(3)
