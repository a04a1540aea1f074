"""Pictures in files and folders through a model, without a server: the same store, codec and operations."""

import asyncio
import csv
import os
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from io import StringIO
from pathlib import Path

import numpy as np

from service import codec
from service.card import Operation
from service.engine.images import image_media_type, open_picture, postprocess, preprocess
from service.engine.model import LoadedModel
from service.engine.operations import Figures, ItemResult, compute_figures
from service.engine.operations import run as run_model
from service.errors import AmbiguousModel, InvalidImage, ModelNotFound, Problem
from service.state import State
from service.types import Array

MEDIA_TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp"}
SUFFIXES = {*MEDIA_TYPES, ".tif", ".tiff", ".bmp", ".gif"}


@dataclass(frozen=True, slots=True)
class FileTask:
    """A picture to read, and where its answer goes (None: it is collected)."""

    source: Path
    target: Path | None


async def select_model(state: State, operation: Operation, wish: str) -> LoadedModel:
    """The model of that name, or the operation's default, or the only one. Raises ValueError naming those there are."""
    name = wish or state.settings.default_model(operation)
    try:
        model = await state.store.get(name or state.store.default_for(operation, state.settings), None)
    except (AmbiguousModel, ModelNotFound) as problem:
        said = f"there is no model {name}" if name else "no model is named"
        names = ", ".join(state.store.models_for(operation)) or "none is here"
        raise ValueError(f"{said}; name one by --model that offers {operation}: {names}") from problem
    if operation not in model.runners:
        raise ValueError(f"{name} offers {', '.join(model.runners)}, not {operation}")
    return model


def list_tasks(source: Path, output: Path | None) -> list[FileTask]:
    """A job for the file, or for every picture below the folder, in order of name.

    Raises ValueError where there is nothing to read or an answer would overwrite its own source.
    """
    if not source.exists():
        raise ValueError(f"there is no {source}")
    if source.is_file():
        into = output / source.name if output and output.is_dir() else output
        if into and into is output and into.suffix.lower() not in MEDIA_TYPES:
            raise ValueError(f"pictures are written to {', '.join(MEDIA_TYPES)} or into a folder, not to {into.name}")
        jobs = [FileTask(source, into)]
    else:
        found = sorted(path for path in source.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
        jobs = [FileTask(path, output and output / path.relative_to(source)) for path in found]
    if not jobs:
        raise ValueError(f"there is no picture in {source} ({', '.join(sorted(SUFFIXES))})")
    for job in jobs:
        if job.target and job.target.resolve() == job.source.resolve():
            raise ValueError(f"{job.target} would overwrite its own source; choose another output")
    return jobs


async def process_files(
    state: State, model: LoadedModel, operation: Operation, jobs: Sequence[FileTask]
) -> AsyncGenerator[tuple[FileTask, Array | Problem, Figures]]:
    """Every job with its output (already written where it has a target) or its problem, and figures, in order."""
    window: list[asyncio.Task[tuple[Array | Problem, Figures]]] = []
    ahead = 1 + state.store.load_options.cores  # one is read while the others run and are written
    try:
        for at, job in enumerate(jobs):
            while len(window) < ahead and at + len(window) < len(jobs):
                window.append(asyncio.create_task(_process_file(state, model, operation, jobs[at + len(window)])))
            output, figures = await window.pop(0)
            yield job, output, figures
    finally:
        for task in window:
            task.cancel()


async def _process_file(
    state: State, model: LoadedModel, operation: Operation, job: FileTask
) -> tuple[Array | Problem, Figures]:
    loop = asyncio.get_running_loop()
    card, settings = model.card, state.settings
    try:
        data = await loop.run_in_executor(state.pool, job.source.read_bytes)
        picture = await loop.run_in_executor(state.pool, lambda: open_picture(data, card, settings).decode())
        row = preprocess(picture, card, operation, settings)
        outcome = await run_model(model, operation, [row[np.newaxis]])
        output = outcome.outputs[0]
        if isinstance(output, Problem):
            raise output
        if job.target:
            media_type = MEDIA_TYPES.get(job.target.suffix.lower()) or image_media_type([picture])
            restored = postprocess(output, picture, settings.metadata == "keep")
            target = job.target if job.target.suffix.lower() in MEDIA_TYPES else job.target.with_suffix(".png")
            await loop.run_in_executor(
                state.pool,
                lambda: write_atomic(target, codec.encode(restored, media_type, quality=settings.image_quality)),
            )
    except OSError as error:
        return InvalidImage(f"{error.strerror}: {error.filename}"), {}
    except Problem as problem:
        return problem, {}
    item = ItemResult(model.card, row, output, partial(outcome.error, 0, row, output))
    return output, compute_figures(operation, item)


def write_atomic(target: Path, data: bytes) -> None:
    """The file whole or not at all: written beside and renamed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        beside.write_bytes(data)
        beside.replace(target)
    finally:
        with suppress(FileNotFoundError):
            beside.unlink()


def encode_table(rows: Iterable[tuple[Path, Array]], suffix: str) -> bytes:
    """Codes as `.npy` (N, then the code's shape) or `.csv` (a file and its flat code a line)."""
    found = list(rows)
    if suffix == ".npy":
        return codec.write_npy(np.stack([code for _, code in found]))
    text = StringIO()
    writer = csv.writer(text)
    writer.writerow(["file", *(f"c{at}" for at in range(found[0][1].size))])
    writer.writerows([str(path), *(f"{value:.8g}" for value in code.ravel())] for path, code in found)
    return text.getvalue().encode()
