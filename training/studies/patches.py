"""The lecture's pictures of 10x10 through 50 hidden units: what the units look for in photographs, beside PCA-50."""

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
ACTIVE_THRESHOLD = 0.5
"""Activity above which a unit is called on."""

Filters = NDArray[np.floating[Any]]


def measure(workspace: Workspace) -> Results:
    """Errors on the test patches, the filters, and how much of each lies in one place."""
    trained = workspace.fit("ten-by-ten")
    net, test = trained.result.net, trained.data.test
    filters = encoder_gradients(net)
    with torch.no_grad():
        codes = net.encode(as_tensor(test))
        made = net.activate_output(net.decode(codes)).numpy()
    pca = PCA(CODE, svd_solver="covariance_eigh").fit(trained.data.train)
    components = np.asarray(pca.components_)
    return {
        "net_mse": float(np.square(made - test).mean()),
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
    """What each unit of the code looks for: its slope at the empty patch, its weights up to a factor; code,features."""
    found = torch.autograd.functional.jacobian(lambda x: net.encode(x[None])[0], torch.zeros(net.shape))
    return found.flatten(1).numpy()


def locality(filters: Filters) -> NDArray[np.float64]:
    """The share of each filter's squares that lies in its best WINDOW x WINDOW pixels: 0.25 where they lie evenly."""
    squares = np.square(filters.reshape(-1, SIDE, SIDE).astype(np.float64))
    windows = np.lib.stride_tricks.sliding_window_view(squares, (WINDOW, WINDOW), (1, 2))
    return windows.sum((3, 4)).max((1, 2)) / squares.sum((1, 2))


def filter_pictures(filters: Filters) -> NDArray[np.uint8]:
    """N,SIDE,SIDE,1: 0 is grey, the largest magnitude of each black or white."""
    scaled = filters / np.abs(filters).max(1, keepdims=True)
    return np.round(127.5 + 127.5 * scaled).astype(np.uint8).reshape(-1, SIDE, SIDE, 1)


def rows(results: Results) -> Sequence[Row]:
    net, pca = (float(np.median(results[name])) for name in ("net_local", "pca_local"))
    return (
        Row(
            "share of a filter's energy within 5x5 of its 10x10, median",
            net,
            f"PCA-50's directions: {pca:.2f}; evenly spread: 0.25",
            target=pca,
            higher_is_better=True,
        ),
        Row(
            "MSE, where patches have a variance of 1",
            results["net_mse"],
            f"PCA-50: {results['pca_mse']:.3f}; the mean patch: {results['variance']:.2f}",
        ),
    )


def plot(results: Results) -> Mapping[str, Figure]:
    made = new_figure("What 50 units look for in photographs, and PCA's 50 directions", width=10, height=6.2)
    grid = made.add_gridspec(2, 2, height_ratios=(1.6, 1))
    for place, (name, title) in enumerate({"net": "the net's filters", "pca": "PCA's directions, by variance"}.items()):
        axes: Axes = made.add_subplot(grid[0, place])
        shown = unpack(results[f"{name}_filters"])
        axes.imshow(make_grid([shown[start : start + COLUMNS] for start in range(0, CODE, COLUMNS)]))
        axes.set(title=title)
        axes.set_axis_off()
    below = add_grid(made.add_subplot(grid[1, :]))
    for name, colour, label in (("net", "sparse", "the net"), ("pca", "pca", "PCA-50")):
        below.plot(range(1, CODE + 1), results[f"{name}_local"], color=COLOURS[colour], marker="o", ms=3, label=label)
    below.axhline(WINDOW**2 / SIDE**2, color=COLOURS["input"], ls=":", label="evenly spread")
    below.set(xlabel="filter, least local first", ylabel="energy in its best 5x5 pixels", ylim=(0.2, 1.02))
    below.legend(frameon=False)
    return {"filters": made}


def summary(results: Results) -> str:
    net, pca = (float(np.median(results[name])) for name in ("net_local", "pca_local"))
    return (
        "Edges. Most units answer to a bar or an edge of one direction at one place of the patch, a few to a texture. "
        f"Half of the filters have more than {100 * net:.0f} % of their energy within a quarter of the patch, half of "
        f"PCA's directions more than {100 * pca:.0f} %. Those are waves over all of it, as "
        "they are for any data whose statistics are the same everywhere. "
        f"A unit is on for {100 * results['on_share']:.1f} % of the patches.\n\n"
        f"It has its price: an error of {results['net_mse']:.2f} of the variance, where PCA-50 leaves "
        f"{results['pca_mse']:.3f}. PCA may use all of its 50 numbers, of either sign and any size, for every patch; "
        "here a patch has to be put together of the few units that are on, whose activity is between 0 and 1. What is "
        f"bought is a code that says what is where. ({results['patches']} whitened patches of one contrast; "
        f"{results['parameters']} weights; {results['seconds']:.0f} s of training; seed {results['seed']}.)"
    )


STUDY = Study(
    name="patches",
    title="Pictures of 10x10 through 50 hidden units",
    question="What do 50 hidden units learn of pictures of 10x10, where each of them is to be on for few?",
    command="hourglass-train fit ten-by-ten",
    measure=measure,
    rows=rows,
    plot=plot,
    summary=summary,
)
