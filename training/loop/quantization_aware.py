"""Quantization-aware training: the forward pass rounds weights and activations nearly as the int8 graph does.

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
WEIGHT_LEVELS = 63
"""The integer that stands for the largest absolute weight of an output channel."""


class Int8Rounding(TorchFunctionMode):
    """Context manager within which convolutions with kernels larger than 1x1 round their operands to int8.

    `training.export.int8_graph` quantizes these convolutions but the first and the last, which are not known here.
    Rounding operands instead of results rounds an activation function together with its convolution, as the int8 graph
    does. Ranges are those of the batch.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call the function of torch, with rounded operands if it is such a convolution."""
        kwargs = kwargs or {}
        if func is torch.conv2d:
            images, weights, *others = args
            if weights.shape[2:] != (1, 1):
                return func(round_activations(images), round_weights(weights), *others, **kwargs)
        return func(*args, **kwargs)


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
