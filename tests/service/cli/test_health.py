"""The health check asks the process as it is configured."""

import ssl
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from socket import AF_INET, AF_INET6

import pytest

from service.cli.health import check, flags_of
from service.config import Settings
from tests.support.compatibility import accepts, refuses


class Ready(BaseHTTPRequestHandler):
    """Answers /readyz with the status of the server."""

    def do_GET(self) -> None:
        self.send_response(getattr(self.server, "status", 200) if self.path == "/readyz" else 404)
        self.end_headers()
        self.wfile.write(b"loading models")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the base class names it
        """Print nothing."""


@contextmanager
def listening(host: str, *, status: int = 200, certificate: Path | None = None) -> Generator[int]:
    class Server(HTTPServer):
        address_family = AF_INET6 if ":" in host else AF_INET

    server = Server((host, 0), Ready)
    setattr(server, "status", status)  # noqa: B010 - the type checker does not know it
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A self-signed certificate for another name, with its key."""
    path = tmp_path / "both.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=example.org"]
    subprocess.run([*command, "-keyout", path, "-out", tmp_path / "c.pem"], check=True, capture_output=True)
    path.write_bytes(path.read_bytes() + (tmp_path / "c.pem").read_bytes())
    return path


@accepts(20, "another host than the default", oracle="a server on that host", cases="{bound} for {host}")
@pytest.mark.parametrize(
    ("bound", "host"), [("127.0.0.1", "0.0.0.0"), ("127.0.0.1", "127.0.0.1"), ("::1", "::"), ("127.0.0.1", "localhost")]
)
def test_the_address_of_the_settings_is_asked(bound: str, host: str) -> None:
    with listening(bound) as port:
        assert check(Settings(host=host, port=port)) is None


@accepts(20, "TLS", oracle="a server with a certificate")
def test_a_service_with_tls_is_asked_with_tls(certificate: Path) -> None:
    with listening("127.0.0.1", certificate=certificate) as port:
        assert check(Settings(port=port, tls_cert_file=certificate)) is None
        assert check(Settings(port=port)) is not None


@refuses(20, "a service that is not ready", because="status 1 and the reason")
def test_a_service_that_is_not_ready_gives_the_reason() -> None:
    with listening("127.0.0.1", status=503) as port:
        assert check(Settings(port=port)) == "/readyz answers 503: loading models"


@refuses(20, "no service at the address", because="status 1 and the address")
def test_address_without_a_listening_service_is_named() -> None:
    with listening("127.0.0.1") as port:
        pass
    assert str(check(Settings(port=port))).startswith(f"http://127.0.0.1:{port}/readyz does not answer")


@accepts(20, "flags of the container's first process", oracle="the flags")
@pytest.mark.parametrize(
    ("words", "flags"),
    [
        (["hourglass", "serve"], {}),
        (["hourglass", "serve", "--port", "9000", "--host=::"], {"port": "9000", "host": "::"}),
        (["python", "/bin/hourglass", "serve", "--tls-cert-file", "/c.pem", ""], {"tls_cert_file": "/c.pem"}),
        (["sleep", "--port", "9000"], {}),
    ],
)
def test_the_flags_of_the_first_process_are_read(words: list[str], flags: dict[str, object]) -> None:
    assert flags_of(words) == flags


def test_the_check_imports_no_runtime_and_no_framework() -> None:
    code = "import sys, service.cli.health; sys.exit(bool({'onnxruntime', 'fastapi', 'PIL'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_command_ends_with_status_1_and_the_reason() -> None:
    with listening("127.0.0.1") as port:
        command = [sys.executable, "-m", "service", "health", "--port", str(port)]
        assert subprocess.run(command, check=False).returncode == 0
    run = subprocess.run(command, check=False, capture_output=True, text=True)
    assert run.returncode == 1
    assert "does not answer" in run.stderr
