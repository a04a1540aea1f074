"""Loads the graphs of a version and verifies them: hash, structure, inputs and outputs, probe."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from service.card import NOISE_MAP_OUTPUT, Card, Graph, ImageInput, Operation
from service.engine.admission import GraphLoad
from service.engine.batcher import Batcher
from service.engine.model import Runner
from service.engine.scheduler import RunHooks
from service.engine.tile_grid import Grid
from service.engine.tile_scheduler import TileScheduler
from service.errors import ModelRejected
from service.repository.onnx_check import check_model
from service.repository.safe_read import read_regular_file
from service.runtime.hardware import Choice
from service.runtime.providers import CPU, Device
from service.runtime.session import ON_CPU, Session, TensorSpec, int8_sums_overflow, runs_on_cpu
from service.runtime.tensors import crop_images, max_difference, to_array, uneven_crop
from service.runtime.tuning import (
    LoadOptions,
    TilePlan,
    Trial,
    choose_executor,
    choose_precision,
    choose_threads,
    choose_tiles,
    precision_candidates,
    precision_name,
    timing_batch,
)
from service.types import Array, Crop, GraphKey

# Allowed difference from the probe, in grey levels for images and relative to the largest magnitude for floats.
# In int8 graphs the CPU's rounding in one layer may change the quantized values of the next.
PROBE_TOLERANCE = {"float32": 1.0, "int8": 8.0}
FLOAT_PROBE_TOLERANCE = 1e-3


class ProbeFailed(ModelRejected):
    """A graph does not compute on this processor what its card states."""


def load_graph(
    folder: Path,
    card: Card,
    graph: Graph,
    *,
    device: Device = ON_CPU,
    intra_op_threads: int = 1,
    roots: Sequence[Path] = (),
) -> Session:
    """Load one graph of the version in `folder` and verify it: hash, inputs and outputs against the card, probe.

    Links may end inside `roots`. The file is read once, so the bytes that were hashed are the bytes that are loaded.
    Raises ModelRejected if the graph does not match the card, and DeviceUnavailable if `device` is required and cannot
    be used.
    """
    model = read_regular_file(folder / graph.file, roots)
    if hashlib.sha256(model).hexdigest() != graph.sha256:
        raise ModelRejected(f"{graph.file} does not have the SHA-256 of the card")
    check_model(model, graph.file)
    session = Session(
        model,
        device=device,
        intra_op_threads=intra_op_threads,
        free_sizes=card.any_size,
        controls={control.name: control.default for control in card.controls},
        exact_int8=_needs_exact_int8(graph, device),
    )
    _check_specs(session, card, graph)
    _check_probe(session, graph)
    return session


def _needs_exact_int8(graph: Graph, device: Device) -> bool:
    """Return whether the sums of an int8 graph overflow on this processor unless they are computed exactly.

    Weights of 7 bits cannot overflow. Raises ProbeFailed if they overflow in either case.
    """
    if graph.precision != "int8" or graph.weight_bits != 8 or not runs_on_cpu(device) or not int8_sums_overflow():
        return False
    if int8_sums_overflow(exact_int8=True):
        raise ProbeFailed(f"{graph.file} is not exact on this processor: sums of products of 8-bit numbers overflow")
    return True


def _check_specs(session: Session, card: Card, graph: Graph) -> None:
    """Raise ModelRejected if an input or output of the graph is not as the card states it."""
    expected_input, expected_output = expected_specs(card, graph)
    expected_maps: list[TensorSpec] = []
    if card.noise_map and graph.operation == "denoise":
        expected_maps.append(TensorSpec(NOISE_MAP_OUTPUT, "float", (None, None, None)))
    if [spec.name for spec in session.maps] != [spec.name for spec in expected_maps]:
        names = ", ".join(spec.name for spec in expected_maps) or "nothing"
        raise ModelRejected(f"{graph.file} must have one output and, by its card, {names} besides")
    controls = [(control, TensorSpec(control.name, "float", (None,))) for control in session.controls]
    pairs = [(session.input, expected_input), (session.output, expected_output), *controls]
    for actual, expected in [*pairs, *zip(session.maps, expected_maps, strict=True)]:
        if (actual.dtype, actual.shape) != (expected.dtype, expected.shape):
            raise ModelRejected(
                f"{graph.file}: {expected.name} is {actual.dtype}{list(actual.shape)}, "
                f"the card says {expected.dtype}{list(expected.shape)}"
            )


def expected_specs(card: Card, graph: Graph) -> tuple[TensorSpec, TensorSpec]:
    """Return the input and the output that the card states for a graph. N may have any size."""
    code = TensorSpec("code", "float", (None, *card.code.shape))
    if isinstance(card.input, ImageInput):
        data = TensorSpec("image", "uint8", (None, card.input.height, card.input.width, card.input.channels))
    else:
        data = TensorSpec("vector", "float", (None, card.input.features))
    return (code if graph.operation == "decode" else data), (code if graph.operation == "encode" else data)


def _check_probe(session: Session, graph: Graph) -> None:
    """Raise ProbeFailed if the graph does not reproduce its probe, as a whole and cropped.

    Providers other than the CPU's may ignore an optional input. The graph is then run without a crop.
    """
    inputs = to_array(graph.probe.input)
    expected = to_array(graph.probe.output)
    tolerance = PROBE_TOLERANCE[graph.precision] if expected.dtype == np.uint8 else FLOAT_PROBE_TOLERANCE
    if max_difference(_run_probe(session, graph, inputs), expected) > tolerance:
        raise ProbeFailed(f"{graph.file} does not reproduce its probe")
    if not session.crops:
        return
    crop = uneven_crop(inputs)
    if max_difference(_run_probe(session, graph, inputs, crop), crop_images(expected, crop)) <= tolerance:
        return
    if session.device.value == CPU:
        raise ProbeFailed(f"{graph.file} does not leave out the pixels of its input crop")
    session.crops = False


def _run_probe(session: Session, graph: Graph, inputs: Array, crop: Crop | None = None) -> Array:
    try:
        return session.run(inputs, crop=crop)
    except Exception as error:  # a class of onnxruntime; either the shape of the probe or the graph is wrong
        raise ModelRejected(f"{graph.file} fails on its probe: {type(error).__name__}") from error


@dataclass(frozen=True, slots=True)
class OpenedGraph:
    """A verified graph in one precision with the threads of its runs, and with tiles if it takes images of any size."""

    graph: Graph
    session: Session
    threads: Choice[int]
    tiles: TilePlan | None
    precision: Choice[str]


def _open_graph(folder: Path, card: Card, graph: Graph, options: LoadOptions, reason: str) -> OpenedGraph:
    tiles = choose_tiles(options, card, graph) if card.any_size else None
    threads = tiles.threads if tiles else choose_threads(options)
    session = load_graph(
        folder, card, graph, device=options.device, intra_op_threads=threads.value, roots=options.link_dirs
    )
    return OpenedGraph(graph, session, threads, tiles, Choice(precision_name(graph), reason))


def _open_best(folder: Path, card: Card, graphs: Sequence[Graph], options: LoadOptions) -> OpenedGraph:
    """Open the graph of an operation in the best of its precisions. With several, each is verified and timed.

    An int8 graph that this processor does not compute exactly is no candidate.
    """
    candidates = precision_candidates(options, graphs)
    if len(candidates.value) == 1:
        return _open_graph(folder, card, candidates.value[0], options, candidates.reason)
    opened: dict[str, OpenedGraph] = {}
    trials: list[Trial] = []
    for graph in candidates.value:
        try:
            opened[graph.file] = attempt = _open_graph(folder, card, graph, options, "")
        except ProbeFailed as problem:
            if graph.precision == "float32":
                raise
            trials.append(Trial(graph, problem=problem.detail))
        else:
            batch = timing_batch(graph, any_size=card.any_size)
            trials.append(Trial(graph, attempt.session.time_run(batch)))
    best = choose_precision(trials, candidates.reason)
    return replace(opened[best.value.graph.file], precision=Choice(best.value.name, best.reason))


def load_runner(folder: Path, card: Card, operation: Operation, options: LoadOptions) -> Runner:
    """Load and verify the graph of an operation, and choose how to run it.

    Raises ModelRejected if the graph does not match the card, and DeviceUnavailable if the device of the options is
    required and cannot be used.
    """
    opened = _open_best(folder, card, [graph for graph in card.graphs if graph.operation == operation], options)
    graph, session, tiles, threads = opened.graph, opened.session, opened.tiles, opened.threads
    choices: dict[str, Choice[str | int]] = {
        "device": session.device,
        "precision": opened.precision,
        "threads": threads,
    }
    key = GraphKey(card.name, str(card.version), operation)
    on_batch = partial(options.on_batch, key)
    if tiles:
        load = GraphLoad(tiles.concurrency)
        release_memory = partial(session.release_memory, to_array(graph.probe.input))
        hooks = RunHooks(
            on_batch,
            load.record,
            release_memory,
            on_image=partial(options.on_image, key),
            on_tiles=partial(options.on_tiles, key),
        )
        release_memory()  # of the probe and the timing
        scheduler = _tile_scheduler(session, card, options, tiles, hooks)
        choices["tile"] = tiles.pixels
        return Runner(key, graph, session, scheduler, choices, max_batch=1, load=load, measured=True)
    plan = choose_executor(session, graph, options.max_batch_size)
    runners = 1 if plan.inline else max(1, options.cores // threads.value)
    load = GraphLoad(runners)
    batcher = Batcher(
        session.run,
        max_batch=plan.batch.value,
        pool=None if plan.inline else options.pool,
        runners=runners,
        hooks=RunHooks(on_batch, load.record),
    )
    choices["executor"] = plan.executor
    choices["batch"] = plan.batch
    return Runner(
        key, graph, session, batcher, choices, max_batch=options.max_batch_size, load=load, inline=plan.inline
    )


def _tile_scheduler(
    session: Session, card: Card, options: LoadOptions, tiles: TilePlan, hooks: RunHooks
) -> TileScheduler:
    grid = Grid(card.receptive_radius or 0, card.stride or 1, tiles.pixels.value, tiles.concurrency)
    return TileScheduler(
        session.run,
        grid=grid,
        pool=options.pool,
        runners=tiles.concurrency,
        hooks=hooks,
        run_with_map=session.run_with_map if session.maps else None,
        crops=session.crops,
        tiled=card.receptive_radius is not None,
    )
