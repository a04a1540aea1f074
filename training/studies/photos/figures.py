"""Plot of the study `photos`: PSNR by noise level."""

from collections.abc import Mapping

from matplotlib.figure import Figure

from training.studies.base.plot_style import COLOURS, add_grid, new_figure
from training.studies.base.study import Results

LINES = {
    "photo": (COLOURS["ours"], "-"),
    "photo-fast": (COLOURS["variational"], "-"),
    "BM3D": (COLOURS["jpeg"], "--"),
    "non-local means": (COLOURS["webp"], "--"),
    "gaussian": (COLOURS["classical"], ":"),
    "median": (COLOURS["other"], ":"),
    "noisy input": (COLOURS["input"], ":"),
}
"""Colour and line style of each method. A filter of several sizes is plotted with its best one at each level."""


def plot(results: Results) -> Mapping[str, Figure]:
    """Plot the PSNR of all methods by noise level, for colour and grey pictures."""
    figure = new_figure("Denoising of photographs, all methods on the same pictures", width=9.0)
    for axes, colour in zip(figure.subplots(1, 2, sharey=True), ("colour", "grey"), strict=True):
        levels = {int(case.split()[2]) for case in results["some"] if case.startswith(colour)}
        for name, (shade, stroke) in LINES.items():
            clipped = {level: results["some"][f"{colour} clipped {level}"] for level in sorted(levels)}
            points = [(level, best_psnr(psnrs, name)) for level, psnrs in clipped.items()]
            if all(value is not None for _, value in points):
                add_grid(axes).plot(*zip(*points, strict=True), stroke, color=shade, marker="o", label=name)
        axes.set(xlabel="standard deviation of the noise, grey levels of 255", title=colour)
    figure.axes[0].set_ylabel("PSNR, dB")
    figure.axes[1].legend()
    return {"levels": figure}


def best_psnr(psnrs: Mapping[str, float], name: str) -> float | None:
    """Return the PSNR of the method `name`, or the best of the methods whose names start with it; None without any."""
    if name in psnrs:
        return psnrs[name]
    return max((value for key, value in psnrs.items() if key.startswith(name)), default=None)
