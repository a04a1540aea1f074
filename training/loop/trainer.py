"""One fit and the things that happen to it: corrupt, pass, loss, step, average; judge each epoch; checkpoint.

Knows no family, no loss and no data set by name, and nothing of ONNX.
"""

import time
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from training.data import Dataset, hold_out
from training.errors import DataError, RunError
from training.loop.batches import Batches, as_tensor, to_float
from training.loop.checkpoint import delete_checkpoints, read_checkpoint, write_checkpoint
from training.loop.distributed import SINGLE_PROCESS, ProcessGroup
from training.loop.guards import check_loss_finite, check_not_collapsed, check_same_run, check_weights_finite
from training.loop.optimiser import learning_rate
from training.loop.restoration import mean_of_groups, measure_psnr, noisy_sets
from training.loop.run_folder import read_log, write_log
from training.loop.state import initial_state
from training.nets import Autoencoder
from training.recipe import Recipe

VALIDATION_BATCH, VALIDATION_BATCH_VALUES = 1000, 4_000_000
"""Most items, and most numbers in them, in a batch of the validation; and in all of the training items that stand in
where there is none."""


class Trainer:
    """One fit: the data, where it stands, and the four things that happen to it."""

    def __init__(
        self,
        recipe: Recipe,
        data: Dataset,
        folder: Path,
        weights: dict[str, Tensor] | None = None,
        process_group: ProcessGroup = SINGLE_PROCESS,
    ) -> None:
        plan = recipe.optimizer
        train, held = hold_out(data.train, plan.validation_fraction, plan.seed)
        self.recipe, self.folder, self.process_group = recipe, folder, process_group
        self.batches = Batches(train, plan.batch, plan.seed)
        self.has_validation = len(held) > 0
        self.validation_batch = max(1, min(VALIDATION_BATCH, VALIDATION_BATCH_VALUES // train[0].size))
        self.validation_items = as_tensor(held if self.has_validation else train[: self.validation_batch])
        self.state = initial_state(recipe, self.batches.items, weights)
        self.compiled_forward = (
            torch.compile(self.state.net.forward_with_code) if plan.compile else self.state.net.forward_with_code
        )
        self.total_steps = self.batches.steps_per_epoch * plan.epochs
        self.noisy_sets = noisy_sets(recipe, data, recipe.validation.pictures) if recipe.validation else {}
        self.run_identity = {"recipe": recipe.model_dump(mode="json", exclude={"model"}), "data": data.sha256}
        if recipe.objective.loss == "bce" and not _in_unit_range(self.state.net, self.batches.items):
            raise DataError("objective.loss = 'bce' needs values in 0..1 and these vectors have others: use 'mse'")

    @property
    def finished(self) -> bool:
        patience = self.recipe.optimizer.patience
        return self.state.step >= self.total_steps or (
            patience is not None and self.state.epochs_without_improvement >= patience
        )

    def resume_or_start(self, resume: bool | None) -> None:
        """Goes to where the folder's newest checkpoint stands, if that is wanted, and drops what was logged later."""
        if resume is False and self.process_group.is_main:
            delete_checkpoints(self.folder)
        self.process_group.barrier()
        if resume is not False and self.restore() and resume is None:
            raise RunError(f"{self.folder} holds step {self.state.step} of this run: add --resume or --fresh")
        self._write_log([line for line in read_log(self.folder) if line["step"] <= self.state.step])

    def restore(self) -> bool:
        """Goes to where the folder's newest checkpoint stands; False where there is none."""
        checkpoint = read_checkpoint(self.folder)
        if checkpoint:
            chosen = {
                "recipe": self.recipe.model_dump(mode="json", exclude_defaults=True),
                "data": self.run_identity["data"],
            }
            check_same_run(self.folder, checkpoint.state["run_identity"], self.run_identity, chosen)
            self.state.load_checkpoint(checkpoint)
        return checkpoint is not None

    def step(self) -> tuple[float, float]:
        """One step of the optimiser: its loss and its seconds."""
        start = time.perf_counter()
        course, plan = self.state, self.recipe.optimizer
        rate = learning_rate(plan, course.step, self.total_steps)
        indices = self.batches.indices(course.step)
        items = self.recipe.augmentation(self.batches.get(indices), course.generator)
        clean = self.recipe.objective.sample_targets(items, course.generator)
        given = self.recipe.corruption(clean, course.generator)
        parts = self._losses(
            self.process_group.shard(given), self.process_group.shard(clean), course.net, course.generator
        )
        course.optimizer.zero_grad()
        parts["loss"].backward()
        gradients = [weight.grad for weight in course.net.parameters() if weight.grad is not None]
        self.process_group.all_reduce_mean([*gradients, *(part.detach() for part in parts.values())])
        norm = get_total_norm(gradients)
        check_loss_finite(parts, norm, course.step, rate, indices)
        if plan.grad_clip:
            clip_grads_with_norm_(course.net.parameters(), plan.grad_clip, norm)
        for group in course.optimizer.param_groups:
            group["lr"] = rate
        course.optimizer.step()
        course.step += 1
        course.update_ema(plan.ema_decay)
        seconds = time.perf_counter() - start
        figures = {name: part.item() for name, part in parts.items()}
        self._accumulate({**figures, "seconds": seconds, "steps": 1})
        return figures["loss"], seconds

    def _losses(self, given: Tensor, clean: Tensor, net: Autoencoder, generator: Generator) -> dict[str, Tensor]:
        """The loss and what it consists of; the net's arithmetic in the recipe's precision, the loss in float32."""
        through = self.compiled_forward if net is self.state.net else net.forward_with_code
        with torch.autocast("cpu", torch.bfloat16, enabled=self.recipe.optimizer.precision == "bfloat16"):
            made = through(given, generator)
        return self.recipe.objective.losses(made.in_float32(), clean, net)

    def _accumulate(self, figures: dict[str, float]) -> None:
        """Adds to the sums of this epoch."""
        sums = self.state.epoch_sums
        for name, figure in figures.items():
            sums[name] = sums.get(name, 0.0) + figure
        self.state.seconds += figures["seconds"]

    def end_epoch(self) -> None:
        """Ends an epoch: refuses a collapsed net, validates, logs."""
        course = self.state
        validation = self._validate()
        if self.has_validation:
            course.record_validation(validation["loss"])
        psnr = self._restore()
        steps, seconds = course.epoch_sums.pop("steps"), course.epoch_sums.pop("seconds")
        record = {
            "epoch": course.step // self.batches.steps_per_epoch,
            "step": course.step,
            "lr": learning_rate(self.recipe.optimizer, course.step - 1, self.total_steps),
            "train": {name: total / steps for name, total in course.epoch_sums.items()},
            "validation": validation if self.has_validation else None,
            **({"psnr": psnr} if psnr else {}),
            "items_per_second": steps * self.batches.batch_size / seconds,
            "seconds": course.seconds,
        }
        course.epoch_sums.clear()
        self._write_log([*read_log(self.folder), record])

    def _restore(self) -> dict[str, float]:
        """Denoise the sets of `[validation]` with the averaged net, where it is time to, and keep the best weights."""
        validation, epoch = self.recipe.validation, self.state.step // self.batches.steps_per_epoch
        if validation is None or (epoch % validation.every and not self.finished):
            return {}
        figures = measure_psnr(self.state.ema_net, self.noisy_sets)
        mean = mean_of_groups(figures)
        self.state.record_validation(-mean)
        return {**figures, "mean": mean}

    def _write_log(self, records: list[dict[str, Any]]) -> None:
        if self.process_group.is_main:
            write_log(self.folder, records)

    @torch.no_grad()
    def _validate(self) -> dict[str, float]:
        """The parts of the loss on the held-out items, always under the same noise; of the averaged net."""
        net, plan = self.state.ema_net.eval(), self.recipe.optimizer
        generator = Generator().manual_seed(plan.seed + 1)
        sums: dict[str, float] = {}
        for number, chunk in enumerate(self.validation_items.split(self.validation_batch)):
            clean = self.recipe.objective.sample_targets(to_float(chunk), generator)
            given = self.recipe.corruption(clean, generator)
            if number == 0 and self.state.step > plan.warmup:
                check_not_collapsed(net.activate_output(net(given)), clean, self.state.step)
            for name, part in self._losses(given, clean, net, generator).items():
                sums[name] = sums.get(name, 0.0) + part.item() * len(chunk) / len(self.validation_items)
        self.state.net.train()  # it may be the averaged one itself
        return sums

    def save(self) -> None:
        """Writes a checkpoint. Raises Diverged where nothing could go on from it."""
        check_weights_finite(self.state.net.parameters(), self.state.step)
        if self.process_group.is_main:
            write_checkpoint(self.folder, self.state.to_checkpoint(self.run_identity))


def _in_unit_range(net: Autoencoder, items: Tensor) -> bool:
    if items.dtype == torch.uint8:
        return True
    values = net.normalize(items)
    return bool(values.min() >= 0 and values.max() <= 1)
