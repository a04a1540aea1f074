"""Chooses a net for images: for those in a folder, which have any size, and for those in an array."""

from collections.abc import Callable

import numpy as np

from training.errors import DataError
from training.starter.draft import MIN_ITEMS, Choice, Draft, Table, Task, optimizer_table, variational_objective
from training.starter.survey import ImageSurvey

PHOTO_SIDES = (192, 128, 96, 64, 48)
"""Sides of the squares that photographs are cut into; the largest that nine of ten images hold is chosen."""
SIDES: dict[Task, int] = {"denoise": 64, "compress": 64, "embed": 32, "anomaly": 64, "generate": 32}
"""Longer side of images of different sizes, in pixels, for each task."""
MAX_NATIVE_SIDE = 64
"""Longer side up to which images that all have one size keep it."""
MUON: Table = {"name": Choice("muon", "a third of the steps of adamw for convolutional nets")}
NOISE: Table = {
    "kind": Choice("gaussian-blind", "noise of unknown level, so that one model removes weak and strong noise"),
    "high": Choice(0.2157, "up to 55 of 255 grey levels, as in publications"),
}


def denoise_draft(seen: ImageSurvey) -> Draft:
    """Return a denoiser for images of any size, trained on squares of photographs or on small images."""
    net = {
        "family": Choice("conv", "what noise is shows in the neighbourhood of a pixel"),
        "widths": Choice([24, 32, 48], "small enough to train and to run on a CPU"),
        "code": Choice(32),
        "skips": Choice(True, "details reach the output past the code"),
        "any_size": Choice(True, "the service then takes images of any size"),
        "residual": Choice(True, "predict the noise, not the image"),
        "output": Choice("linear", "which residual needs"),
    }
    loss = {"loss": Choice("log_mse", "weak noise counts as much as strong noise")}
    if seen.usable < 2:
        raise DataError(f"{seen.path} has one image that can be read: use at least 2, one of them for testing")
    if seen.source != "folder":
        items, values = _training_items(seen), seen.heights[0] * seen.widths[0]
        return Draft(
            _data(seen, "denoise"), net, loss, MUON | optimizer_table(3e-3, items, values, clip=True), items, NOISE
        )
    side = _square_side(seen)
    items = _squares(seen, side)
    crop = min(64, side)
    optimizer = MUON | optimizer_table(1e-3, items, crop * crop * 3, clip=True, validation=False, batch=16)
    augmentation = {
        "crop": Choice(crop, "another part of the square each time"),
        "flips": Choice(True, "noise has no direction: eight images from each"),
    }
    return Draft(_photo_data(seen, side), net, loss, optimizer, items, NOISE, augmentation)


def _photo_data(seen: ImageSurvey, side: int) -> Table:
    """Return the [data] table for squares of images at full resolution."""
    held = 0.1 if seen.usable >= MIN_ITEMS else round(1 / seen.usable, 2)
    return {
        "source": Choice("photos", "squares at full resolution, since noise does not survive resizing"),
        "paths": Choice([str(seen.path.absolute())]),
        "side": Choice(side, "nine of ten images hold a square of this side; smaller ones are skipped"),
        "test_side": Choice(side, "the square in the middle of the test images"),
        "test_fraction": Choice(held, "share of the images to measure with, never trained on"),
        "max_broken_fraction": _broken(seen),
    }


def _squares(seen: ImageSurvey, side: int) -> int:
    """Return the number of squares of the training images, extrapolated from the images that were looked at."""
    sizes = zip(seen.heights, seen.widths, strict=True)
    squares = sum(-(-height // side) * -(-width // side) for height, width in sizes if min(height, width) >= side)
    return max(1, round(0.9 * squares * seen.count / seen.looked_at))


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
    return Draft(_data(seen, "compress"), net, objective, optimizer_table(5e-4, items, values, decay=0.02), items)


def _embed(seen: ImageSurvey) -> Draft:
    items, values = _training_items(seen), _values(seen, "embed")
    net = {
        "family": Choice("dense", "its code is a plain list of numbers, as vector databases and classifiers take it"),
        "code": Choice(_code(items, values, 64), "few enough to search in, enough to tell the images apart"),
        "hidden": Choice([256 if items < 2000 else 512], "a smaller one for few images, which overfit"),
        "activation": Choice("gelu"),
    }
    objective = {"loss": Choice("bce", "trains faster than mse through a sigmoid")}
    return Draft(_data(seen, "embed"), net, objective, optimizer_table(1e-3, items, values, decay=0.02), items)


def _anomaly(seen: ImageSurvey) -> Draft:
    """Return a net that restores images on which patches were painted, as the recipe `defects` has it."""
    items, values = _training_items(seen), _values(seen, "anomaly")
    net = {
        "family": Choice("conv", "defects are local"),
        "widths": Choice([16, 32, 48], "small enough for a CPU"),
        "code": Choice(32),
        "skips": Choice(True, "an ordinary image comes back almost unchanged, so that small defects stand out"),
        "residual": Choice(True, "predict what does not belong to the image"),
        "output": Choice("linear", "which residual needs"),
    }
    noise = {"kind": Choice("blemishes", "painted patches instead of examples of defects, with the image as target")}
    optimizer = MUON | optimizer_table(3e-3, items, values, clip=True, batch=16)
    model = {"operations": Choice(["reconstruct"], "with map=true the error of every pixel")}
    return Draft(_data(seen, "anomaly"), net, {"loss": Choice("mse")}, optimizer, items, noise, model=model)


def _generate(seen: ImageSurvey) -> Draft:
    items, values = _training_items(seen), _values(seen, "generate")
    net = {
        "family": Choice("variational", "its code is held near the normal distribution, so that any draw decodes"),
        "code": Choice(_code(items, values, 32)),
        "hidden": Choice([256 if items < 2000 else 512], "a smaller one for few images, which overfit"),
    }
    return Draft(_data(seen, "generate"), net, variational_objective(0.01), optimizer_table(1e-3, items, values), items)


IMAGE_TASKS: dict[Task, Callable[[ImageSurvey], Draft]] = {
    "compress": _compress,
    "embed": _embed,
    "anomaly": _anomaly,
    "generate": _generate,
}


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
    if len(set(seen.heights)) == len(set(seen.widths)) == 1 and max(height, width) <= MAX_NATIVE_SIDE:
        return round(height), round(width)
    scale = min(1.0, SIDES[task] / max(height, width))
    return max(4, 4 * round(height * scale / 4)), max(4, 4 * round(width * scale / 4))


def _square_side(seen: ImageSurvey) -> int:
    """Return the largest of PHOTO_SIDES that nine of ten images hold. Raises DataError if there is none."""
    shorter = np.minimum(seen.heights, seen.widths)
    for side in PHOTO_SIDES:
        if np.mean(shorter >= side) >= 0.9:
            return side
    raise DataError(
        f"the images in {seen.path} are too small to learn denoising from (the median is {seen.median}): use images of "
        f"at least {PHOTO_SIDES[-1]} pixels each side"
    )


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
