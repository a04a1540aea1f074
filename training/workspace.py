"""What the studies work with: data read once, models fitted and published once, nets of recipes with changes.

Everything is found again where it was left: a fit that was stopped goes on, one that is finished is not repeated.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from training.data import Data, load
from training.evaluation.figures import Run
from training.export.artifact import Card, read
from training.export.publish import newest, opened, publish, refuse_unwritable
from training.loop.fit import Fitted, Tell, fit
from training.nets import Autoencoder, Operation
from training.recipe import Recipe, read_recipe


@dataclass(frozen=True, slots=True)
class Trained:
    """A recipe, its data, and the net that was fitted to it; nothing of it is published."""

    recipe: Recipe
    data: Data
    fitted: Fitted

    @property
    def net(self) -> Autoencoder:
        """In torch: pictures float32 N,C,H,W in 0..1, vectors N,F."""
        return self.fitted.net


@dataclass(frozen=True, slots=True)
class Model:
    """A published model as it is served: `graphs` take and give arrays as callers do (pictures uint8 N,H,W,C)."""

    recipe: Recipe
    data: Data
    card: Card
    graphs: Mapping[Operation, Run]


def silent(_name: str) -> AbstractContextManager[Tell]:
    """Shows nothing."""
    return nullcontext(lambda _step, _total, _loss, _rate: None)


@dataclass(frozen=True)
class Workshop:
    """`folder`: looked into first for data; `models`: where models are published; `runs`: where fits leave their state.

    `progress`: what shows the progress of a fit of that name, as `console.progress` does. Recipes are named as on the
    command line: a shipped one, or the path of a .toml; `changes` are what --set takes.
    """

    folder: Path | None = None
    models: Path = Path("models")
    runs: Path = Path("runs")
    progress: Callable[[str], AbstractContextManager[Tell]] = silent

    def fit(self, recipe: str, *changes: str, variant: str = "") -> Trained:
        """The recipe, fitted in a run folder of its own: NAME or NAME-VARIANT.

        Goes on where it stopped. Raises RunError where the folder holds another recipe's run.
        """
        plan, data = read_recipe(recipe, changes), self.data(recipe, *changes)
        called = f"{plan.model.name}-{variant}" if variant else plan.model.name
        with self.progress(called) as tell:
            return Trained(plan, data, fit(plan, data, self.runs / called, tell, resume=True))

    def publish(self, trained: Trained) -> Model:
        """The next version of the recipe's model. Raises NotPublished where a graph is not what was trained."""
        folder, _ = publish(trained.recipe, trained.data, trained.fitted, self.models)
        return Model(trained.recipe, trained.data, read(folder), opened(folder))

    def model(self, recipe: str) -> Model:
        """The newest version of a recipe's model; fitted and published first where there is none."""
        plan = read_recipe(recipe)
        if not any((self.models / plan.model.name).glob("*/card.json")):
            refuse_unwritable(plan, self.models)
            return self.publish(self.fit(recipe))
        folder = newest(plan, self.models)
        return Model(plan, self.data(recipe), read(folder), opened(folder))

    def data(self, recipe: str, *changes: str) -> Data:
        """The data of a recipe."""
        return _load(recipe, changes, self.folder)


@lru_cache(maxsize=4)
def _load(recipe: str, changes: tuple[str, ...], folder: Path | None) -> Data:
    return load(read_recipe(recipe, changes).data, folder)
