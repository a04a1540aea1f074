"""Metrics against their definitions."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.training import pictures, small, vectors
from training.evaluation.metrics import (
    NOISE_SEED,
    GraphFunction,
    corrupt,
    error_metrics,
    evaluate,
    mse_per_item,
    run_in_batches,
)
from training.loop.batches import as_tensor, to_float
from training.nets import Operation

Array = NDArray[Any]
NOISE = {"kind": "gaussian", "sigma": 0.5}


def test_errors_are_on_scale_0_to_1() -> None:
    clean = pictures(10)
    output = clean.copy()
    output[0] = 255 - output[0]
    by_hand = ((output.astype(float) - clean) ** 2).mean((1, 2, 3)) / 255**2
    np.testing.assert_allclose(mse_per_item(output, clean), by_hand, rtol=1e-6)
    metrics = error_metrics(output, clean)
    assert metrics["mse"] == pytest.approx(by_hand.mean())
    assert metrics["psnr"] == pytest.approx(10 * np.log10(1 / by_hand.mean()))
    assert error_metrics(vectors(4), vectors(4)) == {"mse": 0.0}


def test_batched_run_returns_items_in_order() -> None:
    items = pictures(1203)
    assert (run_in_batches(lambda batch: batch[..., ::-1, :], items) == items[..., ::-1, :]).all()


def test_reconstruction_composes_encode_and_decode(tmp_path: Path) -> None:
    recipe, data = small(tmp_path)
    net = recipe.net.build((1, 8, 8))
    halves: dict[Operation, GraphFunction] = {
        "encode": lambda items: items[..., 0, 0] / 255,
        "decode": lambda codes: np.full((len(codes), 8, 8, 1), 9, np.uint8),
    }
    evaluation = evaluate(recipe, data, net, halves)
    expected = error_metrics(np.full_like(data.test, 9), data.test)
    assert evaluation.metrics["reconstruct_mse"] == expected["mse"]
    assert "pca-4" in evaluation.baselines
    assert evaluation.percentiles is None
    assert "reconstruct_mse" not in evaluate(recipe, data, net, {"encode": halves["encode"]}).metrics


def test_test_noise_is_fixed_and_8_bit(tmp_path: Path) -> None:
    recipe, data = small(tmp_path, corruption=NOISE)
    noisy = corrupt(recipe.corruption, data.test, NOISE_SEED)
    assert noisy.dtype == np.uint8
    assert (corrupt(recipe.corruption, data.test, NOISE_SEED) == noisy).all()
    assert (corrupt(recipe.corruption, data.test, NOISE_SEED + 1) != noisy).any()


def test_perfect_graph_has_no_error_but_baselines_do(tmp_path: Path) -> None:
    recipe, data = small(tmp_path, model={"operations": ["reconstruct"]})
    measured = evaluate(recipe, data, recipe.net.build((1, 8, 8)), {"reconstruct": lambda batch: batch})
    assert measured.metrics["reconstruct_mse"] == 0
    assert measured.percentiles == [0.0] * 101
    assert list(measured.baselines) == ["mean of the training set", "pca-4"]
    mean, pca = (metrics["reconstruct_mse"] for metrics in measured.baselines.values())
    assert 0 < pca < mean


def test_denoising_is_measured_against_the_clean_items(tmp_path: Path) -> None:
    operations = ["encode", "decode", "reconstruct", "denoise"]
    recipe, data = small(tmp_path, pictures(400), corruption=NOISE, model={"operations": operations})
    measured = evaluate(recipe, data, recipe.net.build((1, 8, 8)), {"denoise": lambda batch: batch})
    noisy = measured.baselines["noisy input"]
    assert measured.metrics["denoise_mse"] == noisy["denoise_mse"] > 0.05
    rows = ["noisy input", "median 3x3", "gaussian 0.8", "lmmse (affine)"]
    assert list(measured.baselines) == rows
    assert measured.baselines["lmmse (affine)"]["denoise_psnr"] == max(
        f["denoise_psnr"] for f in measured.baselines.values()
    )
    assert f"seed {NOISE_SEED}" in measured.data
    assert measured.percentiles is None


def test_cross_entropy_uses_unrounded_outputs(tmp_path: Path) -> None:
    recipe, data = small(tmp_path)
    net = recipe.net.build((1, 8, 8)).requires_grad_(False)
    measured = evaluate(recipe, data, net, {"reconstruct": lambda batch: batch})
    clean = to_float(as_tensor(data.test))
    output, target = net.activate_output(net(clean)).double().numpy(), clean.double().numpy()
    by_hand = -(target * np.log(output) + (1 - target) * np.log(1 - output)).mean()
    assert measured.metrics["reconstruct_bce"] == pytest.approx(by_hand, rel=1e-5)


def test_overcomplete_code_is_compared_by_active_units(tmp_path: Path) -> None:
    recipe, data = small(tmp_path, net={"family": "dense", "code": 100})

    def codes(batch: Array) -> Array:
        return np.tile((np.arange(100) < 7).astype(np.float32), (len(batch), 1))

    measured = evaluate(
        recipe, data, recipe.net.build((1, 8, 8)), {"encode": codes, "reconstruct": lambda batch: batch}
    )
    assert measured.metrics["encode_active_share"] == pytest.approx(0.07)
    assert "pca-7" in measured.baselines


def test_vector_errors_are_on_their_own_scale(tmp_path: Path) -> None:
    recipe, data = small(
        tmp_path,
        vectors(100),
        net={"family": "dense", "code": 2, "output": "linear", "normalize": "none"},
        objective={"loss": "mse"},
    )
    measured = evaluate(recipe, data, recipe.net.build((6,)), {"reconstruct": lambda batch: batch + 1})
    assert measured.metrics == {"reconstruct_mse": pytest.approx(1)}
    assert "pca-2" in measured.baselines
