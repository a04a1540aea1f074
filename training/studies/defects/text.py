"""The table and the answer of the study `defects`."""

from collections.abc import Sequence

import numpy as np

from training.studies.base.study import Results, Row

KINDS = {
    "image": "image AUROC (largest value of the map)",
    "pixel": "pixel AUROC",
    "overlap": "per-region overlap (PRO up to a false positive rate of 0.3)",
}

HARD = 0.7
"""Image AUROC that no method reaches on a texture that is named as hard."""


def rows(results: Results) -> Sequence[Row]:
    """Return the scores on each texture; the target is PCA."""
    table: list[Row] = []
    for name, one in results["textures"].items():
        scores = one["scores"]
        for kind, label in KINDS.items():
            reference = "; ".join(
                f"{method}: {scores[method][kind]:.3f}" for method in ("pca", "nearest patch", "random")
            )
            target = round(scores["pca"][kind], 3)
            table.append(Row(f"{name}: {label}", scores["net"][kind], reference, target=target, higher_is_better=True))
        reference = f"pca: {scores['pca']['mean']:.3f}"
        table.append(Row(f"{name}: image AUROC (mean error, as in `unusual`)", scores["net"]["mean"], reference))
    return table


def mean_of(results: Results, method: str, kind: str) -> float:
    """Return a score of a method, averaged over the textures."""
    return float(np.mean([one["scores"][method][kind] for one in results["textures"].values()]))


def summary(results: Results) -> str:
    """Return the answer as text."""
    names = list(results["textures"])
    net, pca, nearest, random = (
        {kind: mean_of(results, method, kind) for kind in KINDS} for method in ("net", "pca", "nearest patch", "random")
    )
    behind = [
        name
        for name, one in results["textures"].items()
        if one["scores"]["net"]["image"] < one["scores"]["nearest patch"]["image"]
    ]
    compared = f"It is behind the nearest patch on {_listed(behind)}." if behind else "It is ahead on every texture."
    best = {
        name: max(one["scores"][method]["image"] for method in ("net", "pca", "nearest patch"))
        for name, one in results["textures"].items()
    }
    hard = [name for name, value in best.items() if value < HARD]
    if hard:
        compared += f" On {_listed(hard)} no method is above {max(best[name] for name in hard):.2f}."
    return (
        f"On average over {len(names)} textures ({_listed(names)}), the largest value of the map tells a damaged image "
        f"from an undamaged one with an AUROC of {net['image']:.3f}; PCA has {pca['image']:.3f}, the distance to the "
        f"nearest patch {nearest['image']:.3f}. {compared} The mean error of the image, on which `unusual` depends, "
        f"has {mean_of(results, 'net', 'mean'):.3f} (PCA {mean_of(results, 'pca', 'mean'):.3f}).\n\n"
        f"For single pixels the AUROC is {net['pixel']:.3f} (PCA {pca['pixel']:.3f}, nearest patch "
        f"{nearest['pixel']:.3f}, a random map {random['pixel']:.3f}), and the per-region overlap {net['overlap']:.3f} "
        f"({pca['overlap']:.3f}, {nearest['overlap']:.3f}, {random['overlap']:.3f}). Scratches are found with "
        f"{mean_of(results, 'net', 'scratch'):.3f}, stains with {mean_of(results, 'net', 'stain'):.3f}.\n\n"
        f"Each net of {results['parameters']:,} parameters saw {results['images']} undamaged images for "
        f"{next(iter(results['textures'].values()))['steps']:,} steps, with patches painted on them (`blemishes`), and "
        "the undamaged image as the target. The tested defects are drawn by "
        "other rules: thin curves, and soft spots that keep the texture below. PCA has the best of "
        "16, 32 and 64 components, chosen on the test images."
    )


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
