"""Who may wait: a place for every item and every decoded byte under way, taken before decoding, given back after.

Counts only; knows neither requests nor models.
"""

from service.errors import Overloaded


class Admission:
    """A bounded number of items and bytes at once."""

    def __init__(self, *, items: int, size: int) -> None:
        self.max_items, self.max_size = items, size
        self.items = self.size = 0

    def enter(self, items: int, size: int) -> None:
        """Take a place for `items` and `size` bytes, to be given back by `leave`. Raises Overloaded when there is none.

        A request larger than the whole limit is let in when nothing else is: it would never fit otherwise.
        """
        over = self.items + items > self.max_items or self.size + size > self.max_size
        if over and self.items:
            raise Overloaded("as much work is waiting as may wait; try again", headers={"retry-after": "1"})
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
