"""Images to try a model on: the user's own, or photographs that come with the package.

`photographs.jpg` beside this file is a sheet of 96 crops, 64x64 pixels each, of as many photographs: 14 of Ubuntu
Budgie's wallpapers (CC0 or public domain, as its README requires) and the 82 most saturated ones of the clothing
dataset (CC0 1.0), because gray images say nothing about the order of colours. They were reduced in size before, so that
they are free of noise, and are stored without chroma subsampling, so that red and blue have the same detail.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.data.arrays import read_arrays
from training.data.folder import FolderSection, find_pictures, read_folder, read_image, read_pictures
from training.errors import DataError

Array = NDArray[Any]
MAX_IMAGES = 64
"""Images of a folder that are read, evenly spaced in the order of their names."""
SHEET, SHEET_SIDE = Path(__file__).with_name("photographs.jpg"), 64
"""The sheet of photographs, and the side of each of its crops in pixels."""
LUMA = (0.299, 0.587, 0.114)
"""Weights of R, G and B in gray, of ITU-R BT.601."""


@dataclass(frozen=True, slots=True)
class Samples:
    """Images uint8 (H, W, C) of several sizes, and where they come from."""

    name: str
    images: Sequence[Array]

    def crops(self, count: int, height: int, width: int) -> Array:
        """Return `count` crops uint8 (count, height, width, C) at places that are the same in every run."""
        places = np.random.default_rng(0)
        crops: list[Array] = []
        for number in range(count):
            image = _at_least(self.images[number % len(self.images)], height, width)
            top, left = (
                int(places.integers(0, image.shape[axis] - side + 1)) for axis, side in enumerate((height, width))
            )
            crops.append(image[top : top + height, left : left + width])
        return np.stack(crops)


def read_samples(path: Path | None, channels: int, size: tuple[int, int] | None) -> Samples:
    """Read the images of a folder or an array file; those of a model of fixed size are resized to it.

    Without a path, return the photographs of the package and the two of scikit-learn. Raises DataError if there are
    none.
    """
    if path is None:
        return Samples("crops of the photographs of this package and of scikit-learn", _photographs(channels))
    path = path.expanduser()
    if path.is_file():
        items = read_arrays(path).train
        if items.ndim != 4 or items.shape[3] != channels:
            raise DataError(
                f"{path} holds items of shape {items.shape[1:]}, but the model takes {channels}-channel images"
            )
        return Samples(path.name, list(items[:MAX_IMAGES]))
    files = find_pictures(path)
    if size is None:
        spread = np.linspace(0, len(files) - 1, min(MAX_IMAGES, len(files))).round().astype(int)
        pictures = read_pictures([files[index] for index in spread], 0.5, colour=True)
        return Samples(path.name, [_in_channels(picture, channels) for picture in pictures])
    section = FolderSection.model_validate(
        {
            "source": "folder",
            "path": str(path),
            "height": size[0],
            "width": size[1],
            "channels": channels,
            "licence": "",
        }
    )
    return Samples(path.name, list(read_folder(path, section)))


def read_rows(path: Path, features: int) -> Array:
    """Read vectors float32 (N, features) from a table or array file. Raises DataError if they have another length."""
    rows = read_arrays(path.expanduser()).train
    if rows.ndim != 2 or rows.shape[1] != features:
        raise DataError(f"{path} holds items of shape {rows.shape[1:]}, but the model takes {features} numbers")
    return rows


def _photographs(channels: int) -> list[Array]:
    from sklearn.datasets import load_sample_images

    sheet = read_image(SHEET, set()).pixels
    if sheet is None:
        raise DataError(f"{SHEET} cannot be read: install the package again")
    rows, columns = (side // SHEET_SIDE for side in sheet.shape[:2])
    crops = (
        sheet.reshape(rows, SHEET_SIDE, columns, SHEET_SIDE, 3).swapaxes(1, 2).reshape(-1, SHEET_SIDE, SHEET_SIDE, 3)
    )
    return [_in_channels(image, channels) for image in [*load_sample_images().images, *crops]]


def _in_channels(image: Array, channels: int) -> Array:
    if image.shape[2] == channels:
        return image
    if channels == 3:
        return np.repeat(image, 3, axis=2)
    return np.rint(image @ np.array(LUMA))[..., np.newaxis].astype(np.uint8)


def _at_least(image: Array, height: int, width: int) -> Array:
    """Mirror an image at its edges until it has these sides."""
    missing = [max(0, side - image.shape[axis]) for axis, side in enumerate((height, width))]
    return np.pad(image, [(0, missing[0]), (0, missing[1]), (0, 0)], mode="symmetric") if any(missing) else image
