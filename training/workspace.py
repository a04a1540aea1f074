"""Fits and publishes recipes from Python, for studies and notebooks.

Data is read once. A stopped fit is resumed, and a finished one is loaded from its run folder.
"""

import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor, nn

from training.data import Dataset, load
from training.evaluation.metrics import Evaluation, GraphFunction
from training.evaluation.verdict import judge
from training.export.artifact import Card, read_published
from training.export.publish import check_writable, latest_version, load_graphs, load_noise_map, publish
from training.loop.device import DeviceName, choose_device
from training.loop.fit import FitResult, ProgressCallback
from training.loop.plan import complete
from training.loop.stages import fit_stages, stage_runs
from training.nets import Autoencoder, Operation
from training.recipe import Recipe, read_recipe

if TYPE_CHECKING:
    from training.importing.plan import Flags

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """A recipe, its data and the net fitted to it, not yet published."""

    recipe: Recipe
    data: Dataset
    result: FitResult

    @property
    def net(self) -> Autoencoder:
        """The PyTorch net, for images float32 (N, C, H, W) in 0..1 or vectors (N, F)."""
        return self.result.net


@dataclass(frozen=True, slots=True)
class PublishedModel:
    """A published model as it is served.

    `graphs` maps operations to functions on arrays, run by onnxruntime: images uint8 (N, H, W, C), vectors and codes
    float32 (N, ...). `noise_map` returns the variance of the noise in each cell of images (N, h, w), if the model
    estimates it.
    """

    recipe: Recipe
    data: Dataset
    card: Card
    graphs: Mapping[Operation, GraphFunction]
    noise_map: GraphFunction | None = None


def no_progress(_name: str) -> AbstractContextManager[ProgressCallback]:
    """Return a context manager whose progress callback does nothing."""
    return nullcontext(lambda _step, _total, _loss, _rate: None)


@dataclass(frozen=True)
class Workspace:
    """The folders that fits and published models are in.

    A recipe is the name of a built-in recipe or the path of a `.toml` file; `changes` are overrides as of `--set`.

    Attributes:
        folder: the folder to search for data first.
        models: the folder in which models are published.
        runs: the folder of the run folders.
        progress: returns a context manager that shows the progress of a named fit, like `cli.display.progress`.
        device: where to compute: `cpu`, `cuda`, `mps`, or `auto` for a GPU if torch sees one.
    """

    folder: Path | None = None
    models: Path = Path("models")
    runs: Path = Path("runs")
    progress: Callable[[str], AbstractContextManager[ProgressCallback]] = no_progress
    device: DeviceName = "auto"

    def fit(self, recipe: str, *changes: str, variant: str = "") -> TrainedModel:
        """Fit a recipe in the run folder `NAME`, or `NAME-variant`, of `runs`; resume a fit that was stopped.

        Raises RecipeError, DataError, Diverged and Collapsed like `training.loop.fit.fit`, and RunError if the folder
        contains a run of another recipe.
        """
        data = self.data(recipe, *changes)
        parsed = complete(read_recipe(recipe, changes), data)
        name = f"{parsed.model.name}-{variant}" if variant else parsed.model.name
        compute = choose_device(self.device)
        with self.progress(name) as on_step:
            runs = stage_runs(parsed, self.runs / name)
            fitted = fit_stages(runs, data, on_step, resume=True, compute=compute)
            return TrainedModel(runs[-1].recipe, data, fitted)

    def publish(self, trained: TrainedModel) -> PublishedModel:
        """Publish a trained model as the next version. Raises PublishError if a graph differs from the net.

        A warning is logged if an answer without a model is better, at all or for some level of noise.
        """

        def warn(measured: Evaluation) -> None:
            for finding in judge(trained.recipe, trained.data, trained.net, measured, []):
                if finding.blocking:
                    log.warning("%s: %s", trained.recipe.model.name, finding.sentence)

        folder, _ = publish(trained.recipe, trained.data, trained.result, self.models, warn)
        return _published(folder, trained.recipe, trained.data)

    def model(self, recipe: str) -> PublishedModel:
        """Load the latest version of a recipe's model. Fit and publish it first if there is none."""
        parsed = read_recipe(recipe)
        if not any((self.models / parsed.model.name).glob("*/card.json")):
            check_writable(parsed, self.models)
            return self.publish(self.fit(recipe))
        folder = latest_version(parsed, self.models)
        return _published(folder, parsed, self.data(recipe))

    def publish_module(
        self, net: nn.Module, example: Tensor, operation: Operation, name: str, *, flags: "Flags | None" = None
    ) -> Path:
        """Publish a net of any class as the next version of the model `name`, and return the folder of the version.

        Args:
            net: maps a batch like `example` to images, vectors or codes.
            example: one batch of inputs, images (N, C, H, W) or (N, H, W, C) or vectors (N, F), to trace the net with.
            operation: what the net does.
            name: of the model.
            flags: what is not to be found out about layout, values and sides.

        Raises:
            ImportRejected: the net cannot be exported, or a question about it is open.
            PublishError: the service would reject the model.
        """
        from training.importing.original import Selection
        from training.importing.plan import Flags
        from training.importing.publish import ImportRequest, import_model
        from training.importing.source import from_module

        request = ImportRequest({operation: from_module(net, example)}, name)
        return import_model(request, Selection(), flags or Flags(), self.models).folder

    def data(self, recipe: str, *changes: str) -> Dataset:
        """Read the data of a recipe, or return it from a cache of the last four."""
        return _load(recipe, changes, self.folder)


@lru_cache(maxsize=4)
def _load(recipe: str, changes: tuple[str, ...], folder: Path | None) -> Dataset:
    return load(read_recipe(recipe, changes).data, folder)


def _published(folder: Path, recipe: Recipe, data: Dataset) -> PublishedModel:
    """Load a published version as the service does. Raises PublishError if it would reject the model."""
    return PublishedModel(recipe, data, read_published(folder), load_graphs(folder), load_noise_map(folder))
