"""Photographs under noise of known levels, by the field's protocols, our models beside the classical methods.

PSNR of the 8-bit answer, averaged over the pictures. `clipped`: the noisy picture is what a file can hold, cut to
0..255 and rounded. `unclipped`: as papers have it; a service that takes files cuts such noise on the way in.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.data.folder import find_pictures, read_pictures
from training.data.photos import PhotosSection
from training.errors import DataError
from training.evaluation.figures import to_uint8
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
"""The other methods, of which one takes a third of a minute a picture, are given each so many-th picture."""
CHANNELS = {"colour": 3, "grey": 1}
PROTOCOLS = ("clipped", "unclipped")


def measure(workspace: Workspace) -> Results:
    """`psnr`: of our models in every case, of all pictures; `some`: of all methods, of every so many-th picture."""
    models = {name: workspace.model(name) for name in MODELS}
    pictures = load_test_pictures(models["photo"], workspace.folder)
    ours = {"noisy input": _identity} | {name: _model_method(model) for name, model in models.items()}
    notes = ResultCache(workspace.runs / "photos" / "rivals.json")
    some = range(0, len(pictures), SUBSET_STRIDE)
    found: Results = {"pictures": len(pictures), "some_pictures": len(some), "psnr": {}, "some": {}}
    for colour, protocol, level in cases():
        case = f"{colour} {protocol} {level}"
        made: dict[str, list[float]] = {name: [] for name in ours}
        others: dict[str, list[float]] = {name: [] for name in fast() | slow()}
        for number, picture in enumerate(pictures):
            clean, given = noisy_pair(picture, number, colour, protocol, level)
            for name, method in ours.items():
                made[name].append(psnr(method(given, level / 255), clean))
            if number in some:
                for name, method in (fast() | slow()).items():
                    work = _psnr_computation(method, given, level, clean)
                    others[name].append(notes.get(f"{case} {number} {name}", work))
        found["psnr"][case] = {name: float(np.mean(all_)) for name, all_ in made.items()}
        found["some"][case] = {name: float(np.mean([all_[number] for number in some])) for name, all_ in made.items()}
        found["some"][case] |= {name: float(np.mean(all_)) for name, all_ in others.items()}
    return found | _clean_psnr(models, pictures)


def cases() -> Sequence[tuple[str, str, int]]:
    """Colour, protocol and level."""
    return [(colour, protocol, level) for colour in CHANNELS for protocol in PROTOCOLS for level in LEVELS]


def load_test_pictures(model: PublishedModel, folder: Path | None) -> list[Pixels]:
    """The whole pictures that the model's recipe keeps for validation: uint8 H,W,3."""
    section = model.recipe.data
    if not isinstance(section, PhotosSection) or section.test_path is None:
        raise DataError("the recipe names no folder of pictures for validation: set data.test_path")
    return list(read_pictures(find_pictures((folder or Path()) / section.test_path), 0.0, colour=True))


def noisy_pair(picture: Pixels, number: int, colour: str, protocol: str, level: int) -> tuple[Pixels, Floats]:
    """A clean picture in 8 bits and the same under noise that every method is given alike."""
    clean = picture if colour == "colour" else to_uint8(picture / 255 @ LUMA)[:, :, np.newaxis]
    random = np.random.default_rng([number, level, CHANNELS[colour]])
    noisy = clean / 255 + random.normal(0, level / 255, clean.shape)
    return clean, to_uint8(noisy) / 255 if protocol == "clipped" else noisy


def psnr(made: Floats, clean: Pixels) -> float:
    """In dB, of an answer rounded to 8 bits."""
    gap = to_uint8(made).astype(np.float64) - clean
    return float(-10 * np.log10(max(np.square(gap).mean() / 255**2, 1e-12)))


def _identity(noisy: Floats, _: float) -> Floats:
    return noisy


def _psnr_computation(method: Method, given: Floats, level: int, clean: Pixels) -> Callable[[], float]:
    return lambda: psnr(method(given, level / 255), clean)


def _model_method(model: PublishedModel) -> Method:
    """The model as callers meet it: 8 bits in and out; grey as three equal channels, whose answers are made grey."""
    run = model.graphs["denoise"]

    def denoise(noisy: Floats, _: float) -> Floats:
        colour = np.repeat(to_uint8(noisy), 3 // noisy.shape[2], axis=2)
        made = run(colour[np.newaxis])[0] / 255
        return made if noisy.shape[2] == 3 else (made @ LUMA)[:, :, np.newaxis]

    return denoise


def _clean_psnr(models: Mapping[str, PublishedModel], pictures: Sequence[Pixels]) -> dict[str, Any]:
    """What becomes of pictures without noise."""
    return {
        "clean": {
            name: float(np.mean([psnr(_model_method(model)(picture / 255, 0.0), picture) for picture in pictures]))
            for name, model in models.items()
        }
    }


STUDY = Study(
    name="photos",
    title="Photographs of any size",
    question="How much noise does a small net take out of a photograph, beside the methods that need no training?",
    command="hourglass-train study photos",
    measure=measure,
    rows=rows,
    plot=plot,
    summary=summary,
)
