"""What a net and its graph are compared on: batches and shapes of inputs, and what torch answers to them."""

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
"""Pixels of the probe's sides at most, where pictures of any size are taken: it lies in the card."""


def crop_to_probe(net: Autoencoder, items: Items) -> Items:
    """The items, or of pictures of any size a corner of each."""
    return items[:, :PROBE_SIDE, :PROBE_SIDE] if net.any_size else items


def operation_inputs(served: ExportModule, items: Items) -> NDArray[Any]:
    """Inputs of the operation, made from items: the items, or their codes."""
    if served.operation != "decode":
        return items
    return run_torch(ExportModule(served.net, "encode"), items)


def run_torch(served: ExportModule, given: NDArray[Any]) -> NDArray[Any]:
    """What the net answers, in torch."""
    with torch.no_grad():
        return served(torch.from_numpy(given.copy())).numpy()


def parity_inputs(served: ExportModule, items: Items) -> Iterator[NDArray[Any]]:
    """The batches to compare on, repeating items where there are too few; where any size is taken, odd ones too."""
    own = crop_to_probe(served.net, items)
    for count in BATCH_SIZES:
        yield operation_inputs(served, _repeat_to_shape(own, (count, *own.shape[1:])))
    if served.net.any_size and served.net.stride:
        stride, channels = served.net.stride, served.net.shape[0]
        for height, width in ((1, 1), (3 * stride + 1, 2 * stride - 1), (5 * stride, 4 * stride + 3)):
            yield _repeat_to_shape(items, (2, height, width, channels))
        yield items[:1]


def _repeat_to_shape(items: Items, shape: tuple[int, ...]) -> NDArray[Any]:
    """The items' values over and over, in that shape."""
    return np.resize(items, shape)
