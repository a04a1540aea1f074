"""The commands of `hourglass-train`. Errors that the user can fix are printed as one sentence.

Each command imports torch itself, so that `--help` and `data` start without it.
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
from typing import Annotated

from cyclopts import App, Parameter

from training.cli.data_commands import data_command, schema_command
from training.cli.import_commands import import_command
from training.cli.new_command import new_command
from training.cli.options import (
    DEFAULT_MODELS,
    DEFAULT_RECIPE_OPTIONS,
    DEFAULT_RUN_OPTIONS,
    AsJson,
    DeviceOption,
    InitWeights,
    Minutes,
    MLflow,
    ModelsFolder,
    PublishAnyway,
    RecipeName,
    RecipeOptions,
    Resume,
    RunOptions,
    TensorBoard,
)
from training.cli.study_commands import report_command, study_command
from training.errors import RESUME_HINT, NothingToPlot, exit_status, user_message
from training.loop.signals import interrupt_on_signal

app = App(
    name="hourglass-train",
    version=version("hourglass"),
    help="Train autoencoders from recipes, and publish them for the service.",
    suppress_keyboard_interrupt=False,
)


@app.command(name="fit")
def fit_command(
    recipe: RecipeName,
    *,
    options: RunOptions = DEFAULT_RUN_OPTIONS,
    out: ModelsFolder = DEFAULT_MODELS,
    resume: Resume = None,
    init: InitWeights = None,
    minutes: Minutes = None,
    tensorboard: TensorBoard = False,
    mlflow: MLflow = False,
    publish_anyway: PublishAnyway = False,
    device: DeviceOption = "auto",
) -> None:
    """Fit a recipe, check the exported graphs, and publish the model.

    Example: hourglass-train fit digits --data ~/data --set optimizer.epochs=20

    On the processor although there is a GPU: hourglass-train fit digits --data ~/data --device cpu

    With several processes: torchrun --nproc-per-node 2 -m training fit digits --data ~/data
    """
    from training.atomic_files import write_atomic
    from training.cli.approval import approval
    from training.cli.display import announced, print_new_length, progress
    from training.cli.run_logs import run_logs
    from training.cli.samples import SampleImages
    from training.evaluation.loss_curve import plot_loss
    from training.evaluation.picture_grid import sample_grid
    from training.export.publish import check_writable, latest_version, load_graphs, publish
    from training.loop.asked_length import keeper
    from training.loop.device import choose_device
    from training.loop.distributed import process_group
    from training.loop.fit import each_of
    from training.loop.run_folder import CURVE_FILE, PICTURES_FILE, read_log
    from training.loop.stages import fit_stages, stage_runs

    compute = choose_device(device)
    parsed, data, length = options.load_run(recipe, minutes, compute, resume=resume)
    name, folder = parsed.model.name, options.folder(parsed)
    runs = stage_runs(parsed, folder)
    check_writable(parsed, out)
    with process_group(compute.device) as group:
        if group.is_main:
            print(f"device: {compute}")
            print_new_length(folder, length, resume=resume)
        switches = {"tensorboard": tensorboard and group.is_main, "mlflow": mlflow and group.is_main}
        with progress(name, shown=group.is_main) as on_step, run_logs(parsed, folder, **switches) as logs:
            samples = SampleImages(parsed, data, folder, logs.add_image)
            callbacks = [on_step, *([announced(), keeper(folder, length)] if group.is_main else []), logs.on_step]
            fitted = fit_stages(
                runs,
                data,
                each_of(callbacks),
                on_validation=samples.on_validation,
                resume=resume,
                init=init,
                process_group=group,
                compute=compute,
            )
        if not group.is_main:
            return
    last = runs[-1]
    records = read_log(last.folder)
    write_atomic(last.folder / CURVE_FILE, plot_loss(records, name))
    target, _ = publish(
        last.recipe, data, fitted, out, approval(last.recipe, data, fitted.net, records, recipe, anyway=publish_anyway)
    )
    with suppress(NothingToPlot):
        write_atomic(folder / PICTURES_FILE, sample_grid(last.recipe, data, load_graphs(latest_version(parsed, out))))
    print(f"published {target} after {fitted.steps} steps in {fitted.seconds:.0f} s")


@app.command(name="export")
def export_command(
    recipe: RecipeName,
    *,
    options: RunOptions = DEFAULT_RUN_OPTIONS,
    out: ModelsFolder = DEFAULT_MODELS,
    publish_anyway: PublishAnyway = False,
) -> None:
    """Publish the latest checkpoint of a run folder, as fit does at its end.

    Example: hourglass-train export digits --run runs/digits --data ~/data
    """
    from training.cli.approval import approval
    from training.export.publish import publish
    from training.loop.fit import load_fitted
    from training.loop.run_folder import read_log
    from training.loop.stages import stage_runs

    parsed, data = options.load(recipe)
    last = stage_runs(parsed, options.folder(parsed))[-1]
    fitted = load_fitted(last.recipe, data, last.folder)
    approve = approval(last.recipe, data, fitted.net, read_log(last.folder), recipe, anyway=publish_anyway)
    target, _ = publish(last.recipe, data, fitted, out, approve)
    print(f"published {target}")


@app.command(name="evaluate")
def evaluate_command(recipe: RecipeName, *, options: RunOptions = DEFAULT_RUN_OPTIONS, as_json: AsJson = False) -> None:
    """Measure the latest checkpoint of a run folder and the classical baselines, without publishing.

    Example: hourglass-train evaluate digits --run runs/digits --data ~/data --json
    """
    from training.cli.display import print_metrics
    from training.export.publish import evaluate_fitted
    from training.loop.fit import load_fitted
    from training.loop.stages import stage_runs

    parsed, data = options.load(recipe)
    last = stage_runs(parsed, options.folder(parsed))[-1]
    with tempfile.TemporaryDirectory() as scratch:
        fitted = load_fitted(last.recipe, data, last.folder)
        measured = evaluate_fitted(last.recipe, data, fitted, Path(scratch))
    if as_json:
        print(json.dumps(asdict(measured), indent=2))
    else:
        print_metrics(parsed.model.name, measured)


@app.command(name="pictures")
def pictures_command(
    recipe: RecipeName,
    *,
    options: RecipeOptions = DEFAULT_RECIPE_OPTIONS,
    out: ModelsFolder = DEFAULT_MODELS,
    to: Annotated[Path, Parameter(help="PNG file to write.")] = Path("pictures.png"),
) -> None:
    """Draw test images and the outputs of the latest published version.

    Example: hourglass-train pictures digits-denoise --data ~/data --to digits.png
    """
    from training.atomic_files import write_atomic
    from training.evaluation.picture_grid import sample_grid
    from training.export.publish import latest_version, load_graphs

    parsed, data = options.load(recipe)
    write_atomic(to, sample_grid(parsed, data, load_graphs(latest_version(parsed, out))))
    print(to)


@app.command(name="noise")
def noise_command(
    recipe: RecipeName,
    *,
    options: RecipeOptions = DEFAULT_RECIPE_OPTIONS,
    to: Annotated[Path, Parameter(help="Folder for the PNG files, one for each kind of noise.")] = Path("noise"),
) -> None:
    """Draw test images with each kind of noise in a recipe.

    Example: hourglass-train noise photo --data ~/data --to noise
    """
    from training.atomic_files import write_atomic
    from training.evaluation.picture_grid import draw_noise

    parsed, data = options.load(recipe)
    to.mkdir(parents=True, exist_ok=True)
    for name, png in draw_noise(parsed, data).items():
        write_atomic(to / f"{name}.png", png)
        print(to / f"{name}.png")


app.command(import_command, name="import")
app.command(new_command, name="new")
app.command(study_command, name="study")
app.command(report_command, name="report")
app.command(data_command, name="data")
app.command(schema_command, name="schema")


def expand_home(word: str) -> str:
    """Return a word of the command line with a leading `~` replaced; shells leave it in `--out=~/models`."""
    flag, equals, value = word.rpartition("=") if word.startswith("--") else ("", "", word)
    return f"{flag}{equals}{Path(value).expanduser()}" if value == "~" or value.startswith("~/") else word


def main(arguments: list[str] | None = None) -> None:
    """Run the command line of this process, or `arguments`. Exits with the status of the error, if any."""
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    try:
        with interrupt_on_signal():
            app([expand_home(word) for word in (sys.argv[1:] if arguments is None else arguments)])
    except Exception as error:
        message = user_message(error)
        if message is None:
            raise
        print(f"hourglass-train: {message}", file=sys.stderr)
        sys.exit(exit_status(error))
    except KeyboardInterrupt as interrupt:
        print(f"hourglass-train: stopped; to continue, {RESUME_HINT}", file=sys.stderr)
        sys.exit(128 + (interrupt.args or (SIGINT,))[0])
