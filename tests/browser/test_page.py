"""The page as a whole: errors as sentences, the API key, prefixes, widths, layout shift, accessibility, the models."""

import hashlib
import json
import shutil
from pathlib import Path

import httpx2
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.conftest import DEFAULTS, MODELS, OpenPage
from tests.support.playground import image_file, picture
from tests.support.processes import serving

SECTIONS = ["denoise", "latent", "reconstruct", "generate", "models"]
SETTLED = {
    "denoise": "#download[href]",
    "latent": "#decoded[data-point]",
    "reconstruct": "#units button",
    "generate": "#drawn button",
    "models": "#cards article",
}


def choose(page: Page, name: str, data: bytes, kind: str = "image/png") -> None:
    page.set_input_files("#file", [{"name": name, "mimeType": kind, "buffer": data}])


def test_wrong_file_is_explained(open_page: OpenPage) -> None:
    page = open_page()
    page.wait_for_selector(SETTLED["denoise"])
    choose(page, "notes.txt", b"no picture at all", "text/plain")
    expect(page.locator("#alert")).to_be_visible()
    assert page.inner_text("#alert").startswith("notes.txt: ")
    assert page.inner_text("#alert").endswith(".")
    page.click("#queue .pick:has-text('coffee.jpg')")
    expect(page.locator("#alert")).to_be_hidden()


def test_too_large_file_is_explained(open_page: OpenPage) -> None:
    with serving(MODELS, "--max-body-bytes", "20000", **DEFAULTS) as (address, _):
        page = open_page("denoise", address)
        expect(page.locator("#alert")).to_contain_text("20")
        assert "size limit" in page.inner_text("#alert")


def test_missing_service_is_explained(open_page: OpenPage) -> None:
    with serving(MODELS, **DEFAULTS) as (address, process):
        page = open_page("denoise", address)
        page.wait_for_selector(SETTLED["denoise"])
        process.kill()
        process.wait()
        page.select_option("#metadata", "strip")
        expect(page.locator("#alert")).to_have_text(
            "The service does not answer. Check that it is running, then try again."
        )


def test_api_key_is_asked_for_and_kept_in_memory(open_page: OpenPage, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(f"alice {hashlib.sha256(b'secret').hexdigest()}\n")
    with serving(MODELS, "--api-keys-file", str(tmp_path / "keys"), **DEFAULTS) as (address, _):
        page = open_page("denoise", address)
        expect(page.locator("#alert")).to_contain_text("needs an API key")
        expect(page.locator("#key-field")).to_be_focused()
        page.keyboard.type("wrong")
        page.keyboard.press("Enter")
        expect(page.locator("#alert")).to_contain_text("does not know this API key")
        page.fill("#key-field", "secret")
        page.keyboard.press("Enter")
        page.wait_for_selector(SETTLED["denoise"])
        expect(page.locator("#alert")).to_be_hidden()
        assert "$KEY" in page.inner_text("#curl")
        assert "secret" not in page.inner_text("#curl")
        assert page.evaluate("() => [localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]


def test_large_photo_shows_progress_and_can_be_cancelled(open_page: OpenPage) -> None:
    page = open_page()
    page.wait_for_selector(SETTLED["denoise"])
    choose(page, "large.jpg", picture(4000, 3000, "JPEG", quality=60), "image/jpeg")
    expect(page.locator("#compare .wait-text")).to_contain_text("Denoising")
    page.locator("#compare .cancel").dispatch_event("click")  # at once: a click waits until the button stands still
    expect(page.locator("#queue li.current")).to_have_attribute("data-state", "cancelled")
    expect(page.locator("#compare .wait")).to_be_hidden()
    choose(page, "small.png", picture(40, 30))  # the queue goes on
    page.wait_for_function("() => document.querySelector('#download').download === 'small.png'")


@pytest.mark.parametrize("prefix", ["/hourglass", "/a/b"])
def test_page_works_below_a_prefix(open_page: OpenPage, prefix: str) -> None:
    with serving(MODELS, "--root-path", prefix, **DEFAULTS) as (address, _):
        page = open_page("denoise", address + prefix)
        page.wait_for_selector(SETTLED["denoise"])
        assert image_file(page, ".after img").startswith(b"\x89PNG")
        assert f"{address}{prefix}/denoise" in page.inner_text("#curl")


@pytest.mark.parametrize("section", SECTIONS)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious(open_page: OpenPage, section: str, theme: str) -> None:
    page = open_page(section, theme=theme)
    page.wait_for_selector(SETTLED[section])
    violations = Axe().run(page).response["violations"]
    serious = [one for one in violations if one["impact"] in ("serious", "critical")]
    assert not serious, json.dumps([[one["id"], [node["html"] for node in one["nodes"]]] for one in serious], indent=1)


@pytest.mark.parametrize("width", [360, 1280, 2560])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_sections_fit_the_width(open_page: OpenPage, tmp_path: Path, width: int, theme: str) -> None:
    page = open_page(width=width, theme=theme)
    for section in SECTIONS:
        page.goto(f"{page.url.partition('#')[0]}#{section}")
        page.wait_for_selector(SETTLED[section])
        assert page.evaluate("() => document.documentElement.scrollWidth") <= width, section
        page.screenshot(path=tmp_path / f"{section}-{width}-{theme}.png", full_page=True)


@pytest.mark.parametrize("section", SECTIONS)
@pytest.mark.parametrize("width", [360, 1280])
def test_layout_does_not_shift(open_page: OpenPage, section: str, width: int) -> None:
    page = open_page(section, width=width)
    page.wait_for_selector(SETTLED[section])
    shift = page.evaluate(
        """() => new Promise((resolve) => {
          let sum = 0;
          new PerformanceObserver((list) => {
            for (const entry of list.getEntries()) if (!entry.hadRecentInput) sum += entry.value;
          }).observe({ type: "layout-shift", buffered: true });
          setTimeout(() => resolve(sum), 500);
        })"""
    )
    assert shift < 0.05


def test_theme_button_switches_the_colours(open_page: OpenPage) -> None:
    page = open_page(theme="light")
    ground = "() => getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.click("#theme-button")
    assert page.evaluate(ground) != light
    page.click("#theme-button")
    assert page.evaluate(ground) == light


def test_cards_show_the_figures_of_the_api(open_page: OpenPage, address: str) -> None:
    page = open_page("models")
    page.wait_for_selector(SETTLED["models"])
    for name, figure in (
        ("photo", "denoise_psnr_25"),
        ("digits", "reconstruct_psnr"),
        ("points-3d", "reconstruct_mse"),
    ):
        quality = httpx2.get(f"{address}/models/{name}").json()["card"]["quality"]
        expected = {"this model": quality["figures"][figure]}
        expected |= {label: values[figure] for label, values in quality["baselines"].items() if figure in values}
        rows = page.locator(f"#model-{name} tbody tr").all()
        shown = {row.locator("th").inner_text(): float(row.locator("td").inner_text()) for row in rows}
        assert shown == {label: pytest.approx(value, rel=0.006) for label, value in expected.items()}


def test_live_figures_follow_the_requests(open_page: OpenPage, address: str) -> None:
    page = open_page("models")
    expect(page.locator('[data-live="rate"]')).not_to_have_text("–")
    data = picture(28, 28)
    with httpx2.Client() as client:
        for _ in range(40):
            client.post(f"{address}/reconstruct", content=data, headers={"Content-Type": "image/png"})
    page.wait_for_function("() => Number(document.querySelector('[data-live=\"rate\"]').textContent) > 0")
    assert page.inner_text('[data-live="median"]').endswith((" ms", " s"))


def test_quantile_is_linear_inside_a_bucket(open_page: OpenPage) -> None:
    page = open_page("models")
    values = page.evaluate(
        """async () => {
          const { quantile } = await import("./static/playground/live.js");
          const buckets = new Map([[0.1, 0], [0.2, 10], [0.4, 10], [Infinity, 20]]);
          return [quantile(0.25, buckets), quantile(0.5, buckets), quantile(0.9, buckets), quantile(0.5, new Map())];
        }"""
    )
    assert values == [pytest.approx(0.15), pytest.approx(0.2), 0.4, None]


def test_rejected_versions_are_listed_with_the_reason(open_page: OpenPage, tmp_path: Path) -> None:
    shutil.copytree(MODELS / "points-3d", tmp_path / "points-3d")
    (tmp_path / "broken" / "1").mkdir(parents=True)
    (tmp_path / "broken" / "1" / "card.json").write_text("{}")
    with serving(tmp_path) as (address, _):
        [rejected] = httpx2.get(f"{address}/models").json()["rejected"]
        page = open_page("models", address)
        expect(page.locator("#rejected li")).to_have_text(f"broken 1: {rejected['reason']}")
