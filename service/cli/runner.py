"""Runs the tasks of a command under a progress bar, and reports them for people or as JSON."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from service.card import Operation
from service.cli import batch
from service.cli.output_log import OutputLog
from service.cli.plan import Plan
from service.cli.sources import Sources, printable
from service.config import Settings
from service.engine.strength import DEFAULT_REMOVAL, Removal, check_removal
from service.runtime.hardware import available_cores
from service.setting_types import supported_formats
from service.state import State, create_mirror, create_state
from service.telemetry.logs import configure_logging
from service.types import Array

FAILURE, INTERRUPTED = 1, 128  # exit status: some files failed; stopped by a signal, whose number is added
STOP_SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


class CommandError(Exception):
    """A command cannot be executed. The message says why and how to fix it."""


@Parameter(name="*", show_env_var=False)
@dataclass(frozen=True)
class BatchOptions:
    """The options that all commands on files share."""

    model: str = ""
    """name of the model; default: that of the operation, or the only candidate"""
    models_dir: str | None = None
    """folder of models; serve --help lists all settings"""
    overwrite: Annotated[bool, Parameter(negative="")] = False
    """replace files that exist already; without it only outputs of earlier runs are replaced"""
    skip_existing: Annotated[bool, Parameter(negative="")] = False
    """leave out images whose output exists already, so that a stopped run continues"""
    suffix: Annotated[str, Parameter(allow_leading_hyphen=True)] = ""
    """text to add to the names of outputs, before the last dot"""
    truncated: Literal["allow", "reject"] = "reject"
    """allow or reject images of which a part is missing"""
    quiet: Annotated[bool, Parameter(["--quiet", "-q"], negative="")] = False
    """print failures only"""
    json: Annotated[bool, Parameter(negative="")] = False
    """print one JSON document on standard output: every file, and the summary"""

    @property
    def removal(self) -> Removal:
        """How much noise to remove."""
        return DEFAULT_REMOVAL


@Parameter(name="*", show_env_var=False)
@dataclass(frozen=True)
class ImageOptions(BatchOptions):
    """The options of commands that write images."""

    quality: Annotated[int | None, Parameter(validator=Number(gte=1, lte=100))] = None
    """quality of JPEG, WebP and AVIF outputs, 1 to 100; default: that of the JPEG read, or of the settings"""
    metadata: Literal["keep", "strip"] | None = None
    """keep or strip metadata such as EXIF, XMP and resolution; default: HOURGLASS_METADATA, which is keep"""


@Parameter(name="*", show_env_var=False)
@dataclass(frozen=True)
class DenoiseOptions(ImageOptions):
    """The options of `hourglass denoise`."""

    strength: Annotated[float, Parameter(validator=Number(gte=0, lte=2))] = 1.0
    """how much noise to remove, from 0 (none) over 1 (what the model chooses) to 2"""
    sigma: Annotated[float | None, Parameter(validator=Number(gte=0, lte=100))] = None
    """standard deviation of the noise in grey levels of 0 to 255; default: the model estimates it"""

    @property
    def removal(self) -> Removal:
        """How much noise to remove."""
        return Removal(self.strength, self.sigma)


DEFAULT_OPTIONS = BatchOptions()
DEFAULT_IMAGE_OPTIONS = ImageOptions()
DEFAULT_DENOISE_OPTIONS = DenoiseOptions()


@dataclass(slots=True)
class Report:
    """What happened to the files of a command. `total` counts those that were to be processed."""

    operation: Operation
    options: BatchOptions
    sources: Sources
    plan: Plan
    log: OutputLog | None = None
    total: int = 0
    failed: int = 0
    codes: list[tuple[str, Array]] = field(default_factory=list[tuple[str, Array]])
    files: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    figures_to_stdout: bool = True
    console: Console = field(default_factory=lambda: Console(stderr=True))

    def note(self, message: str, *, style: str = "", important: bool = False) -> None:
        """Print a line on standard error; with --quiet only important ones."""
        if important or not self.options.quiet:
            self.console.print(message, style=style, markup=False, highlight=False, soft_wrap=True)

    def add(self, result: batch.FileResult) -> None:
        """Add the result of one file: print its failure, notes and figures, and remember its output."""
        task, source = result.task, str(result.task.source)
        entry: dict[str, Any] = {"file": source, "output": printable(result.written) if result.written else None}
        for message in result.notes:
            self.note(f"{source}: {message}")
        if result.problem:
            self.failed += 1
            self.note(f"{source}: {result.problem.detail}", style="red", important=True)
            self.files.append({**entry, "status": "failed", "error": result.problem.detail})
            return
        if result.written and self.log:
            self.log.record(result.written)
        many = len(result.outputs) > 1
        for number, (output, figures) in enumerate(zip(result.outputs, result.figures, strict=True), 1):
            name = f"{source}#page={number}" if many else source
            if self.operation == "encode":
                self.codes.append((name, output))
            if figures and self.operation == "reconstruct" and not self.options.json:
                line = " ".join([name, *(f"{key} {_figure(value)}" for key, value in figures.items())])
                print(line, file=sys.stderr if task.to_stdout else sys.stdout)
        self.files.append({**entry, "status": "done", "figures": result.figures, "notes": result.notes})

    def finish(self, *, to_stdout: bool) -> int:
        """Print the summary, and with --json the document unless standard output holds an image. Return the status."""
        skipped, passed_over = len(self.plan.skipped), self.sources.describe_passed_over()
        parts = [f"{self.total - self.failed} of {self.total} done"]
        parts += [f"{self.failed} of {self.total} failed"] if self.failed else []
        parts += [f"{skipped} skipped because their outputs exist"] if skipped else []
        self.note(", ".join(parts) + (f"; passed over: {passed_over}" if passed_over else ""))
        for reason in self.sources.unreadable:
            self.note(f"cannot read the folder {reason}", style="red", important=True)
        if self.options.json and to_stdout:
            print(json.dumps(self._document()))
        return FAILURE if self.failed or self.sources.unreadable else 0

    def _document(self) -> dict[str, Any]:
        return {
            "operation": self.operation,
            "files": self.files,
            "done": self.total - self.failed,
            "failed": self.failed,
            "skipped": [printable(path) for path in self.plan.skipped],
            "passed_over": dict(self.sources.passed_over),
            "unreadable": self.sources.unreadable,
            "notes": self.plan.notes,
        }


def _figure(value: float) -> str:
    """Return a figure as text: yes or no, or five digits."""
    return ("no", "yes")[value] if isinstance(value, bool) else f"{value:.5g}"


def run_tasks(
    operation: Operation,
    sources: Sources,
    plan: Plan,
    settings: Settings,
    options: BatchOptions,
    log: OutputLog | None = None,
) -> Report:
    """Run the tasks under a progress bar and return the report. A failed file is reported and skipped."""
    report = Report(operation, options, sources, plan, log, total=len(plan.tasks))
    for message in plan.notes:
        report.note(message)
    if not plan.tasks:
        return report
    for kind in STOP_SIGNALS:
        signal.signal(kind, _interrupt)
    many_images = len(plan.tasks) >= 2 * available_cores().value
    state = load_state(settings, lazy=True, many_images=many_images)
    try:
        asyncio.run(_run(state, report))
    except (KeyboardInterrupt, asyncio.CancelledError) as stop:
        number = stop.args[0] if stop.args else signal.SIGINT
        report.note(
            f"stopped after {len(report.files)} of {report.total}: the same command with --skip-existing continues",
            important=True,
        )
        sys.exit(INTERRUPTED + number)
    finally:
        state.store.close()
        state.pool.shutdown()
    return report


def _interrupt(number: int, _frame: object) -> None:
    raise KeyboardInterrupt(number)


def _cancel_on_signals() -> None:
    """Cancel the current task when a stop signal arrives, as asyncio does for SIGINT.

    An exception that a handler raises in the event loop could be lost, or leave a lock of the thread pool held.
    """
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("call this function in a task")
    for kind in STOP_SIGNALS:
        with suppress(NotImplementedError):  # on Windows
            asyncio.get_running_loop().add_signal_handler(kind, task.cancel, int(kind))


async def _run(state: State, report: Report) -> None:
    _cancel_on_signals()
    options = report.options
    model = await batch.select_model(state, report.operation, options.model)
    check_removal(options.removal, model.card)
    metadata = options.metadata if isinstance(options, ImageOptions) else None
    run = batch.BatchRun(
        state,
        model,
        report.operation,
        allow_truncated=options.truncated == "allow",
        keep_metadata=(metadata or state.settings.metadata) == "keep",
        quality=options.quality if isinstance(options, ImageOptions) else None,
        removal=options.removal,
        error_maps=report.plan.error_maps,
    )
    async with _progress(report) as advance:
        async for result in batch.process_files(run, report.plan.tasks):
            advance()
            report.add(result)


@asynccontextmanager
async def _progress(report: Report) -> AsyncGenerator[Any]:
    columns = (TextColumn(report.operation), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    hidden = report.options.quiet or not report.console.is_terminal
    with Progress(*columns, console=report.console, transient=True, disable=hidden) as progress:
        task = progress.add_task(report.operation, total=report.total)
        yield lambda: progress.advance(task)


def load_settings(models_dir: str | None) -> Settings:
    """Read the settings of the environment. Files may have any format, whatever the HTTP API accepts."""
    formats = ",".join(sorted(supported_formats()))
    flags: dict[str, object] = {"image_formats": formats, **({"models_dir": models_dir} if models_dir else {})}
    return Settings.from_env(os.environ, flags)


def load_writable_settings(models_dir: str | None) -> Settings:
    """Read the settings of a command that writes models: to ./models, never into the wheel."""
    settings = load_settings(models_dir)
    return load_settings(str(settings.models_dir)) if settings.uses_bundled_models else settings


def load_state(settings: Settings, *, lazy: bool = False, many_images: bool = False) -> State:
    """Load the models, or with `lazy` only their cards. Raises CommandError if their folder does not exist."""
    folder = settings.models_folder
    if settings.models_address is None and not folder.is_dir():
        reason = "is a file" if folder.exists() else "does not exist"
        raise CommandError(f"the models folder {folder} {reason}; set it with --models-dir")
    configure_logging(settings.log_format, settings.log_level)
    state = create_state(settings, many_images=many_images)
    if mirror := create_mirror(state):
        from service.repository.hub.mirror import keep_updated

        asyncio.run(keep_updated(mirror, state.store.refresh_async, None))
    state.store.refresh(lazy=lazy)
    state.store.read_cards()
    return state
