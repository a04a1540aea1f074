"""Networks that the study `sparsity` compares, with the arrays that the service takes and returns."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from training.data import Dataset
from training.evaluation.metrics import GraphFunction
from training.loop.batches import as_tensor, to_float
from training.recipe import read_recipe
from training.studies.measures.arrays import torch_operation
from training.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Variant:
    """Network with its cost of training. A unit is active if its number is above `on_threshold`."""

    data: Dataset
    encode: GraphFunction
    decode: GraphFunction
    parameters: int
    epochs: int
    seconds: float
    on_threshold: float = 0.0


def published_variant(name: str) -> Callable[[Workspace], Variant]:
    """Return a function that loads the published model `name`."""

    def load(workspace: Workspace) -> Variant:
        model = workspace.model(name)
        card, graphs = model.card, model.graphs
        epochs = model.recipe.optimizer.epochs or 0
        return Variant(model.data, graphs["encode"], graphs["decode"], card.parameters, epochs, card.made.seconds)

    return load


def fitted_variant(
    name: str, *changes: str, variant: str = "", on_threshold: float = 0.0
) -> Callable[[Workspace], Variant]:
    """Return a function that trains the recipe `name` with changes, without publishing it."""

    def load(workspace: Workspace) -> Variant:
        trained = workspace.fit(name, *changes, variant=variant)
        net, epochs = trained.result.net, trained.recipe.optimizer.epochs or 0
        runs = (torch_operation(net, "encode"), torch_operation(net, "decode"))
        return Variant(trained.data, *runs, net.parameter_count(), epochs, trained.result.seconds, on_threshold)

    return load


def untrained_encoder(name: str, workspace: Workspace) -> GraphFunction:
    """Return the encoder of an untrained network. One pass over the training data sets its running statistics."""
    recipe, data = read_recipe(name), workspace.data(name)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(recipe.optimizer.seed)
        net = recipe.net.build(as_tensor(data.train[:1]).shape[1:])
        for batch in as_tensor(data.train).split(recipe.optimizer.batch):
            net(to_float(batch))
    return torch_operation(net, "encode")


NO_SPARSITY = ("net.lifetime_sparsity=0.0", "net.output=sigmoid", "objective.loss=bce")
VARIANTS: dict[str, Callable[[Workspace], Variant]] = {
    "no penalty": fitted_variant("digits-sparse-lifetime", *NO_SPARSITY, variant="dense"),
    "L1": published_variant("digits-sparse"),
    "KL": fitted_variant("digits-sparse-kl", on_threshold=0.5),
    "top-k": fitted_variant("digits-sparse-topk"),
    "lifetime": fitted_variant("digits-sparse-lifetime"),
    "strokes": published_variant("digits-strokes"),
}
