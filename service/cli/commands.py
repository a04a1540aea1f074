"""The `hourglass` command line: serve the models, or put files and folders through them without a server."""

import asyncio
import os
import sys
from importlib import metadata
from pathlib import Path
from typing import Annotated

from cyclopts import App, CycloptsError, Parameter, config
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from service.card import Operation
from service.cli import batch
from service.config import PREFIX, Settings
from service.errors import Problem
from service.runtime.session import DeviceUnavailable
from service.state import State, create_state
from service.telemetry.logs import configure_logging
from service.types import Array


def format_error(error: Exception) -> Text:
    """What went wrong, in one line; of what pydantic found, the first. Text, since brackets are markup to rich."""
    cause = error.__cause__ if isinstance(error, CycloptsError) else error
    first = cause.errors()[0] if isinstance(cause, ValidationError) else None
    said = f"{'.'.join(map(str, first['loc']))}: {first['msg']}" if first else error
    return Text(f"hourglass: {said}", "red")


app = App(
    name="hourglass",
    error_formatter=format_error,
    version=metadata.version("hourglass"),
    help="Autoencoders over HTTP, and on files without a server.",
    config=config.Env(PREFIX, command=False),
)
SettingsOptions = Annotated[Settings | None, Parameter(name="*", show_env_var=True)]
ModelsDirOption = Annotated[
    Path | None, Parameter(show_env_var=False, help="folder of models; this and all other settings: see serve --help")
]
SourceArgument = Annotated[Path, Parameter(show_env_var=False, help="a picture or a folder")]
OutputOption = Annotated[
    Path,
    Parameter(["--output", "-o"], show_env_var=False, help="a picture or a folder, as SOURCE is; codes: .npy or .csv"),
]
ModelOption = Annotated[
    str, Parameter(show_env_var=False, help="model to use; without it the operation's default, or the only one")
]
stderr = Console(stderr=True)


class CommandError(Exception):
    """The command cannot do what it was asked; the message says why and what to do."""


@app.command
def serve(*, settings: SettingsOptions = None) -> None:
    """Serve the models of a folder until a signal. Every flag is also an environment variable.

    Example: hourglass serve --models-dir models --port 8000 --default-denoise photo
    """
    from service.server import run  # the web stack costs the other commands a third of a second

    Settings.from_env(os.environ)  # refuses unknown variables, which the flags would not see
    run.serve(settings or Settings())


@app.command(name="models")
def list_models(*, models_dir: ModelsDirOption = None) -> None:
    """List the models of a folder, what they offer, and what was refused and why.

    Example: hourglass models --models-dir models
    """
    state = _load_state(_load_settings(models_dir))
    shelf = state.store.snapshot
    table = Table("model", "version", "operations", "title", box=None)
    for name, model in shelf.loaded.items():
        table.add_row(name, str(model.card.version), " ".join(model.runners), model.card.title)
    Console().print(table)
    for rejected in shelf.rejected.values():
        message = f"rejected: {rejected.name} {rejected.version}: {rejected.reason}"
        stderr.print(message, style="red", markup=False, highlight=False, soft_wrap=True)


@app.command
def denoise(
    source: SourceArgument, *, output: OutputOption, model: ModelOption = "", models_dir: ModelsDirOption = None
) -> None:
    """Take the noise out of a picture, or of every picture below a folder.

    Example: hourglass denoise scans/ -o clean/
    """
    _run_images("denoise", source, output, model, _load_settings(models_dir))


@app.command
def reconstruct(
    source: SourceArgument, *, output: OutputOption, model: ModelOption = "", models_dir: ModelsDirOption = None
) -> None:
    """Put a picture, or every picture below a folder, through the code and back; prints how well each fared.

    Example: hourglass reconstruct digit.png -o back.png --model digits
    """
    _run_images("reconstruct", source, output, model, _load_settings(models_dir))


@app.command
def encode(
    source: SourceArgument, *, output: OutputOption, model: ModelOption = "", models_dir: ModelsDirOption = None
) -> None:
    """Write the codes of a picture, or of every picture below a folder in order of name, as one table.

    Example: hourglass encode digits/ -o codes.csv --model digits
    """
    if output.suffix not in (".npy", ".csv"):
        raise CommandError(f"codes are written to .npy or .csv, not to {output.name}")
    codes: list[tuple[Path, Array]] = []
    failures = _run("encode", batch.list_tasks(source, None), model, _load_settings(models_dir), codes)
    if codes:
        batch.write_atomic(output, batch.encode_table(codes, output.suffix))
        stderr.print(f"{len(codes)} codes in {output}", highlight=False, soft_wrap=True)
    sys.exit(1 if failures else 0)


@app.command
def key(name: Annotated[str, Parameter(show_env_var=False, help="whose key it is: letters, digits, . _ -")]) -> None:
    """Make a key: itself on stdout, to be given to its owner, and on stderr its line for the file of keys.

    Example: hourglass key alice 2>> keys
    """
    from service.auth import KEY_LINE, new_key

    made, line = new_key(name)
    if not KEY_LINE.fullmatch(line):
        raise CommandError("a name has at most 64 letters, digits, dots, dashes and underscores")
    print(made)
    print(line, file=sys.stderr)


def _run_images(operation: Operation, source: Path, output: Path, model: str, settings: Settings) -> None:
    sys.exit(1 if _run(operation, batch.list_tasks(source, output), model, settings, []) else 0)


def _run(
    operation: Operation, jobs: list[batch.FileTask], wish: str, settings: Settings, codes: list[tuple[Path, Array]]
) -> int:
    """Run the jobs under a progress bar; a bad file is reported and skipped. The number of failures."""
    state = _load_state(settings)

    async def work() -> int:
        model = await batch.select_model(state, operation, wish)
        failures = 0
        columns = (TextColumn(operation), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=stderr, transient=True) as progress:
            task = progress.add_task(operation, total=len(jobs))
            async for job, output, figures in batch.process_files(state, model, operation, jobs):
                progress.advance(task)
                if isinstance(output, Problem):
                    failures += 1
                    stderr.print(
                        f"{job.source}: {output.detail}", style="red", markup=False, highlight=False, soft_wrap=True
                    )
                    continue
                codes.append((job.source, output)) if operation == "encode" else None
                if figures and operation == "reconstruct":
                    print(job.source, *(f"{name} {value:.5g}" for name, value in figures.items()))
        if failures:
            stderr.print(f"{failures} of {len(jobs)} failed", style="red", highlight=False)
        return failures

    try:
        return asyncio.run(work())
    finally:
        state.store.close()
        state.pool.shutdown()


def _load_settings(models_dir: Path | None) -> Settings:
    settings = Settings.from_env(os.environ)
    return settings.model_copy(update={"models_dir": models_dir}) if models_dir else settings


def _load_state(settings: Settings) -> State:
    if not settings.models_dir.is_dir():
        raise CommandError(f"there is no folder of models {settings.models_dir}; name one by --models-dir")
    configure_logging(settings.log_format, settings.log_level)
    state = create_state(settings)
    state.store.refresh()
    return state


def main() -> None:
    """Run the command line. A failure is one sentence on stderr and exit status 2."""
    try:
        app()
    except (CommandError, ValueError, DeviceUnavailable, Problem) as error:
        stderr.print(format_error(error), soft_wrap=True)
        sys.exit(2)
