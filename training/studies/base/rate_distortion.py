"""Rate-distortion curves: interpolation between measured points, and plots."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from training.studies.base.plot_style import add_grid

Curve = Sequence[list[float]]
"""Points [bytes per picture, PSNR in dB], in any order."""


def psnr_at(curve: Curve, size: float) -> float:
    """Return the PSNR in dB at `size` bytes, interpolated linearly over the logarithm of the bytes.

    Outside the measured points, the PSNR of the nearest point is returned.
    """
    points = sorted(curve)
    return float(np.interp(np.log(size), np.log([point[0] for point in points]), [point[1] for point in points]))


def plot_curve(axes: Axes, curve: Curve, label: str, colour: str, dash: str = "-") -> None:
    """Plot the curve of one codec with its points."""
    axes.plot(*np.array(sorted(curve)).T, f"o{dash}", color=colour, label=label, markersize=3.5)


def setup_bytes_axis(axes: Axes, title: str, ticks: Sequence[int]) -> None:
    """Make the x axis a logarithmic one of bytes with these ticks, and set the title."""
    add_grid(axes).set(xscale="log", title=title, xlabel="bytes per picture")
    axes.set_xticks(list(ticks), [str(tick) for tick in ticks])
    axes.minorticks_off()
