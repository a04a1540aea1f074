"""Processing of image files and folders without a server, through the same store, codec and pipeline."""

import asyncio
import csv
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from io import StringIO
from pathlib import Path
from uuid import uuid4

import numpy as np

from service import codec
from service.card import Operation
from service.cli.plan import MEDIA_TYPES, FileTask
from service.cli.sources import printable
from service.codec import PagedImage, Picture
from service.engine import error_map
from service.engine.images import open_picture, postprocess, preprocess
from service.engine.model import LoadedModel
from service.engine.operations import Figures, ItemResult, compute_figures
from service.engine.pipeline import Job, StageExecutor, admit, infer
from service.engine.strength import DEFAULT_REMOVAL, Removal
from service.errors import AmbiguousModel, InvalidImage, ModelNotFound, Problem, TruncatedImage
from service.state import State
from service.types import Array


@dataclass(frozen=True, slots=True)
class BatchRun:
    """What all files of a command share.

    `quality` (1 to 100) is that of lossy outputs; without it they have that of the source or of the settings. `removal`
    is for the operation `denoise`. With `error_maps`, the outputs are maps of the reconstruction error.
    """

    state: State
    model: LoadedModel
    operation: Operation
    allow_truncated: bool = False
    keep_metadata: bool = True
    quality: int | None = None
    removal: Removal = DEFAULT_REMOVAL
    error_maps: bool = False


@dataclass(slots=True)
class FileResult:
    """The outcome of one file: an output and figures for each page, or the problem, and notes for the user.

    An output has the shape of one item. `written` is the file that holds them, if one was written.
    """

    task: FileTask
    written: Path | None = None
    outputs: list[Array] = field(default_factory=list[Array])
    figures: list[Figures] = field(default_factory=list[Figures])
    problem: Problem | None = None
    notes: list[str] = field(default_factory=list[str])


async def select_model(state: State, operation: Operation, model_name: str) -> LoadedModel:
    """Return the named model, or the default model of the operation, or the only one that supports it.

    Raises ValueError, which lists the models that support the operation.
    """
    name = model_name or state.settings.default_model(operation)
    version = None if model_name else state.settings.default_version(operation)
    try:
        model = await state.store.get(name or state.store.default_for(operation, state.settings), version)
    except (AmbiguousModel, ModelNotFound) as problem:
        reason = f"there is no model {name}" if name else "no model is named"
        names = ", ".join(state.store.models_for(operation)) or "none"
        raise ValueError(f"{reason}; choose by --model one that supports {operation}: {names}") from problem
    if operation not in model.runners:
        raise ValueError(f"{name} supports {', '.join(model.runners)}, not {operation}")
    return model


async def process_files(run: BatchRun, tasks: Sequence[FileTask]) -> AsyncGenerator[FileResult]:
    """Process files concurrently. Yield the result of each task, in order."""
    window: list[asyncio.Task[FileResult]] = []
    concurrency = 1 + run.state.store.load_options.cores  # one task reads its file while the others run and write
    try:
        for at in range(len(tasks)):
            while len(window) < concurrency and at + len(window) < len(tasks):
                window.append(asyncio.create_task(_process_file(run, tasks[at + len(window)])))
            yield await window.pop(0)
    finally:
        for pending in window:
            pending.cancel()


async def _process_file(run: BatchRun, task: FileTask) -> FileResult:
    executor = StageExecutor(run.state.pool, inline=False)
    settings, result = run.state.settings, FileResult(task)
    max_pixels = settings.max_pixels_any_size if run.model.card.any_size else settings.max_pixels
    try:
        data = await executor.run(_read, task.source.path)
        scan = await executor.run(codec.read_pages, data, max_pages=settings.max_items, max_pixels=max_pixels)
        if scan.frames > 1:
            result.notes.append(f"only the first of {scan.frames} frames is used")
        images = [await _process_page(run, scan, number, result) for number in range(1, len(scan.pages) + 1)]
        if run.operation != "encode":
            await executor.run(_write_images, run, images, result)
    except OSError as error:
        result.problem = InvalidImage(error.strerror or str(error))
    except Problem as problem:
        if isinstance(problem, TruncatedImage) and problem.can_be_allowed:
            problem.detail += ", or accept the part by --truncated allow"
        result.problem = problem
    return result


async def _process_page(run: BatchRun, scan: PagedImage, number: int, result: FileResult) -> Picture:
    """Process one page, counted from 1. A problem of one of several pages begins with its number."""
    try:
        return await _process_image(run, scan.pages[number - 1], result)
    except Problem as problem:
        if len(scan.pages) > 1:
            problem.detail = f"page {number}: {problem.detail}"
        raise


async def _process_image(run: BatchRun, data: bytes, result: FileResult) -> Picture:
    """Run the model on one image, add its output and figures to `result`, and return the output as an image."""
    executor = StageExecutor(run.state.pool, inline=False)
    card, operation, settings = run.model.card, run.operation, run.state.settings
    image = await executor.run(open_picture, data, card, settings)
    job = Job(run.model, operation, 1, image.width * image.height * 3, run.removal)
    with admit(job, limits=None):
        picture = await executor.run(partial(image.decode, allow_truncated=run.allow_truncated))
        row = preprocess(picture, card, operation, settings)
        inference = await infer(job, [row[np.newaxis]], executor)
    output = inference.outputs[0]
    if isinstance(output, Problem):
        raise output
    noise_map = inference.noise_maps[0] if inference.noise_maps else None
    item = ItemResult(card, row, output, partial(inference.error, 0, row, output), noise_map=noise_map)
    result.outputs.append(output)
    result.figures.append(compute_figures(operation, item))
    if picture.fraction < 1:
        result.notes.append(f"truncated: {picture.fraction:.0%} of the image is there")
    if run.error_maps:
        values = await executor.run(error_map.error_map, row, output)
        return Picture(error_map.overlay(values, row, card), "image/png")
    return picture if operation == "encode" else postprocess(output, picture, run.keep_metadata)


def _read(path: Path | None) -> bytes:
    return sys.stdin.buffer.read() if path is None else path.read_bytes()


def _write_images(run: BatchRun, images: Sequence[Picture], result: FileResult) -> None:
    """Encode the pages in the format of the target's suffix, or for standard output in that of the source."""
    target = result.task.target
    own = images[0].media_type if images[0].media_type in codec.WRITABLE else "image/png"
    media_type = MEDIA_TYPES[target.suffix.lower()] if target else own
    if len(images) > 1 and media_type != "image/tiff":
        result.notes.append(f"only the first of {len(images)} pages is written: only TIFF holds several")
    height, width = images[0].pixels.shape[:2]
    if not codec.fits(media_type, (width, height)):
        result.notes.append(f"written as PNG: {codec.describe_limit(media_type)}, and this one has {width}x{height}")
        media_type = "image/png"
        target = target and (result.task.fallback or target)
    if run.quality is not None and result.task.to_stdout and media_type not in codec.LOSSY:
        result.notes.append(f"--quality does not apply to {media_type}")
    written = images if media_type == "image/tiff" else images[:1]
    if dropped := sorted(
        {token for image in written for token in codec.dropped_metadata(image, media_type)} - {"frames"}
    ):
        result.notes.append(f"metadata that are not in the output: {', '.join(dropped)}")
    default_quality = run.state.settings.image_quality
    data = codec.encode_any(images, media_type, quality=run.quality, default_quality=default_quality)
    if target:
        write_atomic(target, data)
        result.written = target
    elif result.task.to_stdout:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()


def write_atomic(target: Path, data: bytes) -> None:
    """Write a file atomically: write a temporary file in the same folder, then rename it.

    Raises OSError, which names the file and the reason.
    """
    temporary = target.with_name(f".{uuid4().hex}.part")  # the target's name may have the longest length already
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(data)
        temporary.replace(target)
    except OSError as error:
        raise OSError(f"cannot write {printable(target)}: {error.strerror}; choose another output") from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def encode_table(codes: Sequence[tuple[str, Array]], suffix: str) -> bytes:
    """Return codes as `.npy` (N first, then the shape of a code) or `.csv` (one file name and flat code per line)."""
    if suffix == ".npy":
        return codec.write_npy(np.stack([code for _, code in codes]))
    text = StringIO()
    writer = csv.writer(text)
    writer.writerow(["file", *(f"c{at}" for at in range(codes[0][1].size))])
    writer.writerows([name, *(f"{value:.8g}" for value in code.ravel())] for name, code in codes)
    return text.getvalue().encode()
