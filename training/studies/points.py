"""Points in space through a code of two numbers, compared with PCA: a curved sheet, and a table of three columns."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from training.loop.batches import as_tensor
from training.studies.base.packing import pack, unpack
from training.studies.base.plot_style import add_grid, new_figure
from training.studies.base.study import Results, Row, Study
from training.workspace import TrainedModel, Workspace

TABLE = "beams.csv"
COLUMNS = ("length, cm", "load, kg", "slope, degrees")
STIFFNESS = 1800.0
"""Flexural rigidity E I of the beams in N m^2: a lath of spruce, 6 cm wide and 3.2 cm thick."""
AXES = {"sheet": ("x", "y", "z"), "table": COLUMNS}
HEIGHT_COLORMAP = "viridis"
SLIGHT_BEND = 20
"""Degrees of the cylinder that the nearly flat sheet covers."""
TITLES = {"sheet": "A sheet bent round a quarter of a cylinder", "table": "A table of beams that bend under a load"}


def beams(count: int, seed: int) -> NDArray[np.float64]:
    """Return a table of loaded beams, float64 (count, 3): length in cm, load in kg, slope at the free end in degrees.

    A beam is clamped at one end and loaded at the other. The slope is W L^2 / (2 E I) with the weight W and the length
    L, plus a reading error with a standard deviation of 0.1 degrees.
    """
    random = np.random.default_rng(seed)
    length, load = random.uniform(20, 180, count), random.uniform(2, 30, count)
    slope = np.degrees(9.81 * load * (length / 100) ** 2 / (2 * STIFFNESS))
    return np.stack([length, load, slope + random.normal(scale=0.1, size=count)], axis=1)


def measure(workspace: Workspace) -> Results:
    """Train on the sheet, the table and a nearly flat sheet; return the errors of network and PCA, and the points."""
    path = workspace.runs.resolve() / TABLE
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savetxt(path, beams(2000, seed=0), "%.2f", ",", header=",".join(COLUMNS).replace(", ", " "), comments="")
    table = f'data={{source="arrays",path="{path}",licence="CC0-1.0",test_fraction=0.2}}'
    return {
        "sheet": _compare(workspace.fit("points-3d")),
        "table": _compare(workspace.fit("points-3d", table, "net.normalize=minmax", variant="table")),
        "nearly flat": _compare(workspace.fit("points-3d", f"data.bend={SLIGHT_BEND}", variant="flat")),
    }


def _compare(trained: TrainedModel) -> dict[str, Any]:
    """Compare the network and PCA with two components on the test points, on the scale of the network's loss."""
    net, data = trained.result.net, trained.data
    with torch.no_grad():
        codes = net.encode(as_tensor(data.test))
        outputs = net.activate_output(net.decode(codes))
        train, test = (net.normalize(as_tensor(items)).numpy().astype(np.float64) for items in (data.train, data.test))
    pca = PCA(2).fit(train)
    projections = pca.inverse_transform(pca.transform(test))
    return {
        "net_mse": float(np.square(net.normalize(outputs).numpy() - test).mean()),
        "pca_mse": float(np.square(projections - test).mean()),
        "parameters": net.parameter_count(),
        "seconds": trained.result.seconds,
        "seed": trained.recipe.optimizer.seed,
        "points": pack(data.test),
        "made": pack(outputs.numpy()),
        "codes": pack(codes.numpy()),
    }


def rows(results: Results) -> Sequence[Row]:
    """Return the errors of the network with those of PCA as targets."""
    return tuple(
        Row(
            f"{name}: MSE, columns scaled to 0..1",
            errors["net_mse"],
            f"PCA-2: {errors['pca_mse']:.6f}",
            target=errors["pca_mse"],
        )
        for name, errors in results.items()
        if name in TITLES
    )


def plot(results: Results) -> Mapping[str, Figure]:
    """Plot the points before and after the network, and their codes."""
    return {name: _plot_surface(name, results[name]) for name in TITLES}


def _plot_surface(name: str, stored: dict[str, Any]) -> Figure:
    """Plot points, codes and reconstructions; a point is coloured by its original third coordinate."""
    figure = new_figure(f"{TITLES[name]}: input, code and reconstruction", width=12, height=4.6)
    figure.get_layout_engine().set(rect=(0, 0, 0.97, 1), wspace=0.12)  # pyright: ignore
    grid = figure.add_gridspec(1, 3, width_ratios=(1.3, 0.8, 1.3))
    points, codes, outputs = (unpack(stored[part]) for part in ("points", "codes", "made"))
    for place, (title, shown) in {0: ("input", points), 2: ("reconstruction", outputs)}.items():
        axes: Any = figure.add_subplot(grid[place], projection="3d")
        axes.scatter(*shown.T, c=points[:, 2], cmap=HEIGHT_COLORMAP, s=6, alpha=1)
        axes.set(title=title, **dict(zip(("xlabel", "ylabel", "zlabel"), AXES[name], strict=True)))
        for axis, column in zip("xyz", points.T, strict=True):
            axes.set(**{f"{axis}lim": (column.min(), column.max())})
            axes.locator_params(axis=axis, nbins=4)
        axes.view_init(elev=18, azim=-60)
        axes.set_box_aspect(None, zoom=0.85)
    code_axes = add_grid(figure.add_subplot(grid[1]))
    code_axes.scatter(*codes.T, c=points[:, 2], cmap=HEIGHT_COLORMAP, s=6)
    code_axes.set(
        title=f"codes, coloured by the input's {AXES[name][2]}",
        xlabel="first number",
        ylabel="second number",
        box_aspect=1,
    )
    return figure


def summary(results: Results) -> str:
    """Return the answer as text."""
    sheet, table, flat = results["sheet"], results["table"], results["nearly flat"]
    return (
        "Two numbers are enough if the points lie near a surface, even a curved one. On the sheet, the network has a "
        f"mean squared error of {sheet['net_mse']:.5f}, and the best plane (PCA) one of {sheet['pca_mse']:.5f}. On the "
        "table, whose columns are in centimetres, kilograms and degrees and are scaled to 0..1, the errors are "
        f"{table['net_mse']:.5f} and {table['pca_mse']:.5f}. The network has {sheet['parameters']} weights; plain "
        f"stochastic gradient descent took {sheet['seconds']:.0f} s and {table['seconds']:.0f} s (seed "
        f"{sheet['seed']}).\n\n"
        "A nonlinear network is not always better. Its sigmoids bend every output, and this network is too small to "
        f"compensate. On a sheet bent by {SLIGHT_BEND} degrees instead of 90, its error is {flat['net_mse']:.5f}, and "
        f"that of the plane {flat['pca_mse']:.5f}. The loss does not determine the codes: any invertible function of "
        "them describes the points equally well."
    )


STUDY = Study(
    name="points",
    title="Points in space through two numbers",
    question="Three numbers to two and back, two layers of sigmoids: what do the points look like before and after?",
    command="hourglass-train fit points-3d",
    measure=measure,
    rows=rows,
    plot=plot,
    summary=summary,
)
