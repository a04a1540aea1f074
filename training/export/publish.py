"""Where models live: a fitted net becomes `<name>/<version>/` in one piece, or leaves nothing behind.

Knows folders and their order; what makes a model good enough is said in `export`.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from safetensors.torch import save

from training import atomic_files
from training.data import Dataset
from training.errors import PublishError
from training.evaluation.figures import Evaluation, Figures, GraphFunction, evaluate
from training.export.artifact import (
    build_card,
    card_schema,
    check_parity,
    complete_card,
    load_verified,
    read_published,
    write_card,
)
from training.export.calibration import psnr_figures, to_grayscale
from training.loop.fit import FitResult
from training.nets import Operation
from training.recipe import Recipe

WEIGHTS_FILE = "weights.safetensors"
MAX_INT8_LOSS_DB = 0.2
"""Decibels that a graph may lose by 8 bits."""
SCHEMA_FILE = "card.schema.json"


def publish(recipe: Recipe, data: Dataset, fitted: FitResult, out: Path) -> tuple[Path, Evaluation]:
    """The folder of the new version, `out/<name>/<version>`, and its figures.

    Raises PublishError where a graph differs from the net or the service's loader refuses it.
    """
    home = out / recipe.model.name
    with atomic_files.temporary_folder(home) as beside:
        number = 1 + max((int(path.name) for path in home.iterdir() if path.name.isdecimal()), default=0)
        measured = _write_version(beside, recipe, data, fitted, number)
        target = home / str(number)
        try:
            atomic_files.commit_folder(beside, target)
        except OSError as error:
            raise PublishError(f"{target} cannot be put in place ({error.strerror}): run export again") from error
    return target, measured


def check_writable(recipe: Recipe, out: Path) -> None:
    """Raises PublishError where no version could be written into `out`, which need not be there yet."""
    try:
        atomic_files.check_writable(out / recipe.model.name)
    except OSError as error:
        raise PublishError(f"{out} cannot hold models ({error.strerror}): give another folder by --out") from error


def latest_version(recipe: Recipe, out: Path) -> Path:
    """The folder of the highest version of the recipe's model. Raises PublishError where there is none."""
    versions = [int(path.name) for path in (out / recipe.model.name).glob("*") if path.name.isdecimal()]
    if not versions:
        raise PublishError(f"{out} holds no {recipe.model.name}: fit the recipe first")
    return out / recipe.model.name / str(max(versions))


def load_graphs(folder: Path) -> dict[Operation, GraphFunction]:
    """The graphs of a published version, opened as the service does. Raises PublishError where it would refuse."""
    return load_verified(folder, read_published(folder))


def evaluate_fitted(recipe: Recipe, data: Dataset, fitted: FitResult, scratch: Path) -> Evaluation:
    """The figures that publishing would state; the graphs are drawn into the folder `scratch`."""
    return evaluate(recipe, data, fitted.net, load_verified(scratch, build_card(scratch, recipe, data, fitted, 1)))


def write_schema(out: Path) -> Path:
    """Writes the JSON schema of the card into `out`, and returns where."""
    out.mkdir(parents=True, exist_ok=True)
    atomic_files.write_atomic(out / SCHEMA_FILE, card_schema().encode())
    return out / SCHEMA_FILE


def _evaluate_int8(
    recipe: Recipe, data: Dataset, graphs: Mapping[Operation, GraphFunction], exact: Mapping[Operation, GraphFunction]
) -> Figures:
    """The decibels of both precisions, of colour pictures in grey, too. Raises PublishError where int8 loses more than
    INT8_LOSS of any.
    """
    found: Figures = {}
    shown = {"": data}
    if data.test.shape[-1] == 3:
        shown["grey_"] = replace(data, test=to_grayscale(data.test))
    for name, pictures in shown.items():
        before, after = (psnr_figures(recipe, pictures, each) for each in (exact, graphs))
        for figure, loss in ((figure, before[figure] - after[figure]) for figure in before):
            if loss > MAX_INT8_LOSS_DB:
                raise PublishError(
                    f"int8 loses {loss:.2f} dB of {name}{figure}, at most {MAX_INT8_LOSS_DB} is published"
                )
        found |= {f"{name}{figure}": value for figure, value in before.items()}
        found |= {f"int8_{name}{figure}": value for figure, value in after.items()}
    return found


def _write_version(folder: Path, recipe: Recipe, data: Dataset, fitted: FitResult, number: int) -> Evaluation:
    """Puts a whole model into an empty folder, proven; the card comes last."""
    card = build_card(folder, recipe, data, fitted, number)
    graphs = load_verified(folder, card)
    parity = check_parity(fitted.net, graphs, data.test)
    measured = evaluate(recipe, data, fitted.net, graphs)
    if recipe.model.int8:
        measured.figures.update(_evaluate_int8(recipe, data, load_verified(folder, card, "int8"), graphs))
    if recipe.model.weights:
        weights = {name: tensor.contiguous() for name, tensor in fitted.net.state_dict().items()}
        (folder / WEIGHTS_FILE).write_bytes(save(weights))
    write_card(folder, complete_card(card, parity, measured))
    return measured
