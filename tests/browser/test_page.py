"""The page as a whole: errors as sentences, the API key, prefixes, widths, layout shift, accessibility, the models."""

import hashlib
import json
import re
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
MIN_TARGET = 40  # CSS pixels; WCAG 2.2 asks for 24 (level AA)
LECTURE = Path(__file__).parents[2] / "docs" / "lecture.md"
LECTURE_LINKS = sorted(set(re.findall(r"http://127\.0\.0\.1:8000/#([\w/-]+)", LECTURE.read_text("utf-8"))))
UNPUBLISHED = {"defects", "ecg-anomaly"}


def choose(page: Page, name: str, data: bytes, kind: str = "image/png") -> None:
    page.set_input_files("#file", [{"name": name, "mimeType": kind, "buffer": data}])


def test_wrong_file_is_explained(open_page: OpenPage) -> None:
    page = open_page()
    page.wait_for_selector(SETTLED["denoise"])
    choose(page, "notes.txt", b"no picture at all", "text/plain")
    expect(page.locator("#alert")).to_be_visible()
    assert page.inner_text("#alert").startswith("notes.txt: ")
    assert page.inner_text("#alert").endswith(".")
    assert not page.locator(".before img").is_visible()  # no broken picture
    page.click("#queue .pick:has-text('coffee.jpg')")
    expect(page.locator("#alert")).to_be_hidden()


def test_reason_stays_with_the_file_of_several(open_page: OpenPage) -> None:
    """The first of the added files is shown. That the next one succeeds does not hide why it failed."""
    page = open_page()
    page.wait_for_selector(SETTLED["denoise"])
    files = [("notes.txt", "text/plain", b"no picture at all"), ("small.png", "image/png", picture(40, 30))]
    page.set_input_files("#file", [{"name": name, "mimeType": kind, "buffer": data} for name, kind, data in files])
    expect(page.locator('#queue li[data-state="done"]')).to_have_count(2)
    assert page.locator("#queue li.current b").inner_text() == "notes.txt"
    reason = page.inner_text("#queue li[data-state='failed'] span")
    assert page.inner_text("#alert") == f"notes.txt: {reason}"


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
        for section in ("latent", "reconstruct", "generate", "models"):
            page.click(f"nav a[href='#{section}']")
            expect(page.locator("#alert")).to_contain_text("The service does not answer.")


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
        page.click("nav a[href='#models']")
        page.wait_for_selector(SETTLED["models"])
        assert page.evaluate("() => [localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]


def test_key_is_used_by_sections_that_were_open_before(open_page: OpenPage, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(f"alice {hashlib.sha256(b'secret').hexdigest()}\n")
    with serving(MODELS, "--api-keys-file", str(tmp_path / "keys"), **DEFAULTS) as (address, _):
        page = open_page("denoise", address)
        expect(page.locator("#alert")).to_contain_text("needs an API key")
        page.click("nav a[href='#latent']")
        expect(page.locator("#alert")).to_contain_text("needs an API key")
        page.fill("#key-field", "secret")
        page.keyboard.press("Enter")
        page.wait_for_selector(SETTLED["latent"])
        page.click("nav a[href='#denoise']")
        page.wait_for_selector(SETTLED["denoise"])
        assert "photo-fast" in page.inner_text("#denoise-model option")


def test_large_photo_shows_progress_and_can_be_cancelled(open_page: OpenPage) -> None:
    page = open_page()
    page.wait_for_selector(SETTLED["denoise"])
    choose(page, "large.jpg", picture(4000, 3000, "JPEG", quality=60), "image/jpeg")
    expect(page.locator("#compare .wait-text")).to_have_text(re.compile(r"Denoising: \d+ s of about \d+ s"))
    assert 0 < float(page.evaluate("() => document.querySelector('#compare progress').value")) <= 95
    with page.expect_event("requestfailed", lambda request: "/denoise" in request.url) as cancelled:
        page.locator("#compare .cancel").dispatch_event("click")  # at once: a click waits until the button stands still
    assert cancelled.value.failure == "net::ERR_ABORTED"
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


@pytest.mark.parametrize("section", SECTIONS)
def test_controls_are_large_enough_for_a_finger(open_page: OpenPage, section: str) -> None:
    page = open_page(section, width=360, touch=True)
    page.wait_for_selector(SETTLED[section])
    sizes = page.evaluate(
        """() => [...document.querySelectorAll("button, select, summary, nav a, .tools a, label.button, [type=range]")]
          .filter((control) => control.checkVisibility() && !control.matches(".divider-range"))
          .map((control) => [control.outerHTML.slice(0, 60), control.getBoundingClientRect().height])"""
    )
    assert len(sizes) > 10
    assert not [control for control, height in sizes if height < MIN_TARGET]


def test_page_is_used_by_keyboard_alone(open_page: OpenPage) -> None:
    page = open_page()
    page.wait_for_selector(SETTLED["denoise"])
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    links = page.locator("nav a")
    for _ in range(5):
        page.keyboard.press("Tab")
    expect(links.nth(3)).to_be_focused()  # after the skip link and the name of the service
    page.keyboard.press("Enter")
    page.wait_for_selector(SETTLED["generate"])
    expect(page.locator("#main")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.locator("#generate-model")).to_be_focused()
    page.keyboard.press("Tab")
    before = page.locator("#drawn button").first.evaluate("(button) => button.firstChild.toDataURL()")
    page.keyboard.press("Enter")
    page.wait_for_function("(old) => document.querySelector('#drawn canvas').toDataURL() !== old", arg=before)


def test_credits_are_on_the_page(open_page: OpenPage) -> None:
    page = open_page()
    assert all(words in page.inner_text("footer") for words in ("Rachel Michetti", "CC0", "MNIST", "CC BY-SA 3.0"))


@pytest.mark.parametrize("anchor", LECTURE_LINKS)
def test_links_of_the_lecture_open_their_place(open_page: OpenPage, address: str, anchor: str) -> None:
    section, model = anchor.split("/")
    page = open_page(anchor)
    page.wait_for_selector(SETTLED[section])
    assert [page.locator(f"#section-{name}").is_visible() for name in SECTIONS] == [
        name == section for name in SECTIONS
    ]
    if model not in {one["name"] for one in httpx2.get(f"{address}/models").json()["models"]}:
        assert model in UNPUBLISHED
    elif section == "models":
        expect(page.locator(f"#model-{model} h3")).to_be_in_viewport()
    else:
        expect(page.locator(f"#section-{section} select[data-models]")).to_have_value(model)


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
        shown = {
            row.locator("th").get_attribute("data-baseline"): float(row.locator("td").inner_text()) for row in rows
        }
        assert shown == {label: pytest.approx(value, rel=0.006) for label, value in expected.items()}


def test_cards_say_how_a_model_runs_and_why(open_page: OpenPage, address: str) -> None:
    page = open_page("models")
    page.wait_for_selector(SETTLED["models"])
    for name in ("photo", "digits"):
        execution = httpx2.get(f"{address}/models/{name}").json()["execution"]
        text = page.locator(f"#model-{name}").text_content() or ""
        for choices in execution.values():
            for choice in choices.values():
                assert f"{choice['value']}: {choice['reason']}" in text


def test_live_figures_follow_the_requests(open_page: OpenPage, address: str) -> None:
    """Between two readings that the test sets, 30 requests, 0.3 s of queueing and 4 items are added."""
    page = open_page("denoise")
    page.wait_for_selector(SETTLED["denoise"])
    text = httpx2.get(f"{address}/metrics").text
    page.route("**/metrics", lambda route: route.fulfill(body=later(text), content_type="text/plain"))
    shown = page.evaluate(
        """async (text) => {
          const { Live } = await import("./static/playground/live.js");
          const list = document.querySelector("#live");
          const live = new Live(list);
          live.update(text, 1000);
          live.update(await (await fetch("metrics")).text(), 3000);
          return Object.fromEntries([...list.querySelectorAll("dd")].map((one) => [one.dataset.live, one.textContent]));
        }""",
        text,
    )
    assert shown == {"rate": "15", "median": "15 ms", "p95": "19.5 ms", "queue": "10 ms", "inflight": "4"}


def later(text: str) -> str:
    """Return a reading of /metrics with 30 requests more than in another one, all in the bucket of 10 to 20 ms."""
    text = re.sub(r"^hourglass_inflight_items \S+$", "hourglass_inflight_items 4.0", text, flags=re.MULTILINE)
    duration = "hourglass_request_duration_seconds_bucket"
    added = [
        'hourglass_requests_total{route="/encode"} 30',
        'hourglass_stage_duration_seconds_count{stage="queue"} 30',
        'hourglass_stage_duration_seconds_sum{stage="queue"} 0.3',
        f'{duration}{{route="/encode",le="0.02"}} 30',
    ]
    bounds = {float(bound) for bound in re.findall(rf'{duration}{{.*le="([^"+]+)"', text)}
    added += [f'{duration}{{route="/encode",le="{bound}"}} 30' for bound in bounds if bound > 0.02]
    return "\n".join([text.rstrip(), *added, f'{duration}{{route="/encode",le="+Inf"}} 30', ""])


def test_live_figures_are_read_again_and_again(open_page: OpenPage, address: str) -> None:
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
