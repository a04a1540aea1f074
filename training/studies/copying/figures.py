"""Rows, plots and summary of the study `copying`, from its results."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from training.studies.base.packing import unpack
from training.studies.base.plot_style import COLOURS, add_grid, new_figure, show_rows
from training.studies.base.study import Results, Row

KINDS = ("digits", "inverted digits", "clothes", "noise")
PIXELS = 784
PICTURES_PER_KIND = 3
"""Pictures of each kind that are shown."""
PROBE_ITEMS = 10_000
"""Training digits that the linear probe is fitted on."""
STYLES = {"sparse, 1024": ("sparse", "*", 110), "undercomplete, 32": ("other", "D", 45)}
"""Colour, marker and size of the networks that are one point in the sweep."""


def rows(results: Results) -> Sequence[Row]:
    """Return the normalised errors and the errors of linear probes of four networks."""
    nets: dict[str, dict[str, float]] = results["nets"]
    errors = (
        Row(
            f"{name}: digits, MSE / variance",
            metrics[KINDS[0]],
            "; ".join(f"{kind} {metrics[kind]:.3g}" for kind in KINDS[1:]),
        )
        for name, metrics in nets.items()
    )
    probes = (
        Row(f"{name}: error of logistic regression, %", 100 * metrics["error"], _pixel_error_text(results))
        for name, metrics in nets.items()
    )
    return (*errors, *probes)


def _pixel_error_text(results: Results) -> str:
    return f"on the pixels: {100 * results['pixels_error']:.2f} %"


def plot(results: Results) -> Mapping[str, Figure]:
    """Plot the errors over the size of the code, and reconstructions of each kind of picture."""
    return {"sweep": _sweep(results), "copies": _copies(results)}


def _sweep(results: Results) -> Figure:
    figure = new_figure("Reconstruction error by size of the code and kind of picture", width=11, height=4)
    panels: Any = figure.subplots(1, len(KINDS), sharey=True)
    for axes, kind in zip(panels, KINDS, strict=True):
        for name, label, colour in (("pca", "linear: PCA", "pca"), ("sweep", "GELU network", "ours")):
            sizes = [int(size) for size in results[name]]
            errors = [max(metrics[kind], 1e-4) for metrics in results[name].values()]
            add_grid(axes).plot(sizes, errors, marker="o", ms=4, color=COLOURS[colour], label=label)
        for name, (colour, marker, size) in STYLES.items():
            place = int(name.split()[-1])
            axes.scatter(place, results["nets"][name][kind], size, COLOURS[colour], marker=marker, label=name, zorder=3)
        axes.axvline(PIXELS, color=COLOURS["input"], ls=":", label="pixels")
        axes.axhline(1, color=COLOURS["input"], lw=0.8)
        axes.set(title=kind, xlabel="numbers in the code", xscale="log", yscale="log")
    panels[0].set(ylabel="MSE / variance (0 shown as 0.0001)")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    return figure


def _copies(results: Results) -> Figure:
    figure = new_figure("Reconstructions of digits, inverted digits, clothes and noise", width=9, height=4.5)
    copies = {"input": results["given"], **results["copies"]}
    show_rows(figure.subplots(), [unpack(packed) for packed in copies.values()], list(copies))
    return figure


def summary(results: Results) -> str:
    """Return the answer as text."""
    nets: dict[str, dict[str, float]] = results["nets"]
    linear, gelu, under, sparse = nets.values()
    inside = [f"{_centre_error(results, name):.2f}" for name in nets]
    return (
        "Because the identity is such a function, and it contains no knowledge of digits. With as many components as "
        "pixels, PCA is the identity and reconstructs any picture. Two networks with codes of 1024 numbers, trained on "
        "digits for 8 epochs, come close to it. As fractions of the variance of the pictures, the linear one has "
        f"errors of {_errors_text(linear)}; the nonlinear one of {_errors_text(gelu)}. Clothes, which they were never "
        "trained on, are reconstructed almost perfectly. Inverted digits and noise are not, in part because the border "
        "is black in every digit and nothing could be learned there. In the central 20x20 pixels of the noise that is "
        f"shown, their errors are {inside[0]} and {inside[1]}, those of the code of 32 numbers {inside[2]} and of the "
        f"sparse code {inside[3]}.\n\n"
        f"A code that is too small to copy, with 32 numbers, has errors of {_errors_text(under)}; the sparse code of "
        f"1024 numbers has {_errors_text(sparse)}. These networks reconstruct digits and little else, so that their "
        "error distinguishes digits from other pictures. In the sweep, every number added to the code reduces the "
        "error on digits, and the error on clothes and noise too. The error on digits alone therefore does not show "
        "where learning ends and copying begins. (The network with a code of 2 numbers learns nothing in so short a "
        "training.)\n\n"
        "For another task, the linear copy is as useful as the pixels. Logistic regression on the codes of "
        f"{PROBE_ITEMS} digits misclassifies {_probe_error_text(linear)} of the test set (nonlinear: "
        f"{_probe_error_text(gelu)}), on the pixels {100 * results['pixels_error']:.1f} %, on the 32 numbers "
        f"{_probe_error_text(under)}, and on the sparse code {_probe_error_text(sparse)}. (The eight networks of this "
        f"study took {results['seconds']:.0f} s of training on a busy machine, seed 1. The code of 32 numbers and the "
        "sparse code are those of the published models.)"
    )


def _centre_error(results: Results, name: str) -> float:
    """Return the error on the central pixels of the noise that is shown, in 8 bits, as a fraction of its variance."""
    noise, copy = (
        unpack(packed)[-PICTURES_PER_KIND:, 4:24, 4:24] / 255.0
        for packed in (results["given"], results["copies"][name])
    )
    return float(np.square(copy - noise).mean() / noise.var())


def _errors_text(metrics: dict[str, float]) -> str:
    return ", ".join(f"{metrics[kind]:.2g} for {kind}" for kind in KINDS)


def _probe_error_text(metrics: dict[str, float]) -> str:
    return f"{100 * metrics['error']:.1f} %"
