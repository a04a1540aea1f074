"""Says in words how good a fitted model is: against its baselines, and what its log and its code show."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from training.data import Dataset
from training.evaluation.metrics import MEAN, NOISY_INPUT, Evaluation, Metrics, psnr
from training.loop.batches import as_tensor, to_float
from training.nets import Autoencoder
from training.recipe import Recipe

SAMPLE_ITEMS, SAMPLE_VALUES = 1000, 20_000_000
"""Maximum number of items, and of values in them, with which overfitting and unused codes are looked for."""
MAX_GAP = 2.0
"""Ratio of the error on the test set to that on the training set above which a net overfits."""
MAX_RISE = 1.05
"""Ratio of the last validation loss to the lowest above which a net overfits."""
DEAD_SHARE = 1e-3
"""Numbers of a code are unused if they vary by less than this share of the one that varies most."""
MAX_HARM = 10**0.01
"""Ratio of the error of a denoiser to that of its noisy input above which it does harm: 0.1 dB.

With another seed of the noise the gain of `photo-fast` on ten photographs differs by about as much where the noise is
weak (a standard deviation of 0.11 dB for JPEG blocks and 0.15 dB for dust).
"""
NEARLY = 1.05
"""Ratio of errors up to which a model counts as no worse than a classical method."""
MIN_ITEMS = 7
"""Held-out items below which nothing is certain: a gain on each of 6 comes by chance once in 64 times, of 7 in 128."""
MIN_EPOCHS, LEAST_DROP = 10, 0.05
"""Epochs, and relative drop of the loss over the last fifth of them, from which a loss counts as still falling."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A sentence of a verdict. A model with a `blocking` one is published on request only."""

    sentence: str
    blocking: bool = False


def judge(
    recipe: Recipe, data: Dataset, net: Autoencoder, measured: Evaluation, log: Sequence[Mapping[str, Any]]
) -> list[Finding]:
    """Return what is to be said about a model, the most important first.

    Args:
        recipe: the complete recipe.
        data: its data.
        net: the fitted net.
        measured: its metrics and those of its baselines.
        log: the records of the run, one for each epoch.
    """
    epochs = 2 * (recipe.optimizer.epochs or 1)
    longer = f"--resume --set optimizer.epochs={epochs}"
    findings = [
        *_few_items(len(data.test)),
        *_against_mean(measured, f"train longer ({longer}), or raise optimizer.lr or net.code"),
        *_against_noisy_input(measured, recipe, longer),
        *_against_classical(measured),
        *_overfitting(net, data, log),
    ]
    if "encode" in recipe.net.operations and recipe.family != "compressive":
        findings += _unused_code(net, data)
    patience = recipe.optimizer.patience
    if patience is not None and log and log[-1].get("epoch", 0) < (recipe.optimizer.epochs or 0):
        findings.append(
            Finding(
                f"Stopped early: the validation loss has not fallen for {patience} epochs. To continue all the same: "
                f"--resume --set optimizer.patience={2 * patience}."
            )
        )
    elif _still_falls(log):
        findings.append(Finding(f"The loss was still falling at the end: train longer: {longer}."))
    return sorted(findings, key=lambda finding: not finding.blocking)


def _few_items(count: int) -> list[Finding]:
    """Warn of a comparison by so few test items that it may be chance."""
    if count >= MIN_ITEMS:
        return []
    items = "one test item" if count == 1 else f"{count} test items"
    chance = f"even a gain on each comes by chance once in {2**count} times"
    remedy = f"add data, for at least {MIN_ITEMS} test items"
    return [Finding(f"Measured on {items} only, which proves little: {chance}; {remedy}.")]


def _against_mean(measured: Evaluation, remedy: str) -> list[Finding]:
    """Compare reconstructions with the mean item, which is the answer to an empty code."""
    own, mean = (_errors(metrics, "reconstruct") for metrics in (measured.metrics, measured.baselines.get(MEAN, {})))
    if not own or not mean:
        return []
    (key, error), (_, base) = next(iter(own.items())), next(iter(mean.items()))
    values = f"{_show(key, error)} against {_show(key, base)}"
    if error < base:
        return [Finding(f"Better than {MEAN} ({values}).")]
    return [Finding(f"No better than {MEAN} ({values}): the code is unused; {remedy}.", blocking=True)]


def _against_noisy_input(measured: Evaluation, recipe: Recipe, longer: str) -> list[Finding]:
    """Compare denoised items with the noisy ones, for each level or kind of noise.

    A level at which the model does harm prevents publishing, since a caller does not know the level of an image.
    """
    noisy = _errors(measured.baselines.get(NOISY_INPUT, {}), "denoise")
    own = {key: error for key, error in _errors(measured.metrics, "denoise").items() if key in noisy}
    if not own:
        return []
    values = {key: f"{_show(key, own[key])} against {_show(key, noisy[key])}" for key in own}
    no_better = [key for key in own if own[key] >= noisy[key]]
    remedy = f"train longer ({longer}), or try another optimizer.lr"
    if not no_better:
        return [Finding(f"Better than {NOISY_INPUT} ({next(iter(values.values()))}).")]
    if len(no_better) == len(own):
        cause = "it adds more than it removes"
        return [Finding(f"No better than {NOISY_INPUT} ({values[no_better[0]]}): {cause}; {remedy}.", blocking=True)]
    if recipe.objective.loss != "log_mse":
        remedy += ', or set objective.loss = "log_mse", with which weak noise counts as much as strong noise'
    findings: list[Finding] = []
    for blocking in (True, False):
        keys = [key for key in no_better if (own[key] > MAX_HARM * noisy[key]) is blocking]
        if keys:
            places = ", ".join(f"{_level(key)} ({values[key]})" for key in keys)
            comparison = "Worse" if blocking else "No better"
            findings.append(Finding(f"{comparison} than {NOISY_INPUT} for {places}: {remedy}.", blocking))
    return findings


def _against_classical(measured: Evaluation) -> list[Finding]:
    """Name the classical methods that are better than the model, each with the metric where it leads most."""
    findings: list[Finding] = []
    for method, metrics in measured.baselines.items():
        if method in (MEAN, NOISY_INPUT):
            continue
        for operation in ("reconstruct", "denoise"):
            own, other = _errors(measured.metrics, operation), _errors(metrics, operation)
            lost = {
                key: own[key] / max(other[key], 1e-30) for key in own if key in other and own[key] > NEARLY * other[key]
            }
            if lost:
                key = max(lost, key=lost.__getitem__)
                values = f"{_show(key, own[key])} against {_show(key, other[key])}"
                findings.append(
                    Finding(f"Worse than {method} ({values}), which needs no net: train longer, or widen the net.")
                )
    return findings


def _overfitting(net: Autoencoder, data: Dataset, log: Sequence[Mapping[str, Any]]) -> list[Finding]:
    """Compare the last validation loss with the lowest, and the error on the test set with that on the training set."""
    losses = [record["validation"]["loss"] for record in log if record.get("validation")]
    remedy = "use more data, a smaller net.code or net.hidden, or optimizer.weight_decay"
    if losses and min(losses) > 0 and losses[-1] > MAX_RISE * min(losses):
        best = losses.index(min(losses)) + 1
        return [
            Finding(
                f"Overfits: the validation loss rose after epoch {best} of {len(losses)}, whose weights are kept; "
                f"{remedy}."
            )
        ]
    if net.any_size or data.test_name:
        return []
    train, test = (_mean_error(net, sample(items)) for items in (data.train, data.test))
    if test > MAX_GAP * train > 0:
        return [Finding(f"Overfits: the error is {test / train:.1f} times that on the training set; {remedy}.")]
    return []


@torch.no_grad()
def _unused_code(net: Autoencoder, data: Dataset) -> list[Finding]:
    """Count the numbers of the code, or the channels of a code with sides, that hardly vary over the test set."""
    code = net.encode(to_float(sample(data.test)))
    deviations = code.transpose(0, 1).flatten(1).std(1)
    unused = int((deviations <= DEAD_SHARE * deviations.max()).sum())
    if not unused:
        return []
    parts = "numbers" if code.ndim == 2 else "channels"
    return [
        Finding(
            f"{unused} of {len(deviations)} {parts} of the code never change: use a smaller net.code, lower the "
            "penalties, or lower optimizer.lr."
        )
    ]


def _still_falls(log: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether the loss fell by LEAST_DROP over the last fifth of the epochs, or by as much in logarithms."""
    losses = [(record.get("validation") or record["train"])["loss"] for record in log]
    if len(losses) < MIN_EPOCHS:
        return False
    tenth = len(losses) // 10
    before, after = (sum(part) / tenth for part in (losses[-3 * tenth : -2 * tenth], losses[-tenth:]))
    return before - after > LEAST_DROP * (before if min(before, after) > 0 else 1.0)


@torch.no_grad()
def _mean_error(net: Autoencoder, items: Tensor) -> float:
    """Return the mean squared error of the reconstruction of items (N, ...), on the scale of the loss."""
    clean = to_float(items)
    return float((net.normalize(net.activate_output(net(clean))) - net.normalize(clean)).square().mean())


def sample(items: Any) -> Tensor:
    """Return up to SAMPLE_ITEMS items, spread evenly over all, as a tensor."""
    count = max(1, min(SAMPLE_ITEMS, SAMPLE_VALUES // items[0].size))
    return as_tensor(items[:: -(-len(items) // count)])


def _errors(metrics: Metrics, operation: str) -> Metrics:
    """Return the mean squared errors of an operation by their names; for vectors those on the scale of the net."""
    for name in ("scaled_mse", "mse"):
        prefix = f"{operation}_{name}"
        errors = {key: value for key, value in metrics.items() if key == prefix or key.startswith(f"{prefix}_")}
        if errors:
            return errors
    return {}


def _show(key: str, error: float) -> str:
    """Return an error as text: PSNR for images, whose errors are on the 0..1 scale."""
    return f"{error:.4g} of the variance" if "scaled_mse" in key else f"{psnr(error):.2f} dB"


def _level(key: str) -> str:
    """Return the level of corruption in the name of a metric as words."""
    return f"the noise {key.rpartition('mse_')[2].replace('_', ' ')}"
