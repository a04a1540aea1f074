"""Measures the bytes of codes over HTTP beside JPEG and WebP at the same quality.

Digits of the test set go to `/encode?format=bitstream` and their bitstreams to `/decode`. For JPEG and WebP the lowest
setting whose PSNR over all digits is at least as high is taken; if none is as low, that is its smallest file. Run it as
`python -m benchmarks.bitstreams --models FOLDER --data FOLDER`, after `hourglass-train fit digits-codec`.
"""

import argparse
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.foreign_models import png, serve
from benchmarks.load import Request
from training.data import load
from training.recipe import read_recipe
from training.studies.measures.codecs import FileKind, file_codec

Array = NDArray[Any]
BITSTREAM = "application/x-hourglass-bitstream"
KINDS: tuple[FileKind, ...] = ("JPEG", "WEBP")


def psnr(pictures: Array, originals: Array) -> float:
    """Return the PSNR in dB of the mean squared error over all pictures."""
    return float(-10 * np.log10(np.square(pictures.astype(np.float64) - originals).mean() / 255**2))


def bitstreams(server: Any, model: str, items: Array) -> tuple[float, Array]:
    """Return the mean bytes of the bitstreams of pictures uint8 (N, H, W, 1), and the decoded pictures."""
    sizes: list[int] = []
    decoded: list[Array] = []
    for item in items:
        data = server.post(Request(f"/encode?model={model}&format=bitstream", png(item.squeeze(2)), "image/png"))
        sizes.append(len(data))
        picture = server.post(Request(f"/decode?model={model}&format=png", data, BITSTREAM))
        decoded.append(np.asarray(Image.open(BytesIO(picture)).convert("L"))[..., np.newaxis])
    return float(np.mean(sizes)), np.stack(decoded)


def main() -> None:
    """Print bytes and PSNR of the bitstreams, and of JPEG and WebP at the quality next above."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, required=True, help="folder of models")
    parser.add_argument("--model", default="digits-codec")
    parser.add_argument("--data", type=Path, required=True, help="folder of data sets")
    parser.add_argument("--count", type=int, default=500)
    options = parser.parse_args()
    items = load(read_recipe(options.model).data, options.data).test[: options.count]
    with serve(options.models) as server:
        size, decoded = bitstreams(server, options.model, items)
    quality = psnr(decoded, items)
    print(f"bitstream: {size:.1f} bytes, {quality:.2f} dB")
    for kind in KINDS:
        results = ((setting, file_codec(kind, setting, items)) for setting in range(1, 101))
        setting, result = next((one for one in results if psnr(one[1].pictures, items) >= quality), (0, None))
        if result is None:
            sys.exit(f"{kind} does not reach {quality:.2f} dB")
        print(f"{kind} quality {setting}: {result.mean_bytes:.1f} bytes, {psnr(result.pictures, items):.2f} dB")


if __name__ == "__main__":
    main()
