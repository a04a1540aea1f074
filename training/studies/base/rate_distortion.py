"""Curves of bytes against quality: what lies between measured points, and how they are drawn. Knows no codec."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from training.studies.base.plot_style import add_grid

Curve = Sequence[list[float]]
"""Points of bytes a picture and PSNR in dB, in any order."""


def psnr_at(curve: Curve, size: float) -> float:
    """PSNR at that many bytes, on the straight line over the logarithm of the bytes between measured points."""
    points = sorted(curve)
    return float(np.interp(np.log(size), np.log([point[0] for point in points]), [point[1] for point in points]))


def plot_curve(axes: Axes, curve: Curve, label: str, colour: str, dash: str = "-") -> None:
    """One codec's curve, its points marked."""
    axes.plot(*np.array(sorted(curve)).T, f"o{dash}", color=colour, label=label, markersize=3.5)


def setup_bytes_axis(axes: Axes, title: str, ticks: Sequence[int]) -> None:
    """Bytes on a logarithmic axis with these marks."""
    add_grid(axes).set(xscale="log", title=title, xlabel="bytes a picture")
    axes.set_xticks(list(ticks), [str(tick) for tick in ticks])
    axes.minorticks_off()
