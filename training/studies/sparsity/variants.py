"""The nets that the study of sparsity compares, each as it is served; knows nothing of what is measured of them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray

from training.data import Data
from training.evaluation.figures import Run
from training.export.onnx_graph import Served
from training.loop.batches import as_float, as_tensor
from training.nets import Autoencoder, Operation
from training.recipe import read_recipe
from training.workspace import Workshop


@dataclass(frozen=True, slots=True)
class Variant:
    """A net as it is served, and what its fit cost. A unit is on where its number is above `on`."""

    data: Data
    encode: Run
    decode: Run
    parameters: int
    epochs: int
    seconds: float
    on: float = 0.0


def published(name: str) -> Callable[[Workshop], Variant]:
    """The variant that the models folder holds."""

    def find(workshop: Workshop) -> Variant:
        model = workshop.model(name)
        card, graphs = model.card, model.graphs
        epochs = model.recipe.optimisation.epochs
        return Variant(model.data, graphs["encode"], graphs["decode"], card.parameters, epochs, card.made.seconds)

    return find


def fitted(name: str, *changes: str, variant: str = "", on: float = 0.0) -> Callable[[Workshop], Variant]:
    """A recipe with changes, not published."""

    def find(workshop: Workshop) -> Variant:
        trained = workshop.fit(name, *changes, variant=variant)
        net, epochs = trained.fitted.net, trained.recipe.optimisation.epochs
        runs = (_run(net, "encode"), _run(net, "decode"))
        return Variant(trained.data, *runs, net.parameter_count(), epochs, trained.fitted.seconds, on)

    return find


def untrained(name: str, workshop: Workshop) -> Run:
    """The codes of a recipe's net as it is before its first step, but for what it sees of the data as it passes."""
    recipe, data = read_recipe(name), workshop.data(name)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(recipe.optimisation.seed)
        net = recipe.net.build(as_tensor(data.train[:1]).shape[1:])
        for batch in as_tensor(data.train).split(recipe.optimisation.batch):
            net(as_float(batch))
    return _run(net, "encode")


UNLIMITED = ("net.lifetime=0.0", "net.output=sigmoid", "objective.loss=bce")
VARIANTS: dict[str, Callable[[Workshop], Variant]] = {
    "no penalty": fitted("digits-sparse-lifetime", *UNLIMITED, variant="dense"),
    "L1": published("digits-sparse"),
    "KL": fitted("digits-sparse-kl", on=0.5),
    "top-k": fitted("digits-sparse-topk"),
    "lifetime": fitted("digits-sparse-lifetime"),
    "strokes": published("digits-strokes"),
}


def _run(net: Autoencoder, operation: Operation) -> Run:
    """A net's operation as a caller meets it, without the graph."""
    served = Served(net, operation).eval()

    def run(items: NDArray[Any]) -> NDArray[Any]:
        with torch.no_grad():
            return served(torch.from_numpy(items.copy())).numpy()

    return run
