"""Who may wait: a place for every item and every decoded byte under way, taken before decoding, given back after.

Counts only; knows neither requests nor models.
"""

from collections import deque
from math import ceil
from time import monotonic

from service.errors import Overloaded

MARKS = 10  # moments that are remembered, a second apart or more
LATE = 30  # seconds within which they tell of the pace
LONGEST = 60  # seconds that anybody is told to wait


class Admission:
    """A bounded number of items and bytes at once."""

    def __init__(self, *, items: int, size: int) -> None:
        self.max_items, self.max_size = items, size
        self.items = self.size = 0
        self._gone = 0  # bytes, since the start
        self._marks = deque([(monotonic(), 0)], maxlen=MARKS)  # when so many had gone

    def enter(self, items: int, size: int) -> None:
        """Take a place for `items` and `size` bytes, to be given back by `leave`. Raises Overloaded when there is none.

        A request larger than the whole limit is let in when nothing else is: it would never fit otherwise.
        """
        over = self.items + items > self.max_items or self.size + size > self.max_size
        if over and self.items:
            again = str(self.wait())
            raise Overloaded(
                f"as much work is waiting as may wait; try again in {again} s", headers={"retry-after": again}
            )
        self.items += items
        self.size += size

    @property
    def megapixels(self) -> float:
        """Of all that is under way, in pictures of three channels."""
        return self.size / 3e6

    def leave(self, items: int, size: int) -> None:
        """Give the place back."""
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
        return max(1, min(LONGEST, ceil(self.size / gone * (now - then)))) if gone else 1
