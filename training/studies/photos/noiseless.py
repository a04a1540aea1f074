"""Measures what denoisers do to pictures without noise: photographs, blurred ones, text, a diagram and a drawing.

A picture that needs no denoising must come back nearly as it was.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Ellipse, Polygon, Rectangle
from scipy.ndimage import gaussian_filter

from training.studies.base.study import Results
from training.studies.measures.classical_denoisers import Method
from training.studies.measures.scores import Pixels, psnr

BLUR_SIGMA = 4.0
"""Standard deviation in pixels of the blur of photographs that are out of focus."""
DPI = 100
TEXT = (
    "The encoder maps an item to a code, and the decoder maps a code to an item. The network is trained to",
    "reproduce its input: min E |x - g(f(x))|^2. If the code has fewer numbers than the item, it cannot copy.",
    "    def encode(self, items: Tensor) -> Tensor:  # (N, 1, 28, 28) -> (N, 32)",
    "    return self.layers(items.flatten(1)) / 255.0",
    "Total 1,234.50 EUR    Tax 19 %    Order 8812-B    2026-11-29 14:05    page 3 of 17",
)


def measure_noiseless(photographs: Sequence[Pixels], methods: Mapping[str, Method]) -> Results:
    """Measure the mean PSNR in dB of each method's output for each kind of picture without noise (`noiseless`)."""
    kinds: dict[str, Sequence[Pixels]] = {
        "photographs": photographs,
        "blurred photographs": [blur(picture) for picture in photographs],
        "text": [text_page(size) for size in (7.0, 9.0, 12.0)],
        "diagram": [diagram()],
        "drawing": [drawing()],
    }
    return {
        "noiseless": {
            kind: {
                name: float(np.mean([psnr(method(picture / 255, 0.0), picture) for picture in pictures]))
                for name, method in methods.items()
            }
            for kind, pictures in kinds.items()
        }
    }


def blur(picture: Pixels) -> Pixels:
    """Return a picture (H, W, C) out of focus."""
    spread = (BLUR_SIGMA, BLUR_SIGMA, 0)
    return np.round(gaussian_filter(picture.astype(np.float64), spread)).astype(np.uint8)


def text_page(size: float) -> Pixels:
    """Render a page of prose, code and figures in a font of `size` points: uint8 (480, 640, 3)."""
    figure = Figure(figsize=(6.4, 4.8), dpi=DPI, facecolor="white")
    spacing = 1.7 * size / 72 / 4.8
    for number in range(int(0.95 / spacing)):
        family = "monospace" if number % 5 in (2, 3) else "sans-serif"
        figure.text(0.02, 0.97 - number * spacing, TEXT[number % 5], size=size, family=family, va="top")
    return _render(figure)


def diagram() -> Pixels:
    """Render a diagram with curves, bars, a legend and fine grid lines: uint8 (480, 640, 3)."""
    figure = Figure(figsize=(6.4, 4.8), dpi=DPI, layout="constrained")
    lines, bars = figure.subplots(1, 2)
    steps = np.linspace(0, 6, 200)
    for number in range(4):
        lines.plot(steps, np.exp(-steps / (number + 1)), label=f"rate 1/{number + 1}")
    lines.grid(visible=True, linewidth=0.5)
    lines.legend()
    lines.set(xlabel="steps, thousands", ylabel="loss", title="Training")
    bars.bar([f"{kind}" for kind in "abcdef"], [3, 7, 2, 8, 5, 6], color="tab:orange", edgecolor="black")
    bars.set(title="Classes")
    return _render(figure)


def drawing() -> Pixels:
    """Render a landscape in flat colours with black outlines, as in a comic: uint8 (480, 640, 3)."""
    figure = Figure(figsize=(6.4, 4.8), dpi=DPI)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, 64), ylim=(0, 48))
    axes.set_axis_off()
    shapes = [
        Rectangle((0, 0), 64, 48, facecolor="#8ed1fc"),
        Circle((54, 40), 5, facecolor="#ffd93b"),
        Polygon([(-2, 14), (14, 36), (24, 22), (34, 32), (50, 14)], facecolor="#9b8bb4"),
        Ellipse((32, 4), 90, 24, facecolor="#63c74d"),
        Rectangle((12, 12), 14, 11, facecolor="#f4e2c6"),
        Polygon([(10, 23), (19, 31), (28, 23)], facecolor="#c0392b"),
        Rectangle((17, 12), 4, 7, facecolor="#7b4a2d"),
        Rectangle((46, 10), 2, 10, facecolor="#7b4a2d"),
        Circle((47, 23), 5, facecolor="#2e8b57"),
    ]
    for shape in shapes:
        shape.set(edgecolor="black", linewidth=2)
        axes.add_patch(shape)
    return _render(figure)


def _render(figure: Figure) -> Pixels:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[:, :, :3].copy()
