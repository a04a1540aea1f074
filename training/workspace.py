"""What the studies work with: data read once, models fitted and published once, nets of recipes with changes.

Everything is found again where it was left: a fit that was stopped goes on, one that is finished is not repeated.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from training.data import Dataset, load
from training.evaluation.figures import GraphFunction
from training.export.artifact import Card, read_published
from training.export.publish import check_writable, latest_version, load_graphs, publish
from training.loop.fit import FitResult, ProgressCallback, fit
from training.nets import Autoencoder, Operation
from training.recipe import Recipe, read_recipe


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """A recipe, its data, and the net that was fitted to it; nothing of it is published."""

    recipe: Recipe
    data: Dataset
    result: FitResult

    @property
    def net(self) -> Autoencoder:
        """In torch: pictures float32 N,C,H,W in 0..1, vectors N,F."""
        return self.result.net


@dataclass(frozen=True, slots=True)
class PublishedModel:
    """A published model as it is served: `graphs` take and give arrays as callers do (pictures uint8 N,H,W,C)."""

    recipe: Recipe
    data: Dataset
    card: Card
    graphs: Mapping[Operation, GraphFunction]


def no_progress(_name: str) -> AbstractContextManager[ProgressCallback]:
    """Shows nothing."""
    return nullcontext(lambda _step, _total, _loss, _rate: None)


@dataclass(frozen=True)
class Workspace:
    """`folder`: looked into first for data; `models`: where models are published; `runs`: where fits leave their state.

    `progress`: what shows the progress of a fit of that name, as `cli.display.progress` does. Recipes are named as on
    the command line: a shipped one, or the path of a .toml; `changes` are what --set takes.
    """

    folder: Path | None = None
    models: Path = Path("models")
    runs: Path = Path("runs")
    progress: Callable[[str], AbstractContextManager[ProgressCallback]] = no_progress

    def fit(self, recipe: str, *changes: str, variant: str = "") -> TrainedModel:
        """The recipe, fitted in a run folder of its own: NAME or NAME-VARIANT.

        Goes on where it stopped. Raises RunError where the folder holds another recipe's run.
        """
        plan, data = read_recipe(recipe, changes), self.data(recipe, *changes)
        called = f"{plan.model.name}-{variant}" if variant else plan.model.name
        with self.progress(called) as tell:
            return TrainedModel(plan, data, fit(plan, data, self.runs / called, tell, resume=True))

    def publish(self, trained: TrainedModel) -> PublishedModel:
        """The next version of the recipe's model. Raises PublishError where a graph is not what was trained."""
        folder, _ = publish(trained.recipe, trained.data, trained.result, self.models)
        return PublishedModel(trained.recipe, trained.data, read_published(folder), load_graphs(folder))

    def model(self, recipe: str) -> PublishedModel:
        """The newest version of a recipe's model; fitted and published first where there is none."""
        plan = read_recipe(recipe)
        if not any((self.models / plan.model.name).glob("*/card.json")):
            check_writable(plan, self.models)
            return self.publish(self.fit(recipe))
        folder = latest_version(plan, self.models)
        return PublishedModel(plan, self.data(recipe), read_published(folder), load_graphs(folder))

    def data(self, recipe: str, *changes: str) -> Dataset:
        """The data of a recipe."""
        return _load(recipe, changes, self.folder)


@lru_cache(maxsize=4)
def _load(recipe: str, changes: tuple[str, ...], folder: Path | None) -> Dataset:
    return load(read_recipe(recipe, changes).data, folder)
