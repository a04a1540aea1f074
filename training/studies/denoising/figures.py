"""Plots of the study `denoising`, from its results."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from training.studies.base.packing import unpack
from training.studies.base.plot_style import COLOURS, add_grid, new_figure, show_rows
from training.studies.base.study import Results

MIN_PSNR, MAX_PSNR = 5, 25
"""PSNRs in dB at the ends of the matrix's colour scale."""
LABELS: dict[str, str] = {
    "gaussian, cut": "Gaussian,\nclipped",
    "gaussian, uncut": "Gaussian,\nunclipped",
    "masking": "half masked",
    "salt and pepper": "30 % salt\nand pepper",
    "occlusion": "a quarter\noccluded",
}


def plot(results: Results) -> Mapping[str, Figure]:
    """Plot pictures, the matrix of corruptions, the levels of noise, and the comparison with dropout."""
    return {
        "pictures": _pictures(results["pictures"]),
        "matrix": _matrix(results["matrix"]),
        "levels": _levels(results["levels"]),
        "dropout": _dropout(results["inputs"]),
    }


def _pictures(stored: Results) -> Figure:
    figure = new_figure("Corrupted test digits, restored by the network trained on that corruption", height=9)
    labels = ["restored" if name.endswith("answer") else LABELS.get(name, name) for name in stored]
    show_rows(figure.subplots(), [unpack(pictures) for pictures in stored.values()], labels)
    return figure


def _matrix(stored: Results) -> Figure:
    figure = new_figure("PSNR on test digits by corruption in training and in the test", width=8.5, height=6)
    axes: Axes = figure.subplots()
    values = np.array(list(stored["psnr"].values()))
    image = axes.imshow(values, cmap="viridis", vmin=MIN_PSNR, vmax=MAX_PSNR, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        bright = value > (MIN_PSNR + MAX_PSNR) / 2
        text = f"{value:.1f}" if value < 100 else "exact"
        axes.text(column, row, text, ha="center", va="center", color="black" if bright else "white")
    tested: list[str] = stored["tested"]
    axes.set_xticks(range(len(tested)), [LABELS.get(name, name) for name in tested])
    axes.set_yticks(range(len(values)), list(stored["psnr"]))
    axes.axhline(len(values) - 2.5, color="white", linewidth=4)
    axes.set(xlabel="tested on", ylabel="trained on")
    figure.colorbar(image, label="PSNR, dB", extend="both")
    return figure


def _levels(stored: Results) -> Figure:
    figure = new_figure("A network trained at the noise level 0.5, at other levels")
    axes = add_grid(figure.subplots())
    styles = {
        "published net, trained at 0.5": ("published network, trained at 0.5", COLOURS["ours"], "-"),
        "affine map for 0.5": ("affine map fitted at 0.5 (LMMSE)", COLOURS["other"], "-"),
        "median 3x3": ("median of 3x3 pixels", COLOURS["classical"], "-"),
        "no net": ("noisy picture", COLOURS["input"], ":"),
    }
    for name, (label, colour, line) in styles.items():
        axes.plot(stored["sigma"], stored["psnr"][name], line, marker="o", markersize=4, color=colour, label=label)
    axes.set(xlabel="standard deviation of the noise, pixels in 0..1; noise is clipped", ylabel="PSNR, dB")
    axes.legend()
    return figure


def _dropout(stored: Results) -> Figure:
    figure = new_figure("Masking and dropout: a dense network trained on four kinds of input", width=9)
    axes = add_grid(figure.subplots())
    tested = {
        "nothing": "clean",
        "nothing, halved": "clean,\nvalues halved",
        "masking": "exactly half\nmasked",
        "dropout, unscaled": "half masked\nat random",
        "masking, doubled": "exactly half\nmasked, doubled",
    }
    styles = {
        "nothing": ("clean digits", COLOURS["input"]),
        "masking": ("masking: exactly half", COLOURS["ours"]),
        "dropout, unscaled": ("dropout without scaling", COLOURS["other"]),
        "dropout": ("dropout: half at random, the rest doubled", COLOURS["classical"]),
    }
    for number, (name, (label, colour)) in enumerate(styles.items()):
        heights = [stored["psnr"][name][stored["tested"].index(column)] for column in tested]
        places = np.arange(len(tested)) + 0.2 * (number - 1.5)
        bars = axes.bar(places, heights, 0.19, color=colour, label=f"trained on {label}")
        axes.bar_label(bars, fmt="%.1f", fontsize=8)
    axes.set_xticks(range(len(tested)), list(tested.values()))
    axes.set(xlabel="test digits", ylabel="PSNR, dB")
    axes.legend(fontsize=9)
    return figure
