"""The pictures that are sent, seeded and made by code, and the bodies that carry them."""

import base64
import json
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[Any]
SIDE, PHOTO_SIDE = 28, 1024


def digits(count: int) -> Array:
    """Blurred blots of digits' size, N,28,28,1: compressible as written digits are, unlike noise."""
    random = np.random.default_rng(5)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    centres = random.uniform(6, 22, (count, 4, 2, 1, 1))
    distance = (rows - centres[:, :, 0]) ** 2 + (columns - centres[:, :, 1]) ** 2
    blots = 255 * np.exp(-distance / 8).max(axis=1)
    return np.where(blots < 8, 0, blots).astype(np.uint8)[..., np.newaxis]


def photo() -> Array:
    """One megapixel of soft colour with grain, H,W,3."""
    random = np.random.default_rng(6)
    coarse = Image.fromarray(random.integers(0, 256, (32, 32, 3), np.uint8))
    soft = np.asarray(coarse.resize((PHOTO_SIDE, PHOTO_SIDE), Image.Resampling.BICUBIC)).astype(np.float32)
    return np.clip(soft + random.normal(0, 8, soft.shape), 0, 255).astype(np.uint8)


def picture(pixels: Array, kind: str) -> bytes:
    """H,W,C as a picture file."""
    out = BytesIO()
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(out, kind, quality=90)
    return out.getvalue()


def npy(array: Array) -> bytes:
    """The array as a .npy file."""
    out = BytesIO()
    np.save(out, array)
    return out.getvalue()


def multipart(blob: bytes) -> tuple[bytes, str]:
    """A form with one field `image`, and its Content-Type."""
    head = (
        b'--edge\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'
    )
    return head + blob + b"\r\n--edge--\r\n", "multipart/form-data; boundary=edge"


def images(blob: bytes) -> bytes:
    """The JSON body of one picture."""
    return json.dumps({"images": [base64.b64encode(blob).decode()]}).encode()
