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

from service.auth import ApiKeys
from service.config import Settings
from service.engine.admission import megapixels
from service.environment import PREFIX, field_name, service_links
from service.http.app import create_app
from service.http.dispatcher import Dispatcher
from service.http.headers import CORS_ALLOWED_HEADERS, CORS_EXPOSED_HEADERS
from service.runtime.cgroups import read_limits
from service.runtime.hardware import available_cores
from service.runtime.memory import max_workers
from service.server.protocol import TimeoutProtocol
from service.server.shutdown import GracefulServer
from service.server.supervisor import STARTUP_FAILURE, supervise
from service.server.worker import WorkerServer
from service.state import State, memory_plan
from service.telemetry.logs import configure_logging
from service.telemetry.metrics import METRICS_DIR_ENV

log = structlog.get_logger()


def app_factory() -> ASGIApp:
    """The whole service, made anew in every worker from its environment."""
    settings = Settings.from_env(os.environ)
    configure_logging(settings.log_format, settings.log_level)
    front = build_app(settings)
    # What is imported and made by now stays: a collection need not look at it, and need not come every 700 objects.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    return front


def build_app(settings: Settings) -> ASGIApp:
    """The service of these settings, as it stands behind a port."""
    front = Dispatcher(create_app(settings))
    if not settings.cors_origins:
        return front
    return CORSMiddleware(
        front,
        allow_origins=[origin.strip() for origin in settings.cors_origins.split(",")],
        allow_methods=["GET", "POST"],
        allow_headers=CORS_ALLOWED_HEADERS,
        expose_headers=CORS_EXPOSED_HEADERS,
    )


def serve(settings: Settings) -> None:
    """Serve until a signal. Workers read their settings from the environment, so it is set here."""
    configure_logging(settings.log_format, settings.log_level)
    if links := service_links(os.environ):
        log.warning("service_links_ignored", variables=links, reason="Kubernetes or Docker set them for a service")
    _export(settings)
    settings = _fit_workers(settings)
    share, limits, cores = settings.per_worker(), read_limits(), available_cores()
    plan = memory_plan(settings, max(1, cores.value // settings.workers))
    _check_files(settings)
    log.info(  # not the address: uvicorn tells it, once it is bound
        "starting",
        models_dir=str(settings.models_dir),
        workers=settings.workers,
        max_inflight_items_per_worker=share.max_inflight_items,
        max_inflight_bytes_per_worker=plan.inflight_bytes,
        tile_bytes_per_worker=plan.tile_bytes,
        cores=cores.reason,
        memory_limit_bytes=limits.memory_bytes,
        megapixels_per_worker=round(megapixels(plan.inflight_bytes), 1),
    )
    if settings.workers == 1:
        _run_server(
            GracefulServer(_uvicorn_config(settings), settings.shutdown_delay, mark_draining, extra_drain_seconds)
        )
        return
    if sys.platform == "win32":
        raise ValueError("several workers share a port as Unix can; on Windows, workers is 1")
    config = _uvicorn_config(settings)
    with (
        _shared_metrics_dir(),
        asyncio.Runner(loop_factory=config.get_loop_factory()) as runner,
        _bind(config) as listener,
    ):
        sys.exit(
            runner.run(
                supervise(
                    listener, worker_main, settings.workers, settings.shutdown_delay, settings.max_shutdown_seconds
                )
            )
        )


def _fit_workers(settings: Settings) -> Settings:
    """Return the settings with as many workers as the memory limit of the container has room for."""
    room = max_workers(read_limits().memory_bytes)
    if room is None or settings.workers <= room:
        return settings
    log.warning("fewer_workers", workers=room, requested=settings.workers, reason="the memory limit has room for these")
    fewer = settings.model_copy(update={"workers": room})
    _export(fewer)
    return fewer


def _export(settings: Settings) -> None:
    """Write the settings into the environment of the workers, in place of every other spelling of their names."""
    for name in [name for name in os.environ if field_name(name) in Settings.model_fields]:
        del os.environ[name]
    for name, value in settings.model_dump(mode="json", exclude_unset=True).items():
        if value is not None:
            os.environ[PREFIX + name.upper()] = str(value)


def _bind(config: uvicorn.Config) -> socket.socket:
    """The port of several workers. Raises ValueError where it cannot be had; uvicorn has then logged why."""
    try:
        return config.bind_socket()
    except SystemExit:
        raise ValueError(f"{config.host} port {config.port} cannot be listened on: choose another by --port") from None


def _check_files(settings: Settings) -> None:
    """Raises ValueError naming what is wrong with the files of keys and of the certificate, before anything starts."""
    if settings.api_keys_file:
        ApiKeys.from_file(settings.api_keys_file, settings.rate_limit)
    if settings.tls_cert_file:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(settings.tls_cert_file, settings.tls_key_file)
        except OSError as error:
            raise ValueError(f"the certificate {settings.tls_cert_file} or its key cannot be used: {error}") from error


@contextmanager
def _shared_metrics_dir() -> Generator[None]:
    """A folder in which the workers' numbers meet, where one can be made."""
    try:
        place = tempfile.TemporaryDirectory(prefix="hourglass-metrics-")
    except OSError as error:  # nothing here can be written
        log.warning("metrics_per_worker_only", reason=str(error))
        yield
        return
    with place as folder:
        os.environ[METRICS_DIR_ENV] = folder
        yield


def worker_main(channel: socket.socket) -> None:
    """Be one of several workers: serve what arrives on the channel, until its end."""
    settings = Settings.from_env(os.environ)
    configure_logging(settings.log_format, settings.log_level)
    _run_server(WorkerServer(_uvicorn_config(settings), channel, mark_draining, extra_drain_seconds))


def mark_draining(lifespan: Mapping[str, Any]) -> None:
    """Nobody new should be sent here, though whoever comes is served to the end."""
    state: State = lifespan["service"]
    state.shutting_down = True


def extra_drain_seconds(lifespan: Mapping[str, Any]) -> float:
    """That the megapixels under way are given to end, over the drain of the settings."""
    state: State = lifespan["service"]
    return state.settings.request_timeout_per_megapixel * megapixels(state.admission.nbytes)


def _run_server(server: uvicorn.Server) -> None:
    with suppress(KeyboardInterrupt):
        server.run()
    if not server.started:
        sys.exit(STARTUP_FAILURE)


def _uvicorn_config(settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        app_factory,
        factory=True,
        host=settings.host,
        port=settings.port,
        http=TimeoutProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        headers=[("X-Content-Type-Options", "nosniff")],
        ssl_certfile=settings.tls_cert_file,
        ssl_keyfile=settings.tls_key_file,
        proxy_headers=False,  # nothing here asks who, or by which scheme
        timeout_graceful_shutdown=settings.drain_timeout,
        timeout_keep_alive=settings.keep_alive_timeout,  # type: ignore[arg-type] # a number of seconds, whole or not
    )
