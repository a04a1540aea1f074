"""Chooses the tables of a recipe for a task and for data that was looked at. Every choice has its reason."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from training.errors import DataError
from training.loop.plan import default_batch
from training.starter.survey import ImageSurvey, TableSurvey

Task = Literal["denoise", "compress", "embed", "anomaly", "generate"]

PHOTO_SIDES = (192, 128, 96, 64, 48)
"""Sides of the squares that photographs are cut into; the largest that nine of ten images hold is chosen."""
MIN_IMAGES = 10
"""Fewest images to learn a code from; a denoiser learns from two large photographs."""
SIDES: dict[Task, int] = {"denoise": 64, "compress": 64, "embed": 32, "anomaly": 64, "generate": 32}
"""Longer side of images of different sizes, in pixels, for each task."""
FEW_ROWS_PER_FEATURE = 20
"""Rows for each column below which a table gets a linear net."""
MAX_PATCH_SIDE = 64
MAX_RATIO = 10.0
"""Largest ratio of the deviations of columns for which noise of one level means the same for all."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The value of a key, and the reason for it, which is written beside it."""

    value: Any
    reason: str = ""


Table = dict[str, Choice]


@dataclass(frozen=True, slots=True)
class Draft:
    """The tables of a recipe before its length is known. `items` are the training items."""

    data: Table
    net: Table
    objective: Table
    optimizer: Table
    items: int
    corruption: Table = field(default_factory=dict)
    augmentation: Table = field(default_factory=dict)


def choose(task: Task, seen: ImageSurvey | TableSurvey) -> Draft:
    """Return the tables for a task. Raises DataError, with what to do, if the data does not suit the task."""
    if isinstance(seen, TableSurvey):
        return _table_draft(task, seen)
    if task == "denoise":
        return _denoise(seen)
    if seen.usable < MIN_IMAGES:
        raise DataError(
            f"{seen.path} has {seen.usable} different {'image' if seen.usable == 1 else 'images'} that can be read, "
            f"too few to learn a code from: use at least {MIN_IMAGES}, better some hundreds"
        )
    return IMAGE_TASKS[task](seen)


def _denoise(seen: ImageSurvey) -> Draft:
    """Return a denoiser for images of any size, trained on crops if the images are large."""
    noise = {
        "kind": Choice("gaussian-blind", "noise of unknown level, so that one model removes weak and strong noise"),
        "high": Choice(0.2157, "up to 55 of 255 grey levels, as in publications"),
    }
    net = {
        "family": Choice("conv", "what noise is shows in the neighbourhood of a pixel"),
        "widths": Choice([24, 32, 48], "small enough to train and to run on a CPU"),
        "code": Choice(32),
        "skips": Choice(True, "details reach the output past the code"),
        "any_size": Choice(True, "the service then takes images of any size"),
        "residual": Choice(True, "predict the noise, not the image: it starts from the input as it is"),
        "output": Choice("linear", "which residual needs"),
    }
    side = _square_side(seen) if seen.source == "folder" else None
    if side is None and seen.source == "folder":
        raise DataError(
            f"the images in {seen.path} are too small to learn denoising from (the median is {seen.median}): use "
            f"images of at least {PHOTO_SIDES[-1]} pixels each side"
        )
    if seen.usable < 2:
        raise DataError(f"{seen.path} has one image that can be read: use at least 2, one of them for testing")
    loss = {"loss": Choice("log_mse", "weak noise counts as much as strong noise")}
    if side is None:
        items = _training_items(seen)
        optimizer = _optimizer(2e-3, items, seen.heights[0] * seen.widths[0], clip=True)
        return Draft(_data(seen, "denoise"), net, loss, optimizer, items, noise)
    squares = sum(
        -(-height // side) * -(-width // side) for height, width in zip(seen.heights, seen.widths, strict=True)
    )
    items = max(1, round(0.9 * squares * seen.count / seen.looked_at))
    crop = min(64, side)
    held = 0.1 if seen.usable >= 10 else round(1 / seen.usable, 2)
    data = {
        "source": Choice(
            "photos", "images are cut into squares at full resolution, since noise does not survive resizing"
        ),
        "paths": Choice([str(seen.path.absolute())]),
        "side": Choice(side, "nine of ten images hold a square of this side; smaller ones are skipped"),
        "test_side": Choice(side, "the square in the middle of the test images"),
        "test_fraction": Choice(held, "share of the images to measure with, never trained on"),
        "max_broken_fraction": _broken(seen),
    }
    augmentation = {
        "crop": Choice(crop, "another part of the square each time"),
        "flips": Choice(True, "noise has no direction: eight images from each"),
    }
    optimizer = _optimizer(2e-3, items, crop * crop * 3, clip=True, validation=False, batch=16)
    return Draft(data, net, loss, optimizer, items, noise, augmentation)


def _compress(seen: ImageSurvey) -> Draft:
    items, values = _training_items(seen), _values(seen, "compress")
    net = {
        "family": Choice("compressive", "whole numbers for an entropy coder; it starts as PCA and improves on it"),
        "code": Choice(_code(items, values, 128), "units that are not worth their bits stay 0"),
        "hidden": Choice([256]),
        "quantization_step": Choice(0.5, "each number learns its own"),
        "output": Choice("linear", "as PCA, which it starts from"),
    }
    objective = {
        "loss": Choice("mse", "what PSNR measures"),
        "penalties": Choice({"rate": 0.01}, "a higher weight gives fewer bytes and worse images"),
    }
    return Draft(_data(seen, "compress"), net, objective, _optimizer(5e-4, items, values, decay=0.02), items)


def _embed(seen: ImageSurvey) -> Draft:
    items, values = _training_items(seen), _values(seen, "embed")
    net = {
        "family": Choice("dense", "its code is a plain list of numbers, as vector databases and classifiers take it"),
        "code": Choice(_code(items, values, 64), "few enough to search in, enough to tell the images apart"),
        "hidden": Choice([256 if items < 2000 else 512], "a smaller one for few images, which overfit"),
        "activation": Choice("gelu"),
    }
    objective = {"loss": Choice("bce", "trains faster than mse through a sigmoid")}
    return Draft(_data(seen, "embed"), net, objective, _optimizer(1e-3, items, values, decay=0.02), items)


def _anomaly(seen: ImageSurvey) -> Draft:
    items, values = _training_items(seen), _values(seen, "anomaly")
    net = {
        "family": Choice("conv", "defects are local: what the net cannot draw stands out in the error"),
        "widths": Choice([16, 32, 48], "small enough for a CPU"),
        "code": Choice(8, "a narrow code: a wide one would also copy what is unusual"),
    }
    objective = {"loss": Choice("bce", "trains faster than mse through a sigmoid")}
    return Draft(_data(seen, "anomaly"), net, objective, _optimizer(3e-3, items, values, clip=True), items)


def _generate(seen: ImageSurvey) -> Draft:
    items, values = _training_items(seen), _values(seen, "generate")
    net = {
        "family": Choice("variational", "its code is held near the normal distribution, so that any draw decodes"),
        "code": Choice(_code(items, values, 32)),
        "hidden": Choice([256 if items < 2000 else 512], "a smaller one for few images, which overfit"),
    }
    return Draft(_data(seen, "generate"), net, _variational_objective(0.01), _optimizer(1e-3, items, values), items)


IMAGE_TASKS: dict[Task, Callable[[ImageSurvey], Draft]] = {
    "compress": _compress,
    "embed": _embed,
    "anomaly": _anomaly,
    "generate": _generate,
}


def _table_draft(task: Task, seen: TableSurvey) -> Draft:
    """Return a dense net for the rows of a table."""
    rows = seen.rows - (seen.missing_rows if seen.missing == "drop" else 0)
    if rows < MIN_IMAGES:
        raise DataError(
            f"{seen.path} has {rows} rows that can be used, too few to learn from: use at least {MIN_IMAGES}"
        )
    if seen.features < 2:
        raise DataError(f"{seen.path} has one column of numbers, and a code cannot be smaller: use at least 2 columns")
    items = round(0.9 * rows)
    share = {"anomaly": 8, "compress": 4}.get(task, 2 if seen.features < 32 else 6)
    code = max(1, min(seen.features // share, 64, items // 4))
    few = items < FEW_ROWS_PER_FEATURE * seen.features and task != "generate"
    hidden = [] if few else [min(256, max(16, 4 * seen.features))]
    reason = f"{items} rows for {seen.features} columns are few: a linear code, as PCA finds it, overfits least"
    net = {
        "family": Choice("variational" if task == "generate" else "dense"),
        "code": Choice(code, _code_reason(task, seen.features)),
        "hidden": Choice(hidden, reason if few else ""),
        "activation": Choice("gelu"),
        "normalize": Choice("standard", "columns of different units count alike; the scale is part of the model"),
    }
    objective = {"loss": Choice("mse")}
    corruption: Table = {}
    if task == "generate":
        objective = _variational_objective(0.1)
    if task == "denoise":
        if seen.ratio > MAX_RATIO or seen.one_hot:
            raise DataError(
                f"the columns of {seen.path} have different scales, so that no noise is the same for all: choose the "
                "task embed or anomaly, or bring the columns to one scale"
            )
        sigma = float(f"{0.3 * seen.deviation:.3g}")
        corruption = {
            "kind": Choice("gaussian", "noise on every value"),
            "sigma": Choice(sigma, "a third of the standard deviation of the columns"),
            "clip": Choice(False, "the values may be outside 0..1"),
        }
    return Draft(
        _table_data(seen, task), net, objective, _optimizer(2e-3, items, seen.features, decay=0.01), items, corruption
    )


def _code_reason(task: Task, features: int) -> str:
    if task == "anomaly":
        return f"an eighth of {features} numbers: a narrow code copies nothing unusual"
    return f"of {features} numbers"


def _variational_objective(weight: float) -> Table:
    return {
        "loss": Choice("mse"),
        "penalties": Choice({"kl_prior": weight}, "lower: sharper reconstructions; higher: better random draws"),
    }


def _table_data(seen: TableSurvey, task: Task) -> Table:
    data = {"source": Choice("arrays"), "path": Choice(str(seen.path.absolute()))}
    if seen.drop:
        data["drop"] = Choice(list(seen.drop), "; ".join(f"{name}: {reason}" for name, reason in seen.drop.items()))
    if seen.label and task == "anomaly":
        reason = "ordinary rows only, here those of the most frequent class: change it if another one is ordinary"
        data["rows"] = Choice({seen.label: [seen.ordinary]}, reason)
    if seen.one_hot:
        data["categories"] = Choice("one-hot", "a column for each text")
    if seen.missing_rows:
        reason = (
            "few rows have missing values" if seen.missing == "drop" else "too many rows have some to leave them out"
        )
        data["missing"] = Choice(seen.missing, f"{reason} ({seen.missing_rows} of {seen.rows})")
    data["test_fraction"] = Choice(0.1, "share of the rows to measure with, never trained on")
    return data


def _data(seen: ImageSurvey, task: Task) -> Table:
    """Return the [data] table for images of one size, or fitted to one size."""
    data = {"source": Choice(seen.source), "path": Choice(str(seen.path.absolute()))}
    if seen.source == "folder":
        height, width = _fitted_size(seen, task)
        reason = f"the shape of the median image, {seen.median}; the service resizes in the same way"
        data |= {
            "height": Choice(height, reason),
            "width": Choice(width),
            "channels": Choice(
                1 if seen.grey else 3, "all images are grey" if seen.grey else "some images have colour"
            ),
            "max_broken_fraction": _broken(seen),
        }
    if seen.source != "idx":
        data["test_fraction"] = Choice(_held_out(seen.usable), "share of the images to measure with, never trained on")
    return data


def _broken(seen: ImageSurvey) -> Choice:
    share = len(seen.broken) / seen.looked_at
    return Choice(
        round(min(0.99, 1.5 * share + 0.01), 2), f"{len(seen.broken)} broken files were seen, and are skipped"
    )


def _held_out(count: int) -> float:
    return 0.1 if count >= 50 else 0.2


def _fitted_size(seen: ImageSurvey, task: Task) -> tuple[int, int]:
    """Return the height and width of the median image with the longer side of the task, or less, in steps of 4."""
    height, width = float(np.median(seen.heights)), float(np.median(seen.widths))
    if len(set(seen.heights)) == len(set(seen.widths)) == 1 and max(height, width) <= MAX_PATCH_SIDE:
        return round(height), round(width)
    scale = min(1.0, SIDES[task] / max(height, width))
    return max(4, 4 * round(height * scale / 4)), max(4, 4 * round(width * scale / 4))


def _square_side(seen: ImageSurvey) -> int | None:
    """Return the largest of PHOTO_SIDES that nine of ten images hold, or None."""
    shorter = np.minimum(seen.heights, seen.widths)
    return next((side for side in PHOTO_SIDES if np.mean(shorter >= side) >= 0.9), None)


def _values(seen: ImageSurvey, task: Task) -> int:
    height, width = (seen.heights[0], seen.widths[0]) if seen.source != "folder" else _fitted_size(seen, task)
    values = height * width * (1 if seen.grey else 3)
    if values > 1 << 16:
        raise DataError(
            f"the images in {seen.path} have {width}x{height} pixels, too many for a first net: save them as PNG files "
            "in a folder, which are resized, or write a recipe of your own"
        )
    return values


def _training_items(seen: ImageSurvey) -> int:
    return round(seen.usable * (1 - _held_out(seen.usable)))


def _code(items: int, values: int, largest: int) -> int:
    """Return the size of a code: not more numbers than a quarter of the images can fix, nor an eighth of the values."""
    return max(2, min(largest, items // 4, values // 8))


def _optimizer(
    lr: float,
    items: int,
    values: int,
    *,
    clip: bool = False,
    decay: float = 0.0,
    validation: bool = True,
    batch: int | None = None,
) -> Table:
    """Return the [optimizer] table without the number of epochs."""
    validates = validation and items >= MIN_IMAGES
    remaining = items - round(0.1 * items) if validates else items
    chosen = min(batch or 256, default_batch(remaining, values))
    optimizer = {
        "batch": Choice(chosen, f"{items} training items; at least 8 batches a pass, in little memory"),
        "lr": Choice(lr, "a common start for this family; lower it if the loss jumps"),
        "ema_decay": Choice(0.99, "publish an average of the last hundred steps"),
        "seed": Choice(1, "the same run again gives the same model"),
    }
    if clip:
        optimizer["grad_clip"] = Choice(1.0, "large gradients at the start would throw the net off")
    if decay:
        optimizer["weight_decay"] = Choice(decay, "against overfitting")
    if validates:
        optimizer["validation_fraction"] = Choice(0.1, "held out of the training items to choose the best weights by")
    return optimizer
