"""Quantization-aware training: int8 operands in the forward pass, gradients as without rounding."""

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from training.loop.quantization_aware import Int8Rounding, round_activations, round_weights


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_activations_take_256_values_and_keep_zero() -> None:
    values = torch.cat([random(10_000) - 1, torch.zeros(1)])
    rounded = round_activations(values)
    step = (values.max() - values.min()) / 255
    assert len(rounded.div(step).round().unique()) <= 256
    assert rounded[-1] == 0
    assert (rounded - values).abs().max() <= step * 0.501


def test_bytes_are_exact_activations() -> None:
    pixels = torch.arange(256) / 255
    torch.testing.assert_close(round_activations(pixels), pixels, atol=1e-7, rtol=0)


def test_weights_have_a_scale_per_output_channel() -> None:
    weights = random(4, 3, 3, 3) * torch.logspace(-3, 3, 4).view(4, 1, 1, 1)
    rounded = round_weights(weights)
    for channel, exact in zip(rounded, weights, strict=True):
        steps = channel / (exact.abs().max() / 63)
        torch.testing.assert_close(steps, steps.round(), atol=1e-3, rtol=0)
        assert (channel - exact).abs().max() <= exact.abs().max() / 126 * 1.01


def test_convolution_computes_with_rounded_operands() -> None:
    layer, images = nn.Conv2d(3, 8, 3), random(2, 3, 9, 9, seed=1)
    with Int8Rounding():
        answer = layer(images)
    assert torch.equal(answer, F.conv2d(round_activations(images), round_weights(layer.weight), layer.bias))
    assert not torch.equal(answer, layer(images))


def test_additions_and_1x1_convolutions_are_exact() -> None:
    layer, images, others = nn.Conv2d(3, 8, 1), random(2, 3, 9, 9), random(2, 3, 9, 9, seed=1)
    with Int8Rounding():
        total, answer = images + others, layer(images)
    assert torch.equal(total, images + others)
    assert torch.equal(answer, layer(images))


def test_gradient_passes_through_the_rounding() -> None:
    layer, images = nn.Conv2d(3, 8, 3), random(2, 3, 9, 9, seed=1)
    with Int8Rounding():
        layer(images).sum().backward()
    rounded = round_activations(images).unfold(2, 3, 1).unfold(3, 3, 1).sum((0, 2, 3))
    assert layer.weight.grad is not None
    torch.testing.assert_close(layer.weight.grad[0], rounded)
