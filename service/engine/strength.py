"""How much noise is removed: less or more than the model chooses, by a factor or by the level of the noise.

To remove less, the output is blended with the input. To remove more, a model with the control `strength` gets it as an
input, and for other models the part that was removed is multiplied.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from service.card import STRENGTH_CONTROL, Card
from service.engine.model import LoadedModel
from service.engine.noise_level import mean_sigma
from service.engine.operations import BLOCK_SIZE, InferenceResult, run
from service.engine.queue import DEFAULT_OPTIONS, QueueOptions
from service.errors import InvalidParameter, Problem
from service.types import Array

MIN_SIGMA = 0.25  # estimates of the noise below this, in grey levels, count as this


class Removal(NamedTuple):
    """How much noise to remove.

    `strength` is a factor, from 0 (nothing is removed) over 1 (what the model chooses) to 2. `sigma` is the standard
    deviation of the noise in grey levels of the scale 0..255; without it the model estimates the noise.
    """

    strength: float = 1.0
    sigma: float | None = None

    @property
    def runs(self) -> int:
        """Largest number of runs that it takes."""
        return 1 if self.sigma is None else 2


DEFAULT_REMOVAL = Removal()


@dataclass(slots=True)
class DenoisedItems:
    """Outputs that still have to be blended with their inputs: `weights` of the outputs, one for each item."""

    result: InferenceResult
    weights: Sequence[float] = field(default_factory=list[float])


def check_removal(removal: Removal, card: Card) -> None:
    """Raise InvalidParameter if a level of noise is given and the model cannot use it."""
    if removal.sigma is not None and not (card.noise_map and max_strength(card) > 1):
        raise InvalidParameter(
            f"sigma: the model {card.name} cannot be given the level of the noise; use strength, or another model"
        )


def max_strength(card: Card) -> float:
    """Return the largest value of the control `strength` of a model, or 1 if the model has no such control."""
    return max([1.0, *(control.maximum for control in card.controls if control.name == STRENGTH_CONTROL)])


async def run_denoise(
    model: LoadedModel, inputs: Sequence[Array], removal: Removal, options: QueueOptions = DEFAULT_OPTIONS
) -> DenoisedItems:
    """Run the `denoise` graph on arrays (N first), so that `blend` gives the images with the requested removal.

    If the level of the noise is given, a first run estimates the noise of each image, and images with less noise than
    that run again with more strength.
    """
    limit = max_strength(model.card)
    count = sum(map(len, inputs))
    if removal.sigma is None:
        strength = min(max(removal.strength, 1.0), limit)
        result = await run(model, "denoise", inputs, {STRENGTH_CONTROL: [strength] * count}, options)
        return DenoisedItems(result, [removal.strength / strength] * count)
    result = await run(model, "denoise", inputs, options=options)
    level = removal.sigma * removal.strength
    strengths = [min(level / estimate, limit) for estimate in _estimates(result, model.card)]
    outputs = list(result.outputs)
    again = [at for at, strength in enumerate(strengths) if strength > 1 and not isinstance(outputs[at], Problem)]
    if again:
        items = [item[np.newaxis] for array in inputs for item in array]
        controls = {STRENGTH_CONTROL: [strengths[at] for at in again]}
        second = await run(model, "denoise", [items[at] for at in again], controls, options.without_timeout())
        for at, output in zip(again, second.outputs, strict=True):
            outputs[at] = output
        result.run_seconds += second.run_seconds
        result.queue_seconds += second.queue_seconds
    result.outputs, result.batch_result = outputs, None
    return DenoisedItems(result, [min(strength, 1.0) for strength in strengths])


def _estimates(result: InferenceResult, card: Card) -> list[float]:
    """Return the estimated standard deviation of the noise of each item in grey levels; infinite for failed items."""
    stride = card.stride or 1
    return [
        math.inf if cells is None else max(255 * mean_sigma(cells, stride), MIN_SIGMA) for cells in result.noise_maps
    ]


def blend(denoised: DenoisedItems, inputs: Sequence[Array]) -> None:
    """Replace each output by weight * output + (1 - weight) * input; images are rounded and limited to 0..255.

    `inputs` are the arrays (N first) that were run.
    """
    result = denoised.result
    items = [item for array in inputs for item in array]
    result.outputs = [
        output if isinstance(output, Problem) else _blend_item(item, output, weight)
        for item, output, weight in zip(items, result.outputs, denoised.weights, strict=True)
    ]
    result.batch_result = None


def _blend_item(inputs: Array, output: Array, weight: float) -> Array:
    """Blend one item block by block, so that a large image is not copied to floats as a whole."""
    if weight == 1:
        return output
    blended = np.empty(output.shape, output.dtype)
    flat_blended = blended.reshape(-1)
    flat_inputs = inputs.reshape(-1)
    flat_output = output.reshape(-1)
    for start in range(0, flat_blended.size, BLOCK_SIZE):
        block = slice(start, start + BLOCK_SIZE)
        values = np.float32(1 - weight) * flat_inputs[block] + np.float32(weight) * flat_output[block]
        flat_blended[block] = np.clip(np.rint(values), 0, 255) if output.dtype == np.uint8 else values
    return blended
