"""Results of a run: a Markdown table, JSON for comparison with the next run, and a plot."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from matplotlib.figure import Figure

from benchmarks.load_cases import Case, Sample
from benchmarks.processor import stored_kinds


class NoStoredRun(Exception):
    """There is no stored run of this kind of processor to compare with."""


@dataclass(frozen=True, slots=True)
class Row:
    """A case and its rounds."""

    case: Case
    samples: Sequence[Sample]

    @property
    def ratio(self) -> float:
        """Return the median ratio of the rounds."""
        return median(sample.ratio for sample in self.samples)

    @property
    def shown(self) -> str:
        """Return the figures of the round with the median ratio."""
        return min(self.samples, key=lambda sample: abs(sample.ratio - self.ratio)).shown

    @property
    def failed(self) -> int:
        """Number of requests without status 200."""
        return sum(sample.failed for sample in self.samples)


def markdown(rows: Sequence[Row]) -> str:
    """Return the table, one line per case."""
    lines = ["| case | goal | reached | rounds | figures of the median round | others (reference) |"]
    lines.append("|---|---|---|---|---|---|")
    for row in rows:
        case, ratios = row.case, [sample.ratio for sample in row.samples]
        goal = f"{'≥' if case.better == 'higher' else '≤'} {case.goal:g}"
        mark = "" if case.met(row.ratio) else " (missed)"
        failed = f"; {row.failed} failed" if row.failed else ""
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        lines.append(
            f"| {case.title} | {goal} | **{row.ratio:.2f}**{mark} | {spread} | {row.shown}{failed} | {case.others} |"
        )
    return "\n".join(lines) + "\n"


def store(rows: Sequence[Row], machine: str, folder: Path) -> None:
    """Write serving.json, .md and .png into the folder of this kind of processor."""
    folder.mkdir(exist_ok=True)
    ratios = {row.case.name: [round(sample.ratio, 4) for sample in row.samples] for row in rows}
    text = json.dumps({"machine": machine, "ratios": ratios}, indent=2)
    (folder / "serving.json").write_text(text + "\n")
    (folder / "serving.md").write_text(f"{machine}\n\n{markdown(rows)}")
    draw(rows, folder / "serving.png")


def draw(rows: Sequence[Row], path: Path) -> None:
    """Plot each case as a multiple of its goal; beyond the line is better."""
    figure = Figure(figsize=(9, 0.42 * len(rows) + 1.4), layout="constrained")
    axes = figure.subplots()
    for place, row in enumerate(reversed(rows)):
        case = row.case
        reached = row.ratio / case.goal if case.better == "higher" else case.goal / row.ratio
        axes.barh(place, reached, color="#2a7f62" if case.met(row.ratio) else "#c8553d", height=0.6)
        axes.text(reached + 0.02, place, f"{row.ratio:.2f}", va="center", fontsize=9)
    axes.axvline(1.0, color="black", linewidth=1)
    axes.set_yticks(range(len(rows)), [row.case.title for row in reversed(rows)], fontsize=9)
    axes.set_xlabel("reached, as a multiple of the goal (the line); the number is the case's own")
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.1)
    figure.savefig(path, dpi=110)


def stored_ratios(folder: Path) -> dict[str, list[float]]:
    """Return the stored ratios of each case. Raises NoStoredRun if there is no run of this kind of processor."""
    try:
        return json.loads((folder / "serving.json").read_text())["ratios"]
    except FileNotFoundError as error:
        kinds = ", ".join(stored_kinds()) or "none"
        raise NoStoredRun(f"there is no stored run of {folder.name}, only of {kinds}: make bench stores one") from error


def regressions(rows: Sequence[Row], allowed: float, stored: Mapping[str, Sequence[float]]) -> list[str]:
    """Return sentences on cases that failed, or whose ratio is worse than the stored one by more than ALLOWED.

    `stored` are ratios of the same kind of processor.
    """
    lines: list[str] = []
    for row in rows:
        if row.failed:  # a rejection is fast
            lines.append(f"{row.case.name}: {row.failed} requests were not answered 200 ({row.case.title})")
        if row.case.name not in stored:
            continue
        before = median(stored[row.case.name])
        kept, due = (row.ratio, before) if row.case.better == "higher" else (before, row.ratio)
        if due > kept * (1 + allowed):
            lines.append(f"{row.case.name}: {row.ratio:.2f}, was {before:.2f} ({row.case.title})")
    return lines
