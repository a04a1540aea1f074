"""The study of patches: the locality of filters, and filters equal to the weights."""

import numpy as np
import torch

from training.nets.dense import DenseSection
from training.studies.base.packing import pack
from training.studies.patches import SIDE, STUDY, encoder_gradients, filter_pictures, locality


def test_locality_is_1_for_a_spot_and_low_for_a_wave() -> None:
    spot, wave = np.zeros((SIDE, SIDE)), np.tile([1.0, -1.0], (SIDE, SIDE // 2))
    spot[6:9, 1:4] = [1, -2, 1]
    assert locality(np.stack([spot, wave]).reshape(2, -1)).tolist() == [1, 0.25]


def test_encoder_gradients_are_proportional_to_weights() -> None:
    net = DenseSection(code=3, code_activation="sigmoid", output="linear").build((SIDE * SIDE,))
    weights = dict(net.named_parameters())["encoder.1.weight"].detach().numpy()
    gradients = encoder_gradients(net)
    for mine, theirs in zip(gradients, weights, strict=True):
        np.testing.assert_allclose(mine / np.linalg.norm(mine), theirs / np.linalg.norm(theirs), atol=1e-5)
    assert torch.is_grad_enabled()


def test_filter_pictures_are_scaled_individually() -> None:
    shown = filter_pictures(np.array([[0.0] * 99 + [0.01], [0.0] * 99 + [-5.0]]))
    assert (shown[0].max(), shown[1].min(), shown[0, 0, 0, 0]) == (255, 0, 128)


def test_stored_results_are_reported() -> None:
    filters = pack(np.zeros((50, SIDE, SIDE, 1), np.uint8))
    numbers = {"net_mse": 0.4, "pca_mse": 0.02, "variance": 1.0, "on_share": 0.05, "seconds": 1.0}
    counts = {"patches": 9, "parameters": 9, "seed": 1}
    shares = {"net_local": [0.6] * 50, "pca_local": [0.35] * 50}
    results = {**numbers, **counts, **shares, "net_filters": filters, "pca_filters": filters}
    assert [row.status for row in STUDY.rows(results)] == ["yes", ""]
    assert list(STUDY.plot(results)) == ["filters"]
    summary = STUDY.summary(results)
    assert "the error is 0.40 of the variance, and that of PCA-50 0.020" in summary
    assert "more than 60 % of their energy within a quarter of the patch" in summary
    assert "A unit is active for 5.0 % of the patches" in summary
