"""Recipes: an experiment as data, read from TOML and changed by `--set` overrides. Unknown keys are rejected."""

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
    ValidationError,
    model_validator,
)

from service.card import Name
from training.augmentation import Augmentation
from training.builtin_recipes import builtin_recipe_path, builtin_recipes
from training.corruption import Corruption, Identity
from training.data import AnyDataSection
from training.errors import RecipeError
from training.nets import NETS, Net, Operation
from training.nets.dense import DenseSection
from training.objective import NOISE_PENALTIES, Objective
from training.recipe_errors import format_error
from training.schema import NOT_STATED, Fraction, RecipeTable, suggestion
from training.text_files import read_text


class ModelSection(RecipeTable):
    """The `[model]` table: what is published."""

    name: Name
    """Name of the model, and of its folder under `models/`."""
    title: str = ""
    """Title in one line; empty: the name."""
    description: str = ""
    """The input and the output of the model; empty: a sentence that names the family and the data."""
    licence: str = NOT_STATED
    """License of the published weights."""
    operations: list[Operation] = Field(default_factory=list)
    """Operations to publish, one graph each: `encode`, `decode`, `reconstruct`, `denoise`. Empty: `denoise` if there
    is a `[corruption]`, else all others that the net supports."""
    false_alarms: Annotated[float, Field(gt=0, lt=0.5)] | None = None
    """Fraction of ordinary held-out items whose error is above the threshold of the card; none: no threshold. Answers
    of `reconstruct` then say whether an item is unusual."""
    int8: bool = False
    """Also publish every graph with inner convolutions in int8; the service chooses the precision by measuring both."""
    int8_percentile: Annotated[float, Field(gt=99, le=100)] = 100.0
    """Percentage of the values of an activation that the range of its int8 steps holds at each end; others are clipped.
    Below 100, the steps are finer: pictures with little noise lose less by int8, and those with strong noise more."""
    weights: bool = True
    """Also publish the weights, as a start for other fits (`--init`)."""


class OptimizerSection(RecipeTable):
    """The `[optimizer]` table. The learning rate rises linearly during warm-up, and falls to zero by half a cosine."""

    name: Literal["adamw", "adam", "sgd", "muon"] = "adamw"
    """AdamW (Loshchilov and Hutter 2019), Adam (Kingma and Ba 2015), stochastic gradient descent, or Muon (Jordan et
    al. 2024), which needs a third of the steps on convolutional nets."""
    momentum: Fraction = 0.0
    """Momentum of `sgd`."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Precision of the arithmetic inside the net. Weights, losses and published graphs stay float32. With `float16`,
    for GPUs without bfloat16, the loss is scaled."""
    compile: bool = False
    """Compile the net with `torch.compile`: it takes minutes at the start and makes the steps faster."""
    quantization_aware: bool = False
    """Round weights and activations in the forward pass as the int8 graph does, so that int8 loses less. A step takes
    about half as long again: set it for the last part of a fit, from the weights of the first (`--init`)."""
    epochs: PositiveInt | None = None
    """Passes over the training set; none: as many as make 5000 steps."""
    batch: PositiveInt | None = None
    """Items per step; the last, smaller batch of an epoch is skipped. None: an eighth of the training set, at most 256
    items and 2 million values."""
    lr: Annotated[float, Field(gt=0, le=1e38)] = 1e-3
    """Peak learning rate."""
    weight_decay: NonNegativeFloat = 0.0
    """Decay of the weights per step, times the learning rate. `adam` and `sgd` apply it as an L2 penalty instead."""
    train: Literal["all", "noise_control"] = "all"
    """Weights to train: all, or only those of `net.noise_control`, to add it to a fitted net (`--init`). Those do not
    change what the net does without a strength, so that `[validation]` has no effect then."""
    warmup: NonNegativeInt | None = None
    """Steps until the learning rate reaches its peak; none: 5 % of all steps, at most 500."""
    ema_decay: Fraction = 0.0
    """Decay of the moving average of the weights, which is published; 0 publishes the weights of the last step."""
    grad_clip: PositiveFloat | None = None
    """Maximum norm of the gradient; larger gradients are scaled down to it."""
    seed: Annotated[int, Field(ge=0, lt=1 << 32)] = 0
    """Seed of the initial weights, the order of the items, the noise and the choice of validation items."""
    validation_fraction: Fraction = 0.0
    """Fraction of the training set held out for validation; the epoch with the lowest validation loss is published."""
    patience: PositiveInt | None = None
    """Stop after this many epochs without a lower validation loss."""
    checkpoint_every: PositiveInt = 500
    """Steps between checkpoints."""

    @model_validator(mode="after")
    def _patience_needs_validation(self) -> Self:
        if self.patience is not None and not self.validation_fraction:
            raise ValueError("patience needs a validation_fraction above 0")
        return self

    @model_validator(mode="after")
    def _quantization_is_not_compiled(self) -> Self:
        if self.quantization_aware and self.compile:
            raise ValueError("quantization_aware cannot be compiled: set compile = false")
        return self


class Validation(RecipeTable):
    """The `[validation]` table: denoise images during training, and publish the weights that do it best.

    The best weights have the highest mean of up to three mean PSNRs: on the real pairs of `[data.pairs]`, on Gaussian
    noise of sigma 15, 25 and 50, and on every other kind of noise in `[corruption]`. A group that the recipe does not
    have is left out.
    """

    every: PositiveInt = 1
    """Epochs between measurements; the last epoch is always measured."""
    pictures: PositiveInt = 8
    """Test images for each kind of noise."""


class Stage(RecipeTable):
    """A `[[stages]]` table: a fit that starts from the weights of the one before, with some keys of the recipe changed.

    The keys are those of the recipe's own tables; what a stage does not name is as in the recipe.
    """

    name: Name
    """Name of the stage, and of its folder within the run folder."""
    net: dict[str, Any] = Field(default_factory=dict)
    """Changed keys of `[net]`, for example `{ noise_control = true }`."""
    augmentation: dict[str, Any] = Field(default_factory=dict)
    """Changed keys of `[augmentation]`."""
    corruption: dict[str, Any] = Field(default_factory=dict)
    """Changed keys of `[corruption]`."""
    objective: dict[str, Any] = Field(default_factory=dict)
    """Changed keys of `[objective]`."""
    optimizer: dict[str, Any] = Field(default_factory=dict)
    """Changed keys of `[optimizer]`."""


class Recipe(RecipeTable):
    """An experiment. The card of the published model contains all of it."""

    model: ModelSection
    data: AnyDataSection
    net: Net = DenseSection()
    augmentation: Augmentation = Augmentation()
    corruption: Corruption = Identity()
    objective: Objective = Objective()
    optimizer: OptimizerSection = OptimizerSection()
    validation: Validation | None = None
    stages: list[Stage] = Field(default_factory=list)

    @property
    def family(self) -> str:
        """The name of the net's family in NETS."""
        return next(name for name, section in NETS.items() if isinstance(self.net, section))

    @property
    def operations(self) -> list[Operation]:
        """The operations to publish: those of `[model]`, or else those that suit the net and the corruption."""
        if self.model.operations:
            return self.model.operations
        denoises = not isinstance(self.corruption, Identity)
        return [operation for operation in self.net.operations if (operation == "denoise") == denoises]

    @model_validator(mode="before")
    @classmethod
    def _kinds_have_defaults(cls, tables: Any) -> Any:
        """Add the keys that select a kind of table, which unions need, to the tables that lack them."""
        if not isinstance(tables, dict):
            return tables
        selectors = {"net": {"family": "dense"}, "corruption": {"kind": "gaussian"}}
        return {
            name: {**selectors[name], **table} if name in selectors and isinstance(table, dict) else table
            for name, table in tables.items()
        }

    def of_stage(self, stage: Stage) -> "Recipe":
        """Return the recipe with the keys of a stage changed, and without stages. Raises ValidationError."""
        tables = self.model_dump(mode="json", exclude={"stages"}, exclude_none=True)
        for name, changes in stage.model_dump(exclude={"name"}).items():
            tables[name] = _merge(tables[name], changes)
        return Recipe.model_validate(tables)

    @model_validator(mode="after")
    def _stages_fit(self) -> Self:
        names = [stage.name for stage in self.stages]
        if len(set(names)) < len(names):
            raise ValueError("stages: every stage needs a name of its own")
        for stage in self.stages:
            try:
                self.of_stage(stage)
            except ValidationError as error:
                messages = "; ".join(format_error(one, Recipe) for one in error.errors())
                raise ValueError(f"stage {stage.name}: {messages}") from error
        return self

    @model_validator(mode="after")
    def _bce_has_logits(self) -> Self:
        if self.objective.loss == "bce" and self.net.output == "linear":
            raise ValueError("objective.loss = 'bce' needs net.output = 'sigmoid'")
        return self

    @model_validator(mode="after")
    def _crops_are_for_any_size(self) -> Self:
        if self.augmentation.crop and not getattr(self.net, "any_size", False):
            raise ValueError("augmentation.crop needs a net for any size: set net.any_size = true")
        return self

    @model_validator(mode="after")
    def _int8_is_of_convolutions(self) -> Self:
        if self.model.int8 and (self.family != "conv" or not set(self.operations) <= {"reconstruct", "denoise"}):
            raise ValueError("model.int8 needs net.family = 'conv' and the operations reconstruct or denoise only")
        return self

    @model_validator(mode="after")
    def _noise_control_is_trained(self) -> Self:
        if getattr(self.net, "noise_control", False):
            if not NOISE_PENALTIES.keys() <= self.objective.penalties.keys():
                raise ValueError(f"net.noise_control needs objective.penalties: {', '.join(NOISE_PENALTIES)}")
        elif self.optimizer.train == "noise_control":
            raise ValueError("optimizer.train = 'noise_control' needs net.noise_control = true")
        return self

    @model_validator(mode="after")
    def _validation_is_of_denoising(self) -> Self:
        if self.validation is None:
            return self
        if "denoise" not in self.operations:
            raise ValueError("validation measures denoising: add 'denoise' to model.operations or remove the table")
        if self.optimizer.validation_fraction:
            raise ValueError("validation and optimizer.validation_fraction both choose the weights: remove one of them")
        return self

    @model_validator(mode="after")
    def _false_alarms_are_of_reconstruct(self) -> Self:
        if self.model.false_alarms is not None and "reconstruct" not in self.operations:
            raise ValueError("model.false_alarms is about the error of reconstruct: add it to model.operations")
        return self

    @model_validator(mode="after")
    def _operations_can_be_offered(self) -> Self:
        for operation in self.operations:
            if operation not in self.net.operations:
                raise ValueError(
                    f"model.operations: this net supports {', '.join(self.net.operations)}, not {operation}"
                )
        if "denoise" in self.operations and isinstance(self.corruption, Identity):
            raise ValueError("model.operations: denoise needs a [corruption] to train with: add the table")
        return self


def read_recipe(source: str, changes: Sequence[str] = ()) -> Recipe:
    """Read a recipe and apply overrides.

    Args:
        source: the name of a built-in recipe, or the path of a `.toml` file.
        changes: overrides `key.key=value`, as `--set` takes them.

    Raises:
        RecipeError: the recipe does not exist or is invalid, or an override is.
    """
    path = Path(source).expanduser()
    if path.suffix.lower() != ".toml":
        if source not in builtin_recipes() and path.is_file():
            raise RecipeError(f"{path} is not a recipe: recipes are TOML files, and their names end in .toml")
        if source not in builtin_recipes():
            raise RecipeError(
                f"no built-in recipe {source!r}: {suggestion(source, builtin_recipes())} "
                "(or pass the path of a .toml file)"
            )
        path = builtin_recipe_path(source)
    try:
        tables = tomllib.loads(read_text(path))
    except OSError as error:
        raise RecipeError(
            f"{path} cannot be read ({error.strerror}): check the path, or write a recipe by hourglass-train new"
        ) from error
    except ValueError as error:
        is_path = any(word in str(error) for word in (r"'\\'", "escape", "hex value"))
        hint = "; if this is a path, write / for \\, or use single quotes" if is_path else ""
        raise RecipeError(f"{path} is not valid TOML: {error}{hint}") from error
    for change in changes:
        _apply_override(tables, change)
    return from_tables(tables)


def from_tables(tables: dict[str, Any]) -> Recipe:
    """Validate the tables of a recipe. Raises RecipeError with one line for each error."""
    try:
        return Recipe.model_validate(tables)
    except ValidationError as error:
        messages = [format_error(one, Recipe) for one in error.errors()]
        raise RecipeError("the recipe is invalid:\n  " + "\n  ".join(messages)) from error


def _merge(table: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return a table with keys changed, those of inner tables too."""
    merged = dict(table)
    for key, value in changes.items():
        inner = merged.get(key)
        merged[key] = _merge(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return merged


def _apply_override(tables: dict[str, Any], change: str) -> None:
    """Apply one override `key.key=value` in place. A value that is not TOML is taken as a string."""
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
