"""One fit and the things that happen to it: corrupt, pass, loss, step, average; judge each epoch; checkpoint.

Knows no family, no loss and no data set by name, and nothing of ONNX.
"""

import time
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from training.data import Data, hold_out
from training.errors import DataError, RunError
from training.loop.batches import Batches, as_float, as_tensor
from training.loop.checkpoint import clear, read_checkpoint, write_checkpoint
from training.loop.distributed import ALONE, Peers
from training.loop.guards import refuse_another, refuse_collapse, refuse_divergence, refuse_overflow
from training.loop.optimiser import learning_rate
from training.loop.run_folder import read_log, write_log
from training.loop.state import begin
from training.nets import Autoencoder
from training.recipe import Recipe

JUDGED, JUDGED_NUMBERS = 1000, 4_000_000
"""Most items, and most numbers in them, in a batch of the validation; and in all of the training items that stand in
where there is none."""


class Loop:
    """One fit: the data, where it stands, and the four things that happen to it."""

    def __init__(
        self,
        recipe: Recipe,
        data: Data,
        folder: Path,
        weights: dict[str, Tensor] | None = None,
        peers: Peers = ALONE,
    ) -> None:
        plan = recipe.optimisation
        train, held = hold_out(data.train, plan.validation, plan.seed)
        self.recipe, self.folder, self.peers = recipe, folder, peers
        self.batches = Batches(train, plan.batch, plan.seed)
        self.validated = len(held) > 0
        self.judged = max(1, min(JUDGED, JUDGED_NUMBERS // train[0].size))
        self.held = as_tensor(held if self.validated else train[: self.judged])
        self.course = begin(recipe, self.batches.items, weights)
        self.through = torch.compile(self.course.net.through) if plan.compile else self.course.net.through
        self.total = self.batches.per_epoch * plan.epochs
        self.facts = {"recipe": recipe.model_dump(mode="json", exclude={"model"}), "data": data.sha256}
        if recipe.objective.loss == "bce" and not _in_unit_range(self.course.net, self.batches.items):
            raise DataError("objective.loss = 'bce' needs values in 0..1 and these vectors have others: use 'mse'")

    @property
    def finished(self) -> bool:
        patience = self.recipe.optimisation.patience
        return self.course.step >= self.total or (patience is not None and self.course.stale >= patience)

    def take_up(self, resume: bool | None) -> None:
        """Goes to where the folder's newest checkpoint stands, if that is wanted, and drops what was logged later."""
        if resume is False and self.peers.first:
            clear(self.folder)
        self.peers.wait()
        if resume is not False and self.restore() and resume is None:
            raise RunError(f"{self.folder} holds step {self.course.step} of this run: add --resume or --fresh")
        self._log([line for line in read_log(self.folder) if line["step"] <= self.course.step])

    def restore(self) -> bool:
        """Goes to where the folder's newest checkpoint stands; False where there is none."""
        checkpoint = read_checkpoint(self.folder)
        if checkpoint:
            chosen = {"recipe": self.recipe.model_dump(mode="json", exclude_defaults=True), "data": self.facts["data"]}
            refuse_another(self.folder, checkpoint.state["facts"], self.facts, chosen)
            self.course.restore(checkpoint)
        return checkpoint is not None

    def step(self) -> tuple[float, float]:
        """One step of the optimiser: its loss and its seconds."""
        start = time.perf_counter()
        course, plan = self.course, self.recipe.optimisation
        rate = learning_rate(plan, course.step, self.total)
        indices = self.batches.indices(course.step)
        items = self.recipe.augmentation(self.batches.take(indices), course.generator)
        clean = self.recipe.objective.draw(items, course.generator)
        given = self.recipe.corruption(clean, course.generator)
        parts = self._parts(self.peers.part(given), self.peers.part(clean), course.net, course.generator)
        course.optimiser.zero_grad()
        parts["loss"].backward()
        gradients = [weight.grad for weight in course.net.parameters() if weight.grad is not None]
        self.peers.average([*gradients, *(part.detach() for part in parts.values())])
        norm = get_total_norm(gradients)
        refuse_divergence(parts, norm, course.step, rate, indices)
        if plan.clip:
            clip_grads_with_norm_(course.net.parameters(), plan.clip, norm)
        for group in course.optimiser.param_groups:
            group["lr"] = rate
        course.optimiser.step()
        course.step += 1
        course.average(plan.ema)
        seconds = time.perf_counter() - start
        figures = {name: part.item() for name, part in parts.items()}
        self._count({**figures, "seconds": seconds, "steps": 1})
        return figures["loss"], seconds

    def _parts(self, given: Tensor, clean: Tensor, net: Autoencoder, generator: Generator) -> dict[str, Tensor]:
        """The loss and what it consists of; the net's arithmetic in the recipe's precision, the loss in float32."""
        through = self.through if net is self.course.net else net.through
        with torch.autocast("cpu", torch.bfloat16, enabled=self.recipe.optimisation.precision == "bfloat16"):
            made = through(given, generator)
        return self.recipe.objective.parts(made.in_float32(), clean, net)

    def _count(self, figures: dict[str, float]) -> None:
        """Adds to the sums of this epoch."""
        sums = self.course.sums
        for name, figure in figures.items():
            sums[name] = sums.get(name, 0.0) + figure
        self.course.seconds += figures["seconds"]

    def judge(self) -> None:
        """Ends an epoch: refuses a collapsed net, validates, logs."""
        course = self.course
        validation = self._validate()
        if self.validated:
            course.judge(validation["loss"])
        steps, seconds = course.sums.pop("steps"), course.sums.pop("seconds")
        record = {
            "epoch": course.step // self.batches.per_epoch,
            "step": course.step,
            "lr": learning_rate(self.recipe.optimisation, course.step - 1, self.total),
            "train": {name: total / steps for name, total in course.sums.items()},
            "validation": validation if self.validated else None,
            "items_per_second": steps * self.batches.size / seconds,
            "seconds": course.seconds,
        }
        course.sums.clear()
        self._log([*read_log(self.folder), record])

    def _log(self, records: list[dict[str, Any]]) -> None:
        if self.peers.first:
            write_log(self.folder, records)

    @torch.no_grad()
    def _validate(self) -> dict[str, float]:
        """The parts of the loss on the held-out items, always under the same noise; of the averaged net."""
        net, plan = self.course.averaged.eval(), self.recipe.optimisation
        generator = Generator().manual_seed(plan.seed + 1)
        sums: dict[str, float] = {}
        for number, chunk in enumerate(self.held.split(self.judged)):
            clean = self.recipe.objective.draw(as_float(chunk), generator)
            given = self.recipe.corruption(clean, generator)
            if number == 0 and self.course.step > plan.warmup:
                refuse_collapse(net.finish(net(given)), clean, self.course.step)
            for name, part in self._parts(given, clean, net, generator).items():
                sums[name] = sums.get(name, 0.0) + part.item() * len(chunk) / len(self.held)
        self.course.net.train()  # it may be the averaged one itself
        return sums

    def save(self) -> None:
        """Writes a checkpoint. Raises Diverged where nothing could go on from it."""
        refuse_overflow(self.course.net.parameters(), self.course.step)
        if self.peers.first:
            write_checkpoint(self.folder, self.course.checkpoint(self.facts))


def _in_unit_range(net: Autoencoder, items: Tensor) -> bool:
    if items.dtype == torch.uint8:
        return True
    values = net.units(items)
    return bool(values.min() >= 0 and values.max() <= 1)
