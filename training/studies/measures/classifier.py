"""A classifier of small pictures that no autoencoder has seen: it says whether what was decoded is anything.

Half of what it learns from are fades of two pictures, whose classes share the probability (mixup, Zhang et al. 2018):
else it would be sure of everything. A temperature calibrates it on held-out training pictures. Knows no study.
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
"""Of the training pictures, for the temperature."""
LOG_TEMPERATURES: list[float] = np.linspace(-1, 2, 61).tolist()
CHUNK = 1000
CONFIDENT = 0.9
"""From this probability of a class on, a picture is called recognised."""


@dataclass(frozen=True, slots=True)
class Classifier:
    """Pictures uint8 N,H,W,C to the probabilities of their classes."""

    net: nn.Module
    temperature: float

    @torch.no_grad()
    def probabilities(self, pictures: Items) -> NDArray[np.float32]:
        """N,classes."""
        chunks = as_tensor(pictures).split(CHUNK)
        return torch.cat([F.softmax(self.net(to_float(chunk)) / self.temperature, 1) for chunk in chunks]).numpy()

    def predict_confident(self, pictures: Items) -> NDArray[np.int64]:
        """The class of each picture, -1 where no class has a probability of CONFIDENT."""
        found = self.probabilities(pictures)
        return np.where(found.max(1) >= CONFIDENT, found.argmax(1), -1)

    def confident_fraction(self, pictures: Items) -> float:
        """Of the pictures that are recognised."""
        return float((self.predict_confident(pictures) >= 0).mean())

    def accuracy(self, pictures: Items, labels: Labels) -> float:
        return float((self.probabilities(pictures).argmax(1) == labels).mean())


def train_classifier(pictures: Items, labels: Labels, seed: int = 0) -> Classifier:
    """A convolutional net fitted to the pictures; always the same for the same seed."""
    order = np.random.default_rng(seed).permutation(len(pictures))
    held, train = np.split(order, [round(CALIBRATION_FRACTION * len(order))])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = _net(pictures.shape[1:], int(labels.max()) + 1)
    _fit(net, as_tensor(pictures[train]), torch.from_numpy(labels[train]), Generator().manual_seed(seed))
    plain, wanted = Classifier(net.eval(), 1.0), labels[held]
    logits = np.log(plain.probabilities(pictures[held]).astype(np.float64) + 1e-30)
    return Classifier(net, _fit_temperature(logits, wanted))


def get_labels(data: Dataset) -> tuple[Labels, Labels]:
    """Of the training set and of the test set. Raises DataError where they are not known."""
    if data.train_labels is None or data.test_labels is None:
        raise DataError(f"{data.name} has no classes: they cannot be told apart")
    return data.train_labels, data.test_labels


def _net(shape: tuple[int, ...], classes: int) -> nn.Sequential:
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
    steps = EPOCHS * -(-len(pictures) // BATCH)
    optimiser = torch.optim.AdamW(net.parameters(), LEARNING_RATE, weight_decay=0.01, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, total_steps=steps)
    for _ in range(EPOCHS):
        for chosen in torch.randperm(len(pictures), generator=generator).split(BATCH):
            loss = _mixup_loss(net, to_float(pictures[chosen]), labels[chosen], generator)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()


def _mixup_loss(net: nn.Module, items: Tensor, labels: Tensor, generator: Generator) -> Tensor:
    """Cross-entropy of a batch whose first half is faded, each into the picture before it."""
    share = torch.rand(len(items), generator=generator)
    share[len(items) // 2 :] = 1
    weight = share.view(-1, 1, 1, 1)
    logits = net(weight * items + (1 - weight) * items.roll(1, 0))
    own, other = (F.cross_entropy(logits, wanted, reduction="none") for wanted in (labels, labels.roll(1, 0)))
    return (share * own + (1 - share) * other).mean()


def _fit_temperature(logits: NDArray[np.float64], labels: Labels) -> float:
    """What the logits are to be divided by so that held-out classes are most likely."""

    def negative_log_likelihood(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        scaled -= scaled.max(1, keepdims=True)
        return float((np.log(np.exp(scaled).sum(1)) - scaled[np.arange(len(labels)), labels]).mean())

    return float(np.exp(min(LOG_TEMPERATURES, key=negative_log_likelihood)))
