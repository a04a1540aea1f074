"""A proxy in front of fake-gcs-server, which has no uploads by the XML API: it sends them on by the JSON API."""

import json
from collections.abc import Generator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


@contextmanager
def with_uploads(port: int) -> Generator[str]:
    """Yield the address of a proxy for the server on `port`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._forward("GET", self.path)

        def do_DELETE(self) -> None:
            self._forward("DELETE", self.path)

        def do_PUT(self) -> None:
            bucket, _, name = self.path[1:].partition("/")
            self._forward("POST", f"/upload/storage/v1/b/{bucket}/o?uploadType=media&name={name}")

        def _forward(self, method: str, path: str) -> None:
            connection = HTTPConnection("127.0.0.1", port)
            data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            connection.request(method, path, data, {"Content-Type": "application/octet-stream"})
            response = connection.getresponse()
            body = response.read()
            connection.close()
            self.send_response(response.status)
            for name, value in response.getheaders():
                if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                    self.send_header(name, value)
            if method == "POST" and response.status == 200:
                self.send_header("ETag", json.loads(body)["etag"])
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Write nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
