"""The bridge to the service: a net's graphs and card, opened by the service's own loader and compared with torch.

Knows the card and the loader; not where models live, nor how good they are.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.card import (
    CARD_FILE,
    Card,
    Code,
    Graph,
    ImageInput,
    Parity,
    Precision,
    Probe,
    Provenance,
    Quality,
    VectorInput,
    read_card,
)
from service.card import Data as CardData
from service.errors import ModelRejected
from service.repository.loader import load_graph
from service.runtime.session import Session
from service.runtime.tensors import max_difference, to_array, to_tensor
from training.data import Dataset, Items
from training.errors import PublishError
from training.evaluation.figures import Evaluation, GraphFunction
from training.export.calibration import calibration_inputs
from training.export.memory import bytes_per_pixel
from training.export.onnx_graph import OPSET, ExportModule, export_onnx
from training.export.parity_inputs import crop_to_probe, operation_inputs, parity_inputs, run_torch
from training.export.quantise import quantize
from training.export.versions import versions
from training.loop.fit import FitResult
from training.nets import Autoencoder, Operation
from training.recipe import Recipe

MAX_GREY_LEVELS, MAX_RELATIVE_ERROR = 1.0, 1e-5
"""The largest differences that are published: grey levels of pictures; of floats, relative to the largest of them."""


def card_schema() -> str:
    """The JSON schema of the card, for writers and readers in other languages."""
    return json.dumps(Card.model_json_schema(), indent=2) + "\n"


def build_card(folder: Path, recipe: Recipe, data: Dataset, fitted: FitResult, number: int) -> Card:
    """Draws the graphs into the folder; their card, without figures yet."""
    net = fitted.net
    item = crop_to_probe(net, data.test[:1])
    graphs = [_export_graph(folder, ExportModule(net, operation), item) for operation in recipe.model.operations]
    if recipe.model.int8:
        graphs += [
            _quantize_graph(folder, graph, calibration_inputs(recipe, data, graph.operation)) for graph in graphs
        ]
    return Card(
        format=1,
        name=recipe.model.name,
        version=number,
        family=recipe.family,
        title=recipe.model.title,
        description=recipe.model.description,
        licence=recipe.model.licence,
        parameters=net.parameter_count(),
        input=_input_spec(net),
        code=Code(shape=list(net.code_shape)),
        graphs=graphs,
        receptive_radius=net.receptive_radius,
        stride=net.stride,
        error_percentiles=[0.0] * 101 if "reconstruct" in recipe.model.operations else None,
        recipe=recipe.model_dump(mode="json"),
        data=CardData(name=data.name, sha256=data.sha256, count=len(data.train), licence=data.licence),
        quality=Quality(data="", figures={}, baselines={}),
        made=Provenance(
            versions=versions(),
            opset=OPSET,
            seed=recipe.optimizer.seed,
            seconds=round(fitted.seconds, 1),
            date=datetime.now(UTC).date(),
        ),
    )


def load_verified(folder: Path, card: Card, precision: Precision = "float32") -> dict[Operation, GraphFunction]:
    """Every graph of the card, opened as the service does; those of one precision. Raises PublishError where it would
    refuse one.
    """
    try:
        opened = {graph.file: load_graph(folder, card, graph) for graph in card.graphs}
        return {graph.operation: opened[graph.file].run for graph in card.graphs if graph.precision == precision}
    except ModelRejected as error:
        raise PublishError(f"the service would refuse this model: {error.detail}") from error


def check_parity(
    net: Autoencoder, graphs: Mapping[Operation, GraphFunction], items: Items
) -> dict[Operation, list[Parity]]:
    """How far the graphs are from the net, at each size of batch and shape. Raises PublishError over the bound."""
    parity: dict[Operation, list[Parity]] = {}
    for operation, run in graphs.items():
        served = ExportModule(net, operation)
        parity[operation] = [_measure_parity(served, run, given) for given in parity_inputs(served, items)]
    return parity


def complete_card(card: Card, parity: Mapping[Operation, list[Parity]], measured: Evaluation) -> Card:
    """The card with its figures, in six digits."""
    exact = {graph.file: parity[graph.operation] for graph in card.graphs if graph.precision == "float32"}
    graphs = [graph.model_copy(update={"parity": exact.get(graph.file, [])}) for graph in card.graphs]
    quality = Quality(
        data=measured.data,
        figures=_round_figures(measured.figures),
        baselines={name: _round_figures(figures) for name, figures in measured.baselines.items()},
    )
    percentiles = measured.percentiles and [float(f"{error:.6g}") for error in measured.percentiles]
    return card.model_copy(update={"graphs": graphs, "quality": quality, "error_percentiles": percentiles})


def write_card(folder: Path, card: Card) -> None:
    """Writes `card.json`, then opens the model by what was written. Raises PublishError as `load_verified` does."""
    text = json.dumps(card.model_dump(mode="json"), indent=2) + "\n"
    (folder / CARD_FILE).write_text(text, "utf-8")
    load_verified(folder, read_card(text.encode()))


def read_published(folder: Path) -> Card:
    """The card of a published version."""
    return read_card((folder / CARD_FILE).read_bytes())


def _input_spec(net: Autoencoder) -> ImageInput | VectorInput:
    if len(net.shape) == 1:
        return VectorInput(kind="vector", features=net.shape[0])
    channels, height, width = net.shape
    sides = (None, None) if net.any_size else (height, width)
    return ImageInput(kind="image", height=sides[0], width=sides[1], channels=3 if channels == 3 else 1)


def _export_graph(folder: Path, served: ExportModule, item: Items) -> Graph:
    """Writes one graph; its probe is one held-out item and what torch makes of it."""
    content = export_onnx(served)
    file = f"{served.operation}.onnx"
    (folder / file).write_bytes(content)
    example = operation_inputs(served, item)
    return Graph(
        operation=served.operation,
        precision="float32",
        file=file,
        sha256=hashlib.sha256(content).hexdigest(),
        probe=Probe(input=to_tensor(example), output=to_tensor(run_torch(served, example))),
        parity=[],
        bytes_per_pixel=bytes_per_pixel(content) if served.net.any_size else None,
    )


def _quantize_graph(folder: Path, graph: Graph, arrays: Sequence[NDArray[Any]]) -> Graph:
    """Writes a graph anew in int8; its probe is what it answers here, since torch has no part in it."""
    content = quantize((folder / graph.file).read_bytes(), arrays)
    file = f"{graph.operation}.int8.onnx"
    (folder / file).write_bytes(content)
    answer = Session(content, free_sizes=True).run(to_array(graph.probe.input))
    return graph.model_copy(
        update={
            "precision": "int8",
            "file": file,
            "sha256": hashlib.sha256(content).hexdigest(),
            "probe": Probe(input=graph.probe.input, output=to_tensor(answer)),
            "bytes_per_pixel": graph.bytes_per_pixel and bytes_per_pixel(content),
        }
    )


def _measure_parity(served: ExportModule, run: GraphFunction, given: NDArray[Any]) -> Parity:
    wanted = run_torch(served, given)
    gap = max_difference(run(given), wanted)
    unit, bound = ("levels", MAX_GREY_LEVELS) if wanted.dtype == np.uint8 else ("relative", MAX_RELATIVE_ERROR)
    if not gap <= bound:
        raise PublishError(
            f"the {served.operation} graph differs from the net by {gap:g} ({unit}, at most {bound:g} is published) "
            f"on a batch of {len(given)} of {given.shape[1:]}"
        )
    return Parity(batch=len(given), shape=list(given.shape[1:]), difference=gap, unit=unit)


def _round_figures(figures: Mapping[str, float]) -> dict[str, float]:
    return {name: float(f"{figure:.6g}") for name, figure in figures.items()}
