"""Photographs under noise of known levels, by the field's protocols, our models beside the classical methods.

PSNR of the 8-bit answer, averaged over the pictures. `clipped`: the noisy picture is what a file can hold, cut to
0..255 and rounded. `unclipped`: as papers have it; a service that takes files cuts such noise on the way in.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.augmentation import LUMA
from training.data.folder import pictures_below, read_pictures
from training.data.photos import PhotosSection
from training.errors import DataError
from training.evaluation.figures import eight_bits
from training.studies.base.study import Results, Study
from training.studies.measures.classical_denoisers import Floats, Method, Notes, quick, slow
from training.studies.photos.figures import draw
from training.studies.photos.text import rows, words
from training.workspace import Model, Workshop

Pixels = NDArray[np.uint8]

MODELS = ("photo", "photo-fast")
LEVELS = (15, 25, 50)
EVERY = 20
"""The other methods, of which one takes a third of a minute a picture, are given each so many-th picture."""
COLOURS = {"colour": 3, "grey": 1}
PROTOCOLS = ("clipped", "unclipped")


def measure(workshop: Workshop) -> Results:
    """`psnr`: of our models in every case, of all pictures; `some`: of all methods, of every so many-th picture."""
    models = {name: workshop.model(name) for name in MODELS}
    pictures = validation(models["photo"], workshop.folder)
    ours = {"noisy input": _as_it_is} | {name: _served(model) for name, model in models.items()}
    notes = Notes(workshop.runs / "photos" / "rivals.json")
    some = range(0, len(pictures), EVERY)
    found: Results = {"pictures": len(pictures), "some_pictures": len(some), "psnr": {}, "some": {}}
    for colour, protocol, level in cases():
        case = f"{colour} {protocol} {level}"
        made: dict[str, list[float]] = {name: [] for name in ours}
        others: dict[str, list[float]] = {name: [] for name in quick() | slow()}
        for number, picture in enumerate(pictures):
            clean, given = pair(picture, number, colour, protocol, level)
            for name, method in ours.items():
                made[name].append(psnr(method(given, level / 255), clean))
            if number in some:
                for name, method in (quick() | slow()).items():
                    work = _measured(method, given, level, clean)
                    others[name].append(notes.get(f"{case} {number} {name}", work))
        found["psnr"][case] = {name: float(np.mean(all_)) for name, all_ in made.items()}
        found["some"][case] = {name: float(np.mean([all_[number] for number in some])) for name, all_ in made.items()}
        found["some"][case] |= {name: float(np.mean(all_)) for name, all_ in others.items()}
    return found | _clean(models, pictures)


def cases() -> Sequence[tuple[str, str, int]]:
    """Colour, protocol and level."""
    return [(colour, protocol, level) for colour in COLOURS for protocol in PROTOCOLS for level in LEVELS]


def validation(model: Model, folder: Path | None) -> list[Pixels]:
    """The whole pictures that the model's recipe keeps for validation: uint8 H,W,3."""
    section = model.recipe.data
    if not isinstance(section, PhotosSection) or section.validation is None:
        raise DataError("the recipe names no folder of pictures for validation: set data.validation")
    return list(read_pictures(pictures_below((folder or Path()) / section.validation), 0.0, colour=True))


def pair(picture: Pixels, number: int, colour: str, protocol: str, level: int) -> tuple[Pixels, Floats]:
    """A clean picture in 8 bits and the same under noise that every method is given alike."""
    clean = picture if colour == "colour" else eight_bits(picture / 255 @ LUMA)[:, :, np.newaxis]
    random = np.random.default_rng([number, level, COLOURS[colour]])
    noisy = clean / 255 + random.normal(0, level / 255, clean.shape)
    return clean, eight_bits(noisy) / 255 if protocol == "clipped" else noisy


def psnr(made: Floats, clean: Pixels) -> float:
    """In dB, of an answer rounded to 8 bits."""
    gap = eight_bits(made).astype(np.float64) - clean
    return float(-10 * np.log10(max(np.square(gap).mean() / 255**2, 1e-12)))


def _as_it_is(noisy: Floats, _: float) -> Floats:
    return noisy


def _measured(method: Method, given: Floats, level: int, clean: Pixels) -> Callable[[], float]:
    return lambda: psnr(method(given, level / 255), clean)


def _served(model: Model) -> Method:
    """The model as callers meet it: 8 bits in and out; grey as three equal channels, whose answers are made grey."""
    run = model.graphs["denoise"]

    def denoise(noisy: Floats, _: float) -> Floats:
        colour = np.repeat(eight_bits(noisy), 3 // noisy.shape[2], axis=2)
        made = run(colour[np.newaxis])[0] / 255
        return made if noisy.shape[2] == 3 else (made @ LUMA)[:, :, np.newaxis]

    return denoise


def _clean(models: Mapping[str, Model], pictures: Sequence[Pixels]) -> dict[str, Any]:
    """What becomes of pictures without noise."""
    return {
        "clean": {
            name: float(np.mean([psnr(_served(model)(picture / 255, 0.0), picture) for picture in pictures]))
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
    draw=draw,
    words=words,
)
