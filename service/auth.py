"""API keys and rate limits.

The keys file has one line per key, `NAME SHA256 [OPERATION,...]`. It contains hashes only, never a key itself.
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
from typing import TYPE_CHECKING, get_args

from service.card import Operation
from service.errors import Forbidden, RateLimited, Unauthorized

if TYPE_CHECKING:  # `limits` imports much, and only services with a rate limit need it
    from limits import RateLimitItem
    from limits.strategies import MovingWindowRateLimiter

PUBLIC_PATHS = frozenset({"/livez", "/readyz", "/", "/docs", "/openapi.json", "/v2/health/live", "/v2/health/ready"})
STATIC_PREFIX = "/static/"  # files of /docs and the playground
KEY_LINE = re.compile(r"(?P<name>[A-Za-z0-9._-]{1,64})\s+(?P<digest>[0-9a-f]{64})(?:\s+(?P<operations>[a-z,]+))?")


@dataclass(frozen=True, slots=True)
class Key:
    """A known key: its SHA-256 digest and the paths it gives access to, or None for all paths."""

    name: str
    digest: bytes
    paths: frozenset[str] | None


class RateLimiter:
    """Counts the requests of each key in a moving window. `rate` is divided among the `workers`."""

    def __init__(self, rate: str, workers: int) -> None:
        from limits import parse

        whole = parse(rate)
        self._limit: RateLimitItem = type(whole)(max(1, ceil(whole.amount / workers)), whole.multiples)
        self._limiter = _new_limiter()

    def count(self, name: str) -> None:
        """Count a request of a key. Raises RateLimited."""
        if self._limiter.hit(self._limit, name):
            return
        seconds = self._limiter.get_window_stats(self._limit, name).reset_time - time.time()
        if seconds <= self._limit.get_expiry():
            retry_after = str(max(1, ceil(seconds)))
            raise RateLimited(f"the limit is {self._limit} per key", headers={"retry-after": retry_after})
        self._limiter = _new_limiter()  # the wall clock was set back: start counting again


def _new_limiter() -> "MovingWindowRateLimiter":
    from limits.storage import MemoryStorage
    from limits.strategies import MovingWindowRateLimiter

    return MovingWindowRateLimiter(MemoryStorage())


class ApiKeys:
    """The API keys of a service.

    `rate`: limit per key, such as `100/minute`; empty for none. It is divided among the `workers`.
    """

    def __init__(self, keys: list[Key], rate: str = "", workers: int = 1) -> None:
        self._keys = keys
        self._limiter = RateLimiter(rate, workers) if rate else None

    @classmethod
    def from_file(cls, file: Path, rate: str = "", workers: int = 1) -> "ApiKeys":
        """Read the keys file. Raises ValueError, which names the line, if it is invalid."""
        try:
            lines = file.read_text("utf-8").splitlines()
        except OSError as error:
            raise ValueError(f"the keys file {file} cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise ValueError(f"the keys file {file} cannot be read: it is not UTF-8") from error
        keys: list[Key] = []
        first_lines: dict[str, int] = {}
        for number, line in enumerate(lines, 1):
            if not line.split("#")[0].strip():
                continue
            key = _parse_line(file, number, line)
            if (first := first_lines.setdefault(key.name, number)) != number:
                raise ValueError(f"{file}, line {number}: the name {key.name} is that of line {first}; remove one")
            keys.append(key)
        if not keys:
            raise ValueError(f"{file} contains no key; create one with `hourglass key NAME >> {file}`")
        return cls(keys, rate, workers)

    def authorize(self, path: str, headers: Mapping[bytes, bytes]) -> str:
        """Return the name of the key of a request, or an empty string for public paths.

        Raises Unauthorized, Forbidden or RateLimited.
        """
        if path in PUBLIC_PATHS or path.startswith(STATIC_PREFIX):
            return ""
        key = self._find(_credentials(headers))
        if key.paths is not None and path not in key.paths:
            raise Forbidden(f"the key {key.name} is for {', '.join(sorted(key.paths))}")
        if self._limiter:
            self._limiter.count(key.name)
        return key.name

    def _find(self, credentials: bytes) -> Key:
        digest = hashlib.sha256(credentials).digest()
        match: Key | None = None
        for key in self._keys:  # compare all keys in constant time, so that the duration reveals nothing
            if hmac.compare_digest(key.digest, digest):
                match = key
        if match is None:
            reason = "unknown key" if credentials else "send a key as `Authorization: Bearer KEY` or `X-API-Key: KEY`"
            raise Unauthorized(reason, headers={"www-authenticate": "Bearer"})
        return match


def new_key(name: str) -> tuple[str, str]:
    """Return a new random key and its line for the keys file."""
    key = f"hg_{secrets.token_urlsafe(32)}"
    return key, f"{name} {hashlib.sha256(key.encode()).hexdigest()}"


def _credentials(headers: Mapping[bytes, bytes]) -> bytes:
    scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
    return token.strip() if scheme.lower() == b"bearer" else headers.get(b"x-api-key", b"").strip()


def _parse_line(file: Path, number: int, line: str) -> Key:
    match = KEY_LINE.fullmatch(line.split("#")[0].strip())
    operations = match and match["operations"] and match["operations"].split(",")
    if not match or (operations and not set(operations) <= set(get_args(Operation))):
        raise ValueError(
            f"{file}, line {number}: expected NAME SHA256 [OPERATION,...], as `hourglass key NAME` prints on stdout"
        )
    paths = frozenset(f"/{operation}" for operation in operations) if operations else None
    return Key(match["name"], bytes.fromhex(match["digest"]), paths)
