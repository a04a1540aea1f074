"""Turns tracing on if the environment has an address of OTLP. The library is imported only then."""

from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING

import structlog

from service.extras import install_extra

if TYPE_CHECKING:
    from service.telemetry.tracing import RequestTracer

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")

log = structlog.get_logger()


def is_tracing_requested(environ: Mapping[str, str]) -> bool:
    """Return whether there is an address, and neither `OTEL_SDK_DISABLED` nor `OTEL_TRACES_EXPORTER=none`."""
    disabled = environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    exporter = environ.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    return any(environ.get(name, "").strip() for name in ENDPOINTS) and not disabled and exporter != "none"


def create_tracer(environ: Mapping[str, str]) -> "RequestTracer | None":
    """Return the tracer, or None if tracing is off.

    Without the extra `otel`, or with an unknown protocol, tracing is off too, and a warning says why: operators of
    clusters set these variables for all containers.
    """
    if not is_tracing_requested(environ):
        return None
    if not (find_spec("opentelemetry") and find_spec("opentelemetry.sdk")):
        log.warning("tracing_off", reason=f"to send traces by OTLP, {install_extra('otel')}")
        return None
    from service.telemetry.tracing import RequestTracer, create_exporter

    try:
        return RequestTracer(create_exporter(environ))
    except (ValueError, ImportError) as error:
        log.warning("tracing_off", reason=str(error))
        return None
