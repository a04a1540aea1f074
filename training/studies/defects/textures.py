"""Textures, generated or photographed, and scratches and stains on them whose places are known."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from training.data.folder import read_pictures

SIDE = 64
"""Side of a texture in pixels."""
PHOTOGRAPHS = ("brick", "gravel")
"""Photographs of scikit-image, in the public domain (CC0), of 512x512 pixels."""
TRAINING_ROWS = 384
"""Rows of a photograph, from the top, that training textures are cut from; test textures come from the rows below."""

Random = np.random.Generator
Floats = NDArray[np.float64]
Images = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Damage:
    """Damaged images, uint8 (N, H, W, 1), and where they are damaged: bool (N, H, W)."""

    images: Images
    masks: NDArray[np.bool_]

    @property
    def scratched(self) -> NDArray[np.bool_]:
        """Whether the defect of an image is a scratch (N,); otherwise it is a stain."""
        return np.arange(len(self.images)) % 2 == 0


@dataclass(frozen=True, slots=True)
class Texture:
    """Images of one texture, uint8 (N, H, W, 1): to train on, to test with, and damaged ones."""

    train: Images
    test: Images
    damaged: Damage


def textures(train: int, test: int, seed: int) -> dict[str, Texture]:
    """Return textures by name: `train` images to train on, `test` to test with, and as many damaged ones.

    The photographs are left out if scikit-image is not installed.
    """
    drawn: dict[str, Texture] = {}
    for name, draw in GENERATED.items():
        random = np.random.default_rng(seed)
        images = to_images([draw(random) for _ in range(train + 2 * test)])
        drawn[name] = Texture(images[:train], images[train : train + test], damage(images[train + test :], random))
    for name, photograph in find_photographs().items():
        random = np.random.default_rng(seed)
        images = crops(photograph[TRAINING_ROWS:], 2 * test, random)
        seen = crops(photograph[:TRAINING_ROWS], train, random)
        drawn[name] = Texture(seen, images[:test], damage(images[test:], random))
    return drawn


def woven(random: Random) -> Floats:
    """Return a plain weave whose threads differ in brightness and bend a little: (SIDE, SIDE) in about 0..1."""
    rows, columns = np.mgrid[:SIDE, :SIDE].astype(np.float64)
    down = rows + 0.6 * np.sin(columns / random.uniform(9, 15) + random.uniform(0, 6))
    right = columns + 0.6 * np.sin(rows / random.uniform(9, 15) + random.uniform(0, 6))
    period = random.uniform(5.5, 6.5)
    warp, weft = right / period + random.uniform(), down / period + random.uniform()
    brightness = 1 + 0.12 * random.normal(size=(2, SIDE))
    over = (np.floor(warp) + np.floor(weft)) % 2 == 0
    upper = 0.3 + 0.4 * np.abs(np.sin(np.pi * warp)) * brightness[0, np.floor(warp).astype(int)]
    lower = 0.2 + 0.4 * np.abs(np.sin(np.pi * weft)) * brightness[1, np.floor(weft).astype(int)]
    cloth = gaussian_filter(np.where(over, upper, lower), 0.5) * random.uniform(0.9, 1.1)
    return cloth + random.normal(scale=0.02, size=cloth.shape)


def brushed(random: Random) -> Floats:
    """Return brushed metal: streaks along the rows, and a soft sheen."""
    streaks = unit_field((0.6, 14.0), random)
    sheen = unit_field((24.0, 24.0), random)
    return 0.55 + 0.09 * streaks + 0.02 * sheen + random.normal(scale=0.02, size=(SIDE, SIDE))


def stone(random: Random) -> Floats:
    """Return cut stone: grains of two sizes."""
    return 0.5 + 0.1 * np.tanh(2 * unit_field((2.0, 2.0), random)) + 0.05 * unit_field((0.8, 0.8), random)


GENERATED: dict[str, Callable[[Random], Floats]] = {"woven": woven, "brushed": brushed, "stone": stone}


def unit_field(sigma: tuple[float, float], random: Random) -> Floats:
    """Return white noise blurred by `sigma` pixels vertically and horizontally, of unit variance: (SIDE, SIDE)."""
    reach = [round(4 * one) for one in sigma]
    field = gaussian_filter(random.normal(size=(SIDE + 2 * reach[0], SIDE + 2 * reach[1])), sigma)
    field /= field.std()
    return field[reach[0] : reach[0] + SIDE, reach[1] : reach[1] + SIDE]


def find_photographs() -> dict[str, Images]:
    """Return the grey photographs of scikit-image by name, uint8 (H, W, 1); none if it is not installed."""
    package = find_spec("skimage")
    if package is None or package.origin is None:
        return {}
    paths = {name: Path(package.origin).parent / "data" / f"{name}.png" for name in PHOTOGRAPHS}
    return {name: next(read_pictures([path], 0.0)) for name, path in paths.items() if path.is_file()}


def crops(image: Images, count: int, random: Random) -> Images:
    """Cut squares of SIDE pixels at random places: (count, SIDE, SIDE, C)."""
    tops = random.integers(0, image.shape[0] - SIDE + 1, count)
    lefts = random.integers(0, image.shape[1] - SIDE + 1, count)
    return np.stack([image[top : top + SIDE, left : left + SIDE] for top, left in zip(tops, lefts, strict=True)])


def damage(images: Images, random: Random) -> Damage:
    """Draw a scratch on every other image (N, H, W, 1), and a stain on the others.

    The drawing changes the brightness and keeps the texture below. A pixel counts as damaged where at least half of it
    is covered.
    """
    covers = np.stack([(scratch, stain)[number % 2](random) for number in range(len(images))])
    strengths = np.where(
        np.arange(len(images)) % 2 == 0,
        random.uniform(0.12, 0.35, len(images)),
        random.uniform(0.06, 0.2, len(images)),
    ) * random.choice([-1, 1], len(images))
    changed = images[..., 0] / 255 + covers * strengths[:, np.newaxis, np.newaxis]
    return Damage(to_images(changed), covers >= 0.5)


def scratch(random: Random) -> Floats:
    """Return the cover of a thin curve through three random points: (SIDE, SIDE) in 0..1."""
    start, middle, end = random.uniform(0.1 * SIDE, 0.9 * SIDE, (3, 2))
    step = np.linspace(0, 1, 4 * SIDE)[:, np.newaxis]
    curve = (1 - step) ** 2 * start + 2 * step * (1 - step) * middle + step**2 * end  # a Bézier curve
    places = np.moveaxis(np.mgrid[:SIDE, :SIDE], 0, -1)[:, :, np.newaxis]
    distance = np.sqrt(np.square(places - curve).sum(-1)).min(-1)
    return np.clip(random.uniform(0.6, 1.3) + 0.5 - distance, 0, 1)


def stain(random: Random) -> Floats:
    """Return the cover of a round spot with a wavy, soft edge: (SIDE, SIDE) in 0..1."""
    rows, columns = np.mgrid[:SIDE, :SIDE] - random.uniform(0.2 * SIDE, 0.8 * SIDE, (2, 1, 1))
    angle = np.arctan2(rows, columns)
    waves = sum(0.15 * random.normal() * np.cos(wave * angle + random.uniform(0, 6)) for wave in (1, 2, 3))
    radius = random.uniform(0.07, 0.16) * SIDE * (1 + waves)
    return np.clip((radius - np.hypot(rows, columns)) / 2 + 0.5, 0, 1)


def to_images(values: Floats | list[Floats]) -> Images:
    """Return grey values in 0..1 (N, H, W) as uint8 (N, H, W, 1); values outside are clipped."""
    return np.rint(np.clip(np.asarray(values), 0, 1) * 255).astype(np.uint8)[..., np.newaxis]
