"""Orders the waiting requests of one graph by priority, and prevents that those of low priority wait forever."""

from collections import deque
from collections.abc import Sequence
from typing import Final, Generic, NamedTuple, TypeVar

T = TypeVar("T")

HIGHEST_PRIORITY: Final = 1
DEFAULT_PRIORITY: Final = 2
LOWEST_PRIORITY: Final = 3
FAIR_TURN: Final = 4
"""Every fourth turn begins with the request that has waited longest, whatever its priority."""


class QueueOptions(NamedTuple):
    """How a request waits: its priority, from 1 (first) to 3 (last), and the seconds it may wait, None for no limit.

    `idle_turns`: further iterations of the event loop without a new item that a batch waits for. More than 0 helps
    front ends whose requests arrive one by one, each in several iterations.
    """

    priority: int = DEFAULT_PRIORITY
    timeout: float | None = None
    idle_turns: int = 0

    def without_timeout(self) -> "QueueOptions":
        """Return the options of what a request submits later: its timeout is that of the first submission."""
        return self if self.timeout is None else self._replace(timeout=None)


DEFAULT_OPTIONS: Final = QueueOptions()


class Entry(NamedTuple, Generic[T]):
    """An item of a queue, and its number in the order of arrival."""

    number: int
    item: T


class PriorityQueue(Generic[T]):
    """A first-come queue for each priority."""

    def __init__(self) -> None:
        self._levels: tuple[deque[Entry[T]], ...] = tuple(deque() for _ in range(LOWEST_PRIORITY))
        self._arrivals = 0
        self._turns = 0

    def __bool__(self) -> bool:
        return any(self._levels)

    def append(self, item: T, priority: int) -> None:
        """Add an item behind all others of its priority, from 1 to 3."""
        self._arrivals += 1
        self._levels[priority - 1].append(Entry(self._arrivals, item))

    def turn(self) -> Sequence[deque[Entry[T]]]:
        """Return the queues that have items, in the order in which to take from them.

        The order is that of the priorities. In every fourth turn in which several priorities wait, the queue of the
        oldest item is the first, so that each gets a share of the turns.
        """
        waiting = [level for level in self._levels if level]
        if len(waiting) < 2:
            return waiting
        self._turns += 1
        if self._turns % FAIR_TURN == 0:
            oldest = min(waiting, key=lambda level: level[0].number)
            waiting.sort(key=lambda level: level is not oldest)
        return waiting
