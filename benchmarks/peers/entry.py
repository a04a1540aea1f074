"""Figures of the servers, as a table and as a plot."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from matplotlib.figure import Figure

from benchmarks.load import Measured

CONNECTIONS = (1, 32, 128)


@dataclass(slots=True)
class Entry:
    """One server: rounds of its run and the echo's by connections, its memory, its start time."""

    title: str
    runs: dict[int, list[tuple[Measured, Measured]]] = field(default_factory=dict)
    megabytes: float = 0.0
    start: float = 0.0

    def ratio(self, connections: int) -> float:
        """Return requests per second relative to the echo, as the median of the rounds."""
        return median(mine.rate / echo.rate for mine, echo in self.runs[connections])

    def tail(self) -> float:
        """Return the 99th percentile relative to the median latency at the most connections."""
        return median(mine.p99 / mine.p50 for mine, _ in self.runs[CONNECTIONS[-1]])

    def alone(self) -> float:
        """Return the median latency of a single client relative to the echo."""
        return median(mine.p50 / echo.p50 for mine, echo in self.runs[1])

    def failed(self) -> int:
        """Number of requests without status 200."""
        return sum(mine.failed for rounds in self.runs.values() for mine, _ in rounds)

    def row(self) -> str:
        """Return its line of the table."""
        rates = " | ".join(f"{median(mine.rate for mine, _ in self.runs[at]):,.0f}" for at in CONNECTIONS)
        ratios = " | ".join(f"{self.ratio(at):.3f}" for at in CONNECTIONS)
        rest = f"{self.alone():.1f} | {self.tail():.1f} | {self.megabytes:.0f} | {self.start:.2f} | {self.failed()}"
        return f"| {self.title} | {rates} | {ratios} | {rest} |"


def ranked(entries: Sequence[Entry]) -> list[Entry]:
    """Sort entries: Hourglass first, then by requests per second at 32 connections."""
    return [entries[0], *sorted(entries[1:], key=lambda entry: -entry.ratio(32))]


def table(entries: Sequence[Entry]) -> str:
    """Return the table, one line per server."""
    counts = " | ".join(f"req/s, {at}" for at in CONNECTIONS)
    ratios = " | ".join(f"/ echo, {at}" for at in CONNECTIONS)
    head = f"| | {counts} | {ratios} | p50 / echo's, 1 | p99 / p50, 128 | PSS MB | start s | failed |\n"
    return head + "|---" * 12 + "|\n" + "\n".join(entry.row() for entry in ranked(entries)) + "\n"


def draw(entries: Sequence[Entry], path: Path) -> None:
    """Plot requests per second at 32 connections relative to FastAPI's echo."""
    figure = Figure(figsize=(8, 0.45 * len(entries) + 1.2), layout="constrained")
    axes = figure.subplots()
    for place, entry in enumerate(reversed(ranked(entries))):
        ratio = entry.ratio(32)
        axes.barh(place, ratio, color="#2a7f62" if "Hourglass" in entry.title else "#9aa5ab", height=0.6)
        axes.text(ratio + 0.01, place, f"{ratio:.3g}", va="center", fontsize=9)
    axes.axvline(1.0, color="black", linewidth=1)
    axes.set_yticks(range(len(entries)), [entry.title.strip("*") for entry in reversed(ranked(entries))], fontsize=9)
    axes.set_xlabel("requests a second at 32 connections, as a share of FastAPI's echo (the line)", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)
