"""What a code with too much room learns: every net on digits it has not seen, and on what is no digit at all.

Errors are shares of the pictures' own variance: 1 is what answering their mean picture would cost, 0 is a copy.
"""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression

from training.data import Dataset, Items, Pixels
from training.errors import DataError
from training.evaluation.figures import run_in_batches
from training.loop.batches import as_tensor, to_float
from training.nets import Autoencoder
from training.studies.base.packing import pack
from training.studies.base.study import Results, Study
from training.studies.copying import figures
from training.studies.copying.figures import KINDS, PICTURES_PER_KIND, PIXELS, PROBE_ITEMS
from training.workspace import PublishedModel, Workspace

SIZES = (2, 8, 32, 128, 512, 784, 1024)
TEST_ITEMS = 2000

Floats = NDArray[np.float32]
ImageFunction = Callable[[Items], Floats]
"""Pictures to flat numbers: their codes, or what comes back in 0..1."""


def measure(workspace: Workspace) -> Results:
    """The sweep over code sizes, linear and not; four nets side by side; and what their codes are worth."""
    data = workspace.data("digits")
    kinds = picture_sets(
        data.test[:TEST_ITEMS], workspace.data("digits", "data.source=fashion-mnist").test[:TEST_ITEMS]
    )
    pca = PCA(svd_solver="covariance_eigh").fit(flatten(data.train))
    fits = {n: workspace.fit("overcomplete", f"net.code={n}", variant=f"{n}").result for n in SIZES}
    linear = workspace.fit("overcomplete", "net.code_activation=linear", variant="linear").result
    ways = {
        "linear, 1024": _net_functions(linear.net),
        "gelu, 1024": _net_functions(fits[SIZES[-1]].net),
        "undercomplete, 32": _model_functions(workspace.model("digits")),
        "sparse, 1024": _model_functions(workspace.model("digits-sparse")),
    }
    return {
        "seconds": linear.seconds + sum(fitted.seconds for fitted in fits.values()),
        "sweep": {f"{n}": _metrics(*_net_functions(fitted.net), kinds, data) for n, fitted in fits.items()},
        "pca": {f"{n}": normalized_mse(_pca_reconstruction(pca, n), kinds) for n in SIZES if n <= PIXELS},
        "nets": {name: _metrics(*way, kinds, data) for name, way in ways.items()},
        "pixels_error": probe_error(flatten, data),
        "given": pack(_first_pictures(kinds)),
        "copies": {name: pack(_to_pictures(back(_first_pictures(kinds)))) for name, (_, back) in ways.items()},
    }


def picture_sets(digits: Items, clothes: Items, seed: int = 0) -> dict[str, Items]:
    """Pictures by kind: digits that were not trained on, their negatives, clothes, and uniform noise."""
    noise = np.random.default_rng(seed).integers(0, 256, digits.shape, np.uint8)
    return dict(zip(KINDS, (digits, 255 - digits, clothes, noise), strict=True))


def normalized_mse(back: ImageFunction, kinds: Mapping[str, Items]) -> dict[str, float]:
    """By kind: the squared error as a share of the variance around the kind's own mean picture."""
    return {
        kind: float(np.square(back(pictures) - flatten(pictures)).mean() / flatten(pictures).var(0).mean())
        for kind, pictures in kinds.items()
    }


def probe_error(codes: ImageFunction, data: Dataset) -> float:
    """Share of the test digits that logistic regression on the codes of PROBE_ITEMS training digits gets wrong."""
    if data.train_labels is None or data.test_labels is None:
        raise DataError(f"{data.name} has no classes to tell from codes")
    train, test = codes(data.train[:PROBE_ITEMS]), codes(data.test)
    scale = max(float(train.std()), 1e-12)
    fitted = LogisticRegression(C=0.1, max_iter=300, tol=1e-3).fit(train / scale, data.train_labels[:PROBE_ITEMS])
    return 1 - float(fitted.score(test / scale, data.test_labels))


def flatten(pictures: Items) -> Floats:
    """N,features in 0..1."""
    return pictures.reshape(len(pictures), -1).astype(np.float32) / np.float32(255)


def _metrics(codes: ImageFunction, back: ImageFunction, kinds: Mapping[str, Items], data: Dataset) -> dict[str, float]:
    return {**normalized_mse(back, kinds), "error": probe_error(codes, data)}


def _net_functions(net: Autoencoder) -> tuple[ImageFunction, ImageFunction]:
    """Codes and what comes back, of a net that is not published."""

    @torch.no_grad()
    def codes(pictures: Items) -> Floats:
        return net.encode(to_float(as_tensor(pictures))).numpy()

    @torch.no_grad()
    def back(pictures: Items) -> Floats:
        return net.activate_output(net(to_float(as_tensor(pictures)))).flatten(1).numpy()

    return codes, back


def _model_functions(model: PublishedModel) -> tuple[ImageFunction, ImageFunction]:
    """The same of a published model, as it is served."""
    encode, reconstruct = model.graphs["encode"], model.graphs["reconstruct"]
    return lambda pictures: run_in_batches(encode, pictures), lambda pictures: flatten(
        run_in_batches(reconstruct, pictures)
    )


def _pca_reconstruction(pca: PCA, components: int) -> ImageFunction:
    kept, mean = np.asarray(pca.components_)[:components], np.asarray(pca.mean_)
    return lambda pictures: ((flatten(pictures) - mean) @ kept.T @ kept + mean).astype(np.float32)


def _first_pictures(kinds: Mapping[str, Items]) -> Pixels:
    return np.concatenate([pictures[:PICTURES_PER_KIND] for pictures in kinds.values()], dtype=np.uint8)


def _to_pictures(back: Floats) -> Pixels:
    return np.round(back.clip(0, 1) * 255).astype(np.uint8).reshape(-1, 28, 28, 1)


STUDY = Study(
    name="copying",
    title="A net with too much room copies",
    question="A code as large as the input, or a net with too much capacity: why is g(f(x)) = x not useful?",
    command="hourglass-train fit overcomplete",
    measure=measure,
    rows=figures.rows,
    plot=figures.plot,
    summary=figures.summary,
)
