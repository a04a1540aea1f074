"""How the study of copying shows what it found: its table, its figures and its answer, all from the stored results."""

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
"""Pictures of each kind."""
PROBE_ITEMS = 10_000
"""Training digits that logistic regression is fitted on."""
STYLES = {"sparse, 1024": ("sparse", "*", 110), "undercomplete, 32": ("other", "D", 45)}
"""Colour, marker and size of the nets that stand in the sweep as one point."""


def rows(results: Results) -> Sequence[Row]:
    nets: dict[str, dict[str, float]] = results["nets"]
    copied = (
        Row(
            f"{name}: digits, MSE / variance",
            found[KINDS[0]],
            "; ".join(f"{kind} {found[kind]:.3g}" for kind in KINDS[1:]),
        )
        for name, found in nets.items()
    )
    worth = (
        Row(f"{name}: error of logistic regression, %", 100 * found["error"], _pixel_error_text(results))
        for name, found in nets.items()
    )
    return (*copied, *worth)


def _pixel_error_text(results: Results) -> str:
    return f"on the pixels: {100 * results['pixels_error']:.2f} %"


def plot(results: Results) -> Mapping[str, Figure]:
    return {"sweep": _sweep(results), "copies": _copies(results)}


def _sweep(results: Results) -> Figure:
    made = new_figure("The larger the code, the more is copied, whatever it is", width=11, height=4)
    panels: Any = made.subplots(1, len(KINDS), sharey=True)
    for axes, kind in zip(panels, KINDS, strict=True):
        for name, label, colour in (("pca", "linear: PCA", "pca"), ("sweep", "gelu net", "ours")):
            sizes = [int(size) for size in results[name]]
            errors = [max(found[kind], 1e-4) for found in results[name].values()]
            add_grid(axes).plot(sizes, errors, marker="o", ms=4, color=COLOURS[colour], label=label)
        for name, (colour, marker, size) in STYLES.items():
            place = int(name.split()[-1])
            axes.scatter(place, results["nets"][name][kind], size, COLOURS[colour], marker=marker, label=name, zorder=3)
        axes.axvline(PIXELS, color=COLOURS["input"], ls=":", label="pixels")
        axes.axhline(1, color=COLOURS["input"], lw=0.8)
        axes.set(title=kind, xlabel="numbers in the code", xscale="log", yscale="log")
    panels[0].set(ylabel="MSE / variance (0 drawn as 0.0001)")
    handles, labels = panels[0].get_legend_handles_labels()
    made.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    return made


def _copies(results: Results) -> Figure:
    made = new_figure("What comes back of digits, inverted digits, clothes and noise", width=9, height=4.5)
    copies = {"given": results["given"], **results["copies"]}
    show_rows(made.subplots(), [unpack(packed) for packed in copies.values()], list(copies))
    return made


def summary(results: Results) -> str:
    nets: dict[str, dict[str, float]] = results["nets"]
    linear, gelu, under, sparse = nets.values()
    inside = [f"{_centre_error(results, name):.2f}" for name in nets]
    return (
        "Because the identity is such a function, and it knows nothing of digits. With as many numbers as pixels PCA "
        "is the identity: everything comes back. Two nets of 1024 numbers that saw digits alone go part of the way in "
        f"their 8 epochs. As shares of the pictures' own variance the linear one leaves {_errors_text(linear)}; the "
        f"nonlinear one {_errors_text(gelu)}. Clothes, which they never saw, come back almost as they were. Negatives "
        "and noise do not: part of it is the rim, black in every digit, where nothing could be learnt. In the middle "
        f"20x20 pixels of the noise that is shown they leave {inside[0]} and {inside[1]}, the 32 numbers {inside[2]} "
        f"and the sparse code {inside[3]}.\n\n"
        f"A code too small to copy, 32 numbers, leaves {_errors_text(under)}; the sparse one of 1024, "
        f"{_errors_text(sparse)}. They give digits back and little else: their error tells a digit from what is none. "
        "In the sweep the error on digits falls with every number added, and that on clothes and noise with it: an "
        "error on digits alone does not say where learning ends and copying begins. (Of 2 numbers the net, so short a "
        "time trained, makes nothing.)\n\n"
        "For another task the linear copy is worth what the pixels are: logistic regression on the codes of "
        f"{PROBE_ITEMS} digits is wrong on {_probe_error_text(linear)} of the test set (nonlinear: "
        f"{_probe_error_text(gelu)}), on the pixels {100 * results['pixels_error']:.1f} %, on the 32 numbers "
        f"{_probe_error_text(under)}, on the sparse features {_probe_error_text(sparse)}. (The eight nets of this "
        f"study: {results['seconds']:.0f} s of training on a busy machine, seed 1; the 32 numbers and the sparse code "
        "are the published models.)"
    )


def _centre_error(results: Results, name: str) -> float:
    """The error on the noise that is shown, in its middle and as pictures can store it, as a share of the variance."""
    given, made = (
        unpack(packed)[-PICTURES_PER_KIND:, 4:24, 4:24] / 255.0
        for packed in (results["given"], results["copies"][name])
    )
    return float(np.square(made - given).mean() / given.var())


def _errors_text(found: dict[str, float]) -> str:
    return ", ".join(f"{found[kind]:.2g} of {kind}" for kind in KINDS)


def _probe_error_text(found: dict[str, float]) -> str:
    return f"{100 * found['error']:.1f} %"
