"""One experiment as data: read from TOML, changed by `--set`, unknown keys refused. Knows no way to run it."""

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    StringConstraints,
    ValidationError,
    model_validator,
)

from training.augmentation import Augmentation
from training.corruption import Corruption, Identity
from training.data import AnyDataSection
from training.errors import RecipeError
from training.nets import NETS, Net, Operation
from training.objective import Objective
from training.recipe_errors import format_error
from training.schema import Fraction, StrictModel, suggestion
from training.text_files import read_text

RECIPES_FOLDER = Path(__file__).parent / "recipes"


class ModelSection(StrictModel):
    """The `[model]` table: what is published."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?$")]
    """The folder under models/ and the name that callers give."""
    title: str
    """One line for people."""
    description: str
    """What goes in and what comes out."""
    licence: str
    """Of the published weights."""
    operations: Annotated[list[Operation], Field(min_length=1)]
    """One graph is published for each: encode, decode, reconstruct, denoise."""
    int8: bool = False
    """Publish every graph in int8, too; the service chooses by its processor."""
    weights: bool = True
    """Publish the weights beside the graphs, so that another fit can start from them."""


class OptimizerSection(StrictModel):
    """The `[optimizer]` table: linear warm-up, then half a cosine down to zero."""

    name: Literal["adamw", "adam", "sgd", "muon"] = "adamw"
    """AdamW (Loshchilov and Hutter 2019), Adam (Kingma and Ba 2015), plain stochastic gradient descent, or Muon (Jordan
    et al. 2024), which takes a third of the steps on convolutional nets."""
    momentum: Fraction = 0.0
    """Of sgd."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of the arithmetic within the net; weights, losses and what is published stay float32."""
    compile: bool = False
    """Let torch.compile write the net's arithmetic anew: minutes at the start, some of the time afterwards."""
    epochs: PositiveInt
    """Passes over the training set."""
    batch: PositiveInt = 256
    """Items a step; the last, smaller batch of an epoch is left out."""
    lr: Annotated[float, Field(gt=0, le=1e38)] = 1e-3
    """The learning rate at its peak."""
    weight_decay: NonNegativeFloat = 0.0
    """Share of the weights that a step at lr 1 takes away; of adam and sgd, twice the price of their squares."""
    warmup: NonNegativeInt = 500
    """Steps from zero to the peak."""
    ema_decay: Fraction = 0.0
    """Decay of the moving average of the weights, which is what is published; 0 publishes the weights themselves."""
    grad_clip: PositiveFloat | None = None
    """Largest norm of the gradient; longer ones are scaled down to it."""
    seed: Annotated[int, Field(ge=0, lt=1 << 32)] = 0
    """Of the first weights, the order of the items, the noise and what is held out."""
    validation_fraction: Fraction = 0.0
    """Share of the training set that is not trained on; the epoch that does best on it is the one published."""
    patience: PositiveInt | None = None
    """Stop after so many epochs without a better validation loss."""
    checkpoint_every: PositiveInt = 500
    """Steps between checkpoints."""

    @model_validator(mode="after")
    def _patience_needs_validation(self) -> Self:
        if self.patience is not None and not self.validation_fraction:
            raise ValueError("patience needs a validation_fraction above 0")
        return self


class Validation(StrictModel):
    """The `[validation]` table: denoise pictures while training, and publish the weights that do it best.

    Best is the highest mean of three mean PSNRs: of the real pairs in `[data.pairs]`, of Gaussian noise of sigma 15,
    25 and 50, and of every other kind of noise in `[corruption]`; what a recipe has none of is left out.
    """

    every: PositiveInt = 1
    """Epochs from one measurement to the next; the last epoch is measured, too."""
    pictures: PositiveInt = 8
    """Test pictures for each kind of noise."""


class Recipe(StrictModel):
    """A whole experiment; what is published for it says all of this."""

    model: ModelSection
    data: AnyDataSection
    net: Net
    augmentation: Augmentation = Augmentation()
    corruption: Corruption = Identity()
    objective: Objective
    optimizer: OptimizerSection
    validation: Validation | None = None

    @property
    def family(self) -> str:
        """The net's name in NETS."""
        return next(name for name, section in NETS.items() if isinstance(self.net, section))

    @model_validator(mode="after")
    def _bce_has_logits(self) -> Self:
        if self.objective.loss == "bce" and self.net.output != "sigmoid":
            raise ValueError("objective.loss = 'bce' needs net.output = 'sigmoid'")
        return self

    @model_validator(mode="after")
    def _crops_are_for_any_size(self) -> Self:
        if self.augmentation.crop and not getattr(self.net, "any_size", False):
            raise ValueError("augmentation.crop is for nets that take any size: set net.any_size")
        return self

    @model_validator(mode="after")
    def _int8_is_of_convolutions(self) -> Self:
        if self.model.int8 and (self.family != "conv" or not set(self.model.operations) <= {"reconstruct", "denoise"}):
            raise ValueError("model.int8 is for conv nets that reconstruct or denoise")
        return self

    @model_validator(mode="after")
    def _validation_is_of_denoising(self) -> Self:
        if self.validation is None:
            return self
        if "denoise" not in self.model.operations:
            raise ValueError("validation measures denoising: add 'denoise' to model.operations or leave the table out")
        if self.optimizer.validation_fraction:
            raise ValueError(
                "validation and optimizer.validation_fraction both choose the weights: leave one of them out"
            )
        return self

    @model_validator(mode="after")
    def _operations_can_be_offered(self) -> Self:
        for operation in self.model.operations:
            if operation not in self.net.operations:
                raise ValueError(f"model.operations: this net offers {', '.join(self.net.operations)}, not {operation}")
        if "denoise" in self.model.operations and isinstance(self.corruption, Identity):
            raise ValueError("model.operations: a net learns to denoise from a [corruption], this recipe has none")
        return self


def builtin_recipes() -> list[str]:
    """The names of the recipes that come with the package."""
    return sorted(path.stem for path in RECIPES_FOLDER.glob("*.toml"))


def read_recipe(which: str, changes: Sequence[str] = ()) -> Recipe:
    """The recipe at a path or of a shipped name, after `key=value` changes. Raises RecipeError, naming the mend."""
    path = Path(which).expanduser()
    if path.suffix.lower() != ".toml":
        if which not in builtin_recipes():
            raise RecipeError(
                f"no shipped recipe {which!r}: {suggestion(which, builtin_recipes())} (or give the path of a .toml)"
            )
        path = RECIPES_FOLDER / f"{which}.toml"
    try:
        tables = tomllib.loads(read_text(path))
    except OSError as error:
        raise RecipeError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        hint = "; write / for \\, or use single quotes" if "'\\\\'" in str(error) or "escape" in str(error) else ""
        raise RecipeError(f"{path} is no TOML: {error}{hint}") from error
    for change in changes:
        _apply_override(tables, change)
    return from_tables(tables)


def from_tables(tables: dict[str, Any]) -> Recipe:
    """The recipe that these tables say. Raises RecipeError with every fault on its own line."""
    try:
        return Recipe.model_validate(tables)
    except ValidationError as error:
        faults = [format_error(fault, Recipe) for fault in error.errors()]
        raise RecipeError("the recipe cannot be used:\n  " + "\n  ".join(faults)) from error


def _apply_override(tables: dict[str, Any], change: str) -> None:
    """Applies one `key.key=value`; the value is TOML, or else a bare word."""
    key, equals, text = change.partition("=")
    if not equals or not all(key.split(".")):
        raise RecipeError(f"--set takes key=value, for example optimizer.epochs=5, not {change!r}")
    try:
        value: Any = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    *parents, last = key.split(".")
    table: Any = tables
    for parent in parents:
        table = table.setdefault(parent, {})
        if not isinstance(table, dict):
            raise RecipeError(f"--set {change}: {parent} is a value, not a table")
    table[last] = value
