"""Measures how fast a recipe trains on this machine, and how many epochs fit into a time."""

import tempfile
import time
from pathlib import Path
from statistics import median

from training.data import Dataset
from training.loop.device import CPU, Compute
from training.loop.plan import complete, run_length, training_items
from training.loop.trainer import Trainer
from training.recipe import Recipe

PROBE_SECONDS, PROBE_STEPS, WARM_STEPS = 4.0, 100, 3
"""Time and number of steps after which the speed is known well enough, and steps before that are not measured."""
USED_SHARE = 0.8
"""Share of a time that the steps may take; the rest is for validation, export and metrics."""


def measure_step(recipe: Recipe, data: Dataset, compute: Compute = CPU) -> float:
    """Return the seconds of a training step, the median of the first steps of a run that is thrown away."""
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(complete(recipe, data), data, Path(folder), compute=compute)
        for _ in range(WARM_STEPS):
            trainer.step()
        start, durations = time.perf_counter(), list[float]()
        while len(durations) < PROBE_STEPS and time.perf_counter() - start < PROBE_SECONDS:
            durations.append(trainer.step()[1])
        return median(durations)  # of a busy machine the mean says little


def steps_per_epoch(recipe: Recipe, data: Dataset) -> int:
    """Return the number of steps of an epoch."""
    items = training_items(recipe.optimizer, data)
    return max(1, items // run_length(recipe.optimizer, items, data.train[0].size).batch)


def lasting(recipe: Recipe, data: Dataset, minutes: float, compute: Compute = CPU) -> Recipe:
    """Return the recipe with as many epochs as take about so many minutes on this machine, at least one."""
    steps = 60 * minutes * USED_SHARE / measure_step(recipe, data, compute)
    epochs = max(1, round(steps / steps_per_epoch(recipe, data)))
    return with_epochs(recipe, epochs)


def with_epochs(recipe: Recipe, epochs: int) -> Recipe:
    """Return the recipe with another number of epochs."""
    return recipe.model_copy(update={"optimizer": recipe.optimizer.model_copy(update={"epochs": epochs})})
