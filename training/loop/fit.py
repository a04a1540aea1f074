"""Fits a recipe from the start or from a checkpoint to the end, and stops after a checkpoint on a signal."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from signal import SIGTERM

from training.data import Dataset
from training.errors import Interrupted, RunError
from training.loop.checkpoint import read_weights
from training.loop.device import CPU, Compute, explain_memory
from training.loop.distributed import SINGLE_PROCESS, ProcessGroup
from training.loop.optimizer import flush_denormals
from training.loop.run_folder import lock_run_folder
from training.loop.signals import StopRequest, stop_on_signal
from training.loop.trainer import Trainer
from training.nets import Autoencoder
from training.recipe import Recipe

ProgressCallback = Callable[[int, int, float, float], None]
"""Called after every step with the steps done, the total number of steps, the loss, and items per second."""

ValidationCallback = Callable[[int, Autoencoder], None]
"""Called at the end of every epoch with the steps done and a copy of the best net so far, on the CPU, in eval mode."""


def each_of(callbacks: Sequence[ProgressCallback]) -> ProgressCallback:
    """Return a callback that calls all of them in their order."""

    def on_step(step: int, total: int, loss: float, rate: float) -> None:
        for callback in callbacks:
            callback(step, total, loss, rate)

    return on_step


@dataclass(frozen=True, slots=True)
class FitResult:
    """The net to publish, the number of training steps, and the seconds they took."""

    net: Autoencoder
    steps: int
    seconds: float


def fit(
    recipe: Recipe,
    data: Dataset,
    folder: Path,
    on_step: ProgressCallback,
    *,
    on_validation: ValidationCallback | None = None,
    resume: bool | None = None,
    init: Path | None = None,
    process_group: ProcessGroup = SINGLE_PROCESS,
    compute: Compute = CPU,
) -> FitResult:
    """Fit a recipe in a run folder.

    Args:
        recipe: the experiment.
        data: its data, as `training.data.load` returns it.
        folder: the run folder, for checkpoints and the log; created if it does not exist.
        on_step: called after every step.
        on_validation: called at the end of every epoch, in the main process.
        resume: True resumes from the latest checkpoint, if any. False deletes all checkpoints. None raises RunError if
            there are any.
        init: a safetensors file of initial weights.
        process_group: the processes that share every batch.
        compute: the device to compute on; the net of the result is on the CPU.

    Raises:
        RecipeError: the recipe does not fit the shape of the data.
        DataError: the data does not fit the recipe.
        RunError: the run folder is in use, contains another run or broken checkpoints, or `init` does not fit the net.
        Diverged: the loss, a gradient or a weight is not finite.
        Collapsed: the net returns the same output for every input.
        Interrupted: SIGINT or SIGTERM was received, and a checkpoint was written.
    """
    if resume and init:
        raise RunError("--init starts a new run and --resume continues an old one: use only one of them")
    with (
        lock_run_folder(folder) if process_group.is_main else nullcontext(),
        flush_denormals(),
        stop_on_signal() as stop,
        ExitStack() as memory,
    ):
        trainer = Trainer(recipe, data, folder, read_weights(init) if init else None, process_group, compute)
        memory.enter_context(explain_memory(trainer.batches.batch_size))
        trainer.resume_or_start(resume)
        _train(trainer, on_step, on_validation, stop)
    return FitResult(trainer.state.best_net(), trainer.state.step, trainer.state.seconds)


def _train(
    trainer: Trainer, on_step: ProgressCallback, on_validation: ValidationCallback | None, stop: StopRequest
) -> None:
    """Train until the last step, and write checkpoints. Raises Interrupted after one if `stop` has a signal."""
    state, checkpoint_every = trainer.state, trainer.recipe.optimizer.checkpoint_every
    process_group = trainer.process_group
    while not trainer.finished:
        loss, seconds = trainer.step()
        on_step(state.step, trainer.total_steps, loss, trainer.batches.batch_size / seconds)
        if state.step % trainer.batches.steps_per_epoch == 0:
            trainer.end_epoch()
            if on_validation and process_group.is_main:
                on_validation(state.step, state.best_net())
        stopped = process_group.any_true(stop.signal is not None)
        if stopped or trainer.finished or state.step % checkpoint_every == 0:
            trainer.save()
        if stopped and not trainer.finished:
            raise Interrupted(
                f"stopped at step {state.step} of {trainer.total_steps}: run the same command with --resume to "
                "continue, or with export in place of fit to publish the best weights so far",
                stop.signal or SIGTERM,
            )


def load_fitted(recipe: Recipe, data: Dataset, folder: Path) -> FitResult:
    """Load the net of the latest checkpoint in a run folder.

    Raises RunError if there is no checkpoint, or it belongs to another recipe or other data.
    """
    trainer = Trainer(recipe, data, folder)
    if not trainer.restore():
        raise RunError(f"{folder} contains no checkpoint: fit the recipe first")
    return FitResult(trainer.state.best_net(), trainer.state.step, trainer.state.seconds)
