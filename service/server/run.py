"""Starts the service under uvicorn, in one process or several."""

import asyncio
import gc
import multiprocessing
import os
import socket
import ssl
import sys
import tempfile
from collections.abc import Generator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

import structlog
import uvicorn
from starlette.types import ASGIApp

from service.auth import ApiKeys
from service.config import Settings
from service.engine.admission import megapixels
from service.environment import PREFIX, field_name, service_links
from service.http.app import create_app
from service.http.cors import add_cors
from service.http.dispatcher import Dispatcher
from service.runtime.allocator import limit_fragmentation
from service.runtime.cgroups import read_limits
from service.runtime.hardware import available_cores
from service.runtime.memory import max_workers
from service.runtime.providers import AUTO, CPU, Device, DeviceUnavailable
from service.runtime.session import check_device
from service.server.addresses import bind_sockets, closing_all, log_addresses
from service.server.grpc_port import check_grpc_port
from service.server.protocol import TimeoutProtocol
from service.server.shutdown import GracefulServer
from service.server.supervisor import STARTUP_FAILURE, supervise
from service.server.worker import WorkerServer
from service.state import State, memory_plan
from service.telemetry.logs import configure_logging
from service.telemetry.metrics import METRICS_DIR_ENV

log = structlog.get_logger()


def app_factory() -> ASGIApp:
    """Create the ASGI application from the environment. Called once in each worker process."""
    limit_fragmentation()
    settings = Settings.from_env(os.environ)
    configure_logging(settings.log_format, settings.log_level)
    asgi_app = build_app(settings)
    # All objects that exist now stay until the end, so the garbage collector can skip them and run less often.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    return asgi_app


def build_app(settings: Settings) -> ASGIApp:
    """Create the ASGI application from settings, with CORS if `cors_origins` is set."""
    return add_cors(Dispatcher(create_app(settings)), settings)


def serve(settings: Settings) -> None:
    """Serve until a signal. Sets the environment variables of the settings, because workers read them.

    Raises ValueError if a file or the port cannot be used. Exits with STARTUP_FAILURE if the device cannot be used.
    """
    configure_logging(settings.log_format, settings.log_level)
    if links := service_links(os.environ):
        log.warning("service_links_ignored", variables=links, reason="Kubernetes or Docker set them for a service")
    _export(settings)
    settings = _fit_workers(settings)
    worker_settings = settings.per_worker()
    limits = read_limits()
    cores = available_cores()
    plan = memory_plan(settings, max(1, cores.value // settings.workers))
    _check_files(settings)
    check_grpc_port(settings)
    _check_device(settings)
    log.info(  # without the address, which uvicorn logs once the port is bound
        "starting",
        models_dir=settings.models_address or str(settings.models_folder.resolve()),
        models_dir_from=settings.models_origin,
        workers=settings.workers,
        max_inflight_items_per_worker=worker_settings.max_inflight_items,
        max_inflight_bytes_per_worker=plan.inflight_bytes,
        tile_bytes_per_worker=plan.tile_bytes,
        cores=cores.reason,
        memory_limit_bytes=limits.memory_bytes,
        megapixels_per_worker=round(megapixels(plan.inflight_bytes), 1),
    )
    if settings.workers == 1:
        _run_server(
            GracefulServer(_uvicorn_config(settings), settings.shutdown_delay, mark_draining, extra_drain_seconds),
            bind_sockets(settings.host, settings.port),
        )
        return
    if sys.platform == "win32":
        raise ValueError("several workers are not supported on Windows: set workers to 1")
    config = _uvicorn_config(settings)
    with (
        _shared_metrics_dir(),
        asyncio.Runner(loop_factory=config.get_loop_factory()) as runner,
        closing_all(bind_sockets(settings.host, settings.port)) as listeners,
    ):
        log_addresses(listeners, "https" if config.is_ssl else "http")
        sys.exit(
            runner.run(
                supervise(
                    listeners, worker_main, settings.workers, settings.shutdown_delay, settings.max_shutdown_seconds
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


def _check_files(settings: Settings) -> None:
    """Check the files of API keys and of the TLS certificate. Raises ValueError if one of them cannot be used."""
    if settings.api_keys_file:
        ApiKeys.from_file(settings.api_keys_file, settings.rate_limit)
    if settings.tls_cert_file:
        for name, file in (("tls_cert_file", settings.tls_cert_file), ("tls_key_file", settings.tls_key_file)):
            if file and not file.is_file():
                raise ValueError(f"{PREFIX}{name.upper()}: there is no file {file}")
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(settings.tls_cert_file, settings.tls_key_file)
        except OSError as error:
            raise ValueError(f"the certificate {settings.tls_cert_file} or its key cannot be used: {error}") from error


def _check_device(settings: Settings) -> None:
    """If the requested device cannot be used, log the reason and exit with STARTUP_FAILURE.

    With several workers, a temporary process does the check, because a provider may keep memory of its device in the
    supervisor.
    """
    device = Device(settings.device, settings.execution_options)
    if device.name in (AUTO, CPU) and not device.options:
        return
    try:
        if settings.workers == 1:
            check_device(device)
        else:
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as executor:
                executor.submit(check_device, device).result()
    except DeviceUnavailable as error:
        log.error("device_unavailable", reason=str(error))
        sys.exit(STARTUP_FAILURE)


@contextmanager
def _shared_metrics_dir() -> Generator[None]:
    """Create a temporary folder in which workers share their metrics. Without it, each worker has its own metrics."""
    try:
        temporary_dir = tempfile.TemporaryDirectory(prefix="hourglass-metrics-")
    except OSError as error:  # the file system is read-only
        log.warning("metrics_per_worker_only", reason=str(error))
        yield
        return
    with temporary_dir as folder:
        os.environ[METRICS_DIR_ENV] = folder
        yield


def worker_main(channel: socket.socket) -> None:
    """Run one of several workers: serve the connections that arrive through the channel, until its end."""
    settings = Settings.from_env(os.environ)
    configure_logging(settings.log_format, settings.log_level)
    _run_server(WorkerServer(_uvicorn_config(settings), channel, mark_draining, extra_drain_seconds))


def mark_draining(lifespan: Mapping[str, Any]) -> None:
    """Report not ready from now on, so that load balancers send no new requests. Requests are still answered."""
    state: State = lifespan["service"]
    state.shutting_down = True


def extra_drain_seconds(lifespan: Mapping[str, Any]) -> float:
    """Return the seconds added to `drain_timeout` for the megapixels in flight."""
    state: State = lifespan["service"]
    return state.settings.request_timeout_per_megapixel * megapixels(state.admission.nbytes)


def _run_server(server: uvicorn.Server, listeners: list[socket.socket] | None = None) -> None:
    """Run a server until it ends. Exits with STARTUP_FAILURE if it has not started."""
    with suppress(KeyboardInterrupt):
        server.run(listeners)
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
        proxy_headers=False,  # the client address and the scheme are not used
        timeout_graceful_shutdown=settings.drain_timeout,
        timeout_keep_alive=settings.keep_alive_timeout,  # type: ignore[arg-type] # fractions work, too
    )
