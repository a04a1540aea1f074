"""The length of a run, kept in its folder, so that a resumed run ends where the first command said.

`--minutes` measures the speed, which differs from time to time and is no part of the recipe.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from training import atomic_files
from training.errors import RunError

LENGTH_FILE = "length.json"


@dataclass(frozen=True, slots=True)
class AskedLength:
    """What was asked for (`minutes`, or `stated` epochs of the recipe, None for the default), and the epochs of it."""

    epochs: int
    stated: int | None
    minutes: float | None

    def is_for(self, stated: int | None, minutes: float | None) -> bool:
        """Whether a command that resumes asks for the same, or for nothing else."""
        return stated == self.stated and minutes in (None, self.minutes)


def read_asked_length(folder: Path) -> AskedLength | None:
    """Return the length of the run in a folder, or None if none is kept. Raises RunError if the file is broken."""
    path = folder / LENGTH_FILE
    if not path.exists():
        return None
    try:
        return AskedLength(**json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise RunError(f"{path} is broken ({error}): delete it, and say how long with --minutes") from error


def keeper(folder: Path, length: AskedLength) -> Callable[[int, int, float, float], None]:
    """Return a progress callback that writes the length to the run folder at the first step, when the run is locked."""
    todo = [length]

    def on_step(_step: int, _total: int, _loss: float, _rate: float) -> None:
        if todo:
            atomic_files.write_atomic(folder / LENGTH_FILE, json.dumps(asdict(todo.pop())).encode())

    return on_step
