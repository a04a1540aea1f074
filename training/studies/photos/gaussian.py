"""Measures denoisers on photographs with Gaussian noise, clipped to 0..255 and rounded, as in a file."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from training.evaluation.metrics import to_uint8
from training.imaging.colour import LUMA
from training.studies.base.study import Results
from training.studies.measures.classical_denoisers import Floats, Method, ResultCache
from training.studies.measures.scores import Pixels, Scores, mean_scores, psnr, score

LEVELS = (15, 25, 50)
"""Standard deviations of the noise in grey levels of 255."""
CHANNELS = {"colour": 3, "grey": 1}
SUBSET_STRIDE = 40
"""The other methods, of which one takes 20 s per picture, are measured on every SUBSET_STRIDE-th picture."""


def measure_gaussian(
    pictures: Sequence[Pixels], ours: Mapping[str, Method], others: Mapping[str, Method], cache: ResultCache
) -> Results:
    """Measure the PSNR of `ours` on all pictures (`psnr`), and all scores of all methods on a subset (`some`)."""
    subset = range(0, len(pictures), SUBSET_STRIDE)
    results: Results = {"pictures": len(pictures), "psnr": {}, "some": {}}
    for colour, level in cases():
        case = f"{colour} {level}"
        pairs = [noisy_pair(picture, number, colour, level) for number, picture in enumerate(pictures)]
        results["psnr"][case] = {
            name: float(np.mean([psnr(method(noisy, level / 255), clean) for clean, noisy in pairs]))
            for name, method in ours.items()
        }
        results["some"][case] = {
            name: mean_scores([score(method(noisy, level / 255), clean) for clean, noisy in pairs[::SUBSET_STRIDE]])
            for name, method in ours.items()
        } | {
            name: mean_scores(
                [cache.get(f"{case} {number} {name}", _scores(method, *pairs[number], level)) for number in subset]
            )
            for name, method in others.items()
        }
    return results


def cases() -> Sequence[tuple[str, int]]:
    """Return all combinations of colour and noise level (standard deviation in grey levels of 255)."""
    return [(colour, level) for colour in CHANNELS for level in LEVELS]


def noisy_pair(picture: Pixels, number: int, colour: str, level: int) -> tuple[Pixels, Floats]:
    """Return a clean picture uint8 (H, W, C), and the same with noise, float64 in 0..1 in steps of 1/255.

    `picture` is uint8 (H, W, 3), `level` the standard deviation in grey levels of 255. The seed of the noise
    is the number of the picture, the level and the channels, so that all methods get the same noise.
    """
    clean = picture if colour == "colour" else to_uint8(picture / 255 @ LUMA)[:, :, np.newaxis]
    random = np.random.default_rng([number, level, CHANNELS[colour]])
    return clean, to_uint8(clean / 255 + random.normal(0, level / 255, clean.shape)) / 255


def _scores(method: Method, clean: Pixels, noisy: Floats, level: int) -> Callable[[], Scores]:
    return lambda: score(method(noisy, level / 255), clean)
