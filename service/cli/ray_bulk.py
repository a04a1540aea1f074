"""Images of a folder or bucket through a model by Ray Data: `python -m service.cli.ray_bulk SOURCE OUTPUT`.

Every actor of a pool holds the models and runs the same pipeline as `hourglass denoise`, without a server. Outputs that
exist are skipped, and each is written atomically, so that the same command continues a run that was stopped. Needs the
extra `ray`. Nothing else imports this module.
"""

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import cyclopts
import numpy as np
import ray
from pyarrow import fs

from service.cli import batch
from service.cli.plan import MEDIA_TYPES, FileTask
from service.cli.runner import load_settings, load_state
from service.cli.sources import SUFFIXES, Source

FAILURE = 1  # exit status: some images failed
FILES_PER_TASK = 32
PROGRESS_SECONDS = 5.0

app = cyclopts.App(
    name="python -m service.cli.ray_bulk", help="Run a model on a folder or bucket of images by Ray Data."
)


@dataclass(frozen=True)
class BulkOptions:
    """The operation, the model and the resources of a bulk run."""

    operation: Literal["denoise", "reconstruct"] = "denoise"
    """what the model does"""
    model: str = ""
    """name of the model; default: that of the operation"""
    models_dir: str | None = None
    """folder of models that every node sees, or an address"""
    actors: int = 1
    """processes, each with the models in memory"""
    cpus: float = 1
    """CPUs of an actor"""
    gpus: float = 0
    """GPUs of an actor, which may be a fraction"""


def open_folder(address: str) -> tuple[fs.FileSystem, str]:
    """Return the file system and the path of a folder, or of an address such as s3://bucket/folder."""
    if "://" in address:
        return fs.FileSystem.from_uri(address)
    return fs.LocalFileSystem(), str(Path(address).expanduser().resolve())


def list_names(address: str) -> set[str]:
    """Return the names of all files below a folder, with `/` between their parts. A folder that is missing is empty."""
    system, root = open_folder(address)
    files = system.get_file_info(fs.FileSelector(root, recursive=True, allow_not_found=True))
    return {file.path[len(root) :].lstrip("/") for file in files if file.type == fs.FileType.File}


def output_name(name: str) -> str:
    """Return the name of the output: the same, and `.png` at its end if the format of its suffix cannot be written."""
    return name if PurePosixPath(name).suffix.lower() in MEDIA_TYPES else f"{name}.png"


def plan_names(names: set[str], existing: set[str]) -> tuple[list[str], int]:
    """Return the images without an output, sorted, and the number of those with one.

    An image too large for the format of its suffix is written as PNG beside it, so both names count. Hidden files and
    files without a suffix of an image are no images.
    """
    images = [
        name
        for name in sorted(names)
        if PurePosixPath(name).suffix.lower() in SUFFIXES
        and not any(part.startswith(".") for part in PurePosixPath(name).parts)
    ]
    left = [name for name in images if not {output_name(name), f"{name}.png"} & existing]
    return left, len(images) - len(left)


class BulkWorker:
    """An actor: the models, and an event loop on which the pipeline runs."""

    def __init__(self, source: str, output: str, options: BulkOptions) -> None:
        settings = load_settings(options.models_dir)
        if "intra_op_threads" not in settings.model_fields_set:
            settings = settings.model_copy(update={"intra_op_threads": max(1, int(options.cpus))})
        self._source, self._output = source, output
        self._loop = asyncio.new_event_loop()
        state = load_state(settings)
        model = self._loop.run_until_complete(batch.select_model(state, options.operation, options.model))
        keep = settings.metadata == "keep"
        self._run = batch.BatchRun(state, model, options.operation, keep_metadata=keep)

    def __call__(self, rows: dict[str, Any]) -> dict[str, Any]:
        """Process the images of the column `name`. The column `error` is empty for those that were written."""
        names = [str(name) for name in rows["name"]]
        before = time.process_time()
        errors = self._loop.run_until_complete(self._process(names))
        cpu = (time.process_time() - before) / len(names)
        return {"name": np.array(names), "error": np.array(errors), "cpu_seconds": np.full(len(names), cpu)}

    async def _process(self, names: Sequence[str]) -> list[str]:
        errors: dict[str, str] = {}
        tasks: dict[str, FileTask] = {}
        with tempfile.TemporaryDirectory(prefix="hourglass-bulk-") as scratch:
            for number, name in enumerate(names):
                try:
                    tasks[name] = self._task(name, Path(scratch), number)
                except OSError as error:
                    errors[name] = f"cannot be read: {error}"
            results = [result async for result in batch.process_files(self._run, list(tasks.values()))]
            for name, result in zip(tasks, results, strict=True):
                errors[name] = result.problem.detail if result.problem else self._store(result.written, name)
        return [errors[name] for name in names]

    def _task(self, name: str, scratch: Path, number: int) -> FileTask:
        """Return the task of one image, whose files of a bucket are copies in the folder `scratch`."""
        path, root = Path(self._source).expanduser() / name, Path(self._output).expanduser()
        if "://" in self._source:
            path = scratch / f"in-{number}{PurePosixPath(name).suffix}"
            system, folder = open_folder(self._source)
            with system.open_input_stream(f"{folder}/{name}") as stream:
                path.write_bytes(stream.read())
        target = root / output_name(name)
        if "://" in self._output:
            target = scratch / f"out-{number}{target.suffix}"
        return FileTask(Source(path, Path(name)), target, fallback=target.with_name(f"{target.name}.png"))

    def _store(self, file: Path | None, name: str) -> str:
        """Copy an output to its bucket if it has one, and return the error, or an empty string.

        An object appears as a whole when its stream is closed.
        """
        if file is None or "://" not in self._output:
            return ""
        target = output_name(name) if file.suffix == PurePosixPath(output_name(name)).suffix else f"{name}.png"
        try:
            system, folder = open_folder(self._output)
            with system.open_output_stream(f"{folder}/{target}") as stream:
                stream.write(file.read_bytes())
        except OSError as error:
            return f"cannot be written: {error}"
        return ""


@app.default
def bulk(source: str, output: str, *, options: BulkOptions = BulkOptions(), json_summary: bool = False) -> int:
    """Run a model on all images below SOURCE and write the outputs below OUTPUT, by the same names.

    Returns the exit status: 1 if an image failed, else 0. Failed images are named on standard error, and the same
    command tries them again.
    """
    connects = not ray.is_initialized()
    if connects:
        ray.init(log_to_driver=False)
    left, skipped = plan_names(list_names(source), list_names(output))
    print(f"{len(left)} images, {skipped} skipped because their outputs exist", file=sys.stderr)
    done = failed = 0
    cpu_seconds = 0.0
    if left:
        # Blocks that the driver writes need no CPU, so that the actors may have all of them.
        blocks = -(-len(left) // FILES_PER_TASK)
        rows = ray.data.from_items([{"name": name} for name in left], override_num_blocks=blocks)
        results = rows.map_batches(
            BulkWorker,
            fn_constructor_args=(source, output, options),
            batch_size=FILES_PER_TASK,
            compute=ray.data.ActorPoolStrategy(size=options.actors),
            num_cpus=options.cpus,
            num_gpus=options.gpus or None,
        )
        reported = time.monotonic()
        for row in results.iter_rows():
            done, cpu_seconds = done + 1, cpu_seconds + float(row["cpu_seconds"])
            if row["error"]:
                failed += 1
                print(f"{row['name']}: {row['error']}", file=sys.stderr)
            if time.monotonic() - reported > PROGRESS_SECONDS or done == len(left):
                reported = time.monotonic()
                print(f"{done} of {len(left)} done, {failed} failed", file=sys.stderr)
    if connects:
        ray.shutdown()  # Ray prints messages about actors that died on standard output, also after the last image
    if json_summary:
        print(json.dumps({"done": done, "failed": failed, "skipped": skipped, "cpu_seconds": cpu_seconds}))
    return FAILURE if failed else 0


if __name__ == "__main__":
    os.environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")
    sys.exit(app())
