"""The logs of a run for other programs, TensorBoard and MLflow, as one."""

from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.cli.mlflow_log import MlflowLog
from training.cli.tensorboard import TensorBoardLog
from training.recipe import Recipe


@dataclass(frozen=True, slots=True)
class RunLogs:
    """The open logs of a run; there may be none."""

    logs: Sequence[TensorBoardLog | MlflowLog]

    def on_step(self, step: int, total: int, loss: float, rate: float) -> None:
        """Write a step to every log."""
        for log in self.logs:
            log.on_step(step, total, loss, rate)

    def add_image(self, step: int, image: NDArray[np.uint8]) -> None:
        """Write an image uint8 (H, W, 3) of a step to every log."""
        for log in self.logs:
            log.add_image(step, image)


@contextmanager
def run_logs(recipe: Recipe, folder: Path, *, tensorboard: bool, mlflow: bool) -> Generator[RunLogs]:
    """Open the logs that are switched on. Raises RunError, with what to install, if a library is missing."""
    with ExitStack() as stack:
        logs: list[TensorBoardLog | MlflowLog] = []
        if tensorboard:
            logs.append(stack.enter_context(TensorBoardLog(folder)))
        if mlflow:
            logs.append(stack.enter_context(MlflowLog(recipe, folder)))
        yield RunLogs(logs)
