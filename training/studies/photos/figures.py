"""The figure of the study of photographs: what is left of the noise, by its level."""

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
"""Colour and stroke; a filter of several sizes is drawn with its best at each level."""


def plot(results: Results) -> Mapping[str, Figure]:
    made = new_figure("Photographs: PSNR over the noise, all methods on the same pictures", width=9.0)
    for axes, colour in zip(made.subplots(1, 2, sharey=True), ("colour", "grey"), strict=True):
        cases = {int(case.split()[2]): found for case, found in results["some"].items() if case.startswith(colour)}
        clipped = {level: results["some"][f"{colour} clipped {level}"] for level in cases}
        for name, (shade, stroke) in LINES.items():
            points = [(level, best_psnr(found, name)) for level, found in sorted(clipped.items())]
            if all(value is not None for _, value in points):
                add_grid(axes).plot(*zip(*points, strict=True), stroke, color=shade, marker="o", label=name)
        axes.set(xlabel="standard deviation of the noise, of 255", title=colour)
    made.axes[0].set_ylabel("PSNR, dB")
    made.axes[1].legend()
    return {"levels": made}


def best_psnr(found: Mapping[str, float], name: str) -> float | None:
    """The highest figure of the methods that begin with that name; None where there is none."""
    own = found.get(name)
    return (
        own if own is not None else max((value for key, value in found.items() if key.startswith(name)), default=None)
    )
