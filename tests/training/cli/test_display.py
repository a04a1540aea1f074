"""What a run shows: the curve of its loss, how long it takes, and its log for TensorBoard."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread
from numpy.typing import NDArray

from tests.support.training import call, small, vectors, workplace
from training.cli.display import LossCurve, announced, describe_seconds
from training.cli.samples import SampleImages
from training.export.onnx_graph import ExportModule
from training.export.parity_inputs import run_torch
from training.loop import pace
from training.loop.pace import lasting, steps_per_epoch
from training.loop.plan import complete


def curve(losses: list[float], total: int | None = None) -> str:
    """Return the curve of a run with these losses."""
    drawn = LossCurve()
    for step, loss in enumerate(losses, 1):
        drawn.add(step, total or len(losses), loss)
    return str(drawn)


def test_curve_falls_from_the_highest_to_the_lowest_block() -> None:
    assert curve([2.0 ** (7 - n) for n in range(8)], 24) == "█▇▆▅▄▃▂▁"
    assert curve([float(n) for n in range(-4, 4)], 24) == "▁▂▃▄▅▆▇█"  # not all are positive: a linear scale


def test_curve_of_a_long_run_has_a_fixed_width() -> None:
    assert len(curve([1.0 + n % 3 for n in range(1000)])) == 24
    assert curve([1.0] * 1000) == "▁" * 24
    assert curve([]) == curve([float("nan")]) == ""


def test_duration_is_announced_once(capsys: pytest.CaptureFixture[str]) -> None:
    on_step = announced()
    for step in range(1, 60):
        on_step(step, 1000, 0.0, 0.0)
    assert capsys.readouterr().out == "1,000 steps, about 1 seconds on this machine\n"


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.1, "1 seconds"), (89, "89 seconds"), (600, "10 minutes"), (7200, "2.0 hours")]
)
def test_durations_are_in_words(seconds: float, words: str) -> None:
    assert describe_seconds(seconds) == words


def test_minutes_become_epochs_by_the_measured_speed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, data = small(tmp_path)
    monkeypatch.setattr(pace, "measure_step", lambda *_: 0.01)
    assert steps_per_epoch(recipe, data) == 10
    assert lasting(recipe, data, 1.0).optimizer.epochs == 480  # 80 % of a minute in steps of 10 ms
    assert lasting(recipe, data, 1e-6).optimizer.epochs == 1


def test_speed_is_that_of_real_steps(tmp_path: Path) -> None:
    recipe, data = small(tmp_path)
    assert 0 < pace.measure_step(recipe, data) < 10


def image_of(path: Path) -> NDArray[Any]:
    """Return the colours of a PNG file, (H, W, 3) in 0..1."""
    return imread(path)[..., :3]


def test_samples_show_the_best_net_so_far(tmp_path: Path) -> None:
    recipe, data = small(tmp_path, model={"operations": ["reconstruct"]})
    recipe = complete(recipe, data)
    times, steps = iter([0.0, 0.0, 0.0, 0.5, 1.0, 1.0]), list[int]()
    samples = SampleImages(recipe, data, tmp_path, lambda step, _: steps.append(step), lambda: next(times))
    net = recipe.net.build((1, 8, 8)).eval()
    for step in (10, 20, 30):
        samples.on_validation(step, net)
    assert steps == [10, 30]  # the second is less than a second after the first
    expected = np.stack([data.test[:2], run_torch(ExportModule(net, "reconstruct").eval(), data.test[:2])])
    drawn = np.rint(255 * image_of(tmp_path / "samples.png"))
    scale = 84 // 8
    for row in range(2):
        top, left = row * (8 * scale + 4) + 2, (8 * scale + 4) + 2
        shown = drawn[top : top + 8 * scale : scale, left : left + 8 * scale : scale, 0]
        np.testing.assert_array_equal(shown, expected[row, 1, :, :, 0])


def test_no_samples_are_drawn_of_vectors(tmp_path: Path) -> None:
    recipe, data = small(tmp_path, vectors(100), objective={"loss": "mse"})
    samples = SampleImages(complete(recipe, data), data, tmp_path)
    samples.on_validation(1, recipe.net.build((6,)))
    assert not (tmp_path / "samples.png").exists()


def test_losses_are_written_for_tensorboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    points: list[tuple[str, float, int]] = []
    images: list[tuple[Any, ...]] = []
    writer = SimpleNamespace(
        add_scalar=lambda *point: points.append(point),
        add_image=lambda name, image, step, dataformats: images.append((name, image.shape, step, dataformats)),
        close=lambda: points.append(("end", 0, 0)),
    )
    monkeypatch.setitem(sys.modules, "tensorboardX", SimpleNamespace(SummaryWriter=lambda _folder: writer))
    workplace(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert call("fit", "blobs.toml", "--data", "data", "--tensorboard", "--publish-anyway") == 0
    assert [step for name, _, step in points if name == "step/loss"] == [10, 20, 30, 40]
    assert [step for name, _, step in points if name == "train/loss"] == [11, 22, 33, 44]
    assert points[-1][0] == "end"
    assert images[0] == ("samples", image_of(tmp_path / "runs" / "blobs" / "samples.png").shape, 11, "HWC")


def test_tensorboard_without_its_library_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    workplace(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert call("fit", "blobs.toml", "--data", "data", "--tensorboard") == 1
    assert "--tensorboard needs tensorboardX: pip install tensorboardX" in capsys.readouterr().err


def test_run_is_logged_to_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Any, ...]] = []
    client = SimpleNamespace(
        get_experiment_by_name=lambda _name: None,
        create_experiment=lambda name: calls.append(("experiment", name)) or "1",
        create_run=lambda experiment, run_name: (
            calls.append(("run", experiment, run_name)) or SimpleNamespace(info=SimpleNamespace(run_id="r"))
        ),
        log_param=lambda _run, key, value: calls.append((key, value)),
        log_metric=lambda _run, name, value, step: calls.append((name, value, step)),
        log_image=lambda _run, image, key, step: calls.append((key, image.shape, step)),
        set_terminated=lambda _run, status: calls.append(("end", status)),
    )
    monkeypatch.setitem(sys.modules, "mlflow", SimpleNamespace(MlflowClient=lambda: client))
    workplace(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert call("fit", "blobs.toml", "--data", "data", "--mlflow", "--publish-anyway") == 0
    assert calls[:2] == [("experiment", "hourglass"), ("run", "1", "blobs")]
    assert ("net.code", "4") in calls
    assert [one[2] for one in calls if one[0] == "step/loss"] == [10, 20, 30, 40]
    assert [one[2] for one in calls if one[0] == "train/loss"] == [11, 22, 33, 44]
    assert ("samples", image_of(tmp_path / "runs" / "blobs" / "samples.png").shape, 11) in calls
    assert calls[-1] == ("end", "FINISHED")


@pytest.mark.parametrize(
    ("module", "message"),
    [(None, "--mlflow needs MLflow: pip install mlflow"), (SimpleNamespace(), "check MLFLOW_TRACKING_URI")],
)
def test_mlflow_that_fails_is_a_sentence(
    module: Any, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", module)
    workplace(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert call("fit", "blobs.toml", "--data", "data", "--mlflow") == 1
    assert message in capsys.readouterr().err
