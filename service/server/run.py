"""Runs the service under uvicorn: processes, addresses, signals. Knows settings and the front, no request."""

import asyncio
import gc
import os
import socket
import ssl
import sys
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import structlog
import uvicorn
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from service.auth import Access
from service.config import PREFIX, Settings
from service.engine.admission import megapixels
from service.http.app import create_app
from service.http.dispatcher import Front
from service.server.protocol import PatientProtocol
from service.server.shutdown import LingeringServer
from service.server.supervisor import STARTUP_FAILURE, supervise
from service.server.worker import AdoptingServer
from service.state import State
from service.telemetry.logs import configure_logs
from service.telemetry.metrics import FOLDER as METRICS_FOLDER

EXPOSED = [
    *("X-Request-ID", "X-Model", "X-Model-Version", "X-Resized", "Server-Timing"),
    *("X-MSE", "X-PSNR", "X-Percentile", "X-Noise-Sigma"),
]
"""Headers of answers that pages of other origins may read, where `cors_origins` lets them ask."""

log = structlog.get_logger()


def application() -> ASGIApp:
    """The whole service, made anew in every worker from its environment."""
    settings = Settings.from_env(os.environ)
    configure_logs(settings.log_format, settings.log_level)
    front = assemble(settings)
    # What is imported and made by now stays: a collection need not look at it, and need not come every 700 objects.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    return front


def assemble(settings: Settings) -> ASGIApp:
    """The service of these settings, as it stands behind a port."""
    front = Front(create_app(settings))
    if not settings.cors_origins:
        return front
    return CORSMiddleware(
        front,
        allow_origins=[origin.strip() for origin in settings.cors_origins.split(",")],
        allow_methods=["GET", "POST"],
        allow_headers=["authorization", "content-type", "x-api-key", "x-request-id"],
        expose_headers=EXPOSED,
    )


def serve(settings: Settings) -> None:
    """Serve until a signal. Workers read their settings from the environment, so it is set here."""
    for name, value in settings.model_dump(mode="json", exclude_unset=True).items():
        os.environ[PREFIX + name.upper()] = str(value)
    configure_logs(settings.log_format, settings.log_level)
    share = settings.share()
    _refuse_bad_files(settings)
    log.info(  # not the address: uvicorn tells it, once it is bound
        "hourglass",
        models=str(settings.models),
        workers=settings.workers,
        queue_items_per_worker=share.queue_items,
        queue_bytes_per_worker=share.queue_bytes,
    )
    if settings.workers == 1:
        _run(LingeringServer(_config(settings), settings.linger, say_leaving, seconds_left))
        return
    if sys.platform == "win32":
        raise ValueError("several workers share a port as Unix can; on Windows, workers is 1")
    config = _config(settings)
    with (
        _shared_metrics(),
        asyncio.Runner(loop_factory=config.get_loop_factory()) as runner,
        _bound(config) as listener,
    ):
        sys.exit(runner.run(supervise(listener, work, settings.workers, settings.linger, settings.longest_drain)))


def _bound(config: uvicorn.Config) -> socket.socket:
    """The port of several workers. Raises ValueError where it cannot be had; uvicorn has then logged why."""
    try:
        return config.bind_socket()
    except SystemExit:
        raise ValueError(f"{config.host} port {config.port} cannot be listened on: choose another by --port") from None


def _refuse_bad_files(settings: Settings) -> None:
    """Raises ValueError naming what is wrong with the files of keys and of the certificate, before anything starts."""
    if settings.keys:
        Access.read(settings.keys, settings.rate)
    if settings.tls_certificate:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(settings.tls_certificate, settings.tls_key)
        except OSError as error:
            raise ValueError(
                f"the certificate {settings.tls_certificate} or its key cannot be used: {error}"
            ) from error


@contextmanager
def _shared_metrics() -> Generator[None]:
    """A folder in which the workers' numbers meet, where one can be made."""
    try:
        place = tempfile.TemporaryDirectory(prefix="hourglass-metrics-")
    except OSError as error:  # nothing here can be written
        log.warning("/metrics tells the numbers of one worker at a time", reason=str(error))
        yield
        return
    with place as folder:
        os.environ[METRICS_FOLDER] = folder
        yield


def work(channel: socket.socket) -> None:
    """Be one of several workers: serve what arrives on the channel, until its end."""
    settings = Settings.from_env(os.environ)
    configure_logs(settings.log_format, settings.log_level)
    _run(AdoptingServer(_config(settings), channel, say_leaving, seconds_left))


def say_leaving(lifespan: Mapping[str, Any]) -> None:
    """Nobody new should be sent here, though whoever comes is served to the end."""
    state: State = lifespan["service"]
    state.leaving = True


def seconds_left(lifespan: Mapping[str, Any]) -> float:
    """That the megapixels under way are given to end, over the drain of the settings."""
    state: State = lifespan["service"]
    return state.settings.deadline_megapixel * megapixels(state.admission.size)


def _run(server: uvicorn.Server) -> None:
    with suppress(KeyboardInterrupt):
        server.run()
    if not server.started:
        sys.exit(STARTUP_FAILURE)


def _config(settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        application,
        factory=True,
        host=settings.host,
        port=settings.port,
        http=PatientProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        headers=[("X-Content-Type-Options", "nosniff")],
        ssl_certfile=settings.tls_certificate,
        ssl_keyfile=settings.tls_key,
        proxy_headers=False,  # nothing here asks who, or by which scheme
        timeout_graceful_shutdown=settings.drain,
        timeout_keep_alive=settings.keep_alive,  # type: ignore[arg-type] # a number of seconds, whole or not
    )
