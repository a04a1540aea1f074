"""Measures denoisers on pairs of a noisy and a clean photograph of one scene: the real noise of cameras.

The recipe's odd pairs choose the best weights, so that scores are those of the even pairs, or of every fifth of them
for methods that take half a minute for a picture. No method knows the noise level: those that need it get an estimate.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from training.data.pairs import PairsSection
from training.evaluation.metrics import GraphFunction
from training.studies.base.study import Results
from training.studies.measures.classical_denoisers import Floats, Method, ResultCache, estimate_sigma
from training.studies.measures.scores import Pixels, Scores, mean_scores, psnr, score

SIDE = 512
"""Side in pixels of the pictures, which are used whole."""
SUBSET_STRIDE = 5
"""The other methods are measured on every SUBSET_STRIDE-th even pair."""
WORSE_DB = 0.1
"""A picture counts as worse than its input if its PSNR is lower by more than this."""
ESTIMATE_TOLERANCE = 0.25
"""An estimate of the noise level counts as true if it differs by at most this share."""

Scene = tuple[Pixels, Floats]
"""Clean picture uint8 (H, W, 3) and noisy picture in 0..1 of one scene."""


def measure_real_noise(
    section: PairsSection,
    folder: Path | None,
    ours: Mapping[str, Method],
    others: Mapping[str, Method],
    cache: ResultCache,
) -> Results:
    """Measure `ours` on the even pairs (`pairs`), all methods on a subset (`some_pairs`), the gain of `ours` (`gains`).

    Returns nothing if the pairs are not in the data folder.
    """
    scenes = read_scenes(section, folder)
    if not scenes:
        return {}
    even = {number: scenes[number] for number in range(1, len(scenes), 2)}
    inputs = [psnr(noisy, clean) for clean, noisy in scenes]
    gains = {
        name: [psnr(method(noisy, 0.0), clean) - before for (clean, noisy), before in zip(scenes, inputs, strict=True)]
        for name, method in ours.items()
    }
    scores = {name: [_score(method, scene) for scene in even.values()] for name, method in ours.items()}
    some = {name: mean_scores(values[::SUBSET_STRIDE]) for name, values in scores.items()}
    subset = dict(list(even.items())[::SUBSET_STRIDE])
    for name, method in others.items():
        cached = [cache.get(f"pair {number} {name}", _blind(method, scene)) for number, scene in subset.items()]
        some[name] = mean_scores(cached)
    return {
        "pairs": {name: mean_scores(values) for name, values in scores.items()},
        "some_pairs": some,
        "all_pairs": {"pairs": len(scenes), "noisy input": float(np.mean(inputs))},
        "gains": {name: _gain_summary(values) for name, values in gains.items()},
    }


def read_scenes(section: PairsSection, folder: Path | None) -> Sequence[Scene]:
    """Read all pairs of the recipe whole, in order of their names; none if they are not in the data folder."""
    pairs = section.model_copy(update={"part": "all", "side": SIDE}).read(folder)
    if pairs is None:
        return []
    return [(clean, noisy / 255) for noisy, clean in zip(pairs.noisy, pairs.clean, strict=True)]


def measure_estimates(scenes: Sequence[Scene], noise_maps: Mapping[str, GraphFunction]) -> Results:
    """Compare the noise level that each model estimates for the even scenes with the true one.

    `noise_maps` are the graphs that return the variance of the noise in each cell of a picture.
    """
    results: Results = {}
    for name, noise_map in noise_maps.items():
        ratios = [
            float(np.sqrt(noise_map(np.round(noisy * 255).astype(np.uint8)[np.newaxis]).mean(dtype=np.float64)))
            / float(np.sqrt(np.square(noisy - clean / 255).mean()))
            for clean, noisy in scenes[1::2]
        ]
        within = np.mean(np.abs(np.array(ratios) - 1) <= ESTIMATE_TOLERANCE)
        results[name] = {"median": float(np.median(ratios)), "within": float(within)}
    return {"estimates": results}


def _score(method: Method, scene: Scene) -> Scores:
    clean, noisy = scene
    return score(method(noisy, 0.0), clean)


def _blind(method: Method, scene: Scene) -> Callable[[], Scores]:
    """Return the scores of a method that gets an estimate of the noise level."""
    clean, noisy = scene
    return lambda: score(method(noisy, estimate_sigma(noisy)), clean)


def _gain_summary(gains: Sequence[float]) -> dict[str, float]:
    """Return the mean and the smallest gain in PSNR over all pairs, and the number of pairs that are worse."""
    values = np.array(gains)
    return {"mean": float(values.mean()), "smallest": float(values.min()), "worse": int((values < -WORSE_DB).sum())}
