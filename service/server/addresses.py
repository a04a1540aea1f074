"""The sockets that a service listens on. `::` and `localhost` are both families of addresses, with one port."""

import errno
import logging
import socket
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from typing import cast

import structlog

DUAL_STACK_HOSTS = frozenset({"", "::", "*"})
LOOPBACK_HOSTS = ("127.0.0.1", "::1")  # localhost, whatever the hosts file says
MISSING_ADDRESS = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})  # a host without IPv6, or without IPv4
PORT_TRIES = 20  # of a free port that must be free for every address

ANY_IPV4 = "0.0.0.0"  # noqa: S104 - only if it is configured
Address = tuple[str | int, ...]

log = structlog.get_logger()


def bind_sockets(host: str, port: int) -> list[socket.socket]:
    """Bind a socket to every address of a host, all on one port; port 0 chooses a free one.

    Addresses of a family that this machine lacks are left out. Raises ValueError if there is none or one is in use.
    """
    host = host.strip().removeprefix("[").removesuffix("]")
    for attempt in range(PORT_TRIES):
        try:
            return _bind_all(host, port)
        except OSError as error:
            if port == 0 and error.errno == errno.EADDRINUSE and attempt < PORT_TRIES - 1:
                continue
            reason = error.strerror or str(error)
            raise ValueError(f"{host} port {port} cannot be listened on: {reason}; choose another by --port") from error
    raise AssertionError("the last attempt returns or raises")


@contextmanager
def closing_all(listeners: list[socket.socket]) -> Generator[list[socket.socket]]:
    """Close the sockets at the end."""
    try:
        yield listeners
    finally:
        for listener in listeners:
            listener.close()


def log_addresses(listeners: Sequence[socket.socket], scheme: str) -> None:
    """Log the URLs of listening sockets, in uvicorn's words."""
    urls = " and ".join(_url(listener, scheme) for listener in listeners)
    logging.getLogger("uvicorn.error").info("Uvicorn running on %s (Press CTRL+C to quit)", urls)


def _url(listener: socket.socket, scheme: str) -> str:
    """Return the URL of a listening socket. A literal IPv6 address is in brackets."""
    host, port = listener.getsockname()[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _bind_all(host: str, port: int) -> list[socket.socket]:
    if host in DUAL_STACK_HOSTS and socket.has_dualstack_ipv6():
        return [_bind(socket.AF_INET6, ("::", port), dual_stack=True)]
    listeners: list[socket.socket] = []
    missing: OSError | None = None
    try:
        for family, address in _addresses(host, port):
            try:
                chosen = listeners[0].getsockname()[1] if listeners else port
                listeners.append(_bind(family, (address[0], chosen, *address[2:])))
            except OSError as error:
                if error.errno not in MISSING_ADDRESS:
                    raise
                missing = error
                log.warning("address_missing", address=address[0], reason=error.strerror)
        if missing and not listeners:
            raise missing
    except OSError:
        for listener in listeners:
            listener.close()
        raise
    return listeners


def _addresses(host: str, port: int) -> list[tuple[int, Address]]:
    """Return the families and addresses of a host, each once."""
    any_or_host = ANY_IPV4 if host in DUAL_STACK_HOSTS else host
    hosts = LOOPBACK_HOSTS if host.lower() == "localhost" else (any_or_host,)
    addresses: dict[tuple[int, Address], None] = {}  # ordered, without repetitions
    for name in hosts:
        for family, _, _, _, address in socket.getaddrinfo(
            name, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            addresses[int(family), cast("Address", address)] = None
    return list(addresses)


def _bind(family: int, address: Address, *, dual_stack: bool = False) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            with suppress(OSError):  # a kernel that fixes it
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if dual_stack else 1)
        listener.bind(address)
    except OSError:
        listener.close()
        raise
    listener.set_inheritable(True)
    return listener
