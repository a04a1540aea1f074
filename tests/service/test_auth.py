"""API keys, permissions and rate limits; CORS; and the security headers of the documentation page."""

import hashlib
import subprocess
import sys
import time
from collections.abc import Generator
from functools import partial
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from service.auth import KEY_LINE, ApiKeys, new_key
from service.config import Settings
from service.errors import RateLimited
from service.http.headers import CORS_ALLOWED_HEADERS, CORS_EXPOSED_HEADERS
from service.server.run import build_app
from tests.conftest import Serve, digit, png

GOOD = png(digit())
ALICE, BOB = "alice's own key", "hg_of-bob"


def line(name: str, key: str, rest: str = "") -> str:
    return f"{name} {hashlib.sha256(key.encode()).hexdigest()} {rest}\n"


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    file = tmp_path / "keys"
    file.write_text(f"# API keys\n\n{line('alice', ALICE)}{line('bob', BOB, 'denoise,encode # only these')}")
    return file


@pytest.fixture
def guarded(serve: Serve, keys: Path) -> TestClient:
    return serve(api_keys_file=keys)


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


@pytest.mark.parametrize("path", ["/models", "/models/digits", "/metrics", "/nothing"])
def test_protected_paths_require_a_key(guarded: TestClient, path: str) -> None:
    answer = guarded.get(path)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["type"] == "/problems/unauthorized"
    assert answer.headers["x-request-id"] == answer.json()["instance"]


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/docs", "/openapi.json", "/static/docs.js"])
def test_probes_and_documentation_need_no_key(guarded: TestClient, path: str) -> None:
    assert guarded.get(path).status_code == 200


@pytest.mark.parametrize(
    "headers", [{}, bearer("wrong"), bearer(""), {"authorization": f"Basic {ALICE}"}, {"x-api-key": ""}]
)
def test_operation_rejects_unknown_keys(guarded: TestClient, headers: dict[str, str]) -> None:
    answer = guarded.post("/denoise", content=GOOD, headers=headers)
    assert answer.status_code == 401
    assert ALICE not in answer.text
    assert guarded.app_state["service"].admission.items == 0


@pytest.mark.parametrize("headers", [bearer(ALICE), {"authorization": f"bearer  {ALICE} "}, {"x-api-key": ALICE}])
def test_unrestricted_key_allows_everything(guarded: TestClient, headers: dict[str, str]) -> None:
    assert guarded.post("/denoise", content=GOOD, headers=headers).status_code == 200
    assert guarded.get("/models", headers=headers).status_code == 200


def test_restricted_key_allows_only_its_operations(guarded: TestClient) -> None:
    assert guarded.post("/denoise", content=GOOD, headers=bearer(BOB)).status_code == 200
    for path in ("/reconstruct", "/models", "/metrics"):
        answer = guarded.request("POST" if path == "/reconstruct" else "GET", path, headers=bearer(BOB))
        assert (answer.status_code, answer.json()["type"]) == (403, "/problems/forbidden")


def test_openapi_states_that_keys_are_required(guarded: TestClient, client: TestClient) -> None:
    assert guarded.get("/openapi.json").json()["security"] == [{"key": []}]
    assert "security" not in client.get("/openapi.json").json()


def test_rate_limit_is_per_key(serve: Serve, keys: Path) -> None:
    client = serve(api_keys_file=keys, rate_limit="2/hour")
    answers = [client.post("/denoise", content=GOOD, headers=bearer(key)) for key in (ALICE, ALICE, ALICE, BOB)]
    assert [answer.status_code for answer in answers] == [200, 200, 429, 200]
    assert 3000 < int(answers[2].headers["retry-after"]) <= 3600
    assert client.get("/livez", headers=bearer(ALICE)).status_code == 200


def test_rate_limit_restarts_when_clock_is_set_back(keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    access, headers = ApiKeys.from_file(keys, "2/minute"), {b"x-api-key": ALICE.encode()}
    admit, now = partial(access.authorize, "/denoise", headers), time.time()
    monkeypatch.setattr(time, "time", lambda: now)
    admit()
    admit()
    with pytest.raises(RateLimited):
        admit()
    monkeypatch.setattr(time, "time", lambda: now - 86400)
    admit()


def test_rate_limit_is_divided_among_workers(keys: Path) -> None:
    access = ApiKeys.from_file(keys, "5/minute", workers=2)
    headers = {b"x-api-key": ALICE.encode()}
    for _ in range(3):
        access.authorize("/denoise", headers)
    with pytest.raises(RateLimited):
        access.authorize("/denoise", headers)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "contains no key"),
        ("alice\n", "line 1: expected NAME SHA256"),
        ("\nalice 12ab\n", "line 2"),
        (line("alice", ALICE, "denoise,train"), "line 1"),
        (
            "# keys\n" + line("bob", BOB) + line("alice", ALICE) + line("bob", ALICE),
            "line 4: the name bob is that of line 2",
        ),
        ("\ud800", "cannot be read"),
    ],
)
def test_invalid_keys_file_is_rejected_by_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "keys").write_text(text, "utf-8", "surrogatepass")
    with pytest.raises(ValueError, match=said):
        ApiKeys.from_file(tmp_path / "keys")


def test_missing_keys_file_prevents_startup(models: Path, tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match="cannot be read"),
        TestClient(
            build_app(
                Settings.model_validate(
                    {"models_dir": models, "model_watch": "off", "api_keys_file": tmp_path / "none"}
                )
            )
        ),
    ):
        pass


def test_new_key_matches_its_line() -> None:
    key, key_line = new_key("carol")
    match = KEY_LINE.fullmatch(key_line)
    assert match
    assert match["name"] == "carol"
    assert match["digest"] == hashlib.sha256(key.encode()).hexdigest()
    assert new_key("carol")[0] != key


def test_key_command_creates_valid_keys(tmp_path: Path) -> None:
    run = subprocess.run([sys.executable, "-m", "service", "key", "carol"], capture_output=True, text=True, check=True)
    (tmp_path / "keys").write_text(run.stdout)
    assert (
        ApiKeys.from_file(tmp_path / "keys").authorize("/denoise", {b"x-api-key": run.stderr.strip().encode()})
        == "carol"
    )


def test_key_command_that_fails_leaves_the_keys_file_valid(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    for name in ("carol", "a b", ""):
        with file.open("a") as keys:
            run = subprocess.run([sys.executable, "-m", "service", "key", name], stdout=keys, stderr=subprocess.PIPE)
        assert run.returncode == (0 if name == "carol" else 2)
        assert run.stderr
    ApiKeys.from_file(file)
    assert len(file.read_text().splitlines()) == 1


@pytest.fixture
def shared(models: Path) -> Generator[TestClient]:
    settings = {
        "models_dir": models,
        "model_watch": "off",
        "default_denoise": "digits",
        "cors_origins": "https://a.example",
    }
    with TestClient(build_app(Settings.model_validate(settings))) as client:
        yield client


def test_cors_headers_are_sent_to_allowed_origins_only(shared: TestClient, client: TestClient) -> None:
    asked = {"origin": "https://a.example", "access-control-request-method": "POST"}
    assert shared.options("/denoise", headers=asked).headers["access-control-allow-origin"] == "https://a.example"
    answer = shared.post("/denoise", content=GOOD, headers={"origin": "https://a.example"})
    assert answer.headers["access-control-allow-origin"] == "https://a.example"
    exposed = answer.headers["access-control-expose-headers"].split(", ")
    assert exposed == CORS_EXPOSED_HEADERS
    assert {"X-Noise-Sigma", "X-Original-Bit-Depth", "Retry-After"} <= set(exposed)
    sent = {name for name in answer.headers if name.startswith("x-") or name == "server-timing"}
    assert sent <= {name.lower() for name in exposed}
    preflight = asked | {"access-control-request-headers": ", ".join(CORS_ALLOWED_HEADERS)}
    assert shared.options("/denoise", headers=preflight).status_code == 200
    other = shared.post("/denoise", content=GOOD, headers={"origin": "https://b.example"})
    assert "access-control-allow-origin" not in other.headers
    off = client.post("/denoise", content=GOOD, headers={"origin": "https://a.example"})
    assert not [name for name in off.headers if name.startswith("access-control")]


def test_docs_page_runs_no_third_party_script(client: TestClient) -> None:
    answer = client.get("/docs")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "<script>" not in answer.text


def test_docs_and_metrics_can_be_disabled(serve: Serve) -> None:
    client = serve(enable_docs=False, enable_metrics=False)
    for path in ("/docs", "/openapi.json", "/static/docs.js", "/metrics"):
        assert client.get(path).status_code == 404, path
    assert client.get("/readyz").status_code == 200


def test_invalid_rate_limit_is_rejected() -> None:
    with pytest.raises(ValueError, match="100/minute"):
        Settings.model_validate({"rate_limit": "often"})
