"""The loop, on one page: corrupt, pass, loss, step, average; judge each epoch; checkpoint; stop politely.

Knows no family, no loss and no data set by name, and nothing of ONNX.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Generator, Tensor
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from training.batches import Batches, as_float, as_tensor
from training.checkpoint import clear, read_checkpoint, read_weights, write_checkpoint
from training.course import begin
from training.data import Data, hold_out
from training.errors import DataError, Interrupted, RunError
from training.guards import refuse_another, refuse_collapse, refuse_divergence
from training.nets import Autoencoder
from training.recipe import Optimisation, Recipe
from training.run import locked, polite_signals, read_log, write_log

JUDGED = 1000
"""Items in a batch of the validation, and of the training items that stand in where there is none."""

Tell = Callable[[int, int, float, float], None]
"""Told after every step: steps done, steps in all, loss, items a second."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """The net to publish, and what its fit cost."""

    net: Autoencoder
    steps: int
    seconds: float


def fit(
    recipe: Recipe, data: Data, folder: Path, tell: Tell, *, resume: bool | None = None, init: Path | None = None
) -> Fitted:
    """Fits the recipe in a run folder. `resume`: None refuses a folder that holds checkpoints, False clears them.

    `init`: a weights file to start from. Raises DataError, RunError, Diverged, Collapsed, and after a signal, when a
    checkpoint has been written, Interrupted.
    """
    if resume and init:
        raise RunError("--init is where a fresh run starts and --resume goes on with an old one: give one of them")
    with locked(folder), polite_signals() as stop:
        loop = Loop(recipe, data, folder, read_weights(init) if init else None)
        loop.take_up(resume)
        course = loop.course
        while not loop.finished:
            loss, seconds = loop.step()
            tell(course.step, loop.total, loss, loop.batches.size / seconds)
            if course.step % loop.batches.per_epoch == 0:
                loop.judge()
            if stop.signal or loop.finished or course.step % recipe.optimisation.checkpoint == 0:
                loop.save()
            if stop.signal and not loop.finished:
                raise Interrupted(
                    f"stopped at step {course.step} of {loop.total}: the same command with --resume goes on from there",
                    stop.signal,
                )
    return Fitted(course.served(), course.step, course.seconds)


def fitted(recipe: Recipe, data: Data, folder: Path) -> Fitted:
    """What the newest checkpoint in a run folder holds. Raises RunError where there is none of this recipe."""
    loop = Loop(recipe, data, folder)
    if not loop.restore():
        raise RunError(f"{folder} holds no checkpoint: fit the recipe first")
    return Fitted(loop.course.served(), loop.course.step, loop.course.seconds)


class Loop:
    """One fit: the data, where it stands, and the four things that happen to it."""

    def __init__(self, recipe: Recipe, data: Data, folder: Path, weights: dict[str, Tensor] | None = None) -> None:
        plan = recipe.optimisation
        train, held = hold_out(data.train, plan.validation, plan.seed)
        self.recipe, self.folder = recipe, folder
        self.batches = Batches(train, plan.batch, plan.seed)
        self.validated = len(held) > 0
        self.held = as_tensor(held if self.validated else train[:JUDGED])
        self.course = begin(recipe, self.batches.shape, weights)
        self.total = self.batches.per_epoch * plan.epochs
        self.facts = {"recipe": recipe.model_dump(mode="json", exclude={"model"}), "data": data.sha256}
        if recipe.objective.loss == "bce" and not _in_unit_range(self.batches.items):
            raise DataError("objective.loss = 'bce' needs values in 0..1 and these vectors have others: use 'mse'")

    @property
    def finished(self) -> bool:
        patience = self.recipe.optimisation.patience
        return self.course.step >= self.total or (patience is not None and self.course.stale >= patience)

    def take_up(self, resume: bool | None) -> None:
        """Goes to where the folder's newest checkpoint stands, if that is wanted, and drops what was logged later."""
        if resume is False:
            clear(self.folder)
        elif self.restore() and resume is None:
            raise RunError(f"{self.folder} holds step {self.course.step} of this run: add --resume or --fresh")
        write_log(self.folder, [line for line in read_log(self.folder) if line["step"] <= self.course.step])

    def restore(self) -> bool:
        """Goes to where the folder's newest checkpoint stands; False where there is none."""
        checkpoint = read_checkpoint(self.folder)
        if checkpoint:
            refuse_another(self.folder, checkpoint.state["facts"], self.facts)
            self.course.restore(checkpoint)
        return checkpoint is not None

    def step(self) -> tuple[float, float]:
        """One step of the optimiser: its loss and its seconds."""
        start = time.perf_counter()
        course, plan = self.course, self.recipe.optimisation
        rate = learning_rate(plan, course.step, self.total)
        indices = self.batches.indices(course.step)
        clean = self.batches.take(indices)
        made = course.net.through(self.recipe.corruption(clean, course.generator))
        parts = self.recipe.objective.parts(made, clean, course.net)
        course.optimiser.zero_grad()
        parts["loss"].backward()
        norm = get_total_norm([weight.grad for weight in course.net.parameters() if weight.grad is not None])
        refuse_divergence(parts, norm, course.step, rate, indices)
        if plan.clip:
            clip_grads_with_norm_(course.net.parameters(), plan.clip, norm)
        for group in course.optimiser.param_groups:
            group["lr"] = rate
        course.optimiser.step()
        course.step += 1
        course.average(plan.ema)
        seconds = time.perf_counter() - start
        figures = {name: part.item() for name, part in parts.items()}
        self._count({**figures, "seconds": seconds, "steps": 1})
        return figures["loss"], seconds

    def _count(self, figures: dict[str, float]) -> None:
        """Adds to the sums of this epoch."""
        sums = self.course.sums
        for name, figure in figures.items():
            sums[name] = sums.get(name, 0.0) + figure
        self.course.seconds += figures["seconds"]

    def judge(self) -> None:
        """Ends an epoch: refuses a collapsed net, validates, logs."""
        course = self.course
        validation = self._validate()
        if self.validated:
            course.judge(validation["loss"])
        steps, seconds = course.sums.pop("steps"), course.sums.pop("seconds")
        record = {
            "epoch": course.step // self.batches.per_epoch,
            "step": course.step,
            "lr": learning_rate(self.recipe.optimisation, course.step - 1, self.total),
            "train": {name: total / steps for name, total in course.sums.items()},
            "validation": validation if self.validated else None,
            "items_per_second": steps * self.batches.size / seconds,
            "seconds": course.seconds,
        }
        course.sums.clear()
        write_log(self.folder, [*read_log(self.folder), record])

    @torch.no_grad()
    def _validate(self) -> dict[str, float]:
        """The parts of the loss on the held-out items, always under the same noise; of the averaged net."""
        net, plan = self.course.averaged, self.recipe.optimisation
        generator = Generator().manual_seed(plan.seed + 1)
        sums: dict[str, float] = {}
        for number, chunk in enumerate(self.held.split(JUDGED)):
            clean = as_float(chunk)
            made = net.through(self.recipe.corruption(clean, generator))
            if number == 0 and self.course.step > plan.warmup:
                refuse_collapse(net.finish(made.output), clean, self.course.step)
            for name, part in self.recipe.objective.parts(made, clean, net).items():
                sums[name] = sums.get(name, 0.0) + part.item() * len(chunk) / len(self.held)
        return sums

    def save(self) -> None:
        """Writes a checkpoint."""
        write_checkpoint(self.folder, self.course.checkpoint(self.facts))


def learning_rate(plan: Optimisation, step: int, total: int) -> float:
    """Of one step, counted from 0: linear up to the peak through the warm-up, times half a cosine down to 0."""
    warm = min(1.0, (step + 1) / (plan.warmup + 1))
    return plan.lr * warm * 0.5 * (1 + math.cos(math.pi * step / total))


def _in_unit_range(items: Tensor) -> bool:
    return items.dtype == torch.uint8 or bool(items.min() >= 0 and items.max() <= 1)
