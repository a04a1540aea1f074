"""What the study of sparsity measures: activity, redrawing, classes found in the code, and fits that go on too long.

Every variant is a net of 1024 units fitted alike, but for the published L1 one; and one that is convolutional.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from training.data import Data, Items
from training.evaluation.figures import answers, errors
from training.loop.run_folder import read_log
from training.studies.base.packing import pack
from training.studies.base.study import Results
from training.studies.measures.linear_probe import Floats, probe
from training.studies.sparsity.variants import VARIANTS, Variant, untrained
from training.workspace import Workshop

LABELLED = (100, 1000, 10_000)
CHANCE = "strokes, untrained"
"""What of strokes' success is its shape and its pooling, not what it learnt."""
JUDGED = 10_000
"""Training items whose error stands beside the test set's."""
SHOWN = 12
VISIBLE = 32
"""Grey levels of 255 that a unit must change somewhere to be shown."""
FEW = (
    "data.items=2000",
    "optimisation.validation=0.5",
    "optimisation.epochs=200",
    "optimisation.batch=50",
    "optimisation.precision=bfloat16",
)
"""So few digits that a net can learn them by heart, half of them held out."""


COMPARED = ("no penalty", "lifetime", "strokes")
"""Whose features meet few labels, beside the pixels."""


def measure(workshop: Workshop) -> Results:
    """All variants; the classical features; few labels; and the curves of fits that go on too long."""
    data = workshop.data("digits-sparse")
    found: dict[str, Any] = {}
    probes: dict[str, Any] = {}
    few: dict[str, list[float]] = {}
    for name, train, test in _classical(data):
        probes[name] = _probe(data, train, test)
        if name == "pixels":
            few[name] = _few(data, train, test)
    for name, find in VARIANTS.items():
        variant = find(workshop)
        codes = answers(variant.encode, data.test)
        found[name] = _facts(variant, codes, data)
        train, test = _flat(answers(variant.encode, data.train)), _flat(codes)
        probes[name] = _probe(data, train, test)
        if name in COMPARED:
            few[name] = _few(data, train, test)
    chance = untrained("digits-strokes", workshop)
    train, test = (_flat(answers(chance, items)) for items in (data.train, data.test))
    probes[CHANCE], few[CHANCE] = _probe(data, train, test), _few(data, train, test)
    return {
        "variants": found,
        "probes": probes,
        "few": {"labels": list(LABELLED), "errors": few},
        "curves": {
            "L1": _curve(workshop, "few"),
            "no penalty": _curve(workshop, "few-dense", "objective.penalties={}"),
        },
        "digit": pack(data.test[:1]),
    }


def _classical(data: Data) -> Iterator[tuple[str, Floats, Floats]]:
    """The pixels, and the first 32 principal components."""
    train, test = (_flat(items) / np.float32(255) for items in (data.train, data.test))
    yield "pixels", train, test
    pca = PCA(32, svd_solver="covariance_eigh").fit(train)
    yield "PCA-32", pca.transform(train).astype(np.float32), pca.transform(test).astype(np.float32)


def _facts(variant: Variant, codes: NDArray[Any], data: Data) -> dict[str, Any]:
    """What a variant costs, how sparse it is, how well it redraws, and what its units draw."""
    flat = _flat(codes)
    shares = (flat > variant.on).mean(0)
    head = data.train[:JUDGED]
    seen = variant.decode(variant.encode(head))
    return {
        "parameters": variant.parameters,
        "epochs": variant.epochs,
        "seconds": variant.seconds,
        "items": len(variant.data.train),
        "shape": list(codes.shape[1:]),
        "on": float(shares.mean()),
        "never": float((shares == 0).mean()),
        "shares": pack(np.sort(shares)[::-1].astype(np.float32)),
        "train_mse": errors(seen, head)["mse"],
        "test_mse": errors(variant.decode(codes), data.test)["mse"],
        "code": pack(_grey(codes[0])),
        "draws": pack(_drawn(variant, codes)),
    }


def _drawn(variant: Variant, codes: NDArray[Any]) -> NDArray[np.uint8]:
    """What some units draw alone at their strongest, against an empty code: on grey; some change too little."""
    strongest = _flat(codes).max(0)
    alone = np.concatenate([np.diag(strongest), np.zeros_like(strongest)[np.newaxis]])
    drawn = answers(variant.decode, alone.reshape(-1, *codes.shape[1:])).astype(np.float32)
    change = drawn[:-1] - drawn[-1:]
    largest = np.abs(change).max((1, 2, 3))
    units = np.random.default_rng(0).permutation(np.flatnonzero(largest >= VISIBLE))[:SHOWN]
    return np.round(127.5 + 127.5 * change[units] / largest[units, None, None, None]).astype(np.uint8)


def _grey(code: NDArray[Any]) -> NDArray[np.uint8]:
    """A code as one picture, 0 black and its largest number white; maps side by side."""
    maps = code.reshape(8, 8, *code.shape[1:]) if code.ndim == 3 else code.reshape(32, 32, 1, 1)
    rows, columns, height, width = maps.shape
    picture = maps.transpose(0, 2, 1, 3).reshape(rows * height, columns * width)
    return np.round(255 * picture / max(float(picture.max()), 1e-6)).astype(np.uint8)


def _probe(data: Data, train: Floats, test: Floats) -> dict[str, float]:
    assert data.train_labels is not None and data.test_labels is not None  # noqa: S101, PT018 - MNIST has them
    probed = probe(train, data.train_labels, test, data.test_labels)
    return {"error": probed.error, "strength": probed.strength, "size": train.shape[1]}


def _few(data: Data, train: Floats, test: Floats) -> list[float]:
    assert data.train_labels is not None and data.test_labels is not None  # noqa: S101, PT018
    return [probe(train[:n], data.train_labels[:n], test, data.test_labels).error for n in LABELLED]


def _curve(workshop: Workshop, variant: str, *changes: str) -> dict[str, Any]:
    """The cross-entropy of every epoch on what is trained on and on what is held out, penalties left out."""
    workshop.fit("digits-sparse", *FEW, *changes, variant=variant)
    log = read_log(workshop.runs / f"digits-sparse-{variant}")
    return {side: [record[side]["bce"] for record in log] for side in ("train", "validation")}


def _flat(items: Items) -> Floats:
    return items.reshape(len(items), -1).astype(np.float32)
