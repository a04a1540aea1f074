"""What a run costs by its items, and how many of them pay. Knows seconds by size, no graph."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from service.hardware import Choice

FIXED_SHARE = 0.05  # a batch is large enough where what a run costs whatever its items is this share of it


@dataclass(frozen=True, slots=True)
class Curve:
    """What a run costs: seconds = fixed + item * items."""

    fixed: float
    item: float

    @classmethod
    def of(cls, sizes: Sequence[int], seconds: Sequence[float]) -> "Curve":
        """Least squares of the relative errors, so that small batches weigh as much as large ones."""
        weights = 1 / np.asarray(seconds)
        columns = np.stack([np.ones(len(sizes)), np.asarray(sizes, float)], axis=1) * weights[:, np.newaxis]
        fixed, item = np.linalg.lstsq(columns, np.ones(len(sizes)))[0]
        return cls(max(0.0, float(fixed)), max(1e-9, float(item)))


def choose_batch(costs: dict[int, float], limit: int) -> Choice[int]:
    """Items of a batch from measured seconds by size: where larger ones gain no more, or the largest measured."""
    sizes, seconds = list(costs), list(costs.values())
    curve = Curve.of(sizes, seconds) if len(sizes) > 1 else Curve(0.0, seconds[0])
    enough = next((size for size in sizes if curve.fixed <= FIXED_SHARE * curve.item * size), None)
    told = f"a run costs {curve.fixed * 1e3:.3g} ms and {curve.item * 1e3:.3g} ms an item, measured up to {sizes[-1]}"
    if enough:
        return Choice(enough, f"{told}; larger ones would gain less than {FIXED_SHARE:.0%}")
    bound = "the setting" if 2 * sizes[-1] > limit else "what a lone caller may wait"
    return Choice(sizes[-1], f"{told}; {bound} allows no more")
