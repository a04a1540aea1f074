"""Checkpoints: exact round trips; corrupt files are not read."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Generator

from training.errors import RunError
from training.loop.checkpoint import (
    KEEP_LAST,
    Checkpoint,
    delete_checkpoints,
    read_checkpoint,
    read_weights,
    write_checkpoint,
)


def checkpoint(step: int) -> Checkpoint:
    generator = Generator().manual_seed(step)
    tensors = {
        "net.weight": torch.randn(3, 4, generator=generator),
        "net.last": torch.randn(2, 3, 4, 5, generator=generator).to(memory_format=torch.channels_last),
        "best.half": torch.randn(4, generator=generator).to(torch.bfloat16),
        "optimizer.0.step": torch.tensor(float(step)),
        "generator": generator.get_state(),
    }
    return Checkpoint(step, tensors, {"loss": 0.1 + 0.2, "none": None, "table": {"a": [1, 2]}})


def same(one: Checkpoint | None, other: Checkpoint) -> bool:
    assert one is not None
    assert one.tensors.keys() == other.tensors.keys()
    tensors = all(torch.equal(one.tensors[name], other.tensors[name]) for name in other.tensors)
    return tensors and (one.step, one.state) == (other.step, other.state)


def test_checkpoint_round_trip_keeps_the_state(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, checkpoint(7))
    restored = read_checkpoint(tmp_path)
    assert same(restored, checkpoint(7))
    assert restored is not None
    assert list(restored.with_prefix("net")) == ["last", "weight"]


def test_newest_checkpoints_are_kept(tmp_path: Path) -> None:
    for step in (8, 9, 10, 11):
        write_checkpoint(tmp_path, checkpoint(step))
    assert len(list(tmp_path.iterdir())) == KEEP_LAST
    assert same(read_checkpoint(tmp_path), checkpoint(11))
    delete_checkpoints(tmp_path)
    assert read_checkpoint(tmp_path) is None


@pytest.mark.parametrize("place", [0.001, 0.05, 0.2, 0.5, 0.8, 0.999])
def test_corrupt_checkpoint_falls_back_with_a_warning(
    tmp_path: Path, place: float, caplog: pytest.LogCaptureFixture
) -> None:
    write_checkpoint(tmp_path, checkpoint(1))
    write_checkpoint(tmp_path, checkpoint(2))
    newest = max(tmp_path.iterdir())
    content = bytearray(newest.read_bytes())
    content[int(place * len(content))] ^= 4
    newest.write_bytes(content)
    assert same(read_checkpoint(tmp_path), checkpoint(1))
    assert "falling back" in caplog.text


def test_all_checkpoints_corrupt_is_an_error(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, checkpoint(1))
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(RunError, match="--fresh"):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize("kind", [{}, {"format": "1"}, {"format": "99"}], ids=str)
def test_checkpoint_of_other_format_is_rejected_and_kept(tmp_path: Path, kind: dict[str, str]) -> None:
    write_checkpoint(tmp_path, checkpoint(1))  # older, and of this format: it is not used instead
    other = tmp_path / "checkpoint-000000002.safetensors"
    tensors = {name: tensor.contiguous() for name, tensor in checkpoint(2).tensors.items()}
    save_file(tensors, other, {"step": "2", "state": "{}", "sha256": "0", **kind})
    with pytest.raises(RunError, match="another version of hourglass-train") as refusal:
        read_checkpoint(tmp_path)
    assert str(other) in str(refusal.value)
    assert "--run" in str(refusal.value)
    assert "--fresh" not in str(refusal.value)
    assert len(list(tmp_path.iterdir())) == 2


def test_invalid_weights_file_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"no weights")
    for name in ("a", "b"):
        with pytest.raises(RunError, match="cannot be read as a safetensors file"):
            read_weights(tmp_path / name)
