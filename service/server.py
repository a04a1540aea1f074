"""Runs the service under uvicorn: processes, addresses, signals. Knows settings and the front, no request."""

import gc
import os
import tempfile
from typing import Any

import structlog
import uvicorn
from starlette.types import ASGIApp

from service.app import create_app
from service.config import PREFIX, Settings
from service.front import Front
from service.metrics import FOLDER as METRICS_FOLDER
from service.telemetry import configure_logs

log = structlog.get_logger()


def application() -> ASGIApp:
    """The whole service, made anew in every worker from its environment."""
    settings = Settings.from_env(os.environ)
    configure_logs(settings.log_format, settings.log_level)
    front = Front(create_app(settings))
    # What is imported and made by now stays: a collection need not look at it, and need not come every 700 objects.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    return front


def serve(settings: Settings) -> None:
    """Serve until a signal. Workers read their settings from the environment, so it is set here."""
    for name, value in settings.model_dump(mode="json", exclude_unset=True).items():
        os.environ[PREFIX + name.upper()] = str(value)
    configure_logs(settings.log_format, settings.log_level)
    share = settings.share()
    log.info(
        "hourglass",
        address=f"http://{settings.host}:{settings.port}",
        models=str(settings.models),
        workers=settings.workers,
        queue_items_per_worker=share.queue_items,
        queue_bytes_per_worker=share.queue_bytes,
    )
    if settings.workers == 1:
        _run(settings)
        return
    with tempfile.TemporaryDirectory(prefix="hourglass-metrics-") as folder:
        os.environ[METRICS_FOLDER] = folder
        _run(settings)


def _run(settings: Settings) -> None:
    options: dict[str, Any] = {
        "host": settings.host,
        "port": settings.port,
        "workers": settings.workers,
        "http": "httptools",
        "lifespan": "on",
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "proxy_headers": False,  # nothing here asks who or by which scheme
        "timeout_graceful_shutdown": settings.drain,
    }
    uvicorn.run("service.server:application", factory=True, **options)
