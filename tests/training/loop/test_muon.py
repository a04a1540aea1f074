"""Muon: equal singular values, Adam for vectors, and a state that survives a checkpoint."""

import torch
from torch import nn

from training.loop.muon import Muon, newton_schulz


def test_muon_update_has_equal_singular_values() -> None:
    for rows, columns in ((8, 40), (40, 8), (16, 16)):
        matrix = torch.randn(rows, columns, generator=torch.Generator().manual_seed(rows)) @ torch.diag(
            torch.logspace(0, 1, columns)
        )
        values = torch.linalg.svdvals(newton_schulz(matrix))
        assert values.min() > 0.5
        assert values.max() < 1.3


def test_biases_are_updated_by_adam() -> None:
    ours, theirs = (nn.Parameter(torch.tensor([1.0, -2.0, 3.0])) for _ in range(2))
    muon, adam = Muon([ours], lr=0.1), torch.optim.Adam([theirs], lr=0.1)
    for number in range(5):
        for weight, optimizer in ((ours, muon), (theirs, adam)):
            weight.grad = torch.tensor([0.5, -0.1, 2.0]) * (number - 1.5)
            optimizer.step()
    assert torch.allclose(ours, theirs, atol=1e-6)


def test_muon_step_length_is_independent_of_gradient_scale() -> None:
    moved: list[float] = []
    for scale in (1e-4, 1e4):
        weight = nn.Parameter(torch.zeros(16, 4, 3, 3))
        weight.grad = scale * torch.randn(16, 4, 3, 3, generator=torch.Generator().manual_seed(1))
        Muon([weight], lr=0.01).step()
        moved.append(weight.detach().square().mean().sqrt().item())
    assert abs(moved[0] - moved[1]) < 1e-5
    assert 0.001 < moved[0] < 0.003  # 0.2 of the learning rate


def test_muon_descends_and_skips_weights_without_gradient() -> None:
    random = torch.Generator().manual_seed(2)
    target, inputs = torch.randn(6, 12, generator=random), torch.randn(200, 12, generator=random)
    inputs *= torch.logspace(0, -2, 12)
    weight, idle = nn.Parameter(torch.zeros(6, 12)), nn.Parameter(torch.ones(3))
    optimizer = Muon([weight, idle], lr=0.1)
    for step in range(300):
        loss = (inputs @ (weight - target).T).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.param_groups[0]["lr"] = 0.1 * (1 - step / 300)
        optimizer.step()
    assert (inputs @ (weight - target).T).square().mean() < 1e-4
    assert (idle == 1).all()
