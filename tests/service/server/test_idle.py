"""Idle connections: kept for long, and closed where the process has no room for others."""

import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from service.config import Settings
from service.server import protocol
from service.server.idle import close_longest_idle, max_connections
from tests.conftest import listening
from tests.support.compatibility import accepts

REQUEST = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
LIMIT = 20
BALANCERS = {"AWS ALB": 60, "nginx": 60, "HAProxy": 60, "Azure": 240, "Google Cloud": 600}


class Connection:
    """A connection, its transport and its timer."""

    def __init__(self, idle_since: float | None) -> None:
        self.idle_since = idle_since
        self.closed = False

    @property
    def timeout_keep_alive_task(self) -> "Connection | None":
        return None if self.idle_since is None else self

    @property
    def transport(self) -> "Connection":
        return self

    def when(self) -> float:
        assert self.idle_since is not None
        return self.idle_since

    def close(self) -> None:
        self.closed = True


def test_longest_idle_are_closed_and_busy_ones_never() -> None:
    connections = [Connection(since) for since in (5, None, 1, 9, None, 2, 7)]
    assert close_longest_idle(connections, 40) == 2
    assert [connection.closed for connection in connections] == [False, False, True, False, False, True, False]
    busy = [Connection(None) for _ in range(3)]
    assert close_longest_idle(busy, 40) == 0


def test_number_of_connections_follows_the_limit_of_files() -> None:
    assert max_connections() > 0


@accepts(15, "keep-alive longer than the default of load balancers", oracle="their documentation", cases="{balancer}")
@pytest.mark.parametrize("balancer", BALANCERS)
def test_default_outlasts_the_balancer(balancer: str) -> None:
    assert Settings().keep_alive_timeout > BALANCERS[balancer]


def ask(connection: socket.socket) -> bool:
    """Send a request. Return whether it is answered."""
    try:
        connection.sendall(REQUEST)
        return connection.recv(65536).startswith(b"HTTP/1.1 200")
    except ConnectionError:
        return False


@accepts(15, "new connections among many idle ones", oracle="status of the response")
def test_new_connections_are_served_among_many_idle_ones(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "max_connections", lambda: LIMIT)
    settings = Settings.model_validate({"models_dir": models, "model_watch": "off"})
    with listening(settings) as address:
        parts = urlsplit(address)
        connections: list[socket.socket] = []
        try:
            for _ in range(2 * LIMIT):  # one after the other, so that each is idle before the next is opened
                connections.append(socket.create_connection((parts.hostname, parts.port), timeout=20))
                assert ask(connections[-1])
            assert ask(connections[-1])  # the latest is still open
            assert not ask(connections[0])  # the one that was idle longest is not
        finally:
            for connection in connections:
                connection.close()
