"""Fills in the values of a recipe that depend on its data and on the length of the run."""

from dataclasses import dataclass
from math import prod

from training.data import Dataset
from training.nets import Operation
from training.objective import default_loss
from training.recipe import OptimizerSection, Recipe

STEP_BUDGET = 5000
"""Steps of a run whose recipe has no number of epochs."""
MAX_WARMUP, WARMUP_SHARE = 500, 20
"""The warm-up by default: at most MAX_WARMUP steps, and at most one in WARMUP_SHARE steps."""
MAX_BATCH, BATCHES, MAX_BATCH_VALUES = 256, 8, 1 << 21
"""The batch by default: at most MAX_BATCH items and MAX_BATCH_VALUES values; BATCHES of them in the training set."""
VERBS: dict[Operation, str] = {
    "encode": "encodes",
    "decode": "decodes",
    "reconstruct": "reconstructs",
    "denoise": "denoises",
}


@dataclass(frozen=True, slots=True)
class RunLength:
    """The batch and the length of a run."""

    batch: int
    epochs: int
    warmup: int


def complete(recipe: Recipe, data: Dataset) -> Recipe:
    """Return the recipe with every value that a run needs; those that it has already are kept."""
    length = run_length(recipe.optimizer, training_items(recipe.optimizer, data), prod(_item_shape(recipe, data)))
    optimizer = recipe.optimizer.model_copy(
        update={"batch": length.batch, "epochs": length.epochs, "warmup": length.warmup}
    )
    operations = recipe.operations
    verbs = " and ".join(VERBS[operation] for operation in operations)
    model = recipe.model.model_copy(
        update={
            "title": recipe.model.title or recipe.model.name,
            "description": recipe.model.description or f"A {recipe.family} autoencoder that {verbs} {data.name}.",
            "operations": operations,
        }
    )
    shape = data.train.shape[1:] if data.train.ndim == 2 else (data.train.shape[3], *data.train.shape[1:3])
    loss = recipe.objective.loss or default_loss(shape, sigmoid=recipe.net.has_sigmoid(shape))
    return recipe.model_copy(
        update={
            "model": model,
            "net": recipe.net.complete(shape),
            "objective": recipe.objective.model_copy(update={"loss": loss}),
            "optimizer": optimizer,
        }
    )


def run_length(config: OptimizerSection, items: int, values: int) -> RunLength:
    """Return the batch and the length of a run on so many training items with so many values each."""
    batch = config.batch or default_batch(items, values)
    steps_per_epoch = max(1, items // batch)
    epochs = config.epochs or max(1, round(STEP_BUDGET / steps_per_epoch))
    warmup = min(MAX_WARMUP, epochs * steps_per_epoch // WARMUP_SHARE) if config.warmup is None else config.warmup
    return RunLength(batch, epochs, warmup)


def default_batch(items: int, values: int) -> int:
    """Return the largest power of two that is a batch by default, at least 1."""
    largest = min(MAX_BATCH, items // BATCHES, MAX_BATCH_VALUES // values)
    return 1 << max(0, largest.bit_length() - 1)


def training_items(config: OptimizerSection, data: Dataset) -> int:
    """Return the number of items that are trained on, without those held out for validation."""
    return len(data.train) - round(config.validation_fraction * len(data.train))


def _item_shape(recipe: Recipe, data: Dataset) -> tuple[int, ...]:
    """Return the shape of an item of a batch, which may be cropped."""
    shape: tuple[int, ...] = data.train.shape[1:]
    crop = recipe.augmentation.crop
    return (crop, crop, *shape[2:]) if crop else shape
