"""Losses and penalties against the formulas, in numpy."""

import numpy as np
import pytest
import torch
from torch import Generator

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
    assert PENALTIES["activity"](CODE).item() == pytest.approx(np.abs(CODE.numpy()).mean(), rel=1e-6)


def test_parts_are_unweighted_and_add_up_by_their_weights() -> None:
    net = DenseSection(code=3).build((6,))
    parts = Objective(loss="bce", penalties={"activity": 0.25}).parts(Pass(RAW, CODE), CLEAN, net)
    assert list(parts) == ["loss", "bce", "activity"]
    assert parts["loss"].item() == pytest.approx(parts["bce"].item() + 0.25 * parts["activity"].item())
