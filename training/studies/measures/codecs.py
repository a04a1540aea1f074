"""Picture codecs and their results, bytes and decoded pictures: JPEG, WebP, PCA and compressive networks.

JPEG and WebP are measured as files. The other codecs encode integers with a range coder whose tables are counted on the
training set; their pictures are decoded from the encoded bytes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.decomposition import PCA

from training.data import Items
from training.evaluation.metrics import MAX_BATCH_ITEMS, error_metrics, flatten, to_uint8
from training.export.code_tables import Symbols, fit_range_coder
from training.loop.batches import as_tensor, to_float
from training.nets import Autoencoder

Floats = NDArray[np.floating]
FileKind = Literal["JPEG", "WEBP"]
OPTIONS: dict[FileKind, dict[str, Any]] = {"JPEG": {"optimize": True}, "WEBP": {"method": 6}}
"""Pillow's options for the smallest files of each format."""


@dataclass(frozen=True, slots=True)
class CodecResult:
    """Result of encoding and decoding pictures."""

    pictures: Items
    """Decoded pictures, uint8 (N, H, W, C)."""
    mean_bytes: float
    """Mean size of an encoded picture in bytes."""
    clipped_share: float = 0.0
    """Fraction of the symbols that were clipped to the range of the tables."""

    def point(self, originals: Items) -> list[float]:
        """Return the mean bytes and the PSNR in dB of the mean squared error over all pictures."""
        return [self.mean_bytes, error_metrics(self.pictures, originals)["psnr"]]


def file_codec(kind: FileKind, quality: int, items: Items) -> CodecResult:
    """Encode every picture of `items` uint8 (N, H, W, C) as a complete file of its own, and decode it."""
    sizes: list[int] = []
    decoded: list[NDArray[np.uint8]] = []
    for item in items:
        file = BytesIO()
        Image.fromarray(item.squeeze()).save(file, kind, quality=quality, **OPTIONS[kind])
        sizes.append(len(file.getvalue()))
        picture = Image.open(file).convert("L" if item.shape[2] == 1 else "RGB")
        decoded.append(np.asarray(picture).reshape(item.shape))
    return CodecResult(np.stack(decoded), float(np.mean(sizes)))


class SymbolCodec:
    """Codec of a transform to integers and a range coder.

    Args:
        train: Training pictures, whose symbols the tables of the range coder are counted on.
        encode: Function from pictures uint8 (N, H, W, C) to symbols int32 (N, units).
        decode: Function from symbols to pictures in 0..1, of any shape with N first.
    """

    def __init__(self, train: Items, encode: Callable[[Items], Symbols], decode: Callable[[Symbols], Floats]) -> None:
        self.encode, self.decode = encode, decode
        self.coder = fit_range_coder(encode(train))

    def round_trip(self, items: Items) -> CodecResult:
        """Encode every picture by itself and decode it.

        Raises:
            ValueError: The decoded symbols differ from the encoded ones.
        """
        unclipped = self.encode(items)
        symbols = self.coder.clip(unclipped)
        encoded = self.coder.encode(symbols)
        decoded = self.coder.decode(encoded)
        if not np.array_equal(decoded, symbols):
            raise ValueError("the decoded symbols differ from the encoded ones")
        pictures = to_uint8(self.decode(decoded)).reshape(items.shape)
        mean_bytes = float(np.mean([len(item) for item in encoded]))
        return CodecResult(pictures, mean_bytes, float(np.mean(unclipped != symbols)))


@dataclass(frozen=True, slots=True)
class PcaBasis:
    """All principal components of a training set."""

    train: Items
    """Training pictures, uint8 (N, H, W, C)."""
    mean: Floats
    """Mean picture in 0..1, float32 (features,)."""
    directions: Floats
    """Orthonormal directions by decreasing variance, float32 (components, features)."""

    def codec(self, step: float) -> SymbolCodec:
        """Return a codec that rounds all components to multiples of `step`, for pixels in 0..1.

        Components with a small variance round to 0 and cost almost nothing.
        """

        def encode(items: Items) -> Symbols:
            return np.round((flatten(items) - self.mean) @ self.directions.T / step).astype(np.int32)

        return SymbolCodec(self.train, encode, lambda symbols: symbols * step @ self.directions + self.mean)


def fit_pca(train: Items) -> PcaBasis:
    """Compute all principal components of pictures uint8 (N, H, W, C) with scikit-learn."""
    solver = "covariance_eigh" if len(train) > train[0].size else "full"
    pca = PCA(svd_solver=solver).fit(flatten(train))
    return PcaBasis(train, np.asarray(pca.mean_, np.float32), np.asarray(pca.components_, np.float32))


def net_codec(net: Autoencoder, train: Items) -> SymbolCodec:
    """Return the codec of a compressive network, whose codes are integers."""

    @torch.no_grad()
    def encode(items: Items) -> Symbols:
        codes = [net.encode(to_float(chunk)) for chunk in as_tensor(items).split(MAX_BATCH_ITEMS)]
        return torch.cat(codes).numpy().astype(np.int32)

    @torch.no_grad()
    def decode(symbols: Symbols) -> Floats:
        chunks = torch.from_numpy(symbols.astype(np.float32)).split(MAX_BATCH_ITEMS)
        outputs = torch.cat([net.activate_output(net.decode(chunk)) for chunk in chunks])
        return np.moveaxis(outputs.numpy(), 1, 3)

    return SymbolCodec(train, encode, decode)
