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
from training.nets import Autoencoder, Pass
from training.schema import Section, near

LEAST_MSE = 1e-5
"""Added to a mean squared error before its logarithm, 50 dB, so that what is as good as clean does not rule."""


def mse(output: Tensor, clean: Tensor, net: Autoencoder) -> Tensor:
    """Mean squared error per value, of what `net.finish` makes of the raw output."""
    return F.mse_loss(net.units(net.finish(output)), net.units(clean))


def bce(output: Tensor, clean: Tensor, net: Autoencoder) -> Tensor:
    """Mean binary cross-entropy per value in nats, on logits: no gradient is lost in a saturated sigmoid."""
    return F.binary_cross_entropy_with_logits(output, net.units(clean))


def mae(output: Tensor, clean: Tensor, net: Autoencoder) -> Tensor:
    """Mean absolute error per value, of what `net.finish` makes of the raw output."""
    return F.l1_loss(net.units(net.finish(output)), net.units(clean))


def psnr(output: Tensor, clean: Tensor, net: Autoencoder) -> Tensor:
    """Mean logarithm of each item's mean squared error, whatever its noise: minus its PSNR, in units of 4.34 dB."""
    gap = net.units(net.finish(output)) - net.units(clean)
    return (gap.square().flatten(1).mean(1) + LEAST_MSE).log().mean()


LOSSES: dict[str, Callable[[Tensor, Tensor, Autoencoder], Tensor]] = {"mse": mse, "bce": bce, "mae": mae, "psnr": psnr}


def activity(made: Pass, objective: "Objective") -> Tensor:  # noqa: ARG001 - one signature for all penalties
    """L1: the mean absolute value of a number in the code."""
    return made.code.abs().mean()


def rare(made: Pass, objective: "Objective") -> Tensor:
    """KL(rho || mean activity), in nats per unit of a code in 0..1: each unit is to be on for `rho` of the items."""
    wanted, found = objective.rho, made.code.mean(0).clamp(1e-6, 1 - 1e-6)
    return (wanted * (wanted / found).log() + (1 - wanted) * ((1 - wanted) / (1 - found)).log()).mean()


def prior(made: Pass, objective: "Objective") -> Tensor:  # noqa: ARG001
    """KL(the code's distribution || standard normal), in nats per value of the item: at weight 1 and with `bce`,
    loss + penalty is the negative evidence lower bound per value.
    """
    if made.spread is None:
        raise RecipeError("the penalty prior needs a code that is a distribution: net.family = 'variational'")
    nats = 0.5 * (made.code.square() + made.spread.exp() - 1 - made.spread)
    return nats.sum() / (len(nats) * made.output[0].numel())


def rate(made: Pass, objective: "Objective") -> Tensor:  # noqa: ARG001
    """Bits that the code costs, per value of the item: with `mse` and its weight, the trade of rate and distortion."""
    if made.nats is None:
        raise RecipeError("the penalty rate needs a code whose bits are known: net.family = 'compressive'")
    return made.nats.sum() / (math.log(2) * made.output.numel())


PENALTIES: dict[str, Callable[[Pass, "Objective"], Tensor]] = {
    "activity": activity,
    "rare": rare,
    "prior": prior,
    "rate": rate,
}


def log_weights(made: Pass, clean: Tensor, net: Autoencoder) -> Tensor:
    """log p(x|z) + log p(z) - log q(z|x) in nats of every draw z and black and white item x: draws,N."""
    if made.spread is None or made.drawn is None:
        raise RecipeError("objective.importance needs a code that is a distribution: net.family = 'variational'")
    draws = made.drawn.view(-1, *made.code.shape)
    logits = made.output.view(len(draws), *clean.shape)
    likelihood = (net.units(clean) * logits - F.softplus(logits)).flatten(2).sum(2)
    noise = (draws - made.code).square() / made.spread.exp()
    return likelihood + 0.5 * (noise + made.spread - draws.square()).flatten(2).sum(2)  # the 2 pi cancel


def evidence(weights: Tensor) -> Tensor:
    """log of the mean of the weights, each item's: a lower bound of log p(x) that more draws tighten; draws,N -> N."""
    return weights.logsumexp(0) - log(len(weights))


class Objective(Section):
    """The `[objective]` table: loss + the sum of weight * penalty."""

    loss: str
    """`mse`, `mae`, `psnr` or `bce`; `bce` wants a net with sigmoid output and data in 0..1."""
    penalties: dict[str, NonNegativeFloat] = Field(default_factory=dict)
    """Weights by name; `activity`: L1 on the code; `rare`: KL of its units to rho; `prior`: KL to a normal code;
    `rate`: bits of a compressive one."""
    rho: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """For `rare`: the share of the items for which a unit is to be on."""
    binary: bool = False
    """Model black and white pictures: every pixel is drawn anew each time, with its grey as the probability of white,
    for the input and the target alike (Salakhutdinov and Murray 2008)."""
    importance: bool = False
    """With `bce` on a variational net: weigh the draws of a code by their importance. The loss is then the bound of
    Burda, Grosse and Salakhutdinov (2016), in nats per value; the prior is in it, and more `net.draws` tighten it."""

    @field_validator("loss")
    @classmethod
    def _loss_exists(cls, loss: str) -> str:
        if loss not in LOSSES:
            raise ValueError(f"no loss {loss!r}: {near(loss, list(LOSSES))}")
        return loss

    @field_validator("penalties")
    @classmethod
    def _penalties_exist(cls, penalties: dict[str, float]) -> dict[str, float]:
        for name in penalties:
            if name not in PENALTIES:
                raise ValueError(f"no penalty {name!r}: {near(name, list(PENALTIES))}")
        return penalties

    @model_validator(mode="after")
    def _importance_is_a_whole_loss(self) -> Self:
        if self.importance and (self.loss != "bce" or "prior" in self.penalties):
            raise ValueError("importance needs loss = 'bce', and no penalty prior: the bound holds it already")
        return self

    def draw(self, items: Tensor, generator: Generator) -> Tensor:
        """What the net is to model of these items: themselves, or where `binary` a draw."""
        return torch.bernoulli(items, generator=generator) if self.binary else items

    def parts(self, made: Pass, clean: Tensor, net: Autoencoder) -> dict[str, Tensor]:
        """`loss`, the number to make small, first; then what it consists of, unweighted, by name."""
        if self.importance:
            parts = {"importance": -evidence(log_weights(made, clean, net)).mean() / clean[0].numel()}
        else:
            wanted = clean.repeat(len(made.output) // len(clean), *[1] * (clean.ndim - 1))  # for each draw
            parts = {self.loss: LOSSES[self.loss](made.output, wanted, net)}
        total = next(iter(parts.values()))
        for name, weight in self.penalties.items():
            parts[name] = PENALTIES[name](made, self)
            total = total + weight * parts[name]
        return {"loss": total, **parts}
