"""Terminal output: the progress bar of a fit and the table of metrics."""

import sys
from collections.abc import Generator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from training.evaluation.metrics import Evaluation
from training.loop.fit import ProgressCallback


@contextmanager
def progress(name: str, *, shown: bool = True) -> Generator[ProgressCallback]:
    """Show a progress bar on stderr, and return the callback that updates it.

    The callback does nothing if `shown` is false or stderr is not a terminal.
    """
    if not shown or not sys.stderr.isatty():
        yield lambda _step, _total, _loss, _rate: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.5f}  {task.fields[rate]:,.0f} items/s"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(name, total=None, loss=0.0, rate=0.0)
        smoothed = 0.0

        def on_step(step: int, total: int, loss: float, rate: float) -> None:
            nonlocal smoothed
            smoothed = 0.98 * smoothed + 0.02 * rate if smoothed else rate
            bar.update(task, completed=step, total=total, loss=loss, rate=smoothed)

        yield on_step


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
