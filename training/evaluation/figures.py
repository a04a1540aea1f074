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

from training.corruption import Corruption, levels
from training.data import Data, Items
from training.evaluation import baselines
from training.evaluation.baselines import Floats, Method
from training.loop.batches import as_float, as_tensor
from training.nets import Autoencoder, Operation
from training.recipe import Recipe

NOISE_SEED = 20260
"""Of the noise on the test set; the pairs that LMMSE learns from have the next one."""
CHUNK, CHUNK_NUMBERS = 500, 4_000_000
"""Most items, and most numbers in them, that are worked on at once."""
HALF_LEVEL = 0.5 / 255
"""Where an 8-bit baseline's 0 and 1 are put for its cross-entropy, which would be infinite."""

Run = Callable[[NDArray[Any]], NDArray[Any]]
Figures = dict[str, float]


@dataclass(frozen=True, slots=True)
class Measured:
    """`data`: what the figures are of, in words; `percentiles`: 0..100 of the items' reconstruction errors."""

    data: str
    figures: Figures
    baselines: dict[str, Figures]
    percentiles: list[float] | None


def measure(recipe: Recipe, data: Data, net: Autoencoder, graphs: Mapping[Operation, Run]) -> Measured:
    """The figures of what `graphs` offer, named `<operation>_<figure>`; the baselines' have the same names.

    Who offers both halves reconstructs, too; `percentiles` are of a graph of its own.
    """
    figures: Figures = {}
    beside: dict[str, Figures] = {}
    percentiles = None
    words = [f"{data.test_name or f'{data.name} test set'}, {len(data.test)} items, as served (bce before rounding)"]
    active = _active_share(graphs["encode"], data.test) if "encode" in graphs else 1.0
    if active < 1:
        figures["encode_active_share"] = active
    if reconstruct := reconstruction(graphs):
        made = answers(reconstruct, data.test)
        figures |= {f"reconstruct_{name}": figure for name, figure in errors(made, data.test).items()}
        figures |= {f"reconstruct_{name}": figure for name, figure in _bce(net, data.test, data.test).items()}
        percentiles = _percentiles(item_errors(made, data.test)) if "reconstruct" in graphs else None
        methods = _reconstructions(data, net, active)
        _add(beside, "reconstruct", methods, data.test, data.test)
    if "denoise" in graphs:
        words.append(f"{recipe.corruption.kind} noise of seed {NOISE_SEED}")
        for level, corruption, noisy, found in denoising(recipe, data, graphs["denoise"]):
            found |= _bce(net, noisy, data.test)
            figures |= {f"denoise_{name}{level}": figure for name, figure in found.items()}
            _add(beside, "denoise", _denoisers(corruption, data), noisy, data.test, level, bce=net.sigmoid)
    return Measured("; ".join(words), figures, beside, percentiles)


def denoising(recipe: Recipe, data: Data, run: Run) -> Iterator[tuple[str, Corruption, Items, Figures]]:
    """Of each level: its name, its corruption, the test set under it, and the errors of what a graph makes of that."""
    for level, corruption in levels(recipe.corruption).items():
        noisy = corrupted(corruption, data.test, NOISE_SEED)
        yield level, corruption, noisy, errors(answers(run, noisy), data.test)


def reconstruction(graphs: Mapping[Operation, Run]) -> Run | None:
    """The graph that reconstructs, or else the two that do it one after the other."""
    if "reconstruct" in graphs or not {"encode", "decode"} <= graphs.keys():
        return graphs.get("reconstruct")
    return lambda items: graphs["decode"](graphs["encode"](items))


def answers(run: Run, items: Items) -> NDArray[Any]:
    """What a graph answers to all items, some at a time."""
    step = _chunk(items)
    return np.concatenate([run(items[start : start + step]) for start in range(0, len(items), step)])


def _chunk(items: Items) -> int:
    return max(1, min(CHUNK, CHUNK_NUMBERS // items[0].size))


def corrupted(corruption: Corruption, items: Items, seed: int) -> Items:
    """The items under a corruption, as a caller would send them: pictures cut and rounded to 8 bits."""
    generator = Generator().manual_seed(seed)
    chunks: list[Any] = []
    for chunk in as_tensor(items).split(_chunk(items)):
        noisy = corruption(as_float(chunk), generator).numpy()
        chunks.append(noisy if items.ndim == 2 else eight_bits(np.moveaxis(noisy, 1, 3)))
    return np.concatenate(chunks)


def item_errors(made: Items, wanted: Items) -> NDArray[np.float64]:
    """Mean squared error of each item; pictures on the 0..1 scale."""
    return np.square(_flat(made).astype(np.float64) - _flat(wanted)).mean(1)


def errors(made: Items, wanted: Items) -> Figures:
    """`mse`, and for pictures `psnr` in dB of that mean squared error."""
    mse = float(item_errors(made, wanted).mean())
    return {"mse": mse} if wanted.ndim == 2 else {"mse": mse, "psnr": -10 * float(np.log10(max(mse, 1e-12)))}


def eight_bits(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Values as the grey levels that a picture can store."""
    return np.round(np.clip(values, 0, 1) * 255).astype(np.uint8)


def _flat(items: Items) -> Floats:
    """N,features as float32; pictures in 0..1."""
    flat = items.reshape(len(items), -1).astype(np.float32)
    return flat / np.float32(255) if items.dtype == np.uint8 else flat


def _percentiles(item: NDArray[np.float64]) -> list[float]:
    return [float(error) for error in np.percentile(item, np.arange(101))]


def _active_share(encode: Run, items: Items) -> float:
    """Share of the numbers in the codes that are not 0."""
    return float(np.mean(answers(encode, items) != 0))


@torch.no_grad()
def _bce(net: Autoencoder, given: Items, clean: Items) -> Figures:
    """Mean cross-entropy per value in nats, where the net's output is a sigmoid's."""
    if not net.sigmoid:
        return {}
    total = 0.0
    step = _chunk(given)
    for noisy, target in zip(as_tensor(given).split(step), as_tensor(clean).split(step), strict=True):
        loss = F.binary_cross_entropy_with_logits(net(as_float(noisy)), as_float(target))
        total += loss.item() * len(noisy) / len(given)
    return {"bce": total}


def _reconstructions(data: Data, net: Autoencoder, active: float) -> dict[str, Method]:
    """The mean, and PCA with a code as large; of an overcomplete code, as the numbers that are active in it."""
    train = _flat(data.train)
    methods = {"mean of the training set": baselines.mean_item(train)}
    size = int(np.prod([side or 1 for side in net.code_shape]))
    components = size if size < train.shape[1] else round(active * size)
    if components < train.shape[1] <= baselines.MOST_FEATURES:
        methods[f"pca-{components}"] = baselines.pca(train, components)
    return methods


def _denoisers(corruption: Corruption, data: Data) -> dict[str, Method]:
    """The noisy items themselves, two filters, and the best affine map."""
    methods: dict[str, Method] = {"noisy input": lambda items: items}
    if data.test.ndim == 4:
        _, height, width, channels = data.test.shape
        methods["median 3x3"] = baselines.median(height, width, channels)
        methods[f"gaussian {baselines.GAUSSIAN_SIGMA}"] = baselines.gaussian(height, width, channels)
    if data.train[0].size <= baselines.MOST_FEATURES:
        train, noisy = _flat(data.train), _flat(corrupted(corruption, data.train, NOISE_SEED + 1))
        methods["lmmse (affine)"] = baselines.lmmse(noisy, train)
    return methods


def _add(
    beside: dict[str, Figures],
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
        values = method(_flat(given)).reshape(clean.shape)
        made = values if clean.ndim == 2 else eight_bits(values)
        figures = errors(made, clean)
        if bce and clean.ndim == 4:
            figures["bce"] = _cross_entropy(_flat(made), _flat(clean))
        named = {f"{operation}_{key}{level}": figure for key, figure in figures.items()}
        beside.setdefault(name, {}).update(named)


def _cross_entropy(made: Floats, clean: Floats) -> float:
    """Mean per value in nats."""
    inside = np.clip(made, HALF_LEVEL, 1 - HALF_LEVEL)
    return float(-(clean * np.log(inside) + (1 - clean) * np.log1p(-inside)).mean(dtype=np.float64))
