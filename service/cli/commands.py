"""The commands of `hourglass`: serve models over HTTP, or run them on files and folders without a server."""

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
    """Return an error as one line, with the first error of a pydantic ValidationError.

    The result is a Text, because rich would interpret brackets in a string as markup.
    """
    cause = error.__cause__ if isinstance(error, CycloptsError) else error
    first = cause.errors()[0] if isinstance(cause, ValidationError) else None
    message = f"{'.'.join(map(str, first['loc']))}: {first['msg']}" if first else error
    return Text(f"hourglass: {message}", "red")


app = App(
    name="hourglass",
    error_formatter=format_error,
    version=metadata.version("hourglass"),
    help="Serve autoencoders over HTTP, or run them on files without a server.",
    config=config.Env(PREFIX, command=False),
)
SettingsOptions = Annotated[Settings | None, Parameter(name="*", show_env_var=True)]
ModelsDirOption = Annotated[
    Path | None, Parameter(show_env_var=False, help="folder of models; serve --help lists all settings")
]
SourceArgument = Annotated[Path, Parameter(show_env_var=False, help="an image file or a folder")]
OutputOption = Annotated[
    Path,
    Parameter(
        ["--output", "-o"],
        show_env_var=False,
        help="an image file or a folder, like SOURCE; for codes a .npy or .csv file",
    ),
]
ModelOption = Annotated[
    str, Parameter(show_env_var=False, help="name of the model; default: that of the operation, or the only candidate")
]
stderr = Console(stderr=True)


class CommandError(Exception):
    """A command cannot be executed. The message says why and how to fix it."""


@app.command
def serve(*, settings: SettingsOptions = None) -> None:
    """Serve the models of a folder until SIGTERM or SIGINT. Every flag is also an environment variable.

    Example: hourglass serve --models-dir models --port 8000 --default-denoise photo
    """
    from service.server import run  # importing the web framework takes a third of a second

    Settings.from_env(os.environ)  # raises for unknown variables, which cyclopts ignores
    run.serve(settings or Settings())


@app.command(name="models")
def list_models(*, models_dir: ModelsDirOption = None) -> None:
    """List the models of a folder, their operations, and the rejected versions with the reasons.

    Example: hourglass models --models-dir models
    """
    state = _load_state(_load_settings(models_dir))
    snapshot = state.store.snapshot
    table = Table("model", "version", "operations", "title", box=None)
    for name, model in snapshot.loaded.items():
        table.add_row(name, str(model.card.version), " ".join(model.runners), model.card.title)
    Console().print(table)
    for rejected in snapshot.rejected.values():
        message = f"rejected: {rejected.name} {rejected.version}: {rejected.reason}"
        stderr.print(message, style="red", markup=False, highlight=False, soft_wrap=True)


@app.command
def denoise(
    source: SourceArgument, *, output: OutputOption, model: ModelOption = "", models_dir: ModelsDirOption = None
) -> None:
    """Denoise an image, or all images below a folder.

    Example: hourglass denoise scans/ -o clean/
    """
    _run_images("denoise", source, output, model, _load_settings(models_dir))


@app.command
def reconstruct(
    source: SourceArgument, *, output: OutputOption, model: ModelOption = "", models_dir: ModelsDirOption = None
) -> None:
    """Encode and decode an image, or all images below a folder, and print the error of each.

    Example: hourglass reconstruct digit.png -o back.png --model digits
    """
    _run_images("reconstruct", source, output, model, _load_settings(models_dir))


@app.command
def encode(
    source: SourceArgument, *, output: OutputOption, model: ModelOption = "", models_dir: ModelsDirOption = None
) -> None:
    """Encode an image, or all images below a folder in order of path, and write one table of codes.

    Example: hourglass encode digits/ -o codes.csv --model digits
    """
    if output.suffix not in (".npy", ".csv"):
        raise CommandError(f"cannot write codes to {output.name}: use .npy or .csv")
    codes: list[tuple[Path, Array]] = []
    failures = _run("encode", batch.list_tasks(source, None), model, _load_settings(models_dir), codes)
    if codes:
        batch.write_atomic(output, batch.encode_table(codes, output.suffix))
        stderr.print(f"{len(codes)} codes in {output}", highlight=False, soft_wrap=True)
    sys.exit(1 if failures else 0)


@app.command
def key(name: Annotated[str, Parameter(show_env_var=False, help="name of the owner: letters, digits, . _ -")]) -> None:
    """Create an API key. Prints the key on stdout and its line for the keys file on stderr.

    Example: hourglass key alice 2>> keys
    """
    from service.auth import KEY_LINE, new_key

    api_key, line = new_key(name)
    if not KEY_LINE.fullmatch(line):
        raise CommandError("a name has at most 64 letters, digits, dots, dashes and underscores")
    print(api_key)
    print(line, file=sys.stderr)


def _run_images(operation: Operation, source: Path, output: Path, model: str, settings: Settings) -> None:
    sys.exit(1 if _run(operation, batch.list_tasks(source, output), model, settings, []) else 0)


def _run(
    operation: Operation,
    tasks: list[batch.FileTask],
    model_name: str,
    settings: Settings,
    codes: list[tuple[Path, Array]],
) -> int:
    """Run the tasks under a progress bar and return the number of failures. A failed file is reported and skipped."""
    state = _load_state(settings)

    def report(note: str) -> None:
        stderr.print(note, markup=False, highlight=False, soft_wrap=True)

    async def work() -> int:
        model = await batch.select_model(state, operation, model_name)
        failures = 0
        columns = (TextColumn(operation), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=stderr, transient=True) as progress:
            task = progress.add_task(operation, total=len(tasks))
            async for file_task, output, figures in batch.process_files(state, model, operation, tasks, report):
                progress.advance(task)
                if isinstance(output, Problem):
                    failures += 1
                    stderr.print(
                        f"{file_task.source}: {output.detail}",
                        style="red",
                        markup=False,
                        highlight=False,
                        soft_wrap=True,
                    )
                    continue
                if operation == "encode":
                    codes.append((file_task.source, output))
                if figures and operation == "reconstruct":
                    print(file_task.source, *(f"{name} {value:.5g}" for name, value in figures.items()))
        if failures:
            stderr.print(f"{failures} of {len(tasks)} failed", style="red", highlight=False)
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
        raise CommandError(f"the models folder {settings.models_dir} does not exist; set it with --models-dir")
    configure_logging(settings.log_format, settings.log_level)
    state = create_state(settings)
    state.store.refresh()
    return state


def main() -> None:
    """Run the command line. A failure is reported in one line on stderr, with exit status 2."""
    try:
        app()
    except (CommandError, ValueError, DeviceUnavailable, Problem) as error:
        stderr.print(format_error(error), soft_wrap=True)
        sys.exit(2)
