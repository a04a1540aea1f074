"""Measurement of the study `photos`: real and Gaussian noise, removed by our models and by classical methods.

The metric is the PSNR of the output in 8 bits, averaged over the pictures. In the protocol `clipped`, the noisy picture
is clipped to 0..255 and rounded, as in a file. In `unclipped`, common in papers, it is not; the models still receive it
in 8 bits.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.data.folder import find_pictures, read_pictures
from training.data.photos import PhotosSection
from training.errors import DataError
from training.evaluation import metrics
from training.evaluation.metrics import to_uint8
from training.imaging.colour import LUMA
from training.studies.base.study import Results, Study
from training.studies.measures.classical_denoisers import Floats, Method, ResultCache, fast, slow
from training.studies.photos.figures import plot
from training.studies.photos.text import rows, summary
from training.workspace import PublishedModel, Workspace

Pixels = NDArray[np.uint8]

MODELS = ("photo", "photo-fast")
LEVELS = (15, 25, 50)
SUBSET_STRIDE = 20
"""The classical methods, of which one takes 20 s per picture, are measured on every SUBSET_STRIDE-th picture."""
CHANNELS = {"colour": 3, "grey": 1}
PROTOCOLS = ("clipped", "unclipped")
PAIR_SIDE = 512
"""Side in pixels of the pictures of real noise, which are used whole."""


def measure(workspace: Workspace) -> Results:
    """Measure our models on all pictures (`psnr`), all methods on a subset (`some`), our models on clean pictures."""
    models = {name: workspace.model(name) for name in MODELS}
    pictures = load_test_pictures(models["photo"], workspace.folder)
    ours = {"noisy input": _identity} | {name: _model_method(model) for name, model in models.items()}
    cache = ResultCache(workspace.runs / "photos" / "rivals.json")
    subset = range(0, len(pictures), SUBSET_STRIDE)
    results: Results = {"pictures": len(pictures), "some_pictures": len(subset), "psnr": {}, "some": {}}
    for colour, protocol, level in cases():
        case = f"{colour} {protocol} {level}"
        psnrs: dict[str, list[float]] = {name: [] for name in ours}
        classical: dict[str, list[float]] = {name: [] for name in fast() | slow()}
        for number, picture in enumerate(pictures):
            clean, noisy = noisy_pair(picture, number, colour, protocol, level)
            for name, method in ours.items():
                psnrs[name].append(psnr(method(noisy, level / 255), clean))
            if number in subset:
                for name, method in (fast() | slow()).items():
                    compute = _psnr_computation(method, noisy, level, clean)
                    classical[name].append(cache.get(f"{case} {number} {name}", compute))
        results["psnr"][case] = {name: float(np.mean(values)) for name, values in psnrs.items()}
        results["some"][case] = {
            name: float(np.mean([values[number] for number in subset])) for name, values in psnrs.items()
        }
        results["some"][case] |= {name: float(np.mean(values)) for name, values in classical.items()}
    return results | _clean_psnr(models, pictures) | _pairs_psnr(models["photo"], ours | fast(), workspace.folder)


def cases() -> Sequence[tuple[str, str, int]]:
    """Return all combinations of colour, protocol and noise level (standard deviation in grey levels of 255)."""
    return [(colour, protocol, level) for colour in CHANNELS for protocol in PROTOCOLS for level in LEVELS]


def load_test_pictures(model: PublishedModel, folder: Path | None) -> list[Pixels]:
    """Read the complete test pictures of the model's recipe, uint8 (H, W, 3) each.

    Raises:
        DataError: The recipe has no folder of test pictures.
    """
    section = model.recipe.data
    if not isinstance(section, PhotosSection) or section.test_path is None:
        raise DataError("the recipe names no folder of test pictures: set data.test_path")
    return list(read_pictures(find_pictures((folder or Path()) / section.test_path), 0.0, colour=True))


def noisy_pair(picture: Pixels, number: int, colour: str, protocol: str, level: int) -> tuple[Pixels, Floats]:
    """Return a clean picture uint8 (H, W, C) and the same with noise, float64 in 0..1 unless `unclipped`.

    `picture` is uint8 (H, W, 3), `level` the standard deviation in grey levels of 255. The seed of the noise
    is the number of the picture, the level and the channels, so that all methods get the same noise.
    """
    clean = picture if colour == "colour" else to_uint8(picture / 255 @ LUMA)[:, :, np.newaxis]
    random = np.random.default_rng([number, level, CHANNELS[colour]])
    noisy = clean / 255 + random.normal(0, level / 255, clean.shape)
    return clean, to_uint8(noisy) / 255 if protocol == "clipped" else noisy


def psnr(restored: Floats, clean: Pixels) -> float:
    """Return the PSNR in dB of a picture (H, W, C) in 0..1, rounded to 8 bits, against uint8 `clean`."""
    difference = to_uint8(restored).astype(np.float64) - clean
    return metrics.psnr(np.square(difference).mean() / 255**2)


def _identity(noisy: Floats, _: float) -> Floats:
    return noisy


def _psnr_computation(method: Method, noisy: Floats, level: int, clean: Pixels) -> Callable[[], float]:
    return lambda: psnr(method(noisy, level / 255), clean)


def _model_method(model: PublishedModel) -> Method:
    """Return the model as served, with 8 bits in and out. Grey pictures are repeated to 3 channels and back."""
    run = model.graphs["denoise"]

    def denoise(noisy: Floats, _: float) -> Floats:
        colour = np.repeat(to_uint8(noisy), 3 // noisy.shape[2], axis=2)
        restored = run(colour[np.newaxis])[0] / 255
        return restored if noisy.shape[2] == 3 else (restored @ LUMA)[:, :, np.newaxis]

    return denoise


def _clean_psnr(models: Mapping[str, PublishedModel], pictures: Sequence[Pixels]) -> dict[str, Any]:
    """Return the mean PSNR of each model's output for clean pictures."""
    return {
        "clean": {
            name: float(np.mean([psnr(_model_method(model)(picture / 255, 0.0), picture) for picture in pictures]))
            for name, model in models.items()
        }
    }


def _pairs_psnr(model: PublishedModel, methods: Mapping[str, Method], folder: Path | None) -> dict[str, Any]:
    """Return the mean PSNR of each method on the even pairs of the model's recipe, which chose no weights.

    Returns nothing if they are not in the data folder.
    """
    section = model.recipe.data
    if not isinstance(section, PhotosSection) or section.pairs is None:
        return {}
    pairs = section.pairs.model_copy(update={"part": "even", "side": PAIR_SIDE}).read(folder)
    if pairs is None:
        return {}
    scenes = [(noisy / 255, clean) for noisy, clean in zip(pairs.noisy, pairs.clean, strict=True)]
    return {
        "pairs": {
            name: float(np.mean([psnr(method(noisy, 0.0), clean) for noisy, clean in scenes]))
            for name, method in methods.items()
        }
    }


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
