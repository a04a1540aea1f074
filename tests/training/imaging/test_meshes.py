"""Regular patterns over training images: what they cover, and that they repeat."""

import numpy as np
import torch

from training.augmentation import Augmentation
from training.imaging.meshes import add_mesh


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_mesh_has_one_dominant_period() -> None:
    peaks = []
    for seed in range(40):
        mesh = add_mesh(torch.full((1, 96, 96), 0.9), seeded(seed))[0].numpy()
        spectrum = np.abs(np.fft.rfft2(mesh - mesh.mean()))
        spectrum[:4, :4] = spectrum[-3:, :4] = 0  # the edge of the region that is covered
        peaks.append(spectrum.max() / np.median(spectrum))
    assert np.median(peaks) > 100  # white noise has about 4


def test_meshes_differ_and_stay_in_range() -> None:
    image = torch.rand(3, 64, 64, generator=seeded(0))
    meshes = [add_mesh(image, seeded(seed)) for seed in range(20)]
    assert all(mesh.shape == image.shape and mesh.min() >= 0 and mesh.max() <= 1 for mesh in meshes)
    assert len({round(float(mesh.mean()), 6) for mesh in meshes}) == 20
    assert torch.equal(meshes[3], add_mesh(image, seeded(3)))


def test_the_share_of_meshes_is_the_probability() -> None:
    images = torch.rand(400, 1, 16, 16, generator=seeded(1))
    changed = (Augmentation(meshes=0.25)(images, seeded(2)) != images).flatten(1).any(1)
    assert 70 < changed.sum() < 130
