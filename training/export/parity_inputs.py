"""What a net and its graph are compared on: batches and shapes of inputs, and what torch answers to them."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from training.data import Items
from training.export.onnx_graph import Served
from training.nets import Autoencoder

BATCHES = (1, 2, 7, 64)
PROBE_SIDE = 43
"""Pixels of the probe's sides at most, where pictures of any size are taken: it lies in the card."""


def small(net: Autoencoder, items: Items) -> Items:
    """The items, or of pictures of any size a corner of each."""
    return items[:, :PROBE_SIDE, :PROBE_SIDE] if net.any_size else items


def inputs(served: Served, items: Items) -> NDArray[Any]:
    """Inputs of the operation, made from items: the items, or their codes."""
    if served.operation != "decode":
        return items
    return torch_answer(Served(served.net, "encode"), items)


def torch_answer(served: Served, given: NDArray[Any]) -> NDArray[Any]:
    """What the net answers, in torch."""
    with torch.no_grad():
        return served(torch.from_numpy(given.copy())).numpy()


def trials(served: Served, items: Items) -> Iterator[NDArray[Any]]:
    """The batches to compare on, repeating items where there are too few; where any size is taken, odd ones too."""
    own = small(served.net, items)
    for count in BATCHES:
        yield inputs(served, _repeated(own, (count, *own.shape[1:])))
    if served.net.any_size and served.net.stride:
        stride, channels = served.net.stride, served.net.shape[0]
        for height, width in ((1, 1), (3 * stride + 1, 2 * stride - 1), (5 * stride, 4 * stride + 3)):
            yield _repeated(items, (2, height, width, channels))
        yield items[:1]


def _repeated(items: Items, shape: tuple[int, ...]) -> NDArray[Any]:
    """The items' values over and over, in that shape."""
    return np.resize(items, shape)
