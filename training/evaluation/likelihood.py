"""The negative log-likelihood of test images under a variational net, in nats per image, as published results state it.

It is estimated by importance sampling (Burda, Grosse and Salakhutdinov 2016) in float32 on binarized images: each pixel
is sampled once with a fixed seed, with its grey level as the probability of white.
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
"""Seed of the binarized pixels and of the samples of the codes."""
ITEMS_PER_PASS, SAMPLES_PER_PASS = 10, 100
"""Items, and samples of each, in a pass of the decoder: few enough for the cache of the processor."""


@dataclass(frozen=True, slots=True)
class Likelihood:
    """Estimates in nats per item, means over `items`.

    Attributes:
        nll: an upper bound of the negative log-likelihood, from `samples` samples per item.
        elbo: the negative evidence lower bound, as if from one sample per item.
        items: the number of items.
        samples: the number of samples per item.
    """

    nll: float
    elbo: float
    items: int
    samples: int


@torch.no_grad()
def likelihood(net: Autoencoder, items: Items, samples: int) -> Likelihood:
    """Estimate the likelihood of images uint8 (N, H, W, C) under a variational net.

    `samples` is rounded down to a multiple of SAMPLES_PER_PASS. Raises RecipeError if the net's codes are not
    distributions.
    """
    generator = Generator().manual_seed(SEED)
    binarized = torch.bernoulli(to_float(as_tensor(items)), generator=generator)
    log_likelihood = elbo = 0.0
    passes = samples // SAMPLES_PER_PASS
    for chunk in binarized.split(ITEMS_PER_PASS):
        result = net.forward_with_code(chunk)
        log_weights = torch.cat(
            [log_importance_weights(_sample(result, net, generator), chunk, net) for _ in range(passes)]
        ).double()
        log_likelihood += iwae_bound(log_weights).sum().item()
        elbo += log_weights.mean(0).sum().item()
    return Likelihood(-log_likelihood / len(items), -elbo / len(items), len(items), passes * SAMPLES_PER_PASS)


def _sample(result: ForwardResult, net: Autoencoder, generator: Generator) -> ForwardResult:
    """Return the forward pass with SAMPLES_PER_PASS samples of each code and their outputs.

    The samples are reparameterized: mean + standard deviation * noise (Kingma and Welling 2014).
    """
    if result.log_variance is None:
        raise RecipeError("a likelihood needs a code that is a distribution: set net.family = 'variational'")
    noise = torch.randn((SAMPLES_PER_PASS, *result.code.shape), generator=generator)
    codes = (result.code + (result.log_variance / 2).exp() * noise).flatten(0, 1)
    return ForwardResult(net.decode(codes), result.code, result.log_variance, codes)
