"""Durations of the stages of one request."""

from typing import NamedTuple


class Timings(NamedTuple):
    """Seconds that each stage of a request took, in the order of the stages."""

    decode: float
    queue: float
    run: float
    encode: float

    def header(self) -> bytes:
        """Return the value of the `Server-Timing` header, in milliseconds."""
        return b"decode;dur=%.3f, queue;dur=%.3f, run;dur=%.3f, encode;dur=%.3f" % (
            self.decode * 1e3,
            self.queue * 1e3,
            self.run * 1e3,
            self.encode * 1e3,
        )

    @property
    def total(self) -> float:
        """The sum of all stages."""
        return sum(self)
