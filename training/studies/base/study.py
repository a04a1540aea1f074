"""Interface of a study: a question, the measurement that answers it, and the rows, plots and summary of its results."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from matplotlib.figure import Figure

from training.workspace import Workspace

Results = dict[str, Any]
"""JSON values by name. Arrays are stored as `packing.pack` returns them."""
TargetStatus = Literal["stretch", "yes", "no", ""]
"""Whether a row reaches its stretch goal, its target or neither; empty without a target."""


@dataclass(frozen=True, slots=True)
class Row:
    """One measured metric of the report, with a reference and, optionally, a target."""

    label: str
    """Name of the metric with its unit: `digits: BCE, nats per pixel`."""
    value: float
    """The measured value."""
    reference: str
    """What the metric is compared with, with its number: `PCA-32: 0.0168`."""
    source: str = "measured here"
    """Origin of the reference."""
    target: float | None = None
    """Value to reach."""
    stretch: float | None = None
    """Stretch goal, beyond the target."""
    higher_is_better: bool = False
    """Whether the target is a lower bound. Otherwise it is an upper bound."""

    @property
    def status(self) -> TargetStatus:
        """Whether the value reaches the stretch goal, the target or neither; empty without a target."""
        if self.target is None:
            return ""
        if self.stretch is not None and self._reaches(self.stretch):
            return "stretch"
        return "yes" if self._reaches(self.target) else "no"

    @property
    def target_text(self) -> str:
        """The target and the stretch goal as text: `≤ 0.091 / ≤ 0.09`."""
        sign = "≥" if self.higher_is_better else "≤"
        return " / ".join(f"{sign} {bar:g}" for bar in (self.target, self.stretch) if bar is not None)

    def _reaches(self, bound: float) -> bool:
        return self.value >= bound if self.higher_is_better else self.value <= bound


@dataclass(frozen=True, slots=True)
class Study:
    """A question of the lecture and the functions that answer it.

    `measure` trains models and may take hours. The other functions take its results, measured or read from a file, and
    need seconds.
    """

    name: str
    """Name on the command line, and of the file of results."""
    title: str
    """Heading in the report."""
    question: str
    """Question that the study answers."""
    command: str
    """Command with which a reader trains the main model of the study."""
    measure: Callable[[Workspace], Results]
    """Measure the results."""
    rows: Callable[[Results], Sequence[Row]]
    """Return the rows of the report's table."""
    plot: Callable[[Results], Mapping[str, Figure]]
    """Return the figures by name. The caption is the figure's title."""
    summary: Callable[[Results], str]
    """Return the answer as text that contains the measured values. Paragraphs are separated by an empty line."""
