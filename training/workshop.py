"""What the studies work with: data read once, models fitted and published once, nets of recipes with changes.

Everything is found again where it was left: a fit that was stopped goes on, one that is finished is not repeated.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from service.card import Card
from training.data import Data, load
from training.evaluate import Run
from training.export import prove, read
from training.fit import Fitted, Tell, fit
from training.nets import Operation
from training.publish import newest, publish
from training.recipe import Recipe, read_recipe


@dataclass(frozen=True, slots=True)
class Trained:
    """A recipe, its data, and the net that was fitted to it; nothing of it is published."""

    recipe: Recipe
    data: Data
    fitted: Fitted


@dataclass(frozen=True, slots=True)
class Model:
    """A published model as it is served: `graphs` take and give arrays as callers do (pictures uint8 N,H,W,C)."""

    recipe: Recipe
    data: Data
    card: Card
    graphs: Mapping[Operation, Run]


@dataclass(frozen=True)
class Workshop:
    """`folder`: looked into first for data; `models`: where models are published; `runs`: where fits leave their state.

    `progress`: what shows the progress of a fit of that name.
    """

    folder: Path | None
    models: Path
    runs: Path
    progress: Callable[[str], AbstractContextManager[Tell]]

    def model(self, name: str) -> Model:
        """The newest version of a shipped recipe's model; fitted and published first where there is none."""
        recipe = read_recipe(name)
        data = self.data(name)
        if not any((self.models / name).glob("*/card.json")):
            publish(recipe, data, self.fit(name).fitted, self.models)
        folder = newest(recipe, self.models)
        card = read(folder)
        return Model(recipe, data, card, prove(folder, card))

    def fit(self, name: str, *changes: str, variant: str = "") -> Trained:
        """A shipped recipe with `key=value` changes, fitted in a run folder of its own: name, or name-variant."""
        recipe = read_recipe(name, changes)
        called = f"{name}-{variant}" if variant else name
        data = self.data(name, *changes)
        with self.progress(called) as tell:
            return Trained(recipe, data, fit(recipe, data, self.runs / called, tell, resume=True))

    def data(self, name: str, *changes: str) -> Data:
        """The data of a shipped recipe with changes."""
        return _load(name, changes, self.folder)


@lru_cache(maxsize=4)
def _load(name: str, changes: tuple[str, ...], folder: Path | None) -> Data:
    return load(read_recipe(name, changes).data, folder)
