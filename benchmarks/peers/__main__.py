"""`make bench-peers`: the same work by each peer, one at a time on one core, beside FastAPI's echo."""

import json
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from cyclopts import App, Parameter
from PIL import Image
from rich.console import Console

from benchmarks import fixtures, payloads
from benchmarks.__main__ import machine
from benchmarks.load import Request, WrkMissing, load
from benchmarks.load_cases import LOAD_CORE, PNG, SERVER_CORE, command, start_hourglass
from benchmarks.peers.entry import CONNECTIONS, Entry, draw, table
from benchmarks.peers.install import PEERS, interpreter, is_installed, names
from benchmarks.process import Server, ServerFailed, free_port
from benchmarks.processor import results_folder

notes = Console(stderr=True)
app = App(name="python -m benchmarks.peers", help="Measure Hourglass and its peers on the same work.")


def request_of(peer: dict[str, Any]) -> Request:
    """Return the request for a peer: the picture, or its tensor if the peer serves tensors."""
    if peer["body"] == "png":
        return Request(peer["path"], PNG.body, peer["content_type"])
    if peer["body"] == "multipart":
        body, kind = payloads.multipart(PNG.body)
        return Request(peer["path"], body.replace(b'name="image"', f'name="{peer["field"]}"'.encode()), kind)
    tensor = np.asarray(Image.open(BytesIO(PNG.body)))
    head: dict[str, Any] = {"name": "image", "shape": [1, *tensor.shape, 1], "datatype": "UINT8"}
    if peer["body"] == "oip-json":
        body = json.dumps({"inputs": [head | {"data": tensor.ravel().tolist()}]}).encode()
        return Request(peer["path"], body, "application/json")
    text = json.dumps(
        {
            "inputs": [head | {"parameters": {"binary_data_size": tensor.size}}],
            "parameters": {"binary_data_output": True},
        }
    )
    lengths = (("Inference-Header-Content-Length", str(len(text))),)
    return Request(peer["path"], text.encode() + tensor.tobytes(), peer["content_type"], headers=lengths)


def checked(answer: bytes, kind: str, expected: bytes) -> None:
    """Raise ServerFailed unless the response contains the same pixels as that of Hourglass."""
    pixels = np.asarray(Image.open(BytesIO(expected))).ravel()
    output = np.zeros(0)
    if kind == "png":
        output = np.asarray(Image.open(BytesIO(answer))).ravel()
    elif kind == "json":
        output = np.array(json.loads(answer)["outputs"][0]["data"]).ravel()
    elif kind == "binary":
        output = np.frombuffer(answer[-pixels.size :], np.uint8)
    if not np.array_equal(output, pixels):
        raise ServerFailed("its answer is not the denoised picture")


def measure(server: Server, request: Request, echo: Server, folder: Path, rounds: int, seconds: float) -> Entry:
    """Measure all rounds of one server, each beside the echo."""
    entry = Entry(server.title)
    for connections in CONNECTIONS:
        entry.runs[connections] = [
            (
                load(server.port, request, connections=connections, seconds=seconds, cores=LOAD_CORE, folder=folder),
                load(echo.port, PNG, connections=connections, seconds=seconds, cores=LOAD_CORE, folder=folder),
            )
            for _ in range(rounds)
        ]
    entry.megabytes = server.pss()
    return entry


def start_peer(name: str, folder: Path) -> tuple[Server, dict[str, Any]]:
    """Start the server of a peer, and return it with its description."""
    peer = tomllib.loads((PEERS / name / "peer.toml").read_text())
    port = free_port()
    run = [str(interpreter(name)), str(PEERS / name / "serve.py")]
    run += ["--graph", str(folder / "models" / "dense" / "1" / "denoise.onnx"), "--port", str(port)]
    log = folder / f"{name}.log"
    return Server(peer["title"], run, port=port, cores=SERVER_CORE, log=log, ready=peer["ready"], environ={}), peer


def contend(chosen: Sequence[str], folder: Path, rounds: int, seconds: float) -> list[Entry]:
    """Measure Hourglass, then every peer that starts; report and skip the others."""
    fixtures.publish_all(folder / "models")
    with ExitStack() as stack:
        port = free_port()
        echo_command = command("benchmarks.floors.fastapi_echo:app", port)
        echo = Server("echo", echo_command, port=port, cores=SERVER_CORE, log=folder / "e", ready="/livez", environ={})
        stack.enter_context(echo).wait()
        with start_hourglass(folder, folder / "models") as ours:
            start = ours.first_answer(PNG)
            expected = ours.post(PNG)
            entries = [measure(ours, PNG, echo, folder, rounds, seconds)]
            entries[0].title, entries[0].start = "**Hourglass**", start
        for name in chosen:
            notes.print(f"{name} ...", highlight=False)
            server, peer = start_peer(name, folder)
            try:
                with server:
                    request = request_of(peer)
                    start = server.first_answer(request, peer["start_seconds"])
                    checked(server.post(request), peer["answer"], expected)
                    entry = measure(server, request, echo, folder, rounds, seconds)
                    entry.start = start
                    entries.append(entry)
            except (ServerFailed, OSError) as error:
                notes.print(f"{name} is skipped: {error}", style="red", markup=False, highlight=False)
    return entries


@app.default
def compare(
    *,
    rounds: Annotated[int, Parameter(help="rounds of every peer; the table shows their medians")] = 3,
    seconds: Annotated[float, Parameter(help="seconds of load per round")] = 2.0,
    only: Annotated[str, Parameter(help="peers to measure, separated by commas; the table is not stored then")] = "",
) -> None:
    """Measure Hourglass and every installed peer, print the table and store it in benchmarks/results/PROCESSOR.

    Example: python -m benchmarks.peers --only naive,litserve
    """
    selected = [name for name in only.split(",") if name] or names()
    for name in selected:
        if not is_installed(name):
            notes.print(f"{name} is skipped: it is not installed; python -m benchmarks.peers.install {name}")
    with tempfile.TemporaryDirectory() as folder:
        entries = contend([name for name in selected if is_installed(name)], Path(folder), rounds, seconds)
    text = table(entries)
    print(text)
    if not only:
        results_folder().mkdir(exist_ok=True)
        (results_folder() / "peers.md").write_text(f"{machine()}\n\n{text}")
        draw(entries, results_folder() / "peers.png")


if __name__ == "__main__":
    try:
        app()
    except (WrkMissing, ServerFailed, ValueError) as error:
        notes.print(str(error), style="red", markup=False, highlight=False)
        sys.exit(2)
