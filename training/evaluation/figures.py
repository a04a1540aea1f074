"""How good a net is on the test set, as it is served, with the classical methods beside it.

Squared errors are of what the exported graphs answer (pictures: 8 bits). `psnr` is of the mean squared error, not a
mean of PSNRs. `bce` is of the float output before rounding, which no 8-bit picture keeps. Knows no ONNX.
"""

from collections.abc import Callable, Iterator, Mapping
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
"""Of the noise on the test set; the pairs that LMMSE learns from have the next one."""
MAX_BATCH_ITEMS, MAX_BATCH_VALUES = 500, 4_000_000
"""Most items, and most numbers in them, that are worked on at once."""
CLAMP = 0.5 / 255
"""Where an 8-bit baseline's 0 and 1 are put for its cross-entropy, which would be infinite."""

GraphFunction = Callable[[NDArray[Any]], NDArray[Any]]
Figures = dict[str, float]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """`data`: what the figures are of, in words; `percentiles`: 0..100 of the items' reconstruction errors."""

    data: str
    figures: Figures
    baselines: dict[str, Figures]
    percentiles: list[float] | None


def evaluate(recipe: Recipe, data: Dataset, net: Autoencoder, graphs: Mapping[Operation, GraphFunction]) -> Evaluation:
    """The figures of what `graphs` offer, named `<operation>_<figure>`; the baselines' have the same names.

    Who offers both halves reconstructs, too; `percentiles` are of a graph of its own.
    """
    figures: Figures = {}
    baseline_figures: dict[str, Figures] = {}
    percentiles = None
    words = [f"{data.test_name or f'{data.name} test set'}, {len(data.test)} items, as served (bce before rounding)"]
    active = _active_fraction(graphs["encode"], data.test) if "encode" in graphs else 1.0
    if active < 1:
        figures["encode_active_share"] = active
    if reconstruct := reconstruct_function(graphs):
        made = run_in_batches(reconstruct, data.test)
        figures |= {f"reconstruct_{name}": figure for name, figure in error_figures(made, data.test).items()}
        figures |= {f"reconstruct_{name}": figure for name, figure in _bce(net, data.test, data.test).items()}
        percentiles = _percentiles(mse_per_item(made, data.test)) if "reconstruct" in graphs else None
        methods = _reconstruction_baselines(data, net, active)
        _add_baselines(baseline_figures, "reconstruct", methods, data.test, data.test)
    if "denoise" in graphs:
        words.append(f"{recipe.corruption.kind} noise of seed {NOISE_SEED}")
        for level, corruption, noisy, found in evaluate_denoising(recipe, data, graphs["denoise"]):
            found |= _bce(net, noisy, data.test)
            figures |= {f"denoise_{name}{level}": figure for name, figure in found.items()}
            _add_baselines(
                baseline_figures,
                "denoise",
                _denoising_baselines(corruption, data),
                noisy,
                data.test,
                level,
                bce=net.sigmoid,
            )
    return Evaluation("; ".join(words), figures, baseline_figures, percentiles)


def evaluate_denoising(
    recipe: Recipe, data: Dataset, run: GraphFunction
) -> Iterator[tuple[str, Corruption, Items, Figures]]:
    """Of each level: its name, its corruption, the test set under it, and the errors of what a graph makes of that."""
    for level, corruption in evaluation_levels(recipe.corruption).items():
        noisy = corrupt(corruption, data.test, NOISE_SEED)
        yield level, corruption, noisy, error_figures(run_in_batches(run, noisy), data.test)


def reconstruct_function(graphs: Mapping[Operation, GraphFunction]) -> GraphFunction | None:
    """The graph that reconstructs, or else the two that do it one after the other."""
    if "reconstruct" in graphs or not {"encode", "decode"} <= graphs.keys():
        return graphs.get("reconstruct")
    return lambda items: graphs["decode"](graphs["encode"](items))


def run_in_batches(run: GraphFunction, items: Items) -> NDArray[Any]:
    """What a graph answers to all items, some at a time."""
    step = _batch_size(items)
    return np.concatenate([run(items[start : start + step]) for start in range(0, len(items), step)])


def _batch_size(items: Items) -> int:
    return max(1, min(MAX_BATCH_ITEMS, MAX_BATCH_VALUES // items[0].size))


def corrupt(corruption: Corruption, items: Items, seed: int) -> Items:
    """The items under a corruption, as a caller would send them: pictures cut and rounded to 8 bits."""
    generator = Generator().manual_seed(seed)
    chunks: list[Any] = []
    for chunk in as_tensor(items).split(_batch_size(items)):
        noisy = corruption(to_float(chunk), generator).numpy()
        chunks.append(noisy if items.ndim == 2 else to_uint8(np.moveaxis(noisy, 1, 3)))
    return np.concatenate(chunks)


def mse_per_item(made: Items, wanted: Items) -> NDArray[np.float64]:
    """Mean squared error of each item; pictures on the 0..1 scale."""
    return np.square(_flatten(made).astype(np.float64) - _flatten(wanted)).mean(1)


def error_figures(made: Items, wanted: Items) -> Figures:
    """`mse`, and for pictures `psnr` in dB of that mean squared error."""
    mse = float(mse_per_item(made, wanted).mean())
    return {"mse": mse} if wanted.ndim == 2 else {"mse": mse, "psnr": -10 * float(np.log10(max(mse, 1e-12)))}


def to_uint8(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Values as the grey levels that a picture can store."""
    return np.round(np.clip(values, 0, 1) * 255).astype(np.uint8)


def _flatten(items: Items) -> Floats:
    """N,features as float32; pictures in 0..1."""
    flat = items.reshape(len(items), -1).astype(np.float32)
    return flat / np.float32(255) if items.dtype == np.uint8 else flat


def _percentiles(item: NDArray[np.float64]) -> list[float]:
    return [float(error) for error in np.percentile(item, np.arange(101))]


def _active_fraction(encode: GraphFunction, items: Items) -> float:
    """Share of the numbers in the codes that are not 0."""
    return float(np.mean(run_in_batches(encode, items) != 0))


@torch.no_grad()
def _bce(net: Autoencoder, given: Items, clean: Items) -> Figures:
    """Mean cross-entropy per value in nats, where the net's output is a sigmoid's."""
    if not net.sigmoid:
        return {}
    total = 0.0
    step = _batch_size(given)
    for noisy, target in zip(as_tensor(given).split(step), as_tensor(clean).split(step), strict=True):
        loss = F.binary_cross_entropy_with_logits(net(to_float(noisy)), to_float(target))
        total += loss.item() * len(noisy) / len(given)
    return {"bce": total}


def _reconstruction_baselines(data: Dataset, net: Autoencoder, active: float) -> dict[str, Method]:
    """The mean, and PCA with a code as large; of an overcomplete code, as the numbers that are active in it."""
    train = _flatten(data.train)
    methods = {"mean of the training set": baselines.mean_item(train)}
    size = int(np.prod([side or 1 for side in net.code_shape]))
    components = size if size < train.shape[1] else round(active * size)
    if components < train.shape[1] <= baselines.MAX_FEATURES:
        methods[f"pca-{components}"] = baselines.pca(train, components)
    return methods


def _denoising_baselines(corruption: Corruption, data: Dataset) -> dict[str, Method]:
    """The noisy items themselves, two filters, and the best affine map."""
    methods: dict[str, Method] = {"noisy input": lambda items: items}
    if data.test.ndim == 4:
        _, height, width, channels = data.test.shape
        methods["median 3x3"] = baselines.median(height, width, channels)
        methods[f"gaussian {baselines.GAUSSIAN_SIGMA}"] = baselines.gaussian(height, width, channels)
    if data.train[0].size <= baselines.MAX_FEATURES:
        train, noisy = _flatten(data.train), _flatten(corrupt(corruption, data.train, NOISE_SEED + 1))
        methods["lmmse (affine)"] = baselines.lmmse(noisy, train)
    return methods


def _add_baselines(
    baseline_figures: dict[str, Figures],
    operation: Operation,
    methods: Mapping[str, Method],
    given: Items,
    clean: Items,
    level: str = "",
    *,
    bce: bool = True,
) -> None:
    """Measures every method as a net would be: cut and rounded to 8 bits where the items are pictures."""
    for name, method in methods.items():
        values = method(_flatten(given)).reshape(clean.shape)
        made = values if clean.ndim == 2 else to_uint8(values)
        figures = error_figures(made, clean)
        if bce and clean.ndim == 4:
            figures["bce"] = _cross_entropy(_flatten(made), _flatten(clean))
        named = {f"{operation}_{key}{level}": figure for key, figure in figures.items()}
        baseline_figures.setdefault(name, {}).update(named)


def _cross_entropy(made: Floats, clean: Floats) -> float:
    """Mean per value in nats."""
    inside = np.clip(made, CLAMP, 1 - CLAMP)
    return float(-(clean * np.log(inside) + (1 - clean) * np.log1p(-inside)).mean(dtype=np.float64))
