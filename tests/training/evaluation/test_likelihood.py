"""Likelihoods by importance sampling against the integral over a one-dimensional code."""

import math

import numpy as np
import pytest
import torch
from torch.distributions import Bernoulli, Normal

from tests.support.training import pictures
from training.errors import RecipeError
from training.evaluation.likelihood import SEED, likelihood
from training.loop.batches import as_tensor, to_float
from training.nets import Autoencoder
from training.nets.dense import DenseSection
from training.nets.variational import VariationalSection

ITEMS = pictures(12)


def made() -> Autoencoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return VariationalSection(code=1, hidden=[6]).build((1, 8, 8)).eval()


@torch.no_grad()
def integral(net: Autoencoder) -> float:
    """Return the mean of -log of the integral of p(x|z) p(z) dz."""
    drawn = torch.bernoulli(to_float(as_tensor(ITEMS)), generator=torch.Generator().manual_seed(SEED))
    places = torch.linspace(-8, 8, 4001)
    logits = net.decode(places[:, None]).flatten(1)
    logs = (
        Bernoulli(logits=logits[:, None]).log_prob(drawn.flatten(1)).sum(2) + Normal(0.0, 1.0).log_prob(places)[:, None]
    )
    return -(logs.double().logsumexp(0) + math.log(16 / 4000)).mean().item()


def test_many_samples_give_likelihood_and_one_bounds_it() -> None:
    net = made()
    estimate, exact = likelihood(net, ITEMS, 2000), integral(net)
    assert estimate.nll == pytest.approx(exact, abs=0.02)
    assert estimate.elbo > estimate.nll
    assert (estimate.items, estimate.samples) == (12, 2000)
    assert likelihood(net, ITEMS, 2000) == estimate


def test_deterministic_code_has_no_likelihood() -> None:
    with pytest.raises(RecipeError, match="variational"):
        likelihood(DenseSection(code=2).build((1, 8, 8)), ITEMS.astype(np.uint8), 100)
