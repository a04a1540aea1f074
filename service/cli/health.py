"""Asks the service of this machine whether it is ready, at the address that it is configured for.

`python -m service.cli.health` is the health check of the container image. It imports neither the models' runtime nor
the web framework, because it runs every few seconds.
"""

import os
import ssl
import sys
from collections.abc import Sequence
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path

from service.config import Settings

TIMEOUT = 3.0  # seconds
WILDCARDS = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}  # noqa: S104 - addresses to ask instead
FIRST_PROCESS = Path("/proc/1/cmdline")  # in a container, the service with its flags


def check(settings: Settings) -> str | None:
    """Ask /readyz of the service with these settings. Return None if it is ready, or else the reason."""
    host = WILDCARDS.get(settings.host, settings.host)
    prefix = str(getattr(settings, "root_path", "")).rstrip("/")
    reason = ""
    for path in dict.fromkeys(("/readyz", f"{prefix}/readyz")):
        connection = _connect(host, settings)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            text = answer.read(2000).decode(errors="replace")
        except (OSError, HTTPException) as error:
            scheme = "https" if settings.tls_cert_file else "http"
            return f"{scheme}://{host}:{settings.port}{path} does not answer: {error}"
        finally:
            connection.close()
        if answer.status == 200:
            return None
        reason = f"{path} answers {answer.status}: {' '.join(text.split())}"
    return reason


def _connect(host: str, settings: Settings) -> HTTPConnection:
    if not settings.tls_cert_file:
        return HTTPConnection(host, settings.port, timeout=TIMEOUT)
    context = ssl.create_default_context()
    context.check_hostname = False  # the certificate is for the public name, and this machine asks itself
    context.verify_mode = ssl.CERT_NONE
    return HTTPSConnection(host, settings.port, timeout=TIMEOUT, context=context)


def flags_of(words: Sequence[str]) -> dict[str, object]:
    """Return the settings that the command line of a `serve` sets, by field name; nothing for another command."""
    if "serve" not in words:
        return {}
    flags: dict[str, object] = {}
    arguments = list(words[words.index("serve") + 1 :])
    for at, word in enumerate(arguments):
        name, equals, value = word.removeprefix("--").partition("=")
        field = name.replace("-", "_")
        if word.startswith("--") and field in ("host", "port", "tls_cert_file", "tls_key_file", "root_path"):
            flags[field] = value if equals else "".join(arguments[at + 1 : at + 2])
    return {field: value for field, value in flags.items() if field in Settings.model_fields}


def service_flags() -> dict[str, object]:
    """Return the flags of the first process, which is the service in a container."""
    try:
        return flags_of(FIRST_PROCESS.read_bytes().decode(errors="surrogateescape").split("\0"))
    except OSError:
        return {}


def main() -> None:
    """Exit with status 0 if the service is ready, and 1 with the reason on stderr if it is not."""
    try:
        reason = check(Settings.from_env(os.environ, service_flags()))
    except ValueError as error:
        reason = str(error)
    if reason:
        print(f"hourglass: {reason}", file=sys.stderr)
    sys.exit(1 if reason else 0)


if __name__ == "__main__":
    main()
