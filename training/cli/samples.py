"""Sample images of a run while it trains: `samples.png` in the run folder, and images for TensorBoard."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.atomic_files import write_atomic
from training.data import Dataset
from training.errors import NothingToPlot
from training.evaluation.metrics import GraphFunction
from training.evaluation.picture_grid import sample_image, to_png
from training.export.onnx_graph import ExportModule
from training.export.parity_inputs import run_torch
from training.loop.run_folder import SAMPLES_FILE
from training.nets import Autoencoder, Operation
from training.recipe import Recipe

MIN_SECONDS = 1.0
"""Seconds between two images. Epochs of small data take milliseconds."""
ImageCallback = Callable[[int, NDArray[np.uint8]], None]
"""Called with the steps done and an image uint8 (H, W, 3)."""


class SampleImages:
    """Draws test images and what the best net so far makes of them, at the end of an epoch.

    Draws nothing for vectors, and for nets that only encode.
    """

    def __init__(
        self,
        recipe: Recipe,
        data: Dataset,
        folder: Path,
        also: ImageCallback | None = None,
        clock: Any = time.monotonic,
    ) -> None:
        """Prepare to draw into the run folder; `also` is called with every image."""
        self.recipe, self.data, self.folder, self.also, self.clock = recipe, data, folder, also, clock
        self.next_time = clock()

    def on_validation(self, step: int, net: Autoencoder) -> None:
        """Write the image of this net, unless the last one was written less than MIN_SECONDS ago."""
        if self.clock() < self.next_time:
            return
        try:
            image = sample_image(self.recipe, self.data, _operations(self.recipe, net))
        except NothingToPlot:
            self.next_time = float("inf")
            return
        write_atomic(self.folder / SAMPLES_FILE, to_png(image))
        if self.also:
            self.also(step, image)
        self.next_time = self.clock() + MIN_SECONDS


def _operations(recipe: Recipe, net: Autoencoder) -> dict[Operation, GraphFunction]:
    """Return the operations of a net in PyTorch, as functions on arrays."""
    functions: dict[Operation, GraphFunction] = {}
    for operation in recipe.operations:
        functions[operation] = _function(ExportModule(net, operation).eval())
    return functions


def _function(module: ExportModule) -> GraphFunction:
    return lambda items: run_torch(module, items)
