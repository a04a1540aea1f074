"""Fixtures of the service tests: tiny models on disk, and the service in this process or behind a socket."""

import logging
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from time import sleep
from typing import Any

import numpy as np
import pytest
import structlog
import uvicorn
from numpy.typing import NDArray
from PIL import Image
from starlette.testclient import TestClient

from service.config import Settings
from service.http.app import create_app
from service.http.cors import add_cors
from service.http.dispatcher import Dispatcher
from service.server.protocol import TimeoutProtocol
from service.telemetry.logs import NonBlockingHandler
from tests.support.tiny_models import GRAPHS, SIDE, publish

pytest_plugins = ["tests.support.compatibility_report"]

Array = NDArray[Any]
Serve = Callable[..., TestClient]


def png(pixels: Array, kind: str = "PNG", **extra: Any) -> bytes:
    """Return pixels as an encoded picture."""
    out = BytesIO()
    Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels).save(out, kind, **extra)
    return out.getvalue()


def pixels(blob: bytes) -> Array:
    """Return the pixels of an encoded picture: uint8 H,W or H,W,C."""
    return np.asarray(Image.open(BytesIO(blob)))


def digit(seed: int = 0) -> Array:
    """Return a random picture of the size of the tiny digits model: uint8 H,W,1."""
    return np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 1), np.uint8)


def wait_for_models(client: TestClient) -> None:
    """Wait until the models that no default names are loaded, too."""
    store = client.app_state["service"].store
    while any(standby.pending for standby in store.snapshot.standby.values()):
        sleep(0.001)


@pytest.fixture(autouse=True)
def restore_logging() -> Generator[None]:
    """Undo `configure_logging`: its handler would write the log lines of later tests to a closed stream."""
    root = logging.getLogger()
    level = root.level
    yield
    root.setLevel(level)
    for handler in [handler for handler in root.handlers if isinstance(handler, NonBlockingHandler)]:
        root.removeHandler(handler)


@pytest.fixture
def anyio_backend() -> str:
    """Run coroutine tests on asyncio, as the service does."""
    return "asyncio"


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with every kind of tiny model; tests must not change it."""
    folder = tmp_path_factory.mktemp("models")
    for kind in GRAPHS:
        publish(folder, kind)
    return folder


@pytest.fixture(scope="session")
def client(models: Path) -> Generator[TestClient]:
    """Yield a client of the service with all tiny models; digits is the default of every operation."""
    defaults = {f"default_{operation}": "digits" for operation in ("encode", "decode", "reconstruct", "denoise")}
    settings = Settings.model_validate(
        {"models_dir": models, "model_watch": "off", "image_formats": "png,jpeg,webp,gif", **defaults}
    )
    with TestClient(Dispatcher(create_app(settings)), raise_server_exceptions=False) as client:
        wait_for_models(client)
        yield client


@pytest.fixture
def serve(models: Path) -> Generator[Serve]:
    """Yield a function that starts the service with given settings and returns its client."""
    opened: list[TestClient] = []

    def make(**settings: Any) -> TestClient:
        configuration = Settings.model_validate(
            {"models_dir": models, "model_watch": "off", "default_denoise": "digits", **settings}
        )
        client = TestClient(Dispatcher(create_app(configuration)), raise_server_exceptions=False)
        opened.append(client.__enter__())
        wait_for_models(client)
        return client

    yield make
    for client in opened:
        client.__exit__()


@contextmanager
def listening(settings: Settings) -> Generator[str]:
    """Serve on a socket of this process, and yield the address."""
    app = add_cors(Dispatcher(create_app(settings)), settings)
    config = uvicorn.Config(app, port=0, log_config=None, lifespan="on", http=TimeoutProtocol, ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started and thread.is_alive():
        sleep(0.01)
    assert server.started
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture
def uncached_loggers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give modules of the service new loggers, so that `capture_logs` works after a test that configured logging."""
    for name, module in list(sys.modules.items()):
        if name.startswith("service.") and hasattr(module, "log"):
            monkeypatch.setattr(module, "log", structlog.get_logger())
