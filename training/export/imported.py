"""Writes the card of a model that another program trained, and loads its graphs with the loader of the service.

It knows no conventions of foreign models: it gets served graphs, and what is stated about them.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from service.card import (
    Card,
    Code,
    Data,
    Graph,
    ImageInput,
    Name,
    Origin,
    Parity,
    Probe,
    Provenance,
    Quality,
    VectorInput,
)
from service.runtime.tensors import max_difference, to_tensor
from training.errors import ImportRejected
from training.export.artifact import load_verified, write_card
from training.export.versions import versions
from training.nets import Operation

Array = NDArray[Any]
MAX_LEVELS, MAX_RELATIVE = 1.0, 1e-3
"""Largest difference of a served graph from the original: in grey levels, or relative to the largest value."""
NO_DATA = "unknown, the model was trained elsewhere"


@dataclass(frozen=True, slots=True)
class ServedGraph:
    """A graph to publish.

    Attributes:
        content: the serialized ONNX model.
        inputs: batches of inputs as clients send them; the first item of the first is the probe.
        expected: the outputs for them, computed by the original model.
        bytes_per_pixel: the memory of a run, for images of any size.
    """

    content: bytes
    inputs: Sequence[Array]
    expected: Sequence[Array]
    bytes_per_pixel: float | None = None


@dataclass(frozen=True, slots=True)
class Description:
    """What a person states about a model: names, texts, and the file that it came from."""

    name: str
    title: str
    description: str
    licence: str
    file: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Properties:
    """What was found out about a model, in the words of the card.

    Attributes:
        size: height, width and channels of images (None is any size), or the length of vectors.
        code: the shape of a code.
        receptive_radius: in pixels; None if images are not tiled.
        stride: in pixels; None if images are not tiled.
        parameters: the number of weights.
        opset: the operator set of the graphs.
        evaluated_on: what the figures and percentiles were measured on.
        figures: by their names in a card.
        baselines: the figures of each baseline.
        percentiles: 0 to 100 of the reconstruction error.
        columns: names of the features of vectors.
    """

    size: tuple[int | None, int | None, int] | int
    code: tuple[int | None, ...]
    receptive_radius: int | None
    stride: int | None
    parameters: int
    opset: int
    evaluated_on: str
    figures: Mapping[str, float]
    baselines: Mapping[str, Mapping[str, float]]
    percentiles: Sequence[float] | None


def check_name(name: str) -> None:
    """Raise ImportRejected if a model cannot have this name, before a folder of this name is made."""
    try:
        TypeAdapter(Name).validate_python(name)
    except ValidationError as error:
        raise ImportRejected(
            f"--name {name}: a name has up to 64 lower case letters, digits and hyphens between them, such as my-model"
        ) from error


def write_imported(
    folder: Path,
    number: int,
    description: Description,
    properties: Properties,
    graphs: Mapping[Operation, ServedGraph],
) -> Card:
    """Write the graphs and the card of a version to an empty folder, and compare the loaded graphs with the original.

    Raises ImportRejected if a graph differs from the original or the card is invalid, and PublishError if the service
    would reject the model.
    """
    entries = [_write_graph(folder, operation, graph) for operation, graph in graphs.items()]
    try:
        card = _card(number, description, properties, entries)
    except ValidationError as error:
        problem = error.errors()[0]
        raise ImportRejected(f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}") from error
    functions = load_verified(folder, card)
    parity = {
        operation: [
            _compare(operation, functions[operation](inputs), expected)
            for inputs, expected in zip(graph.inputs, graph.expected, strict=True)
        ]
        for operation, graph in graphs.items()
    }
    entries = [entry.model_copy(update={"parity": parity[entry.operation]}) for entry in entries]
    card = card.model_copy(update={"graphs": entries})
    write_card(folder, card)
    return card


def _write_graph(folder: Path, operation: Operation, graph: ServedGraph) -> Graph:
    file = f"{operation}.onnx"
    (folder / file).write_bytes(graph.content)
    return Graph(
        operation=operation,
        precision="float32",
        file=file,
        sha256=hashlib.sha256(graph.content).hexdigest(),
        probe=Probe(input=to_tensor(graph.inputs[0][:1]), output=to_tensor(graph.expected[0][:1])),
        parity=[],
        bytes_per_pixel=graph.bytes_per_pixel,
    )


def _card(number: int, description: Description, properties: Properties, graphs: list[Graph]) -> Card:
    size = properties.size
    if isinstance(size, int):
        item: ImageInput | VectorInput = VectorInput(kind="vector", features=size)
    else:
        item = ImageInput(kind="image", height=size[0], width=size[1], channels=3 if size[2] == 3 else 1)
    return Card(
        format=2,
        name=description.name,
        version=number,
        family="imported",
        title=description.title,
        description=description.description,
        licence=description.licence,
        parameters=properties.parameters,
        input=item,
        code=Code(shape=list(properties.code)),
        graphs=graphs,
        receptive_radius=properties.receptive_radius,
        stride=properties.stride,
        error_percentiles=None
        if properties.percentiles is None
        else [_rounded(value) for value in properties.percentiles],
        recipe={},
        data=Data(name=NO_DATA, sha256=description.sha256, count=1, licence="unknown"),
        quality=Quality(
            data=properties.evaluated_on,
            figures={name: _rounded(value) for name, value in properties.figures.items()},
            baselines={
                method: {name: _rounded(value) for name, value in figures.items()}
                for method, figures in properties.baselines.items()
            },
        ),
        made=Provenance(
            versions=versions(), opset=properties.opset, seed=0, seconds=0.0, date=datetime.now(UTC).date()
        ),
        origin=Origin(file=description.file, sha256=description.sha256, licence=description.licence),
    )


def _compare(operation: Operation, output: Array, expected: Array) -> Parity:
    """Compare an output of the loaded graph with that of the original model. Raises ImportRejected if they differ."""
    difference = max_difference(output, expected)
    image = expected.dtype.kind == "u"
    bound = MAX_LEVELS if image else MAX_RELATIVE
    if not difference <= bound:
        raise ImportRejected(
            f"the served {operation} graph differs from the original by {difference:g} "
            f"({'grey levels' if image else 'relative'}, at most {bound:g} is published) on a batch of shape "
            f"{list(expected.shape)}: its answers depend on the batch or on the order of additions"
        )
    return Parity(
        batch=len(expected),
        shape=list(expected.shape[1:]),
        difference=difference,
        unit="levels" if image else "relative",
    )


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")
