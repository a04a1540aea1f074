"""Codecs of pictures: how many bytes they take and what they give back. JPEG, WebP, PCA, and a compressive net.

JPEG and WebP write files; the others write symbols by tables counted on the training set, and what is measured of them
has been read again from those bytes. Knows no study.
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
from training.evaluation.figures import MAX_BATCH_ITEMS, error_figures, to_uint8
from training.loop.batches import as_tensor, to_float
from training.nets import Autoencoder
from training.studies.measures.range_coder import RangeCoder, Symbols

Floats = NDArray[np.floating]
FileKind = Literal["JPEG", "WEBP"]
OPTIONS: dict[FileKind, dict[str, Any]] = {"JPEG": {"optimize": True}, "WEBP": {"method": 6}}
"""Each at its smallest."""


@dataclass(frozen=True, slots=True)
class CodecResult:
    """Pictures after a codec: what they are now, and the mean bytes of one.

    `clipped_share`: of the symbols, those out of the tables' reach.
    """

    pictures: Items
    mean_bytes: float
    clipped_share: float = 0.0

    def point(self, wanted: Items) -> list[float]:
        """Bytes, and PSNR in dB of the mean squared error."""
        return [self.mean_bytes, error_figures(self.pictures, wanted)["psnr"]]


def file_codec(kind: FileKind, quality: int, items: Items) -> CodecResult:
    """Every picture as a whole file, which is how such pictures are sent."""
    sizes: list[int] = []
    made: list[NDArray[np.uint8]] = []
    for item in items:
        file = BytesIO()
        Image.fromarray(item.squeeze()).save(file, kind, quality=quality, **OPTIONS[kind])
        sizes.append(len(file.getvalue()))
        opened = Image.open(file).convert("L" if item.shape[2] == 1 else "RGB")
        made.append(np.asarray(opened).reshape(item.shape))
    return CodecResult(np.stack(made), float(np.mean(sizes)))


class SymbolCodec:
    """Items to whole numbers, to bytes, and back. `encode`, `decode`: the two halves, of items and of symbols."""

    def __init__(self, train: Items, encode: Callable[[Items], Symbols], decode: Callable[[Symbols], Floats]) -> None:
        self.encode, self.decode = encode, decode
        self.coder = RangeCoder(encode(train))

    def round_trip(self, items: Items) -> CodecResult:
        """Each item by itself; raises ValueError where the bytes do not give the symbols back."""
        asked = self.encode(items)
        symbols = self.coder.clip(asked)
        written = self.coder.encode(symbols)
        read = self.coder.decode(written)
        if not np.array_equal(read, symbols):
            raise ValueError("the bytes do not give the symbols back")
        made = to_uint8(self.decode(read)).reshape(items.shape)
        return CodecResult(made, float(np.mean([len(item) for item in written])), float(np.mean(asked != symbols)))


@dataclass(frozen=True, slots=True)
class PcaBasis:
    """The principal components of a training set, as many as there are."""

    train: Items
    mean: Floats
    directions: Floats

    def codec(self, step: float) -> SymbolCodec:
        """All components, rounded to the same step (pixels in 0..1): the smaller ones come to 0 and cost nothing."""

        def encode(items: Items) -> Symbols:
            return np.round((flatten(items) - self.mean) @ self.directions.T / step).astype(np.int32)

        return SymbolCodec(self.train, encode, lambda symbols: symbols * step @ self.directions + self.mean)


def fit_pca(train: Items) -> PcaBasis:
    """Of the training set, by scikit-learn."""
    solver = "covariance_eigh" if len(train) > train[0].size else "full"
    pca = PCA(svd_solver=solver).fit(flatten(train))
    return PcaBasis(train, np.asarray(pca.mean_, np.float32), np.asarray(pca.components_, np.float32))


def net_codec(net: Autoencoder, train: Items) -> SymbolCodec:
    """A compressive net: its codes are symbols already."""

    @torch.no_grad()
    def encode(items: Items) -> Symbols:
        codes = [net.encode(to_float(chunk)) for chunk in as_tensor(items).split(MAX_BATCH_ITEMS)]
        return torch.cat(codes).numpy().astype(np.int32)

    @torch.no_grad()
    def decode(symbols: Symbols) -> Floats:
        chunks = torch.from_numpy(symbols.astype(np.float32)).split(MAX_BATCH_ITEMS)
        made = torch.cat([net.activate_output(net.decode(chunk)) for chunk in chunks])
        return np.moveaxis(made.numpy(), 1, 3)

    return SymbolCodec(train, encode, decode)


def flatten(items: Items) -> NDArray[np.float32]:
    """N,features in 0..1."""
    return items.reshape(len(items), -1).astype(np.float32) / np.float32(255)
