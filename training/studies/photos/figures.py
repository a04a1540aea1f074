"""Plots of the study `photos`: all methods on real noise, and PSNR by the level of Gaussian noise."""

from collections.abc import Mapping

from matplotlib.figure import Figure

from training.studies.base.plot_style import COLOURS, add_grid, new_figure
from training.studies.base.study import Results
from training.studies.measures.scores import Scores

LINES = {
    "photo": (COLOURS["ours"], "-"),
    "photo-fast": (COLOURS["variational"], "-"),
    "BM3D": (COLOURS["jpeg"], "--"),
    "non-local means": (COLOURS["webp"], "--"),
    "OpenCV": (COLOURS["pca"], "--"),
    "Open Image Denoise": (COLOURS["sparse"], "--"),
    "wavelet": (COLOURS["other"], "--"),
    "total variation": (COLOURS["classical"], "--"),
    "gaussian": (COLOURS["classical"], ":"),
    "median": (COLOURS["other"], ":"),
    "noisy input": (COLOURS["input"], ":"),
}
"""Colour and line style of each method. A method with several settings is plotted with the best one for the case."""
SCORES = {"psnr": "PSNR, dB (more is better)", "ssim": "SSIM (more is better)", "flip": "FLIP (less is better)"}


def plot(results: Results) -> Mapping[str, Figure]:
    """Plot the scores of all methods on real noise, if it was measured, and their PSNR by noise level."""
    figures = {"real-noise": _plot_real_noise(results["some_pairs"])} if "pairs" in results else {}
    return figures | {"levels": _plot_levels(results["some"])}


def best_scores(scores: Mapping[str, Scores], name: str) -> Scores | None:
    """Return the scores of a method, of several settings those with the highest PSNR; None if it was not measured."""
    settings = [value for key, value in scores.items() if key == name or key.startswith(f"{name} ")]
    return max(settings, key=lambda one: one["psnr"], default=None)


def _plot_real_noise(pairs: Mapping[str, Scores]) -> Figure:
    """Plot one panel for each score, with a bar for each method, in the order of their PSNR."""
    measured = {name: scores for name in LINES if (scores := best_scores(pairs, name)) is not None}
    ordered = sorted(measured, key=lambda name: measured[name]["psnr"])
    figure = new_figure("Real noise of cameras, 10 pairs of PolyU: no method knows the level", width=11.0)
    labels = {key: label for key, label in SCORES.items() if all(key in scores for scores in measured.values())}
    panels = figure.subplots(1, len(labels), sharey=True, squeeze=False)[0]
    for axes, (key, label) in zip(panels, labels.items(), strict=True):
        values = [measured[name][key] for name in ordered]
        margin = 0.1 * (max(values) - min(values)) + 1e-6
        bars = axes.barh(ordered, values, color=[LINES[name][0] for name in ordered])
        axes.bar_label(bars, fmt="%.2f" if key == "psnr" else "%.3f", padding=2, fontsize=8)
        axes.set(title=label, xlim=(min(values) - margin, max(values) + 3 * margin))
        add_grid(axes).locator_params(axis="x", nbins=4)
    return figure


def _plot_levels(cases: Mapping[str, Mapping[str, Scores]]) -> Figure:
    """Plot the PSNR of all methods by noise level, for colour and grey pictures."""
    figure = new_figure("Gaussian noise of known level, all methods on the same photographs", width=9.0, height=5.5)
    for axes, colour in zip(figure.subplots(1, 2, sharey=True), ("colour", "grey"), strict=True):
        levels = sorted(int(case.split()[1]) for case in cases if case.startswith(colour))
        for name, (shade, stroke) in LINES.items():
            points = [(level, best_scores(cases[f"{colour} {level}"], name)) for level in levels]
            if all(scores is not None for _, scores in points):
                values = [scores["psnr"] for _, scores in points if scores is not None]
                add_grid(axes).plot(levels, values, stroke, color=shade, marker="o", label=name)
        axes.set(xlabel="standard deviation of the noise, grey levels of 255", title=colour)
    figure.axes[0].set_ylabel("PSNR, dB")
    figure.axes[1].legend(fontsize=8)
    return figure
