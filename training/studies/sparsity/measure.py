"""Measurement of the study `sparsity`: activity, reconstruction, linear probes, and learning curves of long training.

All variants except the convolutional one have 1024 units, and all except the published ones are trained alike.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from training.data import Dataset
from training.evaluation.metrics import error_metrics, flatten, run_in_batches
from training.loop.run_folder import read_log
from training.studies.base.packing import pack
from training.studies.base.study import Results
from training.studies.measures.linear_probe import Floats, linear_probe
from training.studies.sparsity.variants import VARIANTS, Variant, untrained_encoder
from training.workspace import Workspace

LABEL_COUNTS = (100, 1000, 10_000)
CHANCE = "strokes, untrained"
"""Name of the control for `strokes`: the same architecture and pooling with random weights."""
TRAIN_ERROR_ITEMS = 10_000
"""Number of training items whose error is compared with that of the test set."""
MAX_UNITS = 12
MIN_CHANGE = 32
"""Change of the output in grey levels (0..255) below which a unit is not shown."""
FEW_ITEMS_OVERRIDES = (
    "data.limit=2000",
    "optimizer.validation_fraction=0.5",
    "optimizer.epochs=200",
    "optimizer.batch=50",
    "optimizer.precision=bfloat16",
)
"""Overrides for the learning curves: few enough digits to overfit, and as many held out."""


FEW_LABELS_VARIANTS = ("no penalty", "lifetime", "strokes")
"""Variants that are also classified with few labels."""


def measure(workspace: Workspace) -> Results:
    """Measure all variants, classical features, probes with few labels, and learning curves of long training."""
    data = workspace.data("digits-sparse")
    variants: dict[str, Any] = {}
    probes: dict[str, Any] = {}
    few: dict[str, list[float]] = {}
    for name, train, test in _classical(data):
        probes[name] = _probe(data, train, test)
        if name == "pixels":
            few[name] = _few_labels_errors(data, train, test)
    for name, load in VARIANTS.items():
        variant = load(workspace)
        codes = run_in_batches(variant.encode, data.test)
        variants[name] = _facts(variant, codes, data)
        train, test = flatten(run_in_batches(variant.encode, data.train)), flatten(codes)
        probes[name] = _probe(data, train, test)
        if name in FEW_LABELS_VARIANTS:
            few[name] = _few_labels_errors(data, train, test)
    control = untrained_encoder("digits-strokes", workspace)
    train, test = (flatten(run_in_batches(control, items)) for items in (data.train, data.test))
    probes[CHANCE], few[CHANCE] = _probe(data, train, test), _few_labels_errors(data, train, test)
    return {
        "variants": variants,
        "probes": probes,
        "few": {"labels": list(LABEL_COUNTS), "errors": few},
        "curves": {
            "L1": _curve(workspace, "few"),
            "no penalty": _curve(workspace, "few-dense", "objective.penalties={}"),
        },
        "digit": pack(data.test[:1]),
    }


def _classical(data: Dataset) -> Iterator[tuple[str, Floats, Floats]]:
    """Yield name, training features and test features of the pixels and of the first 32 principal components."""
    train, test = (flatten(items) for items in (data.train, data.test))
    yield "pixels", train, test
    pca = PCA(32, svd_solver="covariance_eigh").fit(train)
    yield "PCA-32", pca.transform(train).astype(np.float32), pca.transform(test).astype(np.float32)


def _facts(variant: Variant, codes: NDArray[Any], data: Dataset) -> dict[str, Any]:
    """Return the cost of a variant, its sparsity, its errors, and the images of its units, by name."""
    flat = flatten(codes)
    shares = (flat > variant.on_threshold).mean(0)
    head = data.train[:TRAIN_ERROR_ITEMS]
    outputs = variant.decode(variant.encode(head))
    return {
        "parameters": variant.parameters,
        "epochs": variant.epochs,
        "seconds": variant.seconds,
        "items": len(variant.data.train),
        "shape": list(codes.shape[1:]),
        "on": float(shares.mean()),
        "never": float((shares == 0).mean()),
        "shares": pack(np.sort(shares)[::-1].astype(np.float32)),
        "train_mse": error_metrics(outputs, head)["mse"],
        "test_mse": error_metrics(variant.decode(codes), data.test)["mse"],
        "code": pack(_code_picture(codes[0])),
        "draws": pack(_unit_pictures(variant, codes)),
    }


def _unit_pictures(variant: Variant, codes: NDArray[Any]) -> NDArray[np.uint8]:
    """Return how single units change the output at their largest activation, uint8 (units, H, W, C) around grey.

    At most MAX_UNITS random units are shown, of those that change the output by MIN_CHANGE.
    """
    strongest = flatten(codes).max(0)
    alone = np.concatenate([np.diag(strongest), np.zeros_like(strongest)[np.newaxis]])
    outputs = run_in_batches(variant.decode, alone.reshape(-1, *codes.shape[1:])).astype(np.float32)
    change = outputs[:-1] - outputs[-1:]
    largest = np.abs(change).max((1, 2, 3))
    units = np.random.default_rng(0).permutation(np.flatnonzero(largest >= MIN_CHANGE))[:MAX_UNITS]
    return np.round(127.5 + 127.5 * change[units] / largest[units, None, None, None]).astype(np.uint8)


def _code_picture(code: NDArray[Any]) -> NDArray[np.uint8]:
    """Return a code as a picture, uint8 (H, W): 0 is black, its largest value white. Maps are placed side by side."""
    maps = code.reshape(8, 8, *code.shape[1:]) if code.ndim == 3 else code.reshape(32, 32, 1, 1)
    rows, columns, height, width = maps.shape
    picture = maps.transpose(0, 2, 1, 3).reshape(rows * height, columns * width)
    return np.round(255 * picture / max(float(picture.max()), 1e-6)).astype(np.uint8)


def _probe(data: Dataset, train: Floats, test: Floats) -> dict[str, float]:
    assert data.train_labels is not None and data.test_labels is not None  # noqa: S101, PT018 - MNIST has them
    probed = linear_probe(train, data.train_labels, test, data.test_labels)
    return {"error": probed.error, "strength": probed.strength, "size": train.shape[1]}


def _few_labels_errors(data: Dataset, train: Floats, test: Floats) -> list[float]:
    assert data.train_labels is not None and data.test_labels is not None  # noqa: S101, PT018
    return [linear_probe(train[:n], data.train_labels[:n], test, data.test_labels).error for n in LABEL_COUNTS]


def _curve(workspace: Workspace, variant: str, *changes: str) -> dict[str, Any]:
    """Return the cross-entropy of every epoch on training and held-out digits, without the penalties."""
    workspace.fit("digits-sparse", *FEW_ITEMS_OVERRIDES, *changes, variant=variant)
    log = read_log(workspace.runs / f"digits-sparse-{variant}")
    return {side: [record[side]["bce"] for record in log] for side in ("train", "validation")}
