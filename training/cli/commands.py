"""The command line `hourglass-train`: what a person types becomes calls, what goes wrong becomes one sentence.

torch is imported by the commands that need it, so that --help and data answer at once.
"""

import json
import logging
import sys
import tempfile
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from signal import SIGINT
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from training.cli.data_commands import data_command, schema_command
from training.cli.options import (
    DEFAULT_MODELS,
    AsJson,
    DataFolder,
    InitWeights,
    ModelsFolder,
    Overrides,
    RecipeName,
    Resume,
    RunFolder,
)
from training.cli.study_commands import report_command, study_command
from training.errors import RESUME_HINT, NothingToPlot, TrainingError, user_message
from training.loop.signals import interrupt_on_signal

if TYPE_CHECKING:
    from training.data import Dataset
    from training.recipe import Recipe

app = App(
    name="hourglass-train",
    version=version("hourglass"),
    help="Fit autoencoders by recipes, and publish them for the service.",
    suppress_keyboard_interrupt=False,
)


@app.command(name="fit")
def fit_command(
    recipe: RecipeName,
    *,
    data: DataFolder = None,
    out: ModelsFolder = DEFAULT_MODELS,
    changes: Overrides = None,
    run: RunFolder = None,
    resume: Resume = None,
    init: InitWeights = None,
) -> None:
    """Fit a recipe, prove its graphs and publish the model.

    Example: hourglass-train fit digits --data ~/data --set optimizer.epochs=20

    On several processes: torchrun --nproc-per-node 2 -m training fit digits --data ~/data
    """
    from training.atomic_files import write_atomic
    from training.cli.display import print_figures, progress
    from training.evaluation.loss_curve import plot_loss
    from training.evaluation.picture_grid import sample_grid
    from training.export.publish import check_writable, latest_version, load_graphs, publish
    from training.loop.distributed import process_group
    from training.loop.fit import fit
    from training.loop.run_folder import CURVE_FILE, PICTURES_FILE, read_log

    plan, items, folder = _prepare(recipe, data, changes, run)
    check_writable(plan, out)
    with process_group() as together:
        with progress(plan.model.name, shown=together.is_main) as tell:
            fitted = fit(plan, items, folder, tell, resume=resume, init=init, process_group=together)
        if not together.is_main:
            return
    write_atomic(folder / CURVE_FILE, plot_loss(read_log(folder), plan.model.name))
    target, measured = publish(plan, items, fitted, out)
    with suppress(NothingToPlot):
        write_atomic(folder / PICTURES_FILE, sample_grid(plan, items, load_graphs(latest_version(plan, out))))
    print_figures(plan.model.name, measured)
    print(f"published {target} after {fitted.steps} steps in {fitted.seconds:.0f} s")


@app.command(name="export")
def export_command(
    recipe: RecipeName,
    *,
    data: DataFolder = None,
    out: ModelsFolder = DEFAULT_MODELS,
    changes: Overrides = None,
    run: RunFolder = None,
) -> None:
    """Publish what a run folder's newest checkpoint holds, as fit does at its end.

    Example: hourglass-train export digits --run runs/digits --data ~/data
    """
    from training.cli.display import print_figures
    from training.export.publish import publish
    from training.loop.fit import load_fitted

    plan, items, folder = _prepare(recipe, data, changes, run)
    target, measured = publish(plan, items, load_fitted(plan, items, folder), out)
    print_figures(plan.model.name, measured)
    print(f"published {target}")


@app.command(name="evaluate")
def evaluate_command(
    recipe: RecipeName,
    *,
    data: DataFolder = None,
    changes: Overrides = None,
    run: RunFolder = None,
    as_json: AsJson = False,
) -> None:
    """Measure what a run folder's newest checkpoint holds, beside the classical methods; publish nothing.

    Example: hourglass-train evaluate digits --run runs/digits --data ~/data --json
    """
    from training.cli.display import print_figures
    from training.export.publish import evaluate_fitted
    from training.loop.fit import load_fitted

    plan, items, folder = _prepare(recipe, data, changes, run)
    with tempfile.TemporaryDirectory() as scratch:
        measured = evaluate_fitted(plan, items, load_fitted(plan, items, folder), Path(scratch))
    if as_json:
        print(json.dumps(asdict(measured), indent=2))
    else:
        print_figures(plan.model.name, measured)


@app.command(name="pictures")
def pictures_command(
    recipe: RecipeName,
    *,
    data: DataFolder = None,
    out: ModelsFolder = DEFAULT_MODELS,
    changes: Overrides = None,
    to: Annotated[Path, Parameter(help="The PNG to write.")] = Path("pictures.png"),
) -> None:
    """Draw test pictures and what the newest published version answers to them.

    Example: hourglass-train pictures digits-denoise --data ~/data --to digits.png
    """
    from training.atomic_files import write_atomic
    from training.evaluation.picture_grid import sample_grid
    from training.export.publish import latest_version, load_graphs

    plan, items, _ = _prepare(recipe, data, changes, None)
    write_atomic(to, sample_grid(plan, items, load_graphs(latest_version(plan, out))))
    print(to)


@app.command(name="noise")
def noise_command(
    recipe: RecipeName,
    *,
    data: DataFolder = None,
    changes: Overrides = None,
    to: Annotated[Path, Parameter(help="The folder for the PNGs, one for each kind of noise.")] = Path("noise"),
) -> None:
    """Draw test pictures with each kind of noise that a recipe trains with.

    Example: hourglass-train noise photo --data ~/data --to noise
    """
    from training.atomic_files import write_atomic
    from training.evaluation.picture_grid import draw_noise

    plan, items, _ = _prepare(recipe, data, changes, None)
    to.mkdir(parents=True, exist_ok=True)
    for name, png in draw_noise(plan, items).items():
        write_atomic(to / f"{name}.png", png)
        print(to / f"{name}.png")


app.command(study_command, name="study")
app.command(report_command, name="report")
app.command(data_command, name="data")
app.command(schema_command, name="schema")


def _prepare(
    recipe: str, data: Path | None, changes: list[str] | None, run: Path | None
) -> tuple["Recipe", "Dataset", Path]:
    """The recipe with its changes, its data, and the run folder."""
    from training.data import load
    from training.recipe import read_recipe

    plan = read_recipe(recipe, changes or [])
    return plan, load(plan.data, data), run or Path("runs") / plan.model.name


def expand_home(word: str) -> str:
    """Return a word of the command line with a leading `~` replaced; shells leave it in `--out=~/models`."""
    flag, equals, value = word.rpartition("=") if word.startswith("--") else ("", "", word)
    return f"{flag}{equals}{Path(value).expanduser()}" if value == "~" or value.startswith("~/") else word


def main(arguments: list[str] | None = None) -> None:
    """The console script; the command line of this process unless given another. Exits with the error's status."""
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    try:
        with interrupt_on_signal():
            app([expand_home(word) for word in (sys.argv[1:] if arguments is None else arguments)])
    except Exception as error:
        words = user_message(error)
        if words is None:
            raise
        print(f"hourglass-train: {words}", file=sys.stderr)
        sys.exit(error.status if isinstance(error, TrainingError) else 1)
    except KeyboardInterrupt as stop:
        print(f"hourglass-train: stopped: to go on, {RESUME_HINT}", file=sys.stderr)
        sys.exit(128 + (stop.args or (SIGINT,))[0])
