"""Loads a version's graphs and verifies them: hash, structure, inputs and outputs, probe."""

import hashlib
from functools import partial
from pathlib import Path

import numpy as np

from service.card import Card, Graph, ImageInput, Operation
from service.engine.admission import GraphLoad
from service.engine.batcher import Batcher
from service.engine.model import Runner
from service.engine.tile_grid import Grid
from service.engine.tile_scheduler import TileScheduler
from service.errors import ModelRejected
from service.repository.onnx_check import check_model
from service.repository.safe_read import read_regular_file
from service.runtime.hardware import Choice
from service.runtime.session import Device, Session, TensorSpec
from service.runtime.tensors import max_difference, to_array
from service.runtime.tuning import LoadOptions, choose_executor, choose_precision, choose_threads, choose_tiles

# Grey levels that a graph may be off its probe: in 8 bits a processor's own rounding may move the next layer's.
PROBE_TOLERANCE = {"float32": 1.0, "int8": 8.0}


def load_graph(folder: Path, card: Card, graph: Graph, *, device: Device = "cpu", intra_op_threads: int = 1) -> Session:
    """The graph of a card, proven: its hash, its ports and its probe are what the card says.

    The bytes that were hashed are the bytes that are loaded. Raises ModelRefused with the reason.
    """
    model = read_regular_file(folder / graph.file)
    if hashlib.sha256(model).hexdigest() != graph.sha256:
        raise ModelRejected(f"{graph.file} does not have the SHA-256 of the card")
    check_model(model, graph.file)
    free_sizes = card.any_size
    session = Session(model, device=device, intra_op_threads=intra_op_threads, free_sizes=free_sizes)
    wanted_in, wanted_out = expected_specs(card, graph)
    for found, wanted in ((session.input, wanted_in), (session.output, wanted_out)):
        if (found.dtype, found.shape) != (wanted.dtype, wanted.shape):
            raise ModelRejected(
                f"{graph.file}: {wanted.name} is {found.dtype}{list(found.shape)}, "
                f"the card says {wanted.dtype}{list(wanted.shape)}"
            )
    _check_probe(session, graph)
    return session


def expected_specs(card: Card, graph: Graph) -> tuple[TensorSpec, TensorSpec]:
    """What the card promises of a graph's input and output; N is always free."""
    code = TensorSpec("code", "float", (None, *card.code.shape))
    if isinstance(card.input, ImageInput):
        data = TensorSpec("image", "uint8", (None, card.input.height, card.input.width, card.input.channels))
    else:
        data = TensorSpec("vector", "float", (None, card.input.features))
    return (code if graph.operation == "decode" else data), (code if graph.operation == "encode" else data)


def _check_probe(session: Session, graph: Graph) -> None:
    given, wanted = to_array(graph.probe.input), to_array(graph.probe.output)
    try:
        found = session.run(given)
    except Exception as error:  # onnxruntime's own classes; the probe's shape or the graph is at fault
        raise ModelRejected(f"{graph.file} fails on its probe: {type(error).__name__}") from error
    bound = PROBE_TOLERANCE[graph.precision] if wanted.dtype == np.uint8 else 1e-3
    if max_difference(found, wanted) > bound:
        raise ModelRejected(f"{graph.file} does not reproduce its probe")


def load_runner(folder: Path, card: Card, operation: Operation, options: LoadOptions) -> Runner:
    """An operation's graph of a card, proven and placed. Raises ModelRefused."""
    precision, graph = choose_precision(options, [graph for graph in card.graphs if graph.operation == operation])
    tiles = choose_tiles(options, card, graph) if card.any_size else None
    threads = tiles.threads if tiles else choose_threads(options)
    session = load_graph(folder, card, graph, device=options.device, intra_op_threads=threads.value)
    choices: dict[str, Choice[str | int]] = {"device": session.device, "precision": precision, "threads": threads}
    observe = partial(options.on_batch, card.name, operation)
    if tiles:
        load = GraphLoad(tiles.concurrency)
        tiler = TileScheduler(
            session.run,
            grid=Grid(card.receptive_radius or 0, card.stride or 1, tiles.pixels.value, tiles.concurrency),
            pool=options.pool,
            runners=tiles.concurrency,
            on_batch=observe,
            on_run=load.record,
            release_memory=partial(session.release_memory, to_array(graph.probe.input)),
        )
        return Runner(graph, session, tiler, {**choices, "tile": tiles.pixels}, 1, load, measured=True)
    place, batch = choose_executor(session, graph, options.max_batch_size)
    inline = place.value == "event loop"
    runners = 1 if inline else max(1, options.cores // threads.value)
    load = GraphLoad(runners)
    pool = None if inline else options.pool
    batcher = Batcher(
        session.run, max_batch=batch.value, pool=pool, runners=runners, on_batch=observe, on_run=load.record
    )
    return Runner(graph, session, batcher, {**choices, "executor": place, "batch": batch}, options.max_batch_size, load)
