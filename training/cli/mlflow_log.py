"""Writes the losses, the recipe and the sample images of a run to MLflow, an optional library."""

import os
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from training.cli.tensorboard import EVERY_STEPS
from training.errors import RunError
from training.loop.run_folder import read_log
from training.recipe import Recipe

EXPERIMENT = "hourglass"
"""Name of the experiment, unless MLFLOW_EXPERIMENT_NAME has another."""


class MlflowLog:
    """A run of MLflow: the keys of the recipe, the loss of the steps, and the records of the epochs.

    MLFLOW_TRACKING_URI names the server or database; without it MLflow writes to mlflow.db in the current folder.
    """

    def __init__(self, recipe: Recipe, folder: Path) -> None:
        """Start the run. Raises RunError if MLflow is not installed, or refuses."""
        try:
            module: Any = import_module("mlflow")
        except ImportError as error:
            raise RunError("--mlflow needs MLflow: pip install mlflow") from error
        self.folder, self.epochs = folder, 0
        try:
            self.client: Any = module.MlflowClient()
            name = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
            known = self.client.get_experiment_by_name(name)
            experiment = known.experiment_id if known else self.client.create_experiment(name)
            self.run: str = self.client.create_run(experiment, run_name=recipe.model.name).info.run_id
            for key, value in flat_keys(recipe.model_dump(mode="json")).items():
                self.client.log_param(self.run, key, value)
        except Exception as error:  # MLflow raises errors of its database and of its connections too
            raise RunError(f"--mlflow: MLflow refuses the run: {error}; check MLFLOW_TRACKING_URI") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, _error: object, _trace: TracebackType | None) -> None:
        self.add_epochs()
        stopped = kind is not None and issubclass(kind, KeyboardInterrupt)
        self.client.set_terminated(self.run, "KILLED" if stopped else "FAILED" if kind else "FINISHED")

    def on_step(self, step: int, _total: int, loss: float, rate: float) -> None:
        """Log the loss and the items per second of a step, and the epochs that have ended since the last call."""
        if step % EVERY_STEPS:
            return
        self.client.log_metric(self.run, "step/loss", loss, step=step)
        self.client.log_metric(self.run, "step/items_per_second", rate, step=step)
        self.add_epochs()

    def add_image(self, step: int, image: NDArray[np.uint8]) -> None:
        """Log an image uint8 (H, W, 3) of a step."""
        self.client.log_image(self.run, image, key="samples", step=step)

    def add_epochs(self) -> None:
        """Log the records of the run's log that were not logged yet."""
        records = read_log(self.folder)
        for record in records[self.epochs :]:
            for part in ("train", "validation", "psnr"):
                for name, value in (record.get(part) or {}).items():
                    self.client.log_metric(self.run, f"{part}/{name}", value, step=record["step"])
        self.epochs = len(records)


def flat_keys(tables: dict[str, Any]) -> dict[str, str]:
    """Return the keys of a recipe as `table.key`, with their values as text of at most 500 characters."""
    keys: dict[str, str] = {}
    for table, values in tables.items():
        if isinstance(values, dict):
            keys |= {f"{table}.{key}": str(value)[:500] for key, value in values.items() if value is not None}
    return keys
