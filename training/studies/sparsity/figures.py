"""Plots of the study `sparsity`, from its results."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from training.studies.base.packing import unpack
from training.studies.base.plot_style import COLOURS, add_grid, new_figure, show_rows

LINES = {"no penalty": "-", "L1": "-", "KL": "--", "top-k": "-.", "lifetime": ":", "strokes": "-"}
"""Line styles of the variants. All sparse networks share a colour."""
WIDTHS = {"strokes": 2.6}
PUBLISHED = {"k-sparse, 1000 units: 1.35 %": 1.35, "convolutional winner-take-all: 0.64 %": 0.64}
"""Errors reported by Makhzani and Frey (2014, 2015), in %."""


def plot(results: dict[str, Any]) -> Mapping[str, Figure]:
    """Plot activity, units, probe errors with all and with few labels, and learning curves."""
    return {
        "activity": _activity(results),
        "units": _units(results["variants"]),
        "classes": _classes(results["probes"]),
        "labels": _labels(results["few"]),
        "curves": _curves(results["curves"]),
    }


def colour(name: str) -> str:
    """Return the colour of a variant, or of classical features."""
    keys = {"no penalty": "ours", "pixels": "input", "PCA-32": "pca", "strokes, untrained": "classical"}
    return COLOURS[keys.get(name, "sparse")]


def _activity(results: dict[str, Any]) -> Figure:
    """Plot the code of one digit in each network, and the fraction of the test digits that activate each unit."""
    variants = results["variants"]
    figure = new_figure("Active units: the code of one digit, and each unit's activity over the test set", 8.5, 5.6)
    grid = figure.add_gridspec(2, len(variants) + 1, height_ratios=(1, 1.9))
    cells = [figure.add_subplot(grid[0, column]) for column in range(len(variants) + 1)]
    _show(cells[0], unpack(results["digit"])[0, :, :, 0], "the digit", "28x28")
    for cell, (name, facts) in zip(cells[1:], variants.items(), strict=True):
        shape = "x".join(str(side) for side in facts["shape"])
        _show(cell, unpack(facts["code"]), name, f"{shape}\n{100 * facts['on']:.1f} % on")
    curve_axes = add_grid(figure.add_subplot(grid[1, :]))
    for name, facts in variants.items():
        shares = unpack(facts["shares"])
        ranks = np.linspace(0, 100, len(shares))
        curve_axes.plot(ranks, 100 * shares, color=colour(name), linestyle=LINES[name], lw=WIDTHS.get(name), label=name)
    curve_axes.set(xlabel="units of the code, most active first, %", ylabel="test digits that activate the unit, %")
    curve_axes.set(ylim=(0, 102), xlim=(0, 100))
    curve_axes.legend(fontsize=8)
    return figure


def _show(axes: Axes, picture: Any, title: str, below: str) -> None:
    axes.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes.set_title(title, fontsize=9)
    axes.set_xlabel(below, fontsize=8)
    axes.set(xticks=[], yticks=[])


def _units(variants: dict[str, Any]) -> Figure:
    figure = new_figure("Contribution of single units to the output, on grey", 8.5, 5.0)
    rows = {name: unpack(facts["draws"]) for name, facts in variants.items()}
    rows = {name: pictures for name, pictures in rows.items() if len(pictures)}
    show_rows(figure.subplots(), list(rows.values()), list(rows))
    return figure


def _classes(probes: dict[str, Any]) -> Figure:
    """Plot the error of the linear classifier on each kind of features."""
    figure = new_figure("Logistic regression on the codes of 60 000 digits", 7.0, 4.2)
    axes = add_grid(figure.subplots())
    names = sorted(probes, key=lambda name: -probes[name]["error"])
    bars = axes.barh(names, [probes[name]["error"] for name in names], color=[colour(name) for name in names])
    for (label, error), line in zip(PUBLISHED.items(), ("--", ":"), strict=True):
        axes.axvline(error, color=COLOURS["other"], linestyle=line, label=label, zorder=1.5)
    labels = [f"{probes[name]['error']:.2f} % ({probes[name]['size']} numbers)" for name in names]
    axes.bar_label(bars, labels, padding=3, bbox={"facecolor": "white", "edgecolor": "none", "pad": 1})
    worst = max(probe["error"] for probe in probes.values())
    axes.set(xlabel="misclassified test digits, %", ylabel="features", xlim=(0, 1.5 * worst))
    axes.legend(loc="upper right")
    return figure


def _labels(few: dict[str, Any]) -> Figure:
    figure = new_figure("The same features with few labels")
    axes = add_grid(figure.subplots())
    for name, errors in few["errors"].items():
        axes.plot(
            few["labels"], errors, "o", color=colour(name), ls=LINES.get(name, "-"), lw=WIDTHS.get(name), label=name
        )
    axes.set(xscale="log", yscale="log", xlabel="labelled digits", ylabel="misclassified test digits, %")
    ticks = [1, 2, 5, 10, 20, 50]
    axes.set_yticks(ticks, [str(tick) for tick in ticks])
    axes.set_xticks(few["labels"], [f"{count:,}".replace(",", " ") for count in few["labels"]])
    axes.minorticks_off()
    axes.legend()
    return figure


def _curves(curves: dict[str, Any]) -> Figure:
    figure = new_figure("Long training on 1000 digits, and the loss on 1000 held-out digits")
    axes = add_grid(figure.subplots())
    for name, sides in curves.items():
        for side, line, label in (("train", "--", "training"), ("validation", "-", "held out")):
            epochs = range(1, len(sides[side]) + 1)
            axes.plot(epochs, sides[side], color=colour(name), linestyle=line, label=f"{name}, {label}")
    axes.set(xlabel="epoch", ylabel="cross-entropy, nats per pixel", xscale="log")
    axes.set_xlim(left=5)
    axes.set_xticks([5, 10, 20, 50, 100, 200], ["5", "10", "20", "50", "100", "200"])
    lows = [value for sides in curves.values() for value in sides["train"]]
    axes.set(ylim=(min(lows) - 0.004, 0.2))
    axes.legend()
    return figure
