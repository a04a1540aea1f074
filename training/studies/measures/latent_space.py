"""Measures of a latent space: gaps between the classes, separability of the classes, distance from a prior.

They need codes, labels and a decoder only, so that plain and variational autoencoders are measured alike.
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
from training.evaluation.metrics import GraphFunction, run_in_batches
from training.nets import Operation
from training.studies.base.packing import pack, unpack
from training.studies.base.plot_style import CLASSES
from training.studies.base.study import Results
from training.studies.measures.classifier import Classifier, get_labels
from training.workspace import PublishedModel

Codes = NDArray[np.floating]
"""Codes, floating point (N, units)."""
NEIGHBOURS = 10
"""Nearest neighbours of a code that `knn_purity` considers."""
DIRECTIONS, TRIES = 100, 5
"""Random directions of a sliced Wasserstein distance; samples that `sampling_floor` averages over."""
SIDE, CELLS, MAP_PICTURES, DOTS = 100, 25, 16, 4000
"""Points, cells for counts and pictures along a side of the plane; number of plotted codes."""
BOX = (0.5, 99.5)
"""Percentiles of the codes along each axis that bound the mapped part of the plane."""
SEED = 20260
"""Seed of all random numbers of this module."""


@dataclass(frozen=True, slots=True)
class Normal:
    """Normal distribution of codes."""

    mean: Codes
    """Mean, (units,)."""
    root: Codes
    """Matrix (units, units) whose product with its transpose is the covariance."""

    def sample(self, count: int) -> NDArray[np.float32]:
        """Return samples, float32 (count, units); always the same ones."""
        normal = np.random.default_rng(SEED).normal(size=(count, len(self.mean)))
        return (normal @ self.root.T + self.mean).astype(np.float32)

    def whiten(self, codes: Codes) -> Codes:
        """Transform codes (N, units) so that samples of this distribution become standard normal."""
        return np.linalg.solve(self.root, (codes - self.mean).T).T


def standard_normal(size: int) -> Normal:
    """Return the standard normal distribution, the prior of variational autoencoders."""
    return Normal(np.zeros(size), np.eye(size))


def fit_normal(codes: Codes) -> Normal:
    """Fit a normal distribution to codes (N, units) by maximum likelihood."""
    covariance = np.atleast_2d(np.cov(codes.astype(np.float64), rowvar=False, bias=True))
    return Normal(codes.mean(0, dtype=np.float64), np.linalg.cholesky(covariance))


def knn_purity(codes: Codes, labels: Labels) -> float:
    """Return the mean fraction of the NEIGHBOURS nearest neighbours of a code (N, units) that have its label (N,)."""
    nearest = NearestNeighbors(n_neighbors=NEIGHBOURS + 1).fit(codes).kneighbors(codes, return_distance=False)
    return float((labels[nearest[:, 1:]] == labels[:, np.newaxis]).mean())


def sliced_wasserstein(codes: Codes, prior: Normal) -> float:
    """Return the sliced Wasserstein-1 distance of codes (N, units) from the prior, in its standard deviations.

    Bonneel, Rabin, Peyré and Pfister, "Sliced and Radon Wasserstein barycenters of measures" (2015). Codes are whitened
    and projected on DIRECTIONS random directions; the distances in one dimension are averaged.
    """
    random = np.random.default_rng(SEED)
    directions = random.normal(size=(DIRECTIONS, codes.shape[1]))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    # In one dimension, W1 is the mean distance of the sorted projections x_(i) from the normal quantiles at
    # (i - 0.5) / N. The quantiles come from a sample so large that its error is negligible.
    quantiles = np.quantile(random.normal(size=1_000_000), (np.arange(len(codes)) + 0.5) / len(codes))
    return float(np.abs(np.sort(prior.whiten(codes) @ directions.T, axis=0) - quantiles[:, np.newaxis]).mean())


def sampling_floor(count: int, size: int) -> float:
    """Return the mean `sliced_wasserstein` distance of `count` samples of the prior itself, over TRIES samples."""
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
    """Compute the measures that do not need a plane.

    Args:
        graphs: `encode` and `decode` of the model.
        items: Test pictures, uint8 (N, H, W, C).
        labels: Their classes, (N,).
        classifier: Judge of decoded pictures.
        prior: Distribution to compare with and to sample from.
        drawn: Codes (N, units) to compare with the prior: samples of the posteriors of a variational autoencoder, the
            codes themselves of any other.

    Returns:
        `purity`, see `knn_purity`; `distance` from the prior, and its `floor`; `drawn`, the fraction of the prior's
        samples that decode to something recognised; `rarest`, the share of the rarest class among these;
        `reconstructed`, the fraction of recognised reconstructions.
    """
    codes = run_in_batches(graphs["encode"], items)
    classes = classifier.predict_confident(run_in_batches(graphs["decode"], prior.sample(len(items))))
    counts = np.bincount(classes[classes >= 0], minlength=int(labels.max()) + 1)
    return {
        "purity": knn_purity(codes, labels),
        "distance": sliced_wasserstein(drawn, prior),
        "floor": sampling_floor(len(drawn), drawn.shape[1]),
        "drawn": float((classes >= 0).mean()),
        "rarest": float(counts.min() / counts.sum()),
        "reconstructed": classifier.confident_fraction(run_in_batches(graphs["decode"], codes)),
    }


def map_plane(model: PublishedModel, classifier: Classifier, shown: int = MAP_PICTURES) -> Results:
    """Map the plane of a model with codes of two numbers.

    Returns:
        `gaps`, the fraction of the plane that decodes to nothing recognised; `empty`, the fraction of its cells without
        a training code; `crowded`, see `_half_mass_share`; and packed arrays for the figures: the `box` of the plane,
        the class `map`, decoded `pictures`, and `codes` with their `labels`.
    """
    codes, decode = run_in_batches(model.graphs["encode"], model.data.test), model.graphs["decode"]
    low, high = np.percentile(codes, BOX, axis=0)
    classes = classifier.predict_confident(run_in_batches(decode, _grid(low, high, SIDE)))
    _, labels = get_labels(model.data)
    train_codes = run_in_batches(model.graphs["encode"], model.data.train)
    counts, _, _ = np.histogram2d(*train_codes.T, bins=CELLS, range=np.stack([low, high], 1).tolist())
    return {
        "gaps": float((classes < 0).mean()),
        "empty": float((counts == 0).mean()),
        "crowded": _half_mass_share(counts),
        "box": [low.tolist(), high.tolist()],
        "map": pack(classes.astype(np.int8).reshape(SIDE, SIDE)),
        "pictures": pack(run_in_batches(decode, _grid(low, high, shown))),
        "codes": pack(codes[:DOTS]),
        "labels": pack(labels[:DOTS].astype(np.uint8)),
    }


def _half_mass_share(counts: NDArray[np.float64]) -> float:
    """Return the smallest fraction of the cells that contains half of all codes."""
    shares = np.cumsum(np.sort(counts, axis=None)[::-1]) / counts.sum()
    return float(np.searchsorted(shares, 0.5) + 1) / counts.size


def controls(classifier: Classifier, items: Items, labels: Labels) -> Results:
    """Evaluate the classifier on pictures uint8 (N, H, W, C) with labels (N,), and on pictures of no class.

    Returns:
        `accuracy`; `digits`, the fraction of the pictures that are recognised; `mixed`, the fraction of the means of
        two pictures of different classes that are recognised.
    """
    other = np.roll(np.arange(len(items)), 1)
    differ = labels != labels[other]
    mixed = ((items.astype(np.uint16) + items[other]) // 2).astype(np.uint8)[differ]
    return {
        "accuracy": classifier.accuracy(items, labels),
        "digits": classifier.confident_fraction(items),
        "mixed": classifier.confident_fraction(mixed),
    }


def _grid(low: NDArray[np.float64], high: NDArray[np.float64], side: int) -> NDArray[np.float32]:
    """Return the centres of side x side cells of a box, float32 (side * side, 2), row by row from the top left."""
    across, up = (edge + (np.arange(side) + 0.5) / side * (far - edge) for edge, far in zip(low, high, strict=True))
    return np.stack([np.tile(across, side), np.repeat(up[::-1], side)], 1).astype(np.float32)


def show_codes(axes: Axes, codes: Codes, labels: NDArray[np.integer], box: list[list[float]] | None = None) -> None:
    """Plot codes (N, 2), coloured by class."""
    order = np.random.default_rng(0).permutation(len(codes))
    axes.scatter(*codes[order].T, s=2, c=[CLASSES[label] for label in labels[order]], linewidths=0)
    if box:
        axes.set(xlim=(box[0][0], box[1][0]), ylim=(box[0][1], box[1][1]))
    axes.set(xlabel="first number of the code", ylabel="second number")


def name_classes(axes: Axes) -> None:
    """Add a legend of the classes beside the axes."""
    marks = [Line2D([], [], marker="o", linestyle="", color=colour, markersize=5) for colour in CLASSES]
    axes.legend(marks, [str(number) for number in range(len(marks))], loc="center left", bbox_to_anchor=(1, 0.5))


def show_map(axes: Axes, plane: Results) -> None:
    """Plot the class that each point of the plane decodes to, white if none is recognised. See `map_plane`."""
    (left, bottom), (right, top) = plane["box"]
    classes = np.ma.masked_less(unpack(plane["map"]), 0)
    colours = ListedColormap(CLASSES)
    extent = (left, right, bottom, top)
    axes.imshow(classes, cmap=colours, vmin=-0.5, vmax=9.5, extent=extent, aspect="auto", alpha=0.8)
    axes.set(xlabel="first number of the code", ylabel="second number")


def show_pictures(axes: Axes, plane: Results) -> None:
    """Plot decoded pictures, each at the place of its code. See `map_plane`."""
    (left, bottom), (right, top) = plane["box"]
    pictures = unpack(plane["pictures"])
    side, (height, width) = isqrt(len(pictures)), pictures.shape[1:3]
    tiled = pictures.reshape(side, side, height, width).swapaxes(1, 2).reshape(side * height, side * width)
    axes.imshow(tiled, cmap="gray", extent=(left, right, bottom, top), aspect="auto", interpolation="antialiased")
    axes.set(xlabel="first number of the code", ylabel="second number")
