"""Losses and penalties against the formulas, in numpy."""

import numpy as np
import pytest
import torch
from torch import Generator
from torch.distributions import Independent, Normal, kl_divergence

from training.errors import RecipeError
from training.nets import Pass
from training.nets.dense import DenseSection
from training.objective import LOSSES, PENALTIES, Objective

GENERATOR = Generator().manual_seed(0)
RAW, CLEAN = torch.randn(5, 6, generator=GENERATOR), torch.rand(5, 6, generator=GENERATOR)
CODE = torch.randn(5, 3, generator=GENERATOR)


def sigmoid() -> "np.ndarray[tuple[int, ...], np.dtype[np.float64]]":
    return 1 / (1 + np.exp(-RAW.double().numpy()))


def test_mse_is_of_the_finished_output() -> None:
    for output, made in (("sigmoid", sigmoid()), ("linear", RAW.double().numpy())):
        net = DenseSection.model_validate({"code": 3, "output": output}).build((6,))
        wanted = np.square(made - CLEAN.double().numpy()).mean()
        assert LOSSES["mse"](RAW, CLEAN, net).item() == pytest.approx(wanted, rel=1e-6)


def test_bce_is_the_cross_entropy_of_the_sigmoid() -> None:
    made, clean = sigmoid(), CLEAN.double().numpy()
    wanted = -(clean * np.log(made) + (1 - clean) * np.log(1 - made)).mean()
    assert LOSSES["bce"](RAW, CLEAN, DenseSection(code=3).build((6,))).item() == pytest.approx(wanted, rel=1e-6)


def test_activity_is_the_mean_magnitude_of_the_code() -> None:
    assert PENALTIES["activity"](Pass(RAW, CODE), Objective(loss="mse")).item() == pytest.approx(
        np.abs(CODE.numpy()).mean(), rel=1e-6
    )


def test_parts_are_unweighted_and_add_up_by_their_weights() -> None:
    net = DenseSection(code=3).build((6,))
    parts = Objective(loss="bce", penalties={"activity": 0.25}).parts(Pass(RAW, CODE), CLEAN, net)
    assert list(parts) == ["loss", "bce", "activity"]
    assert parts["loss"].item() == pytest.approx(parts["bce"].item() + 0.25 * parts["activity"].item())


def test_rare_is_the_divergence_from_a_coin_of_rho() -> None:
    code = torch.sigmoid(CODE)
    mean = code.double().numpy().mean(0)
    wanted = (0.1 * np.log(0.1 / mean) + 0.9 * np.log(0.9 / (1 - mean))).mean()
    assert PENALTIES["rare"](Pass(RAW, code), Objective(loss="mse", rho=0.1)).item() == pytest.approx(wanted, rel=1e-5)


def test_prior_is_the_divergence_from_the_standard_normal() -> None:
    spread = torch.randn(5, 3, generator=GENERATOR)
    posterior = Independent(Normal(CODE, (spread / 2).exp()), 1)
    standard = Independent(Normal(torch.zeros(5, 3), torch.ones(5, 3)), 1)
    wanted = kl_divergence(posterior, standard).mean().item() / RAW.shape[1]
    assert PENALTIES["prior"](Pass(RAW, CODE, spread), Objective(loss="bce")).item() == pytest.approx(wanted, rel=1e-5)
    with pytest.raises(RecipeError, match="variational"):
        PENALTIES["prior"](Pass(RAW, CODE), Objective(loss="bce"))


def test_rate_is_in_bits_per_value_of_the_item() -> None:
    chances = torch.tensor([0.5, 0.25, 0.125, 1.0, 0.5])
    made = Pass(RAW, CODE, nats=-chances.log())
    assert PENALTIES["rate"](made, Objective(loss="mse")).item() == pytest.approx((1 + 2 + 3 + 0 + 1) / (5 * 6))
    with pytest.raises(RecipeError, match="compressive"):
        PENALTIES["rate"](Pass(RAW, CODE), Objective(loss="mse"))


def test_binary_draws_black_and_white_with_the_grey_as_chance() -> None:
    grey = torch.full((4000,), 0.3)
    drawn = Objective(loss="bce", binary=True).draw(grey, Generator().manual_seed(1))
    assert set(drawn.tolist()) == {0.0, 1.0}
    assert drawn.mean().item() == pytest.approx(0.3, abs=0.03)
    assert Objective(loss="bce").draw(grey, Generator().manual_seed(1)) is grey
