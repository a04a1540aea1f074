"""Distributed training: torchrun with gloo, against one process with the same global batch."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.support.training import silent, small
from training.errors import RunError
from training.loop.checkpoint import read_checkpoint
from training.loop.distributed import ProcessGroup
from training.loop.fit import fit

PART = """
import sys
from pathlib import Path
from training.data import load
from training.loop.fit import fit
from training.loop.distributed import process_group
from training.recipe import read_recipe

recipe = read_recipe(sys.argv[1])
with process_group() as together:
    fit(recipe, load(recipe.data, None), Path(sys.argv[2]), lambda *_: None, process_group=together)
"""
RECIPE = """
[model]
name = "blobs"
title = "Blobs"
description = "Blobs through 4 numbers."
licence = "CC0-1.0"
operations = ["encode", "decode", "reconstruct"]
[data]
source = "arrays"
path = "{path}"
licence = "CC0-1.0"
test_fraction = 0.2
[net]
family = "dense"
code = 4
[corruption]
kind = "gaussian"
sigma = 0.2
[objective]
loss = "bce"
[optimizer]
epochs = 6
batch = 8
lr = 1e-2
warmup = 3
ema_decay = 0.9
grad_clip = 1.0
seed = 1
"""


def weights(folder: Path) -> dict[str, Tensor]:
    checkpoint = read_checkpoint(folder)
    assert checkpoint
    assert checkpoint.step == 60
    return checkpoint.with_prefix("ema_net")


def test_two_processes_equal_one_with_the_same_batch(tmp_path: Path) -> None:
    recipe, data = small(tmp_path, corruption={"kind": "gaussian", "sigma": 0.2}, optimizer={"grad_clip": 1.0})
    fit(recipe, data, tmp_path / "alone", silent())
    (tmp_path / "part.py").write_text(PART)
    (tmp_path / "recipe.toml").write_text(RECIPE.format(path=tmp_path / "items.npy"))
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "part.py"]
    run = subprocess.run(
        [sys.executable, *command, "recipe.toml", "together"],
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    one, two = weights(tmp_path / "alone"), weights(tmp_path / "together")
    for name, expected in one.items():
        torch.testing.assert_close(two[name], expected, rtol=0, atol=2e-5)


def test_batch_is_divided_without_remainder() -> None:
    batch = torch.arange(6)
    assert torch.cat([ProcessGroup(rank, 3).shard(batch) for rank in range(3)]).equal(batch)
    with pytest.raises(RunError, match="cannot be split evenly between 4"):
        ProcessGroup(0, 4).shard(batch)
