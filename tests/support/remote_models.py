"""A web server of remote models for tests, with faults."""

import json
import re
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class WebFolder:
    """A folder behind a web server. `faults` by path: `half` sends half of a file, `slow` stops after ten bytes."""

    folder: Path
    address: str = ""
    faults: dict[str, str] = field(default_factory=dict[str, str])
    requests: list[str] = field(default_factory=list[str])
    gone: bool = False


@contextmanager
def web_server(web: WebFolder) -> Generator[WebFolder]:
    """Serve the folder as a static web server does, and as the Hugging Face Hub serves the repository `owner/repo`."""
    stopped = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            web.requests.append(self.path)
            path = re.sub(r"^/(static|owner/repo/resolve/[0-9a-f]{40})/", "", self.path)
            data = self._hub() if self.path.startswith("/api/") else self._file(path)
            if data is None or web.gone:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            fault = web.faults.get(path)
            self.wfile.write(data[: {None: len(data), "half": len(data) // 2, "slow": 10}[fault]])
            self.wfile.flush()
            if fault == "slow":
                stopped.wait(60)

        def _file(self, path: str) -> bytes | None:
            return (web.folder / path).read_bytes() if (web.folder / path).is_file() else None

        def _hub(self) -> bytes | None:
            if self.path != "/api/models/owner/repo/revision/main":
                return None
            names = [file.relative_to(web.folder).as_posix() for file in web.folder.rglob("*") if file.is_file()]
            return json.dumps({"sha": COMMIT, "siblings": [{"rfilename": name} for name in names]}).encode()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Write nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    web.address = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield web
    finally:
        stopped.set()
        server.shutdown()
        thread.join()
        server.server_close()
