"""Random numbers from a generator: a tensor N,1,1,1 with one number per image, or a single Python number."""

import torch
from torch import Generator, Tensor


def uniform(span: tuple[float, float], count: int, generator: Generator) -> Tensor:
    """Draw `count` numbers uniformly from `span`, a pair of the lowest and highest value: N,1,1,1."""
    low, high = span
    return torch.rand(count, 1, 1, 1, generator=generator).mul_(high - low).add_(low)


def log_uniform(span: tuple[float, float], count: int, generator: Generator) -> Tensor:
    """Draw `count` numbers whose logarithms are uniform between those of `span`, both positive: N,1,1,1."""
    low, high = torch.tensor(span).log().tolist()
    return uniform((low, high), count, generator).exp_()


def chance(probability: float, count: int, generator: Generator) -> Tensor:
    """Draw `count` booleans, each true with the given probability: N,1,1,1."""
    return torch.rand(count, 1, 1, 1, generator=generator) < probability


def normal(like: Tensor, generator: Generator, channels: int | None = None) -> Tensor:
    """Draw white noise of unit variance in the shape of `like`, or with another number of channels: N,C,H,W."""
    count, own, height, width = like.shape
    return torch.randn(count, channels or own, height, width, generator=generator)


def choice(weights: list[float], count: int, generator: Generator) -> Tensor:
    """Draw `count` indices, each index with a probability proportional to its weight: int64 N."""
    return torch.multinomial(torch.tensor(weights), count, replacement=True, generator=generator)


def coin(probability: float, generator: Generator) -> bool:
    """Draw one boolean that is true with the given probability. Nothing is drawn if the probability is 0."""
    return probability > 0 and bool(torch.rand(1, generator=generator) < probability)


def integer(low: int, high: int, generator: Generator) -> int:
    """Draw one integer from low to high, both included."""
    return int(torch.randint(low, high + 1, (1,), generator=generator))
