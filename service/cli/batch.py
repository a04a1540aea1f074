"""Processing of image files and folders without a server, through the same store, codec and pipeline."""

import asyncio
import csv
import os
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from io import StringIO
from pathlib import Path

import numpy as np

from service import codec
from service.card import Operation
from service.codec import Picture
from service.config import Settings
from service.engine.images import open_picture, postprocess, preprocess
from service.engine.model import LoadedModel
from service.engine.operations import Figures, ItemResult, compute_figures
from service.engine.pipeline import Job, StageExecutor, admit, infer
from service.errors import AmbiguousModel, InvalidImage, ModelNotFound, Problem
from service.state import State
from service.types import Array

JPEG_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif")
MEDIA_TYPES = {".png": "image/png", ".webp": "image/webp", **dict.fromkeys(JPEG_SUFFIXES, "image/jpeg")}
SUFFIXES = {*MEDIA_TYPES, ".tif", ".tiff", ".bmp", ".gif", ".avif", ".heic", ".heif"}
Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class FileTask:
    """An image file to read and the file to write its output to; without a target the output is only returned."""

    source: Path
    target: Path | None


async def select_model(state: State, operation: Operation, model_name: str) -> LoadedModel:
    """Return the named model, or the default model of the operation, or the only one that supports it.

    Raises ValueError, which lists the models that support the operation.
    """
    name = model_name or state.settings.default_model(operation)
    try:
        model = await state.store.get(name or state.store.default_for(operation, state.settings), None)
    except (AmbiguousModel, ModelNotFound) as problem:
        reason = f"there is no model {name}" if name else "no model is named"
        names = ", ".join(state.store.models_for(operation)) or "none"
        raise ValueError(f"{reason}; choose by --model one that supports {operation}: {names}") from problem
    if operation not in model.runners:
        raise ValueError(f"{name} supports {', '.join(model.runners)}, not {operation}")
    return model


def list_tasks(source: Path, output: Path | None) -> list[FileTask]:
    """Return a task for the file, or for every image below the folder, sorted by path.

    Raises ValueError if there is no image to read, or if an output would overwrite its source.
    """
    if not source.exists():
        raise ValueError(f"{source} does not exist")
    if source.is_file():
        target = output / source.name if output and output.is_dir() else output
        if target and target is output and target.suffix.lower() not in MEDIA_TYPES:
            raise ValueError(f"cannot write {target.name}: name a folder, or a file of {', '.join(MEDIA_TYPES)}")
        tasks = [FileTask(source, target)]
    else:
        paths = sorted(path for path in source.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
        tasks = [FileTask(path, output and output / path.relative_to(source)) for path in paths]
    if not tasks:
        raise ValueError(f"there is no image in {source} ({', '.join(sorted(SUFFIXES))})")
    for task in tasks:
        if task.target and task.target.resolve() == task.source.resolve():
            raise ValueError(f"{task.target} would overwrite its own source; choose another output")
    return tasks


async def process_files(
    state: State, model: LoadedModel, operation: Operation, tasks: Sequence[FileTask], report: Report
) -> AsyncGenerator[tuple[FileTask, Array | Problem, Figures]]:
    """Process files concurrently. Yield each task with its output or problem and its figures, in order.

    An output has the shape of one item. It is already written if the task has a target. `report` gets a note about
    each file that is written in another format than its name says.
    """
    window: list[asyncio.Task[tuple[Array | Problem, Figures]]] = []
    concurrency = 1 + state.store.load_options.cores  # one task reads its file while the others run and write
    try:
        for at, task in enumerate(tasks):
            while len(window) < concurrency and at + len(window) < len(tasks):
                following = _process_file(state, model, operation, tasks[at + len(window)], report)
                window.append(asyncio.create_task(following))
            output, figures = await window.pop(0)
            yield task, output, figures
    finally:
        for pending in window:
            pending.cancel()


async def _process_file(
    state: State, model: LoadedModel, operation: Operation, task: FileTask, report: Report
) -> tuple[Array | Problem, Figures]:
    executor = StageExecutor(state.pool, inline=False)
    card, settings = model.card, state.settings
    try:
        data = await executor.run(task.source.read_bytes)
        image = await executor.run(open_picture, data, card, settings)
        job = Job(model, operation, 1, image.width * image.height * 3)
        with admit(job, limits=None):
            picture = await executor.run(image.decode)
            row = preprocess(picture, card, operation, settings)
            result = await infer(job, [row[np.newaxis]], executor)
            output = result.outputs[0]
            if isinstance(output, Problem):
                raise output
            if task.target and (note := await executor.run(_write_image, output, picture, task.target, settings)):
                report(f"{task.source}: {note}")
    except OSError as error:
        return InvalidImage(f"{error.strerror}: {error.filename}"), {}
    except Problem as problem:
        return problem, {}
    item = ItemResult(model.card, row, output, partial(result.error, 0, row, output))
    return output, compute_figures(operation, item)


def _write_image(output: Array, picture: Picture, target: Path, settings: Settings) -> str:
    """Encode an output in the format of the target's suffix and write it.

    Other suffixes are replaced by `.png`, and also one whose format cannot hold an image of this size. Return a note
    about the latter, or an empty string.
    """
    media_type = MEDIA_TYPES.get(target.suffix.lower(), "image/png")
    image = postprocess(output, picture, settings.metadata == "keep")
    note = ""
    height, width = output.shape[:2]
    if not codec.fits(media_type, (width, height)):
        note = f"written as PNG: {codec.describe_limit(media_type)}, and this one has {width}x{height}"
        media_type = "image/png"
    path = target if MEDIA_TYPES.get(target.suffix.lower()) == media_type else target.with_suffix(".png")
    write_atomic(path, codec.encode(image, media_type, default_quality=settings.image_quality))
    return note


def write_atomic(target: Path, data: bytes) -> None:
    """Write a file atomically: write a temporary file in the same folder, then rename it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        temporary.write_bytes(data)
        temporary.replace(target)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def encode_table(codes: Iterable[tuple[Path, Array]], suffix: str) -> bytes:
    """Return codes as `.npy` (N first, then the shape of a code) or `.csv` (one file name and flat code per line)."""
    rows = list(codes)
    if suffix == ".npy":
        return codec.write_npy(np.stack([code for _, code in rows]))
    text = StringIO()
    writer = csv.writer(text)
    writer.writerow(["file", *(f"c{at}" for at in range(rows[0][1].size))])
    writer.writerows([str(path), *(f"{value:.8g}" for value in code.ravel())] for path, code in rows)
    return text.getvalue().encode()
