"""The lecture's first autoencoder: points in space through two numbers, beside the best plane, which is PCA's.

Twice: on a sheet made by a formula, and on a table of three columns in units of their own.
"""

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
"""Of a beam against bending, E I, in newton square metres: a lath of spruce, 6 cm wide and 3.2 cm thick."""
AXES = {"sheet": ("x", "y", "z"), "table": COLUMNS}
HEIGHT_COLORMAP = "viridis"
SLIGHT_BEND = 20
"""Degrees."""
TITLES = {"sheet": "A sheet bent round a quarter of a cylinder", "table": "A table of beams that bend under a load"}


def beams(count: int, seed: int) -> NDArray[np.float64]:
    """A table (count, 3): length in cm, load in kg at the free end, and the slope in degrees that is read there.

    The beam is held at one end; the slope is W L^2 / (2 E I), read to a tenth of a degree.
    """
    random = np.random.default_rng(seed)
    length, load = random.uniform(20, 180, count), random.uniform(2, 30, count)
    slope = np.degrees(9.81 * load * (length / 100) ** 2 / (2 * STIFFNESS))
    return np.stack([length, load, slope + random.normal(scale=0.1, size=count)], axis=1)


def measure(workspace: Workspace) -> Results:
    """Errors on the test points, with every column on 0..1 where the units differ; and the points themselves."""
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
    """The net and PCA-2 on the same test points, on the scale that the net's loss compares."""
    net, data = trained.result.net, trained.data
    with torch.no_grad():
        codes = net.encode(as_tensor(data.test))
        made = net.activate_output(net.decode(codes))
        train, test = (net.normalize(as_tensor(items)).numpy().astype(np.float64) for items in (data.train, data.test))
    pca = PCA(2).fit(train)
    flat = pca.inverse_transform(pca.transform(test))
    return {
        "net_mse": float(np.square(net.normalize(made).numpy() - test).mean()),
        "pca_mse": float(np.square(flat - test).mean()),
        "parameters": net.parameter_count(),
        "seconds": trained.result.seconds,
        "seed": trained.recipe.optimizer.seed,
        "points": pack(data.test),
        "made": pack(made.numpy()),
        "codes": pack(codes.numpy()),
    }


def rows(results: Results) -> Sequence[Row]:
    return tuple(
        Row(
            f"{name}: MSE, columns on 0..1", found["net_mse"], f"PCA-2: {found['pca_mse']:.6f}", target=found["pca_mse"]
        )
        for name, found in results.items()
        if name in TITLES
    )


def plot(results: Results) -> Mapping[str, Figure]:
    return {name: _plot_surface(name, results[name]) for name in TITLES}


def _plot_surface(name: str, found: dict[str, Any]) -> Figure:
    """Before, between and after; each point has one colour throughout, its height in the original."""
    made = new_figure(f"{TITLES[name]}, through two numbers and back", width=12, height=4.6)
    made.get_layout_engine().set(rect=(0, 0, 0.97, 1), wspace=0.12)  # pyright: ignore
    grid = made.add_gridspec(1, 3, width_ratios=(1.3, 0.8, 1.3))
    points, codes, back = (unpack(found[part]) for part in ("points", "codes", "made"))
    for place, (title, shown) in {0: ("before", points), 2: ("after", back)}.items():
        axes: Any = made.add_subplot(grid[place], projection="3d")
        axes.scatter(*shown.T, c=points[:, 2], cmap=HEIGHT_COLORMAP, s=6, alpha=1)
        axes.set(title=title, **dict(zip(("xlabel", "ylabel", "zlabel"), AXES[name], strict=True)))
        for axis, column in zip("xyz", points.T, strict=True):
            axes.set(**{f"{axis}lim": (column.min(), column.max())})
            axes.locator_params(axis=axis, nbins=4)
        axes.view_init(elev=18, azim=-60)
        axes.set_box_aspect(None, zoom=0.85)
    between = add_grid(made.add_subplot(grid[1]))
    between.scatter(*codes.T, c=points[:, 2], cmap=HEIGHT_COLORMAP, s=6)
    between.set(
        title=f"the codes, coloured by {AXES[name][2]} before",
        xlabel="first number",
        ylabel="second number",
        box_aspect=1,
    )
    return made


def summary(results: Results) -> str:
    sheet, table, flat = results["sheet"], results["table"], results["nearly flat"]
    return (
        "Two numbers are enough where the points lie on a surface, and the surface may be curved: on the sheet the net "
        f"leaves a squared error of {sheet['net_mse']:.5f}, and the best plane, PCA's, {sheet['pca_mse']:.5f}; on the "
        f"table, its columns in centimetres, kilograms and degrees, {table['net_mse']:.5f} against "
        f"{table['pca_mse']:.5f} with every column on 0..1. The net has {sheet['parameters']} weights; plain "
        f"stochastic gradient descent took {sheet['seconds']:.0f} s and {table['seconds']:.0f} s (seed "
        f"{sheet['seed']}).\n\n"
        "It is no law. Sigmoids bend whatever they answer, and this net has no weights to unbend it: on a sheet "
        f"that is bent by {SLIGHT_BEND} degrees instead of 90 it leaves {flat['net_mse']:.5f}, where the plane leaves "
        f"{flat['pca_mse']:.5f}. What the codes look like is not said by the loss: any other pair of numbers from "
        "which the points can be found would do as well."
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
