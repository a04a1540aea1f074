"""encode, decode, reconstruct, denoise: what each asks of a model and says of its answers. Knows arrays, not bytes."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from service.batcher import Batcher, RunFailed
from service.card import Card, Operation
from service.errors import InternalError, InvalidArray, OperationNotOffered, Problem
from service.store import Autoencoder

Array = NDArray[Any]
Figures = dict[str, float]

BLOCK = 1 << 16  # numbers whose squared error is taken at once: their floats stay in the cache


@dataclass(slots=True)
class Outcome:
    """For every item its output or its problem; the seconds waited and run."""

    outputs: Sequence[Array | Problem] | Array
    queue: float = 0.0
    run: float = 0.0
    batch: Array | None = None  # all outputs in one array, where they came as one


async def run(model: Autoencoder, operation: Operation, inputs: Sequence[Array]) -> Outcome:
    """Every input array (N first) through the operation's graph, item by item where a whole array fails."""
    runner = model.runners.get(operation)
    if runner is None:
        offers = ", ".join(model.runners)
        raise OperationNotOffered(f"{model.card.name} {model.card.version} offers {offers}")
    if len(inputs) == 1:
        return await _each(runner.batcher, inputs[0])
    done = await asyncio.gather(*(_each(runner.batcher, array) for array in inputs))
    return Outcome(
        outputs=[output for part in done for output in part.outputs],
        queue=max((part.queue for part in done), default=0.0),
        run=sum(part.run for part in done),
    )


def encode(card: Card, given: Array, output: Array) -> Figures:  # noqa: ARG001
    """Codes, float32: they speak for themselves."""
    return {}


def decode(card: Card, given: Array, output: Array) -> Figures:  # noqa: ARG001
    """Pictures (uint8) or vectors of codes, with nothing to hold them against."""
    return {}


def reconstruct(card: Card, given: Array, output: Array) -> Figures:
    """Pictures or vectors through the code and back: `mse`, `psnr` (pictures) and `percentile`."""
    error = squared_error(given, output)
    figures = {"mse": error}
    if output.dtype == np.uint8:
        figures["psnr"] = float("inf") if error == 0 else float(-10 * np.log10(error))
    figures["percentile"] = percentile(card, error)
    return figures


def denoise(card: Card, given: Array, output: Array) -> Figures:  # noqa: ARG001
    """Pictures or vectors without their noise: `noise_sigma` is the root mean square of what was removed."""
    return {"noise_sigma": squared_error(given, output) ** 0.5}


OPERATIONS: Final[dict[Operation, Callable[[Card, Array, Array], Figures]]] = {
    "encode": encode,
    "decode": decode,
    "reconstruct": reconstruct,
    "denoise": denoise,
}


def squared_error(given: Array, output: Array) -> float:
    """Mean squared error of one item on the 0..1 scale (vectors: on their own)."""
    rows = max(1, BLOCK * len(given) // given.size)
    total = 0.0
    for at in range(0, len(given), rows):
        gap = np.subtract(given[at : at + rows], output[at : at + rows], dtype=np.float32)
        total += float(np.vdot(gap, gap))
    return total / (given.size * (255**2 if output.dtype == np.uint8 else 1))


def percentile(card: Card, error: float) -> float:
    """Share (0..100) of held-out inputs that reconstruct with a smaller mean squared error."""
    known = card.error_percentiles or [0.0] * 101
    return float(np.interp(error, known, np.arange(101.0)))


async def _each(batcher: Batcher, array: Array) -> Outcome:
    try:
        done = await batcher.submit(array)
    except RunFailed as error:
        if len(array) == 1:
            problem = InternalError("the model failed on this item")
            problem.__cause__ = error
            return Outcome([problem])
        parts = [await _each(batcher, array[at : at + 1]) for at in range(len(array))]
        return Outcome([part.outputs[0] for part in parts])
    outputs = done.outputs
    if outputs.dtype == np.uint8 or np.isfinite(outputs).all():
        return Outcome(outputs, done.queue, done.run, outputs)
    refused = InvalidArray("the model has no finite answer for these numbers")
    return Outcome([output if np.isfinite(output).all() else refused for output in outputs], done.queue, done.run)
