"""Array operations that the studies share: flat pictures in float64, and operations of a network on NumPy arrays."""

import numpy as np
from numpy.typing import NDArray

from training.data import Items
from training.evaluation.metrics import GraphFunction
from training.export.onnx_graph import ExportModule
from training.export.parity_inputs import run_torch
from training.nets import Autoencoder, Operation


def flatten64(items: Items) -> NDArray[np.float64]:
    """Return pictures uint8 (N, H, W, C) as float64 (N, features) in 0..1."""
    return items.reshape(len(items), -1).astype(np.float64) / 255


def torch_operation(net: Autoencoder, operation: Operation) -> GraphFunction:
    """Return an operation of a network in PyTorch that takes and returns the same arrays as its exported graph."""
    module = ExportModule(net, operation).eval()
    return lambda items: run_torch(module, items)
