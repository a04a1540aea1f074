"""Loads a version's graphs and verifies them: hash, structure, inputs and outputs, probe."""

import hashlib
from functools import partial
from pathlib import Path

import numpy as np

from service.card import Card, Graph, ImageInput, Operation
from service.engine.admission import Line
from service.engine.batcher import Batcher
from service.engine.model import Runner
from service.engine.tile_grid import Grid
from service.engine.tile_scheduler import Tiler
from service.errors import ModelRefused
from service.repository.onnx_check import check
from service.repository.safe_read import read_bytes
from service.runtime.hardware import Choice
from service.runtime.session import Device, Port, Session
from service.runtime.tensors import difference, to_array
from service.runtime.tuning import Loading, choose_place, choose_precision, choose_threads, choose_tiles

# Grey levels that a graph may be off its probe: in 8 bits a processor's own rounding may move the next layer's.
PROBE_LEVELS = {"float32": 1.0, "int8": 8.0}


def open_graph(folder: Path, card: Card, graph: Graph, *, device: Device = "cpu", threads: int = 1) -> Session:
    """The graph of a card, proven: its hash, its ports and its probe are what the card says.

    The bytes that were hashed are the bytes that are loaded. Raises ModelRefused with the reason.
    """
    model = read_bytes(folder / graph.file)
    if hashlib.sha256(model).hexdigest() != graph.sha256:
        raise ModelRefused(f"{graph.file} does not have the SHA-256 of the card")
    check(model, graph.file)
    free_sizes = card.any_size
    session = Session(model, device=device, threads=threads, free_sizes=free_sizes)
    wanted_in, wanted_out = ports(card, graph)
    for found, wanted in ((session.input, wanted_in), (session.output, wanted_out)):
        if (found.dtype, found.shape) != (wanted.dtype, wanted.shape):
            raise ModelRefused(
                f"{graph.file}: {wanted.name} is {found.dtype}{list(found.shape)}, "
                f"the card says {wanted.dtype}{list(wanted.shape)}"
            )
    _prove(session, graph)
    return session


def ports(card: Card, graph: Graph) -> tuple[Port, Port]:
    """What the card promises of a graph's input and output; N is always free."""
    code = Port("code", "float", (None, *card.code.shape))
    if isinstance(card.input, ImageInput):
        data = Port("image", "uint8", (None, card.input.height, card.input.width, card.input.channels))
    else:
        data = Port("vector", "float", (None, card.input.features))
    return (code if graph.operation == "decode" else data), (code if graph.operation == "encode" else data)


def _prove(session: Session, graph: Graph) -> None:
    given, wanted = to_array(graph.probe.input), to_array(graph.probe.output)
    try:
        found = session.run(given)
    except Exception as error:  # onnxruntime's own classes; the probe's shape or the graph is at fault
        raise ModelRefused(f"{graph.file} fails on its probe: {type(error).__name__}") from error
    bound = PROBE_LEVELS[graph.precision] if wanted.dtype == np.uint8 else 1e-3
    if difference(found, wanted) > bound:
        raise ModelRefused(f"{graph.file} does not reproduce its probe")


def open_runner(folder: Path, card: Card, operation: Operation, loading: Loading) -> Runner:
    """An operation's graph of a card, proven and placed. Raises ModelRefused."""
    precision, graph = choose_precision(loading, [graph for graph in card.graphs if graph.operation == operation])
    tiles = choose_tiles(loading, card, graph) if card.any_size else None
    threads = tiles.threads if tiles else choose_threads(loading)
    session = open_graph(folder, card, graph, device=loading.device, threads=threads.value)
    choices: dict[str, Choice[str | int]] = {"device": session.device, "precision": precision, "threads": threads}
    observe = partial(loading.observe, card.name, operation)
    if tiles:
        line = Line(tiles.side_by_side)
        tiler = Tiler(
            session.run,
            grid=Grid(card.receptive_radius or 0, card.stride or 1, tiles.pixels.value, tiles.side_by_side),
            pool=loading.pool,
            runners=tiles.side_by_side,
            observe=observe,
            ran=line.ran,
            tidy=partial(session.shrink, to_array(graph.probe.input)),
        )
        return Runner(graph, session, tiler, {**choices, "tile": tiles.pixels}, 1, line, measured=True)
    place, batch = choose_place(session, graph, loading.max_batch)
    inline = place.value == "event loop"
    runners = 1 if inline else max(1, loading.cores // threads.value)
    line = Line(runners)
    pool = None if inline else loading.pool
    batcher = Batcher(session.run, max_batch=batch.value, pool=pool, runners=runners, observe=observe, ran=line.ran)
    return Runner(graph, session, batcher, {**choices, "place": place, "batch": batch}, loading.max_batch, line)
