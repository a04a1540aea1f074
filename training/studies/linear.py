"""A linear autoencoder compared with principal component analysis (scikit-learn).

Baldi and Hornik, "Neural networks and principal component analysis" (1989): with the squared error, the optimum of a
linear autoencoder spans the same subspace as the principal components.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.linalg import subspace_angles
from sklearn.decomposition import PCA

from training.loop.batches import as_tensor, to_float
from training.studies.base.packing import pack, unpack
from training.studies.base.plot_style import COLOURS, add_grid, new_figure, show_rows
from training.studies.base.study import Results, Row, Study
from training.studies.measures.arrays import flatten64
from training.workspace import Workspace

CODE = 32
NUM_DIRECTIONS = 8


def measure(workspace: Workspace) -> Results:
    """Measure the errors without rounding, the principal angles between the subspaces, and some of their directions."""
    trained = workspace.fit("linear-pca")
    train, test = (flatten64(items) for items in (trained.data.train, trained.data.test))
    pca = PCA(CODE + 1, svd_solver="covariance_eigh").fit(train)
    components = np.asarray(pca.components_)[:CODE]
    centred = test - np.asarray(pca.mean_)
    net = trained.result.net
    with torch.no_grad():
        outputs = net(to_float(as_tensor(trained.data.test))).flatten(1).numpy()
        corners = net.decode(torch.cat([torch.zeros(1, CODE), torch.eye(CODE)])).flatten(1).numpy().astype(np.float64)
    directions = corners[1:] - corners[0]  # the decoder is affine: d(e_i) - d(0) is the direction of unit i
    angles = np.degrees(subspace_angles(directions.T, components.T))
    basis = np.linalg.qr(directions.T)[0].T
    return {
        "net_mse": float(np.square(outputs - test).mean()),
        "pca_mse": float(np.square(centred @ components.T @ components - centred).mean()),
        "angles": [float(angle) for angle in angles],
        "variances": [float(variance) for variance in pca.explained_variance_[-2:]],
        "seconds": trained.result.seconds,
        "seed": trained.recipe.optimizer.seed,
        "parameters": net.parameter_count(),
        "net_directions": pack(_picture(directions[:NUM_DIRECTIONS])),
        "pca_directions": pack(_picture(components[:NUM_DIRECTIONS])),
        "pca_within_net": pack(_picture(components[:NUM_DIRECTIONS] @ basis.T @ basis)),
    }


def rows(results: Results) -> Sequence[Row]:
    """Return the distances of error and subspace from those of PCA."""
    gap = results["net_mse"] - results["pca_mse"]
    return (
        Row(
            "difference between the MSE and that of PCA-32",
            abs(gap),
            f"PCA-32: {results['pca_mse']:.5f}",
            "scikit-learn",
            1e-4,
        ),
        Row("largest principal angle, degrees", max(results["angles"]), "the same subspace: 0", "scipy", 1.0),
    )


def plot(results: Results) -> Mapping[str, Figure]:
    """Plot directions of both subspaces and the angles between them."""
    figure = new_figure("A linear autoencoder and PCA span the same subspace of 32 dimensions", height=6)
    above, below = figure.subplots(2, 1, height_ratios=(2.2, 1))
    show_rows(
        above,
        [unpack(results[name]) for name in ("net_directions", "pca_directions", "pca_within_net")],
        ["network", "PCA", "PCA, projected on\nthe network's subspace"],
    )
    add_grid(below).bar(range(1, CODE + 1), sorted(results["angles"]), color=COLOURS["ours"])
    below.set(xlabel="principal angle, smallest first", ylabel="angle, degrees")
    return {"subspace": figure}


def summary(results: Results) -> str:
    """Return the answer as text."""
    last_kept, first_omitted = results["variances"]
    return (
        f"The subspace of PCA. The network's error is {results['net_mse']:.5f}, that of PCA {results['pca_mse']:.5f}, "
        f"and the largest principal angle between the two subspaces is {max(results['angles']):.2f} degrees. The "
        "directions themselves differ: the squared error is the same for every basis of the subspace, so that the "
        "network finds an arbitrary one, neither orthogonal nor ordered by variance.\n\n"
        f"The last direction is the hardest to find: the variances of the {CODE}nd component and of the next, which "
        f"is to be omitted, differ by only {100 * (1 - first_omitted / last_kept):.0f} %, and a network that mixes the "
        "two has almost the same error. The recipe therefore uses stochastic gradient descent with a large momentum "
        f"and a learning rate that decays to zero ({results['parameters']} weights, {results['seconds']:.0f} s of "
        f"training, seed {results['seed']})."
    )


def _picture(directions: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Return directions (N, 784) as pictures uint8 (N, 28, 28, 1): 0 is grey, the largest magnitude black or white."""
    scaled = directions / np.abs(directions).max(1, keepdims=True)
    return np.round(127.5 + 127.5 * scaled).astype(np.uint8).reshape(-1, 28, 28, 1)


STUDY = Study(
    name="linear",
    title="A linear autoencoder is PCA",
    question="If encoder and decoder are linear and the loss is the squared error, what does the network learn?",
    command="hourglass-train fit linear-pca",
    measure=measure,
    rows=rows,
    plot=plot,
    summary=summary,
)
