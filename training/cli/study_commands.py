"""The commands `study` and `report`, which measure the questions of the lecture."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from training.cli.options import (
    DEFAULT_MODELS,
    DEFAULT_RESULTS,
    DEFAULT_RUNS,
    DataFolder,
    ModelsFolder,
    ResultsFolder,
)


def study_command(
    names: Annotated[list[str], Parameter(help="Studies to measure, or `all`.", negative="")],
    *,
    data: DataFolder = None,
    out: ModelsFolder = DEFAULT_MODELS,
    results: ResultsFolder = DEFAULT_RESULTS,
    runs: Annotated[Path, Parameter(help="Folder of run folders; stopped fits are resumed.")] = DEFAULT_RUNS,
) -> None:
    """Measure studies and store their results. Models that are missing are fitted first, which may take hours.

    Example: hourglass-train study linear --data ~/data
    """
    from training.cli.display import progress
    from training.report import save_results
    from training.studies import find_studies
    from training.workspace import Workspace

    workspace = Workspace(data, out, runs, progress)
    for study in find_studies(names):
        print(save_results(results, study, study.measure(workspace)))


def report_command(*, results: ResultsFolder = DEFAULT_RESULTS) -> None:
    """Draw the figures of all stored results, and write the report as a self-contained HTML page.

    Example: hourglass-train report --results docs/lecture
    """
    from training.report import write_report

    print(write_report(results))
