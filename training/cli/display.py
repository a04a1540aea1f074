"""Terminal output: the progress bar of a fit and the table of metrics."""

import math
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from training.evaluation.metrics import Evaluation
from training.evaluation.verdict import Finding
from training.loop.asked_length import AskedLength, read_asked_length
from training.loop.fit import ProgressCallback

BLOCKS = "▁▂▃▄▅▆▇█"
CURVE_WIDTH = 24
"""Characters of the curve of the loss."""
ANNOUNCE_STEPS = 20
"""Steps after which the duration of a run is announced."""


class LossCurve:
    """The losses of a run as a line of block characters, on a logarithmic scale if all are positive."""

    def __init__(self) -> None:
        self._sums: dict[int, float] = {}
        self._counts: dict[int, int] = {}

    def add(self, step: int, total: int, loss: float) -> None:
        """Add the loss of a step, counted from 1, of `total` steps."""
        place = min(CURVE_WIDTH - 1, (step - 1) * CURVE_WIDTH // total)
        self._sums[place] = self._sums.get(place, 0.0) + loss
        self._counts[place] = self._counts.get(place, 0) + 1

    def __str__(self) -> str:
        means = [self._sums[place] / self._counts[place] for place in sorted(self._sums)]
        if not means or not all(math.isfinite(mean) for mean in means):
            return ""
        values = [math.log(mean) for mean in means] if min(means) > 0 else means
        low, high = min(values), max(values)
        scale = (len(BLOCKS) - 1) / (high - low) if high > low else 0.0
        return "".join(BLOCKS[round((value - low) * scale)] for value in values)


@contextmanager
def progress(name: str, *, shown: bool = True) -> Generator[ProgressCallback]:
    """Show a progress bar and the curve of the loss on stderr, and return the callback that updates them.

    The callback does nothing if `shown` is false or stderr is not a terminal.
    """
    if not shown or not sys.stderr.isatty():
        yield lambda _step, _total, _loss, _rate: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[curve]} loss {task.fields[loss]:.5f}  {task.fields[rate]:,.0f} items/s"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(name, total=None, loss=0.0, rate=0.0, curve="")
        smoothed, curve = 0.0, LossCurve()

        def on_step(step: int, total: int, loss: float, rate: float) -> None:
            nonlocal smoothed, curve
            curve = LossCurve() if step == 1 else curve  # of the next stage
            smoothed = 0.98 * smoothed + 0.02 * rate if smoothed else rate
            curve.add(step, total, loss)
            bar.update(task, completed=step, total=total, loss=loss, rate=smoothed, curve=str(curve))

        yield on_step


def announced() -> ProgressCallback:
    """Return a callback that prints, after the first steps, how long the run takes."""
    times: list[float] = []

    def on_step(step: int, total: int, _loss: float, _rate: float) -> None:
        if step == 1:
            times.clear()
        if len(times) > ANNOUNCE_STEPS:
            return
        times.append(time.perf_counter())
        if len(times) > ANNOUNCE_STEPS:
            seconds = median(after - before for before, after in pairwise(times)) * (total - step)
            print(f"{total:,} steps, about {describe_seconds(seconds)} on this machine", flush=True)

    return on_step


def print_new_length(folder: Path, length: AskedLength, *, resume: bool | None) -> None:
    """Say so if a resumed run gets another length than it had."""
    kept = read_asked_length(folder) if resume else None
    if kept is not None and kept.epochs != length.epochs:
        print(f"length: {length.epochs:,} epochs, as this command says; the run had {kept.epochs:,} before")


def describe_seconds(seconds: float) -> str:
    """Return a duration in words."""
    if seconds < 90:
        return f"{max(1, round(seconds))} seconds"
    return f"{round(seconds / 60)} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


def print_verdict(findings: Sequence[Finding]) -> None:
    """Print the sentences of a verdict, those that prevent publishing in red."""
    for finding in findings:
        Console().print(finding.sentence, style="bold red" if finding.blocking else None, highlight=False)


def print_metrics(name: str, measured: Evaluation) -> None:
    """Print a table of metrics with one column for the model and one for each baseline."""
    methods = {name: measured.metrics, **measured.baselines}
    table = Table(title=f"{name}: {measured.data}", title_justify="left")
    table.add_column("metric")
    for method in methods:
        table.add_column(method, justify="right")
    for key in measured.metrics:
        cells = (f"{metrics[key]:.5g}" if key in metrics else "" for metrics in methods.values())
        table.add_row(key.replace("_", " "), *cells)
    Console().print(table)
