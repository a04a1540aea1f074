"""Where models live: a fitted net becomes `<name>/<version>/` in one piece, or leaves nothing behind.

Knows folders and their order; what makes a model good enough is said in `export`.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from safetensors.torch import save

from training import atomic_files
from training.data import Data
from training.errors import NotPublished
from training.evaluation.figures import Figures, Measured, Run, measure
from training.export.artifact import compare, draft, prove, read, schema, state, write
from training.export.calibration import decibels, in_grey
from training.loop.fit import Fitted
from training.nets import Operation
from training.recipe import Recipe

WEIGHTS_FILE = "weights.safetensors"
INT8_LOSS = 0.2
"""Decibels that a graph may lose by 8 bits."""
SCHEMA_FILE = "card.schema.json"


def publish(recipe: Recipe, data: Data, fitted: Fitted, out: Path) -> tuple[Path, Measured]:
    """The folder of the new version, `out/<name>/<version>`, and its figures.

    Raises NotPublished where a graph differs from the net or the service's loader refuses it.
    """
    home = out / recipe.model.name
    with atomic_files.folder_beside(home) as beside:
        number = 1 + max((int(path.name) for path in home.iterdir() if path.name.isdecimal()), default=0)
        measured = _fill(beside, recipe, data, fitted, number)
        target = home / str(number)
        try:
            atomic_files.settle(beside, target)
        except OSError as error:
            raise NotPublished(f"{target} cannot be put in place ({error.strerror}): run export again") from error
    return target, measured


def refuse_unwritable(recipe: Recipe, out: Path) -> None:
    """Raises NotPublished where no version could be written into `out`, which need not be there yet."""
    try:
        atomic_files.probe(out / recipe.model.name)
    except OSError as error:
        raise NotPublished(f"{out} cannot hold models ({error.strerror}): give another folder by --out") from error


def newest(recipe: Recipe, out: Path) -> Path:
    """The folder of the highest version of the recipe's model. Raises NotPublished where there is none."""
    versions = [int(path.name) for path in (out / recipe.model.name).glob("*") if path.name.isdecimal()]
    if not versions:
        raise NotPublished(f"{out} holds no {recipe.model.name}: fit the recipe first")
    return out / recipe.model.name / str(max(versions))


def opened(folder: Path) -> dict[Operation, Run]:
    """The graphs of a published version, opened as the service does. Raises NotPublished where it would refuse."""
    return prove(folder, read(folder))


def measure_fitted(recipe: Recipe, data: Data, fitted: Fitted, scratch: Path) -> Measured:
    """The figures that publishing would state; the graphs are drawn into the folder `scratch`."""
    return measure(recipe, data, fitted.net, prove(scratch, draft(scratch, recipe, data, fitted, 1)))


def write_schema(out: Path) -> Path:
    """Writes the JSON schema of the card into `out`, and returns where."""
    out.mkdir(parents=True, exist_ok=True)
    atomic_files.write(out / SCHEMA_FILE, schema().encode())
    return out / SCHEMA_FILE


def _in_int8(recipe: Recipe, data: Data, graphs: Mapping[Operation, Run], exact: Mapping[Operation, Run]) -> Figures:
    """The decibels of both precisions, of colour pictures in grey, too. Raises NotPublished where int8 loses more than
    INT8_LOSS of any.
    """
    found: Figures = {}
    shown = {"": data}
    if data.test.shape[-1] == 3:
        shown["grey_"] = replace(data, test=in_grey(data.test))
    for name, pictures in shown.items():
        before, after = (decibels(recipe, pictures, each) for each in (exact, graphs))
        for figure, loss in ((figure, before[figure] - after[figure]) for figure in before):
            if loss > INT8_LOSS:
                raise NotPublished(f"int8 loses {loss:.2f} dB of {name}{figure}, at most {INT8_LOSS} is published")
        found |= {f"{name}{figure}": value for figure, value in before.items()}
        found |= {f"int8_{name}{figure}": value for figure, value in after.items()}
    return found


def _fill(folder: Path, recipe: Recipe, data: Data, fitted: Fitted, number: int) -> Measured:
    """Puts a whole model into an empty folder, proven; the card comes last."""
    card = draft(folder, recipe, data, fitted, number)
    graphs = prove(folder, card)
    parity = compare(fitted.net, graphs, data.test)
    measured = measure(recipe, data, fitted.net, graphs)
    if recipe.model.int8:
        measured.figures.update(_in_int8(recipe, data, prove(folder, card, "int8"), graphs))
    if recipe.model.weights:
        weights = {name: tensor.contiguous() for name, tensor in fitted.net.state_dict().items()}
        (folder / WEIGHTS_FILE).write_bytes(save(weights))
    write(folder, state(card, parity, measured))
    return measured
