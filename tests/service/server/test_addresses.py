"""The addresses that are listened on: both families where a name stands for both, on one port."""

import socket
from collections.abc import Generator
from contextlib import contextmanager

import pytest

from service.server.addresses import bind_sockets, closing_all, log_addresses
from tests.support.compatibility import accepts, refuses


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


@contextmanager
def listening(host: str, port: int = 0) -> Generator[list[socket.socket]]:
    with closing_all(bind_sockets(host, port)) as listeners:
        for listener in listeners:
            listener.listen()
        yield listeners


def connects(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=5).close()
    except OSError:
        return False
    return True


@accepts(18, "hosts and their families", oracle="connections of both families", cases="{host}")
@needs_ipv6
@pytest.mark.parametrize(
    ("host", "reachable"),
    [
        ("::", ["127.0.0.1", "::1"]),
        ("[::]", ["127.0.0.1", "::1"]),
        ("*", ["127.0.0.1", "::1"]),
        ("localhost", ["127.0.0.1", "::1"]),
        ("LOCALHOST", ["127.0.0.1", "::1"]),
        ("127.0.0.1", ["127.0.0.1"]),
        ("0.0.0.0", ["127.0.0.1"]),
        ("::1", ["::1"]),
        ("[::1]", ["::1"]),
        (" ::1 ", ["::1"]),
    ],
)
def test_host_is_reachable_by_its_families(host: str, reachable: list[str]) -> None:
    with listening(host) as listeners:
        ports = {listener.getsockname()[1] for listener in listeners}
        assert len(ports) == 1
        assert [address for address in ("127.0.0.1", "::1") if connects(address, *ports)] == reachable


def test_all_addresses_are_closed_if_one_is_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ValueError, match=f"localhost port {port} cannot be listened on: Address already in use"):
            bind_sockets("localhost", port)
        if has_ipv6():
            with socket.create_server(("::1", port), family=socket.AF_INET6):
                pass  # was not left open


@refuses(18, "an address that is not of this machine", because="it is named", cases="{host}")
@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_unknown_address_is_named(host: str) -> None:
    with pytest.raises(ValueError, match=f"{host} port 0 cannot be listened on"):
        bind_sockets(host, 0)


@accepts(18, "a machine without IPv6", oracle="the sockets")
def test_missing_family_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container without IPv6: `::` and `localhost` are IPv4 alone."""
    plain = socket.socket

    def without_ipv6(family: int = socket.AF_INET, *arguments: int) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(97, "Address family not supported by protocol")
        return plain(family, *arguments)

    monkeypatch.setattr("service.server.addresses.socket.socket", without_ipv6)
    monkeypatch.setattr("service.server.addresses.socket.has_dualstack_ipv6", lambda: False)
    for host, address in (("::", "0.0.0.0"), ("localhost", "127.0.0.1")):
        with closing_all(bind_sockets(host, 0)) as [listener]:
            assert listener.getsockname()[0] == address


@needs_ipv6
def test_ipv6_address_is_logged_in_brackets(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "uvicorn.error")
    with listening("localhost") as listeners:
        port = listeners[0].getsockname()[1]
        log_addresses(listeners, "http")
    assert caplog.messages == [
        f"Uvicorn running on http://127.0.0.1:{port} and http://[::1]:{port} (Press CTRL+C to quit)"
    ]
