"""Writes the losses and the sample images of a run for TensorBoard, with tensorboardX, an optional library."""

from importlib import import_module
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from training.errors import RunError
from training.loop.run_folder import read_log

EVERY_STEPS = 10
"""Steps between two points of the curve of the training loss."""
TENSORBOARD_FOLDER = "tensorboard"


class TensorBoardLog:
    """The log of a run for TensorBoard: the loss of the steps, and the records of the epochs."""

    def __init__(self, folder: Path) -> None:
        """Open the log in the run folder. Raises RunError if tensorboardX is not installed."""
        try:
            module: Any = import_module("tensorboardX")
        except ImportError as error:
            raise RunError("--tensorboard needs tensorboardX: pip install tensorboardX") from error
        self.folder = folder
        self.writer: Any = module.SummaryWriter(str(folder / TENSORBOARD_FOLDER))
        self.epochs = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.add_epochs()
        self.writer.close()

    def on_step(self, step: int, _total: int, loss: float, rate: float) -> None:
        """Add the loss and the items per second of a step, and the epochs that have ended since the last call."""
        if step % EVERY_STEPS:
            return
        self.writer.add_scalar("step/loss", loss, step)
        self.writer.add_scalar("step/items_per_second", rate, step)
        self.add_epochs()

    def add_image(self, step: int, image: NDArray[np.uint8]) -> None:
        """Add an image uint8 (H, W, 3) of a step."""
        self.writer.add_image("samples", image, step, dataformats="HWC")

    def add_epochs(self) -> None:
        """Add the records of the run's log that were not added yet."""
        records = read_log(self.folder)
        for record in records[self.epochs :]:
            for part in ("train", "validation", "psnr"):
                for name, value in (record.get(part) or {}).items():
                    self.writer.add_scalar(f"{part}/{name}", value, record["step"])
        self.epochs = len(records)
