"""Real clients against a real socket: curl, Python, Node and Java, as their documentation shows them."""

import base64
import io
import json
import shutil
import socket
import subprocess
import urllib.request
from collections.abc import AsyncIterator, Generator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from service.config import Settings
from tests.conftest import digit, listening, png
from tests.support.compatibility import accepts, refuses

IMAGE = png(digit())


@pytest.fixture(scope="module")
def address(models: Path) -> Generator[str]:
    defaults = {f"default_{operation}": "digits" for operation in ("encode", "decode", "reconstruct", "denoise")}
    settings = Settings.model_validate({"models_dir": models, "model_watch": "off", **defaults})
    with listening(settings) as address:
        yield address


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clients")
    (folder / "image.png").write_bytes(IMAGE)
    (folder / "图 ü.png").write_bytes(IMAGE)
    (folder / "image.b64").write_bytes(base64.encodebytes(IMAGE))
    (folder / "form.json").write_text(json.dumps({"images": [base64.encodebytes(IMAGE).decode()]}))
    return folder


def tool(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


def run(command: list[str], folder: Path) -> str:
    """Run a command. Return what it writes."""
    ended = subprocess.run(command, cwd=folder, check=False, capture_output=True, timeout=120)
    assert ended.returncode == 0, ended.stderr.decode()
    return ended.stdout.decode()


PNG_TYPE = ["-H", "Content-Type: image/png"]
CURL: dict[str, tuple[str, list[str], str]] = {
    "--data-binary": ("/denoise", ["--data-binary", "@image.png"], "200 image/png"),
    "--data-binary with a type": ("/denoise", ["--data-binary", "@image.png", *PNG_TYPE], "200 image/png"),
    "-F": ("/denoise", ["-F", "image=@image.png"], "200 application/json"),
    "-F of another field": ("/denoise", ["-F", "file=@image.png"], "200 application/json"),
    "-F with a type": ("/denoise", ["-F", "image=@image.png;type=image/png"], "200 application/json"),
    "-F with text fields": (
        "/denoise",
        ["-F", "model=photos", "-F", "strength=0.5", "-F", "format=jpg", "-F", "image=@image.png"],
        "200 image/jpeg",
    ),
    "-F of several files": (
        "/denoise",
        ["-F", "images[]=@image.png", "-F", "images[]=@image.png"],
        "200 application/json",
    ),
    "-F of a name in UTF-8": ("/denoise", ["-F", "image=@图 ü.png"], "200 application/json"),
    "-F of base64 in a text field": ("/denoise", ["-F", "image=<image.b64"], "200 application/json"),
    "-F with an encoder": ("/denoise", ["-F", "image=@image.png;encoder=base64"], "200 application/json"),
    "-F of an unknown field": ("/denoise", ["-F", "photo=@image.png"], "400 application/problem+json"),
    "-d": ("/denoise", ["-d", "@image.png"], "415 application/problem+json"),
    "-d of base64": ("/denoise", ["-d", "@image.b64"], "200 image/png"),
    "--data-urlencode": (
        "/denoise",
        ["--data-urlencode", "image@image.b64", "-d", "model=digits"],
        "200 application/json",
    ),
    "-d of JSON": ("/denoise", ["-d", "@form.json", "-H", "Content-Type: application/json"], "200 application/json"),
    "--json": ("/denoise", ["--json", "@form.json"], "200 application/json"),
    "-d of JSON without a type": ("/denoise", ["-d", "@form.json"], "415 application/problem+json"),
    "-T with PUT": ("/denoise", ["-T", "image.png"], "405 application/problem+json"),
    "-T with POST": ("/denoise", ["-T", "image.png", "-X", "POST"], "200 image/png"),
    "-T in chunks": (
        "/denoise",
        ["-T", "image.png", "-X", "POST", "-H", "Transfer-Encoding: chunked"],
        "200 image/png",
    ),
    "Expect": ("/denoise", ["--data-binary", "@image.png", "-H", "Expect: 100-continue"], "200 image/png"),
    "Expect of an unknown model": (
        "/denoise?model=nobody",
        ["--data-binary", "@image.png", "-H", "Expect: 100-continue", *PNG_TYPE],
        "404 application/problem+json",
    ),
    "gzip": (
        "/denoise",
        ["--data-binary", "@image.png", "-H", "Content-Encoding: gzip"],
        "415 application/problem+json",
    ),
    "--compressed": ("/denoise", ["--data-binary", "@image.png", "--compressed"], "200 image/png"),
    "--http1.1": ("/denoise", ["--data-binary", "@image.png", "--http1.1"], "200 image/png"),
    "--http2": ("/denoise", ["--data-binary", "@image.png", "--http2"], "200 image/png"),
    "-F with --http2": ("/denoise", ["-F", "image=@image.png", "--http2"], "200 application/json"),
    "-F in chunks": (
        "/denoise",
        ["-F", "image=@image.png", "-H", "Transfer-Encoding: chunked"],
        "200 application/json",
    ),
    "HTTP/1.0": ("/denoise", ["--data-binary", "@image.png", "--http1.0"], "200 image/png"),
    "-G": ("/denoise", ["-G", "-d", "model=digits"], "405 application/problem+json"),
    "-I": ("/models/", ["-I"], "200 application/json"),
    "-L of a slash": ("/denoise/", ["-L", "--data-binary", "@image.png"], "200 image/png"),
}


def curl_case(name: str) -> Any:
    """Return a parameter of the test with the mark that fits its expected status."""
    if CURL[name][2].startswith("2"):
        mark = accepts(11, "curl", oracle="status and type of the response", cases="{name}")
    else:
        mark = refuses(11, "curl", because="the problem document says what to do", cases="{name}")
    return pytest.param(name, marks=mark)


@pytest.mark.parametrize("name", [curl_case(name) for name in CURL])
def test_curl(address: str, folder: Path, name: str) -> None:
    path, options, expected = CURL[name]
    write = ["-s", "-o", "answer", "-w", "%{http_code} %{content_type}"]
    assert run([tool("curl"), *write, *options, f"{address}{path}"], folder) == expected


@accepts(11, "curl: the connection is used again after errors", oracle="curl's count of connections")
def test_curl_reuses_a_connection_after_errors(address: str, folder: Path) -> None:
    urls = [
        f"{address}/denoise?model=nobody",
        f"{address}/denoise",
        f"{address}/denoise?strength=3",
        f"{address}/denoise",
    ]
    command = [tool("curl"), "-s", "-w", "%{http_code} %{num_connects}\\n", "--data-binary", "@image.png"]
    output = run([*command, *(part for url in urls for part in ("-o", "answer", url))], folder)
    assert output.split() == ["404", "1", "200", "0", "400", "0", "200", "0"]


@refuses(
    11, "curl `--http2-prior-knowledge`", because="the service speaks HTTP/1.1; a proxy in front of it speaks HTTP/2"
)
def test_http2_without_upgrade_is_answered_in_http1(address: str, folder: Path) -> None:
    """The preface of HTTP/2 is answered at once with a problem document, and curl fails with its message."""
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9))
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    assert received.startswith(b"HTTP/1.1 4")
    assert b"application/problem+json" in received
    command = [tool("curl"), "-sS", "--http2-prior-knowledge", f"{address}/livez"]
    assert subprocess.run(command, cwd=folder, check=False, capture_output=True, timeout=60).returncode


WGET = {
    "--post-file": (["--post-file=image.png"], "image/png"),
    "--post-file with a type": (["--post-file=image.png", "--header=Content-Type: image/png"], "image/png"),
    "--method=POST --body-file": (["--method=POST", "--body-file=image.png"], "image/png"),
    "--post-data of base64": ([f"--post-data={base64.b64encode(IMAGE).decode()}"], "image/png"),
}


@accepts(11, "wget", oracle="type of the response", cases="{name}")
@pytest.mark.parametrize("name", WGET)
def test_wget(address: str, folder: Path, name: str) -> None:
    options, expected = WGET[name]
    run([tool("wget"), "--no-proxy", "-q", "-S", "-o", "log", "-O", "answer", *options, f"{address}/denoise"], folder)
    assert f"content-type: {expected}" in (folder / "log").read_text().lower()


@accepts(11, "Python: aiohttp with bodies, streams and forms", oracle="status of the response")
@pytest.mark.anyio
async def test_python_aiohttp(address: str) -> None:
    aiohttp: Any = pytest.importorskip("aiohttp", reason="aiohttp is not installed")

    async def pieces() -> AsyncIterator[bytes]:
        yield IMAGE[:50]
        yield IMAGE[50:]

    form = aiohttp.FormData({"model": "digits", "strength": "0.5"})
    form.add_field("file", IMAGE, filename="图.png")
    async with aiohttp.ClientSession() as session:
        for body in (IMAGE, io.BytesIO(IMAGE), pieces(), form):
            async with session.post(f"{address}/denoise", data=body) as answer:
                assert answer.status == 200, await answer.text()
        async with session.post(f"{address}/denoise", data=IMAGE, expect100=True) as answer:
            assert answer.status == 200


@accepts(11, "Python: httpx with bodies, forms and JSON", oracle="status of the response")
def test_python_httpx(address: str) -> None:
    httpx: Any = pytest.importorskip("httpx", reason="httpx is not installed")
    text = base64.b64encode(IMAGE).decode()
    with httpx.Client(timeout=60) as client:
        for case in (
            {"content": IMAGE},
            {"content": iter([IMAGE])},
            {"files": {"file": ("图.png", IMAGE)}, "data": {"model": "digits", "grayscale": True}},
            {"data": {"image": text}},
            {"json": {"images": [text]}},
        ):
            assert client.post(f"{address}/denoise", **case).status_code == 200, case


GO_CLIENT = """
package main

import (
	"bytes"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"os"
)

func send(address string, kind string, body io.Reader) {
	answer, err := http.Post(address, kind, body)
	if err != nil {
		panic(err)
	}
	io.Copy(io.Discard, answer.Body)
	answer.Body.Close()
	fmt.Println(answer.StatusCode, answer.Header.Get("Content-Type"))
}

func main() {
	image, _ := os.ReadFile("image.png")
	send(os.Args[1], "image/png", bytes.NewReader(image))
	send(os.Args[1], "application/octet-stream", io.MultiReader(bytes.NewReader(image)))
	form := &bytes.Buffer{}
	writer := multipart.NewWriter(form)
	writer.WriteField("model", "digits")
	part, _ := writer.CreateFormFile("file", "image.png")
	part.Write(image)
	writer.Close()
	send(os.Args[1], writer.FormDataContentType(), form)
}
"""


@accepts(11, "Go: net/http with a body, a stream and a form", oracle="status and type of the response")
def test_go(address: str, folder: Path) -> None:
    (folder / "client.go").write_text(GO_CLIENT)
    lines = run([tool("go"), "run", "client.go", f"{address}/denoise"], folder).splitlines()
    assert lines == ["200 image/png", "200 image/png", "200 application/json"]


@accepts(11, "Python: urllib", oracle="status and type of the response")
def test_python_urllib(address: str) -> None:
    request = urllib.request.Request(f"{address}/denoise", data=IMAGE)  # noqa: S310 - to this machine
    with urllib.request.urlopen(request) as answer:  # noqa: S310
        assert (answer.status, answer.headers["content-type"]) == (200, "image/png")


@accepts(11, "Python: httpx2 with bodies, chunks, forms and parameters", oracle="status of the response")
def test_python_httpx2(address: str) -> None:
    assert httpx2.post(f"{address}/denoise", content=iter([IMAGE[:50], IMAGE[50:]])).status_code == 200  # in chunks
    answer = httpx2.post(
        f"{address}/denoise", files={"file": ("图.png", IMAGE)}, data={"model": "photos", "grayscale": True}
    )
    assert answer.json()["model"] == "photos"
    text = base64.b64encode(IMAGE).decode()
    assert httpx2.post(f"{address}/denoise", data={"image": text, "strength": "0.5"}).status_code == 200
    assert httpx2.post(f"{address}/denoise", params={"grayscale": True}, content=IMAGE).status_code == 200


@accepts(11, "Python: requests with bodies, streams, files, forms and JSON", oracle="status of the response")
def test_python_requests(address: str) -> None:
    requests: Any = pytest.importorskip("requests")
    session = requests.Session()
    cases: list[dict[str, Any]] = [
        {"data": IMAGE},
        {"data": IMAGE, "params": {"grayscale": True, "strength": 0.5}},
        {"data": iter([IMAGE])},
        {"files": {"image": IMAGE}},
        {"files": {"file": ("图 ü.png", IMAGE)}, "data": {"model": "digits", "grayscale": True}},
        {"files": {"image": ("a.png", IMAGE), "model": "digits"}},
        {"files": {"image": ("a.png", IMAGE), "model": (None, "digits")}},
        {"files": [("images", ("a.png", IMAGE, "image/png")), ("images", ("b.png", IMAGE, "image/png"))]},
        {"data": {"image": base64.b64encode(IMAGE), "model": "digits"}},
        {"json": {"images": [base64.b64encode(IMAGE).decode()]}},
        {"data": base64.b64encode(IMAGE), "headers": {"Content-Type": "text/plain"}},
    ]
    for case in cases:
        answer = session.post(f"{address}/denoise", timeout=60, **case)
        assert answer.status_code == 200, (case, answer.text)
    unbounded = {"Content-Type": "multipart/form-data"}
    answer = session.post(f"{address}/denoise", data=IMAGE, headers=unbounded, timeout=60)
    assert (answer.status_code, "boundary" in answer.json()["detail"]) == (400, True)


NODE_CLIENT = """
const fs = require("fs");
const [address] = process.argv.slice(1);
const bytes = fs.readFileSync("image.png");
const form = (entries) => {
  const form = new FormData();
  entries.forEach((entry) => form.append(...entry));
  return form;
};
const blob = new Blob([bytes]);
const bodies = [
  bytes,
  blob,
  new Blob([bytes], { type: "image/png" }),
  bytes.toString("base64"),
  "data:image/png;base64," + bytes.toString("base64"),
  form([["image", blob, "图.png"]]),
  form([["model", "digits"], ["grayscale", true], ["file", blob]]),
  form([["images[]", blob], ["images[]", blob]]),
  new URLSearchParams({ image: bytes.toString("base64"), model: "digits" }),
];
(async () => {
  for (const body of bodies) {
    const answer = await fetch(`${address}/denoise`, { method: "POST", body });
    console.log(answer.status, answer.headers.get("content-type"));
    await answer.arrayBuffer();
  }
  const stream = await fetch(`${address}/denoise/`, { method: "POST", body: blob.stream(), duplex: "half" });
  console.log(stream.status, stream.headers.get("content-type"));
})();
"""


@accepts(
    11,
    "Node: fetch with buffers, blobs, text, FormData, URLSearchParams and streams",
    oracle="status and type of the response",
)
def test_node_fetch(address: str, folder: Path) -> None:
    lines = run([tool("node"), "-e", NODE_CLIENT, address], folder).splitlines()
    assert lines == [*["200 image/png"] * 5, *["200 application/json"] * 4, "200 image/png"]


JAVA_CLIENT = """
import java.io.*;
import java.net.*;
import java.net.http.*;
import java.nio.file.*;
import java.util.Base64;

public class Client {
    public static void main(String[] arguments) throws Exception {
        byte[] image = Files.readAllBytes(Path.of("image.png"));
        var target = URI.create(arguments[0]);
        var client = HttpClient.newHttpClient();
        HttpRequest.BodyPublisher[] bodies = {
            HttpRequest.BodyPublishers.ofByteArray(image),
            HttpRequest.BodyPublishers.ofInputStream(() -> new ByteArrayInputStream(image)),
            HttpRequest.BodyPublishers.ofString(Base64.getMimeEncoder().encodeToString(image)),
            HttpRequest.BodyPublishers.ofString(Base64.getUrlEncoder().withoutPadding().encodeToString(image)),
        };
        for (var body : bodies) {
            for (boolean expect : new boolean[] {false, true}) {
                var request = HttpRequest.newBuilder(target).expectContinue(expect).POST(body).build();
                System.out.println(client.send(request, HttpResponse.BodyHandlers.ofByteArray()).statusCode());
            }
        }
        var connection = (HttpURLConnection) target.toURL().openConnection();  // sends Accept: text/html, ..., *; q=.2
        connection.setDoOutput(true);
        try (var stream = connection.getOutputStream()) { stream.write(image); }
        System.out.println(connection.getResponseCode() + " " + connection.getContentType());
    }
}
"""


@accepts(11, "Java: HttpClient with `Expect`, and HttpURLConnection", oracle="status and type of the response")
def test_java(address: str, folder: Path) -> None:
    java = tool("java")
    tool("javac")
    (folder / "Client.java").write_text(JAVA_CLIENT)
    lines = run([java, "Client.java", f"{address}/denoise"], folder).splitlines()
    assert lines == [*["200"] * 8, "200 image/jpeg"]
