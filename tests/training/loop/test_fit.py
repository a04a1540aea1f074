"""The training loop: exact resume, guards, early stopping, and known optima."""

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.nn.functional import binary_cross_entropy_with_logits

from tests.support.training import pictures, silent, small, vectors
from training.data import Dataset, hold_out
from training.errors import Collapsed, DataError, Diverged, Interrupted, RunError
from training.loop.batches import as_tensor, to_float
from training.loop.checkpoint import read_checkpoint
from training.loop.fit import FitResult, ProgressCallback, fit, load_fitted
from training.loop.optimizer import learning_rate
from training.loop.run_folder import lock_run_folder, read_log
from training.recipe import OptimizerSection, Recipe

NOISE = {"kind": "gaussian", "sigma": 0.3}
FULL: dict[str, dict[str, Any]] = {
    "dense": {
        "corruption": NOISE,
        "optimizer": {"validation_fraction": 0.2, "patience": 50, "grad_clip": 1.0, "checkpoint_every": 7},
    },
    "conv": {
        "net": {"family": "conv", "widths": [4, 6], "code": 3},
        "corruption": {"kind": "masking", "fraction": 0.25},
        "optimizer": {"checkpoint_every": 7, "weight_decay": 0.1},
    },
    "variational by sgd in bfloat16": {
        "net": {"family": "variational", "code": 3, "hidden": [16]},
        "objective": {"loss": "bce", "penalties": {"kl_prior": 0.05}, "binarize": True},
        "optimizer": {"checkpoint_every": 7, "warmup": 90, "name": "sgd", "momentum": 0.9, "precision": "bfloat16"},
    },
    "variational by importance": {
        "net": {"family": "variational", "code": 3, "hidden": [16], "draws": 4},
        "objective": {"loss": "bce", "iwae": True, "binarize": True},
        "optimizer": {"checkpoint_every": 7, "warmup": 30},
    },
}
"""Per epoch 8 steps of 8 items with the validation share, 10 without."""


def same(one: FitResult, other: FitResult) -> bool:
    pairs = zip(one.net.state_dict().values(), other.net.state_dict().values(), strict=True)
    return one.steps == other.steps and all(torch.equal(mine, theirs) for mine, theirs in pairs)


def killer(at: int, number: signal.Signals = signal.SIGTERM) -> ProgressCallback:
    """Return a callback that sends this process a signal after one step."""

    def tell(step: int, _total: int, _loss: float, _rate: float) -> None:
        if step == at:
            os.kill(os.getpid(), number)

    return tell


def untimed(folder: Path) -> list[dict[str, Any]]:
    return [{key: line[key] for key in ("epoch", "step", "lr", "train", "validation")} for line in read_log(folder)]


@pytest.fixture(scope="module", params=FULL)
def uninterrupted(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Recipe, Dataset, Path, FitResult]:
    folder = tmp_path_factory.mktemp("full")
    recipe, data = small(folder, **FULL[request.param])
    return recipe, data, folder / "run", fit(recipe, data, folder / "run", silent())


@pytest.mark.parametrize("at", [1, 5, 7, 8, 10, 14, 16, 43])
def test_interrupted_run_resumes_to_the_same_bits(
    uninterrupted: tuple[Recipe, Dataset, Path, FitResult], tmp_path: Path, at: int
) -> None:
    recipe, data, folder, expected = uninterrupted
    with pytest.raises(Interrupted, match=rf"step {at} of .* --resume") as stop:
        fit(recipe, data, tmp_path, killer(at))
    assert stop.value.status == 128 + signal.SIGTERM
    assert same(fit(recipe, data, tmp_path, silent(), resume=True), expected)
    assert untimed(tmp_path) == untimed(folder)


def test_run_can_be_interrupted_repeatedly(
    uninterrupted: tuple[Recipe, Dataset, Path, FitResult], tmp_path: Path
) -> None:
    recipe, data, _, expected = uninterrupted
    for at in (3, 4, 20):
        with pytest.raises(Interrupted):
            fit(recipe, data, tmp_path, killer(at, signal.SIGINT), resume=True)
    assert same(fit(recipe, data, tmp_path, silent(), resume=True), expected)


def test_corrupt_newest_checkpoint_keeps_the_result(
    uninterrupted: tuple[Recipe, Dataset, Path, FitResult], tmp_path: Path
) -> None:
    recipe, data, _, expected = uninterrupted
    with pytest.raises(Interrupted):
        fit(recipe, data, tmp_path, killer(30))
    newest = max(tmp_path.glob("checkpoint-*"))
    newest.write_bytes(newest.read_bytes()[:-50])
    assert same(fit(recipe, data, tmp_path, silent(), resume=True), expected)


def test_finished_run_is_loaded_without_training(
    uninterrupted: tuple[Recipe, Dataset, Path, FitResult], tmp_path: Path
) -> None:
    recipe, data, folder, expected = uninterrupted
    assert same(load_fitted(recipe, data, folder), expected)
    with pytest.raises(RunError, match="no checkpoint"):
        load_fitted(recipe, data, tmp_path)


def test_existing_run_is_not_overwritten(tmp_path: Path) -> None:
    recipe, data = small(tmp_path)
    run = tmp_path / "run"
    first = fit(recipe, data, run, silent())
    with pytest.raises(RunError, match="--resume or --fresh"):
        fit(recipe, data, run, silent())
    assert same(fit(recipe, data, run, silent(), resume=False), first)
    assert len(read_log(run)) == 6


def test_resuming_with_other_recipe_or_data_is_rejected(tmp_path: Path) -> None:
    recipe, data = small(tmp_path)
    run = tmp_path / "run"
    fit(recipe, data, run, silent())
    faster, _ = small(tmp_path, optimizer={"lr": 0.5})
    with pytest.raises(RunError, match=r"optimizer.lr is 0.01 there and 0.5 here"):
        fit(faster, data, run, silent(), resume=True)
    other = Dataset(data.name, data.licence, pictures(80, seed=9), data.test)
    with pytest.raises(RunError, match="data is "):
        fit(recipe, other, run, silent(), resume=True)
    renamed, _ = small(tmp_path, model={"title": "Another title"})
    fit(renamed, data, run, silent(), resume=True)


def test_concurrent_runs_in_one_folder_are_rejected(tmp_path: Path) -> None:
    recipe, data = small(tmp_path)
    with lock_run_folder(tmp_path / "run"), pytest.raises(RunError, match="in use"):
        fit(recipe, data, tmp_path / "run", silent())


def test_denormals_are_flushed_to_zero(tmp_path: Path) -> None:
    recipe, data = small(tmp_path)
    tiny = torch.tensor([1e-39])
    seen: list[float] = []
    fit(recipe, data, tmp_path / "run", lambda *_: seen.append((tiny * 0.5).item()))
    assert set(seen) == {0.0}
    assert (tiny * 0.5).item() > 0


def test_result_depends_on_the_seed(tmp_path: Path) -> None:
    recipe, data = small(tmp_path)
    torch.manual_seed(1)
    one = fit(recipe, data, tmp_path / "one", silent())
    torch.manual_seed(2)
    assert same(fit(recipe, data, tmp_path / "two", silent()), one)
    other, _ = small(tmp_path, optimizer={"seed": 2})
    assert not same(fit(other, data, tmp_path / "three", silent()), one)


def test_early_stopping_keeps_the_best_epoch(tmp_path: Path) -> None:
    plan = {"validation_fraction": 0.5, "patience": 3, "epochs": 200, "batch": 8, "ema_decay": 0.0, "lr": 0.03}
    recipe, data = small(tmp_path, pictures(40), net={"family": "dense", "code": 60}, optimizer=plan)
    result = fit(recipe, data, tmp_path / "run", silent())
    losses = [line["validation"]["loss"] for line in read_log(tmp_path / "run")]
    best = int(np.argmin(losses))
    assert len(losses) == best + 1 + 3 < 200
    assert losses[-1] > losses[best]
    held = to_float(as_tensor(hold_out(data.train, 0.5, seed=1)[1]))
    assert binary_cross_entropy_with_logits(result.net(held), held).item() == pytest.approx(losses[best], rel=1e-6)


def test_early_stopped_run_continues_to_the_same_bits(tmp_path: Path) -> None:
    plan = {"validation_fraction": 0.5, "epochs": 60, "batch": 8, "ema_decay": 0.0, "lr": 0.03}
    net = {"family": "dense", "code": 60}
    impatient, data = small(tmp_path, pictures(40), net=net, optimizer={**plan, "patience": 2})
    patient, _ = small(tmp_path, pictures(40), net=net, optimizer={**plan, "patience": 12})
    expected = fit(patient, data, tmp_path / "whole", silent())
    stopped = fit(impatient, data, tmp_path / "run", silent())
    assert stopped.steps < expected.steps
    assert same(fit(impatient, data, tmp_path / "run", silent(), resume=True), stopped)
    assert same(fit(patient, data, tmp_path / "run", silent(), resume=True), expected)
    assert untimed(tmp_path / "run") == untimed(tmp_path / "whole")


def test_linear_net_reaches_the_error_of_pca(tmp_path: Path) -> None:
    recipe, data = small(
        tmp_path,
        vectors(625),
        net={"family": "dense", "code": 2, "output": "linear", "normalize": "none"},
        objective={"loss": "mse"},
        optimizer={"epochs": 150, "batch": 50, "lr": 2e-2, "ema_decay": 0.0},
    )
    output = fit(recipe, data, tmp_path / "run", silent()).net(torch.from_numpy(data.train)).numpy()
    centred = data.train - data.train.mean(0)
    singular = np.linalg.svd(centred.astype(np.float64), compute_uv=False)
    optimum = np.square(singular[2:]).sum() / data.train.size
    error = np.square(output.astype(np.float64) - data.train).mean()
    assert optimum * (1 - 1e-6) <= error < optimum * 1.01


def test_training_starts_from_given_weights(tmp_path: Path) -> None:
    recipe, data = small(tmp_path)
    first = fit(recipe, data, tmp_path / "run", silent())
    save_file(first.net.state_dict(), tmp_path / "weights.safetensors")
    still, _ = small(tmp_path, optimizer={"lr": 1e-30, "epochs": 1, "ema_decay": 0.0})
    again = fit(still, data, tmp_path / "again", silent(), init=tmp_path / "weights.safetensors")
    assert same(FitResult(again.net, first.steps, 0), first)
    wider, _ = small(tmp_path, net={"family": "dense", "code": 5})
    with pytest.raises(RunError, match="another net"):
        fit(wider, data, tmp_path / "wider", silent(), init=tmp_path / "weights.safetensors")


def test_nonfinite_loss_stops_with_its_cause(tmp_path: Path) -> None:
    items = vectors(100)
    items[:, 0] = 1e30
    net = {"family": "dense", "code": 2, "output": "linear", "normalize": "none"}
    recipe, data = small(tmp_path, items, net=net, objective={"loss": "mse"})
    with pytest.raises(Diverged, match=r"step 0: loss inf.* learning rate 0\.0025, on the training items \d+, \d+"):
        fit(recipe, data, tmp_path / "run", silent())
    assert not list((tmp_path / "run").glob("checkpoint-*"))


@pytest.mark.parametrize(("method", "left"), [("sgd", 1), ("adamw", None)])
def test_nonfinite_run_keeps_the_last_finite_checkpoint(tmp_path: Path, method: str, left: int | None) -> None:
    plan = {"name": method, "lr": 1e38, "checkpoint_every": 1, "warmup": 0, "ema_decay": 0.0}
    recipe, data = small(tmp_path, optimizer=plan)
    causes: list[str] = []
    for resume in (None, True):
        with pytest.raises(Diverged, match=r"step 1: .* lower optimizer\.lr") as stop:
            fit(recipe, data, tmp_path / "run", silent(), resume=resume)
        causes.append(str(stop.value))
    assert causes[0] == causes[1]
    checkpoint = read_checkpoint(tmp_path / "run")
    assert (checkpoint and checkpoint.step) == left


def test_collapsed_net_stops_with_its_cause(tmp_path: Path) -> None:
    recipe, data = small(
        tmp_path,
        net={"family": "dense", "code": 4, "code_activation": "relu"},
        objective={"loss": "bce", "penalties": {"l1": 1e4}},
        optimizer={"lr": 0.3},
    )
    with pytest.raises(Collapsed, match="the same output for every input"):
        fit(recipe, data, tmp_path / "run", silent())


def test_cross_entropy_requires_values_in_0_to_1(tmp_path: Path) -> None:
    recipe, data = small(tmp_path, vectors(100) - 3)
    with pytest.raises(DataError, match="use 'mse'"):
        fit(recipe, data, tmp_path / "run", silent())


def test_learning_rate_warms_up_and_decays_to_zero() -> None:
    plan = OptimizerSection(epochs=1, lr=0.1, warmup=9)
    rates = [learning_rate(plan, step, 100) for step in range(101)]
    assert rates[0] == pytest.approx(0.01)
    assert rates[:10] == sorted(rates[:10])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[50] == pytest.approx(0.05)
    assert rates[100] == pytest.approx(0)
