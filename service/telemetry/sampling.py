"""Decides by the headers of a request, without a span of OpenTelemetry, that it is not traced.

With sampling, this is the way of nearly all requests. The SDK would take longer for each than for parsing its headers.
"""

import re
from collections.abc import Mapping
from random import getrandbits, random, randrange

from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

TRACEPARENT = re.compile(rb"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})")
SAMPLED = 1
"""Flag of W3C Trace Context: the client traces the request."""


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

    With a sampler `parentbased_*`, the default, requests are dropped whose client says that it does not trace them.
    Requests of other clients are chosen at random, and those that are traced get a trace id that the SDK chooses too.
    """

    def __init__(self, environ: Mapping[str, str], ids: ChosenIds) -> None:
        sampler = environ.get("OTEL_TRACES_SAMPLER", "").strip().lower() or "parentbased_always_on"
        self._obeys_client = sampler.startswith("parentbased_")
        self._ratio = _ratio(sampler, environ.get("OTEL_TRACES_SAMPLER_ARG", ""))
        self._bound = max(1, TraceIdRatioBased(self._ratio).bound)  # the SDK traces ids whose low bits are less
        self._ids = ids

    def drops(self, headers: Mapping[bytes, bytes]) -> bool:
        """Return whether the request is not traced; if False, the SDK is to decide."""
        parent = headers.get(b"traceparent")
        if parent is None:
            if random() >= self._ratio:  # noqa: S311 - not a secret
                return True
            self._ids.trace_id = getrandbits(64) << 64 | randrange(self._bound)  # noqa: S311
            return False
        match = TRACEPARENT.fullmatch(parent) if self._obeys_client else None
        return match is not None and not int(match[1], 16) & SAMPLED


def _ratio(sampler: str, argument: str) -> float:
    """Return the share of requests without a parent that are traced; 1 if it is invalid, of which the SDK warns."""
    if sampler.endswith("always_off"):
        return 0.0
    try:
        return TraceIdRatioBased(float(argument)).rate if sampler.endswith("traceidratio") else 1.0
    except ValueError:
        return 1.0
