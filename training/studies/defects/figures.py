"""Figures of the study `defects`: damaged textures with their maps, and the scores of all methods."""

from collections.abc import Mapping

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from training.studies.base.packing import unpack
from training.studies.base.plot_style import COLOURS, add_grid, new_figure
from training.studies.base.study import Results

METHODS = {"net": "ours", "pca": "pca", "nearest patch": "classical", "random": "input"}
"""Colours of the methods."""
SCORES = {"image": "image: AUROC", "pixel": "pixel: AUROC", "overlap": "regions: PRO up to 0.3"}


def plot(results: Results) -> Mapping[str, Figure]:
    """Plot damaged textures beside the maps, and the scores as bars."""
    return {"maps": _maps(results), "scores": _scores(results)}


def _maps(results: Results) -> Figure:
    """Show damaged images, the places of the defects, and the maps of the net and of the nearest patch."""
    names = list(results["textures"])
    figure = new_figure("Damaged textures, where they are damaged, and the maps of two methods", 9.5, 0.8 * len(names))
    for axes, name in zip(np.atleast_1d(figure.subplots(len(names), 1)), names, strict=True):
        shown = {kind: unpack(one) for kind, one in results["textures"][name]["shown"].items()}
        parts = [colormaps["gray"](shown["damaged"][..., 0]), colormaps["gray"](shown["masks"].astype(float))]
        parts += [colormaps["inferno"](shown[method]) for method in ("net", "nearest patch")]
        axes.imshow(np.hstack([np.hstack(list(part)) for part in parts]))
        axes.set(xticks=[], yticks=[], ylabel=name)
        for border in range(1, len(parts)):
            axes.axvline(border * parts[0].shape[0] * parts[0].shape[2] - 0.5, color="white", linewidth=2)
    return figure


def _scores(results: Results) -> Figure:
    """Plot image AUROC, pixel AUROC and region overlap of every method on every texture."""
    figure = new_figure("How well defects are found", 9.5, 3.6)
    for axes, (score, title) in zip(figure.subplots(1, 3, sharey=True), SCORES.items(), strict=True):
        _bars(axes, results, score)
        axes.set_title(title, fontsize=10)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(METHODS))
    return figure


def _bars(axes: Axes, results: Results, score: str) -> None:
    add_grid(axes)
    places = np.arange(len(results["textures"]))
    for number, (method, colour) in enumerate(METHODS.items()):
        values = [one["scores"][method][score] for one in results["textures"].values()]
        axes.bar(places + 0.2 * (number - 1.5), values, 0.2, label=method, color=COLOURS[colour])
    axes.set_xticks(places, list(results["textures"]), rotation=30)
    axes.set_ylim(0, 1)
