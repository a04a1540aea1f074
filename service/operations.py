"""encode, decode, reconstruct, denoise: what each asks of a model and says of its answer. Knows arrays, not bytes."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from service.batcher import Batcher, RunFailed
from service.card import Card, Operation
from service.errors import InternalError, InvalidArray, OperationNotOffered, Problem
from service.store import Autoencoder

Array = NDArray[Any]


@dataclass(slots=True)
class Outcome:
    """For every item its output or its problem, and figures by name beside; the seconds waited and run."""

    outputs: list[Array | Problem]
    queue: float = 0.0
    run: float = 0.0
    batch: Array | None = None  # all outputs in one array, where they came as one
    figures: list[dict[str, float]] = field(default_factory=list[dict[str, float]])


async def encode(model: Autoencoder, inputs: Sequence[Array]) -> Outcome:
    """Codes, float32."""
    return await _run(model, "encode", inputs)


async def decode(model: Autoencoder, inputs: Sequence[Array]) -> Outcome:
    """Pictures (uint8) or vectors of codes."""
    return await _run(model, "decode", inputs)


async def reconstruct(model: Autoencoder, inputs: Sequence[Array]) -> Outcome:
    """Pictures or vectors through the code and back; with `mse`, `psnr` (pictures) and `percentile`."""
    outcome = await _run(model, "reconstruct", inputs)
    errors = _squared_errors(inputs, outcome)
    for figures, error, pixels in zip(outcome.figures, errors, _is_picture(outcome), strict=True):
        figures["mse"] = error
        if pixels:
            figures["psnr"] = float("inf") if error == 0 else float(-10 * np.log10(error))
        figures["percentile"] = percentile(model.card, error)
    return outcome


async def denoise(model: Autoencoder, inputs: Sequence[Array]) -> Outcome:
    """Pictures or vectors without their noise; `noise_sigma` is the root mean square of what was removed."""
    outcome = await _run(model, "denoise", inputs)
    for figures, error in zip(outcome.figures, _squared_errors(inputs, outcome), strict=True):
        figures["noise_sigma"] = float(np.sqrt(error))
    return outcome


OPERATIONS: Final[dict[Operation, Callable[[Autoencoder, Sequence[Array]], Awaitable[Outcome]]]] = {
    "encode": encode,
    "decode": decode,
    "reconstruct": reconstruct,
    "denoise": denoise,
}


def percentile(card: Card, error: float) -> float:
    """Share (0..100) of held-out inputs that reconstruct with a smaller mean squared error."""
    known = card.error_percentiles or [0.0] * 101
    return float(np.interp(error, known, np.arange(101.0)))


async def _run(model: Autoencoder, operation: Operation, inputs: Sequence[Array]) -> Outcome:
    """Every input array (N first) through the operation's graph, item by item where a whole array fails."""
    runner = model.runners.get(operation)
    if runner is None:
        offers = ", ".join(model.runners)
        raise OperationNotOffered(f"{model.card.name} {model.card.version} offers {offers}")
    done = await asyncio.gather(*(_each(runner.batcher, array) for array in inputs))
    outputs = [output for part in done for output in part.outputs]
    return Outcome(
        outputs=outputs,
        figures=[{} for _ in outputs],
        queue=max((part.queue for part in done), default=0.0),
        run=sum(part.run for part in done),
        batch=done[0].batch if len(done) == 1 else None,
    )


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
    if outputs.dtype != np.uint8 and not np.isfinite(outputs).all():
        return Outcome([_finite(output) for output in outputs], done.queue, done.run)
    return Outcome(list(outputs), done.queue, done.run, outputs)


def _finite(output: Array) -> Array | Problem:
    return output if np.isfinite(output).all() else InvalidArray("the model has no finite answer for these numbers")


def _squared_errors(inputs: Sequence[Array], outcome: Outcome) -> list[float]:
    """Mean squared error of every item on the 0..1 scale; 0 for failed ones."""
    scale = 255.0 if inputs and inputs[0].dtype == np.uint8 else 1.0
    if outcome.batch is not None:
        gap = inputs[0].astype(np.float32) - outcome.batch
        gap *= gap
        return (gap.reshape(len(gap), -1).mean(axis=1, dtype=np.float64) / scale**2).tolist()
    items = [item for array in inputs for item in array]
    return [
        0.0 if isinstance(output, Problem) else float(np.mean(np.square((item - output.astype(np.float64)) / scale)))
        for item, output in zip(items, outcome.outputs, strict=True)
    ]


def _is_picture(outcome: Outcome) -> list[bool]:
    return [not isinstance(output, Problem) and output.dtype == np.uint8 for output in outcome.outputs]
