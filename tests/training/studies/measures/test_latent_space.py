"""Measures of a latent space with known values, and the classifier."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from training.data import Dataset
from training.errors import DataError
from training.evaluation.metrics import GraphFunction
from training.nets import Operation
from training.studies.measures.classifier import Classifier, get_labels, train_classifier
from training.studies.measures.latent_space import (
    controls,
    fit_normal,
    knn_purity,
    latent_metrics,
    sampling_floor,
    sliced_wasserstein,
    standard_normal,
)

RANDOM = np.random.default_rng(5)
NORMAL = RANDOM.normal(size=(3000, 2))
MIXING = np.array([[2.0, 0.0], [1.5, 0.3]])

HALVES = ((slice(0, 6),), (slice(6, 12),), (slice(None), slice(0, 6)))


def test_purity_is_the_fraction_of_same_class_neighbours() -> None:
    near, far = RANDOM.normal(size=(200, 3)), RANDOM.normal(size=(200, 3)) + 50
    codes, apart = np.concatenate([near, far]), np.repeat([0, 1], 200)
    assert knn_purity(codes, apart) == 1
    assert knn_purity(codes, RANDOM.integers(0, 4, 400)) == pytest.approx(0.25, abs=0.05)


def test_distance_of_a_normal_to_itself_is_zero() -> None:
    codes = NORMAL @ MIXING.T + 7
    assert sliced_wasserstein(NORMAL, standard_normal(2)) == pytest.approx(sampling_floor(3000, 2), abs=0.02)
    assert sliced_wasserstein(codes, fit_normal(codes)) == pytest.approx(sampling_floor(3000, 2), abs=0.02)
    assert sliced_wasserstein(NORMAL + np.array([3.0, 0.0]), standard_normal(2)) == pytest.approx(
        3 * 2 / np.pi, abs=0.2
    )


def test_nonnormal_codes_are_far_from_a_normal() -> None:
    angle = RANDOM.uniform(0, 2 * np.pi, 3000)
    ring = 5 * np.stack([np.cos(angle), np.sin(angle)], 1)
    assert sliced_wasserstein(ring, fit_normal(ring)) > 5 * sampling_floor(3000, 2)


def test_samples_of_fitted_normal_match_the_codes() -> None:
    codes = NORMAL @ MIXING.T + np.array([7.0, -2.0])
    drawn = fit_normal(codes).sample(20_000)
    np.testing.assert_allclose(drawn.mean(0), codes.mean(0), atol=0.1)
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(codes.T), atol=0.2)
    np.testing.assert_allclose(np.cov(fit_normal(codes).whiten(codes).T, bias=True), np.eye(2), atol=1e-9)


def bars(count: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return noisy pictures with a bright upper, lower or left half, and their classes."""
    labels = RANDOM.integers(0, len(HALVES), count)
    items = RANDOM.integers(0, 60, (count, 12, 12, 1)).astype(np.uint8)
    for item, label in zip(items, labels, strict=True):
        item[HALVES[label]] += 150
    return items, labels


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return train_classifier(*bars(1500))


def test_classifier_is_unsure_between_classes(classifier: Classifier) -> None:
    items, labels = bars(300)
    assert classifier.accuracy(items, labels) > 0.98
    assert (classifier.predict_confident(items) == labels).mean() > 0.9
    np.testing.assert_allclose(classifier.probabilities(items).sum(1), 1, rtol=1e-5)
    metrics = controls(classifier, items, labels)
    assert metrics["mixed"] < metrics["digits"]


def test_classifier_is_reproducible() -> None:
    items, labels = bars(200)
    state = torch.get_rng_state()
    one, other = train_classifier(items, labels), train_classifier(items, labels)
    assert torch.equal(torch.get_rng_state(), state)
    assert (one.probabilities(items) == other.probabilities(items)).all()


def test_latent_metrics_use_the_encoder_and_decoder(classifier: Classifier) -> None:
    items, labels = bars(400)

    def encode(pictures: NDArray[Any]) -> NDArray[Any]:
        flat = pictures.astype(np.float32)[..., 0] / 255
        return np.stack([flat[:, :6].mean((1, 2)), flat[:, 6:].mean((1, 2))], 1)

    def decode(codes: NDArray[Any]) -> NDArray[Any]:
        decoded = np.full((len(codes), 12, 12, 1), 30, np.uint8)
        for picture, code in zip(decoded, codes, strict=True):
            picture[HALVES[int(code[0] < code[1])]] = 180
        return decoded

    codes = encode(items)
    graphs: dict[Operation, GraphFunction] = {"encode": encode, "decode": decode}
    metrics = latent_metrics(graphs, items, labels, classifier, fit_normal(codes), codes)
    assert metrics["reconstructed"] == classifier.confident_fraction(decode(codes)) > 0.9
    assert metrics["drawn"] == classifier.confident_fraction(decode(fit_normal(codes).sample(400)))
    assert metrics["rarest"] == 0
    assert metrics["purity"] > 0.9
    assert metrics["distance"] == sliced_wasserstein(codes, fit_normal(codes))
    assert metrics["floor"] == sampling_floor(400, 2)


def test_data_without_labels_is_rejected() -> None:
    items, _ = bars(4)
    with pytest.raises(DataError, match="no labels"):
        get_labels(Dataset("bars", "CC0-1.0", items, items))
