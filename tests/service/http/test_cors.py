"""CORS: pages of allowed origins may send every documented header, and read every one that a response has."""

import re
import socket
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from starlette.testclient import TestClient

from service.config import Settings
from service.http.app import create_app
from service.http.cors import add_cors, cors_headers
from service.http.dispatcher import Dispatcher
from service.http.headers import CORS_ALLOWED_HEADERS, CORS_EXPOSED_HEADERS
from service.http.parameters import parameter_documents
from tests.conftest import digit, listening, png
from tests.support.compatibility import accepts

ORIGIN = "https://example.org"
IMAGE = png(digit())
DOCUMENTATION = Path(__file__).parents[3] / "docs" / "http-api.md"

# Readable by pages without being exposed (Fetch standard), or of no use to them.
SAFELISTED = {
    "cache-control",
    "content-language",
    "content-length",
    "content-type",
    "expires",
    "last-modified",
    "pragma",
}
USELESS = {
    "date",
    "server",
    "vary",
    "connection",
    "transfer-encoding",
    "x-content-type-options",
    "etag",
    "accept-ranges",
}
PAGE = {"content-security-policy", "referrer-policy", "location"}


def lower(names: list[str]) -> set[str]:
    return {name.lower() for name in names}


@pytest.fixture(scope="module")
def settings(models: Path) -> Settings:
    return Settings.model_validate(
        {
            "models_dir": models,
            "model_watch": "off",
            "default_denoise": "digits",
            "default_encode": "digits",
            "cors_origins": f" {ORIGIN}/ , http://LOCALHOST:3000,",
            "max_header_bytes": 4096,
            "header_timeout": 0.3,
            "min_data_rate_grace": 0.3,
        }
    )


@pytest.fixture(scope="module")
def client(settings: Settings) -> Generator[TestClient]:
    with TestClient(add_cors(Dispatcher(create_app(settings)), settings)) as client:
        yield client


def test_every_documented_request_header_is_allowed() -> None:
    text = DOCUMENTATION.read_text()
    documented = {document["name"].lower() for document in parameter_documents("denoise") if document["in"] == "header"}
    assert documented
    mentioned = {name.lower() for name in re.findall(r"`(X-[A-Za-z-]+|[Tt]raceparent|Authorization)`", text)}
    assert documented | mentioned <= lower(CORS_ALLOWED_HEADERS) | lower(CORS_EXPOSED_HEADERS)
    assert documented <= lower(CORS_ALLOWED_HEADERS)


@accepts(16, "preflight of every documented request header", oracle="the documentation", cases="{method} with {header}")
@pytest.mark.parametrize("header", CORS_ALLOWED_HEADERS)
@pytest.mark.parametrize("method", ["POST", "GET", "HEAD"])
def test_preflight_of_a_documented_header_succeeds(client: TestClient, header: str, method: str) -> None:
    headers = {"origin": ORIGIN, "access-control-request-method": method, "access-control-request-headers": header}
    answer = client.options("/denoise", headers=headers)
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, ORIGIN)
    assert header.lower() in answer.headers["access-control-allow-headers"].lower()


REQUESTS: list[tuple[str, str, dict[str, str], bytes]] = [
    ("POST", "/denoise", {}, IMAGE),
    ("POST", "/denoise", {"accept": "application/json"}, IMAGE),
    ("POST", "/encode", {}, png(digit().repeat(2, 0))),
    ("POST", "/denoise?model=photos", {}, IMAGE),
    ("POST", "/denoise", {"content-encoding": "gzip"}, IMAGE),
    ("POST", "/denoise?model=nobody", {}, IMAGE),
    ("GET", "/denoise", {}, b""),
    ("GET", "/models", {}, b""),
    ("POST", "/models", {}, b""),
    ("GET", "/none", {}, b""),
    ("GET", "/metrics", {}, b""),
    ("OPTIONS", "/models", {}, b""),
]


@accepts(
    16, "every response header is exposed, on errors too", oracle="the headers of the response", cases="{method} {path}"
)
@pytest.mark.parametrize(("method", "path", "headers", "body"), REQUESTS)
def test_every_response_header_is_exposed(
    client: TestClient, method: str, path: str, headers: dict[str, str], body: bytes
) -> None:
    answer = client.request(method, path, headers={"origin": ORIGIN, **headers}, content=body, follow_redirects=False)
    sent = {name for name in answer.headers if not name.startswith("access-control-")}
    exposed = {name.strip().lower() for name in answer.headers["access-control-expose-headers"].split(",")}
    assert sent - SAFELISTED - USELESS - PAGE <= exposed
    assert answer.headers["access-control-allow-origin"] == ORIGIN


@accepts(16, "allowed origins, and no others", oracle="the setting", cases="{configured} and {sent}")
@pytest.mark.parametrize(
    ("configured", "sent", "allowed"),
    [
        ("*", "https://any.example", "*"),
        ("https://a.example, https://b.example", "https://b.example", "https://b.example"),
        ("https://a.example/", "https://a.example", "https://a.example"),
        ("HTTPS://A.example", "https://a.example", "https://a.example"),
        ("http://localhost:3000", "http://localhost:3000", "http://localhost:3000"),
        ("https://a.example", "https://evil.example", None),
        ("https://a.example", "https://a.example.evil", None),
        ("", "https://a.example", None),
    ],
)
def test_both_ways_of_answering_agree_about_origins(
    models: Path, configured: str, sent: str, allowed: str | None
) -> None:
    settings = Settings.model_validate({"models_dir": models, "model_watch": "off", "cors_origins": configured})
    with TestClient(add_cors(Dispatcher(create_app(settings)), settings)) as client:
        answer = client.get("/livez", headers={"origin": sent})
    protocol = {name.decode(): value.decode() for name, value in cors_headers([(b"origin", sent.encode())], settings)}
    name = "access-control-allow-origin"
    assert answer.headers.get(name) == protocol.get(name) == allowed


HEAD = f"POST /denoise HTTP/1.1\r\nHost: x\r\nOrigin: {ORIGIN}\r\nContent-Type: image/png\r\n".encode()
EARLY: dict[str, tuple[bytes, int]] = {
    "slow head": (HEAD, 408),
    "slow body": (HEAD + b"Content-Length: 100\r\n\r\nx", 408),
    "large head": (HEAD + b"".join(b"X-%d: %s\r\n" % (number, b"a" * 500) for number in range(20)) + b"\r\n", 431),
    "malformed head": (HEAD + b"Content-Length: many\r\n\r\n", 400),
    "malformed chunk": (HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
}


@contextmanager
def connect(address: str) -> Generator[socket.socket]:
    parts = urlsplit(address)
    with socket.create_connection((parts.hostname, parts.port), timeout=20) as connection:
        yield connection


@accepts(16, "errors before the application: 400, 408, 431", oracle="the bytes of the response", cases="{name}")
@pytest.mark.parametrize("name", EARLY)
def test_error_of_the_protocol_is_readable_by_pages(settings: Settings, name: str) -> None:
    request, status = EARLY[name]
    with listening(settings) as address, connect(address) as connection:
        connection.sendall(request)
        received = b"".join(iter(lambda: connection.recv(65536), b"")).decode().lower()
    assert received.startswith(f"http/1.1 {status} ")
    assert f"\r\naccess-control-allow-origin: {ORIGIN}\r\n" in received
    assert "\r\naccess-control-expose-headers: " in received
