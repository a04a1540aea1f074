"""Who may wait: a place for every item and every decoded byte under way, taken before decoding, given back after.

Bodies have a bound of the same size beside it, from their first byte on. Knows neither requests nor models.
"""

from collections import deque
from math import ceil
from time import monotonic
from types import TracebackType
from typing import Self

from service.errors import Overloaded

MARKS = 10  # moments that are remembered, a second apart or more
LATE = 30  # seconds within which they tell of the pace
LONGEST = 60  # seconds that anybody is told to wait
SLOWER = 0.1  # of a slower run than before, what counts: a lone item says little of what many get
IN_TIME = 0.7  # of the time that a request has: to be let in it must be expected to take no more


def megapixels(size: int) -> float:
    """Of so many bytes, in pictures of three channels."""
    return size / 3e6


def _told(seconds: float) -> int:
    """What is told of so many seconds: 1 to LONGEST."""
    return max(1, min(LONGEST, ceil(seconds)))


def _overloaded(why: str, again: int) -> Overloaded:
    return Overloaded(f"{why}; try again in {again} s", headers={"retry-after": str(again)})


class Line:
    """The requests of one graph that are under way, and the pace of its runs: how long one more would take among them.

    They share the graph evenly, a large one with small ones by turns, so none waits for more of another than it has
    itself. Without this, where more is asked than can be done, the queue grows longer than its callers' patience, and
    all work is for those who are about to give up. Work is counted in what the graph's cost goes by: items, or bytes.
    """

    __slots__ = ("_runners", "count", "pace", "work")

    def __init__(self, runners: int = 1) -> None:
        self._runners = runners
        self.count = self.work = 0
        self.pace = 0.0
        """Work a second; 0: not known yet."""

    def ran(self, work: int, seconds: float) -> None:
        """The graph took so long for that; of `runners` that do so at once. Any thread."""
        found = work * self._runners / max(seconds, 1e-6)
        self.pace = found if found > self.pace else self.pace + SLOWER * (found - self.pace)

    def enter(self, work: int, seconds: float) -> None:
        """Stand in the line. Raises Overloaded where that is unlikely to be over within `seconds`; never when alone."""
        ahead = min(self.work, self.count * work)
        if ahead and self.pace and ahead + work > IN_TIME * seconds * self.pace:
            raise _overloaded(f"more is waiting than can be done within {seconds:g} s", _told(self.work / self.pace))
        self.count += 1
        self.work += work

    def leave(self, work: int) -> None:
        """It is done, or was given up."""
        self.count -= 1
        self.work -= work


class Admission:
    """A bounded number of items and bytes at once."""

    def __init__(self, *, items: int, size: int) -> None:
        self.max_items, self.max_size = items, size
        self.items = self.size = self.held = 0
        self._gone = 0  # bytes, since the start
        self._marks = deque([(monotonic(), 0)], maxlen=MARKS)  # when so many had gone

    def enter(self, items: int, size: int, line: Line, work: int, seconds: float) -> None:
        """Take a place for `items` and `size` bytes, and one in the line, to be given back by `leave`.

        Raises Overloaded when there is none. A request larger than the whole limit is let in when nothing else is: it
        would never fit otherwise.
        """
        over = self.items + items > self.max_items or self.size + size > self.max_size
        if over and self.items:
            raise _overloaded("as much work is waiting as may wait", self.wait())
        line.enter(work, seconds)
        self.items += items
        self.size += size

    def leave(self, items: int, size: int, line: Line, work: int) -> None:
        """Give both back."""
        line.leave(work)
        self.items -= items
        self.size -= size
        self._gone += size
        now = monotonic()
        if now - self._marks[-1][0] >= 1:
            self._marks.append((now, self._gone))

    def wait(self) -> int:
        """Seconds until what is under way has gone, at its pace of late; 1 to LONGEST."""
        now = monotonic()
        then, before = next((mark for mark in self._marks if now - mark[0] <= LATE), (now, self._gone))
        gone = self._gone - before
        return _told(self.size / gone * (now - then)) if gone else 1

    def hold(self, more: int, size: int) -> None:
        """Keep `more` bytes of a body that then has `size`. Raises Overloaded where that is more than is left.

        So whoever sends much gives way to whoever sends little, and nobody can fill all of it: the dynamic threshold
        of shared buffers (Choudhury and Hahne, 1998). A body alone may have any size.
        """
        if size > self.max_size - self.held - more and self.held + more > size:
            raise _overloaded("as many bodies are here as may be", self.wait())
        self.held += more


class Hold:
    """The bytes of one body, held inside a with block."""

    __slots__ = ("_admission", "size")

    def __init__(self, admission: Admission) -> None:
        self._admission, self.size = admission, 0

    def __enter__(self) -> Self:
        return self

    def grow(self, more: int) -> None:
        """As many bytes more have come. Raises Overloaded."""
        self._admission.hold(more, self.size + more)
        self.size += more

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._admission.held -= self.size
