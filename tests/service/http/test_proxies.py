"""Behind proxies: paths in every spelling, prefixes, and no redirect that names a scheme."""

import json
import shutil
import socket
import subprocess
from collections.abc import Generator
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import pytest
from pydantic import ValidationError
from starlette.testclient import TestClient

from service.config import Settings
from service.http.pages import STATIC_DIR
from service.http.proxies import forwarded_prefix, is_trusted
from tests.conftest import Serve, digit, listening, png
from tests.support.compatibility import accepts, refuses

IMAGE = png(digit())
GET_PATHS = ["/livez", "/readyz", "/models", "/models/digits", "/metrics", "/docs", "/openapi.json", "/static/docs.js"]
OPERATIONS = ["/encode", "/reconstruct", "/denoise"]


@accepts(15, "slashes at the end and doubled slashes of GET paths", oracle="no redirect", cases="{path} as {spelling}")
@pytest.mark.parametrize("path", GET_PATHS)
@pytest.mark.parametrize("spelling", ["{}/", "/{}", "{}//"])
def test_get_path_is_answered_without_a_redirect(client: TestClient, path: str, spelling: str) -> None:
    answer = client.request("GET", f"http://testserver{spelling.format(path)}", follow_redirects=False)
    assert answer.status_code == 200
    assert client.head(f"http://testserver{spelling.format(path)}", follow_redirects=False).status_code == 200


@accepts(15, "slashes at the end and doubled slashes of POST paths", oracle="no redirect", cases="{path} as {spelling}")
@pytest.mark.parametrize("path", OPERATIONS)
@pytest.mark.parametrize("spelling", ["{}/", "/{}", "{}/?format=json"])
def test_operation_is_answered_without_a_redirect(client: TestClient, path: str, spelling: str) -> None:
    answer = client.post(f"http://testserver{spelling.format(path)}", content=IMAGE, follow_redirects=False)
    assert (answer.status_code, answer.headers["x-model"]) == (200, "digits")


def test_unknown_path_stays_unknown(client: TestClient) -> None:
    for path in ("/none/", "/denoise/x", "/denoise/x/", "/docs/x", "/static/"):
        assert client.get(path, follow_redirects=False).status_code == 404


def test_path_needs_the_same_key_in_every_spelling(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(f"alice {'0' * 64} denoise\n")
    client = serve(api_keys_file=tmp_path / "keys", root_path="/api")
    for path in ("/models/", "//models", "/denoise/", "/api/denoise", "/api//models/", "/docs/../models"):
        assert client.post(f"http://testserver{path}").status_code in (401, 404)
    assert client.get("/docs/").status_code == client.get("/api/docs/").status_code == 200


@accepts(
    15,
    "`HOURGLASS_ROOT_PATH`, kept or removed by the proxy",
    oracle="all addresses answer",
    cases="{root_path}, kept: {kept}",
)
@pytest.mark.parametrize("root_path", ["/api", "api", "/api/", "/a/b-c"])
@pytest.mark.parametrize("kept", [True, False], ids=["prefix kept by the proxy", "prefix removed by the proxy"])
def test_prefix_of_the_settings_is_understood(serve: Serve, root_path: str, kept: bool) -> None:
    client = serve(root_path=root_path)
    prefix = f"/{root_path.strip('/')}"
    sent = prefix if kept else ""
    assert client.post(f"{sent}/denoise", content=IMAGE).status_code == 200
    assert client.post(f"{sent}/denoise/", content=IMAGE, follow_redirects=False).status_code == 200
    for path in GET_PATHS:
        assert client.get(sent + path, follow_redirects=False).status_code == 200
    assert client.get(f"{sent}/openapi.json").json()["servers"] == [{"url": prefix}]
    assert f'"{prefix}/static/playground/main.js"' in client.get(f"{sent}/", follow_redirects=False).text
    assert client.get(f"{sent}x/livez").status_code == 404


@accepts(15, "`X-Forwarded-Prefix` of a trusted proxy", oracle="the addresses in page and document", cases="{value}")
@pytest.mark.parametrize(
    ("value", "prefix"),
    [("/api", "/api"), ("api/", "/api"), ("/a, /b", "/a/b"), ("/v1.0/x_y~z", "/v1.0/x_y~z")],
)
def test_prefix_of_a_trusted_proxy_is_understood(serve: Serve, value: str, prefix: str) -> None:
    client = serve(forwarded_allow_ips="*")
    headers = {"x-forwarded-prefix": value, "x-forwarded-proto": "https", "x-forwarded-host": "example.org"}
    assert client.get("/openapi.json", headers=headers).json()["servers"] == [{"url": prefix}]
    assert f'"{prefix}/static/playground/main.js"' in client.get("/", headers=headers).text
    without = serve(forwarded_allow_ips="*", enable_playground=False)
    assert without.get("/", headers=headers, follow_redirects=False).headers["location"] == f"{prefix}/docs"
    assert client.post("/denoise", content=IMAGE, headers=headers).status_code == 200
    assert f'"{prefix}/static/docs.js"' in client.get("/docs", headers=headers).text
    assert "servers" not in client.get("/openapi.json").json()


@refuses(
    15,
    "an invalid `X-Forwarded-Prefix`",
    because="it is ignored, so that a header cannot put text into the page",
    cases="{value:.20}",
)
@pytest.mark.parametrize(
    "value", ["", "/", "//", "/a b", "/<script>", '/a"b', "/..", "/a/../b", "https://x", "/a" * 200]
)
def test_invalid_prefix_is_ignored(serve: Serve, value: str) -> None:
    client = serve(forwarded_allow_ips="*")
    headers = {"x-forwarded-prefix": value}
    assert "servers" not in client.get("/openapi.json", headers=headers).json()
    assert client.get("/docs", headers=headers).text == client.get("/docs").text


@accepts(15, "forwarded headers of trusted peers alone", oracle="the setting", cases="{allowed} and {peer}")
@pytest.mark.parametrize(
    ("allowed", "peer", "trusted"),
    [
        ("127.0.0.1,::1", "127.0.0.1", True),
        ("127.0.0.1,::1", "::1", True),
        ("127.0.0.1", "::ffff:127.0.0.1", True),
        ("127.0.0.1", "10.0.0.1", False),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8, fd00::/8", "fd00::5", True),
        ("10.0.0.0/8", "fd00::5", False),
        ("10.1.2.3/8", "10.9.9.9", True),
        ("*", "203.0.113.9", True),
        ("", "127.0.0.1", False),
        ("127.0.0.1", "testclient", False),
    ],
)
def test_only_trusted_peers_are_obeyed(allowed: str, peer: str, trusted: bool) -> None:
    settings = Settings.model_validate({"forwarded_allow_ips": allowed})
    scope = {"client": (peer, 1)}
    assert is_trusted(scope, settings) == trusted
    assert forwarded_prefix(scope, {b"x-forwarded-prefix": b"/p"}, settings) == ("/p" if trusted else "")
    assert not is_trusted({"client": None}, Settings())


@refuses(15, "invalid settings of proxies and CORS", because="the setting is named", cases="{name}={value}")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("root_path", "/a b"),
        ("root_path", "/../x"),
        ("root_path", "https://x/y"),
        ("forwarded_allow_ips", "example.org"),
        ("forwarded_allow_ips", "10.0.0.0/33"),
        ("cors_origins", "example.org"),
        ("cors_origins", "https://example.org/path"),
    ],
)
def test_invalid_setting_is_named(name: str, value: str) -> None:
    with pytest.raises(ValidationError, match=name):
        Settings.model_validate({name: value})


@accepts(15, "the page `/docs` with and without a slash and a prefix", oracle="every file that it names")
def test_every_reference_of_the_page_works_in_both_spellings(client: TestClient, serve: Serve) -> None:
    """The page resolves its files against its own address, and the document against that of its script."""
    prefixed = serve(root_path="/api")
    for service, address in ((client, "/docs"), (client, "/docs/"), (prefixed, "/api/docs"), (prefixed, "/api/docs/")):
        page = service.get(address).text
        files = [piece.split('"')[0] for piece in page.replace("href=", "src=").split('src="')[1:]]
        assert len(files) == 4
        for file in files:
            assert service.get(urljoin(address, file)).status_code == 200
            if file.endswith("docs.js"):
                document = urljoin(urljoin(address, file), "../openapi.json")
                assert service.get(document).json()["info"]["title"] == "Hourglass"


@accepts(15, '"Try it out" below a prefix: the server of the document', oracle="the page's script in Node")
def test_page_tries_requests_at_its_own_address() -> None:
    """Run the script with a recording SwaggerUIBundle: its server is the folder of the document."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    script = (STATIC_DIR / "docs.js").read_text()
    program = f"""
    globalThis.document = {{ currentScript: {{ src: "https://example.org/any/prefix/static/docs.js" }} }};
    globalThis.fetch = async (url) => ({{ json: async () => ({{ fetched: String(url) }}) }});
    globalThis.SwaggerUIBundle = (options) => console.log(JSON.stringify(options.spec));
    {script}
    """
    output = subprocess.run([node, "-e", program], check=True, capture_output=True, text=True, timeout=60).stdout
    assert json.loads(output) == {
        "fetched": "https://example.org/any/prefix/openapi.json",
        "servers": [{"url": "https://example.org/any/prefix"}],
    }


@accepts(15, "`OPTIONS`", oracle="`Allow`", cases="{path}")
@pytest.mark.parametrize(
    ("path", "allow"), [("/denoise", "OPTIONS, POST"), ("/models/", "GET, HEAD, OPTIONS"), ("/", "GET, HEAD, OPTIONS")]
)
def test_options_tells_the_methods(client: TestClient, path: str, allow: str) -> None:
    answer = client.options(path)
    assert (answer.status_code, answer.headers["allow"], answer.content) == (204, allow, b"")


def test_options_of_an_unknown_path_is_not_found(client: TestClient) -> None:
    assert client.options("/none").status_code == 404


@pytest.fixture(scope="module")
def address(models: Path) -> Generator[str]:
    settings = Settings.model_validate({"models_dir": models, "model_watch": "off", "default_denoise": "digits"})
    with listening(settings) as address:
        yield address


@accepts(15, "request targets as proxies write them", oracle="status of the response", cases="{target}")
@pytest.mark.parametrize("target", ["/denoise/", "//denoise", "/denoise?", "http://x/denoise", "/%64enoise"])
def test_target_as_proxies_write_it_is_answered(address: str, target: str) -> None:
    parts = urlsplit(address)
    head = f"POST {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(IMAGE)}\r\n\r\n"
    with socket.create_connection((parts.hostname, parts.port), timeout=20) as connection:
        connection.sendall(head.encode() + IMAGE)
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    assert received.startswith(b"HTTP/1.1 200 ")
    assert b"\r\nlocation:" not in received.lower()


NGINX = """
worker_processes 1; daemon off; error_log stderr; pid {folder}/pid;
events {{ worker_connections 64; }}
http {{
  access_log off; client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{
    listen 127.0.0.1:{port};
    location /removed/ {{ proxy_pass {address}/; proxy_set_header X-Forwarded-Prefix /removed; }}
    location /doubled {{ proxy_pass {address}/; proxy_set_header X-Forwarded-Prefix /doubled; }}
  }}
}}
"""


@accepts(15, "nginx that removes a prefix, and one that doubles slashes", oracle="nginx and curl")
def test_service_works_behind_nginx(address: str, tmp_path: Path) -> None:
    nginx = shutil.which("nginx")
    curl = shutil.which("curl")
    if nginx is None or curl is None:
        pytest.skip("nginx or curl is not installed")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    (tmp_path / "conf").write_text(NGINX.format(folder=tmp_path, port=port, address=address))
    (tmp_path / "image.png").write_bytes(IMAGE)
    process = subprocess.Popen([nginx, "-e", "stderr", "-c", str(tmp_path / "conf")], stderr=subprocess.PIPE)
    try:
        retry = ["--retry", "20", "--retry-connrefused", "--retry-delay", "1", "--silent", "--show-error", "--fail"]
        for prefix in ("/removed", "/doubled"):
            base = f"http://127.0.0.1:{port}{prefix}"
            upload = ["--data-binary", f"@{tmp_path / 'image.png'}", f"{base}/denoise/"]
            output = subprocess.run([curl, *retry, *upload], check=True, capture_output=True, timeout=60).stdout
            assert output.startswith(b"\x89PNG")
            document = subprocess.run(
                [curl, *retry, f"{base}/openapi.json"], check=True, capture_output=True, timeout=60
            )
            assert json.loads(document.stdout)["servers"] == [{"url": prefix}]
    finally:
        process.terminate()
        process.communicate(timeout=20)
