"""Style of all figures: sizes, one colour per method, and rows of pictures."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from training.evaluation.picture_grid import make_grid

COLOURS = {
    "ours": "#1f77b4",
    "variational": "#9467bd",
    "sparse": "#2ca02c",
    "pca": "#ff7f0e",
    "jpeg": "#d62728",
    "webp": "#8c564b",
    "input": "#7f7f7f",
    "classical": "#bcbd22",
    "other": "#17becf",
}
"""Colours by method: plain, variational and sparse networks of ours, PCA, codecs, the input, other methods."""
CLASSES = [f"C{number}" for number in range(10)]
"""Colours of the ten classes."""


def new_figure(title: str, width: float = 7.0, height: float = 4.5) -> Figure:
    """Return an empty figure with a title; width and height are in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.suptitle(title, fontsize=11)
    return figure


def add_grid(axes: Axes) -> Axes:
    """Add faint grid lines behind the plot; return the axes."""
    axes.grid(visible=True, which="both", alpha=0.25)
    axes.set_axisbelow(True)
    return axes


def show_rows(axes: Axes, rows: Sequence[NDArray[Any]], labels: Sequence[str]) -> None:
    """Show rows of pictures, uint8 (N, H, W, C) each, with a label at each row."""
    picture = make_grid(rows)
    axes.imshow(picture, interpolation="nearest")
    height = picture.shape[0] / len(rows)
    axes.set_yticks([height * (number + 0.5) for number in range(len(rows))], labels)
    axes.set_xticks([])
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
