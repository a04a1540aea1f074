"""The training objective: a reconstruction loss plus weighted penalties on the code.

A new loss or penalty is one function and one line in its table. All are means, so that the weights of penalties do not
depend on the sizes of batch, item and code. In every loss, `output` is the raw output of the net, float32 (N, ...): the
logits if `net.sigmoid`, else the values. `clean` is the target, float32 of the same shape, images in 0..1.
"""

import math
from collections.abc import Callable
from math import log
from typing import Annotated, Self

import torch
from pydantic import Field, NonNegativeFloat, field_validator, model_validator
from torch import Generator, Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from training.errors import RecipeError
from training.nets import Autoencoder, ForwardResult, Shape
from training.schema import RecipeTable, suggestion

MSE_FLOOR = 1e-5
"""Added to a mean squared error before its logarithm: above about 50 dB, an item no longer changes the mean much."""
VARIANCE_FLOOR = 1e-6
"""Added to a variance of noise before its logarithm: a standard deviation of a quarter of a gray level of 255."""
VARIATION_FLOOR = 1e-3
"""Added to the total variation of an image before its logarithm."""


def mse(output: Tensor, clean: Tensor, net: Autoencoder) -> Tensor:
    """Return the mean squared error per value, after `net.activate_output`."""
    return F.mse_loss(net.normalize(net.activate_output(output)), net.normalize(clean))


def bce(output: Tensor, clean: Tensor, net: Autoencoder) -> Tensor:
    """Return the mean binary cross-entropy per value in nats, from logits.

    Unlike the squared error after a sigmoid, its gradient does not vanish where the sigmoid saturates.
    """
    return F.binary_cross_entropy_with_logits(output, net.normalize(clean))


def mae(output: Tensor, clean: Tensor, net: Autoencoder) -> Tensor:
    """Return the mean absolute error per value, after `net.activate_output`."""
    return F.l1_loss(net.normalize(net.activate_output(output)), net.normalize(clean))


def log_mse(output: Tensor, clean: Tensor, net: Autoencoder) -> Tensor:
    """Return the mean over the items of the logarithm of an item's mean squared error: minus its PSNR / 4.34 dB.

    The gradient of an item is scaled by the inverse of its error, so that items with little noise count as much as
    items with much.
    """
    error = net.normalize(net.activate_output(output)) - net.normalize(clean)
    return (error.square().flatten(1).mean(1) + MSE_FLOOR).log().mean()


LOSSES: dict[str, Callable[[Tensor, Tensor, Autoencoder], Tensor]] = {
    "mse": mse,
    "bce": bce,
    "mae": mae,
    "log_mse": log_mse,
}


def l1(result: ForwardResult, objective: "Objective") -> Tensor:  # noqa: ARG001 - one signature for all penalties
    """Return the mean absolute value of the numbers in the code (N, ...)."""
    return result.code.abs().mean()


def kl_sparsity(result: ForwardResult, objective: "Objective") -> Tensor:
    """Return KL(rho || mean activity) of Bernoulli variables, in nats per unit, for a code (N, ...) in 0..1.

    The penalty is 0 when the mean of each unit over the batch is `rho` (Lee, Ekanadham and Ng 2008).
    """
    rho, activity = objective.rho, result.code.mean(0).clamp(1e-6, 1 - 1e-6)
    return (rho * (rho / activity).log() + (1 - rho) * ((1 - rho) / (1 - activity)).log()).mean()


def kl_prior(result: ForwardResult, objective: "Objective") -> Tensor:  # noqa: ARG001
    """Return KL(q(z|x) || standard normal) in nats per value of an item (Kingma and Welling 2014, appendix B).

    With weight 1 and the loss `bce`, loss + penalty is the negative evidence lower bound (ELBO) per value. Raises
    RecipeError if the code is not a distribution.
    """
    if result.log_variance is None:
        raise RecipeError("the penalty kl_prior needs a code that is a distribution: set net.family = 'variational'")
    nats = 0.5 * (result.code.square() + result.log_variance.exp() - 1 - result.log_variance)
    return nats.sum() / (len(nats) * result.output[0].numel())


def rate(result: ForwardResult, objective: "Objective") -> Tensor:  # noqa: ARG001
    """Return the estimated size of the code in bits per value of an item (Ballé, Laparra and Simoncelli 2017).

    With the loss `mse`, the weight sets the trade-off of rate and distortion. Raises RecipeError if the net does not
    model the probability of its codes.
    """
    if result.code_nll is None:
        raise RecipeError("the penalty rate needs a net that models its codes: set net.family = 'compressive'")
    return result.code_nll.sum() / (math.log(2) * result.output.numel())


def noise_estimate(result: ForwardResult, noisy: Tensor, clean: Tensor) -> Tensor:
    """Return the mean absolute error of the logarithm of each item's estimated variance of the noise.

    The true variance is the mean squared difference of the input `noisy` and `clean`, both (N, ...). Raises RecipeError
    if the net does not estimate the noise.
    """
    if result.noise_variance is None:
        raise RecipeError("the penalty noise_estimate needs a net that estimates the noise: set net.noise_control")
    truth = (noisy - clean).square().flatten(1).mean(1)
    estimate = result.noise_variance.flatten(1).mean(1)
    return ((estimate + VARIANCE_FLOOR).log() - (truth + VARIANCE_FLOOR).log()).abs().mean()


def smoothness(result: ForwardResult, noisy: Tensor, clean: Tensor) -> Tensor:  # noqa: ARG001 - one signature
    """Return the mean over items of (strength - 1) * log(total variation), for images (N, C, H, W).

    So that the strengths of one net trade the error for smoothness at different rates (Dosovitskiy and Djolonga, "You
    Only Train Once: Loss-Conditional Training of Deep Networks", ICLR 2020). The total variation of Rudin, Osher and
    Fatemi (1992) falls where noise is left, before edges suffer. Without strengths it is 0.
    """
    if result.strength is None:
        return torch.zeros((), device=result.output.device)
    across, down = result.output.diff(dim=3), result.output.diff(dim=2)
    variation = across.abs().flatten(1).mean(1) + down.abs().flatten(1).mean(1)
    return ((result.strength - 1) * (variation + VARIATION_FLOOR).log()).mean()


NOISE_PENALTIES: dict[str, Callable[[ForwardResult, Tensor, Tensor], Tensor]] = {
    "noise_estimate": noise_estimate,
    "smoothness": smoothness,
}
"""Penalties that also need the input and the target."""


PENALTIES: dict[str, Callable[[ForwardResult, "Objective"], Tensor]] = {
    "l1": l1,
    "kl_sparsity": kl_sparsity,
    "kl_prior": kl_prior,
    "rate": rate,
}


def log_importance_weights(result: ForwardResult, clean: Tensor, net: Autoencoder) -> Tensor:
    """Return log p(x|z) + log p(z) - log q(z|x) in nats for every sample z and binary item x.

    Args:
        result: a forward pass with `samples` and `log_variance`, with as many samples for each item.
        clean: float32 (N, ...), each value 0 or 1.
        net: the net of the forward pass.

    Returns:
        float32 (samples, N).

    Raises:
        RecipeError: the code is not a distribution.
    """
    if result.log_variance is None or result.samples is None:
        raise RecipeError("objective.iwae needs a code that is a distribution: set net.family = 'variational'")
    samples = result.samples.view(-1, *result.code.shape)
    logits = result.output.view(len(samples), *clean.shape)
    # log p(x|z) of Bernoulli variables with logits l: x * l - log(1 + exp(l)).
    likelihood = (net.normalize(clean) * logits - F.softplus(logits)).flatten(2).sum(2)
    # log p(z) - log q(z|x) of two normal densities; their factors 1 / sqrt(2 pi) cancel.
    squared_noise = (samples - result.code).square() / result.log_variance.exp()
    return likelihood + 0.5 * (squared_noise + result.log_variance - samples.square()).flatten(2).sum(2)


def iwae_bound(log_weights: Tensor) -> Tensor:
    """Return the logarithm of each item's mean importance weight in nats: (samples, N) to (N,).

    It is a lower bound of log p(x) that more samples tighten (Burda, Grosse and Salakhutdinov 2016).
    """
    return log_weights.logsumexp(0) - log(len(log_weights))


def default_loss(shape: Shape, *, sigmoid: bool) -> str:
    """Return the name of the loss that suits items of `shape`: `bce` for images through a sigmoid, else `mse`."""
    return "bce" if sigmoid and len(shape) == 3 else "mse"


class Objective(RecipeTable):
    """The `[objective]` table: the loss plus the sum of weight * penalty."""

    loss: str | None = None
    """`mse`, `mae`, `log_mse` or `bce`; `bce` needs `net.output = "sigmoid"` and data in 0..1. None: `bce` for images
    through a sigmoid, else `mse`."""
    penalties: dict[str, NonNegativeFloat] = Field(default_factory=dict)
    """Weights of the penalties by name; `l1`: mean absolute value of the code; `kl_sparsity`: KL divergence of each
    unit's mean activity from `rho`; `kl_prior`: KL divergence of the code from the standard normal distribution;
    `rate`: bits of a compressive code; `noise_estimate`: error of the estimated level of the noise; `smoothness`: total
    variation of images that are denoised with more strength."""
    rho: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """Target mean activity of a unit for `kl_sparsity`."""
    binarize: bool = False
    """Model binary images: each pixel is drawn again in each epoch, with its grey level as the probability of white,
    for the input and the target alike (Salakhutdinov and Murray 2008)."""
    iwae: bool = False
    """Train on the importance-weighted bound of Burda, Grosse and Salakhutdinov (2016), in nats per value; needs `bce`
    and a variational net. The bound includes the prior, and more `net.draws` tighten it."""

    @field_validator("loss")
    @classmethod
    def _loss_exists(cls, loss: str | None) -> str | None:
        if loss is not None and loss not in LOSSES:
            raise ValueError(f"no loss {loss!r}: {suggestion(loss, list(LOSSES))}")
        return loss

    @field_validator("penalties")
    @classmethod
    def _penalties_exist(cls, penalties: dict[str, float]) -> dict[str, float]:
        for name in penalties:
            if name not in PENALTIES | NOISE_PENALTIES:
                raise ValueError(f"no penalty {name!r}: {suggestion(name, list(PENALTIES | NOISE_PENALTIES))}")
        return penalties

    @model_validator(mode="after")
    def _iwae_needs_bce(self) -> Self:
        if self.iwae and (self.loss != "bce" or "kl_prior" in self.penalties):
            raise ValueError("iwae needs loss = 'bce' and no penalty kl_prior: the bound includes the prior already")
        return self

    def loss_of(self, net: Autoencoder) -> str:
        """Return the name of the loss, or of the one that suits the output of the net."""
        return self.loss or default_loss(net.shape, sigmoid=net.sigmoid)

    def sample_targets(self, items: Tensor, generator: Generator) -> Tensor:
        """Return the items (float32, images in 0..1), or with `binarize` a Bernoulli sample of them."""
        return torch.bernoulli(items, generator=generator) if self.binarize else items

    def losses(
        self, result: ForwardResult, clean: Tensor, net: Autoencoder, noisy: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Return the total `loss` to minimize first, then its unweighted terms by name; all are scalars.

        Args:
            result: the forward pass, in float32.
            clean: the targets, float32 (N, ...), images in 0..1.
            net: the net of the forward pass.
            noisy: the input of the forward pass, of the shape of `clean`; needed for penalties on noise.

        Raises:
            RecipeError: a penalty or `iwae` does not fit the family of the net.
        """
        if self.iwae:
            terms = {"iwae": -iwae_bound(log_importance_weights(result, clean, net)).mean() / clean[0].numel()}
        else:
            # A variational net returns several outputs for each item: repeat the targets to match.
            targets = clean.repeat(len(result.output) // len(clean), *[1] * (clean.ndim - 1))
            loss = self.loss_of(net)
            terms = {loss: LOSSES[loss](result.output, targets, net)}
        total = next(iter(terms.values()))
        for name, weight in self.penalties.items():
            if name in PENALTIES:
                terms[name] = PENALTIES[name](result, self)
            else:
                terms[name] = NOISE_PENALTIES[name](result, clean if noisy is None else noisy, clean)
            total = total + weight * terms[name]
        return {"loss": total, **terms}
