"""The flags of `hourglass-train`, each said once for all commands that take it."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

DEFAULT_MODELS = Path("models")
DEFAULT_RESULTS = Path("docs/lecture")
BUILTIN_RECIPES = sorted(path.stem for path in (Path(__file__).parent.parent / "recipes").glob("*.toml"))

RecipeName = Annotated[str, Parameter(help=f"The path of a .toml, or a shipped recipe: {', '.join(BUILTIN_RECIPES)}.")]
DataFolder = Annotated[
    Path | None, Parameter(name="--data", env_var="HOURGLASS_DATA", help="The folder to look into first for data.")
]
Overrides = Annotated[
    list[str] | None,
    Parameter(name="--set", negative="", help="KEY=VALUE instead of what the recipe says; may be given again."),
]
RunFolder = Annotated[
    Path | None, Parameter(name="--run", help="The folder of checkpoints, log and curve; runs/NAME unless given.")
]
ModelsFolder = Annotated[Path, Parameter(name="--out", help="The folder of models; a new one is OUT/NAME/VERSION.")]
Resume = Annotated[
    bool | None,
    Parameter(name="--resume", negative="--fresh", help="Go on with what the run folder holds, or drop it."),
]
InitWeights = Annotated[
    Path | None, Parameter(name="--init", help="A weights.safetensors of the same net to start from.")
]
AsJson = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON instead of a table.")]
ResultsFolder = Annotated[Path, Parameter(name="--results", help="The folder of what the studies found.")]
