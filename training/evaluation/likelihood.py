"""How likely the test set is under a variational net: a figure that published models of digits state, in nats an item.

Importance weighted (Burda, Grosse and Salakhutdinov 2016), in float32, on black and white items: each pixel is drawn
once, with its grey as the probability of white, by a fixed seed. Needs a net whose pass has a spread; no ONNX.
"""

from dataclasses import dataclass

import torch
from torch import Generator

from training.data import Items
from training.errors import RecipeError
from training.loop.batches import as_tensor, to_float
from training.nets import Autoencoder, ForwardResult
from training.objective import iwae_bound, log_importance_weights

SEED = 20260
"""Of the black and white pixels, and of the draws of the codes."""
ITEMS_PER_PASS, SAMPLES_PER_PASS = 10, 100
"""Of one pass of the decoder: few enough to stay in a processor's cache."""


@dataclass(frozen=True, slots=True)
class Likelihood:
    """Means over `items`, in nats an item. `nll`: of `samples` draws; a bound from above. `elbo`: of one draw."""

    nll: float
    elbo: float
    items: int
    samples: int


@torch.no_grad()
def likelihood(net: Autoencoder, items: Items, samples: int) -> Likelihood:
    """Of pictures under the net; `samples` in whole SAMPLES_PER_PASS.

    Raises RecipeError where its codes are no distributions.
    """
    generator = Generator().manual_seed(SEED)
    drawn = torch.bernoulli(to_float(as_tensor(items)), generator=generator)
    total = bound = 0.0
    for chunk in drawn.split(ITEMS_PER_PASS):
        made = net.forward_with_code(chunk)
        weights = torch.cat(
            [
                log_importance_weights(_sample(made, net, generator), chunk, net)
                for _ in range(samples // SAMPLES_PER_PASS)
            ]
        )
        total += iwae_bound(weights.double()).sum().item()
        bound += weights.double().mean(0).sum().item()
    return Likelihood(
        -total / len(items), -bound / len(items), len(items), samples // SAMPLES_PER_PASS * SAMPLES_PER_PASS
    )


def _sample(made: ForwardResult, net: Autoencoder, generator: Generator) -> ForwardResult:
    """The same pass with SAMPLES_PER_PASS codes of each item, decoded."""
    if made.log_variance is None:
        raise RecipeError("a likelihood needs a code that is a distribution: net.family = 'variational'")
    noise = torch.randn((SAMPLES_PER_PASS, *made.code.shape), generator=generator)
    codes = (made.code + (made.log_variance / 2).exp() * noise).flatten(0, 1)
    return ForwardResult(net.decode(codes), made.code, made.log_variance, codes)
