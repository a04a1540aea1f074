"""What training makes small: a reconstruction loss, and penalties on the code with their weights.

A new loss or penalty is one function and one line in its table. All are means, so that weights do not depend on sizes.
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
from training.nets import Autoencoder, ForwardResult
from training.schema import StrictModel, suggestion

MSE_FLOOR = 1e-5
"""Added to a mean squared error before its logarithm, 50 dB, so that what is as good as clean does not rule."""


def mse(output: Tensor, clean: Tensor, net: Autoencoder) -> Tensor:
    """Mean squared error per value, of what `net.activate_output` makes of the raw output."""
    return F.mse_loss(net.normalize(net.activate_output(output)), net.normalize(clean))


def bce(output: Tensor, clean: Tensor, net: Autoencoder) -> Tensor:
    """Mean binary cross-entropy per value in nats, on logits: no gradient is lost in a saturated sigmoid."""
    return F.binary_cross_entropy_with_logits(output, net.normalize(clean))


def mae(output: Tensor, clean: Tensor, net: Autoencoder) -> Tensor:
    """Mean absolute error per value, of what `net.activate_output` makes of the raw output."""
    return F.l1_loss(net.normalize(net.activate_output(output)), net.normalize(clean))


def log_mse(output: Tensor, clean: Tensor, net: Autoencoder) -> Tensor:
    """Mean logarithm of each item's mean squared error, whatever its noise: minus its PSNR, in units of 4.34 dB."""
    gap = net.normalize(net.activate_output(output)) - net.normalize(clean)
    return (gap.square().flatten(1).mean(1) + MSE_FLOOR).log().mean()


LOSSES: dict[str, Callable[[Tensor, Tensor, Autoencoder], Tensor]] = {
    "mse": mse,
    "bce": bce,
    "mae": mae,
    "log_mse": log_mse,
}


def l1(made: ForwardResult, objective: "Objective") -> Tensor:  # noqa: ARG001 - one signature for all penalties
    """L1: the mean absolute value of a number in the code."""
    return made.code.abs().mean()


def kl_sparsity(made: ForwardResult, objective: "Objective") -> Tensor:
    """KL(rho || mean activity), in nats per unit of a code in 0..1: each unit is to be on for `rho` of the items."""
    wanted, found = objective.rho, made.code.mean(0).clamp(1e-6, 1 - 1e-6)
    return (wanted * (wanted / found).log() + (1 - wanted) * ((1 - wanted) / (1 - found)).log()).mean()


def kl_prior(made: ForwardResult, objective: "Objective") -> Tensor:  # noqa: ARG001
    """KL(the code's distribution || standard normal), in nats per value of the item: at weight 1 and with `bce`,
    loss + penalty is the negative evidence lower bound per value.
    """
    if made.log_variance is None:
        raise RecipeError("the penalty kl_prior needs a code that is a distribution: net.family = 'variational'")
    nats = 0.5 * (made.code.square() + made.log_variance.exp() - 1 - made.log_variance)
    return nats.sum() / (len(nats) * made.output[0].numel())


def rate(made: ForwardResult, objective: "Objective") -> Tensor:  # noqa: ARG001
    """Bits that the code costs, per value of the item: with `mse` and its weight, the trade of rate and distortion."""
    if made.code_nll is None:
        raise RecipeError("the penalty rate needs a code whose bits are known: net.family = 'compressive'")
    return made.code_nll.sum() / (math.log(2) * made.output.numel())


PENALTIES: dict[str, Callable[[ForwardResult, "Objective"], Tensor]] = {
    "l1": l1,
    "kl_sparsity": kl_sparsity,
    "kl_prior": kl_prior,
    "rate": rate,
}


def log_importance_weights(made: ForwardResult, clean: Tensor, net: Autoencoder) -> Tensor:
    """log p(x|z) + log p(z) - log q(z|x) in nats of every draw z and black and white item x: draws,N."""
    if made.log_variance is None or made.samples is None:
        raise RecipeError("objective.iwae needs a code that is a distribution: net.family = 'variational'")
    draws = made.samples.view(-1, *made.code.shape)
    logits = made.output.view(len(draws), *clean.shape)
    likelihood = (net.normalize(clean) * logits - F.softplus(logits)).flatten(2).sum(2)
    noise = (draws - made.code).square() / made.log_variance.exp()
    return likelihood + 0.5 * (noise + made.log_variance - draws.square()).flatten(2).sum(2)  # the 2 pi cancel


def iwae_bound(weights: Tensor) -> Tensor:
    """log of the mean of the weights, each item's: a lower bound of log p(x) that more draws tighten; draws,N -> N."""
    return weights.logsumexp(0) - log(len(weights))


class Objective(StrictModel):
    """The `[objective]` table: loss + the sum of weight * penalty."""

    loss: str
    """`mse`, `mae`, `log_mse` or `bce`; `bce` wants a net with sigmoid output and data in 0..1."""
    penalties: dict[str, NonNegativeFloat] = Field(default_factory=dict)
    """Weights by name; `l1`: L1 on the code; `kl_sparsity`: KL of its units to rho; `kl_prior`: KL to a normal code;
    `rate`: bits of a compressive one."""
    rho: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """For `kl_sparsity`: the share of the items for which a unit is to be on."""
    binarize: bool = False
    """Model black and white pictures: every pixel is drawn anew each time, with its grey as the probability of white,
    for the input and the target alike (Salakhutdinov and Murray 2008)."""
    iwae: bool = False
    """With `bce` on a variational net: weigh the draws of a code by their importance. The loss is then the bound of
    Burda, Grosse and Salakhutdinov (2016), in nats per value; the prior is in it, and more `net.draws` tighten it."""

    @field_validator("loss")
    @classmethod
    def _loss_exists(cls, loss: str) -> str:
        if loss not in LOSSES:
            raise ValueError(f"no loss {loss!r}: {suggestion(loss, list(LOSSES))}")
        return loss

    @field_validator("penalties")
    @classmethod
    def _penalties_exist(cls, penalties: dict[str, float]) -> dict[str, float]:
        for name in penalties:
            if name not in PENALTIES:
                raise ValueError(f"no penalty {name!r}: {suggestion(name, list(PENALTIES))}")
        return penalties

    @model_validator(mode="after")
    def _iwae_needs_bce(self) -> Self:
        if self.iwae and (self.loss != "bce" or "kl_prior" in self.penalties):
            raise ValueError("iwae needs loss = 'bce', and no penalty kl_prior: the bound holds it already")
        return self

    def sample_targets(self, items: Tensor, generator: Generator) -> Tensor:
        """What the net is to model of these items: themselves, or where `binarize` a draw."""
        return torch.bernoulli(items, generator=generator) if self.binarize else items

    def losses(self, made: ForwardResult, clean: Tensor, net: Autoencoder) -> dict[str, Tensor]:
        """`loss`, the number to make small, first; then what it consists of, unweighted, by name."""
        if self.iwae:
            parts = {"iwae": -iwae_bound(log_importance_weights(made, clean, net)).mean() / clean[0].numel()}
        else:
            wanted = clean.repeat(len(made.output) // len(clean), *[1] * (clean.ndim - 1))  # for each draw
            parts = {self.loss: LOSSES[self.loss](made.output, wanted, net)}
        total = next(iter(parts.values()))
        for name, weight in self.penalties.items():
            parts[name] = PENALTIES[name](made, self)
            total = total + weight * parts[name]
        return {"loss": total, **parts}
