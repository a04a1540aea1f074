"""Patches of photographs, 10x10 pixels, through 50 sparse hidden units: their filters, compared with PCA."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from training.evaluation.picture_grid import make_grid
from training.loop.batches import as_tensor
from training.nets import Autoencoder
from training.studies.base.packing import pack, unpack
from training.studies.base.plot_style import COLOURS, add_grid, new_figure
from training.studies.base.study import Results, Row, Study
from training.workspace import Workspace

SIDE, CODE, COLUMNS = 10, 50, 10
WINDOW = 5
"""Side in pixels of the window of `locality`."""
ACTIVE_THRESHOLD = 0.5
"""Activation above which a unit counts as active."""

Filters = NDArray[np.floating[Any]]
"""One filter per row, floating point (units, SIDE * SIDE)."""


def measure(workspace: Workspace) -> Results:
    """Measure the errors on the test patches, the filters of network and PCA, and their locality."""
    trained = workspace.fit("ten-by-ten")
    net, test = trained.result.net, trained.data.test
    filters = encoder_gradients(net)
    with torch.no_grad():
        codes = net.encode(as_tensor(test))
        outputs = net.activate_output(net.decode(codes)).numpy()
    pca = PCA(CODE, svd_solver="covariance_eigh").fit(trained.data.train)
    components = np.asarray(pca.components_)
    return {
        "net_mse": float(np.square(outputs - test).mean()),
        "pca_mse": float(np.square(pca.inverse_transform(pca.transform(test)) - test).mean()),
        "variance": float(test.var()),
        "on_share": float((codes > ACTIVE_THRESHOLD).float().mean()),
        "net_local": [float(share) for share in np.sort(locality(filters))],
        "pca_local": [float(share) for share in np.sort(locality(components))],
        "patches": len(trained.data.train),
        "parameters": net.parameter_count(),
        "seconds": trained.result.seconds,
        "seed": trained.recipe.optimizer.seed,
        "net_filters": pack(filter_pictures(filters)),
        "pca_filters": pack(filter_pictures(components)),
    }


def encoder_gradients(net: Autoencoder) -> Filters:
    """Return the Jacobian of the encoder at the zero patch, float32 (code, features).

    For one layer and a sigmoid, each row is the unit's weights up to a factor.
    """
    jacobian = torch.autograd.functional.jacobian(lambda x: net.encode(x[None])[0], torch.zeros(net.shape))
    return jacobian.flatten(1).numpy()


def locality(filters: Filters) -> NDArray[np.float64]:
    """Return the largest fraction of each filter's energy within WINDOW x WINDOW pixels, float64 (units,).

    The energy is the sum of squares. If it is spread evenly, the fraction is 0.25.
    """
    squares = np.square(filters.reshape(-1, SIDE, SIDE).astype(np.float64))
    windows = np.lib.stride_tricks.sliding_window_view(squares, (WINDOW, WINDOW), (1, 2))
    return windows.sum((3, 4)).max((1, 2)) / squares.sum((1, 2))


def filter_pictures(filters: Filters) -> NDArray[np.uint8]:
    """Return filters as pictures uint8 (units, SIDE, SIDE, 1): 0 is grey, the largest magnitude black or white."""
    scaled = filters / np.abs(filters).max(1, keepdims=True)
    return np.round(127.5 + 127.5 * scaled).astype(np.uint8).reshape(-1, SIDE, SIDE, 1)


def rows(results: Results) -> Sequence[Row]:
    """Return the locality of the filters and the error, compared with PCA."""
    net, pca = (float(np.median(results[name])) for name in ("net_local", "pca_local"))
    return (
        Row(
            "largest fraction of a filter's energy within 5x5 of 10x10 pixels, median",
            net,
            f"PCA-50's directions: {pca:.2f}; evenly spread: 0.25",
            target=pca,
            higher_is_better=True,
        ),
        Row(
            "MSE of patches with a variance of 1",
            results["net_mse"],
            f"PCA-50: {results['pca_mse']:.3f}; the mean patch: {results['variance']:.2f}",
        ),
    )


def plot(results: Results) -> Mapping[str, Figure]:
    """Plot the filters of network and PCA, and their locality."""
    figure = new_figure("Filters of 50 sparse units, and the first 50 principal components", width=10, height=6.2)
    grid = figure.add_gridspec(2, 2, height_ratios=(1.6, 1))
    titles = {"net": "filters of the network", "pca": "principal components, by variance"}
    for place, (name, title) in enumerate(titles.items()):
        axes: Axes = figure.add_subplot(grid[0, place])
        shown = unpack(results[f"{name}_filters"])
        axes.imshow(make_grid([shown[start : start + COLUMNS] for start in range(0, CODE, COLUMNS)]))
        axes.set(title=title)
        axes.set_axis_off()
    below = add_grid(figure.add_subplot(grid[1, :]))
    for name, colour, label in (("net", "sparse", "network"), ("pca", "pca", "PCA-50")):
        below.plot(range(1, CODE + 1), results[f"{name}_local"], color=COLOURS[colour], marker="o", ms=3, label=label)
    below.axhline(WINDOW**2 / SIDE**2, color=COLOURS["input"], ls=":", label="evenly spread")
    below.set(xlabel="filter, least local first", ylabel="fraction of energy in 5x5 pixels", ylim=(0.2, 1.02))
    below.legend(frameon=False)
    return {"filters": figure}


def summary(results: Results) -> str:
    """Return the answer as text."""
    net, pca = (float(np.median(results[name])) for name in ("net_local", "pca_local"))
    return (
        "Edges. Most units respond to a bar or an edge with one orientation at one position of the patch, a few to a "
        f"texture. Half of the filters have more than {100 * net:.0f} % of their energy within a quarter of the patch; "
        f"half of the principal components have more than {100 * pca:.0f} %. Principal components are waves over the "
        "whole patch, as for any data with translation-invariant statistics. "
        f"A unit is active for {100 * results['on_share']:.1f} % of the patches.\n\n"
        f"Sparsity has a price: the error is {results['net_mse']:.2f} of the variance, and that of PCA-50 "
        f"{results['pca_mse']:.3f}. PCA uses all of its 50 numbers, of either sign and any magnitude, for every patch. "
        "The sparse network composes a patch of the few active units, whose activations are between 0 and 1. In "
        "return, an active unit tells which feature is at which position. "
        f"({results['patches']} whitened patches of equal contrast; {results['parameters']} weights; "
        f"{results['seconds']:.0f} s of training; seed {results['seed']}.)"
    )


STUDY = Study(
    name="patches",
    title="Pictures of 10x10 through 50 hidden units",
    question="What do 50 hidden units learn from pictures of 10x10 pixels if each is active for few pictures?",
    command="hourglass-train fit ten-by-ten",
    measure=measure,
    rows=rows,
    plot=plot,
    summary=summary,
)
