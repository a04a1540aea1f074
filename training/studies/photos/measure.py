"""Measurement of the study `photos`: real noise, Gaussian noise and no noise, by our models and by other methods.

Scores are of the output in 8 bits, averaged over the pictures. Our models see what a caller would send.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from training.data.folder import find_pictures, read_pictures
from training.data.photos import PhotosSection
from training.errors import DataError
from training.evaluation.metrics import to_uint8
from training.imaging.colour import LUMA
from training.studies.base.study import Results, Study
from training.studies.measures.classical_denoisers import Floats, Method, ResultCache, fast, slow
from training.studies.measures.scores import Pixels
from training.studies.photos.figures import plot
from training.studies.photos.gaussian import measure_gaussian
from training.studies.photos.noiseless import measure_noiseless
from training.studies.photos.real_noise import measure_estimates, measure_real_noise, read_scenes
from training.studies.photos.text import rows, summary
from training.workspace import PublishedModel, Workspace

MODELS = ("photo", "photo-fast")


def measure(workspace: Workspace) -> Results:
    """Measure our models on all pictures, and the other methods on the even pairs and on a subset of the others."""
    models = {name: workspace.model(name) for name in MODELS}
    section = _photos(models["photo"])
    pictures = load_test_pictures(section, workspace.folder)
    ours = {"noisy input": _identity} | {name: _model_method(model) for name, model in models.items()}
    others = fast() | slow()
    cache = ResultCache(workspace.runs / "photos" / "others.json")
    results = measure_gaussian(pictures, ours, others, cache)
    results |= measure_noiseless(pictures, {name: ours[name] for name in models})
    if section.pairs:
        results |= measure_real_noise(section.pairs, workspace.folder, ours, others, cache)
        noise_maps = {name: model.noise_map for name, model in models.items() if model.noise_map}
        results |= measure_estimates(read_scenes(section.pairs, workspace.folder), noise_maps)
    return results


def load_test_pictures(section: PhotosSection, folder: Path | None) -> Sequence[Pixels]:
    """Read the complete test pictures of a recipe, uint8 (H, W, 3) each.

    Raises:
        DataError: The recipe has no folder of test pictures.
    """
    if section.test_path is None:
        raise DataError("the recipe names no folder of test pictures: set data.test_path")
    return list(read_pictures(find_pictures((folder or Path()) / section.test_path), 0.0, colour=True))


def _photos(model: PublishedModel) -> PhotosSection:
    section = model.recipe.data
    if not isinstance(section, PhotosSection):
        raise DataError('the recipe does not read photographs: set data.source = "photos"')
    return section


def _identity(noisy: Floats, _: float) -> Floats:
    return noisy


def _model_method(model: PublishedModel) -> Method:
    """Return the model as served, with 8 bits in and out. Grey pictures are repeated to 3 channels and back."""
    run = model.graphs["denoise"]

    def denoise(noisy: Floats, _: float) -> Floats:
        colour = np.repeat(to_uint8(noisy), 3 // noisy.shape[2], axis=2)
        restored = run(colour[np.newaxis])[0] / 255
        return restored if noisy.shape[2] == 3 else (restored @ LUMA)[:, :, np.newaxis]

    return denoise


STUDY = Study(
    name="photos",
    title="Photographs of any size",
    question="How well does a small network denoise photographs, compared with methods that need no training?",
    command="hourglass-train study photos",
    measure=measure,
    rows=rows,
    plot=plot,
    summary=summary,
)
