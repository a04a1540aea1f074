"""The device of a fit, and everything that depends on it: precision, memory formats, random numbers, transfers.

Batches are prepared on the CPU on every device, so that the same seed gives the same images and the same noise. On
another device the next batch is prepared and copied while the current one is computed.
"""

import os
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from training.errors import RunError

DeviceName = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["float32", "bfloat16", "float16"]
DTYPES: dict[Precision, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


@dataclass(frozen=True, slots=True)
class Compute:
    """A device to compute on, and the reason why it was chosen.

    `accelerated` says whether batches are prepared ahead and images are stored channels last, as suits a GPU.
    """

    device: torch.device
    reason: str
    accelerated: bool

    def __str__(self) -> str:
        return f"{self.device} ({self.reason})"

    def autocast(self, precision: Precision) -> torch.autocast:
        """Return the context in which a net computes in a precision; weights and losses stay float32."""
        return torch.autocast(self.device.type, DTYPES[precision], enabled=precision != "float32")

    def gradient_scaler(self, precision: Precision) -> torch.amp.GradScaler:
        """Return the scaler of the loss; it does nothing unless the precision is float16, whose range is small."""
        return torch.amp.GradScaler(self.device.type, enabled=precision == "float16")

    def place(self, net: nn.Module, *, images: bool) -> None:
        """Move a net to the device, in place; for images on a GPU with its channels last."""
        if self.accelerated:
            net.to(self.device)
        if self.accelerated and images:
            net.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] - missing in torch's stubs

    def to_device(self, items: Tensor) -> Tensor:
        """Copy items to the device, images with their channels last; on the CPU they are returned as they are."""
        if not self.accelerated:
            return items
        if items.ndim == 4:
            items = items.contiguous(memory_format=torch.channels_last)
        items = items.pin_memory() if self.device.type == "cuda" else items
        return items.to(self.device, non_blocking=True)

    def net_generator(self, generator: torch.Generator, seed: int, step: int) -> torch.Generator:
        """Return the random numbers that a net draws in a step: `generator` on the CPU, else those of the step.

        A generator of another device cannot be shared with the CPU, and one of the step needs no place in checkpoints.
        """
        if not self.accelerated:
            return generator
        return torch.Generator(self.device).manual_seed((seed << 32) + step)


CPU = Compute(torch.device("cpu"), "the default", accelerated=False)


def choose_device(requested: DeviceName) -> Compute:
    """Choose a device: with `auto` a GPU if torch sees one. Raises RunError if the requested one cannot be used.

    With torchrun, the process uses the GPU of its local rank.
    """
    rank = int(os.environ.get("LOCAL_RANK", "0"))
    if requested == "cpu":
        return Compute(torch.device("cpu"), "set by --device", accelerated=False)
    reason = "set by --device" if requested != "auto" else "auto: torch sees this GPU"
    if requested in ("auto", "cuda") and torch.cuda.is_available():
        if rank >= torch.cuda.device_count():
            raise RunError(
                f"process {rank} of torchrun has no GPU of its own, there are {torch.cuda.device_count()}: "
                "set --nproc-per-node to at most that"
            )
        return Compute(torch.device("cuda", rank), f"{reason}, {torch.cuda.get_device_name(rank)}", accelerated=True)
    if requested in ("auto", "mps") and torch.backends.mps.is_available():
        return Compute(torch.device("mps"), reason, accelerated=True)
    if requested == "auto":
        return Compute(torch.device("cpu"), "auto: torch sees no GPU", accelerated=False)
    built = torch.version.cuda if requested == "cuda" else torch.backends.mps.is_built()
    cause = "torch sees none" if built else f"this torch {torch.__version__} was built without it"
    raise RunError(f"--device {requested} needs a GPU, but {cause}: install torch for your GPU, or say --device cpu")


@dataclass(frozen=True, slots=True)
class Batch:
    """The batch of one step, on the device: the indices of its items (on the CPU), noisy inputs and clean targets."""

    indices: Tensor
    noisy: Tensor
    clean: Tensor


class Preparation:
    """Prepares batches one step ahead in a thread, if the device is not the CPU.

    The generator that preparing draws from runs ahead with it. `generator_state` is the state before the batch that is
    not yet used, so that a resumed run draws the same numbers.
    """

    def __init__(self, prepare: Callable[[int], Batch], generator: torch.Generator, *, ahead: bool) -> None:
        """Take the function that prepares the batch of a step, and the generator that it draws from."""
        self._prepare = prepare
        self._generator = generator
        self._pool = ThreadPoolExecutor(1) if ahead else None
        self._next: tuple[int, Future[Batch], Tensor] | None = None

    def get(self, step: int, last: int) -> Batch:
        """Return the batch of a step, and start to prepare the next one unless it is beyond `last`."""
        if self._pool is None:
            return self._prepare(step)
        prepared = self._next is not None and self._next[0] == step
        batch = self._next[1].result() if self._next is not None and prepared else self._prepare(step)
        self._next = None
        if step < last:
            state = self._generator.get_state()
            self._next = (step + 1, self._pool.submit(self._prepare, step + 1), state)
        return batch

    def generator_state(self) -> Tensor:
        """Return the state of the generator after the batches that were used."""
        return self._generator.get_state() if self._next is None else self._next[2]

    def forget(self) -> None:
        """Drop a prepared batch, before the state of the generator is replaced."""
        if self._next is not None:
            self._next[1].result()
        self._next = None


@contextmanager
def explain_memory(batch: int) -> Generator[None]:
    """Translate torch's error about too little memory of a GPU to RunError, which says what to set."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        smaller = f"--set optimizer.batch={batch // 2}" if batch > 1 else "a smaller net"
        raise RunError(
            f"the GPU has not enough memory for a batch of {batch}: {smaller}, --set optimizer.precision=bfloat16, or "
            "--device cpu; add --fresh if the run had begun"
        ) from error
