"""The commands that answer the lecture: measure a study, draw the report. Imports what they need when they run."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from training.cli.options import DEFAULT_MODELS, DEFAULT_RESULTS, DataFolder, ModelsFolder, ResultsFolder


def study_command(
    names: Annotated[list[str], Parameter(help="Studies to measure; `all` for every one of them.", negative="")],
    *,
    data: DataFolder = None,
    out: ModelsFolder = DEFAULT_MODELS,
    results: ResultsFolder = DEFAULT_RESULTS,
    runs: Annotated[Path, Parameter(help="Where fits leave their state, and go on from.")] = Path("runs"),
) -> None:
    """Measure what answers a question of the lecture; fits what is not fitted yet, which may take hours.

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
    """Draw the figures of all stored studies and write the report, one page that needs nothing beside it.

    Example: hourglass-train report --results docs/lecture
    """
    from training.report import write_report

    print(write_report(results))
