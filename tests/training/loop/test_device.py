"""Devices: their choice and refusal, and the loop as it runs on a GPU, here on the CPU."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.training import silent, small
from training.errors import RunError
from training.loop.checkpoint import read_checkpoint
from training.loop.device import CPU, Compute, choose_device, explain_memory
from training.loop.fit import fit
from training.loop.trainer import Trainer

GPU = Compute(torch.device("cpu"), "a fake of a GPU", accelerated=True)
"""The code paths of a GPU, on the CPU: batches ahead, channels last, random numbers of each step."""
NOISE: dict[str, dict[str, Any]] = {"corruption": {"kind": "gaussian", "sigma": 0.1}}


def test_auto_without_a_gpu_is_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert str(choose_device("auto")) == "cpu (auto: torch sees no GPU)"
    for name in ("cuda", "mps"):
        with pytest.raises(RunError, match=f"--device {name} needs a GPU.*say --device cpu"):
            choose_device(name)


def test_auto_takes_the_gpu_of_the_local_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda rank: f"Fake {rank}")
    monkeypatch.setenv("LOCAL_RANK", "1")
    compute = choose_device("auto")
    assert (compute.device, compute.accelerated) == (torch.device("cuda", 1), True)
    assert str(compute) == "cuda:1 (auto: torch sees this GPU, Fake 1)"
    assert choose_device("cpu").device.type == "cpu"
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(RunError, match="--nproc-per-node"):
        choose_device("cuda")


def test_mps_is_chosen_where_torch_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device("auto").device == torch.device("mps")
    assert choose_device("mps").accelerated


@pytest.mark.parametrize("net", [{}, {"net": {"family": "conv", "widths": [4, 6], "code": 2}}])
def test_gpu_loop_gives_the_weights_of_the_cpu(net: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    recipe, data = small(tmp_path / "data", None, **net, **NOISE)
    nets = [fit(recipe, data, tmp_path / str(i), silent(), compute=one).net for i, one in enumerate((CPU, GPU))]
    for expected, actual in zip(*(net.state_dict().values() for net in nets), strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-3, atol=1e-4)


def test_resumed_gpu_loop_continues_exactly(tmp_path: Path) -> None:
    recipe, data = small(tmp_path / "data", None, **NOISE)
    whole = Trainer(recipe, data, tmp_path / "whole", compute=GPU)
    halves = Trainer(recipe, data, tmp_path / "halves", compute=GPU)
    (tmp_path / "halves").mkdir()
    for _ in range(6):
        whole.step()
    for _ in range(3):
        halves.step()
    halves.save()
    resumed = Trainer(recipe, data, tmp_path / "halves", compute=GPU)
    assert resumed.restore()
    for _ in range(3):
        resumed.step()
    for expected, actual in zip(whole.state.net.parameters(), resumed.state.net.parameters(), strict=True):
        assert torch.equal(expected, actual)


def test_checkpoints_move_between_devices(tmp_path: Path) -> None:
    recipe, data = small(tmp_path / "data")
    trainer = Trainer(recipe, data, tmp_path, compute=GPU)
    trainer.step()
    trainer.save()
    moved = Trainer(recipe, data, tmp_path, compute=CPU)
    assert moved.restore()
    moved.step()
    checkpoint = read_checkpoint(tmp_path)
    assert checkpoint is not None
    assert {tensor.device.type for tensor in checkpoint.tensors.values()} == {"cpu"}


def test_float16_scales_the_loss_and_stores_the_scale(tmp_path: Path) -> None:
    recipe, data = small(tmp_path / "data", optimizer={"precision": "float16"})
    trainer = Trainer(recipe, data, tmp_path, compute=GPU)
    losses = [trainer.step()[0] for _ in range(6)]
    assert losses[-1] < losses[0]
    trainer.save()
    checkpoint = read_checkpoint(tmp_path)
    assert checkpoint is not None
    assert checkpoint.state["scaler"]["scale"] > 1


def test_too_little_memory_of_the_gpu_says_what_to_set() -> None:
    with pytest.raises(RunError, match=r"--set optimizer\.batch=32"), explain_memory(64):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
