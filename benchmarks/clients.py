"""Clients of every kind, and an operator, each in a thread, until an event stops them."""

import json
import random
import shutil
import socket
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import numpy as np
from numpy.typing import NDArray

from benchmarks import payloads
from service.card import CARD_FILE

HEAD = "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: {size}\r\n\r\n"


@dataclass
class Ledger:
    """Counts and errors so far, written by several threads."""

    counts: Counter[str] = field(default_factory=Counter[str])
    errors: list[str] = field(default_factory=list[str])
    memory: list[float] = field(default_factory=list[float])
    health: list[float] = field(default_factory=list[float])
    models: Path = Path("models")
    """The folder that is served; the operator changes it."""
    stop: threading.Event = field(default_factory=threading.Event)


def requests() -> list[tuple[str, bytes, str]]:
    """Return path, body and media type of valid requests."""
    digit, photo = payloads.digits(1)[0], payloads.photo()
    png, jpeg = payloads.picture(digit, "PNG"), payloads.picture(photo[:300, :400], "JPEG")
    return [
        ("/denoise?model=digits-denoise", png, "image/png"),
        ("/reconstruct?model=digits", png, "image/png"),
        ("/encode?model=digits", payloads.images(png), "application/json"),
        ("/encode?model=digits-sparse", payloads.npy(payloads.digits(32)), "application/x-npy"),
        ("/denoise?model=photo-fast", jpeg, "image/jpeg"),
        ("/denoise?model=photo-fast", payloads.picture(photo[:32, :32], "PNG"), "image/png"),
    ]


def good(port: int, book: Ledger, seed: int) -> None:
    """Send valid requests on a kept connection; each response must equal the first one, except for rounding."""
    chosen, asked = random.Random(seed), requests()  # noqa: S311 - not for secrets
    first: dict[int, NDArray[Any]] = {}
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    while not book.stop.is_set():
        at = chosen.randrange(len(asked))
        path, body, kind = asked[at]
        try:
            connection.request("POST", f"{path}&format=npy", body, {"Content-Type": kind})
            answer = connection.getresponse()
            data = answer.read()
        except (HTTPException, OSError) as error:
            connection.close()
            book.errors.append(f"{path}: {type(error).__name__}")
            continue
        book.counts[f"good {answer.status}"] += 1
        if answer.status != 200:
            book.errors.append(f"{path}: {answer.status} {data[:200]}")
            continue
        values = np.load(BytesIO(data)).astype(np.float64)
        before = first.setdefault(at, values)
        if values.shape != before.shape or np.abs(values - before).max() > (1e-3 if path.startswith("/encode") else 1):
            book.errors.append(f"{path}: another answer than before")


def bad(port: int, book: Ledger, seed: int) -> None:
    """Send corrupted requests: valid ones, truncated, overwritten and mislabelled at random."""
    chosen, asked = random.Random(seed), requests()  # noqa: S311 - not for secrets
    while not book.stop.is_set():
        path, body, kind = chosen.choice(asked)
        broken = bytearray(body)
        for _ in range(chosen.randrange(1, 20)):
            broken[chosen.randrange(len(broken))] = chosen.randrange(256)
        sent = bytes(broken[: chosen.randrange(1, len(broken) + 1)] if chosen.random() < 0.5 else broken)
        connection = HTTPConnection("127.0.0.1", port, timeout=60)
        try:
            connection.request("POST", path, sent, {"Content-Type": chosen.choice([kind, "image/png", "a/b", ""])})
            status = connection.getresponse().status
        except (HTTPException, OSError) as error:
            book.errors.append(f"bad input: {type(error).__name__}")
            continue
        finally:
            connection.close()
        book.counts[f"bad {status}"] += 1
        if status >= 500:
            book.errors.append(f"bad input was answered {status}")


def slow(port: int, book: Ledger, seed: int) -> None:
    """Send headers and bodies that never end, a byte at a time."""
    chosen = random.Random(seed)  # noqa: S311 - not for secrets
    while not book.stop.is_set():
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
            connection.sendall(b"POST /denoise HTTP/1.1\r\nHost: x\r\n")
            if chosen.random() < 0.5:
                connection.sendall(b"Content-Length: 100000\r\n\r\n")
            while not book.stop.wait(0.2):
                connection.sendall(b"a")
        book.counts["slow, closed"] += 1


def leaving(port: int, book: Ledger, seed: int) -> None:
    """Disconnect in the middle of a body, or right after it."""
    chosen, asked = random.Random(seed), requests()  # noqa: S311 - not for secrets
    while not book.stop.wait(0.01):
        path, body, kind = chosen.choice(asked)
        sent = body if chosen.random() < 0.5 else body[: len(body) // 2]
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
            connection.sendall(HEAD.format(path=path, kind=kind, size=len(body)).encode() + sent)
        book.counts["left"] += 1


def operator(port: int, book: Ledger, seed: int) -> None:
    """Publish the next version of a model, and remove the previous one when the new one serves."""
    place, version = book.models / "digits", 1
    while not book.stop.wait(0.2 + seed % 2):
        new = place / f".{version + 1}"
        shutil.copytree(place / str(version), new)
        card = json.loads((new / CARD_FILE).read_text())
        (new / CARD_FILE).write_text(json.dumps({**card, "version": version + 1}))
        new.rename(place / str(version + 1))
        while not book.stop.wait(0.05):
            with urlopen(f"http://127.0.0.1:{port}/models/digits", timeout=60) as answer:
                if json.load(answer)["version"] == version + 1:
                    book.counts["swaps"] += 1
                    break
        shutil.rmtree(place / str(version))
        version += 1


CLIENT_KINDS: dict[str, Callable[[int, Ledger, int], None]] = {
    "good": good,
    "bad": bad,
    "slow": slow,
    "leaving": leaving,
    "operator": operator,
}
