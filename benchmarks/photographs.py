"""`make bench-photos`: the shipped photo models on whole photographs, beside onnxruntime alone on the same tiles.

The service runs on all cores; `run` is the time in its Server-Timing header. The peak memory is that of a second
request, to a new service, because reading the memory of a process delays it. `hourglass denoise` processes a folder of
photographs without a server; its start counts. The rates of onnxruntime are measured before and after, and their mean
is the floor, because the speed of the machine changes. It computes whole tiles; the service leaves out what overlaps
in the last level of the net, so that its rate of the pixels it runs can be higher.
"""

import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks import payloads
from benchmarks.process import Server, free_port
from benchmarks.processor import processor_kind, results_folder
from service.card import Card, Graph, Precision
from service.config import Settings
from service.engine.tile_grid import Grid
from service.repository.layout import load_card
from service.runtime.providers import Device
from service.runtime.tuning import LoadOptions, TilePlan, choose_tiles

MODELS = Path(__file__).parent.parent / "models"
SIZES = {"12 MP": (3000, 4000), "50 MP": (5774, 8660)}
MOST = {"12 MP": 500, "50 MP": 900}
"""Limit of the peak memory of the service, in MB."""
FOLDER_SIDE, FOLDER_COUNT = 1000, 40
"""Side in pixels and number of the photographs of the folder."""
GMACS = {"photo": 56.4, "photo-fast": 15.0}
"""Operations per megapixel, by torch's flop counter on the nets of the recipes."""
SECONDS = 6.0
LOOK = 0.05
"""Seconds between readings of the memory."""
COLUMNS = (
    "model, precision, picture",
    "raw, one run on all cores, MP/s",
    "raw, runs side by side",
    "service, of the pixels it runs",
    "of raw",
    "overlap",
    "of the picture, run",
    "with JPEG in and out",
    "peak MB",
)


@dataclass(frozen=True, slots=True)
class Run:
    """Figures of one photograph through the service."""

    size: str
    seconds: float
    run: float
    peak: float


def photograph(height: int, width: int) -> NDArray[np.uint8]:
    """Return smooth colour with grain: uint8 H,W,3."""
    return np.tile(payloads.photo(), (-(-height // payloads.PHOTO_SIDE), -(-width // payloads.PHOTO_SIDE), 1))[
        :height, :width
    ]


def measure(model: str, precision: Precision, folder: Path, blobs: Mapping[str, bytes]) -> list[str]:
    """Measure one model in one precision, and return its rows."""
    version = latest(model)
    card = load_card(version)
    (graph,) = (graph for graph in card.graphs if graph.precision == precision)
    tiles = chosen(card, graph)
    tiling = Grid(card.receptive_radius or 0, card.stride or 1, tiles.pixels.value, tiles.concurrency)
    tile = tiling.tiles(*SIZES["12 MP"])[0]
    sides = tile.rows.read_stop - tile.rows.read_start, tile.columns.read_stop - tile.columns.read_start
    count = len(os.sched_getaffinity(0))
    ways = [(count, 1), (1, count)]
    before = [raw(version / graph.file, sides, *way) for way in ways]
    runs = [serve(model, precision, folder, size, blob) for size, blob in blobs.items()]
    rate = denoise_folder(model, precision, folder)
    after = [raw(version / graph.file, sides, *way) for way in ways]
    one, side_by_side = ((first + second) / 2 for first, second in zip(before, after, strict=True))
    floors = [f"{one:.2f} ({one * GMACS[model]:.0f} GMAC/s)", f"{side_by_side:.2f}"]
    rows = [[f"{model}, {precision}, {run.size}", *floors, *figures(run, tiling, one)] for run in runs]
    name = f"{model}, {precision}, folder of {FOLDER_COUNT} pictures of {FOLDER_SIDE**2 / 1e6:.0f} MP"
    share = rate / max(one, side_by_side)
    rows.append([name, *floors, "", "", "", "", f"{rate:.2f} ({share:.2f} of raw)", ""])
    return [f"| {' | '.join(row)} |" for row in rows]


def figures(run: Run, tiling: Grid, one: float) -> list[str]:
    """Return the cells of a photograph after those of the floors; `one` is the rate of raw runs on all cores."""
    tall, wide = SIZES[run.size]
    read = sum(tile.pixels for tile in tiling.tiles(tall, wide))
    rate = read / 1e6 / run.run
    answered = tall * wide / 1e6 / run.seconds
    return [
        f"{rate:.2f}",
        f"{rate / one:.2f}",
        f"{1 - tall * wide / read:.1%}",
        f"{tall * wide / 1e6 / run.run:.2f}",
        f"{answered:.2f} ({answered / one:.2f} of raw)",
        f"{run.peak:.0f} (at most {MOST[run.size]})",
    ]


def latest(model: str) -> Path:
    """Return the folder of the latest version of a shipped model."""
    return max((MODELS / model).iterdir(), key=lambda folder: int(folder.name))


def chosen(card: Card, graph: Graph) -> TilePlan:
    """Return the options that the service chooses on this machine."""
    cores = len(os.sched_getaffinity(0))
    with ThreadPoolExecutor(1) as pool:
        loading = LoadOptions(Device(), 0, 1, pool, cores, tile_memory_bytes=(Settings().tile_memory_mib << 20) * cores)
        return choose_tiles(loading, card, graph)


def denoise_folder(model: str, precision: Precision, scratch: Path) -> float:
    """Denoise a folder of JPEG files by `hourglass denoise`, and return the megapixels per second, start included."""
    source, out = scratch / "pictures", scratch / f"denoised-{model}-{precision}"
    source.mkdir(exist_ok=True)
    for number in range(FOLDER_COUNT):
        picture = np.roll(photograph(FOLDER_SIDE, FOLDER_SIDE), 8 * number, axis=1)
        (source / f"{number}.jpg").write_bytes(payloads.picture(picture, "JPEG"))
    command = [sys.executable, "-m", "service", "denoise", source, "-o", out, "--model", model]
    environ = os.environ | {"HOURGLASS_MODELS_DIR": str(MODELS), "HOURGLASS_PRECISION": precision}
    start = time.perf_counter()
    subprocess.run([str(part) for part in command], env=environ, check=True, capture_output=True)
    return FOLDER_COUNT * FOLDER_SIDE**2 / 1e6 / (time.perf_counter() - start)


def raw(graph: Path, sides: tuple[int, int], threads: int, callers: int) -> float:
    """Return megapixels per second of onnxruntime alone."""
    command = [sys.executable, "-m", "benchmarks.floors.tiles", graph, *sides, threads, callers, SECONDS]
    return float(subprocess.run([str(part) for part in command], capture_output=True, text=True, check=True).stdout)


def serve(model: str, precision: str, folder: Path, size: str, blob: bytes) -> Run:
    """Measure the time of a request, and the peak memory of the service during another."""
    with start(precision, folder) as (server, port):
        warm_up(port, model)
        begin = time.perf_counter()
        stages = post(port, model, blob)
        seconds = time.perf_counter() - begin
    with start(precision, folder) as (server, port), ThreadPoolExecutor(1) as beside:
        warm_up(port, model)
        asked = beside.submit(post, port, model, blob)
        peak = 0.0
        while not asked.done():
            peak = max(peak, server.pss())
            time.sleep(LOOK)
        asked.result()
    return Run(size, seconds, stages["run"], peak)


@contextmanager
def start(precision: str, folder: Path) -> Generator[tuple[Server, int]]:
    """Start a service, and give it and its port when it is ready."""
    port = free_port()
    environ = {
        "MODELS_DIR": str(MODELS),
        "PORT": str(port),
        "PRECISION": precision,
        "REQUEST_TIMEOUT_PER_MEGAPIXEL": "30",
    }
    command = [sys.executable, "-m", "service", "serve"]
    cores = ",".join(map(str, sorted(os.sched_getaffinity(0))))
    named = {f"HOURGLASS_{name}": value for name, value in environ.items()}
    log = folder / "service.log"
    with Server("hourglass", command, port=port, cores=cores, log=log, ready="/readyz", environ=named) as server:
        yield server.wait(), port


def warm_up(port: int, model: str) -> None:
    """Send a small picture, so that the model is loaded."""
    post(port, model, payloads.picture(payloads.photo()[:64, :64], "JPEG"))


def post(port: int, model: str, blob: bytes) -> dict[str, float]:
    """Send a request and return the seconds of each stage by Server-Timing."""
    address = f"http://127.0.0.1:{port}/denoise?model={model}"
    asked = urllib.request.Request(address, blob, {"Content-Type": "image/jpeg"}, method="POST")
    with urllib.request.urlopen(asked, timeout=1800) as answer:
        answer.read()
        stages = answer.headers["Server-Timing"].split(", ")
    return {name: float(value) / 1e3 for name, value in (stage.split(";dur=") for stage in stages)}


def main(arguments: Sequence[str]) -> None:
    """Measure the named models, or all; store the table if all were measured."""
    names = list(arguments) or list(GMACS)
    blobs: dict[str, bytes] = {}
    for size, (height, width) in SIZES.items():
        blobs[size] = payloads.picture(photograph(height, width), "JPEG")
    lines = [f"| {' | '.join(COLUMNS)} |", "|" + "---|" * len(COLUMNS)]
    print("\n".join(lines), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            precisions: list[Precision] = [graph.precision for graph in load_card(latest(name)).graphs]
            for precision in precisions:
                rows = measure(name, precision, Path(folder), blobs)
                print("\n".join(rows), flush=True)
                lines += rows
    if not arguments:
        results_folder().mkdir(exist_ok=True)
        (results_folder() / "photographs.md").write_text("\n".join([processor_kind(), "", *lines]) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
