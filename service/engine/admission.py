"""Admission control: bounds the items, decoded bytes and body bytes in flight, and sheds load early.

A request acquires a slot before its input is decoded and releases it after its response is encoded.
"""

from collections import deque
from dataclasses import dataclass
from math import ceil
from time import monotonic
from types import TracebackType
from typing import Self

from service.errors import Overloaded

HISTORY = 10  # samples of released bytes, at least one second apart
HISTORY_SECONDS = 30  # age above which a sample is ignored
MAX_RETRY_AFTER = 60  # upper bound of Retry-After, in seconds
EWMA_DOWN = 0.1  # weight of runs slower than the estimate: a single item says little about a full batch
DEADLINE_MARGIN = 0.7  # admit only if the expected time is below this fraction of the timeout


def megapixels(nbytes: int) -> float:
    """Convert a size in bytes to megapixels of an RGB image."""
    return nbytes / 3e6


def _clamp(seconds: float) -> int:
    """Clamp a delay to a `Retry-After` value between 1 and `MAX_RETRY_AFTER` seconds."""
    return max(1, min(MAX_RETRY_AFTER, ceil(seconds)))


def _overloaded(reason: str, retry_after: int) -> Overloaded:
    return Overloaded(f"{reason}; try again in {retry_after} s", headers={"retry-after": str(retry_after)})


class GraphLoad:
    """The requests in flight on one graph and its throughput, from which the time of one more request is estimated.

    Requests share a graph evenly (processor sharing), so a request waits at most for as much work of another request
    as it has itself. Without this estimate the queue of an overloaded graph grows beyond the timeout of its clients,
    and all runs are spent on requests that are about to be given up. Work is counted in the unit that determines the
    cost of a run: items for fixed-size models, bytes for models of any size.
    """

    __slots__ = ("_runners", "load", "requests", "throughput")

    def __init__(self, runners: int = 1) -> None:
        self._runners = runners
        self.requests = self.load = 0
        self.throughput = 0.0
        """Work per second; 0 until the first run."""

    def record(self, load: int, seconds: float) -> None:
        """Record one run: `load` units of work took `seconds` on one of the parallel runners.

        Threads call this without a lock: the estimate is approximate, and a lost update is harmless.
        """
        rate = load * self._runners / max(seconds, 1e-6)
        self.throughput = rate if rate > self.throughput else self.throughput + EWMA_DOWN * (rate - self.throughput)

    def acquire(self, load: int, seconds: float) -> None:
        """Add a request of `load` units of work.

        Raises Overloaded if the request is unlikely to finish within `seconds`. A request without others ahead of it
        is always admitted.
        """
        ahead = min(self.load, self.requests * load)
        if ahead and self.throughput and ahead + load > DEADLINE_MARGIN * seconds * self.throughput:
            raise _overloaded(
                f"more requests are waiting than can be done within {seconds:g} s", _clamp(self.load / self.throughput)
            )
        self.requests += 1
        self.load += load

    def release(self, load: int) -> None:
        """Remove a request that is done or was cancelled."""
        self.requests -= 1
        self.load -= load


@dataclass(slots=True)
class Demand:
    """What one request occupies while it is in flight.

    `nbytes`: size of its decoded input. `work`: its share of `graph_load`, in items or bytes.
    """

    items: int
    nbytes: int
    graph_load: GraphLoad
    work: int


class Admission:
    """Bounds the items and bytes in flight, over all graphs."""

    def __init__(self, *, max_items: int, max_bytes: int, strict: bool = False) -> None:
        self.max_items, self.max_bytes = max_items, max_bytes
        self._strict = strict  # never exceed `max_bytes`: the memory of the container is limited
        self._max_body_bytes = max_bytes // 2 if strict else max_bytes  # bodies are held beside what is decoded
        self.items = self.nbytes = self.reserved = 0
        self._released = 0  # bytes, since the start
        self._history = deque([(monotonic(), 0)], maxlen=HISTORY)  # (time, bytes released until then)

    def slot(self, demand: Demand, seconds: float) -> "Slot":
        """Return a context manager that holds the demand; entering it raises Overloaded if `acquire` does."""
        return Slot(self, demand, seconds)

    def acquire(self, demand: Demand, seconds: float) -> None:
        """Admit a request that must finish within `seconds`.

        Raises Overloaded if a limit is reached or the request is unlikely to finish in time. A request larger than
        the limits is admitted when no other is in flight, because it would never fit otherwise. With strict limits it
        is rejected.
        """
        if self._strict and demand.nbytes > self.max_bytes:
            raise _overloaded(
                f"the request needs {megapixels(demand.nbytes):.1f} megapixels in memory, and the memory of this "
                f"container has room for {megapixels(self.max_bytes):.1f}; send a smaller image, or raise its limit",
                MAX_RETRY_AFTER,
            )
        over = self.items + demand.items > self.max_items or self.nbytes + demand.nbytes > self.max_bytes
        if over and self.items:
            raise _overloaded("the limit of requests in flight is reached", self.retry_after())
        demand.graph_load.acquire(demand.work, seconds)
        self.items += demand.items
        self.nbytes += demand.nbytes

    def release(self, demand: Demand) -> None:
        """Release what `acquire` admitted."""
        demand.graph_load.release(demand.work)
        self.items -= demand.items
        self.nbytes -= demand.nbytes
        self._released += demand.nbytes
        now = monotonic()
        if now - self._history[-1][0] >= 1:
            self._history.append((now, self._released))

    def retry_after(self) -> int:
        """Estimate the seconds until the bytes in flight are released, between 1 and `MAX_RETRY_AFTER`."""
        now = monotonic()
        then, before = next((mark for mark in self._history if now - mark[0] <= HISTORY_SECONDS), (now, self._released))
        released = self._released - before
        return _clamp(self.nbytes / released * (now - then)) if released else 1

    def reserve(self, nbytes: int, body_size: int) -> None:
        """Reserve `nbytes` more for a body, which then has `body_size` bytes. Raises Overloaded if too few are left.

        A body may occupy as many bytes as remain free, so large bodies yield to small ones and no client can fill the
        buffer: the dynamic threshold of shared-memory switches (Choudhury and Hahne, 1998). A single body may have
        any size.
        """
        if body_size > self._max_body_bytes - self.reserved - nbytes and self.reserved + nbytes > body_size:
            raise _overloaded("the limit of request bodies in memory is reached", self.retry_after())
        self.reserved += nbytes


class Slot:
    """Context manager that acquires a demand on entry and releases it on exit."""

    __slots__ = ("admission", "demand", "seconds")

    def __init__(self, admission: Admission, demand: Demand, seconds: float) -> None:
        self.admission, self.demand, self.seconds = admission, demand, seconds

    def __enter__(self) -> None:
        self.admission.acquire(self.demand, self.seconds)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.admission.release(self.demand)


class BodyReservation:
    """Context manager that holds the bytes of one request body while it is read and processed."""

    __slots__ = ("_admission", "size")

    def __init__(self, admission: Admission) -> None:
        self._admission, self.size = admission, 0

    def __enter__(self) -> Self:
        return self

    def add(self, nbytes: int) -> None:
        """Reserve `nbytes` more. Raises Overloaded if they do not fit."""
        self._admission.reserve(nbytes, self.size + nbytes)
        self.size += nbytes

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._admission.reserved -= self.size
