"""Checkpoint files: tensors and a JSON state in one safetensors file with a SHA-256 digest."""

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save
from torch import Tensor

from training import atomic_files
from training.errors import RunError

log = logging.getLogger(__name__)

FORMAT = "2"
"""Version of the names in a checkpoint. A checkpoint of another version is rejected."""
KEEP_LAST = 2
"""Number of checkpoints to keep in a run folder: the latest, and one to fall back to."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state of a run after `step` steps: tensors by name, and `state`, a dict of JSON values."""

    step: int
    tensors: dict[str, Tensor]
    state: dict[str, Any]

    def with_prefix(self, name: str) -> dict[str, Tensor]:
        """Return the tensors whose names start with `name` and a dot, by their names without it."""
        return {
            key.removeprefix(f"{name}."): tensor for key, tensor in self.tensors.items() if key.startswith(f"{name}.")
        }


def write_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint atomically to `folder`, then delete all but the latest KEEP_LAST."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.tensors.items()}
    state = json.dumps(checkpoint.state, sort_keys=True)
    metadata = {
        "format": FORMAT,
        "step": str(checkpoint.step),
        "state": state,
        "sha256": _digest(checkpoint.step, state, tensors),
    }
    atomic_files.write_atomic(folder / f"checkpoint-{checkpoint.step:09}.safetensors", save(tensors, metadata))
    for path in _checkpoint_files(folder)[KEEP_LAST:]:
        path.unlink()


def read_checkpoint(folder: Path) -> Checkpoint | None:
    """Return the latest valid checkpoint in `folder`, or None if there is none.

    Raises RunError if all are broken, or the latest was written by another version of the program.
    """
    files = _checkpoint_files(folder)
    for path in files:
        try:
            return _read_checkpoint_file(path)
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            log.warning("%s is broken (%s): falling back to the previous checkpoint", path, error)
    if files:
        raise RunError(f"every checkpoint in {folder} is broken: start again with --fresh")
    return None


def has_checkpoint(folder: Path) -> bool:
    """Return whether `folder` contains a checkpoint, valid or not."""
    return bool(_checkpoint_files(folder))


def delete_checkpoints(folder: Path) -> None:
    """Delete every checkpoint in `folder`."""
    for path in _checkpoint_files(folder):
        path.unlink()


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file. Raises RunError if it cannot be read."""
    try:
        return load(path.read_bytes())
    except (OSError, SafetensorError) as error:
        raise RunError(f"{path} cannot be read as a safetensors file: {error}") from error


def _checkpoint_files(folder: Path) -> list[Path]:
    """Return the paths of the checkpoints, the latest first."""
    return sorted(folder.glob("checkpoint-*.safetensors"), reverse=True)


def _read_checkpoint_file(path: Path) -> Checkpoint:
    with safe_open(path, "pt") as file:
        metadata: Mapping[str, str] = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is not a mapping
    if metadata.get("format") != FORMAT:
        raise RunError(
            f"{path} was written by another version of hourglass-train: continue the run with that version, "
            "or choose another folder with --run"
        )
    step = int(metadata["step"])
    if _digest(step, metadata["state"], tensors) != metadata["sha256"]:
        raise ValueError("its SHA-256 digest does not match")
    return Checkpoint(step, tensors, json.loads(metadata["state"]))


def _digest(step: int, state: str, tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of everything that is read back: step, state, and name, dtype, shape and bytes of tensors."""
    digest = hashlib.sha256(f"{step} {state}".encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
