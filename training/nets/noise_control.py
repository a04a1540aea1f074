"""Parts of a denoising net that estimate the noise and take a strength: small, local, and without effect at first."""

import torch
from torch import Generator, Tensor, nn

MAX_STRENGTH = 2.0
"""Largest strength of denoising. The smallest is 1, what the net does without."""
HIDDEN = 64
"""Channels between the two layers of the estimate."""
INITIAL_LOG_VARIANCE = -6.0
"""Logarithm of the variance that a new `NoiseEstimate` returns: a standard deviation of 13 gray levels of 255."""
MIN_LOG_VARIANCE, MAX_LOG_VARIANCE = -20.0, 2.0
"""Limits of the logarithm of the variance, so that it is finite for any input."""


class NoiseEstimate(nn.Module):
    """Estimate of the variance of the noise in each cell, from the code. Blind estimates as in CBDNet, Guo et al. 2019.

    The mean over the cells is the variance of the whole picture, so that tiles of a picture can be estimated apart.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.hidden = nn.Conv2d(channels, HIDDEN, 1)
        self.log_variance = nn.Conv2d(HIDDEN, 1, 1)
        nn.init.zeros_(self.log_variance.weight)
        if self.log_variance.bias is not None:
            nn.init.constant_(self.log_variance.bias, INITIAL_LOG_VARIANCE)

    def forward(self, code: Tensor) -> Tensor:
        """Return the variances (N, h, w) on the 0..1 scale, from a code (N, channels, h, w)."""
        log_variance = self.log_variance(torch.relu(self.hidden(code)))
        return log_variance.clamp(MIN_LOG_VARIANCE, MAX_LOG_VARIANCE).exp()[:, 0]


class Modulation(nn.Module):
    """Scale and shift of each channel in proportion to an amount (FiLM, Perez et al., AAAI 2018).

    Both start at zero, so that a new layer returns its input. An amount of zero always does. `squares` is the number of
    pixels that are channels of one position, as before `pixel_shuffle`: all have the same scale and shift.
    """

    def __init__(self, channels: int, squares: int = 1) -> None:
        super().__init__()
        self.squares = squares
        self.scale = nn.Parameter(torch.zeros(channels, 1, 1))
        self.shift = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor, amount: Tensor) -> Tensor:
        """Return x * (1 + amount * scale) + amount * shift, for x (N, h, w, squares * channels), amount (N,).

        Channels are last, the order in which `pixel_shuffle` moves them: onnxruntime then reorders them only once.
        """
        amount = amount[:, None, None, None]
        scale, shift = (values.flatten().repeat(self.squares) for values in (self.scale, self.shift))
        return x * (1 + amount * scale) + amount * shift


def draw_strengths(count: int, generator: Generator, *, every: bool) -> Tensor:
    """Draw strengths (count,) evenly from 1 to MAX_STRENGTH; half of them are 1 unless `every` one is to be drawn."""
    strengths = 1 + (MAX_STRENGTH - 1) * torch.rand(count, generator=generator)
    if every:
        return strengths
    return torch.where(torch.rand(count, generator=generator) < 0.5, strengths, torch.ones(()))
