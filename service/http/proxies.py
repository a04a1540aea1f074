"""Paths as they arrive through proxies: with or without a prefix, with a slash at the end, or with double slashes.

The service builds no absolute URL, so it needs neither the scheme nor the host that clients see: `X-Forwarded-Proto`
and `X-Forwarded-Host` have no effect. The prefix matters for the documentation page and the `servers` of its document.
"""

import re
from collections.abc import Mapping
from ipaddress import IPv6Address, ip_address

from starlette.types import Scope

from service.config import Settings

PREFIX = re.compile(r"(?:/[A-Za-z0-9._~-]+){1,16}")
MAX_PREFIX_BYTES = 256


def resolve_path(scope: Scope, headers: Mapping[bytes, bytes], settings: Settings) -> tuple[Scope, str]:
    """Return the scope with `root_path` and a canonical path, and the path below the prefix without a slash at its end.

    The prefix is that of `X-Forwarded-Prefix` from a trusted proxy, else that of the settings. A proxy may remove it
    from the path or not.
    """
    prefix = forwarded_prefix(scope, headers, settings) or settings.root_path
    path = "/" + "/".join(part for part in scope["path"].split("/") if part)
    for removable in {prefix, settings.root_path} - {""}:
        if path == removable or path.startswith(removable + "/"):
            path = path[len(removable) :] or "/"
            break
    return {**scope, "root_path": prefix, "path": prefix + path}, path


def forwarded_prefix(scope: Scope, headers: Mapping[bytes, bytes], settings: Settings) -> str:
    """Return the prefix of `X-Forwarded-Prefix`, or an empty string if it is absent, invalid or not trusted.

    Several values, of a chain of proxies, follow one another in the path.
    """
    value = headers.get(b"x-forwarded-prefix")
    if value is None or len(value) > MAX_PREFIX_BYTES or not is_trusted(scope, settings):
        return ""
    parts = (part.strip().strip("/") for part in value.decode("latin-1").split(","))
    prefix = "".join(f"/{part}" for part in parts if part)
    return prefix if PREFIX.fullmatch(prefix) and "/.." not in prefix else ""


def is_trusted(scope: Scope, settings: Settings) -> bool:
    """Return whether the peer of the connection is one of the trusted proxies."""
    if settings.trusts_all_proxies:
        return True
    try:
        address = ip_address(scope["client"][0])
    except (KeyError, TypeError, ValueError):  # a Unix socket, or a name in tests
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return any(address in network for network in settings.trusted_proxies)
