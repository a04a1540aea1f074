"""`make fuzz`: run the parsers of untrusted bytes under atheris, each for a limited time, and save failing inputs.

A target accepts any bytes. It returns a valid value or raises the Problem of the response. Inputs that fail are saved
in tests/findings, and test_fuzz.py runs all files there.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pydantic import ValidationError

from service.card import Card, read_card
from service.codec import decode, read_npy, write_npy
from service.errors import Problem
from service.http.parameters import parse_query
from service.http.unpack import JSON, unpack
from service.repository.onnx_check import check_model

FINDINGS = Path(__file__).parents[1] / "findings"
MODELS = Path(__file__).parents[2] / "models"
PIXELS = 1 << 20
DIGITS: Card = read_card((MODELS / "digits" / "1" / "card.json").read_bytes())
POINTS: Card = read_card((MODELS / "points-3d" / "1" / "card.json").read_bytes())


def picture(data: bytes) -> None:
    """Decode a picture, with every format enabled."""
    with suppress(Problem):
        decoded = decode(data, formats={"png", "jpeg", "webp", "gif", "bmp", "tiff"}, max_pixels=PIXELS)
        height, width, channels = decoded.pixels.shape
        assert decoded.pixels.dtype == np.uint8
        assert 0 < height * width <= PIXELS
        assert channels in (1, 3)


def npy(data: bytes) -> None:
    with suppress(Problem):
        assert read_npy(data).dtype.kind in "fiub"


def body(data: bytes) -> None:
    """Parse a request body, whose media type the first byte selects."""
    kinds = (JSON, "multipart/form-data; boundary=b", "application/x-npy", "image/png")
    with suppress(Problem):
        unpack(data[1:], kinds[data[0] % len(kinds)] if data else "", DIGITS, "denoise", 64)
    with suppress(Problem):
        unpack(data[1:], JSON, POINTS, "encode", 64)


def head(data: bytes) -> None:
    """Parse a query, an Accept header and a Content-Type, one a line."""
    query, accept, kind = [*data.split(b"\n", 2), b"", b""][:3]
    with suppress(Problem):
        parameters = parse_query(query, accept, kind, "denoise")
        assert 0 <= parameters.strength <= 2


def card(data: bytes) -> None:
    with suppress(ValidationError):
        read_card(data)


def graph(data: bytes) -> None:
    with suppress(Problem):
        check_model(data, "a.onnx")


TARGETS: dict[str, Callable[[bytes], None]] = {
    "picture": picture,
    "npy": npy,
    "body": body,
    "head": head,
    "card": card,
    "graph": graph,
}


def seeds(target: str) -> Sequence[bytes]:
    """Return valid inputs, from which the fuzzer starts."""
    random = np.random.default_rng(0)
    grey, colour = (random.integers(0, 256, (9, 11, channels), np.uint8) for channels in (1, 3))
    if target == "picture":
        return [
            _file(pixels, kind) for pixels in (grey, colour) for kind in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
        ]
    if target == "npy":
        return [write_npy(grey), write_npy(grey / np.float32(255)), write_npy(np.zeros((2, 3), ">f8"))]
    if target == "body":
        form = b'--b\r\nContent-Disposition: form-data; name="image"; filename="x"\r\n\r\n' + _file(grey, "PNG")
        values = json.dumps({"values": [[1, 2.5, -3]]}).encode()
        return [
            b"\0" + b'{"images": ["aGVsbG8="]}',
            b"\0" + values,
            b"\1" + form + b"\r\n--b--\r\n",
            b"\2" + write_npy(grey),
        ]
    if target == "head":
        return [b"model=digits&version=1&strength=0.5&grayscale=true\nimage/webp;q=0.5, */*\nimage/png; a=b"]
    if target == "card":
        return [(MODELS / "points-3d" / "1" / "card.json").read_bytes()]
    return [(MODELS / "points-3d" / "1" / "encode.onnx").read_bytes()]


def _file(pixels: Any, kind: str) -> bytes:
    out = BytesIO()
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(out, kind)
    return out.getvalue()


def run(target: str, seconds: int) -> bool:
    """Run atheris on one target in a process, save the inputs that fail, and return whether there were none."""
    with tempfile.TemporaryDirectory() as folder:
        for number, seed in enumerate(seeds(target)):
            (Path(folder) / str(number)).write_bytes(seed)
        limits = [f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=2048", "-max_len=65536"]
        kept = f"-artifact_prefix={FINDINGS}/{target}-"
        command = [sys.executable, "-m", "tests.support.fuzz", "--within", target, folder, *limits, kept]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = [line for line in done.stderr.splitlines() if line.startswith(("Done", "SUMMARY"))]
    print(f"{target}: {said[-1] if done.returncode == 0 and said else done.stderr[-2000:]}", flush=True)
    return done.returncode == 0


def within(target: str, arguments: list[str]) -> None:
    """Run atheris in this process; it does not return."""
    atheris: Any = import_module("atheris")
    atheris.instrument_all()
    atheris.Setup([sys.argv[0], *arguments], TARGETS[target])
    atheris.Fuzz()


def main() -> None:
    if sys.argv[1:2] == ["--within"]:
        within(sys.argv[2], sys.argv[3:])
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", help=f"targets to run: {', '.join(TARGETS)} (default: all)")
    parser.add_argument("--seconds", type=int, default=60, help="time per target in seconds")
    arguments = parser.parse_args()
    passed = [run(target, arguments.seconds) for target in arguments.targets or TARGETS]
    sys.exit(0 if all(passed) else 1)


if __name__ == "__main__":
    main()
