"""Measures a net on the test set as it is served, and the classical baselines in the same way.

Squared errors are those of the exported graphs, whose images have 8 bits. `psnr` is that of the mean squared error, not
a mean of PSNRs. `bce` is that of the float output before rounding.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from training.corruption import Corruption, evaluation_levels
from training.data import Dataset, Items
from training.evaluation import baselines
from training.evaluation.baselines import Floats, Method
from training.loop.batches import as_tensor, to_float
from training.nets import Autoencoder, Operation
from training.recipe import Recipe

NOISE_SEED = 20260
"""Seed of the noise on the test set. The training pairs of LMMSE and of int8 calibration use the next two seeds."""
MAX_BATCH_ITEMS, MAX_BATCH_VALUES = 500, 4_000_000
"""Maximum number of items, and of values in them, in a batch."""
CLAMP = 0.5 / 255
"""Distance from 0 and 1 to which 8-bit values are clamped for their cross-entropy, which would be infinite."""
MIN_MSE = 1e-12
"""Mean squared errors below this have the PSNR of this: 120 dB."""
MEAN, NOISY_INPUT = "mean of the training set", "noisy input"
"""Names of the baselines that need no model: a model that is no better is of no use."""
MAX_BASELINE_VALUES = 1 << 28
"""Maximum number of values of training items that baselines are fitted to; more are thinned out evenly."""

GraphFunction = Callable[..., NDArray[Any]]
"""Runs a graph on a batch: images uint8 (N, H, W, C), vectors and codes float32 (N, ...), in and out.

A second argument, float32 (N, controls), has the values of the graph's controls; without it they have their defaults.
"""
Metrics = dict[str, float]
"""Values of metrics by name."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One measured value of an operation.

    Attributes:
        operation: the operation that was measured.
        name: what was measured: `mse`, `psnr`, `bce` or `active_share`; `scaled_mse` is the error of vectors on the
            scale on which the net standardizes their columns.
        value: mean squared errors on the 0..1 scale for images, PSNR in dB, BCE in nats per value.
        level: the suffix of the corruption level, as `evaluation_levels` names it: `_25`, or empty.
    """

    operation: Operation
    name: str
    value: float
    level: str = ""

    @property
    def key(self) -> str:
        """The name of the metric in a card, for example `denoise_psnr_25`."""
        return f"{self.operation}_{self.name}{self.level}"


def by_key(metrics: Iterable[Metric]) -> Metrics:
    """Return the values of metrics by their names in a card, in the same order."""
    return {metric.key: metric.value for metric in metrics}


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The metrics of a model and of the baselines on the test set, by their names in a card.

    Attributes:
        data: a description of what was measured.
        metrics: the metrics of the model.
        baselines: the metrics of each baseline, by its name.
        percentiles: the percentiles 0, 1, ..., 100 of the items' reconstruction errors (MSE), or None.
    """

    data: str
    metrics: Metrics
    baselines: dict[str, Metrics]
    percentiles: list[float] | None


def evaluate(recipe: Recipe, data: Dataset, net: Autoencoder, graphs: Mapping[Operation, GraphFunction]) -> Evaluation:
    """Measure the graphs of a model, and the classical baselines, on the test set.

    A model without a graph for `reconstruct` is measured by `decode(encode(x))`; percentiles need the graph itself.
    """
    metrics: list[Metric] = []
    baseline_metrics: dict[str, list[Metric]] = {}
    percentiles = None
    notes = [f"{data.test_name or f'{data.name} test set'}, {len(data.test)} items, as served"]
    active = _active_fraction(graphs["encode"], data.test) if "encode" in graphs else 1.0
    if active < 1:
        metrics.append(Metric("encode", "active_share", active))
    if reconstruct := reconstruct_function(graphs):
        outputs = run_in_batches(reconstruct, data.test)
        errors = error_metrics(outputs, data.test) | _bce(net, data.test, data.test)
        errors |= _scaled_error(net, outputs, data.test)
        metrics += [Metric("reconstruct", name, value) for name, value in errors.items()]
        percentiles = _percentiles(mse_per_item(outputs, data.test)) if "reconstruct" in graphs else None
        for method, run in _reconstruction_baselines(data, net, active).items():
            errors = _baseline_errors(run, data.test, data.test)
            errors |= _scaled_error(net, run(flatten(data.test)), data.test)
            baseline_metrics[method] = [Metric("reconstruct", name, value) for name, value in errors.items()]
    if "denoise" in graphs:
        notes.append(f"{recipe.corruption.kind} noise of seed {NOISE_SEED}")
        for result in evaluate_denoising(recipe, data, graphs["denoise"]):
            errors = result.errors | _bce(net, result.noisy, data.test)
            metrics += [Metric("denoise", name, value, result.level) for name, value in errors.items()]
            for method, run in _denoising_baselines(result.corruption, data).items():
                errors = _baseline_errors(run, result.noisy, data.test, bce=net.sigmoid)
                rows = [Metric("denoise", name, value, result.level) for name, value in errors.items()]
                baseline_metrics.setdefault(method, []).extend(rows)
    named = {method: by_key(rows) for method, rows in baseline_metrics.items()}
    if any(metric.name == "bce" for metric in metrics):
        notes.append("bce is the cross-entropy of the output before it is rounded to 8 bits")
    return Evaluation("; ".join(notes), by_key(metrics), named, percentiles)


@dataclass(frozen=True, slots=True)
class DenoisingResult:
    """The test set at one corruption level, and the errors of a graph on it.

    Attributes:
        level: the suffix of the level, as `evaluation_levels` names it.
        corruption: the corruption of that level.
        noisy: the corrupted test set, of the shape and dtype of the test set.
        errors: `error_metrics` of the outputs against the clean test set.
    """

    level: str
    corruption: Corruption
    noisy: Items
    errors: Metrics


def evaluate_denoising(recipe: Recipe, data: Dataset, run: GraphFunction) -> Iterator[DenoisingResult]:
    """Run a denoising graph on the test set at each level of the recipe's corruption."""
    for level, corruption in evaluation_levels(recipe.corruption).items():
        noisy = corrupt(corruption, data.test, NOISE_SEED)
        yield DenoisingResult(level, corruption, noisy, error_metrics(run_in_batches(run, noisy), data.test))


def reconstruct_function(graphs: Mapping[Operation, GraphFunction]) -> GraphFunction | None:
    """Return the graph for `reconstruct`, else the composition of `encode` and `decode`, else None."""
    if "reconstruct" in graphs or not {"encode", "decode"} <= graphs.keys():
        return graphs.get("reconstruct")
    return lambda items: graphs["decode"](graphs["encode"](items))


def run_in_batches(run: GraphFunction, items: Items) -> NDArray[Any]:
    """Run a graph on items (N, ...) of any number, and return its outputs (N, ...)."""
    step = _batch_size(items)
    return np.concatenate([run(items[start : start + step]) for start in range(0, len(items), step)])


def _batch_size(items: Items) -> int:
    return max(1, min(MAX_BATCH_ITEMS, MAX_BATCH_VALUES // items[0].size))


def corrupt(corruption: Corruption, items: Items, seed: int) -> Items:
    """Corrupt items as a client would send them: images uint8 (N, H, W, C) are clipped and rounded to 8 bits again.

    Vectors float32 (N, F) stay float32.
    """
    generator = Generator().manual_seed(seed)
    chunks: list[Any] = []
    for chunk in as_tensor(items).split(_batch_size(items)):
        noisy = corruption(to_float(chunk), generator).numpy()
        chunks.append(noisy if items.ndim == 2 else to_uint8(np.moveaxis(noisy, 1, 3)))
    return np.concatenate(chunks)


def mse_per_item(outputs: Items, targets: Items) -> NDArray[np.float64]:
    """Return the mean squared error of each item, float64 (N,); uint8 images are compared on the 0..1 scale."""
    return np.square(flatten(outputs).astype(np.float64) - flatten(targets)).mean(1)


def psnr(mse: float) -> float:
    """Return the PSNR in dB of a mean squared error on the 0..1 scale, at most 120 dB."""
    return -10 * float(np.log10(max(mse, MIN_MSE)))


def error_metrics(outputs: Items, targets: Items) -> Metrics:
    """Return the `mse` over all items, and for images the `psnr` in dB of that mean squared error."""
    mse = float(mse_per_item(outputs, targets).mean())
    return {"mse": mse} if targets.ndim == 2 else {"mse": mse, "psnr": psnr(mse)}


def to_uint8(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Convert values in 0..1 to 8-bit levels in 0..255; values outside are clipped."""
    return np.round(np.clip(values, 0, 1) * 255).astype(np.uint8)


def flatten(items: Items) -> Floats:
    """Convert items (N, ...) to float32 (N, features), uint8 images to the 0..1 scale."""
    flat = items.reshape(len(items), -1).astype(np.float32)
    return flat / np.float32(255) if items.dtype == np.uint8 else flat


def _percentiles(errors: NDArray[np.float64]) -> list[float]:
    return [float(error) for error in np.percentile(errors, np.arange(101))]


def _active_fraction(encode: GraphFunction, items: Items) -> float:
    """Return the fraction of the numbers in the codes that are not 0."""
    return float(np.mean(run_in_batches(encode, items) != 0))


@torch.no_grad()
def _bce(net: Autoencoder, inputs: Items, clean: Items) -> Metrics:
    """Return the mean cross-entropy per value in nats as `bce`; nothing if the net's output is not a sigmoid."""
    if not net.sigmoid:
        return {}
    total = 0.0
    step = _batch_size(inputs)
    for chunk, target in zip(as_tensor(inputs).split(step), as_tensor(clean).split(step), strict=True):
        loss = F.binary_cross_entropy_with_logits(net(to_float(chunk)), to_float(target))
        total += loss.item() * len(chunk) / len(inputs)
    return {"bce": total}


def _reconstruction_baselines(data: Dataset, net: Autoencoder, active: float) -> dict[str, Method]:
    """Return the mean of the training set, and PCA with a code of the same size.

    For an overcomplete code, PCA gets as many components as numbers of the code are active on average.
    """
    train = flatten(thinned(data.train))
    methods = {MEAN: baselines.mean_item(train)}
    size = int(np.prod([side or 1 for side in net.code_shape]))
    components = size if size < train.shape[1] else round(active * size)
    if components < train.shape[1] <= baselines.MAX_FEATURES:
        methods[f"pca-{components}"] = _pca(train, components, net)
    return methods


def _pca(train: Floats, components: int, net: Autoencoder) -> Method:
    """Return PCA on the scale of the net: columns of different units count alike if the net standardizes them."""
    if net.scaling is None:
        return baselines.pca(train, components)
    factor, offset = (part.numpy() for part in (net.scaling.factor, net.scaling.offset))
    run = baselines.pca(((train - offset) / factor).astype(np.float32), components)
    return lambda items: (run(((items - offset) / factor).astype(np.float32)) * factor + offset).astype(np.float32)


def thinned(items: Items) -> Items:
    """Return the items (N, ...), or every k-th one if they have more than MAX_BASELINE_VALUES values."""
    return items[:: -(-items.size // MAX_BASELINE_VALUES)]


@torch.no_grad()
def _scaled_error(net: Autoencoder, outputs: Items, targets: Items) -> Metrics:
    """Return the mean squared error of vectors (N, F) as `scaled_mse`, if the net scales columns."""
    if net.scaling is None:
        return {}
    scaled = [net.normalize(torch.from_numpy(np.ascontiguousarray(part))) for part in (outputs, targets)]
    return {"scaled_mse": float(F.mse_loss(scaled[0], scaled[1]))}


def _denoising_baselines(corruption: Corruption, data: Dataset) -> dict[str, Method]:
    """Return the identity, a median and a Gaussian filter, and LMMSE fitted on corrupted training items."""
    methods: dict[str, Method] = {NOISY_INPUT: lambda items: items}
    if data.test.ndim == 4:
        _, height, width, channels = data.test.shape
        methods["median 3x3"] = baselines.median(height, width, channels)
        methods[f"gaussian {baselines.GAUSSIAN_SIGMA}"] = baselines.gaussian(height, width, channels)
    if data.train[0].size <= baselines.MAX_FEATURES:
        sample = thinned(data.train)
        train, noisy = flatten(sample), flatten(corrupt(corruption, sample, NOISE_SEED + 1))
        methods["lmmse (affine)"] = baselines.lmmse(noisy, train)
    return methods


def _baseline_errors(run: Method, inputs: Items, clean: Items, *, bce: bool = True) -> Metrics:
    """Return the errors of a baseline, measured as a net's are: images are clipped and rounded to 8 bits."""
    values = run(flatten(inputs)).reshape(clean.shape)
    outputs = values if clean.ndim == 2 else to_uint8(values)
    errors = error_metrics(outputs, clean)
    if bce and clean.ndim == 4:
        errors["bce"] = _cross_entropy(flatten(outputs), flatten(clean))
    return errors


def _cross_entropy(outputs: Floats, clean: Floats) -> float:
    """Return the mean cross-entropy per value in nats."""
    clamped = np.clip(outputs, CLAMP, 1 - CLAMP)
    return float(-(clean * np.log(clamped) + (1 - clean) * np.log1p(-clamped)).mean(dtype=np.float64))
