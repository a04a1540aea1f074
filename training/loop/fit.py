"""A recipe fitted from its start, or from where it was stopped, to its end; a signal stops it politely.

Knows when things happen, not how; and nothing of ONNX.
"""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from signal import SIGTERM

from training.data import Dataset
from training.errors import Interrupted, RunError
from training.loop.checkpoint import read_weights
from training.loop.distributed import SINGLE_PROCESS, ProcessGroup
from training.loop.optimiser import flush_denormals
from training.loop.run_folder import lock_run_folder
from training.loop.signals import stop_on_signal
from training.loop.trainer import Trainer
from training.nets import Autoencoder
from training.recipe import Recipe

ProgressCallback = Callable[[int, int, float, float], None]
"""Told after every step: steps done, steps in all, loss, items a second."""


@dataclass(frozen=True, slots=True)
class FitResult:
    """The net to publish, and what its fit cost."""

    net: Autoencoder
    steps: int
    seconds: float


def fit(
    recipe: Recipe,
    data: Dataset,
    folder: Path,
    on_step: ProgressCallback,
    *,
    resume: bool | None = None,
    init: Path | None = None,
    process_group: ProcessGroup = SINGLE_PROCESS,
) -> FitResult:
    """Fits the recipe in a run folder. `resume`: None refuses a folder that holds checkpoints, False clears them.

    `init`: a weights file to start from. `process_group`: who else takes a part of every batch. Raises DataError,
    RunError, Diverged, Collapsed, and after a signal, when a checkpoint has been written, Interrupted.
    """
    if resume and init:
        raise RunError("--init is where a fresh run starts and --resume goes on with an old one: give one of them")
    with (
        lock_run_folder(folder) if process_group.is_main else nullcontext(),
        flush_denormals(),
        stop_on_signal() as stop,
    ):
        loop = Trainer(recipe, data, folder, read_weights(init) if init else None, process_group)
        loop.resume_or_start(resume)
        course = loop.state
        while not loop.finished:
            loss, seconds = loop.step()
            on_step(course.step, loop.total_steps, loss, loop.batches.batch_size / seconds)
            if course.step % loop.batches.steps_per_epoch == 0:
                loop.end_epoch()
            stopped = process_group.any_true(stop.signal is not None)
            if stopped or loop.finished or course.step % recipe.optimizer.checkpoint_every == 0:
                loop.save()
            if stopped and not loop.finished:
                raise Interrupted(
                    f"stopped at step {course.step} of {loop.total_steps}: the same command with --resume goes on from "
                    "there",
                    stop.signal or SIGTERM,
                )
    return FitResult(course.best_net(), course.step, course.seconds)


def load_fitted(recipe: Recipe, data: Dataset, folder: Path) -> FitResult:
    """What the newest checkpoint in a run folder holds. Raises RunError where there is none of this recipe."""
    loop = Trainer(recipe, data, folder)
    if not loop.restore():
        raise RunError(f"{folder} holds no checkpoint: fit the recipe first")
    return FitResult(loop.state.best_net(), loop.state.step, loop.state.seconds)
