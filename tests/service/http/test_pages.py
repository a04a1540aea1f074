"""The playground at /: its files, addresses below a prefix, policy and size, and the setting that leaves it out."""

import gzip
import re
from urllib.parse import urljoin

import pytest
from starlette.testclient import TestClient

from service.http.pages import PLAYGROUND_DIR
from tests.conftest import Serve

MAX_FIRST_PAINT_BYTES = 200_000
SCRIPTS = sorted(PLAYGROUND_DIR.glob("*.js"))
IMPORT = re.compile(r"""(?:from |import\(|new URL\()["']\./([^"']+)["']""")


def linked_files(page: str) -> list[str]:
    """Return the addresses of files that a page loads, as they are written in it."""
    return re.findall(r'(?:src|href)="(static/[^"]+|[^"]*/static/[^"]+)"', page)


def test_root_is_the_playground(client: TestClient) -> None:
    answer = client.get("/")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert '<section id="section-denoise"' in answer.text


def test_policy_allows_only_own_scripts_and_styles(client: TestClient) -> None:
    answer = client.get("/")
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert {policy[name] for name in ("script-src", "style-src", "connect-src", "worker-src")} == {"'self'"}
    assert not re.search(r"<script(?![^>]+src=)|<style|\sstyle=|\son[a-z]+=", answer.text)


@pytest.mark.parametrize("prefix", ["", "/api"])
def test_files_of_the_playground_exist(serve: Serve, prefix: str) -> None:
    service = serve(root_path=prefix)
    files = linked_files(service.get(f"{prefix}/").text)
    assert len(files) > 5
    for file in files:
        assert service.get(urljoin(f"{prefix}/", file)).status_code == 200, file


def test_imported_files_exist() -> None:
    for script in SCRIPTS:
        for name in IMPORT.findall(script.read_text("utf-8")):
            assert (PLAYGROUND_DIR / name).exists(), (script.name, name)


def test_playground_addresses_no_other_host() -> None:
    for file in [*SCRIPTS, PLAYGROUND_DIR / "index.html", PLAYGROUND_DIR / "style.css"]:
        assert not re.search(r"https?://|[\"'(]//\w", file.read_text("utf-8")), file.name


def test_files_are_revalidated_by_browsers(client: TestClient) -> None:
    first = client.get("/static/playground/main.js")
    assert first.headers["cache-control"] == "no-cache"
    again = client.get("/static/playground/main.js", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_first_paint_is_small(client: TestClient) -> None:
    """The page, its sample and the files that it loads at once, compressed as a proxy would."""
    names = {file.rpartition("/")[2] for file in linked_files(client.get("/").text)} | {"sample.jpg"}
    names |= {name for script in list(names) if script.endswith(".js") for name in imports_of(script)}
    sizes = [len(gzip.compress((PLAYGROUND_DIR / name).read_bytes())) for name in names | {"index.html"}]
    assert sum(sizes) < MAX_FIRST_PAINT_BYTES


def imports_of(script: str) -> set[str]:
    """Return the files that a script imports at once, with those that they import."""
    names = set(re.findall(r'from "\./([^"]+)"', (PLAYGROUND_DIR / script).read_text("utf-8")))
    return names.union(*(imports_of(name) for name in names))


def test_playground_can_be_left_out(serve: Serve) -> None:
    client = serve(enable_playground=False)
    root = client.get("/", follow_redirects=False)
    assert (root.status_code, root.headers["location"]) == (307, "docs")
    assert client.get("/static/playground/main.js").status_code == 404
    assert client.get("/static/docs.js").status_code == 200


def test_playground_works_without_the_documentation(serve: Serve) -> None:
    client = serve(enable_docs=False)
    assert client.get("/").status_code == 200
    assert client.get("/static/playground/main.js").status_code == 200


@pytest.mark.parametrize("path", ["../docs.js", "%2e%2e/docs.html", ""])
def test_only_files_of_the_folder_are_served(serve: Serve, path: str) -> None:
    assert serve(enable_docs=False).get(f"/static/playground/{path}").status_code == 404
