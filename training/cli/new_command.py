"""The command `new`, which writes a recipe for a folder of images or a table."""

import shlex
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

TaskName = Annotated[
    Literal["denoise", "compress", "embed", "anomaly", "generate"],
    Parameter(
        help="denoise: remove noise. compress: few bytes. embed: codes for search or a classifier. anomaly: how "
        "unusual an input is. generate: random new items."
    ),
]
OwnData = Annotated[
    Path, Parameter(help="A folder of images, a .csv, .tsv, .parquet, .npy or .npz file, or a folder of idx files.")
]


def new_command(
    task: TaskName,
    data: OwnData,
    *,
    output: Annotated[
        Path | None, Parameter(name=["--output", "-o"], help="The recipe to write; default: NAME-TASK.toml.")
    ] = None,
    minutes: Annotated[float, Parameter(help="The longest time that its run may take on this machine, about.")] = 10.0,
    overwrite: Annotated[bool, Parameter(name="--overwrite", negative="", help="Replace an existing recipe.")] = False,
) -> None:
    """Look at your own data, print what it is, and write a recipe that fits it.

    Example: hourglass-train new denoise ~/photos -o my.toml
    """
    from training.atomic_files import write_atomic
    from training.cli.display import describe_seconds
    from training.errors import RecipeError
    from training.starter.choices import choose
    from training.starter.survey import survey
    from training.starter.write import model_name, write_recipe

    source = data.expanduser()
    source = source if source.exists() else Path(str(source).replace("\\", "/"))
    target = output or Path(f"{model_name(source.stem)}-{task}.toml")
    check_target(target, overwrite=overwrite)
    if not 0 < minutes < float("inf"):
        raise RecipeError("--minutes must be above 0, for example 10")
    seen = survey(source)
    summary = seen.lines()
    print("\n".join(summary), flush=True)
    written = write_recipe(task, choose(task, seen), model_name(target.stem), summary, minutes)
    write_atomic(target, written.text.encode())
    print(
        f"wrote {target}: {written.steps:,} steps, about {describe_seconds(written.seconds)} on this machine at most\n"
        f"next: hourglass-train fit {quoted(target)}"
    )


def check_target(target: Path, *, overwrite: bool) -> None:
    """Raise RecipeError if no recipe can be written there."""
    from training.errors import RecipeError

    if target.suffix.lower() != ".toml":
        raise RecipeError(f"-o {target} must end in .toml, so that fit knows it as a recipe")
    if target.exists() and not overwrite:
        raise RecipeError(f"{target} exists: choose another name with -o, or add --overwrite")
    if not target.absolute().parent.is_dir():
        raise RecipeError(f"{target.parent} is no folder: make it first, or choose another with -o")


def quoted(path: Path) -> str:
    """Return a path as a shell takes it."""
    return shlex.quote(str(path))
