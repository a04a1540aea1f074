"""Calibrated convolutional classifier of small pictures. It judges whether a decoded picture shows a known class.

Half of each training batch is mixed pairs of pictures (mixup, Zhang et al., ICLR 2018), since a plain classifier is
confident on any input. Its probabilities are then calibrated by temperature scaling (Guo et al., ICML 2017) on held-out
training pictures.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from training.data import Dataset, Items, Labels
from training.errors import DataError
from training.loop.batches import as_tensor, to_float

EPOCHS, BATCH, LEARNING_RATE = 5, 128, 2e-3
CALIBRATION_FRACTION = 1 / 12
"""Fraction of the training pictures that is held out to fit the temperature."""
LOG_TEMPERATURES: list[float] = np.linspace(-1, 2, 61).tolist()
"""Natural logarithms of the temperatures to choose from."""
CHUNK = 1000
"""Pictures that are classified at a time."""
CONFIDENT = 0.9
"""Smallest probability at which a picture counts as recognised."""


@dataclass(frozen=True, slots=True)
class Classifier:
    """Classifier of pictures uint8 (N, H, W, C)."""

    net: nn.Module
    """Network from float32 (N, C, H, W) in 0..1 to logits (N, classes)."""
    temperature: float
    """Divisor of the logits."""

    @torch.no_grad()
    def probabilities(self, pictures: Items) -> NDArray[np.float32]:
        """Return the probabilities of the classes, float32 (N, classes)."""
        chunks = as_tensor(pictures).split(CHUNK)
        return torch.cat([F.softmax(self.net(to_float(chunk)) / self.temperature, 1) for chunk in chunks]).numpy()

    def predict_confident(self, pictures: Items) -> NDArray[np.int64]:
        """Return the class of each picture, int64 (N,), or -1 if no probability reaches CONFIDENT."""
        probabilities = self.probabilities(pictures)
        return np.where(probabilities.max(1) >= CONFIDENT, probabilities.argmax(1), -1)

    def confident_fraction(self, pictures: Items) -> float:
        """Return the fraction of pictures that are recognised."""
        return float((self.predict_confident(pictures) >= 0).mean())

    def accuracy(self, pictures: Items, labels: Labels) -> float:
        """Return the fraction of pictures whose most probable class is their label (N,)."""
        return float((self.probabilities(pictures).argmax(1) == labels).mean())


def train_classifier(pictures: Items, labels: Labels, seed: int = 0) -> Classifier:
    """Train a classifier on pictures uint8 (N, H, W, C) with labels int64 (N,). Deterministic for a seed."""
    order = np.random.default_rng(seed).permutation(len(pictures))
    held, train = np.split(order, [round(CALIBRATION_FRACTION * len(order))])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = _net(pictures.shape[1:], int(labels.max()) + 1)
    _fit(net, as_tensor(pictures[train]), torch.from_numpy(labels[train]), Generator().manual_seed(seed))
    uncalibrated = Classifier(net.eval(), 1.0)
    logits = np.log(uncalibrated.probabilities(pictures[held]).astype(np.float64) + 1e-30)
    return Classifier(net, _fit_temperature(logits, labels[held]))


def get_labels(data: Dataset) -> tuple[Labels, Labels]:
    """Return the labels of the training set and of the test set, int64 (N,) each.

    Raises:
        DataError: The data set has no labels.
    """
    if data.train_labels is None or data.test_labels is None:
        raise DataError(f"data set {data.name} has no labels, which this study needs: choose one with labels")
    return data.train_labels, data.test_labels


def _net(shape: tuple[int, ...], classes: int) -> nn.Sequential:
    """Return a new network for pictures of `shape` (H, W, C)."""
    height, width, channels = shape
    rest = -(-height // 4) * -(-width // 4)
    return nn.Sequential(
        nn.Conv2d(channels, 16, 5, stride=2, padding=2),
        nn.ReLU(),
        nn.Conv2d(16, 32, 5, stride=2, padding=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * rest, 128),
        nn.ReLU(),
        nn.Linear(128, classes),
    )


def _fit(net: nn.Module, pictures: Tensor, labels: Tensor, generator: Generator) -> None:
    """Train `net` on pictures uint8 (N, C, H, W) with labels int64 (N,)."""
    steps = EPOCHS * -(-len(pictures) // BATCH)
    optimizer = torch.optim.AdamW(net.parameters(), LEARNING_RATE, weight_decay=0.01, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    for _ in range(EPOCHS):
        for chosen in torch.randperm(len(pictures), generator=generator).split(BATCH):
            loss = _mixup_loss(net, to_float(pictures[chosen]), labels[chosen], generator)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()


def _mixup_loss(net: nn.Module, items: Tensor, labels: Tensor, generator: Generator) -> Tensor:
    """Return the cross-entropy of a batch float32 (N, C, H, W) whose first half is mixed with other items."""
    # mixup: x = l x_i + (1 - l) x_j and loss = l CE(x, y_i) + (1 - l) CE(x, y_j), with l uniform; j is i - 1 here.
    share = torch.rand(len(items), generator=generator)
    share[len(items) // 2 :] = 1
    weight = share.view(-1, 1, 1, 1)
    logits = net(weight * items + (1 - weight) * items.roll(1, 0))
    own, other = (F.cross_entropy(logits, target, reduction="none") for target in (labels, labels.roll(1, 0)))
    return (share * own + (1 - share) * other).mean()


def _fit_temperature(logits: NDArray[np.float64], labels: Labels) -> float:
    """Return the temperature that minimises the cross-entropy of logits (N, classes) with labels (N,)."""

    def negative_log_likelihood(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        scaled -= scaled.max(1, keepdims=True)
        return float((np.log(np.exp(scaled).sum(1)) - scaled[np.arange(len(labels)), labels]).mean())

    return float(np.exp(min(LOG_TEMPERATURES, key=negative_log_likelihood)))
