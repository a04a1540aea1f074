"""`make bench`: measure floors and Hourglass in interleaved rounds, and write a table and a plot to results/.

Each kind of processor has a folder of its own there, and the guard compares with the run of the same kind.
"""

import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks import load_cases, process_cases
from benchmarks.load import WrkMissing, wrk
from benchmarks.load_cases import Sample, running_servers
from benchmarks.process import ServerFailed
from benchmarks.processor import processor_kind, processor_names, results_folder
from benchmarks.report import NoStoredRun, Row, markdown, regressions, store, stored_ratios

ALLOWED = 0.15  # loss of a ratio against the stored run at which the guard fails; rounds differ by half of it
CASES = (*load_cases.CASES, *process_cases.CASES)
NAMES = ", ".join(case.name for case in CASES)
Rounds = Annotated[int, Parameter(help="rounds of every case; the table shows their medians")]
Seconds = Annotated[float, Parameter(help="seconds of load per round")]
Only = Annotated[str, Parameter(help=f"cases to measure, separated by commas; the table is not stored then: {NAMES}")]
Guard = Annotated[
    bool,
    Parameter(
        help=f"store nothing; fail if a ratio is {ALLOWED:.0%} worse than the stored one of this kind of processor"
    ),
]
notes = Console(stderr=True)
app = App(name="python -m benchmarks", help="Measure the service beside its floors. wrk sends the load.")


@app.default
def bench(*, rounds: Rounds = 3, seconds: Seconds = 2.0, only: Only = "", guard: Guard = False) -> None:
    """Measure all cases, print the table and store it in benchmarks/results/PROCESSOR.

    Example: python -m benchmarks --only png,bulk --rounds 5
    """
    wrk()
    stored = stored_ratios(results_folder()) if guard else {}
    if rounds < 1 or seconds <= 0:
        raise ValueError("a round or more, and some seconds of each")
    names = [name for name in only.split(",") if name]
    if unknown := set(names) - {case.name for case in CASES}:
        raise ValueError(f"there is no case {unknown.pop()}: {NAMES}")
    chosen = [case for case in CASES if not names or case.name in names]
    samples: dict[str, list[Sample]] = {case.name: [] for case in chosen}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    progress = Progress(*columns, console=notes, transient=True)
    with tempfile.TemporaryDirectory() as folder, running_servers(Path(folder), seconds) as floors, progress:
        task = progress.add_task("", total=sum(1 if case.once else rounds for case in chosen))
        for turn in range(rounds):
            for case in chosen:
                if turn and case.once:
                    continue
                progress.update(task, description=f"round {turn + 1}: {case.title}")
                samples[case.name].append(case.measure(floors))
                progress.advance(task)
    rows = [Row(case, samples[case.name]) for case in chosen]
    print(markdown(rows))
    if guard:
        lost = regressions(rows, ALLOWED, stored)
        print("\n".join(lost) or "no ratio is worse than in the stored run")
        sys.exit(1 if lost else 0)
    if not names:
        store(rows, machine(), results_folder())


def machine() -> str:
    """Describe the machine in one line."""
    names = processor_names()
    versions = ", ".join(f"{name} {version(name)}" for name in ("hourglass", "onnxruntime", "uvicorn", "fastapi"))
    return f"{names[0]}, {len(names)} processors, {processor_kind()}; {versions}"


if __name__ == "__main__":
    try:
        app()
    except (WrkMissing, ServerFailed, NoStoredRun, ValueError) as error:
        notes.print(str(error), style="red", markup=False, highlight=False)
        sys.exit(2)
