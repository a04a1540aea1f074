"""The processes that fit together, as torchrun starts them: each takes its part of every batch, gradients are averaged.

Every process draws the same batch and the same corruption, then keeps its part: the weights go where one process with
the same batch would take them. Without torchrun there is one process, and nothing here costs anything.
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
    """`size` processes; this is number `rank`, counted from 0. The first alone writes."""

    rank: int = 0
    world_size: int = 1

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def shard(self, batch: Tensor) -> Tensor:
        """This process's items of a batch. Raises RunError where the batch cannot be shared out evenly."""
        if len(batch) % self.world_size:
            raise RunError(
                f"a batch of {len(batch)} cannot be shared by {self.world_size} processes: set optimizer.batch"
            )
        return batch.chunk(self.world_size)[self.rank]

    def all_reduce_mean(self, tensors: Sequence[Tensor]) -> None:
        """Replaces each by its mean over the processes."""
        if self.world_size == 1:
            return
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        with _collective():
            distributed.all_reduce(flat)
        for tensor, mean in zip(tensors, flat.div_(self.world_size).split([t.numel() for t in tensors]), strict=True):
            tensor.copy_(mean.view_as(tensor))

    def any_true(self, flag: bool) -> bool:
        """Whether it is so in any of the processes."""
        if self.world_size == 1:
            return flag
        count = torch.tensor(float(flag))
        with _collective():
            distributed.all_reduce(count)
        return bool(count)

    def barrier(self) -> None:
        """Until all are here."""
        if self.world_size > 1:
            with _collective():
                distributed.barrier()


@contextmanager
def _collective() -> Generator[None]:
    """What takes all processes. Raises RunError where one of them is there no more."""
    try:
        yield
    except RuntimeError as error:
        raise RunError(f"another process of this fit has ended: see what it said, then {RESUME_HINT}") from error


SINGLE_PROCESS = ProcessGroup()


@contextmanager
def process_group() -> Generator[ProcessGroup]:
    """Those that torchrun started together with this process, or this process alone."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield SINGLE_PROCESS
        return
    distributed.init_process_group("gloo")
    try:
        group = ProcessGroup(distributed.get_rank(), distributed.get_world_size())
        yield group
        group.barrier()  # a process that leaves while another still closes its sockets makes gloo abort that one
    finally:
        distributed.destroy_process_group()
