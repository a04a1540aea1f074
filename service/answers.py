"""From outcomes to the bytes and headers of an answer; the JSON is what `schemas` says, written faster."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import orjson
import pybase64
from numpy.typing import NDArray

from service import codec
from service.card import Card, ImageInput, Operation
from service.codec import Picture
from service.errors import NotAcceptable, Problem
from service.inputs import Inputs
from service.negotiation import JSON, NPY
from service.operations import Outcome

Array = NDArray[Any]
FIGURE_HEADERS = {"mse": "x-mse", "psnr": "x-psnr", "percentile": "x-percentile", "noise_sigma": "x-noise-sigma"}
FITTED_HEADERS = {"resized_from": "x-resized", "depth_from": "x-depth"}


@dataclass(slots=True, frozen=True)
class Reply:
    """All that an answer is written from."""

    card: Card
    operation: Operation
    inputs: Inputs
    outcome: Outcome
    request_id: str
    quality: int


def picture_type(pictures: Sequence[Picture | None]) -> str:
    """The type of an answered picture: the one that the first came in where we write it, else PNG."""
    first = pictures[0] if pictures else None
    return first.type if first and first.type in codec.WRITTEN else "image/png"


def write(reply: Reply, kind: str) -> tuple[bytes, dict[str, str]]:
    """The body and its headers. Raises the problem of the only item, or of any where the type has no place for it."""
    if len(reply.inputs) == 1 or kind != JSON:
        _raise_first(reply)
    headers = {
        "content-type": kind,
        "x-model": reply.card.name,
        "x-model-version": str(reply.card.version),
        "vary": "Accept",
    }
    if kind == JSON:
        return orjson.dumps(_document(reply), option=orjson.OPT_SERIALIZE_NUMPY), headers
    if kind == NPY:
        return codec.write_npy(_stack(reply.outcome)), headers
    (picture,), (output,) = reply.inputs.pictures, reply.outcome.outputs
    if isinstance(output, Problem):
        raise output
    for name, value in reply.outcome.figures[0].items():
        headers[FIGURE_HEADERS[name]] = f"{value:.6g}"
    for name, value in _fitted(picture, reply.card).items():
        headers[FITTED_HEADERS[name]] = "x".join(map(str, value)) if isinstance(value, list) else str(value)
    return codec.encode(restore(output, picture), kind, quality=reply.quality), headers


def _raise_first(reply: Reply) -> None:
    found = [*reply.inputs.problems.items()]
    found += [(at, output) for at, output in enumerate(reply.outcome.outputs) if isinstance(output, Problem)]
    if not found:
        return
    place, problem = found[0]
    if len(reply.inputs) > 1:
        problem.detail = f"item {place}: {problem.detail}; a JSON answer would say so in its place"
    raise problem


def _stack(outcome: Outcome) -> Array:
    if outcome.batch is not None:
        return outcome.batch
    outputs = [output for output in outcome.outputs if not isinstance(output, Problem)]
    if len({output.shape for output in outputs}) > 1:
        raise NotAcceptable("pictures of several sizes do not fit one array; accept application/json")
    return np.stack(outputs)


def _document(reply: Reply) -> dict[str, object]:
    return {
        "model": reply.card.name,
        "version": reply.card.version,
        "operation": reply.operation,
        "results": list(_results(reply)),
    }


def _results(reply: Reply) -> Iterator[dict[str, object]]:
    items = zip(reply.inputs.pictures, reply.outcome.outputs, reply.outcome.figures, strict=True)
    for place in range(len(reply.inputs)):
        if place in reply.inputs.problems:
            yield {"error": reply.inputs.problems[place].body(reply.request_id)}
            continue
        picture, output, figure = next(items)
        yield _result(reply, picture, output, figure)


def _result(
    reply: Reply, picture: Picture | None, output: Array | Problem, figures: dict[str, float]
) -> dict[str, object]:
    if isinstance(output, Problem):
        return {"error": output.body(reply.request_id)}
    if output.dtype != np.uint8:
        name = "code" if reply.operation == "encode" else "values"
        return {name: np.ascontiguousarray(output), **figures, **_fitted(picture, reply.card)}
    kind = picture_type([picture])
    blob = codec.encode(restore(output, picture), kind, quality=reply.quality)
    text = pybase64.b64encode_as_string(blob)
    return {"image": text, "type": kind, **figures, **_fitted(picture, reply.card)}


def _fitted(picture: Picture | None, card: Card) -> dict[str, list[int] | int]:
    """How the picture that came in differed from what the model takes."""
    found: dict[str, list[int] | int] = {}
    if picture is None or not isinstance(card.input, ImageInput):
        return found
    height, width = picture.pixels.shape[:2]
    if card.input.height is not None and (card.input.height, card.input.width) != (height, width):
        found["resized_from"] = [width, height]
    if picture.depth != 8:
        found["depth_from"] = picture.depth
    return found


def restore(output: Array, picture: Picture | None) -> Picture:
    """An output of the model as a picture like the one that came in: grey if that was grey, its alpha and profile."""
    if picture is None:
        return Picture(output, "image/png")
    height, width = output.shape[:2]
    channels = 1 if picture.pixels.shape[2] == 1 else output.shape[2]
    alpha = None if picture.alpha is None else codec.fit_alpha(picture.alpha, height, width)
    return replace(picture, pixels=codec.fit(output, None, None, channels), alpha=alpha)
