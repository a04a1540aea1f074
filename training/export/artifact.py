"""Builds the graphs and the card of a model, loads them with the loader of the service, and compares them with the net.

Apart from `training.recipe`, which checks names, it is the only module of training that imports the service's card,
loader and sessions.
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
    STRENGTH_CONTROL,
    Bitstream,
    Card,
    Code,
    Column,
    Control,
    Graph,
    ImageInput,
    Parity,
    Precision,
    Probe,
    Provenance,
    Quality,
    Threshold,
    VectorInput,
    read_card,
)
from service.card import Data as CardData
from service.errors import ModelRejected
from service.repository.loader import load_graph
from service.runtime.session import Session
from service.runtime.tensors import crop_images, max_difference, to_array, to_tensor, uneven_crop
from training.data import Dataset, Items
from training.errors import PublishError
from training.evaluation.metrics import Evaluation, GraphFunction
from training.export.calibration import calibration_inputs
from training.export.code_tables import code_tables
from training.export.memory import bytes_per_pixel
from training.export.onnx_graph import OPSET, ExportModule, export_onnx
from training.export.parity_inputs import crop_to_probe, operation_inputs, parity_inputs, run_torch
from training.export.quantize import WEIGHT_BITS, quantize
from training.export.versions import versions
from training.loop.fit import FitResult
from training.loop.plan import complete
from training.nets import Autoencoder, Operation
from training.recipe import Recipe

MAX_GREY_LEVELS, MAX_RELATIVE_ERROR = 1.0, 1e-5
"""Maximum difference of a graph from the net: in grey levels for images, relative to the largest value for floats."""


def card_schema() -> str:
    """Return the JSON schema of the card, for programs in other languages."""
    return json.dumps(Card.model_json_schema(), indent=2) + "\n"


def build_card(folder: Path, recipe: Recipe, data: Dataset, fitted: FitResult, number: int) -> Card:
    """Export the graphs to `folder`, and return a card without metrics and parity.

    Raises RuntimeError if a graph cannot be exported.
    """
    recipe = complete(recipe, data)
    net = fitted.net
    item = crop_to_probe(net, data.test[:1])
    graphs = [_export_graph(folder, ExportModule(net, operation), item) for operation in recipe.operations]
    if recipe.model.int8:
        graphs += [
            _quantize_graph(
                folder, graph, calibration_inputs(recipe, data, graph.operation), recipe.model.int8_percentile
            )
            for graph in graphs
        ]
    controls = _controls(net) if "denoise" in recipe.model.operations else []
    columns = _card_columns(data)
    tables = code_tables(net, data.train)
    bitstream = None if tables is None else Bitstream(probabilities=to_tensor(tables))
    return Card(
        format=2 if recipe.model.int8 or controls or columns or bitstream else 1,
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
        error_percentiles=[0.0] * 101 if "reconstruct" in recipe.operations else None,
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
        columns=columns,
        controls=controls,
        noise_map=bool(controls),
        bitstream=bitstream,
    )


def _card_columns(data: Dataset) -> list[Column]:
    """Return the columns of a table for the card."""
    return [
        Column(name=one.name, kind="category" if one.categories else "number", categories=list(one.categories))
        for one in data.columns
    ]


def load_verified(folder: Path, card: Card, precision: Precision = "float32") -> dict[Operation, GraphFunction]:
    """Load every graph of the card as the service does, and return those of one precision by their operations.

    Raises PublishError if the service would reject the model.
    """
    sessions = {graph.file: _load(folder, card, graph) for graph in card.graphs}
    return {graph.operation: sessions[graph.file].run for graph in card.graphs if graph.precision == precision}


def load_verified_noise_map(folder: Path, card: Card) -> GraphFunction | None:
    """Load the graph of the card that returns a noise map, and return the function from images to their maps.

    Returns None if the model has none. Raises PublishError if the service would reject it.
    """
    graph = next((graph for graph in card.graphs if graph.operation == "denoise"), None)
    if graph is None or not card.noise_map:
        return None
    session = _load(folder, card, graph)
    return lambda images: session.run_with_map(images).maps


def _load(folder: Path, card: Card, graph: Graph) -> Session:
    """Load a graph as the service does. Raises PublishError if it would be rejected."""
    try:
        return load_graph(folder, card, graph)
    except ModelRejected as error:
        raise PublishError(f"the service would reject this model: {error.detail}") from error


def check_parity(
    net: Autoencoder, graphs: Mapping[Operation, GraphFunction], items: Items
) -> dict[Operation, list[Parity]]:
    """Compare the outputs of the graphs with the net's on batches of several sizes and shapes.

    Args:
        net: the trained net.
        graphs: its graphs by operation.
        items: images uint8 (N, H, W, C) or vectors float32 (N, F).

    Raises:
        PublishError: a difference exceeds MAX_GREY_LEVELS or MAX_RELATIVE_ERROR.
    """
    parity: dict[Operation, list[Parity]] = {}
    for operation, run in graphs.items():
        module = ExportModule(net, operation)
        parity[operation] = [_measure_parity(module, run, inputs) for inputs in parity_inputs(module, items)]
    return parity


def complete_card(
    card: Card, parity: Mapping[Operation, list[Parity]], measured: Evaluation, false_alarms: float | None = None
) -> Card:
    """Return the card with parity and metrics, rounded to six significant digits.

    With `false_alarms`, its threshold is the error that so large a fraction of the held-out items exceeds.
    """
    exact = {graph.file: parity[graph.operation] for graph in card.graphs if graph.precision == "float32"}
    graphs = [graph.model_copy(update={"parity": exact.get(graph.file, [])}) for graph in card.graphs]
    quality = Quality(
        data=measured.data,
        figures=_round_metrics(measured.metrics),
        baselines={name: _round_metrics(metrics) for name, metrics in measured.baselines.items()},
    )
    percentiles = measured.percentiles and [float(f"{error:.6g}") for error in measured.percentiles]
    update: dict[str, Any] = {"graphs": graphs, "quality": quality, "error_percentiles": percentiles}
    if false_alarms is not None and percentiles:
        error = float(np.interp(100 * (1 - false_alarms), np.arange(101), percentiles))
        update |= {"format": 2, "threshold": Threshold(error=error, false_alarm_rate=false_alarms)}
    return card.model_copy(update=update)


def write_card(folder: Path, card: Card) -> None:
    """Write `card.json` to `folder` and load the model by it. Raises PublishError if the service would reject it."""
    text = json.dumps(card.model_dump(mode="json"), indent=2) + "\n"
    (folder / CARD_FILE).write_text(text, "utf-8")
    load_verified(folder, read_card(text.encode()))


def read_published(folder: Path) -> Card:
    """Read the card of a published version."""
    return read_card((folder / CARD_FILE).read_bytes())


def _input_spec(net: Autoencoder) -> ImageInput | VectorInput:
    if len(net.shape) == 1:
        return VectorInput(kind="vector", features=net.shape[0])
    channels, height, width = net.shape
    sides = (None, None) if net.any_size else (height, width)
    return ImageInput(kind="image", height=sides[0], width=sides[1], channels=3 if channels == 3 else 1)


def _controls(net: Autoencoder) -> list[Control]:
    """Return the controls of the graph `denoise`."""
    if net.max_strength <= 1:
        return []
    strength = Control(
        name=STRENGTH_CONTROL,
        title="Strength: 1 removes what the model takes for noise, more removes more",
        unit="",
        minimum=1.0,
        maximum=net.max_strength,
        default=1.0,
    )
    return [strength]


def _export_graph(folder: Path, module: ExportModule, item: Items) -> Graph:
    """Write one graph. Its probe is a test item (1, ...) and the output of the net in torch."""
    content = export_onnx(module)
    file = f"{module.operation}.onnx"
    (folder / file).write_bytes(content)
    example = operation_inputs(module, item)
    return Graph(
        operation=module.operation,
        precision="float32",
        file=file,
        sha256=hashlib.sha256(content).hexdigest(),
        probe=Probe(input=to_tensor(example), output=to_tensor(run_torch(module, example))),
        parity=[],
        bytes_per_pixel=bytes_per_pixel(content) if module.net.any_size else None,
    )


def _quantize_graph(folder: Path, graph: Graph, arrays: Sequence[NDArray[Any]], percentile: float) -> Graph:
    """Write the int8 version of a graph. Its probe is the output of the int8 graph itself, as torch has none."""
    content = quantize((folder / graph.file).read_bytes(), arrays, percentile)
    file = f"{graph.operation}.int8.onnx"
    (folder / file).write_bytes(content)
    output = Session(content, free_sizes=True, controls={STRENGTH_CONTROL: 1.0}).run(to_array(graph.probe.input))
    return graph.model_copy(
        update={
            "precision": "int8",
            "weight_bits": WEIGHT_BITS,
            "file": file,
            "sha256": hashlib.sha256(content).hexdigest(),
            "probe": Probe(input=graph.probe.input, output=to_tensor(output)),
            "bytes_per_pixel": graph.bytes_per_pixel and bytes_per_pixel(content),
        }
    )


def _measure_parity(module: ExportModule, run: GraphFunction, inputs: NDArray[Any]) -> Parity:
    controls = strengths = None
    if module.takes_strength:  # the items of a batch have different strengths, the first of them the default
        strengths = np.linspace(1, module.net.max_strength, len(inputs), dtype=np.float32)
        controls = strengths[:, np.newaxis]
    expected = run_torch(module, inputs, strengths)
    difference = max_difference(run(inputs, controls), expected)
    if module.crops:
        crop = uneven_crop(inputs)
        difference = max(difference, max_difference(run(inputs, controls, crop), crop_images(expected, crop)))
    unit, bound = ("levels", MAX_GREY_LEVELS) if expected.dtype == np.uint8 else ("relative", MAX_RELATIVE_ERROR)
    if not difference <= bound:
        raise PublishError(
            f"the {module.operation} graph differs from the net by {difference:g} ({unit}, at most {bound:g} is "
            f"published) on a batch of {len(inputs)} items of shape {inputs.shape[1:]}"
        )
    return Parity(batch=len(inputs), shape=list(inputs.shape[1:]), difference=difference, unit=unit)


def _round_metrics(metrics: Mapping[str, float]) -> dict[str, float]:
    return {name: float(f"{value:.6g}") for name, value in metrics.items()}
