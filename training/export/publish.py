"""Publishes a fitted net as the next version folder `<name>/<version>/`, atomically, and finds published versions."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from safetensors.torch import save

from training import atomic_files
from training.data import Dataset
from training.errors import PublishError
from training.evaluation.metrics import Evaluation, GraphFunction, Metrics, evaluate
from training.export.artifact import (
    build_card,
    card_schema,
    check_parity,
    complete_card,
    load_verified,
    load_verified_noise_map,
    read_published,
    write_card,
)
from training.export.calibration import psnr_metrics, to_grayscale
from training.loop.fit import FitResult
from training.nets import Operation
from training.recipe import Recipe

WEIGHTS_FILE = "weights.safetensors"
MAX_INT8_LOSS_DB = 0.2
"""Maximum loss of PSNR by int8 quantization, in dB."""
SCHEMA_FILE = "card.schema.json"


def publish(
    recipe: Recipe, data: Dataset, fitted: FitResult, out: Path, approve: Callable[[Evaluation], None] | None = None
) -> tuple[Path, Evaluation]:
    """Publish a fitted net, and return the folder of the new version, `out/<name>/<version>`, and its metrics.

    `approve` is called with the figures before anything is published, and may raise to prevent it. Raises PublishError
    if a graph differs from the net, the service would reject the model, int8 loses too much, or the folder cannot be
    moved into place. After an exception nothing is left behind.
    """
    model_folder = out / recipe.model.name
    with atomic_files.temporary_folder(model_folder) as temporary:
        number = 1 + max((int(path.name) for path in model_folder.iterdir() if path.name.isdecimal()), default=0)
        measured = _write_version(temporary, recipe, data, fitted, number)
        if approve:
            approve(measured)
        target = model_folder / str(number)
        try:
            atomic_files.commit_folder(temporary, target)
        except OSError as error:
            raise PublishError(f"cannot move the model to {target} ({error.strerror}): run export again") from error
    return target, measured


def check_writable(recipe: Recipe, out: Path) -> None:
    """Raise PublishError if no version can be written to `out`, which need not exist yet."""
    try:
        atomic_files.check_writable(out / recipe.model.name)
    except OSError as error:
        raise PublishError(
            f"cannot write models to {out} ({error.strerror}): choose another folder with --out"
        ) from error


def latest_version(recipe: Recipe, out: Path) -> Path:
    """Return the folder of the highest version of the recipe's model. Raises PublishError if there is none."""
    versions = [int(path.name) for path in (out / recipe.model.name).glob("*") if path.name.isdecimal()]
    if not versions:
        raise PublishError(f"{out} contains no model {recipe.model.name}: fit the recipe first")
    return out / recipe.model.name / str(max(versions))


def load_graphs(folder: Path) -> dict[Operation, GraphFunction]:
    """Load the graphs of a published version as the service does. Raises PublishError if it would reject them."""
    return load_verified(folder, read_published(folder))


def load_noise_map(folder: Path) -> GraphFunction | None:
    """Return the function from images to the variance of their noise in each cell, if the version estimates it.

    Raises PublishError if the service would reject the model.
    """
    return load_verified_noise_map(folder, read_published(folder))


def evaluate_fitted(recipe: Recipe, data: Dataset, fitted: FitResult, scratch: Path) -> Evaluation:
    """Measure the metrics that publishing would put on the card. The graphs are exported to the folder `scratch`."""
    return evaluate(recipe, data, fitted.net, load_verified(scratch, build_card(scratch, recipe, data, fitted, 1)))


def write_schema(out: Path) -> Path:
    """Write the JSON schema of the card to the folder `out`, and return the path of the file."""
    out.mkdir(parents=True, exist_ok=True)
    atomic_files.write_atomic(out / SCHEMA_FILE, card_schema().encode())
    return out / SCHEMA_FILE


def _evaluate_int8(
    recipe: Recipe,
    data: Dataset,
    graphs: Mapping[Operation, GraphFunction],
    exact: Mapping[Operation, GraphFunction],
    measured: Metrics,
) -> Metrics:
    """Return the PSNR in dB of the int8 graphs, and in grayscale that of the float32 graphs (`exact`) too.

    `measured` has the metrics of the float32 graphs on the images as they are. Raises PublishError if int8 loses more
    than MAX_INT8_LOSS_DB.
    """
    metrics: Metrics = {}
    variants = {"": (data, measured)}
    if data.test.shape[-1] == 3:
        grey = replace(data, test=to_grayscale(data.test))
        variants["grey_"] = grey, psnr_metrics(recipe, grey, exact)
    for prefix, (variant, float32) in variants.items():
        int8 = psnr_metrics(recipe, variant, graphs)
        for key in int8:
            loss = float32[key] - int8[key]
            if loss > MAX_INT8_LOSS_DB:
                raise PublishError(
                    f"int8 loses {loss:.2f} dB of {prefix}{key}, more than {MAX_INT8_LOSS_DB} dB: set "
                    "model.int8 = false"
                )
        metrics |= {f"{prefix}{key}": float32[key] for key in int8}
        metrics |= {f"int8_{prefix}{key}": value for key, value in int8.items()}
    return metrics


def _write_version(folder: Path, recipe: Recipe, data: Dataset, fitted: FitResult, number: int) -> Evaluation:
    """Write a model to an empty folder and verify it. The card is written last."""
    card = build_card(folder, recipe, data, fitted, number)
    graphs = load_verified(folder, card)
    parity = check_parity(fitted.net, graphs, data.test)
    measured = evaluate(recipe, data, fitted.net, graphs)
    if recipe.model.int8:
        int8 = load_verified(folder, card, "int8")
        measured.metrics.update(_evaluate_int8(recipe, data, int8, graphs, measured.metrics))
    if recipe.model.weights:
        weights = {name: tensor.contiguous() for name, tensor in fitted.net.state_dict().items()}
        (folder / WEIGHTS_FILE).write_bytes(save(weights))
    write_card(folder, complete_card(card, parity, measured, recipe.model.false_alarms))
    return measured
