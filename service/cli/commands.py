"""The commands of `hourglass`: serve models over HTTP, or run them on files and folders without a server."""

import os
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Annotated

from cyclopts import App, ArgumentCollection, CycloptsError, Parameter, UnknownOptionError, UnusedCliTokensError, config
from pydantic import ValidationError
from rich.console import Console
from rich.text import Text

from service.card import Operation
from service.cli import batch
from service.cli.models import models_app
from service.cli.output_log import OutputLog, state_folder
from service.cli.plan import ExistingFilePolicy, FileTask, Plan, note_quality, output_folder, plan_outputs
from service.cli.runner import (
    DEFAULT_DENOISE_OPTIONS,
    DEFAULT_IMAGE_OPTIONS,
    DEFAULT_OPTIONS,
    BatchOptions,
    CommandError,
    DenoiseOptions,
    ImageOptions,
    load_settings,
    run_tasks,
)
from service.cli.sources import STREAM, SUFFIXES, Sources, expand_home, find_sources, printable
from service.cli.start import paused_collection
from service.config import Settings, explain_flags
from service.environment import PREFIX
from service.errors import Problem
from service.runtime.providers import DeviceUnavailable


def format_error(error: Exception) -> Text:
    """Return an error as one line; of a pydantic ValidationError only the first error.

    The result is a Text, because rich would interpret brackets in a string as markup.
    """
    cause = error.__cause__ if isinstance(error, CycloptsError) else error
    message = explain_flags(cause) if isinstance(cause, ValidationError) else error
    if isinstance(error, UnknownOptionError):
        message = f"{error} {' '.join(('hourglass', *(error.command_chain or ())))} --help lists all"
    if isinstance(error, UnusedCliTokensError):
        message = f"{' '.join(error.unused_tokens or ())} is too much here: see hourglass --help"
    return Text(f"hourglass: {message}", "red")


class VariableNames(config.Env):
    """The variables that the help shows beside the flags. `Settings.from_env` reads them."""

    def __call__(self, app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
        """Read nothing."""


app = App(
    name="hourglass",
    error_formatter=format_error,
    version=metadata.version("hourglass"),
    help="Serve autoencoders over HTTP, or run them on files without a server.",
    config=VariableNames(PREFIX, command=False),
)
app.command(models_app)
SettingsOptions = Annotated[Settings | None, Parameter(name="*", show_env_var=True)]
SourceArguments = Annotated[
    str, Parameter(show_env_var=False, help="images, folders and wildcards; - reads an image from standard input")
]
OutputOption = Annotated[
    str,
    Parameter(
        ["--output", "-o"],
        show_env_var=False,
        allow_leading_hyphen=True,
        help="an image file, a folder (made if it ends in /, or for several images), or - for standard output",
    ),
]
TableOption = Annotated[
    str,
    Parameter(
        ["--output", "-o"],
        show_env_var=False,
        allow_leading_hyphen=True,
        help="a .npy or .csv file, or - for CSV on standard output",
    ),
]
stderr = Console(stderr=True)


@app.command
def serve(*, settings: SettingsOptions = None) -> None:
    """Serve the models of a folder until SIGTERM or SIGINT. Every flag is also an environment variable.

    Example: hourglass serve --models-dir models --port 8000 --default-denoise photo
    """
    with paused_collection():
        from service.server import run  # importing the web framework takes a third of a second

    flags = settings.model_dump(exclude_unset=True) if settings else {}
    run.serve(Settings.from_env(os.environ, flags))


@app.command(name="health")
def check_health(*, settings: SettingsOptions = None) -> None:
    """Ask the service whether it is ready. Give the flags that it was started with, or set the same variables.

    In a container the flags of the service are found. The status is 0 if it is ready and 1 if it is not.
    Example: hourglass health --port 8000
    """
    from service.cli import health

    flags = settings.model_dump(exclude_unset=True) if settings else health.service_flags()
    if reason := health.check(Settings.from_env(os.environ, flags)):
        stderr.print(f"hourglass: {reason}", style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(1)


@app.command
def denoise(*sources: SourceArguments, output: OutputOption, options: DenoiseOptions = DEFAULT_DENOISE_OPTIONS) -> None:
    """Denoise images, or all images below folders.

    Example: hourglass denoise scans/ holiday/*.jpg -o clean/
    """
    _run_images("denoise", sources, output, options)


@app.command
def reconstruct(
    *sources: SourceArguments,
    output: OutputOption,
    error_map: Annotated[
        bool,
        Parameter(
            "--map", negative="", show_env_var=False, help="write where the error is, as colours over each image"
        ),
    ] = False,
    options: ImageOptions = DEFAULT_IMAGE_OPTIONS,
) -> None:
    """Encode and decode images, or all images below folders, and print the error of each.

    Example: hourglass reconstruct digit.png -o back.png --model digits

    With --map: hourglass reconstruct parts/ -o maps/ --model defects --map
    """
    _run_images("reconstruct", sources, output, options, error_maps=error_map)


@app.command
def encode(*sources: SourceArguments, output: TableOption, options: BatchOptions = DEFAULT_OPTIONS) -> None:
    """Encode images, or all images below folders in order of path, and write one table of codes.

    Example: hourglass encode digits/ -o codes.csv --model digits
    """
    target = None if output in ("-", STREAM) else expand_home(output)
    if target and target.suffix.lower() not in (".npy", ".csv"):
        raise CommandError(f"cannot write codes to {target.name}: use .npy or .csv")
    settings, log = load_settings(options.models_dir), OutputLog(state_folder())
    if target and target.exists() and options.skip_existing:
        sys.exit(0)
    if target and target.exists() and not (options.overwrite or log.is_own(target)):
        raise CommandError(f"{printable(target)} exists already: --overwrite replaces it")
    images = _find_images(sources, None, log)
    report = run_tasks("encode", images, Plan([FileTask(source, None) for source in images.files]), settings, options)
    if report.codes:
        data = batch.encode_table(report.codes, target.suffix.lower() if target else ".csv")
        if target:
            batch.write_atomic(target, data)
            log.record(target)
            report.note(f"{len(report.codes)} codes in {printable(target)}")
        else:
            sys.stdout.buffer.write(data)
    sys.exit(report.finish(to_stdout=target is not None))


@app.command
def key(name: Annotated[str, Parameter(show_env_var=False, help="name of the owner: letters, digits, . _ -")]) -> None:
    """Create an API key. Prints its line for the keys file on stdout, and the key itself on stderr.

    Example: hourglass key alice >> keys
    """
    from service.auth import KEY_LINE, new_key

    api_key, line = new_key(name)
    if not KEY_LINE.fullmatch(line):
        raise CommandError("a name has at most 64 letters, digits, dots, dashes and underscores")
    print(line)
    print(api_key, file=sys.stderr)


def _run_images(
    operation: Operation, names: Sequence[str], output: str, options: ImageOptions, *, error_maps: bool = False
) -> None:
    settings, log = load_settings(options.models_dir), OutputLog(state_folder())
    folder = output_folder(output, names)
    images = _find_images(names, folder, log)
    existing = ExistingFilePolicy(options.overwrite, options.skip_existing, options.suffix)
    plan = plan_outputs(images, output, folder, existing, log.is_own)
    plan.error_maps = error_maps
    if options.quality is not None:
        note_quality(plan)
    report = run_tasks(operation, images, plan, settings, options, log)
    sys.exit(report.finish(to_stdout=output not in ("-", STREAM)))


def _find_images(names: Sequence[str], folder: Path | None, log: OutputLog) -> Sources:
    """Find the images. Raises CommandError if there is none."""
    images = find_sources(names, folder, log.is_own)
    if not images.files:
        passed_over = images.describe_passed_over()
        raise CommandError(
            f"there is no image in {', '.join(map(printable, names))} ({', '.join(sorted(SUFFIXES))})"
            + (f"; passed over: {passed_over}" if passed_over else "")
            + "".join(f"; {reason}" for reason in images.unreadable)
        )
    return images


def main() -> None:
    """Run the command line. A failure is reported in one line on stderr, with exit status 2."""
    words = [STREAM if word == "-" else word for word in sys.argv[1:]]
    try:
        app(words)
    except (CommandError, ValueError, DeviceUnavailable, Problem, OSError) as error:
        stderr.print(format_error(error), soft_wrap=True)
        sys.exit(2)
