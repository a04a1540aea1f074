"""What a code with too much room learns: every net on digits it has not seen, and on what is no digit at all.

Errors are shares of the pictures' own variance: 1 is what answering their mean picture would cost, 0 is a copy.
"""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression

from training.data import Data, Items, Pixels
from training.errors import DataError
from training.evaluation.figures import answers
from training.loop.batches import as_float, as_tensor
from training.nets import Autoencoder
from training.studies.base.packing import pack
from training.studies.base.study import Results, Study
from training.studies.copying import figures
from training.studies.copying.figures import KINDS, PIXELS, PROBED, SHOWN
from training.workspace import Model, Workshop

SIZES = (2, 8, 32, 128, 512, 784, 1024)
TESTED = 2000

Floats = NDArray[np.float32]
Way = Callable[[Items], Floats]
"""Pictures to flat numbers: their codes, or what comes back in 0..1."""


def measure(workshop: Workshop) -> Results:
    """The sweep over code sizes, linear and not; four nets side by side; and what their codes are worth."""
    data = workshop.data("digits")
    kinds = worlds(data.test[:TESTED], workshop.data("digits", "data.name=fashion-mnist").test[:TESTED])
    pca = PCA(svd_solver="covariance_eigh").fit(flat(data.train))
    fits = {n: workshop.fit("overcomplete", f"net.code={n}", variant=f"{n}").fitted for n in SIZES}
    linear = workshop.fit("overcomplete", "net.code_activation=linear", variant="linear").fitted
    ways = {
        "linear, 1024": _of_net(linear.net),
        "gelu, 1024": _of_net(fits[SIZES[-1]].net),
        "undercomplete, 32": _of_model(workshop.model("digits")),
        "sparse, 1024": _of_model(workshop.model("digits-sparse")),
    }
    return {
        "seconds": linear.seconds + sum(fitted.seconds for fitted in fits.values()),
        "sweep": {f"{n}": _judged(*_of_net(fitted.net), kinds, data) for n, fitted in fits.items()},
        "pca": {f"{n}": shares(_projection(pca, n), kinds) for n in SIZES if n <= PIXELS},
        "nets": {name: _judged(*way, kinds, data) for name, way in ways.items()},
        "pixels_error": probe(flat, data),
        "given": pack(_shown(kinds)),
        "copies": {name: pack(_eight_bits(back(_shown(kinds)))) for name, (_, back) in ways.items()},
    }


def worlds(digits: Items, clothes: Items, seed: int = 0) -> dict[str, Items]:
    """Pictures by kind: digits that were not trained on, their negatives, clothes, and uniform noise."""
    noise = np.random.default_rng(seed).integers(0, 256, digits.shape, np.uint8)
    return dict(zip(KINDS, (digits, 255 - digits, clothes, noise), strict=True))


def shares(back: Way, kinds: Mapping[str, Items]) -> dict[str, float]:
    """By kind: the squared error as a share of the variance around the kind's own mean picture."""
    return {
        kind: float(np.square(back(pictures) - flat(pictures)).mean() / flat(pictures).var(0).mean())
        for kind, pictures in kinds.items()
    }


def probe(codes: Way, data: Data) -> float:
    """Share of the test digits that logistic regression on the codes of PROBED training digits gets wrong."""
    if data.train_labels is None or data.test_labels is None:
        raise DataError(f"{data.name} has no classes to tell from codes")
    train, test = codes(data.train[:PROBED]), codes(data.test)
    scale = max(float(train.std()), 1e-12)
    fitted = LogisticRegression(C=0.1, max_iter=300, tol=1e-3).fit(train / scale, data.train_labels[:PROBED])
    return 1 - float(fitted.score(test / scale, data.test_labels))


def flat(pictures: Items) -> Floats:
    """N,features in 0..1."""
    return pictures.reshape(len(pictures), -1).astype(np.float32) / np.float32(255)


def _judged(codes: Way, back: Way, kinds: Mapping[str, Items], data: Data) -> dict[str, float]:
    return {**shares(back, kinds), "error": probe(codes, data)}


def _of_net(net: Autoencoder) -> tuple[Way, Way]:
    """Codes and what comes back, of a net that is not published."""

    @torch.no_grad()
    def codes(pictures: Items) -> Floats:
        return net.encode(as_float(as_tensor(pictures))).numpy()

    @torch.no_grad()
    def back(pictures: Items) -> Floats:
        return net.finish(net(as_float(as_tensor(pictures)))).flatten(1).numpy()

    return codes, back


def _of_model(model: Model) -> tuple[Way, Way]:
    """The same of a published model, as it is served."""
    encode, reconstruct = model.graphs["encode"], model.graphs["reconstruct"]
    return lambda pictures: answers(encode, pictures), lambda pictures: flat(answers(reconstruct, pictures))


def _projection(pca: PCA, components: int) -> Way:
    kept, mean = np.asarray(pca.components_)[:components], np.asarray(pca.mean_)
    return lambda pictures: ((flat(pictures) - mean) @ kept.T @ kept + mean).astype(np.float32)


def _shown(kinds: Mapping[str, Items]) -> Pixels:
    return np.concatenate([pictures[:SHOWN] for pictures in kinds.values()], dtype=np.uint8)


def _eight_bits(back: Floats) -> Pixels:
    return np.round(back.clip(0, 1) * 255).astype(np.uint8).reshape(-1, 28, 28, 1)


STUDY = Study(
    name="copying",
    title="A net with too much room copies",
    question="A code as large as the input, or a net with too much capacity: why is g(f(x)) = x not useful?",
    command="hourglass-train fit overcomplete",
    measure=measure,
    rows=figures.rows,
    draw=figures.draw,
    words=figures.words,
)
