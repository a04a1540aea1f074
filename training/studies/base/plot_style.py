"""One look for all figures: sizes, one colour for the same thing everywhere, pictures side by side."""

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
"""By what is drawn: our plain net, a variational one, a sparse one, PCA, codecs, what was given, other methods."""
CLASSES = [f"C{number}" for number in range(10)]
"""Of the ten digits."""


def new_figure(title: str, width: float = 7.0, height: float = 4.5) -> Figure:
    """An empty figure, in inches."""
    made = Figure(figsize=(width, height), layout="constrained")
    made.suptitle(title, fontsize=11)
    return made


def add_grid(axes: Axes) -> Axes:
    """The same axes with faint lines behind."""
    axes.grid(visible=True, which="both", alpha=0.25)
    axes.set_axisbelow(True)
    return axes


def show_rows(axes: Axes, rows: Sequence[NDArray[Any]], labels: Sequence[str]) -> None:
    """Rows of pictures with a label at each."""
    picture = make_grid(rows)
    axes.imshow(picture, interpolation="nearest")
    height = picture.shape[0] / len(rows)
    axes.set_yticks([height * (number + 0.5) for number in range(len(rows))], labels)
    axes.set_xticks([])
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
