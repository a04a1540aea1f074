"""The inputs on which a net and its graphs are compared, and the net's outputs in torch."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from training.data import Items
from training.export.onnx_graph import ExportModule
from training.nets import Autoencoder

BATCH_SIZES = (1, 2, 7, 64)
PROBE_SIDE = 43
"""Maximum side of the probe in pixels if the net accepts any size, because the card contains its values."""


def crop_to_probe(net: Autoencoder, items: Items) -> Items:
    """Return the items (N, ...), or their top left corners if the net accepts images of any size."""
    return items[:, :PROBE_SIDE, :PROBE_SIDE] if net.any_size else items


def operation_inputs(module: ExportModule, items: Items) -> NDArray[Any]:
    """Return inputs of the operation from items (N, ...): their codes for `decode`, else the items themselves."""
    if module.operation != "decode":
        return items
    return run_torch(ExportModule(module.net, "encode"), items)


def run_torch(module: ExportModule, inputs: NDArray[Any], strengths: NDArray[Any] | None = None) -> NDArray[Any]:
    """Run an operation in torch, on inputs and with the first output as ExportModule describes them."""
    with torch.no_grad():
        values = torch.from_numpy(inputs.copy())
        outputs = module(values) if strengths is None else module(values, torch.from_numpy(strengths))
        return (outputs[0] if isinstance(outputs, tuple) else outputs).numpy()


def parity_inputs(module: ExportModule, items: Items) -> Iterator[NDArray[Any]]:
    """Yield batches of inputs of several sizes, repeating the items (N, ...) if there are too few.

    If the net accepts images of any size, some have sides that are no multiples of its stride, down to one pixel.
    """
    cropped = crop_to_probe(module.net, items)
    for count in BATCH_SIZES:
        yield operation_inputs(module, _repeat_to_shape(cropped, (count, *cropped.shape[1:])))
    if module.net.any_size and module.net.stride:
        stride, channels = module.net.stride, module.net.shape[0]
        for height, width in ((1, 1), (3 * stride + 1, 2 * stride - 1), (5 * stride, 4 * stride + 3)):
            yield _repeat_to_shape(items, (2, height, width, channels))
        yield items[:1]


def _repeat_to_shape(items: Items, shape: tuple[int, ...]) -> NDArray[Any]:
    """Return the values of the items, repeated, in another shape."""
    return np.resize(items, shape)
