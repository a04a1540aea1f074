"""Who may wait: a place for every item and every decoded byte under way, taken before decoding, given back after.

Bodies have a bound of the same size beside it, from their first byte on. Knows neither requests nor models.
"""

from collections import deque
from math import ceil
from time import monotonic
from types import TracebackType
from typing import Self

from service.errors import Overloaded

HISTORY = 10  # moments that are remembered, a second apart or more
HISTORY_SECONDS = 30  # seconds within which they tell of the pace
MAX_RETRY_AFTER = 60  # seconds that anybody is told to wait
EWMA_DOWN = 0.1  # of a slower run than before, what counts: a lone item says little of what many get
DEADLINE_MARGIN = 0.7  # of the time that a request has: to be let in it must be expected to take no more


def megapixels(size: int) -> float:
    """Of so many bytes, in pictures of three channels."""
    return size / 3e6


def _clamp(seconds: float) -> int:
    """What is told of so many seconds: 1 to LONGEST."""
    return max(1, min(MAX_RETRY_AFTER, ceil(seconds)))


def _overloaded(why: str, again: int) -> Overloaded:
    return Overloaded(f"{why}; try again in {again} s", headers={"retry-after": str(again)})


class GraphLoad:
    """The requests of one graph that are under way, and the pace of its runs: how long one more would take among them.

    They share the graph evenly, a large one with small ones by turns, so none waits for more of another than it has
    itself. Without this, where more is asked than can be done, the queue grows longer than its callers' patience, and
    all work is for those who are about to give up. Work is counted in what the graph's cost goes by: items, or bytes.
    """

    __slots__ = ("_runners", "load", "requests", "throughput")

    def __init__(self, runners: int = 1) -> None:
        self._runners = runners
        self.requests = self.load = 0
        self.throughput = 0.0
        """Work a second; 0: not known yet."""

    def record(self, load: int, seconds: float) -> None:
        """The graph took so long for that; of `runners` that do so at once. Any thread."""
        found = load * self._runners / max(seconds, 1e-6)
        self.throughput = found if found > self.throughput else self.throughput + EWMA_DOWN * (found - self.throughput)

    def acquire(self, load: int, seconds: float) -> None:
        """Stand in the line. Raises Overloaded where that is unlikely to be over within `seconds`; never when alone."""
        ahead = min(self.load, self.requests * load)
        if ahead and self.throughput and ahead + load > DEADLINE_MARGIN * seconds * self.throughput:
            raise _overloaded(
                f"more is waiting than can be done within {seconds:g} s", _clamp(self.load / self.throughput)
            )
        self.requests += 1
        self.load += load

    def release(self, load: int) -> None:
        """It is done, or was given up."""
        self.requests -= 1
        self.load -= load


class Admission:
    """A bounded number of items and bytes at once."""

    def __init__(self, *, max_items: int, max_bytes: int) -> None:
        self.max_items, self.max_bytes = max_items, max_bytes
        self.items = self.nbytes = self.reserved = 0
        self._released = 0  # bytes, since the start
        self._history = deque([(monotonic(), 0)], maxlen=HISTORY)  # when so many had gone

    def acquire(self, items: int, size: int, graph_load: GraphLoad, load: int, seconds: float) -> None:
        """Take a place for `items` and `size` bytes, and one in the line, to be given back by `leave`.

        Raises Overloaded when there is none. A request larger than the whole limit is let in when nothing else is: it
        would never fit otherwise.
        """
        over = self.items + items > self.max_items or self.nbytes + size > self.max_bytes
        if over and self.items:
            raise _overloaded("as much work is waiting as may wait", self.retry_after())
        graph_load.acquire(load, seconds)
        self.items += items
        self.nbytes += size

    def release(self, items: int, size: int, graph_load: GraphLoad, load: int) -> None:
        """Give both back."""
        graph_load.release(load)
        self.items -= items
        self.nbytes -= size
        self._released += size
        now = monotonic()
        if now - self._history[-1][0] >= 1:
            self._history.append((now, self._released))

    def retry_after(self) -> int:
        """Seconds until what is under way has gone, at its pace of late; 1 to LONGEST."""
        now = monotonic()
        then, before = next((mark for mark in self._history if now - mark[0] <= HISTORY_SECONDS), (now, self._released))
        gone = self._released - before
        return _clamp(self.nbytes / gone * (now - then)) if gone else 1

    def reserve(self, more: int, size: int) -> None:
        """Keep `more` bytes of a body that then has `size`. Raises Overloaded where that is more than is left.

        So whoever sends much gives way to whoever sends little, and nobody can fill all of it: the dynamic threshold
        of shared buffers (Choudhury and Hahne, 1998). A body alone may have any size.
        """
        if size > self.max_bytes - self.reserved - more and self.reserved + more > size:
            raise _overloaded("as many bodies are here as may be", self.retry_after())
        self.reserved += more


class BodyReservation:
    """The bytes of one body, held inside a with block."""

    __slots__ = ("_admission", "size")

    def __init__(self, admission: Admission) -> None:
        self._admission, self.size = admission, 0

    def __enter__(self) -> Self:
        return self

    def add(self, more: int) -> None:
        """As many bytes more have come. Raises Overloaded."""
        self._admission.reserve(more, self.size + more)
        self.size += more

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._admission.reserved -= self.size
