"""Runs the operations encode, decode, reconstruct and denoise on arrays, and computes the figures of their outputs."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import structlog

from service.card import Card, Operation
from service.engine import noise_level
from service.engine.model import LoadedModel
from service.engine.scheduler import BatchResult, InferenceError, Scheduler
from service.errors import InternalError, InvalidArray, OperationNotSupported, Problem
from service.types import Array

Figures = dict[str, float]
ErrorFunction = Callable[[], float]
"""Returns the mean squared error of an item. It is computed only when a figure needs it."""

log = structlog.get_logger()

OPERATIONS: Final[tuple[Operation, ...]] = ("encode", "decode", "reconstruct", "denoise")
BLOCK_SIZE = 1 << 16  # array elements processed at once, so that intermediate floats stay in the cache


@dataclass(slots=True)
class InferenceResult:
    """The output or the problem of each item, and the seconds that the items waited and ran.

    `batch_result` is set if all outputs come from one submission and none is a problem.
    """

    outputs: Sequence[Array | Problem] | Array
    queue_seconds: float = 0.0
    run_seconds: float = 0.0
    batch_result: BatchResult | None = None

    @property
    def nbytes(self) -> int:
        """Size of all outputs in bytes."""
        if self.batch_result is not None:
            return self.batch_result.outputs.nbytes
        return sum(0 if isinstance(output, Problem) else output.nbytes for output in self.outputs)

    def error(self, index: int, inputs: Array, output: Array) -> float:
        """Return the mean squared error of item `index`, given its input and output (without N).

        It is on the 0..1 scale for images, and on the scale of the data for vectors. The errors of a whole batch are
        computed at once.
        """
        if self.batch_result is None:
            return float(mean_squared_errors(inputs[np.newaxis], output[np.newaxis])[0])
        batch = self.batch_result.batch
        if batch.errors is None:
            batch.errors = mean_squared_errors(batch.items, batch.outputs)
        return float(batch.errors[self.batch_result.offset + index])


async def run(model: LoadedModel, operation: Operation, inputs: Sequence[Array]) -> InferenceResult:
    """Run all input arrays (N first) through the graph of the operation.

    If an array fails, its items are run one by one, and the items that fail become problems. Raises
    OperationNotSupported if the model has no graph for the operation.
    """
    runner = model.runners.get(operation)
    if runner is None:
        supported = ", ".join(model.runners)
        raise OperationNotSupported(f"{model.card.name} {model.card.version} supports {supported}")
    groups = runner.scheduler.submission_groups(inputs)
    if len(groups) == 1 and len(groups[0]) == 1:
        return await _run_itemwise(runner.scheduler, groups[0][0])
    results: list[InferenceResult] = []
    for group in groups:
        results += await asyncio.gather(*(_run_itemwise(runner.scheduler, array) for array in group))
    return InferenceResult(
        outputs=[output for result in results for output in result.outputs],
        queue_seconds=max((result.queue_seconds for result in results), default=0.0),
        run_seconds=sum(result.run_seconds for result in results),
    )


@dataclass(slots=True)
class ItemResult:
    """One item to compute figures of: the card of the model, the input, the output, and the error between them.

    `visible` says which pixels are not fully transparent (bool H,W), if some are.
    """

    card: Card
    inputs: Array
    output: Array
    error: ErrorFunction
    visible: Array | None = None


def reconstruct_figures(item: ItemResult) -> Figures:
    """Return `mse`, `psnr` in dB (images only) and `error_percentile` (0..100) of a reconstruction.

    With a threshold in the card, `unusual` says whether the error is above it.
    """
    mse = item.error()
    figures = {"mse": mse}
    if item.output.dtype == np.uint8:
        figures["psnr"] = float("inf") if mse == 0 else float(-10 * np.log10(mse))
    figures["error_percentile"] = error_percentile(item.card, mse)
    if item.card.threshold is not None:
        figures["unusual"] = mse > item.card.threshold.error
    return figures


def denoise_figures(item: ItemResult) -> Figures:
    """Return `noise_sigma`, the estimated standard deviation of the noise, on the 0..1 scale for images.

    For models that take images of any size, it is estimated from the input image. For vectors, and images too small for
    that, it is the root mean square of the difference between input and output.
    """
    sigma = noise_level.estimate_sigma(item.inputs, item.visible) if item.card.any_size else None
    return {"noise_sigma": item.error() ** 0.5 if sigma is None else sigma}


FIGURES: Final[dict[Operation, Callable[[ItemResult], Figures]]] = {
    "reconstruct": reconstruct_figures,
    "denoise": denoise_figures,
}
"""The functions that compute figures. The other operations have none."""


def compute_figures(operation: Operation, item: ItemResult) -> Figures:
    """Return the figures of one output of an operation, or an empty dict if it has none."""
    compute = FIGURES.get(operation)
    return compute(item) if compute else {}


def blend(result: InferenceResult, inputs: Sequence[Array], strength: float) -> None:
    """Replace each output by `strength` * output + (1 - `strength`) * input, rounded for images.

    `strength` is 0..1. `inputs` are the arrays (N first) that were run.
    """
    items = [item for array in inputs for item in array]
    result.outputs = [
        output if isinstance(output, Problem) else _blend_item(item, output, strength)
        for item, output in zip(items, result.outputs, strict=True)
    ]
    result.batch_result = None


def _blend_item(inputs: Array, output: Array, strength: float) -> Array:
    """Blend one item block by block, so that a large image is not copied to floats as a whole."""
    blended = np.empty(output.shape, output.dtype)
    flat_blended = blended.reshape(-1)
    flat_inputs = inputs.reshape(-1)
    flat_output = output.reshape(-1)
    for start in range(0, flat_blended.size, BLOCK_SIZE):
        block = slice(start, start + BLOCK_SIZE)
        values = np.float32(1 - strength) * flat_inputs[block] + np.float32(strength) * flat_output[block]
        flat_blended[block] = np.rint(values) if output.dtype == np.uint8 else values
    return blended


def mean_squared_errors(inputs: Array, outputs: Array) -> Array:
    """Return the mean squared error of each item (N first) as float64 of shape N.

    It is on the 0..1 scale for uint8 images, and on the scale of the data for vectors.
    """
    count = len(inputs)
    flat_inputs = inputs.reshape(count, -1)
    flat_outputs = outputs.reshape(count, -1)
    size = flat_inputs.shape[1]
    is_image = outputs.dtype == np.uint8
    dtype = np.float32 if is_image else np.float64  # the square of a float32 value of a vector may overflow
    if flat_inputs.size <= BLOCK_SIZE:
        errors = _sums_of_squares(flat_inputs, flat_outputs, dtype).astype(np.float64)
    else:
        errors = np.zeros(count)
        block_items = max(1, BLOCK_SIZE // size)
        for first in range(0, count, block_items):
            for start in range(0, size, BLOCK_SIZE):
                block = slice(first, first + block_items), slice(start, start + BLOCK_SIZE)
                errors[block[0]] += _sums_of_squares(flat_inputs[block], flat_outputs[block], dtype)
    return errors / (size * (255**2 if is_image else 1))


def _sums_of_squares(inputs: Array, outputs: Array, dtype: type[np.floating]) -> Array:
    """Return the sum over each row of the squared differences, as `dtype` of shape N."""
    difference = np.subtract(inputs, outputs, dtype=dtype)
    return np.einsum("ij,ij->i", difference, difference)


def error_percentile(card: Card, error: float) -> float:
    """Return the percentage (0..100) of held-out inputs whose mean squared error is smaller than `error`.

    `error` has the scale of `Card.error_percentiles`.
    """
    percentiles = card.error_percentiles or [0.0] * 101
    return float(np.interp(error, percentiles, np.arange(101.0)))


async def _run_itemwise(scheduler: Scheduler, array: Array) -> InferenceResult:
    """Run an array. If it fails, run its items one by one. Items that fail or are not finite become problems."""
    try:
        result = await scheduler.submit(array)
    except InferenceError as error:
        if len(array) == 1:
            log.error("inference_failed", reason=str(error))
            return InferenceResult([InternalError("the model failed on this item")])
        parts = [await _run_itemwise(scheduler, array[index : index + 1]) for index in range(len(array))]
        return InferenceResult([part.outputs[0] for part in parts])
    outputs = result.outputs
    batch = result.batch
    if batch.finite is None:
        batch.finite = outputs.dtype == np.uint8 or bool(np.isfinite(batch.outputs).all())
    if batch.finite or np.isfinite(outputs).all():  # values that are not finite may belong to another request
        return InferenceResult(outputs, result.queue_seconds, result.run_seconds, result)
    problem = InvalidArray("the output of the model for this item is not finite")
    return InferenceResult(
        [output if np.isfinite(output).all() else problem for output in outputs],
        result.queue_seconds,
        result.run_seconds,
    )
