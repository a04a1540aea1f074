"""Who may ask: named keys, each with the operations it is for and a rate, where the operator wants keys at all.

The file holds a line for each key, `NAME SHA256 [OPERATION,...]`: of the key itself nobody but its owner knows. Knows
headers and paths; no model, and nothing of what an answer holds.
"""

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import get_args

from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from service.card import Operation
from service.errors import Forbidden, RateLimited, Unauthorized

PUBLIC_PATHS = frozenset({"/livez", "/readyz", "/", "/docs", "/openapi.json"})
STATIC_PREFIX = "/static/"  # what the page of the document loads
KEY_LINE = re.compile(r"(?P<name>[A-Za-z0-9._-]{1,64})\s+(?P<digest>[0-9a-f]{64})(?:\s+(?P<operations>[a-z,]+))?")


@dataclass(frozen=True, slots=True)
class Key:
    """A key that is known: the SHA-256 of it, and the paths that it opens; None: all."""

    name: str
    digest: bytes
    paths: frozenset[str] | None


class ApiKeys:
    """The keys of a service. `rate`: as `100/minute`, for each key; empty: as many as they like."""

    def __init__(self, keys: list[Key], rate: str = "", workers: int = 1) -> None:
        self._keys = keys
        self._rate_limit: RateLimitItem | None = None
        if rate:
            whole = parse(rate)
            self._rate_limit = type(whole)(max(1, ceil(whole.amount / workers)), whole.multiples)
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    @classmethod
    def from_file(cls, file: Path, rate: str = "", workers: int = 1) -> "ApiKeys":
        """Of a file of keys; `share`: processes that the rate is divided among. Raises ValueError naming the line."""
        try:
            lines = file.read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"the file of keys {file} cannot be read: {type(error).__name__}") from error
        keys = [_parse_line(file, number, line) for number, line in enumerate(lines, 1) if line.split("#")[0].strip()]
        if len({key.name for key in keys}) < len(keys):
            raise ValueError(f"{file} names a key twice")
        if not keys:
            raise ValueError(f"{file} holds no key; `hourglass key NAME` makes one")
        return cls(keys, rate, workers)

    def authorize(self, path: str, headers: Mapping[bytes, bytes]) -> str:
        """The name of the key that a request came with; empty where none is needed.

        Raises Unauthorized, Forbidden or RateExceeded.
        """
        if path in PUBLIC_PATHS or path.startswith(STATIC_PREFIX):
            return ""
        key = self._find(_credentials(headers))
        if key.paths is not None and path not in key.paths:
            raise Forbidden(f"the key {key.name} is for {', '.join(sorted(key.paths))}")
        if self._rate_limit and not self._limiter.hit(self._rate_limit, key.name):
            again = self._limiter.get_window_stats(self._rate_limit, key.name).reset_time - time.time()
            if again <= self._rate_limit.get_expiry():
                again = str(max(1, ceil(again)))
                raise RateLimited(f"at most {self._rate_limit} for a key", headers={"retry-after": again})
            self._limiter = MovingWindowRateLimiter(MemoryStorage())  # the clock was set back: count anew
        return key.name

    def _find(self, given: bytes) -> Key:
        digest = hashlib.sha256(given).digest()
        found: Key | None = None
        for key in self._keys:  # all of them, each in constant time: when the answer comes says nothing
            if hmac.compare_digest(key.digest, digest):
                found = key
        if found is None:
            said = "this key is not known" if given else "send a key as `Authorization: Bearer KEY` or `X-API-Key: KEY`"
            raise Unauthorized(said, headers={"www-authenticate": "Bearer"})
        return found


def new_key(name: str) -> tuple[str, str]:
    """A new key, to be given to its owner, and its line for the file of keys."""
    key = f"hg_{secrets.token_urlsafe(32)}"
    return key, f"{name} {hashlib.sha256(key.encode()).hexdigest()}"


def _credentials(headers: Mapping[bytes, bytes]) -> bytes:
    scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
    return token.strip() if scheme.lower() == b"bearer" else headers.get(b"x-api-key", b"").strip()


def _parse_line(file: Path, number: int, line: str) -> Key:
    match = KEY_LINE.fullmatch(line.split("#")[0].strip())
    operations = match and match["operations"] and match["operations"].split(",")
    if not match or (operations and not set(operations) <= set(get_args(Operation))):
        raise ValueError(f"{file}, line {number}: wanted NAME SHA256 [OPERATION,...], as `hourglass key NAME` makes it")
    paths = frozenset(f"/{operation}" for operation in operations) if operations else None
    return Key(match["name"], bytes.fromhex(match["digest"]), paths)
