"""`Upgrade` headers are ignored: the request is answered, its body is never parsed as another request."""

import json
import shutil
import socket
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from service.config import Settings
from tests.conftest import digit, listening, png
from tests.support.compatibility import accepts, refuses

IMAGE = png(digit())
H2C = b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\nConnection: Upgrade, HTTP2-Settings\r\n"
WEBSOCKET = b"Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n"
TWICE = b"Upgrade: h2c\r\nUpgrade: TLS/1.0\r\nConnection: upgrade\r\n"
TARGET = b"POST /denoise HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
LENGTH = b"Content-Length: %d\r\n\r\n"
SMUGGLED = b"GET /models HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture(scope="module")
def address(models: Path) -> Generator[str]:
    settings = Settings.model_validate({"models_dir": models, "model_watch": "off", "default_denoise": "digits"})
    with listening(settings) as address:
        yield address


@contextmanager
def connect(address: str) -> Generator[socket.socket]:
    parts = urlsplit(address)
    with socket.create_connection((parts.hostname, parts.port), timeout=20) as connection:
        yield connection


def responses(connection: socket.socket, count: int) -> list[tuple[int, bytes]]:
    """Read `count` responses, then check that none follows."""
    stream = connection.makefile("rb")
    answered: list[tuple[int, bytes]] = []
    for _ in range(count):
        status = int(stream.readline().split()[1])
        headers = dict(line.lower().split(b": ", 1) for line in iter(stream.readline, b"\r\n"))
        answered.append((status, stream.read(int(headers[b"content-length"]))))
    connection.settimeout(0.2)
    with pytest.raises(TimeoutError):
        connection.recv(1)
    return answered


def chunked(body: bytes) -> bytes:
    """The headers and body of a request in two chunks."""
    half = len(body) // 2
    chunks = [b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:half], body[half:])]
    return b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(chunks) + b"0\r\n\r\n"


@accepts(
    11,
    "`Upgrade` with a body: it is ignored and the connection stays usable",
    oracle="the image of the response",
    cases="{framing}",
)
@pytest.mark.parametrize("upgrade", [H2C, WEBSOCKET, TWICE], ids=["h2c", "websocket", "twice"])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_request_with_upgrade_and_body_is_answered(address: str, upgrade: bytes, framing: str) -> None:
    body = chunked(IMAGE) if framing == "chunked" else LENGTH % len(IMAGE) + IMAGE
    with connect(address) as connection:
        for _ in range(2):  # the connection stays usable
            connection.sendall(TARGET + upgrade + body)
            [(status, image)] = responses(connection, 1)
            assert (status, image[:4]) == (200, b"\x89PNG")


@accepts(11, "a body behind `Upgrade` that looks like a request is a body", oracle="one response on the connection")
def test_body_after_upgrade_is_not_a_request(address: str) -> None:
    with connect(address) as connection:
        connection.sendall(TARGET + H2C + LENGTH % len(SMUGGLED) + SMUGGLED)
        [(status, body)] = responses(connection, 1)
    assert status == 415
    assert json.loads(body)["type"] == "/problems/unsupported-image"


@accepts(11, "`Upgrade` in pieces and pipelined", oracle="two responses")
def test_upgrade_in_pieces_and_pipelined(address: str) -> None:
    """Every byte of the head arrives alone; a second request follows in the packet of the first one's body."""
    first, second = TARGET + H2C + LENGTH % len(IMAGE), b"GET /livez HTTP/1.1\r\nHost: x\r\n" + H2C + b"\r\n"
    with connect(address) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for index in range(len(first)):
            connection.sendall(first[index : index + 1])
        connection.sendall(IMAGE + second)
        assert [status for status, _ in responses(connection, 2)] == [200, 200]


@refuses(11, "`CONNECT`", because="the service is no proxy; 400")
def test_connect_method_is_rejected(address: str) -> None:
    with connect(address) as connection:
        connection.sendall(b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n" + SMUGGLED)
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    assert received.startswith(b"HTTP/1.1 400 ")
    assert received.count(b"\r\n\r\n") == 1


@accepts(11, "curl `--http2`", oracle="the image of the response")
def test_curl_http2(address: str, tmp_path: Path) -> None:
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("curl is not installed")
    if b"HTTP2" not in subprocess.run([curl, "--version"], check=True, capture_output=True).stdout:
        pytest.skip("curl is built without HTTP/2")
    (tmp_path / "image.png").write_bytes(IMAGE)
    options = ["--http2", "--silent", "--data-binary", "@image.png", "--header", "Content-Type: image/png"]
    command = [curl, *options, f"{address}/denoise"]
    output = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=60).stdout
    assert output.startswith(b"\x89PNG")


JAVA_CLIENT = """
import java.net.URI;
import java.net.http.*;
import java.nio.file.Path;

public class Client {
    public static void main(String[] arguments) throws Exception {
        var client = HttpClient.newHttpClient();
        var body = HttpRequest.BodyPublishers.ofFile(Path.of(arguments[1]));
        var request = HttpRequest.newBuilder(URI.create(arguments[0])).header("Content-Type", "image/png").POST(body);
        for (int i = 0; i < 3; i++) {
            var response = client.send(request.build(), HttpResponse.BodyHandlers.ofByteArray());
            System.out.println(response.statusCode() + " " + response.headers().firstValue("content-type").orElse(""));
        }
    }
}
"""


@accepts(11, "Java: HttpClient, which sends `Upgrade: h2c`", oracle="status and type of the response")
def test_java_http_client(address: str, tmp_path: Path) -> None:
    """Java's HttpClient sends `Upgrade: h2c` by default."""
    java = shutil.which("java")
    if java is None or shutil.which("javac") is None:
        pytest.skip("no Java development kit is installed")
    (tmp_path / "Client.java").write_text(JAVA_CLIENT)
    (tmp_path / "image.png").write_bytes(IMAGE)
    command = [java, "Client.java", f"{address}/denoise", "image.png"]
    output = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True, timeout=120).stdout
    assert output.splitlines() == ["200 image/png"] * 3
