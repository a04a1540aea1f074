"""Ids of requests: those of their clients, if they are valid, or random ones."""

import os
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from service.telemetry.tracing import RequestSpan

REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/+=-]{1,128}")
IDS_PER_READ = 64  # a system call for each id would take longer than the rest of it
TRACEPARENT = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")


def request_id(client_id: bytes | None, traceparent: bytes | None) -> str:
    """Return the client's id if it is valid, else the trace id of `traceparent`, else a random id."""
    if client_id is not None and REQUEST_ID.fullmatch(client_id):
        return client_id.decode()
    return _client_trace_id(traceparent) or next(_ids)


def trace_ids(span: "RequestSpan | None", traceparent: bytes | None) -> dict[str, str]:
    """Return the trace id and the span id for log lines, or the client's trace id if the request is not traced."""
    if span:
        return span.log_fields()
    trace_id = _client_trace_id(traceparent)
    return {"trace_id": trace_id} if trace_id else {}


def _client_trace_id(traceparent: bytes | None) -> str | None:
    """Return the trace id of `traceparent`, or None if there is none or it is invalid."""
    match = None if traceparent is None else TRACEPARENT.fullmatch(traceparent)
    return match[1].decode() if match else None


def _random_ids() -> Iterator[str]:
    """Yield random ids of 16 hexadecimal digits."""
    while True:
        digits = os.urandom(8 * IDS_PER_READ).hex()
        yield from (digits[start : start + 16] for start in range(0, len(digits), 16))


_ids = _random_ids()
