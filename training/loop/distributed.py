"""Data-parallel training with torch.distributed: each process takes a shard of every batch, gradients are averaged.

Every process draws the same batch and the same corruption and keeps its shard, so that the weights match, up to
rounding, those of one process with the same batch. Without torchrun there is one process and no communication.
"""

import os
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed

from training.errors import RESUME_HINT, RunError


@dataclass(frozen=True, slots=True)
class ProcessGroup:
    """A group of `world_size` processes; this one is number `rank`, counted from 0. Only rank 0 writes files."""

    rank: int = 0
    world_size: int = 1
    device: str = "cpu"

    @property
    def is_main(self) -> bool:
        """Whether this is rank 0, the process that writes files and shows progress."""
        return self.rank == 0

    def shard(self, batch: Tensor) -> Tensor:
        """Return this process's items of a batch (N, ...): (N / world_size, ...).

        Raises RunError if N is not a multiple of `world_size`.
        """
        if len(batch) % self.world_size:
            raise RunError(
                f"a batch of {len(batch)} cannot be split evenly between {self.world_size} processes: "
                f"set optimizer.batch to a multiple of {self.world_size}"
            )
        return batch.chunk(self.world_size)[self.rank]

    def all_reduce_mean(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor in place by its mean over the processes. Raises RunError if another process has ended.

        The tensors are joined into one, of their common dtype, so that there is one collective operation.
        """
        if self.world_size == 1:
            return
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        with _collective():
            distributed.all_reduce(flat)
        for tensor, mean in zip(tensors, flat.div_(self.world_size).split([t.numel() for t in tensors]), strict=True):
            tensor.copy_(mean.view_as(tensor))

    def any_true(self, flag: bool) -> bool:
        """Return whether `flag` is true in any process. Raises RunError if another process has ended."""
        if self.world_size == 1:
            return flag
        count = torch.tensor(float(flag), device=self.device)
        with _collective():
            distributed.all_reduce(count)
        return bool(count)

    def barrier(self) -> None:
        """Wait until all processes have called this. Raises RunError if another process has ended."""
        if self.world_size > 1:
            with _collective():
                distributed.barrier()


@contextmanager
def _collective() -> Generator[None]:
    """Translate the errors of a collective operation to RunError: another process has ended."""
    try:
        yield
    except RuntimeError as error:
        raise RunError(f"another process of this fit has ended: see its error message, then {RESUME_HINT}") from error


SINGLE_PROCESS = ProcessGroup()


@contextmanager
def process_group(device: torch.device | None = None) -> Generator[ProcessGroup]:
    """Join the process group that torchrun started, or return SINGLE_PROCESS without torchrun.

    Processes on GPUs (`device`) communicate by nccl, others by gloo.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield SINGLE_PROCESS
        return
    device = device or torch.device("cpu")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        group = ProcessGroup(distributed.get_rank(), distributed.get_world_size(), str(device))
        yield group
        group.barrier()  # gloo aborts a process that is still closing its sockets when another one leaves
    finally:
        distributed.destroy_process_group()
