"""A linear autoencoder against principal component analysis, which scikit-learn computes and the net never sees."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.linalg import subspace_angles
from sklearn.decomposition import PCA

from training.data import Items
from training.loop.batches import as_tensor, to_float
from training.studies.base.packing import pack, unpack
from training.studies.base.plot_style import COLOURS, add_grid, new_figure, show_rows
from training.studies.base.study import Results, Row, Study
from training.workspace import Workspace

CODE = 32
NUM_DIRECTIONS = 8


def measure(workspace: Workspace) -> Results:
    """Errors before any rounding, angles between the two subspaces, and some directions of each."""
    trained = workspace.fit("linear-pca")
    train, test = (_flatten(items) for items in (trained.data.train, trained.data.test))
    pca = PCA(CODE + 1, svd_solver="covariance_eigh").fit(train)
    components = np.asarray(pca.components_)[:CODE]
    centred = test - np.asarray(pca.mean_)
    net = trained.result.net
    with torch.no_grad():
        made = net(to_float(as_tensor(trained.data.test))).flatten(1).numpy()
        corners = net.decode(torch.cat([torch.zeros(1, CODE), torch.eye(CODE)])).flatten(1).numpy().astype(np.float64)
    directions = corners[1:] - corners[0]
    angles = np.degrees(subspace_angles(directions.T, components.T))
    spanned = np.linalg.qr(directions.T)[0].T
    return {
        "net_mse": float(np.square(made - test).mean()),
        "pca_mse": float(np.square(centred @ components.T @ components - centred).mean()),
        "angles": [float(angle) for angle in angles],
        "variances": [float(variance) for variance in pca.explained_variance_[-2:]],
        "seconds": trained.result.seconds,
        "seed": trained.recipe.optimizer.seed,
        "parameters": net.parameter_count(),
        "net_directions": pack(_picture(directions[:NUM_DIRECTIONS])),
        "pca_directions": pack(_picture(components[:NUM_DIRECTIONS])),
        "pca_within_net": pack(_picture(components[:NUM_DIRECTIONS] @ spanned.T @ spanned)),
    }


def rows(results: Results) -> Sequence[Row]:
    gap = results["net_mse"] - results["pca_mse"]
    return (
        Row("distance of the MSE from PCA-32's", abs(gap), f"PCA-32: {results['pca_mse']:.5f}", "scikit-learn", 1e-4),
        Row("largest principal angle, degrees", max(results["angles"]), "the same subspace: 0", "scipy", 1.0),
    )


def plot(results: Results) -> Mapping[str, Figure]:
    made = new_figure("A linear autoencoder and PCA span the same 32 directions", height=6)
    above, below = made.subplots(2, 1, height_ratios=(2.2, 1))
    show_rows(
        above,
        [unpack(results[name]) for name in ("net_directions", "pca_directions", "pca_within_net")],
        ["the net's", "PCA's first", "these, with the\nnet's alone"],
    )
    add_grid(below).bar(range(1, CODE + 1), sorted(results["angles"]), color=COLOURS["ours"])
    below.set(xlabel="pair of directions, best first", ylabel="angle, degrees")
    return {"subspace": made}


def summary(results: Results) -> str:
    staying, leaving = results["variances"]
    return (
        f"Yes. The net's error is {results['net_mse']:.5f} and PCA's {results['pca_mse']:.5f}, and no direction of the "
        f"net's subspace leaves PCA's by more than {max(results['angles']):.2f} degrees. The directions themselves are "
        "not PCA's: the squared error is the same for every basis of the subspace, so the net finds any one of them, "
        "neither orthogonal nor sorted by variance.\n\n"
        f"The last direction is the hard one: PCA's {CODE}nd and the next, which is to be left out, differ in "
        f"variance by {100 * (1 - leaving / staying):.0f} % only; a net that mixes them up has almost the same error. "
        "The recipe therefore goes down the plain gradient with much momentum, in steps that shrink to nothing: "
        f"{results['parameters']} weights, {results['seconds']:.0f} s of training, seed {results['seed']}."
    )


def _flatten(items: Items) -> NDArray[np.float64]:
    return items.reshape(len(items), -1).astype(np.float64) / 255


def _picture(directions: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Directions (N, 784) as grey pictures: 0 is grey, the largest magnitude of each black or white."""
    scaled = directions / np.abs(directions).max(1, keepdims=True)
    return np.round(127.5 + 127.5 * scaled).astype(np.uint8).reshape(-1, 28, 28, 1)


STUDY = Study(
    name="linear",
    title="A linear autoencoder is PCA",
    question="Encoder and decoder linear, the loss the squared error: what does such a net learn?",
    command="hourglass-train fit linear-pca",
    measure=measure,
    rows=rows,
    plot=plot,
    summary=summary,
)
