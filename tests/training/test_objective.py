"""Losses and penalties against the formulas, in numpy."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Generator
from torch.distributions import Bernoulli, Independent, Normal, kl_divergence

from training.errors import RecipeError
from training.nets import ForwardResult
from training.nets.dense import DenseSection
from training.nets.variational import VariationalSection
from training.objective import LOSSES, PENALTIES, Objective, log_importance_weights

GENERATOR = Generator().manual_seed(0)
RAW, CLEAN = torch.randn(5, 6, generator=GENERATOR), torch.rand(5, 6, generator=GENERATOR)
CODE = torch.randn(5, 3, generator=GENERATOR)


def sigmoid() -> "np.ndarray[tuple[int, ...], np.dtype[np.float64]]":
    return 1 / (1 + np.exp(-RAW.double().numpy()))


def test_mse_is_of_the_activated_output() -> None:
    for activation, output in (("sigmoid", sigmoid()), ("linear", RAW.double().numpy())):
        net = DenseSection.model_validate({"code": 3, "output": activation}).build((6,))
        expected = np.square(output - CLEAN.double().numpy()).mean()
        assert LOSSES["mse"](RAW, CLEAN, net).item() == pytest.approx(expected, rel=1e-6)


def test_bce_is_the_cross_entropy_of_the_sigmoid() -> None:
    output, clean = sigmoid(), CLEAN.double().numpy()
    expected = -(clean * np.log(output) + (1 - clean) * np.log(1 - output)).mean()
    assert LOSSES["bce"](
        RAW, CLEAN, DenseSection(code=3, output="sigmoid", normalize="none").build((6,))
    ).item() == pytest.approx(expected, rel=1e-6)


def test_mae_is_of_the_activated_output() -> None:
    net = DenseSection(code=3, output="sigmoid", normalize="none").build((6,))
    expected = np.abs(sigmoid() - CLEAN.numpy()).mean()
    assert LOSSES["mae"](RAW, CLEAN, net).item() == pytest.approx(expected)


def test_log_mse_is_the_mean_over_items() -> None:
    net = DenseSection(code=3, output="sigmoid", normalize="none").build((6,))
    decibels = -10 * np.log10(np.square(sigmoid() - CLEAN.numpy()).mean(1) + 1e-5)
    assert LOSSES["log_mse"](RAW, CLEAN, net).item() == pytest.approx(-decibels.mean() * np.log(10) / 10, rel=1e-5)


def test_l1_is_the_mean_magnitude_of_the_code() -> None:
    assert PENALTIES["l1"](ForwardResult(RAW, CODE), Objective(loss="mse")).item() == pytest.approx(
        np.abs(CODE.numpy()).mean(), rel=1e-6
    )


def test_loss_is_the_weighted_sum_of_its_parts() -> None:
    net = DenseSection(code=3, output="sigmoid", normalize="none").build((6,))
    parts = Objective(loss="bce", penalties={"l1": 0.25}).losses(ForwardResult(RAW, CODE), CLEAN, net)
    assert list(parts) == ["loss", "bce", "l1"]
    assert parts["loss"].item() == pytest.approx(parts["bce"].item() + 0.25 * parts["l1"].item())


def test_kl_sparsity_is_the_divergence_from_bernoulli_rho() -> None:
    code = torch.sigmoid(CODE)
    mean = code.double().numpy().mean(0)
    expected = (0.1 * np.log(0.1 / mean) + 0.9 * np.log(0.9 / (1 - mean))).mean()
    assert PENALTIES["kl_sparsity"](ForwardResult(RAW, code), Objective(loss="mse", rho=0.1)).item() == pytest.approx(
        expected, rel=1e-5
    )


def test_kl_prior_is_the_divergence_from_standard_normal() -> None:
    spread = torch.randn(5, 3, generator=GENERATOR)
    posterior = Independent(Normal(CODE, (spread / 2).exp()), 1)
    standard = Independent(Normal(torch.zeros(5, 3), torch.ones(5, 3)), 1)
    expected = kl_divergence(posterior, standard).mean().item() / RAW.shape[1]
    assert PENALTIES["kl_prior"](ForwardResult(RAW, CODE, spread), Objective(loss="bce")).item() == pytest.approx(
        expected, rel=1e-5
    )
    with pytest.raises(RecipeError, match="variational"):
        PENALTIES["kl_prior"](ForwardResult(RAW, CODE), Objective(loss="bce"))


def test_rate_is_in_bits_per_value_of_the_item() -> None:
    chances = torch.tensor([0.5, 0.25, 0.125, 1.0, 0.5])
    output = ForwardResult(RAW, CODE, code_nll=-chances.log())
    assert PENALTIES["rate"](output, Objective(loss="mse")).item() == pytest.approx((1 + 2 + 3 + 0 + 1) / (5 * 6))
    with pytest.raises(RecipeError, match="compressive"):
        PENALTIES["rate"](ForwardResult(RAW, CODE), Objective(loss="mse"))


def test_iwae_weighs_samples_by_their_densities() -> None:
    net = VariationalSection(code=3, hidden=[4], draws=7).build((6,))
    clean = torch.bernoulli(CLEAN, generator=GENERATOR)
    output = net.forward_with_code(clean, Generator().manual_seed(2))
    assert output.log_variance is not None
    assert output.samples is not None
    posterior = Normal(output.code, (output.log_variance / 2).exp())
    drawn = output.samples.view(7, 5, 3)
    densities = Normal(0.0, 1.0).log_prob(drawn).sum(2) - posterior.log_prob(drawn).sum(2)
    pixels = Bernoulli(logits=net.decode(output.samples).view(7, 5, 6)).log_prob(clean).sum(2)
    weights = (pixels + densities).detach().double().numpy()
    expected = -np.log(np.exp(weights).mean(0)).mean()
    objective = Objective(loss="bce", iwae=True)
    assert list(parts := objective.losses(output, clean, net)) == ["loss", "iwae"]
    assert parts["loss"].item() == pytest.approx(expected / 6, rel=1e-5)
    np.testing.assert_allclose(log_importance_weights(output, clean, net).detach().numpy(), weights, rtol=1e-5)


def test_iwae_of_one_sample_averages_to_the_elbo() -> None:
    net, clean = VariationalSection(code=3, hidden=[4], draws=20_000).build((6,)), torch.bernoulli(CLEAN)
    with torch.no_grad():
        output = net.forward_with_code(clean, Generator().manual_seed(3))
        parts = Objective(loss="bce", penalties={"kl_prior": 1.0}).losses(output, clean, net)
        one = -log_importance_weights(output, clean, net).mean().item() / 6
    assert parts["loss"].item() == pytest.approx(parts["bce"].item() + parts["kl_prior"].item())
    assert one == pytest.approx(parts["loss"].item(), abs=2e-3)


def test_iwae_requires_variational_net_and_likelihood() -> None:
    net = DenseSection(code=3, output="sigmoid", normalize="none").build((6,))
    with pytest.raises(RecipeError, match="variational"):
        Objective(loss="bce", iwae=True).losses(net.forward_with_code(CLEAN), CLEAN, net)
    with pytest.raises(ValidationError, match="the bound includes the prior already"):
        Objective(loss="bce", iwae=True, penalties={"kl_prior": 1.0})


def test_binarize_samples_bernoulli_pixels() -> None:
    grey = torch.full((4000,), 0.3)
    drawn = Objective(loss="bce", binarize=True).sample_targets(grey, Generator().manual_seed(1))
    assert set(drawn.tolist()) == {0.0, 1.0}
    assert drawn.mean().item() == pytest.approx(0.3, abs=0.03)
    assert Objective(loss="bce").sample_targets(grey, Generator().manual_seed(1)) is grey
