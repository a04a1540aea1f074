"""A recipe fitted from its start, or from where it was stopped, to its end; a signal stops it politely.

Knows when things happen, not how; and nothing of ONNX.
"""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from signal import SIGTERM

from training.data import Data
from training.errors import Interrupted, RunError
from training.loop.checkpoint import read_weights
from training.loop.distributed import ALONE, Peers
from training.loop.optimiser import flushed
from training.loop.run_folder import locked
from training.loop.signals import polite_signals
from training.loop.trainer import Loop
from training.nets import Autoencoder
from training.recipe import Recipe

Tell = Callable[[int, int, float, float], None]
"""Told after every step: steps done, steps in all, loss, items a second."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """The net to publish, and what its fit cost."""

    net: Autoencoder
    steps: int
    seconds: float


def fit(
    recipe: Recipe,
    data: Data,
    folder: Path,
    tell: Tell,
    *,
    resume: bool | None = None,
    init: Path | None = None,
    peers: Peers = ALONE,
) -> Fitted:
    """Fits the recipe in a run folder. `resume`: None refuses a folder that holds checkpoints, False clears them.

    `init`: a weights file to start from. `peers`: who else takes a part of every batch. Raises DataError, RunError,
    Diverged, Collapsed, and after a signal, when a checkpoint has been written, Interrupted.
    """
    if resume and init:
        raise RunError("--init is where a fresh run starts and --resume goes on with an old one: give one of them")
    with locked(folder) if peers.first else nullcontext(), flushed(), polite_signals() as stop:
        loop = Loop(recipe, data, folder, read_weights(init) if init else None, peers)
        loop.take_up(resume)
        course = loop.course
        while not loop.finished:
            loss, seconds = loop.step()
            tell(course.step, loop.total, loss, loop.batches.size / seconds)
            if course.step % loop.batches.per_epoch == 0:
                loop.judge()
            stopped = peers.any(stop.signal is not None)
            if stopped or loop.finished or course.step % recipe.optimisation.checkpoint == 0:
                loop.save()
            if stopped and not loop.finished:
                raise Interrupted(
                    f"stopped at step {course.step} of {loop.total}: the same command with --resume goes on from there",
                    stop.signal or SIGTERM,
                )
    return Fitted(course.served(), course.step, course.seconds)


def fitted(recipe: Recipe, data: Data, folder: Path) -> Fitted:
    """What the newest checkpoint in a run folder holds. Raises RunError where there is none of this recipe."""
    loop = Loop(recipe, data, folder)
    if not loop.restore():
        raise RunError(f"{folder} holds no checkpoint: fit the recipe first")
    return Fitted(loop.course.served(), loop.course.step, loop.course.seconds)
