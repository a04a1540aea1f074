"""The trainer: one step (augment, corrupt, forward, loss, backward, update, average), validation, checkpoints.

It depends on no particular net, loss or data set.
"""

import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from training.data import Dataset, split_indices
from training.errors import DataError, RunError
from training.loop.batches import Batches, as_tensor, to_float
from training.loop.checkpoint import delete_checkpoints, read_checkpoint, write_checkpoint
from training.loop.denoising_validation import mean_of_groups, measure_psnr, noisy_sets
from training.loop.device import CPU, Batch, Compute, Preparation
from training.loop.distributed import SINGLE_PROCESS, ProcessGroup
from training.loop.guards import check_loss_finite, check_not_collapsed, check_same_run, check_weights_finite
from training.loop.optimizer import learning_rate
from training.loop.plan import complete, run_length, training_items
from training.loop.quantization_aware import Int8Rounding
from training.loop.run_folder import read_log, write_log
from training.loop.state import initial_state
from training.nets import Autoencoder
from training.recipe import Recipe

VALIDATION_BATCH, VALIDATION_BATCH_VALUES = 1000, 4_000_000
"""Maximum number of items, and of values in them, in a batch of the validation.

Without a validation set, one batch of training items is checked for collapse instead.
"""

NO_IDENTITY: Any = {"model": True, "stages": True, "optimizer": {"epochs", "warmup", "patience"}}
"""Keys of the recipe that a run may change when it is resumed: what is published, when it ends, and what follows."""


class Trainer:
    """A fit of a recipe in a run folder: its data, its state and the operations on them."""

    def __init__(
        self,
        recipe: Recipe,
        data: Dataset,
        folder: Path,
        weights: dict[str, Tensor] | None = None,
        process_group: ProcessGroup = SINGLE_PROCESS,
        compute: Compute = CPU,
    ) -> None:
        """Prepare a fit at step 0; `weights` is the initial state dict of the net, random if None.

        Raises RecipeError, DataError or RunError if the recipe, the data or the weights do not fit each other.
        """
        recipe = complete(recipe, data)
        config = recipe.optimizer
        length = run_length(config, training_items(config, data), data.train[0].size)
        train, held_out = split_indices(
            len(data.train), config.validation_fraction, config.seed, "optimizer.validation_fraction"
        )
        self.recipe, self.folder, self.process_group, self.compute = recipe, folder, process_group, compute
        self.batches = Batches(data.train, length.batch, config.seed, train)
        self.has_validation = len(held_out) > 0
        self.validation_batch = max(1, min(VALIDATION_BATCH, VALIDATION_BATCH_VALUES // data.train[0].size))
        self.validation_items = as_tensor(
            data.train[held_out if self.has_validation else train[: self.validation_batch]]
        )
        self.state = initial_state(recipe, self.batches.items, weights, compute)
        self.scaler = compute.gradient_scaler(config.precision)
        self.preparation = Preparation(self._prepare, self.state.generator, ahead=compute.accelerated)
        self.compiled_forward = (
            torch.compile(self.state.net.forward_with_code) if config.compile else self.state.net.forward_with_code
        )
        self.total_steps = self.batches.steps_per_epoch * length.epochs
        # Noise control leaves the PSNR as it is, which therefore must not choose the weights.
        validation = recipe.validation if config.train == "all" else None
        self.noisy_sets = noisy_sets(recipe, data, validation.pictures) if validation else {}
        self.run_identity = {"recipe": recipe.model_dump(mode="json", exclude=NO_IDENTITY), "data": data.sha256}
        unit = recipe.objective.loss_of(self.state.net) == "bce"
        if unit and not _in_unit_range(self.state.net, self.batches.items, compute):
            raise DataError("objective.loss = 'bce' needs values in 0..1, but some vectors are outside: use 'mse'")

    @property
    def finished(self) -> bool:
        """Whether all steps are done, or validation has not improved for `optimizer.patience` epochs."""
        patience = self.recipe.optimizer.patience
        return self.state.step >= self.total_steps or (
            patience is not None and self.state.epochs_without_improvement >= patience
        )

    def resume_or_start(self, resume: bool | None) -> None:
        """Restore the latest checkpoint or start at step 0, and drop log records of later steps.

        `resume` is that of `training.loop.fit.fit`. Raises RunError as it does.
        """
        if resume is False and self.process_group.is_main:
            delete_checkpoints(self.folder)
        self.process_group.barrier()
        if resume is not False and self.restore() and resume is None:
            raise RunError(f"{self.folder} contains this run at step {self.state.step}: add --resume or --fresh")
        self._write_log([line for line in read_log(self.folder) if line["step"] <= self.state.step])

    def restore(self) -> bool:
        """Restore the latest checkpoint, and return whether there is one. Raises RunError if it is of another run."""
        checkpoint = read_checkpoint(self.folder)
        if checkpoint:
            stored = checkpoint.state["run_identity"]
            for key in NO_IDENTITY["optimizer"]:  # older checkpoints have them
                stored["recipe"].get("optimizer", {}).pop(key, None)
            non_default = {
                "recipe": self.recipe.model_dump(mode="json", exclude=NO_IDENTITY, exclude_defaults=True),
                "data": self.run_identity["data"],
            }
            check_same_run(self.folder, stored, self.run_identity, non_default)
            self.preparation.forget()
            self.state.load_checkpoint(checkpoint)
            if "scaler" in checkpoint.state:
                self.scaler.load_state_dict(checkpoint.state["scaler"])
        return checkpoint is not None

    def step(self) -> tuple[float, float]:
        """Do one training step, and return its loss and its duration in seconds.

        Raises Diverged if the loss or its gradient is not finite, RunError if another process has ended.
        """
        start = time.perf_counter()
        state, config = self.state, self.recipe.optimizer
        rate = learning_rate(config, state.step, self.total_steps)
        batch = self.preparation.get(state.step, self.total_steps - 1)
        generator = self.compute.net_generator(state.generator, config.seed, state.step)
        terms = self._losses(batch.noisy, batch.clean, state.net, generator)
        state.optimizer.zero_grad()
        self.scaler.scale(terms["loss"]).backward()
        gradients = [weight.grad for weight in state.net.parameters() if weight.grad is not None]
        self.process_group.all_reduce_mean([*gradients, *(term.detach() for term in terms.values())])
        self.scaler.unscale_(state.optimizer)
        norm = get_total_norm(gradients)
        if not self.scaler.is_enabled() or not terms["loss"].isfinite():  # the scaler skips steps until its scale fits
            check_loss_finite(terms, norm, state.step, rate, batch.indices)
        if config.grad_clip:
            clip_grads_with_norm_(state.net.parameters(), config.grad_clip, norm)
        for group in state.optimizer.param_groups:
            group["lr"] = rate
        self.scaler.step(state.optimizer)
        self.scaler.update()
        state.step += 1
        state.update_ema(config.ema_decay)
        seconds = time.perf_counter() - start
        losses = {name: term.item() for name, term in terms.items()}
        self._accumulate({**losses, "seconds": seconds, "steps": 1})
        return losses["loss"], seconds

    def _prepare(self, step: int) -> Batch:
        """Draw, augment and corrupt the batch of a step, and copy this process's share of it to the device."""
        generator = self.state.generator
        indices = self.batches.indices(step)
        items = self.recipe.augmentation(self.batches.get(indices), generator)
        clean = self.recipe.objective.sample_targets(items, generator)
        noisy = self.recipe.corruption(clean, generator)
        noisy, clean = (self.compute.to_device(self.process_group.shard(one)) for one in (noisy, clean))
        return Batch(indices, noisy, clean)

    def _losses(self, noisy: Tensor, clean: Tensor, net: Autoencoder, generator: Generator) -> dict[str, Tensor]:
        """Return the loss and its terms. The net computes in the recipe's precision, the loss in float32."""
        is_step = net is self.state.net
        forward = self.compiled_forward if is_step else net.forward_with_code
        rounding = Int8Rounding() if is_step and self.recipe.optimizer.quantization_aware else nullcontext()
        with self.compute.autocast(self.recipe.optimizer.precision), rounding:
            result = forward(noisy, generator)
        return self.recipe.objective.losses(result.in_float32(), clean, net, noisy)

    def _accumulate(self, values: dict[str, float]) -> None:
        """Add the values of a step to the sums of the epoch."""
        sums = self.state.epoch_sums
        for name, value in values.items():
            sums[name] = sums.get(name, 0.0) + value
        self.state.seconds += values["seconds"]

    def end_epoch(self) -> None:
        """Validate the net, keep its weights if they are the best, and append a record to the log.

        Raises Collapsed if the net returns the same output for every input.
        """
        state = self.state
        validation = self._validate()
        if self.has_validation:
            state.record_validation(validation["loss"])
        psnr = self._measure_denoising()
        steps, seconds = state.epoch_sums.pop("steps"), state.epoch_sums.pop("seconds")
        record = {
            "epoch": state.step // self.batches.steps_per_epoch,
            "step": state.step,
            "lr": learning_rate(self.recipe.optimizer, state.step - 1, self.total_steps),
            "train": {name: total / steps for name, total in state.epoch_sums.items()},
            "validation": validation if self.has_validation else None,
            **({"psnr": psnr} if psnr else {}),
            "items_per_second": steps * self.batches.batch_size / seconds,
            "seconds": state.seconds,
        }
        state.epoch_sums.clear()
        self._write_log([*read_log(self.folder), record])

    def _measure_denoising(self) -> dict[str, float]:
        """Denoise the sets of `[validation]` with the averaged net if they are due, and keep the best weights."""
        validation, epoch = self.recipe.validation, self.state.step // self.batches.steps_per_epoch
        if validation is None or not self.noisy_sets or (epoch % validation.every and not self.finished):
            return {}
        psnrs = measure_psnr(self.state.ema_net, self.noisy_sets)
        mean = mean_of_groups(psnrs)
        self.state.record_validation(-mean)
        return {**psnrs, "mean": mean}

    def _write_log(self, records: list[dict[str, Any]]) -> None:
        if self.process_group.is_main:
            write_log(self.folder, records)

    @torch.no_grad()
    def _validate(self) -> dict[str, float]:
        """Return the loss terms of the averaged net on the validation items, with the same noise in every epoch."""
        net, config = self.state.ema_net.eval(), self.recipe.optimizer
        generator = Generator().manual_seed(config.seed + 1)
        sums: dict[str, float] = {}
        for number, chunk in enumerate(self.validation_items.split(self.validation_batch)):
            clean = self.recipe.objective.sample_targets(to_float(chunk), generator)
            noisy = self.recipe.corruption(clean, generator)
            noisy, clean = self.compute.to_device(noisy), self.compute.to_device(clean)
            draws = self.compute.net_generator(generator, config.seed + 1, number)
            if number == 0 and self.state.step > (config.warmup or 0):
                check_not_collapsed(net.activate_output(net(noisy)), clean, self.state.step)
            for name, term in self._losses(noisy, clean, net, draws).items():
                sums[name] = sums.get(name, 0.0) + term.item() * len(chunk) / len(self.validation_items)
        self.state.net.train()  # without averaging, `ema_net` is `net`
        return sums

    def save(self) -> None:
        """Write a checkpoint. Raises Diverged if a weight is not finite."""
        check_weights_finite(self.state.net.parameters(), self.state.step)
        if self.process_group.is_main:
            checkpoint = self.state.to_checkpoint(self.run_identity, self.preparation.generator_state())
            if self.scaler.is_enabled():
                checkpoint.state["scaler"] = self.scaler.state_dict()
            write_checkpoint(self.folder, checkpoint)


def _in_unit_range(net: Autoencoder, items: Tensor, compute: Compute) -> bool:
    if items.dtype == torch.uint8:
        return True
    values = net.normalize(compute.to_device(items))
    return bool(values.min() >= 0 and values.max() <= 1)
