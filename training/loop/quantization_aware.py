"""Quantization-aware training: the forward pass rounds weights and activations as the int8 graph does.

Jacob et al., "Quantization and training of neural networks for efficient integer-arithmetic-only inference" (CVPR
2018). The gradient passes through the rounding unchanged (straight-through estimator, Bengio et al. 2013).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

LEVELS = 255
"""Steps of an activation between the least and the largest value in the batch."""
WEIGHT_LEVELS = 127
"""The integer that stands for the largest absolute weight of an output channel."""


class Int8Rounding(TorchFunctionMode):
    """Context manager within which convolutions, additions and subtractions of images round their operands to int8.

    These are the operators that `training.export.quantize` quantizes. Rounding operands instead of results rounds an
    activation function together with its convolution, as the int8 graph does. Ranges are those of the batch.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call the function of torch, with rounded operands if it is one of those."""
        kwargs = kwargs or {}
        if func is torch.conv2d:
            images, weights, *others = args
            return func(round_activations(images), round_weights(weights), *others, **kwargs)
        if func in _ELEMENTWISE and all(isinstance(operand, Tensor) and operand.ndim == 4 for operand in args[:2]):
            return func(*(round_activations(operand) for operand in args[:2]), *args[2:], **kwargs)
        return func(*args, **kwargs)


_ELEMENTWISE = (torch.Tensor.add, torch.Tensor.sub)


def round_activations(values: Tensor) -> Tensor:
    """Round to one of LEVELS + 1 evenly spaced values, among them zero; same shape and dtype."""
    with torch.no_grad():
        least, largest = values.aminmax()
        step = (largest.float().clamp(min=0) - least.float().clamp(max=0)).clamp(min=1e-12) / LEVELS
        error = (values / step).round_().mul_(step).sub_(values)
    return values + error


def round_weights(weights: Tensor) -> Tensor:
    """Round weights (out, in, height, width) to multiples of max|w| / WEIGHT_LEVELS of each output channel."""
    with torch.no_grad():
        steps = weights.abs().amax((1, 2, 3), keepdim=True).clamp(min=1e-12) / WEIGHT_LEVELS
        error = (weights / steps).round_().mul_(steps).sub_(weights)
    return weights + error
