"""The bridge to the service: a net's graphs and card, opened by the service's own loader and compared with torch.

Knows the card and the loader; not where models live, nor how good they are.
"""

import hashlib
import json
import platform
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from service.card import CARD_FILE, Card, Code, Graph, ImageInput, Made, Parity, Probe, Quality, VectorInput, read_card
from service.card import Data as CardData
from service.errors import ModelRefused
from service.runtime import difference, open_graph, to_tensor
from training.data import Data, Items
from training.errors import NotPublished
from training.evaluate import Measured, Run
from training.fit import Fitted
from training.graphs import OPSET, Served, draw
from training.nets import Autoencoder, Operation
from training.recipe import Recipe

BATCHES = (1, 2, 7, 64)
LEVELS, RELATIVE = 1.0, 1e-5
"""The largest differences that are published: grey levels of pictures; of floats, relative to the largest of them."""
WRITERS = ("hourglass", "torch", "onnx", "onnxscript", "onnxruntime", "numpy")


def schema() -> str:
    """The JSON schema of the card, for writers and readers in other languages."""
    return json.dumps(Card.model_json_schema(), indent=2) + "\n"


def draft(folder: Path, recipe: Recipe, data: Data, fitted: Fitted, number: int) -> Card:
    """Draws the graphs into the folder; their card, without figures yet."""
    net = fitted.net
    graphs = [_draw(folder, Served(net, operation), data.test[:1]) for operation in recipe.model.operations]
    return Card(
        format=1,
        name=recipe.model.name,
        version=number,
        family=recipe.family,
        title=recipe.model.title,
        description=recipe.model.description,
        licence=recipe.model.licence,
        parameters=net.parameter_count(),
        input=_input(net),
        code=Code(shape=list(net.code_shape)),
        graphs=graphs,
        receptive_radius=net.receptive_radius,
        stride=net.stride,
        error_percentiles=[0.0] * 101 if "reconstruct" in recipe.model.operations else None,
        recipe=recipe.model_dump(mode="json"),
        data=CardData(name=data.name, sha256=data.sha256, count=len(data.train), licence=data.licence),
        quality=Quality(data="", figures={}, baselines={}),
        made=Made(
            versions=_versions(),
            opset=OPSET,
            seed=recipe.optimisation.seed,
            seconds=round(fitted.seconds, 1),
            date=datetime.now(UTC).date(),
        ),
    )


def prove(folder: Path, card: Card) -> dict[Operation, Run]:
    """Every graph of the card, opened as the service does. Raises NotPublished where it would refuse."""
    try:
        return {graph.operation: open_graph(folder, card, graph).run for graph in card.graphs}
    except ModelRefused as error:
        raise NotPublished(f"the service would refuse this model: {error.detail}") from error


def compare(net: Autoencoder, graphs: Mapping[Operation, Run], items: Items) -> dict[Operation, list[Parity]]:
    """How far the graphs are from the net, at each size of batch and shape. Raises NotPublished over the bound."""
    parity: dict[Operation, list[Parity]] = {}
    for operation, run in graphs.items():
        served = Served(net, operation)
        parity[operation] = [_parity(served, run, given) for given in _inputs(served, items)]
    return parity


def state(card: Card, parity: Mapping[Operation, list[Parity]], measured: Measured) -> Card:
    """The card with its figures, in six digits."""
    graphs = [graph.model_copy(update={"parity": parity[graph.operation]}) for graph in card.graphs]
    quality = Quality(
        data=measured.data,
        figures=_short(measured.figures),
        baselines={name: _short(figures) for name, figures in measured.baselines.items()},
    )
    percentiles = measured.percentiles and [float(f"{error:.6g}") for error in measured.percentiles]
    return card.model_copy(update={"graphs": graphs, "quality": quality, "error_percentiles": percentiles})


def write(folder: Path, card: Card) -> None:
    """Writes `card.json`, then opens the model by what was written. Raises NotPublished as `prove` does."""
    text = json.dumps(card.model_dump(mode="json"), indent=2) + "\n"
    (folder / CARD_FILE).write_text(text, "utf-8")
    prove(folder, read_card(text.encode()))


def read(folder: Path) -> Card:
    """The card of a published version."""
    return read_card((folder / CARD_FILE).read_bytes())


def _input(net: Autoencoder) -> ImageInput | VectorInput:
    if len(net.shape) == 1:
        return VectorInput(kind="vector", features=net.shape[0])
    channels, height, width = net.shape
    sides = (None, None) if net.any_size else (height, width)
    return ImageInput(kind="image", height=sides[0], width=sides[1], channels=3 if channels == 3 else 1)


def _draw(folder: Path, served: Served, item: Items) -> Graph:
    """Writes one graph; its probe is one held-out item and what torch makes of it."""
    content = draw(served)
    file = f"{served.operation}.onnx"
    (folder / file).write_bytes(content)
    given = _given(served, item)
    return Graph(
        operation=served.operation,
        precision="float32",
        file=file,
        sha256=hashlib.sha256(content).hexdigest(),
        probe=Probe(input=to_tensor(given), output=to_tensor(_torch(served, given))),
        parity=[],
    )


def _given(served: Served, items: Items) -> NDArray[Any]:
    """Inputs of the operation, made from items: the items, or their codes."""
    if served.operation != "decode":
        return items
    return _torch(Served(served.net, "encode"), items)


def _torch(served: Served, given: NDArray[Any]) -> NDArray[Any]:
    """What the net answers, in torch."""
    with torch.no_grad():
        return served(torch.from_numpy(given.copy())).numpy()


def _inputs(served: Served, items: Items) -> Iterator[NDArray[Any]]:
    """The batches to compare on, repeating items where there are too few; where any size is taken, odd ones too."""
    for count in BATCHES:
        yield _given(served, _repeated(items, (count, *items.shape[1:])))
    if served.net.any_size and served.net.stride:
        stride, channels = served.net.stride, served.net.shape[0]
        for height, width in ((1, 1), (3 * stride + 1, 2 * stride - 1), (5 * stride, 4 * stride + 3)):
            yield _repeated(items, (2, height, width, channels))


def _repeated(items: Items, shape: tuple[int, ...]) -> NDArray[Any]:
    """The items' values over and over, in that shape."""
    return np.resize(items, shape)


def _parity(served: Served, run: Run, given: NDArray[Any]) -> Parity:
    wanted = _torch(served, given)
    gap = difference(run(given), wanted)
    unit, bound = ("levels", LEVELS) if wanted.dtype == np.uint8 else ("relative", RELATIVE)
    if not gap <= bound:
        raise NotPublished(
            f"the {served.operation} graph differs from the net by {gap:g} ({unit}, at most {bound:g} is published) "
            f"on a batch of {len(given)} of {given.shape[1:]}"
        )
    return Parity(batch=len(given), shape=list(given.shape[1:]), difference=gap, unit=unit)


def _short(figures: Mapping[str, float]) -> dict[str, float]:
    return {name: float(f"{figure:.6g}") for name, figure in figures.items()}


def _versions() -> dict[str, str]:
    """Of Python and of every installed package that has a hand in the artefact."""
    versions = {"python": platform.python_version()}
    for name in WRITERS:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions
