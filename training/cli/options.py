"""The options of `hourglass-train`, each declared once for all commands that take it. Imports no torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from training.builtin_recipes import builtin_recipes
from training.errors import RecipeError

if TYPE_CHECKING:
    from training.data import Dataset
    from training.loop.asked_length import AskedLength
    from training.loop.device import Compute
    from training.recipe import Recipe

DEFAULT_MODELS = Path("models")
DEFAULT_RESULTS = Path("docs/lecture")
DEFAULT_RUNS = Path("runs")

RecipeName = Annotated[
    str, Parameter(help=f"Path of a .toml file, or name of a built-in recipe: {', '.join(builtin_recipes())}.")
]
DataFolder = Annotated[
    Path | None, Parameter(name="--data", env_var="HOURGLASS_DATA", help="Folder to search for data first.")
]
ModelsFolder = Annotated[
    Path, Parameter(name="--out", help="Folder of models; a model is published as OUT/NAME/VERSION.")
]
Resume = Annotated[
    bool | None,
    Parameter(
        name="--resume", negative="--fresh", help="Continue from the latest checkpoint, or delete all checkpoints."
    ),
]
DeviceOption = Annotated[
    Literal["auto", "cpu", "cuda", "mps"],
    Parameter(name="--device", help="Where to compute: auto takes a GPU if torch sees one."),
]
InitWeights = Annotated[
    Path | None, Parameter(name="--init", help="A weights.safetensors file of the same net to start from.")
]
PublishAnyway = Annotated[
    bool,
    Parameter(
        name="--publish-anyway", negative="", help="Publish a model even if an answer without a model is better."
    ),
]
Minutes = Annotated[
    float | None,
    Parameter(
        name="--minutes",
        validator=Number(gt=0, lt=1e6),
        help="Train for about so long: measure the speed, and choose the number of epochs by it.",
    ),
]
TensorBoard = Annotated[
    bool, Parameter(name="--tensorboard", negative="", help="Write RUN/tensorboard too; needs tensorboardX.")
]
MLflow = Annotated[
    bool, Parameter(name="--mlflow", negative="", help="Log to MLflow too, at MLFLOW_TRACKING_URI; needs mlflow.")
]
AsJson = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON instead of a table.")]
ResultsFolder = Annotated[Path, Parameter(name="--results", help="Folder of the stored results of studies.")]


def parse_share(text: str) -> float:
    """Parse a share such as `1%` or `0.01`, above 0 and below a half. Raises RecipeError."""
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = 0.0
    if not 0 < share < 0.5:
        raise RecipeError(f"--false-alarms {text}: pass a share of ordinary inputs, such as 1% or 0.01, below 50%")
    return share


@Parameter(name="*")
@dataclass(frozen=True)
class RecipeOptions:
    """The options of every command that reads a recipe and its data."""

    data: DataFolder = None
    changes: Annotated[
        list[str] | None,
        Parameter(name="--set", negative="", help="KEY=VALUE overrides a key of the recipe; repeatable."),
    ] = None

    @property
    def overrides(self) -> list[str]:
        """The overrides of --set."""
        return self.changes or []

    def read(self, name: str) -> tuple["Recipe", "Dataset"]:
        """Read a recipe and its data as they are. Raises RecipeError or DataError."""
        from training.data import load
        from training.recipe import read_recipe

        recipe = read_recipe(name, self.overrides)
        return recipe, load(recipe.data, self.data)

    def load(self, name: str) -> tuple["Recipe", "Dataset"]:
        """Read a recipe and its data, and complete the recipe by them. Raises RecipeError or DataError."""
        from training.loop.plan import complete

        recipe, data = self.read(name)
        return complete(recipe, data), data


@Parameter(name="*")
@dataclass(frozen=True)
class RunOptions(RecipeOptions):
    """The options of every command that works in the run folder of a recipe."""

    run: Annotated[
        Path | None,
        Parameter(name="--run", help="Folder of checkpoints, log and loss curve; default: runs/NAME."),
    ] = None

    false_alarms: Annotated[
        str | None,
        Parameter(
            name="--false-alarms",
            help="Call an input unusual if its error is above that of all but so many ordinary ones, for example 1%.",
        ),
    ] = None

    @property
    def overrides(self) -> list[str]:
        """The overrides of --set, and that of --false-alarms. Raises RecipeError."""
        if self.false_alarms is None:
            return super().overrides
        return [*super().overrides, f"model.false_alarms={parse_share(self.false_alarms)}"]

    def folder(self, recipe: "Recipe") -> Path:
        """Return the run folder of a recipe."""
        return self.run or DEFAULT_RUNS / recipe.model.name

    def load(self, name: str) -> tuple["Recipe", "Dataset"]:
        """Read a recipe and its data as `RecipeOptions.load` does, with the length of the run in the run folder."""
        recipe, data, _ = self.load_run(name, resume=True)
        return recipe, data

    def load_run(
        self,
        name: str,
        minutes: float | None = None,
        compute: "Compute | None" = None,
        *,
        resume: bool | None,
    ) -> tuple["Recipe", "Dataset", "AskedLength"]:
        """Read a recipe and its data, and complete the recipe by them and by the length of the run.

        A resumed run keeps its length, unless the recipe or `minutes` says another now. Otherwise, with `minutes` the
        number of epochs is what fits into them on this machine, or on the device `compute`; a recipe with stages does
        not take it. Raises RecipeError, DataError or RunError.
        """
        from training.loop.asked_length import AskedLength, read_asked_length
        from training.loop.device import CPU
        from training.loop.pace import lasting, with_epochs
        from training.loop.plan import complete

        recipe, data = self.read(name)
        if minutes is not None and recipe.stages:
            raise RecipeError("--minutes: the recipe has stages of fixed length; to fit the first, add --set stages=[]")
        stated = recipe.optimizer.epochs
        kept = read_asked_length(self.folder(recipe)) if resume and not recipe.stages else None
        if kept is not None and kept.is_for(stated, minutes):
            recipe, minutes = with_epochs(recipe, kept.epochs), kept.minutes
        elif minutes is not None:
            recipe = lasting(recipe, data, minutes, compute or CPU)
        recipe = complete(recipe, data)
        return recipe, data, AskedLength(recipe.optimizer.epochs or 0, stated, minutes)


DEFAULT_RECIPE_OPTIONS = RecipeOptions()
DEFAULT_RUN_OPTIONS = RunOptions()
