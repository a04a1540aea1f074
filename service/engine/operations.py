"""Runs the operations encode, decode, reconstruct and denoise on arrays, and computes the figures of their outputs."""

import asyncio
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise, repeat
from math import log10
from typing import Final

import numpy as np
import structlog

from service.card import Card, Operation
from service.engine import noise_level
from service.engine.model import LoadedModel
from service.engine.queue import DEFAULT_OPTIONS, QueueOptions
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

    `batch_result` is set if all outputs come from one submission and none is a problem. `noise_maps` is empty, or has
    the noise map of each item (h, w), None for a problem.
    """

    outputs: Sequence[Array | Problem] | Array
    queue_seconds: float = 0.0
    run_seconds: float = 0.0
    batch_result: BatchResult | None = None
    noise_maps: Sequence[Array | None] = ()

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


async def run(
    model: LoadedModel,
    operation: Operation,
    inputs: Sequence[Array],
    controls: Mapping[str, Sequence[float]] | None = None,
    options: QueueOptions = DEFAULT_OPTIONS,
) -> InferenceResult:
    """Run all input arrays (N first) through the graph of the operation.

    `controls` are values of the graph's controls by name, one for each item; others get their defaults. If an array
    fails, its items are run one by one, and the items that fail become problems. Raises OperationNotSupported if the
    model has no graph for the operation, and QueueTimeout if the arrays that are queued first wait longer than the
    timeout of the options.
    """
    runner = model.runners.get(operation)
    if runner is None:
        supported = ", ".join(model.runners)
        raise OperationNotSupported(f"{model.card.name} {model.card.version} supports {supported}")
    groups = runner.scheduler.submission_groups(inputs)
    values = runner.control_values(sum(map(len, inputs)), controls or {})
    if len(groups) == 1 and len(groups[0]) == 1:
        return await _run_itemwise(runner.scheduler, groups[0][0], values, options)
    results: list[InferenceResult] = []
    offset = 0
    for group in groups:
        stops = [offset, *accumulate(map(len, group), initial=offset)][1:]
        pieces = [None if values is None else values[start:stop] for start, stop in pairwise(stops)]
        offset = stops[-1]
        tasks = map(_run_itemwise, repeat(runner.scheduler), group, pieces, repeat(options))
        results += await asyncio.gather(*tasks)
        options = options.without_timeout()
    has_maps = any(result.noise_maps for result in results)
    return InferenceResult(
        outputs=[output for result in results for output in result.outputs],
        queue_seconds=max((result.queue_seconds for result in results), default=0.0),
        run_seconds=sum(result.run_seconds for result in results),
        noise_maps=[one for result in results for one in result.noise_maps or [None] * len(result.outputs)]
        if has_maps
        else (),
    )


@dataclass(slots=True)
class ItemResult:
    """One item to compute figures of: the card of the model, the input, the output, and the error between them.

    `visible` says which pixels are not fully transparent (bool H,W), if some are. `noise_map` is the variance of the
    noise in each cell (h, w), if the model estimates it.
    """

    card: Card
    inputs: Array
    output: Array
    error: ErrorFunction
    visible: Array | None = None
    noise_map: Array | None = None


def reconstruct_figures(item: ItemResult) -> Figures:
    """Return `mse`, `psnr` in dB (images only) and `error_percentile` (0..100) of a reconstruction.

    With a threshold in the card, `unusual` says whether the error is above it.
    """
    mse = item.error()
    figures = {"mse": mse}
    if item.output.dtype == np.uint8:
        figures["psnr"] = float("inf") if mse == 0 else -10 * log10(mse)
    figures["error_percentile"] = error_percentile(item.card, mse)
    if item.card.threshold is not None:
        figures["unusual"] = mse > item.card.threshold.error
    return figures


def denoise_figures(item: ItemResult) -> Figures:
    """Return `noise_sigma`, the estimated standard deviation of the noise, on the 0..1 scale for images.

    It is the model's own estimate, if the model has a noise map. For other models that take images of any size, it is
    estimated from the input image. For vectors, and images too small for that, it is the root mean square of the
    difference between input and output.
    """
    if item.noise_map is not None:
        return {"noise_sigma": noise_level.mean_sigma(item.noise_map, item.card.stride or 1, item.visible)}
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
    if not error < percentiles[-1]:
        return 100.0
    # As np.interp, which takes 20 times as long because it converts the list to an array.
    above = bisect_right(percentiles, error)
    if above == 0:
        return 0.0
    low, high = percentiles[above - 1], percentiles[above]
    return (error - low) / (high - low) + (above - 1)


async def _run_itemwise(
    scheduler: Scheduler, array: Array, controls: Array | None, options: QueueOptions
) -> InferenceResult:
    """Run an array with the values of its controls, float32 (N, controls).

    If it fails, run its items one by one. Items that fail or are not finite become problems.
    """
    try:
        result = await scheduler.submit(array, controls, options)
    except InferenceError as error:
        if len(array) == 1:
            log.error("inference_failed", reason=str(error))
            return InferenceResult([InternalError("the model failed on this item")])
        rest = options.without_timeout()
        parts = [
            await _run_itemwise(
                scheduler, array[at : at + 1], None if controls is None else controls[at : at + 1], rest
            )
            for at in range(len(array))
        ]
        return InferenceResult([part.outputs[0] for part in parts])
    outputs = result.outputs
    batch = result.batch
    if batch.finite is None:
        batch.finite = outputs.dtype == np.uint8 or bool(np.isfinite(batch.outputs).all())
    if batch.finite or np.isfinite(outputs).all():  # values that are not finite may belong to another request
        maps = () if result.noise_map is None else list(result.noise_map)
        return InferenceResult(outputs, result.queue_seconds, result.run_seconds, result, maps)
    problem = InvalidArray("the output of the model for this item is not finite")
    return InferenceResult(
        [output if np.isfinite(output).all() else problem for output in outputs],
        result.queue_seconds,
        result.run_seconds,
    )
