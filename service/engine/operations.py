"""encode, decode, reconstruct, denoise: what each asks of a model and says of its answers. Knows arrays, not bytes."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import structlog

from service.card import Card, Operation
from service.engine import noise_level
from service.engine.batcher import Batcher, BatchResult, InferenceError
from service.engine.model import LoadedModel
from service.engine.tile_scheduler import TileScheduler
from service.errors import InternalError, InvalidArray, OperationNotSupported, Problem
from service.types import Array

Figures = dict[str, float]
ErrorFunction = Callable[[], float]  # an item's mean squared error, worked out when it is asked for

log = structlog.get_logger()

BLOCK_SIZE = 1 << 16  # numbers whose squared error is taken at once: their floats stay in the cache


@dataclass(slots=True)
class InferenceResult:
    """For every item its output or its problem; the seconds waited and run."""

    outputs: Sequence[Array | Problem] | Array
    queue_seconds: float = 0.0
    run_seconds: float = 0.0
    batch_result: BatchResult | None = None  # where all outputs came as one and none is a problem

    @property
    def nbytes(self) -> int:
        """Bytes of all outputs."""
        if self.batch_result is not None:
            return self.batch_result.outputs.nbytes
        return sum(0 if isinstance(output, Problem) else output.nbytes for output in self.outputs)

    def error(self, place: int, inputs: Array, output: Array) -> float:
        """Mean squared error of an item on the 0..1 scale (vectors: on their own)."""
        if self.batch_result is None:
            return float(mean_squared_errors(inputs[np.newaxis], output[np.newaxis])[0])
        batch = self.batch_result.batch
        if batch.errors is None:
            batch.errors = mean_squared_errors(batch.items, batch.outputs)
        return float(batch.errors[self.batch_result.offset + place])


async def run(model: LoadedModel, operation: Operation, inputs: Sequence[Array]) -> InferenceResult:
    """Every input array (N first) through the operation's graph, item by item where a whole array fails."""
    runner = model.runners.get(operation)
    if runner is None:
        offers = ", ".join(model.runners)
        raise OperationNotSupported(f"{model.card.name} {model.card.version} offers {offers}")
    groups = runner.batcher.submission_groups(inputs)
    if len(groups) == 1 and len(groups[0]) == 1:
        return await _run_itemwise(runner.batcher, groups[0][0])
    done: list[InferenceResult] = []
    for group in groups:
        done += await asyncio.gather(*(_run_itemwise(runner.batcher, array) for array in group))
    return InferenceResult(
        outputs=[output for part in done for output in part.outputs],
        queue_seconds=max((part.queue_seconds for part in done), default=0.0),
        run_seconds=sum(part.run_seconds for part in done),
    )


def encode(card: Card, error: ErrorFunction, inputs: Array, output: Array) -> Figures:  # noqa: ARG001
    """Codes, float32: they speak for themselves."""
    return {}


def decode(card: Card, error: ErrorFunction, inputs: Array, output: Array) -> Figures:  # noqa: ARG001
    """Pictures (uint8) or vectors of codes, with nothing to hold them against."""
    return {}


def reconstruct(card: Card, error: ErrorFunction, inputs: Array, output: Array) -> Figures:  # noqa: ARG001
    """Pictures or vectors through the code and back: `mse`, `psnr` (pictures) and `error_percentile`."""
    mse = error()
    figures = {"mse": mse}
    if output.dtype == np.uint8:
        figures["psnr"] = float("inf") if mse == 0 else float(-10 * np.log10(mse))
    figures["error_percentile"] = error_percentile(card, mse)
    return figures


def denoise(card: Card, error: ErrorFunction, inputs: Array, output: Array) -> Figures:  # noqa: ARG001
    """Pictures or vectors without their noise: `noise_sigma` is the noise's estimated standard deviation.

    Of pictures of any size it is told by the picture alone (`noise`); of others, too small for that, and of vectors it
    is the root mean square of what was removed.
    """
    found = noise_level.estimate_sigma(inputs) if card.any_size else None
    return {"noise_sigma": error() ** 0.5 if found is None else found}


OPERATIONS: Final[dict[Operation, Callable[[Card, ErrorFunction, Array, Array], Figures]]] = {
    "encode": encode,
    "decode": decode,
    "reconstruct": reconstruct,
    "denoise": denoise,
}


def blend(result: InferenceResult, inputs: Sequence[Array], strength: float) -> None:
    """Mixes every output with its input: `strength` of it, rounded where it is a picture."""
    items = [item for array in inputs for item in array]
    result.outputs = [
        output if isinstance(output, Problem) else _blend_item(item, output, strength)
        for item, output in zip(items, result.outputs, strict=True)
    ]
    result.batch_result = None


def _blend_item(inputs: Array, output: Array, strength: float) -> Array:
    """By blocks, so that a large picture has no copy in floats."""
    mixed = np.empty(output.shape, output.dtype)
    flat, old, new = mixed.reshape(-1), inputs.reshape(-1), output.reshape(-1)
    for at in range(0, flat.size, BLOCK_SIZE):
        block = slice(at, at + BLOCK_SIZE)
        values = np.float32(1 - strength) * old[block] + np.float32(strength) * new[block]
        flat[block] = np.rint(values) if output.dtype == np.uint8 else values
    return mixed


def mean_squared_errors(inputs: Array, output: Array) -> Array:
    """Mean squared errors of items (N first) on the 0..1 scale (vectors: on their own); float64, N."""
    count = len(inputs)
    ours, theirs = inputs.reshape(count, -1), output.reshape(count, -1)
    size = ours.shape[1]
    kind = np.float32 if output.dtype == np.uint8 else np.float64  # squares of a vector's numbers may not fit
    errors = np.zeros(count)
    items = max(1, BLOCK_SIZE // size)
    for first in range(0, count, items):
        for at in range(0, size, BLOCK_SIZE):
            block = slice(first, first + items), slice(at, at + BLOCK_SIZE)
            gap = np.subtract(ours[block], theirs[block], dtype=kind)
            errors[first : first + items] += np.einsum("ij,ij->i", gap, gap)
    return errors / (size * (255**2 if output.dtype == np.uint8 else 1))


def error_percentile(card: Card, error: float) -> float:
    """Share (0..100) of held-out inputs that reconstruct with a smaller mean squared error."""
    known = card.error_percentiles or [0.0] * 101
    return float(np.interp(error, known, np.arange(101.0)))


async def _run_itemwise(batcher: Batcher | TileScheduler, array: Array) -> InferenceResult:
    try:
        done = await batcher.submit(array)
    except InferenceError as error:
        if len(array) == 1:
            log.error("inference_failed", reason=str(error))
            return InferenceResult([InternalError("the model failed on this item")])
        parts = [await _run_itemwise(batcher, array[at : at + 1]) for at in range(len(array))]
        return InferenceResult([part.outputs[0] for part in parts])
    outputs, batch = done.outputs, done.batch
    if batch.finite is None:
        batch.finite = outputs.dtype == np.uint8 or bool(np.isfinite(batch.outputs).all())
    if batch.finite or np.isfinite(outputs).all():  # if not all that ran together, then perhaps these
        return InferenceResult(outputs, done.queue_seconds, done.run_seconds, done)
    refused = InvalidArray("the model has no finite answer for these numbers")
    return InferenceResult(
        [output if np.isfinite(output).all() else refused for output in outputs], done.queue_seconds, done.run_seconds
    )
