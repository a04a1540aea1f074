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
from training.evaluation.figures import CHUNK, eight_bits, errors
from training.loop.batches import as_float, as_tensor
from training.nets import Autoencoder
from training.studies.measures.range_coder import Symbols, Tables

Floats = NDArray[np.floating]
FileKind = Literal["JPEG", "WEBP"]
OPTIONS: dict[FileKind, dict[str, Any]] = {"JPEG": {"optimize": True}, "WEBP": {"method": 6}}
"""Each at its smallest."""


@dataclass(frozen=True, slots=True)
class Coded:
    """Pictures after a codec: what they are now, and the mean bytes of one. `moved`: share out of the tables' reach."""

    pictures: Items
    size: float
    moved: float = 0.0

    def point(self, wanted: Items) -> list[float]:
        """Bytes, and PSNR in dB of the mean squared error."""
        return [self.size, errors(self.pictures, wanted)["psnr"]]


def file_codec(kind: FileKind, quality: int, items: Items) -> Coded:
    """Every picture as a whole file, which is how such pictures are sent."""
    sizes: list[int] = []
    made: list[NDArray[np.uint8]] = []
    for item in items:
        file = BytesIO()
        Image.fromarray(item.squeeze()).save(file, kind, quality=quality, **OPTIONS[kind])
        sizes.append(len(file.getvalue()))
        opened = Image.open(file).convert("L" if item.shape[2] == 1 else "RGB")
        made.append(np.asarray(opened).reshape(item.shape))
    return Coded(np.stack(made), float(np.mean(sizes)))


class SymbolCodec:
    """Items to whole numbers, to bytes, and back. `encode`, `decode`: the two halves, of items and of symbols."""

    def __init__(self, train: Items, encode: Callable[[Items], Symbols], decode: Callable[[Symbols], Floats]) -> None:
        self.encode, self.decode = encode, decode
        self.tables = Tables(encode(train))

    def code(self, items: Items) -> Coded:
        """Each item by itself; raises ValueError where the bytes do not give the symbols back."""
        asked = self.encode(items)
        symbols = self.tables.within(asked)
        written = self.tables.write(symbols)
        read = self.tables.read(written)
        if not np.array_equal(read, symbols):
            raise ValueError("the bytes do not give the symbols back")
        made = eight_bits(self.decode(read)).reshape(items.shape)
        return Coded(made, float(np.mean([len(item) for item in written])), float(np.mean(asked != symbols)))


@dataclass(frozen=True, slots=True)
class Basis:
    """The principal components of a training set, as many as there are."""

    train: Items
    mean: Floats
    directions: Floats

    def codec(self, step: float) -> SymbolCodec:
        """All components, rounded to the same step (pixels in 0..1): the smaller ones come to 0 and cost nothing."""

        def encode(items: Items) -> Symbols:
            return np.round((flat(items) - self.mean) @ self.directions.T / step).astype(np.int32)

        return SymbolCodec(self.train, encode, lambda symbols: symbols * step @ self.directions + self.mean)


def basis(train: Items) -> Basis:
    """Of the training set, by scikit-learn."""
    solver = "covariance_eigh" if len(train) > train[0].size else "full"
    pca = PCA(svd_solver=solver).fit(flat(train))
    return Basis(train, np.asarray(pca.mean_, np.float32), np.asarray(pca.components_, np.float32))


def net_codec(net: Autoencoder, train: Items) -> SymbolCodec:
    """A compressive net: its codes are symbols already."""

    @torch.no_grad()
    def encode(items: Items) -> Symbols:
        codes = [net.encode(as_float(chunk)) for chunk in as_tensor(items).split(CHUNK)]
        return torch.cat(codes).numpy().astype(np.int32)

    @torch.no_grad()
    def decode(symbols: Symbols) -> Floats:
        chunks = torch.from_numpy(symbols.astype(np.float32)).split(CHUNK)
        made = torch.cat([net.finish(net.decode(chunk)) for chunk in chunks])
        return np.moveaxis(made.numpy(), 1, 3)

    return SymbolCodec(train, encode, decode)


def flat(items: Items) -> NDArray[np.float32]:
    """N,features in 0..1."""
    return items.reshape(len(items), -1).astype(np.float32) / np.float32(255)
