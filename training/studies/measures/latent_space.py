"""Three measures of a space of codes: gaps, separability of the classes, distance from a simple prior.

What is asked of a plain net and of a variational one alike; knows neither, only codes, labels and what decodes them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isqrt

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.lines import Line2D
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from training.data import Items, Labels
from training.evaluation.figures import GraphFunction, run_in_batches
from training.nets import Operation
from training.studies.base.packing import pack, unpack
from training.studies.base.plot_style import CLASSES
from training.studies.base.study import Results
from training.studies.measures.classifier import Classifier, get_labels
from training.workspace import PublishedModel

Codes = NDArray[np.floating]
NEIGHBOURS = 10
DIRECTIONS, TRIES = 100, 5
SIDE, CELLS, MAP_PICTURES, DOTS = 100, 25, 16, 4000
"""Of the map of a plane, of the cells that codes are counted in, of the pictures that are drawn; codes drawn."""
BOX = (0.5, 99.5)
"""Percentiles of the codes along each axis, between which the plane is looked at."""
SEED = 20260


@dataclass(frozen=True, slots=True)
class Normal:
    """A normal distribution of codes: `mean`, and `root` with root @ root.T the covariance."""

    mean: Codes
    root: Codes

    def sample(self, count: int) -> NDArray[np.float32]:
        normal = np.random.default_rng(SEED).normal(size=(count, len(self.mean)))
        return (normal @ self.root.T + self.mean).astype(np.float32)

    def whiten(self, codes: Codes) -> Codes:
        """Codes as they would be if this were the standard normal distribution."""
        return np.linalg.solve(self.root, (codes - self.mean).T).T


def standard_normal(size: int) -> Normal:
    """What a variational net is held to."""
    return Normal(np.zeros(size), np.eye(size))


def fit_normal(codes: Codes) -> Normal:
    """The most likely normal distribution of these codes."""
    covariance = np.atleast_2d(np.cov(codes.astype(np.float64), rowvar=False, bias=True))
    return Normal(codes.mean(0, dtype=np.float64), np.linalg.cholesky(covariance))


def knn_purity(codes: Codes, labels: Labels) -> float:
    """Mean share of a code's NEIGHBOURS nearest other codes that have its class."""
    nearest = NearestNeighbors(n_neighbors=NEIGHBOURS + 1).fit(codes).kneighbors(codes, return_distance=False)
    return float((labels[nearest[:, 1:]] == labels[:, np.newaxis]).mean())


def sliced_wasserstein(codes: Codes, prior: Normal) -> float:
    """Sliced Wasserstein distance from the prior, in its standard deviations: how far a code has to be moved, seen
    along one direction, so that all lie as draws of the prior do; the mean over random directions.
    """
    random = np.random.default_rng(SEED)
    directions = random.normal(size=(DIRECTIONS, codes.shape[1]))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    # The normal's quantiles, from a sample so large that it is none of the error.
    wanted = np.quantile(random.normal(size=1_000_000), (np.arange(len(codes)) + 0.5) / len(codes))
    return float(np.abs(np.sort(prior.whiten(codes) @ directions.T, axis=0) - wanted[:, np.newaxis]).mean())


def sampling_floor(count: int, size: int) -> float:
    """The distance of so many draws of the prior itself; the mean of TRIES of them."""
    random = np.random.default_rng(SEED + 1)
    return float(
        np.mean([sliced_wasserstein(random.normal(size=(count, size)), standard_normal(size)) for _ in range(TRIES)])
    )


def latent_metrics(
    graphs: Mapping[Operation, GraphFunction],
    items: Items,
    labels: Labels,
    classifier: Classifier,
    prior: Normal,
    drawn: Codes,
) -> Results:
    """The measures that need no plane. `drawn`: codes as the net's own distribution has them; plain nets: the codes."""
    codes = run_in_batches(graphs["encode"], items)
    found = classifier.predict_confident(run_in_batches(graphs["decode"], prior.sample(len(items))))
    counts = np.bincount(found[found >= 0], minlength=int(labels.max()) + 1)
    return {
        "purity": knn_purity(codes, labels),
        "distance": sliced_wasserstein(drawn, prior),
        "floor": sampling_floor(len(drawn), drawn.shape[1]),
        "drawn": float((found >= 0).mean()),
        "rarest": float(counts.min() / counts.sum()),
        "reconstructed": classifier.confident_fraction(run_in_batches(graphs["decode"], codes)),
    }


def map_plane(model: PublishedModel, classifier: Classifier, shown: int = MAP_PICTURES) -> Results:
    """What the plane of a model with codes of two numbers decodes to: a map, some of its pictures, and codes on it."""
    codes, decode = run_in_batches(model.graphs["encode"], model.data.test), model.graphs["decode"]
    low, high = np.percentile(codes, BOX, axis=0)
    found = classifier.predict_confident(run_in_batches(decode, _grid(low, high, SIDE)))
    _, labels = get_labels(model.data)
    learnt = run_in_batches(model.graphs["encode"], model.data.train)
    counted, _, _ = np.histogram2d(*learnt.T, bins=CELLS, range=np.stack([low, high], 1).tolist())
    return {
        "gaps": float((found < 0).mean()),
        "empty": float((counted == 0).mean()),
        "crowded": _half_mass_share(counted),
        "box": [low.tolist(), high.tolist()],
        "map": pack(found.astype(np.int8).reshape(SIDE, SIDE)),
        "pictures": pack(run_in_batches(decode, _grid(low, high, shown))),
        "codes": pack(codes[:DOTS]),
        "labels": pack(labels[:DOTS].astype(np.uint8)),
    }


def _half_mass_share(counted: NDArray[np.float64]) -> float:
    """Share of the cells, the fullest first, that hold half of what lies in all of them."""
    shares = np.cumsum(np.sort(counted, axis=None)[::-1]) / counted.sum()
    return float(np.searchsorted(shares, 0.5) + 1) / counted.size


def controls(classifier: Classifier, items: Items, labels: Labels) -> Results:
    """What the classifier makes of digits, and of what is none: the mean of two digits of different classes."""
    other = np.roll(np.arange(len(items)), 1)
    differ = labels != labels[other]
    mixed = ((items.astype(np.uint16) + items[other]) // 2).astype(np.uint8)[differ]
    return {
        "accuracy": classifier.accuracy(items, labels),
        "digits": classifier.confident_fraction(items),
        "mixed": classifier.confident_fraction(mixed),
    }


def _grid(low: NDArray[np.float64], high: NDArray[np.float64], side: int) -> NDArray[np.float32]:
    """The middles of side x side cells of a box, row by row from the top left."""
    across, up = (edge + (np.arange(side) + 0.5) / side * (far - edge) for edge, far in zip(low, high, strict=True))
    return np.stack([np.tile(across, side), np.repeat(up[::-1], side)], 1).astype(np.float32)


def show_codes(axes: Axes, codes: Codes, labels: NDArray[np.integer], box: list[list[float]] | None = None) -> None:
    """Codes on their plane, coloured by class."""
    order = np.random.default_rng(0).permutation(len(codes))
    axes.scatter(*codes[order].T, s=2, c=[CLASSES[label] for label in labels[order]], linewidths=0)
    if box:
        axes.set(xlim=(box[0][0], box[1][0]), ylim=(box[0][1], box[1][1]))
    axes.set(xlabel="first number of the code", ylabel="second number")


def name_classes(axes: Axes) -> None:
    """A legend of the classes beside the axes."""
    marks = [Line2D([], [], marker="o", linestyle="", color=colour, markersize=5) for colour in CLASSES]
    axes.legend(marks, [str(number) for number in range(len(marks))], loc="center left", bbox_to_anchor=(1, 0.5))


def show_map(axes: Axes, surveyed: Results) -> None:
    """Which class each place of the plane decodes to; white where none is recognised."""
    (left, bottom), (right, top) = surveyed["box"]
    found = np.ma.masked_less(unpack(surveyed["map"]), 0)
    colours = ListedColormap(CLASSES)
    axes.imshow(found, cmap=colours, vmin=-0.5, vmax=9.5, extent=(left, right, bottom, top), aspect="auto", alpha=0.8)
    axes.set(xlabel="first number of the code", ylabel="second number")


def show_pictures(axes: Axes, surveyed: Results) -> None:
    """What places of the plane decode to, each where it lies."""
    (left, bottom), (right, top) = surveyed["box"]
    pictures = unpack(surveyed["pictures"])
    side, (height, width) = isqrt(len(pictures)), pictures.shape[1:3]
    tiled = pictures.reshape(side, side, height, width).swapaxes(1, 2).reshape(side * height, side * width)
    axes.imshow(tiled, cmap="gray", extent=(left, right, bottom, top), aspect="auto", interpolation="antialiased")
    axes.set(xlabel="first number of the code", ylabel="second number")
