"""What tests read from a page of the playground, and the same from the API."""

import base64
from io import BytesIO
from typing import Any

import httpx2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Page

from service.codec.npy import read_npy, write_npy

Array = NDArray[Any]
NPY = "application/x-npy"

PAGE_SCRIPT = """window.createdBlobs = new Map();
const create = URL.createObjectURL.bind(URL);
URL.createObjectURL = (blob) => {
  const url = create(blob);
  window.createdBlobs.set(url, blob);
  return url;
};
window.toBase64 = (bytes) => {
  let text = "";
  for (let at = 0; at < bytes.length; at += 32768) text += String.fromCharCode(...bytes.subarray(at, at + 32768));
  return btoa(text);
};"""  # the policy of the page forbids to fetch the address of a blob
READ_CANVAS = """(selector) => {
  const canvas = document.querySelector(selector);
  const { width, height } = canvas;
  const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
  return [width, height, window.toBase64(data)];
}"""
READ_IMAGE = """async (selector) => {
  const blob = window.createdBlobs.get(document.querySelector(selector).src);
  return window.toBase64(new Uint8Array(await blob.arrayBuffer()));
}"""


def canvas_pixels(page: Page, selector: str) -> Array:
    """Return the pixels of a canvas: uint8 H,W,4."""
    width, height, values = page.evaluate(READ_CANVAS, selector)
    return np.frombuffer(base64.b64decode(values), np.uint8).reshape(height, width, 4)


def canvas_digit(page: Page, selector: str) -> Array:
    """Return the gray values of a canvas: uint8 H,W."""
    return canvas_pixels(page, selector)[..., 0]


def image_file(page: Page, selector: str) -> bytes:
    """Return the file that an image element shows."""
    return base64.b64decode(page.evaluate(READ_IMAGE, selector))


def open_image(data: bytes) -> Array:
    """Return the pixels of a picture file as int16 H,W,3."""
    with Image.open(BytesIO(data)) as picture:
        return np.asarray(picture.convert("RGB")).astype(np.int16)


def call(address: str, path: str, array: Array, **query: str) -> Array:
    """Return the array that an operation of the API answers to an array."""
    headers = {"Content-Type": NPY, "Accept": NPY}
    answer = httpx2.post(f"{address}/{path}", content=write_npy(array), headers=headers, params=query, timeout=60)
    assert answer.status_code == 200, answer.text
    return read_npy(answer.content)


def call_json(address: str, path: str, array: Array, **query: str) -> Any:
    """Return the JSON that an operation of the API answers to an array."""
    headers = {"Content-Type": NPY, "Accept": "application/json"}
    answer = httpx2.post(f"{address}/{path}", content=write_npy(array), headers=headers, params=query, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()


def denoise_file(address: str, data: bytes, kind: str, **query: str) -> httpx2.Response:
    """Return the response of /denoise to a picture file."""
    answer = httpx2.post(f"{address}/denoise", content=data, headers={"Content-Type": kind}, params=query, timeout=120)
    assert answer.status_code == 200, answer.text
    return answer


def picture(width: int, height: int, kind: str = "PNG", seed: int = 0, **extra: Any) -> bytes:
    """Return a picture file: a smooth ramp with a little noise, different for each seed."""
    random = np.random.default_rng(seed)
    ramp = np.linspace(60, 190, width)[None, :, None] + np.linspace(0, 30, height)[:, None, None]
    pixels = np.clip(ramp + random.normal(0, 6, (height, width, 3)) + 5 * seed, 0, 255).astype(np.uint8)
    out = BytesIO()
    Image.fromarray(pixels).save(out, kind, **extra)
    return out.getvalue()
