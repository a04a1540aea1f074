"""Decides by the headers of a request, without the SDK of OpenTelemetry, that it is not traced.

With sampling, this is the way of nearly all requests. The SDK would take longer for each than for parsing its headers.
"""

import re
from collections.abc import Mapping
from random import getrandbits

from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

from service.telemetry.stages import Stages

TRACEPARENT = re.compile(rb"00-([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})")
SAMPLED, RANDOM = 1, 2
"""Flags of W3C Trace Context: the request is traced, and its trace id is random."""

MAX_TRACE_ID = (1 << 128) - 1


class UnsampledSpan:
    """The ids of a request that is not traced. Its trace id is that of its client, if it sent one.

    `digits`: the span id in 16 hexadecimal digits, then the trace id in 32.
    """

    __slots__ = ("_digits", "_flags")
    is_recording = False

    def __init__(self, digits: str, flags: int) -> None:
        self._digits = digits
        self._flags = flags

    def header(self) -> str:
        """Return the context of the request as W3C writes it: the value of `traceresponse`."""
        digits = self._digits
        return f"00-{digits[16:]}-{digits[:16]}-0{self._flags}"

    def log_fields(self) -> dict[str, str]:
        """Return the ids for log lines."""
        return {"trace_id": self._digits[16:], "span_id": self._digits[:16]}

    def end(self, name: str, attributes: Mapping[str, str | int], status: int, stages: Stages | None) -> None:
        """Do nothing."""


class ChosenIds(RandomIdGenerator):
    """Gives the next trace the id for which `Sampling` has decided that it is traced. Used on the event loop alone."""

    def __init__(self) -> None:
        self.trace_id = 0

    def generate_trace_id(self) -> int:
        """Return the chosen id, or else a random one."""
        trace_id, self.trace_id = self.trace_id, 0
        return trace_id or super().generate_trace_id()


class Sampling:
    """The part of the sampler of `OTEL_TRACES_SAMPLER` that needs no span. The sampler of the SDK decides the rest.

    With a sampler `parentbased_*`, the default, requests are not traced whose client says that it does not trace them.
    With `parentbased_traceidratio`, requests of other clients are chosen by a random trace id.
    """

    def __init__(self, environ: Mapping[str, str], ids: ChosenIds) -> None:
        sampler = environ.get("OTEL_TRACES_SAMPLER", "").strip().lower() or "parentbased_always_on"
        self._obeys_client = sampler.startswith("parentbased_")
        self._bound: int | None = None  # least trace id that is not traced, of its low bits
        if sampler == "parentbased_traceidratio":
            self._bound = _bound(environ.get("OTEL_TRACES_SAMPLER_ARG", ""))
        self._ids = ids

    def unsampled(self, headers: Mapping[bytes, bytes]) -> UnsampledSpan | None:
        """Return the ids of a request that is not traced, or None if the SDK is to decide."""
        parent = headers.get(b"traceparent")
        if parent is None:
            return None if self._bound is None else self._unsampled_root(self._bound)
        if self._obeys_client and (match := TRACEPARENT.fullmatch(parent)) and match[1].strip(b"0"):
            flags = int(match[2], 16)
            if not flags & SAMPLED:
                return UnsampledSpan(getrandbits(64).to_bytes(8).hex() + match[1].decode(), flags & RANDOM)
        return None

    def _unsampled_root(self, bound: int) -> UnsampledSpan | None:
        ids = getrandbits(64 + 128)  # one number for both ids, and bytes().hex() for their digits, are the fastest
        if ids & TraceIdRatioBased.TRACE_ID_LIMIT < bound:
            self._ids.trace_id = ids & MAX_TRACE_ID
            return None
        return UnsampledSpan(ids.to_bytes(24).hex(), RANDOM)


def _bound(ratio: str) -> int | None:
    """Return the bound of the ratio's sampler, or None if the ratio is invalid, which the SDK warns of."""
    try:
        return TraceIdRatioBased(float(ratio)).bound
    except ValueError:
        return None
