"""Rendering of results into response bodies and headers.

The JSON conforms to the models of `schemas`, but is written without them because that is faster.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import count

import numpy as np
import orjson
import pybase64

from service import codec
from service.card import Card, ImageInput, Operation
from service.codec import Picture
from service.engine import bitstream, error_map
from service.engine.images import image_media_type, postprocess
from service.engine.operations import Figures, InferenceResult, ItemResult, compute_figures
from service.errors import NotAcceptable, Problem
from service.http import headers as header_names
from service.http.body import Inputs
from service.http.media_types import BITSTREAM, JSON, NPY
from service.http.parameters import MapKind
from service.types import Array, Headers

FIGURE_HEADERS = {field: name.lower().encode() for field, name in header_names.FIGURE_HEADERS.items()}
INPUT_CHANGE_HEADERS = {field: name.lower().encode() for field, name in header_names.INPUT_CHANGE_HEADERS.items()}
METADATA_HEADERS = {field: name.lower().encode() for field, name in header_names.METADATA_HEADERS.items()}


@dataclass(slots=True)
class ResponseParts:
    """Everything that a response is rendered from.

    `image_quality`: 1..100, of lossy image formats if the input is no JPEG. `quality`: the same, for all images.
    `map`: the kind of error map to answer with. `on_figures`: called with the model, operation and figures of items.
    """

    card: Card
    operation: Operation
    inputs: Inputs
    result: InferenceResult
    request_id: str
    image_quality: int
    keep_metadata: bool = False
    quality: int | None = None
    map: MapKind | None = None
    on_figures: Callable[[str, str, Figures], None] | None = None


def render(parts: ResponseParts, media_type: str) -> tuple[bytes, Headers]:
    """Return the body and headers of a successful response.

    Raises the problem of a failed item, unless it is one of several in a JSON response, which reports it in its place.
    Raises NotAcceptable if outputs of several shapes are requested as one array.
    """
    if len(parts.inputs) == 1 or media_type != JSON:
        _raise_first_problem(parts)
    headers = [*_base_headers(parts.card.name, parts.card.version, media_type)]
    if media_type == JSON:
        return _render_json(parts), headers
    if media_type == NPY:
        return codec.write_npy(_stack_maps(parts) if parts.map else _stack_outputs(parts.result)), headers
    if media_type == BITSTREAM:
        return bitstream.encode_item(_stack_outputs(parts.result)[0], parts.card), headers
    (image,), (output,) = parts.inputs.pictures, parts.result.outputs
    if isinstance(output, Problem):
        raise output
    for name, figure in _figures(parts, 0, image, parts.inputs.arrays[0][0], output).items():
        text = str(figure).lower().encode() if isinstance(figure, bool) else b"%.6g" % figure
        headers.append((FIGURE_HEADERS[name], text))
    for name, value in _input_changes(image, parts.card).items():
        text = "x".join(map(str, value)) if isinstance(value, list) else str(value)
        headers.append((INPUT_CHANGE_HEADERS[name], text.encode()))
    if parts.map:
        return _encode_map(parts, parts.inputs.arrays[0][0], output, media_type), headers
    answer = postprocess(output, image, parts.keep_metadata)
    dropped = codec.dropped_metadata(answer, media_type)
    if dropped:
        headers.append((METADATA_HEADERS["metadata_dropped"], ", ".join(dropped).encode()))
    return _encode_image(parts, answer, media_type), headers


def _encode_map(parts: ResponseParts, item: Array, output: Array, media_type: str) -> bytes:
    """Return the error map of an image as an image, 16-bit gray or colours over the model's input."""
    values = error_map.error_map(item, output)
    if parts.map == "gray":
        return codec.write_gray16(error_map.to_gray16(values))
    return _encode_image(parts, Picture(error_map.overlay(values, item, parts.card), media_type), media_type)


def _stack_maps(parts: ResponseParts) -> Array:
    """Return the error maps of all images, float32 N,H,W. Raises NotAcceptable if their sizes differ."""
    items = [item for array in parts.inputs.arrays for item in array]
    outputs = _stack_outputs(parts.result)
    return np.stack([error_map.error_map(item, output) for item, output in zip(items, outputs, strict=True)])


def _encode_image(parts: ResponseParts, picture: Picture, media_type: str) -> bytes:
    return codec.encode(picture, media_type, quality=parts.quality, default_quality=parts.image_quality)


@lru_cache(maxsize=256)
def _base_headers(model: str, version: int, media_type: str) -> Headers:
    """Return the headers that all responses of a model with this media type share."""
    return [
        (b"content-type", media_type.encode()),
        (b"x-model", model.encode()),
        (b"x-model-version", b"%d" % version),
        (b"vary", b"Accept"),
    ]


def _figures(parts: ResponseParts, position: int, image: Picture | None, item: Array, output: Array) -> Figures:
    """Compute the figures of one item; `position` counts the items that were decoded."""
    error = partial(parts.result.error, position, item, output)
    visible = image.alpha > 0 if image is not None and image.alpha is not None else None
    noise_map = parts.result.noise_maps[position] if parts.result.noise_maps else None
    figures = compute_figures(parts.operation, ItemResult(parts.card, item, output, error, visible, noise_map))
    if parts.on_figures:
        parts.on_figures(parts.card.name, parts.operation, figures)
    return figures


def _raise_first_problem(parts: ResponseParts) -> None:
    result = parts.result
    if not parts.inputs.problems and result.batch_result is not None:
        return
    problems = [*parts.inputs.problems.items()]
    problems += [(position, output) for position, output in enumerate(result.outputs) if isinstance(output, Problem)]
    if not problems:
        return
    position, problem = problems[0]
    if len(parts.inputs) > 1:
        problem.detail = f"item {position}: {problem.detail}; accept {JSON} to get the results of the other items"
    raise problem


def _stack_outputs(result: InferenceResult) -> Array:
    """Return all outputs as one array, N first. Raises NotAcceptable if their shapes differ."""
    if result.batch_result is not None:
        return result.batch_result.outputs
    outputs = [output for output in result.outputs if not isinstance(output, Problem)]
    if len({output.shape for output in outputs}) > 1:
        raise NotAcceptable(f"format: images of several sizes do not fit one array; accept {JSON}")
    return np.stack(outputs)


def _render_json(parts: ResponseParts) -> bytes:
    """Render all results, one call of orjson each, so that it releases the interpreter between them."""
    names = () if parts.operation == "encode" else feature_names(parts.card)
    prefix = _json_prefix(parts.card.name, parts.card.version, parts.operation, names)
    results = (orjson.dumps(result, option=orjson.OPT_SERIALIZE_NUMPY) for result in _results(parts))
    return b"".join((prefix, b",".join(results), b"]}"))


@lru_cache(maxsize=256)
def _json_prefix(model: str, version: int, operation: Operation, columns: tuple[str, ...]) -> bytes:
    head: dict[str, object] = {"model": model, "version": version, "operation": operation}
    if columns:
        head["columns"] = columns
    return orjson.dumps(head)[:-1] + b',"results":['


def feature_names(card: Card) -> tuple[str, ...]:
    """Return a name for each number of a vector: that of its column, or `column=category`; none without columns."""
    return tuple(
        name
        for column in card.columns
        for name in ([f"{column.name}={text}" for text in column.categories] or [column.name])
    )


def _results(parts: ResponseParts) -> Iterator[dict[str, object]]:
    """Yield the result or problem of each item, in the order of the request."""
    arrays = (item for array in parts.inputs.arrays for item in array)
    items = zip(count(), parts.inputs.pictures, arrays, parts.result.outputs)
    for position in range(len(parts.inputs)):
        problem = parts.inputs.problems.get(position)
        yield {"error": problem.to_dict(parts.request_id)} if problem else _result(parts, *next(items))


def _result(
    parts: ResponseParts, position: int, image: Picture | None, item: Array, output: Array | Problem
) -> dict[str, object]:
    """Return the JSON object of one item that was decoded."""
    if isinstance(output, Problem):
        return {"error": output.to_dict(parts.request_id)}
    figures = _figures(parts, position, image, item, output)
    if output.dtype != np.uint8:
        name = "code" if parts.operation == "encode" else "values"
        shares = {"contributions": error_map.contributions(item, output, parts.card)} if parts.map else {}
        return {name: np.ascontiguousarray(output), **figures, **shares, **_input_changes(image, parts.card)}
    height, width = output.shape[:2]
    media_type = image_media_type(image, (width, height))
    answer = postprocess(output, image, parts.keep_metadata)
    text = pybase64.b64encode_as_string(_encode_image(parts, answer, media_type))
    dropped = codec.dropped_metadata(answer, media_type)
    extra: dict[str, object] = {"metadata_dropped": dropped} if dropped else {}
    if parts.map:
        extra["map"] = pybase64.b64encode_as_string(_encode_map(parts, item, output, "image/png"))
    return {"image": text, "type": media_type, **figures, **_input_changes(image, parts.card), **extra}


def _input_changes(image: Picture | None, card: Card) -> dict[str, list[int] | float]:
    """Return how the image sent differs from the model's input: size (width, height), bit depth and truncation."""
    changes: dict[str, list[int] | float] = {}
    if image is None or not isinstance(card.input, ImageInput):
        return changes
    height, width = image.pixels.shape[:2]
    if card.input.height is not None and (card.input.height, card.input.width) != (height, width):
        changes["original_size"] = [width, height]
    if image.bit_depth != 8:
        changes["original_bit_depth"] = image.bit_depth
    if image.fraction < 1:
        changes["truncated"] = image.fraction
    return changes
