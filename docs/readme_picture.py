"""Draws the picture of the README: photographs with the noise of a camera, denoised by BM3D and by the model `photo`.

`python -m docs.readme_picture` writes docs/photos.jpg and prints the PSNR of each part; needs the extra `studies`. The
photographs are those that scikit-image ships; no model was trained on them. Real noisy photographs that may be shown
were not found: the noise is that of the corruption `camera`, with a fixed seed.
"""

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from docs.api_pages import ROOT
from training.corruption.camera import Camera
from training.export.publish import load_graphs
from training.studies.measures.classical_denoisers import estimate_sigma, slow
from training.studies.measures.scores import psnr

Pixels = NDArray[np.uint8]

OUT = ROOT / "docs/photos.jpg"
WIDTH, HEIGHT, GAP = 272, 210, 6


@dataclass(frozen=True, slots=True)
class Scene:
    """A part of a photograph, and the shot noise and the seed of its noise."""

    name: str
    left: int
    top: int
    shot: float
    seed: int


SCENES = (
    Scene("chelsea", 80, 60, 0.02, 3),
    Scene("coffee", 190, 70, 0.012, 5),
    Scene("astronaut", 120, 0, 0.003, 8),
)


def read(scene: Scene) -> Pixels:
    """Return the part of the photograph: uint8 (HEIGHT, WIDTH, 3)."""
    data: Any = import_module("skimage.data")
    photograph: Pixels = getattr(data, scene.name)()
    return photograph[scene.top : scene.top + HEIGHT, scene.left : scene.left + WIDTH, :3]


def add_noise(clean: Pixels, scene: Scene) -> Pixels:
    """Return the part with the noise of a camera."""
    camera = Camera(shot=(scene.shot, scene.shot), quality=(92, 92), resizing=0.0, rows=0.0, full_colour=0.0)
    batch = torch.from_numpy(clean).permute(2, 0, 1)[None].float().div(255)
    noisy = camera(batch, torch.Generator().manual_seed(scene.seed))
    return noisy[0].permute(1, 2, 0).mul(255).round().to(torch.uint8).numpy()


def main() -> None:
    """Write the picture."""
    denoise = load_graphs(max((ROOT / "models/photo").iterdir(), key=lambda path: int(path.name)))["denoise"]
    bm3d = slow()["BM3D"]
    columns: list[Pixels] = []
    for scene in SCENES:
        clean = read(scene)
        noisy = add_noise(clean, scene)
        estimated = bm3d(noisy / 255, estimate_sigma(noisy / 255)).clip(0, 1)
        parts = [noisy, np.round(estimated * 255).astype(np.uint8), denoise(noisy[np.newaxis])[0]]
        print(scene.name, *(f"{psnr(part / 255, clean):.1f} dB" for part in parts))
        columns.append(_stack(parts, 0))
    Image.fromarray(_stack(columns, 1)).save(OUT, quality=90, subsampling=0)


def _stack(parts: list[Pixels], axis: int) -> Pixels:
    """Join pictures with white gaps between them."""
    shape = list(parts[0].shape)
    shape[axis] = GAP
    gap = np.full(shape, 255, np.uint8)
    return np.concatenate([piece for part in parts for piece in (gap, part)][1:], axis)


if __name__ == "__main__":
    main()
