"""The nets that the study of sparsity compares, each as it is served; knows nothing of what is measured of them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray

from training.data import Dataset
from training.evaluation.figures import GraphFunction
from training.export.onnx_graph import ExportModule
from training.loop.batches import as_tensor, to_float
from training.nets import Autoencoder, Operation
from training.recipe import read_recipe
from training.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Variant:
    """A net as it is served, and what its fit cost. A unit is on where its number is above `on_threshold`."""

    data: Dataset
    encode: GraphFunction
    decode: GraphFunction
    parameters: int
    epochs: int
    seconds: float
    on_threshold: float = 0.0


def published_variant(name: str) -> Callable[[Workspace], Variant]:
    """The variant that the models folder holds."""

    def find(workspace: Workspace) -> Variant:
        model = workspace.model(name)
        card, graphs = model.card, model.graphs
        epochs = model.recipe.optimizer.epochs
        return Variant(model.data, graphs["encode"], graphs["decode"], card.parameters, epochs, card.made.seconds)

    return find


def fitted_variant(
    name: str, *changes: str, variant: str = "", on_threshold: float = 0.0
) -> Callable[[Workspace], Variant]:
    """A recipe with changes, not published."""

    def find(workspace: Workspace) -> Variant:
        trained = workspace.fit(name, *changes, variant=variant)
        net, epochs = trained.result.net, trained.recipe.optimizer.epochs
        runs = (_graph_function(net, "encode"), _graph_function(net, "decode"))
        return Variant(trained.data, *runs, net.parameter_count(), epochs, trained.result.seconds, on_threshold)

    return find


def untrained_encoder(name: str, workspace: Workspace) -> GraphFunction:
    """The codes of a recipe's net as it is before its first step, but for what it sees of the data as it passes."""
    recipe, data = read_recipe(name), workspace.data(name)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(recipe.optimizer.seed)
        net = recipe.net.build(as_tensor(data.train[:1]).shape[1:])
        for batch in as_tensor(data.train).split(recipe.optimizer.batch):
            net(to_float(batch))
    return _graph_function(net, "encode")


NO_SPARSITY = ("net.lifetime_sparsity=0.0", "net.output=sigmoid", "objective.loss=bce")
VARIANTS: dict[str, Callable[[Workspace], Variant]] = {
    "no penalty": fitted_variant("digits-sparse-lifetime", *NO_SPARSITY, variant="dense"),
    "L1": published_variant("digits-sparse"),
    "KL": fitted_variant("digits-sparse-kl", on_threshold=0.5),
    "top-k": fitted_variant("digits-sparse-topk"),
    "lifetime": fitted_variant("digits-sparse-lifetime"),
    "strokes": published_variant("digits-strokes"),
}


def _graph_function(net: Autoencoder, operation: Operation) -> GraphFunction:
    """A net's operation as a caller meets it, without the graph."""
    served = ExportModule(net, operation).eval()

    def run(items: NDArray[Any]) -> NDArray[Any]:
        with torch.no_grad():
            return served(torch.from_numpy(items.copy())).numpy()

    return run
