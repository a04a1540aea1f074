"""The figures of the study of denoising, from its stored results."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from training.studies.base.packing import unpack
from training.studies.base.plot_style import COLOURS, add_grid, new_figure, show_rows
from training.studies.base.study import Results

MIN_PSNR, MAX_PSNR = 5, 25
"""Decibels at the ends of the matrix's colours; what lies beyond has the colour of the end."""
LABELS: dict[str, str] = {
    "gaussian, cut": "gaussian,\ncut",
    "gaussian, uncut": "gaussian,\nuncut",
    "masking": "half masked",
    "salt and pepper": "30 % salt\nand pepper",
    "occlusion": "a quarter\nhidden",
}


def plot(results: Results) -> Mapping[str, Figure]:
    return {
        "pictures": _pictures(results["pictures"]),
        "matrix": _matrix(results["matrix"]),
        "levels": _levels(results["levels"]),
        "dropout": _dropout(results["inputs"]),
    }


def _pictures(stored: Results) -> Figure:
    made = new_figure("Corrupted test digits, and what the net trained on that corruption answers", height=9)
    labels = ["the answer" if name.endswith("answer") else LABELS.get(name, name) for name in stored]
    show_rows(made.subplots(), [unpack(pictures) for pictures in stored.values()], labels)
    return made


def _matrix(stored: Results) -> Figure:
    made = new_figure("What nets make of the corruptions of others: PSNR on the test digits", width=8.5, height=6)
    axes: Axes = made.subplots()
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
    made.colorbar(image, label="PSNR, dB", extend="both")
    return made


def _levels(stored: Results) -> Figure:
    made = new_figure("The net of one level of noise, 0.5, at weaker and stronger noise")
    axes = add_grid(made.subplots())
    looks = {
        "published net, trained at 0.5": ("published net, trained at 0.5", COLOURS["ours"], "-"),
        "affine map for 0.5": ("affine map fitted at 0.5 (LMMSE)", COLOURS["other"], "-"),
        "median 3x3": ("median of 3x3 pixels", COLOURS["classical"], "-"),
        "no net": ("the noisy picture itself", COLOURS["input"], ":"),
    }
    for name, (label, colour, line) in looks.items():
        axes.plot(stored["sigma"], stored["psnr"][name], line, marker="o", markersize=4, color=colour, label=label)
    axes.set(xlabel="standard deviation of the noise (1 is from black to white), then cut to 0..1", ylabel="PSNR, dB")
    axes.legend()
    return made


def _dropout(stored: Results) -> Figure:
    made = new_figure("Is masking the same as dropout? One dense net, trained on four kinds of input", width=9)
    axes = add_grid(made.subplots())
    tested = {
        "nothing": "clean",
        "nothing, halved": "clean,\nhalved in value",
        "masking": "half masked,\nexactly",
        "dropout, unscaled": "half masked,\nby chance",
        "masking, doubled": "half masked,\nthe rest doubled",
    }
    looks = {
        "nothing": ("clean digits", COLOURS["input"]),
        "masking": ("masking: exactly half", COLOURS["ours"]),
        "dropout, unscaled": ("half by chance", COLOURS["other"]),
        "dropout": ("dropout: half by chance, the rest doubled", COLOURS["classical"]),
    }
    for number, (name, (label, colour)) in enumerate(looks.items()):
        heights = [stored["psnr"][name][stored["tested"].index(column)] for column in tested]
        places = np.arange(len(tested)) + 0.2 * (number - 1.5)
        bars = axes.bar(places, heights, 0.19, color=colour, label=f"trained on {label}")
        axes.bar_label(bars, fmt="%.1f", fontsize=8)
    axes.set_xticks(range(len(tested)), list(tested.values()))
    axes.set(xlabel="what is done to the test digits", ylabel="PSNR, dB")
    axes.legend(fontsize=9)
    return made
