"""The verdict on a model in words, on runs of a second and on made-up logs."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.support.training import call, pictures, silent, small, vectors, workplace
from training.evaluation.metrics import NOISY_INPUT, Evaluation, evaluate
from training.evaluation.verdict import Finding, judge
from training.loop.fit import FitResult, fit
from training.loop.plan import complete
from training.nets import Autoencoder, Operation
from training.nets.dense import DenseSection
from training.studies.measures.arrays import torch_operation


def verdict(folder: Path, log: list[dict[str, Any]], items: Any = None, **changes: dict[str, Any]) -> list[Finding]:
    """Fit a small recipe, and judge it with a given log of its run."""
    recipe, data = small(folder, items, **changes)
    recipe = complete(recipe, data)
    net: Autoencoder = fit(recipe, data, folder / "run", silent()).net
    graphs: dict[Operation, Any] = {operation: torch_operation(net, operation) for operation in recipe.operations}
    return judge(recipe, data, net, evaluate(recipe, data, net, graphs), log)


def epochs(losses: list[float], validation: list[float] | None = None) -> list[dict[str, Any]]:
    """Return the log of a run with these losses."""
    held = [{"loss": loss} for loss in validation] if validation else [None] * len(losses)
    return [{"train": {"loss": loss}, "validation": one} for loss, one in zip(losses, held, strict=True)]


def words(findings: list[Finding]) -> str:
    """Return the sentences of a verdict as one text."""
    return " ".join(finding.sentence for finding in findings)


def test_useful_model_is_better_than_the_mean(tmp_path: Path) -> None:
    findings = verdict(tmp_path, [], optimizer={"epochs": 40})
    assert findings[0].sentence.startswith("Better than mean of the training set (")
    assert not any(finding.blocking for finding in findings)


@pytest.mark.parametrize(("items", "warned"), [(30, True), (35, False)])
def test_few_test_items_are_warned_of(tmp_path: Path, items: int, warned: bool) -> None:
    findings = verdict(tmp_path, [], pictures(items), optimizer={"epochs": 1, "batch": 4})
    held_out = round(items * 0.2)
    assert (f"Measured on {held_out} test items only" in words(findings)) is warned
    assert ("once in 64 times" in words(findings)) is warned


def test_untrained_model_is_worse_than_the_mean(tmp_path: Path) -> None:
    findings = verdict(tmp_path, [], optimizer={"epochs": 1, "lr": 1e-9})
    assert findings[0].blocking
    assert findings[0].sentence.startswith("No better than mean of the training set (")
    assert "--resume --set optimizer.epochs=2" in findings[0].sentence


@pytest.mark.parametrize(("last", "patience", "stopped"), [(7, 3, True), (20, 3, False), (7, None, False)])
def test_early_stop_is_named_with_how_to_continue(
    tmp_path: Path, last: int, patience: int | None, stopped: bool
) -> None:
    log = [{"epoch": last, "train": {"loss": 1.0}, "validation": {"loss": 1.0}}]
    plan = {"epochs": 20, "validation_fraction": 0.2, **({"patience": patience} if patience else {})}
    text = words(verdict(tmp_path, log, optimizer=plan))
    assert ("Stopped early" in text) is stopped
    assert ("--resume --set optimizer.patience=6" in text) is stopped


def test_denoiser_that_adds_noise_is_of_no_use(tmp_path: Path) -> None:
    changes = {"model": {"operations": ["denoise"]}, "corruption": {"kind": "gaussian", "sigma": 0.01}}
    findings = verdict(tmp_path, [], optimizer={"epochs": 1, "lr": 1e-9}, **changes)
    assert findings[0].blocking
    assert "noisy input" in findings[0].sentence


def of_levels(folder: Path, own: dict[str, float], noisy: dict[str, float], loss: str = "mse") -> list[Finding]:
    """Judge a net with given PSNRs of its output and of its noisy input, by the suffix of the level."""
    recipe, data = small(folder, objective={"loss": loss}, optimizer={"epochs": 4})
    net = DenseSection(code=4).build((1, 8, 8))
    metrics, base = ({f"denoise_mse_{key}": 10 ** (-one / 10) for key, one in part.items()} for part in (own, noisy))
    return judge(complete(recipe, data), data, net, Evaluation("", metrics, {NOISY_INPUT: base}, None), [])


def test_denoiser_that_harms_one_level_of_noise_is_not_published(tmp_path: Path) -> None:
    first = of_levels(tmp_path, {"15": 22.98, "25": 23.0, "50": 21.86}, {"15": 24.93, "25": 20.67, "50": 15.19})[0]
    assert first.blocking
    assert first.sentence == (
        "Worse than noisy input for the noise 15 (22.98 dB against 24.93 dB): train longer (--resume --set "
        'optimizer.epochs=8), or try another optimizer.lr, or set objective.loss = "log_mse", with which weak noise '
        "counts as much as strong noise."
    )


def test_all_harmed_levels_are_named(tmp_path: Path) -> None:
    own, noisy = {"dust": 30.0, "jpeg": 28.0, "50": 22.0}, {"dust": 31.0, "jpeg": 29.0, "50": 15.0}
    first = of_levels(tmp_path, own, noisy, "log_mse")[0]
    assert "dust (30.00 dB against 31.00 dB), the noise jpeg (28.00 dB against 29.00 dB)" in first.sentence
    assert "log_mse" not in first.sentence


def test_tenth_of_a_decibel_at_one_level_is_published(tmp_path: Path) -> None:
    noisy = {"dust": 31.0, "50": 15.0}
    within = of_levels(tmp_path, {"dust": 30.91, "50": 22.0}, noisy)
    beyond = of_levels(tmp_path, {"dust": 30.89, "50": 22.0}, noisy)
    assert "No better than noisy input for the noise dust (30.91 dB against 31.00 dB)" in words(within)
    assert [finding.blocking for finding in (*within[:1], *beyond[:1])] == [False, True]


def test_vectors_are_judged_on_the_scale_of_their_columns(tmp_path: Path) -> None:
    items = vectors(100) * np.array([1e4, 1, 1, 1, 1, 1], np.float32)
    net = {"family": "dense", "code": 3}
    findings = verdict(tmp_path, [], items, net=net, objective={"loss": "mse"}, optimizer={"epochs": 60})
    assert "of the variance against" in findings[0].sentence
    assert not findings[0].blocking


def test_unused_numbers_of_the_code_are_counted(tmp_path: Path) -> None:
    recipe, data = small(tmp_path)
    recipe = complete(recipe, data)
    net = DenseSection(code=4).build((1, 8, 8))
    torch.nn.init.zeros_(net.encoder.get_parameter("1.weight")[1])
    graphs: dict[Operation, Any] = {operation: torch_operation(net, operation) for operation in recipe.operations}
    findings = judge(recipe, data, net, evaluate(recipe, data, net, graphs), [])
    assert "1 of 4 numbers of the code never change" in words(findings)


def test_loss_that_still_falls_asks_for_more_epochs(tmp_path: Path) -> None:
    falling = verdict(tmp_path / "a", epochs([1 / (1 + n) for n in range(20)]))
    flat = verdict(tmp_path / "b", epochs([1.0] * 20))
    assert "still falling at the end: train longer: --resume --set optimizer.epochs=12" in words(falling)
    assert "still falling" not in words(flat)


def test_validation_loss_that_rises_is_overfitting(tmp_path: Path) -> None:
    rising = verdict(tmp_path / "a", epochs([0.1] * 10, [0.5, 0.3, 0.2, *[0.4] * 7]))
    steady = verdict(tmp_path / "b", epochs([0.1] * 10, [0.5] * 10))
    assert "the validation loss rose after epoch 3 of 10" in words(rising)
    assert "validation loss" not in words(steady)


def test_few_items_and_a_wide_net_overfit(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 1), np.uint8)
    net = {"family": "dense", "code": 64}
    assert "that on the training set" in words(verdict(tmp_path, [], noise, net=net, optimizer={"epochs": 200}))


def test_model_of_no_use_is_published_on_request_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    workplace(tmp_path)
    monkeypatch.chdir(tmp_path)
    hopeless = ("blobs.toml", "--data", "data", "--set", "optimizer.epochs=1", "--set", "optimizer.lr=1e-9")
    assert call("fit", *hopeless) == 3
    out, err = capsys.readouterr()
    assert "No better than mean of the training set" in " ".join(out.split())
    assert "export blobs.toml --publish-anyway" in err
    assert not list(tmp_path.glob("models/*"))
    assert call("export", *hopeless) == 3
    assert call("export", *hopeless, "--publish-anyway") == 0
    assert (tmp_path / "models/blobs/1/card.json").is_file()


def test_fit_that_harms_weak_noise_ends_with_a_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = workplace(tmp_path) / "blobs.toml"
    noise = '[corruption]\nkind = "gaussian-blind"\nhigh = 0.2157\n'
    recipe.write_text(recipe.read_text().replace('["reconstruct"]', '["denoise"]') + noise)
    monkeypatch.chdir(tmp_path)
    arguments = ("blobs.toml", "--data", "data", "--set", "optimizer.epochs=40")
    assert call("fit", *arguments) == 3
    out, err = (" ".join(text.split()) for text in capsys.readouterr())
    assert "Worse than noisy input for the noise 15 (" in out
    assert "is better" in err
    assert not list(tmp_path.glob("models/*"))
    assert call("export", *arguments, "--publish-anyway") == 0


def test_finished_run_can_be_made_longer(tmp_path: Path) -> None:
    recipe, data = small(tmp_path, optimizer={"epochs": 2})
    longer, _ = small(tmp_path, optimizer={"epochs": 3})
    fit(recipe, data, tmp_path / "run", silent())
    result: FitResult = fit(longer, data, tmp_path / "run", silent(), resume=True)
    assert result.steps == 30
