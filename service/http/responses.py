"""From outcomes to the bytes and headers of an answer; the JSON is what `schemas` says, written faster."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import count

import numpy as np
import orjson
import pybase64

from service import codec
from service.card import Card, ImageInput, Operation
from service.codec import Picture
from service.engine.images import image_media_type, postprocess
from service.engine.operations import Figures, InferenceResult, ItemResult, compute_figures
from service.errors import NotAcceptable, Problem
from service.http.body import Inputs
from service.http.unpack import JSON, NPY
from service.types import Array, Headers

FIGURE_HEADERS = {
    "mse": b"x-mse",
    "psnr": b"x-psnr",
    "error_percentile": b"x-error-percentile",
    "noise_sigma": b"x-noise-sigma",
}
INPUT_CHANGE_HEADERS = {"original_size": b"x-original-size", "original_bit_depth": b"x-original-bit-depth"}


@dataclass(slots=True, frozen=True)
class ResponseParts:
    """All that an answer is written from."""

    card: Card
    operation: Operation
    inputs: Inputs
    result: InferenceResult
    request_id: str
    image_quality: int
    keep_metadata: bool = False


def render(reply: ResponseParts, media_type: str) -> tuple[bytes, Headers]:
    """The body and its headers. Raises the problem of the only item, or of any where the type has no place for it."""
    if len(reply.inputs) == 1 or media_type != JSON:
        _raise_first_problem(reply)
    headers = [*_base_headers(reply.card.name, reply.card.version, media_type)]
    if media_type == JSON:
        return _render_json(reply), headers
    if media_type == NPY:
        return codec.write_npy(_stack_outputs(reply.result)), headers
    (picture,), (output,) = reply.inputs.pictures, reply.result.outputs
    if isinstance(output, Problem):
        raise output
    for name, value in _figures(reply, 0, reply.inputs.arrays[0][0], output).items():
        headers.append((FIGURE_HEADERS[name], b"%.6g" % value))
    for name, value in _input_changes(picture, reply.card).items():
        text = "x".join(map(str, value)) if isinstance(value, list) else str(value)
        headers.append((INPUT_CHANGE_HEADERS[name], text.encode()))
    return codec.encode(
        postprocess(output, picture, reply.keep_metadata), media_type, quality=reply.image_quality
    ), headers


@lru_cache(maxsize=256)
def _base_headers(model: str, version: int, media_type: str) -> Headers:
    """The headers that all answers of this type from this model share."""
    return [
        (b"content-type", media_type.encode()),
        (b"x-model", model.encode()),
        (b"x-model-version", b"%d" % version),
        (b"vary", b"Accept"),
    ]


def _figures(reply: ResponseParts, place: int, given: Array, output: Array) -> Figures:
    error = partial(reply.result.error, place, given, output)
    return compute_figures(reply.operation, ItemResult(reply.card, given, output, error))


def _raise_first_problem(reply: ResponseParts) -> None:
    outcome = reply.result
    if not reply.inputs.problems and outcome.batch_result is not None:
        return
    found = [*reply.inputs.problems.items()]
    found += [(at, output) for at, output in enumerate(outcome.outputs) if isinstance(output, Problem)]
    if not found:
        return
    place, problem = found[0]
    if len(reply.inputs) > 1:
        problem.detail = f"item {place}: {problem.detail}; a JSON answer would say so in its place"
    raise problem


def _stack_outputs(outcome: InferenceResult) -> Array:
    if outcome.batch_result is not None:
        return outcome.batch_result.outputs
    outputs = [output for output in outcome.outputs if not isinstance(output, Problem)]
    if len({output.shape for output in outputs}) > 1:
        raise NotAcceptable("pictures of several sizes do not fit one array; accept application/json")
    return np.stack(outputs)


def _render_json(reply: ResponseParts) -> bytes:
    """The JSON of all results, each written by a call of its own: in one, nothing else could run meanwhile."""
    head = _json_prefix(reply.card.name, reply.card.version, reply.operation)
    written = (orjson.dumps(result, option=orjson.OPT_SERIALIZE_NUMPY) for result in _results(reply))
    return b"".join((head, b",".join(written), b"]}"))


@lru_cache(maxsize=256)
def _json_prefix(model: str, version: int, operation: Operation) -> bytes:
    return orjson.dumps({"model": model, "version": version, "operation": operation})[:-1] + b',"results":['


def _results(reply: ResponseParts) -> Iterator[dict[str, object]]:
    given = (item for array in reply.inputs.arrays for item in array)
    items = zip(count(), reply.inputs.pictures, given, reply.result.outputs)
    for place in range(len(reply.inputs)):
        problem = reply.inputs.problems.get(place)
        yield {"error": problem.to_dict(reply.request_id)} if problem else _result(reply, *next(items))


def _result(
    reply: ResponseParts, place: int, picture: Picture | None, given: Array, output: Array | Problem
) -> dict[str, object]:
    if isinstance(output, Problem):
        return {"error": output.to_dict(reply.request_id)}
    figures = _figures(reply, place, given, output)
    if output.dtype != np.uint8:
        name = "code" if reply.operation == "encode" else "values"
        return {name: np.ascontiguousarray(output), **figures, **_input_changes(picture, reply.card)}
    media_type = image_media_type([picture])
    blob = codec.encode(postprocess(output, picture, reply.keep_metadata), media_type, quality=reply.image_quality)
    text = pybase64.b64encode_as_string(blob)
    return {"image": text, "type": media_type, **figures, **_input_changes(picture, reply.card)}


def _input_changes(picture: Picture | None, card: Card) -> dict[str, list[int] | int]:
    """How the picture that came in differed from what the model takes."""
    found: dict[str, list[int] | int] = {}
    if picture is None or not isinstance(card.input, ImageInput):
        return found
    height, width = picture.pixels.shape[:2]
    if card.input.height is not None and (card.input.height, card.input.width) != (height, width):
        found["original_size"] = [width, height]
    if picture.bit_depth != 8:
        found["original_bit_depth"] = picture.bit_depth
    return found
