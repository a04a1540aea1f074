"""Measurement of the study `copying`: the errors of networks of all code sizes on digits and on other pictures.

Errors are fractions of the variance of the pictures: 0 for a copy, 1 for the mean picture of their kind.
"""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from training.data import Dataset, Items, Pixels
from training.evaluation.metrics import flatten, run_in_batches
from training.loop.batches import as_tensor, to_float
from training.nets import Autoencoder
from training.studies.base.packing import pack
from training.studies.base.study import Results, Study
from training.studies.copying import figures
from training.studies.copying.figures import KINDS, PICTURES_PER_KIND, PIXELS, PROBE_ITEMS
from training.studies.measures.classifier import get_labels
from training.studies.measures.linear_probe import fixed_linear_probe
from training.workspace import PublishedModel, Workspace

SIZES = (2, 8, 32, 128, 512, 784, 1024)
TEST_ITEMS = 2000

Floats = NDArray[np.float32]
ImageFunction = Callable[[Items], Floats]
"""Function from pictures uint8 (N, H, W, C) to float32 (N, features): codes, or reconstructions in 0..1."""


def measure(workspace: Workspace) -> Results:
    """Measure networks and PCA over the size of the code, and four networks with linear probes on their codes."""
    data = workspace.data("digits")
    kinds = picture_sets(
        data.test[:TEST_ITEMS], workspace.data("digits", "data.source=fashion-mnist").test[:TEST_ITEMS]
    )
    pca = PCA(svd_solver="covariance_eigh").fit(flatten(data.train))
    fits = {n: workspace.fit("overcomplete", f"net.code={n}", variant=f"{n}").result for n in SIZES}
    linear = workspace.fit("overcomplete", "net.code_activation=linear", variant="linear").result
    functions = {
        "linear, 1024": _net_functions(linear.net),
        "gelu, 1024": _net_functions(fits[SIZES[-1]].net),
        "undercomplete, 32": _model_functions(workspace.model("digits")),
        "sparse, 1024": _model_functions(workspace.model("digits-sparse")),
    }
    return {
        "seconds": linear.seconds + sum(fitted.seconds for fitted in fits.values()),
        "sweep": {f"{n}": _metrics(*_net_functions(fitted.net), kinds, data) for n, fitted in fits.items()},
        "pca": {f"{n}": normalized_mse(_pca_reconstruction(pca, n), kinds) for n in SIZES if n <= PIXELS},
        "nets": {name: _metrics(*pair, kinds, data) for name, pair in functions.items()},
        "pixels_error": probe_error(flatten, data),
        "given": pack(_first_pictures(kinds)),
        "copies": {
            name: pack(_to_pictures(reconstruct(_first_pictures(kinds))))
            for name, (_, reconstruct) in functions.items()
        },
    }


def picture_sets(digits: Items, clothes: Items, seed: int = 0) -> dict[str, Items]:
    """Return test pictures uint8 (N, H, W, C) by kind: digits, inverted digits, clothes and uniform noise."""
    noise = np.random.default_rng(seed).integers(0, 256, digits.shape, np.uint8)
    return dict(zip(KINDS, (digits, 255 - digits, clothes, noise), strict=True))


def normalized_mse(reconstruct: ImageFunction, kinds: Mapping[str, Items]) -> dict[str, float]:
    """Return the mean squared error of each kind, divided by its variance around its mean picture."""
    return {
        kind: float(np.square(reconstruct(pictures) - flatten(pictures)).mean() / flatten(pictures).var(0).mean())
        for kind, pictures in kinds.items()
    }


def probe_error(codes: ImageFunction, data: Dataset) -> float:
    """Return the fraction of test digits that a linear probe on the codes of PROBE_ITEMS training digits misclassifies.

    Raises:
        DataError: The data set has no labels.
    """
    train_labels, test_labels = get_labels(data)
    train, test = codes(data.train[:PROBE_ITEMS]), codes(data.test)
    return fixed_linear_probe(train, train_labels[:PROBE_ITEMS], test, test_labels)


def _metrics(
    codes: ImageFunction, reconstruct: ImageFunction, kinds: Mapping[str, Items], data: Dataset
) -> dict[str, float]:
    return {**normalized_mse(reconstruct, kinds), "error": probe_error(codes, data)}


def _net_functions(net: Autoencoder) -> tuple[ImageFunction, ImageFunction]:
    """Return the encoder and the reconstruction of a network, without rounding to 8 bits."""

    @torch.no_grad()
    def codes(pictures: Items) -> Floats:
        return net.encode(to_float(as_tensor(pictures))).numpy()

    @torch.no_grad()
    def reconstruct(pictures: Items) -> Floats:
        return net.activate_output(net(to_float(as_tensor(pictures)))).flatten(1).numpy()

    return codes, reconstruct


def _model_functions(model: PublishedModel) -> tuple[ImageFunction, ImageFunction]:
    """Return the encoder and the reconstruction of a published model, as served."""
    encode, reconstruct = model.graphs["encode"], model.graphs["reconstruct"]
    return lambda pictures: run_in_batches(encode, pictures), lambda pictures: flatten(
        run_in_batches(reconstruct, pictures)
    )


def _pca_reconstruction(pca: PCA, components: int) -> ImageFunction:
    """Return the projection on the first principal components."""
    directions, mean = np.asarray(pca.components_)[:components], np.asarray(pca.mean_)
    return lambda pictures: ((flatten(pictures) - mean) @ directions.T @ directions + mean).astype(np.float32)


def _first_pictures(kinds: Mapping[str, Items]) -> Pixels:
    return np.concatenate([pictures[:PICTURES_PER_KIND] for pictures in kinds.values()], dtype=np.uint8)


def _to_pictures(outputs: Floats) -> Pixels:
    return np.round(outputs.clip(0, 1) * 255).astype(np.uint8).reshape(-1, 28, 28, 1)


STUDY = Study(
    name="copying",
    title="Overcomplete codes copy their input",
    question="With a code as large as the input, or too much capacity, why is g(f(x)) = x not useful?",
    command="hourglass-train fit overcomplete",
    measure=measure,
    rows=figures.rows,
    plot=figures.plot,
    summary=figures.summary,
)
