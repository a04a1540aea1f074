"""What a study is: a question of the lecture, what answers it in figures, and what is drawn of them. Knows no study."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from matplotlib.figure import Figure

from training.workspace import Workshop

Results = dict[str, Any]
"""JSON values; arrays as `stored.pack` writes them."""
Reached = Literal["stretch", "yes", "no", ""]


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of the report beside what it is held against. `bar`, `stretch`: what it is to reach, if anything."""

    what: str
    """In a few words, with the unit: `digits: BCE, nats a pixel`."""
    figure: float
    reference: str
    """In words, with its number: `PCA-32: 0.0168`."""
    source: str = "measured here"
    """Of the reference's number."""
    bar: float | None = None
    stretch: float | None = None
    higher: bool = False
    """Whether a higher figure is the better one."""

    @property
    def reached(self) -> Reached:
        if self.bar is None:
            return ""
        if self.stretch is not None and self._within(self.stretch):
            return "stretch"
        return "yes" if self._within(self.bar) else "no"

    @property
    def aim(self) -> str:
        """The bars, in a few signs."""
        sign = "≥" if self.higher else "≤"
        return " / ".join(f"{sign} {bar:g}" for bar in (self.bar, self.stretch) if bar is not None)

    def _within(self, bound: float) -> bool:
        return self.figure >= bound if self.higher else self.figure <= bound


@dataclass(frozen=True, slots=True)
class Study:
    """`measure` may take hours and only it needs data and torch; `draw`, `rows` and `words` take seconds."""

    name: str
    title: str
    question: str
    """As the lecture asks it."""
    command: str
    """What a reader types to see it for himself."""
    measure: Callable[[Workshop], Results]
    rows: Callable[[Results], Sequence[Row]]
    draw: Callable[[Results], Mapping[str, Figure]]
    """By name; the caption is the figure's own title."""
    words: Callable[[Results], str]
    """The answer: a few sentences with the figures in them, paragraphs parted by an empty line."""
