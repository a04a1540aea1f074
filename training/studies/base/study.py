"""What a study is: a question of the lecture, what answers it in figures, and what is drawn of them. Knows no study."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from matplotlib.figure import Figure

from training.workspace import Workspace

Results = dict[str, Any]
"""JSON values; arrays as `stored.pack` writes them."""
TargetStatus = Literal["stretch", "yes", "no", ""]


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of the report and what it is held against. `target`, `stretch`: what it is to reach, if anything."""

    label: str
    """In a few words, with the unit: `digits: BCE, nats a pixel`."""
    value: float
    reference: str
    """In words, with its number: `PCA-32: 0.0168`."""
    source: str = "measured here"
    """Of the reference's number."""
    target: float | None = None
    stretch: float | None = None
    higher_is_better: bool = False
    """Whether a higher figure is the better one."""

    @property
    def status(self) -> TargetStatus:
        if self.target is None:
            return ""
        if self.stretch is not None and self._reaches(self.stretch):
            return "stretch"
        return "yes" if self._reaches(self.target) else "no"

    @property
    def target_text(self) -> str:
        """The bars, in a few signs."""
        sign = "≥" if self.higher_is_better else "≤"
        return " / ".join(f"{sign} {bar:g}" for bar in (self.target, self.stretch) if bar is not None)

    def _reaches(self, bound: float) -> bool:
        return self.value >= bound if self.higher_is_better else self.value <= bound


@dataclass(frozen=True, slots=True)
class Study:
    """`measure` may take hours and only it needs data and torch; `plot`, `rows` and `summary` take seconds."""

    name: str
    title: str
    question: str
    """As the lecture asks it."""
    command: str
    """What a reader types to see it for himself."""
    measure: Callable[[Workspace], Results]
    rows: Callable[[Results], Sequence[Row]]
    plot: Callable[[Results], Mapping[str, Figure]]
    """By name; the caption is the figure's own title."""
    summary: Callable[[Results], str]
    """The answer: a few sentences with the figures in them, paragraphs parted by an empty line."""
